"""Completion: the script of bash is run in bash, and offers what the command line has."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import click
import pytest

import vault.__main__  # noqa: F401 - adds `serve` to the command line
from tests.support.service import coatcheck_here
from vault.cli.completion import places
from vault.cli.main import cli

EVERY = {place.words.strip(): place for place in places(cli)}


@cache
def script(shell: str) -> str:
    done = coatcheck_here("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def offered(*lines: str, folder: Path | None = None) -> list[list[str]]:
    """What bash offers at the end of each line."""
    asked = [script("bash")]
    for line in lines:
        words = ["coatcheck", *line.split(" ")]
        asked.append(f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}")
        asked.append('_coatcheck; echo "${COMPREPLY[*]}"')
    done = subprocess.run(
        ["bash", "--norc", "-u"],
        input="\n".join(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=folder,
    )
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


def test_every_command_and_option_is_offered() -> None:
    groups = [words for words, place in EVERY.items() if isinstance(command(words), click.Group)]
    found = offered(*(f"{words} ".lstrip() for words in groups))
    for words, got in zip(groups, found, strict=True):
        group = command(words)
        assert isinstance(group, click.Group)
        assert set(got) == set(group.commands)
    found = offered(*(f"{words} -".lstrip() for words in EVERY))
    for words, got in zip(EVERY, found, strict=True):
        wanted = {name for item in command(words).params for name in item.opts if name.startswith("-")}
        assert set(got) == wanted | {"--help", "-h"}


def command(words: str) -> click.Command:
    found: click.Command = cli
    for word in words.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", None),
        ("to", "tokenize tokenize-file"),
        ("gr", "grant"),
        ("grant cr", "create"),
        ("grant create --del", "--delivery"),
        ("grant --help cr", "create"),
        ("principal create ", "operator service agent"),
        ("principal create op", "operator"),
        ("completion ", "bash zsh fish"),
        ("grant list --region ", ""),
        ("grant list --region gr", ""),
        ("grant list --region grant --ki", ""),
        ("grant list --region grant --key-", "--key-file"),
        ("--region eu grant", "grant"),
        ("nothing ", None),
        ("tokenize --no", "--no-color"),
        ("tokenize $(touch x) --no", "--no-color"),
    ],
)
def test_what_is_offered(line: str, words: str | None, tmp_path: Path) -> None:
    [got] = offered(line, folder=tmp_path)
    assert got == (sorted(EVERY[""].following) if words is None else words.split())
    assert list(tmp_path.iterdir()) == []


def test_files_are_offered_where_they_are_meant(tmp_path: Path) -> None:
    for name in ("values.txt", "village"):
        (tmp_path / name).write_text("", encoding="utf-8")
    lines = ("tokenize --in v", "tokenize --ca va", "tokenize v", "init v")
    both = ["values.txt", "village"]
    assert [sorted(words) for words in offered(*lines, folder=tmp_path)] == [
        both,
        ["values.txt"],
        [],
        both,
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_every_word(shell: str) -> None:
    text = script(shell)
    for words, place in EVERY.items():
        assert shlex.quote(f" {words}") in text.replace("'\"'\"'", "'") or not words
        for option in place.options:
            assert (option if shell != "fish" else f"-l {option[2:]}") in text or len(option) == 2
    assert text.endswith("\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_that_are_here_can_read_it(shell: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(script(shell), encoding="utf-8")
    if shutil.which(shell):
        done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_that_is_not_known() -> None:
    done = coatcheck_here("completion", "tcsh")
    assert done.returncode == 2
    assert "SHELL is one of bash, zsh, fish" in done.stderr
