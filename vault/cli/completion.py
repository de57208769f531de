"""completion: a script that completes commands and options in a shell, made from the command line itself.

The script has everything in it, so that completing starts no program and reads no file of ours.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import click

from vault.cli.doors import Door, command

_group = click.Group()
FILES: Final = "<files>"


def register(cli: click.Group) -> None:
    """Adds the command."""
    cli.add_command(_group.commands["completion"])


@command(_group, "completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(door: Door, shell: str) -> None:
    """Print a script that completes commands and options: `source <(coatcheck completion bash)`.

    In fish: `coatcheck completion fish | source`.
    """
    cli = click.get_current_context().find_root().command
    click.echo(_SCRIPTS[shell](list(places(cli))), nl=False)


@dataclass
class Place:
    """A command or a group of them.

    Attributes:
        words: what calls it, each with a blank before it.
        following: the words that may follow: commands, or what its arguments take.
        options: every option, and what it is for.
        values: what an option takes, `FILES`, or nothing that is known; by its option. Flags are not here.
    """

    words: str
    about: str
    following: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)


def places(item: click.Command, words: str = "") -> Iterator[Place]:
    """Every command below one, and itself."""
    place = Place(words, item.get_short_help_str(80).rstrip("."))
    # click keeps the help option that it makes for a context, so this one has the names of all.
    for parameter in item.get_params(click.Context(item, help_option_names=["-h", "--help"])):
        known = _known(parameter.type)
        if isinstance(parameter, click.Option):
            place.options |= dict.fromkeys(parameter.opts, (parameter.help or "").split(". ")[0].rstrip("."))
            if not parameter.is_flag:
                place.values |= dict.fromkeys(parameter.opts, known)
        else:
            place.following += known
    commands = item.commands if isinstance(item, click.Group) else {}
    place.following += sorted(commands)
    yield place
    for name, below in sorted(commands.items()):
        yield from places(below, f"{words} {name}")


def _known(kind: object) -> list[str]:
    if isinstance(kind, click.Choice):
        return [str(choice) for choice in kind.choices]
    return [FILES] if isinstance(kind, click.Path | click.File) else []


def _cases(table: dict[str, list[str]], reply: str, files: str) -> str:
    """Branches of a `case` of a Bourne shell: what is offered, by what stands before."""
    by_offer: dict[tuple[str, ...], list[str]] = {}
    for before, offer in table.items():
        by_offer.setdefault(tuple(offer), []).append(shlex.quote(before))
    lines = []
    for offered, befores in by_offer.items():
        each = " ".join(shlex.quote(word) for word in offered if word != FILES)
        # Nothing to offer is an answer too.
        body = files if FILES in offered else reply.format(each=each, words=shlex.quote(each))
        lines.append(f"  {'|'.join(befores)}) {body} || : ;;")
    return "\n".join(lines)


def _bourne(every: list[Place], shape: str, reply: str, files: str) -> str:
    """A script for bash or zsh."""
    values = {f"{place.words} {option}": offer for place in every for option, offer in place.values.items()}
    following = {place.words: place.following for place in every}
    options = {place.words: list(place.options) for place in every}
    return shape.format(
        commands="|".join(shlex.quote(place.words) for place in every[1:]),
        taking="|".join(map(shlex.quote, values)),
        values=_cases(values, reply, files),
        options=_cases(options, reply, files),
        following=_cases(following, reply, files),
    )


def _bash(every: list[Place]) -> str:
    reply = 'COMPREPLY=($(compgen -W {words} -- "$word"))'
    return _bourne(every, _BASH, reply, 'COMPREPLY=($(compgen -f -- "$word"))')


def _zsh(every: list[Place]) -> str:
    return _bourne(every, _ZSH, "compadd -- {each}", "_files")


def _fish(every: list[Place]) -> str:
    lines = [_FISH.format(commands=" ".join(shlex.quote(place.words) for place in every[1:]))]
    about = {place.words: place.about for place in every}
    for place in every:
        where = f"complete -c coatcheck -n {shlex.quote(f'__coatcheck_at {shlex.quote(place.words)}')}"
        files = "" if FILES in place.following else " -f"
        lines.append(where + files)
        for word in place.following:
            if word != FILES:
                text = about.get(f"{place.words} {word}", "")
                lines.append(f"{where} -f -a {shlex.quote(word)}" + _described(text))
        for option, text in place.options.items():
            name = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            lines.append(f"{where} {name}{_taking(place.values.get(option))}{_described(text)}")
    return "\n".join(lines) + "\n"


def _taking(values: list[str] | None) -> str:
    if values is None:
        return ""
    if FILES in values:
        return " -r -F"
    return " -x" + (f" -a {shlex.quote(' '.join(values))}" if values else "")


def _described(text: str) -> str:
    return f" -d {shlex.quote(text)}" if text else ""


_BASH: Final = """\
# Completes coatcheck in bash; made by `coatcheck completion bash`.
_coatcheck() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} at='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at ${{COMP_WORDS[i]}}" in
    {commands}) at="$at ${{COMP_WORDS[i]}}" ;;
    {taking}) ((++i)) ;;
    esac
  done
  case "$at ${{COMP_WORDS[COMP_CWORD - 1]}}" in
{values}
  *) false ;;
  esac && return
  case $word in
  -*) case $at in
{options}
    esac ;;
  *) case $at in
{following}
    esac ;;
  esac
}}
complete -F _coatcheck coatcheck
"""
_ZSH: Final = """\
#compdef coatcheck
# Completes coatcheck in zsh; made by `coatcheck completion zsh`.
_coatcheck() {{
  local word=$words[CURRENT] at='' i
  for ((i = 2; i < CURRENT; i++)); do
    case "$at $words[i]" in
    {commands}) at="$at $words[i]" ;;
    {taking}) ((++i)) ;;
    esac
  done
  case "$at $words[CURRENT-1]" in
{values}
  *) false ;;
  esac && return
  case $word in
  -*) case $at in
{options}
    esac ;;
  *) case $at in
{following}
    esac ;;
  esac
}}
if [ "$funcstack[1]" = _coatcheck ]; then _coatcheck; else compdef _coatcheck coatcheck; fi
"""
_FISH: Final = """\
# Completes coatcheck in fish; made by `coatcheck completion fish`.
function __coatcheck_at
  set -l at
  for word in (commandline -opc)[2..-1]
    if contains -- "$at $word" {commands}
      set at "$at $word"
    end
  end
  test "$at" = "$argv[1]"
end"""
_SCRIPTS: Final = {"bash": _bash, "zsh": _zsh, "fish": _fish}
