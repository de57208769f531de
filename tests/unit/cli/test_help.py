"""Every command explains itself, and says what is wrong with a command line in its own words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest

from tests.support.service import coatcheck_here
from vault import __version__
from vault.cli.main import cli

MARK = "Uqzilmark"


Path = tuple[str, ...]


def commands(group: click.Group, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    """Every command below a group, with its words."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(cli))
LEAVES = [path for path, command in ALL.items() if not isinstance(command, click.Group)]
GROUPS = [path for path, command in ALL.items() if isinstance(command, click.Group)]


def test_the_commands_are_all_here() -> None:
    assert {path[0] for path in ALL} == {
        "agent", "apikey", "approval", "audit", "break-glass", "cell", "completion", "config", "decrypt",
        "detokenize", "detokenize-file", "directory", "doctor", "encrypt", "epoch", "erasure",
        "grant", "hold", "init", "jobs",
        "key", "kill", "kms", "login", "logout", "operator", "policy", "principal", "profile", "region",
        "rekey", "rekey-file", "report", "retention", "review", "schema", "serve", "subject", "template",
        "tenant",
        "tokenize", "tokenize-file",
        "version", "whoami", "worker",
    }  # fmt: skip


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help(path: tuple[str, ...], flag: str) -> None:
    done = coatcheck_here(*path, flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: coatcheck {' '.join(path)} ")
    described = done.stdout.split("\n\n")[1].strip()
    assert described[0].isupper()
    assert len(described) > 10


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_is_described(path: tuple[str, ...]) -> None:
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_takes_what_all_take(path: tuple[str, ...]) -> None:
    names = {parameter.name for parameter in ALL[path].params}
    assert names >= {"json", "quiet", "no_color", "yes"}


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_group_alone_shows_its_help(path: tuple[str, ...]) -> None:
    done = coatcheck_here(*path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Usage: coatcheck {' '.join(path)} ")


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_what_is_typed_is_not_repeated(path: tuple[str, ...]) -> None:
    required = ["operator"] if path == ("principal", "create") else []
    for words in ([f"--{MARK}"], [f"-{MARK}"], [*required, *[MARK] * 5], [f"--json={MARK}"], ["--region"]):
        done = coatcheck_here(*path, *words)
        assert done.returncode == 2, words
        assert done.stderr.startswith("coatcheck: usage: The command was not understood.\n  reason: ")
        assert MARK not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["tokenise"], "there is no such command (near: tokenize, detokenize, tokenize-file)"),
        ([MARK], "there is no such command"),
        (["grant", "revok"], "there is no such command (near: revoke)"),
        (["tokenize"], "FIELD is missing"),
        (["grant", "create"], "--agent is missing"),
        (["grant", "list", "--limit", MARK], "--limit has a value that it does not take"),
        (["grant", "list", "--limti", "1"], "there is no such option (near: --limit"),
        (["principal", "create", MARK, "x"], "KIND is one of operator, service, agent"),
        (["version", MARK], "there are more arguments than it takes"),
        (
            ["tokenize", "field", MARK],
            "there are more arguments than it takes; values and tokens come on standard input or with --in",
        ),
        (["grant", "list", "--limit"], "--limit has no value, or one where it takes none"),
        (["grant", "list", "--timeout", "0"], "--timeout has a value that it does not take"),
    ],
)
def test_reasons(words: list[str], reason: str) -> None:
    done = coatcheck_here(*words)
    assert done.returncode == 2
    assert f"  reason: {reason}" in done.stderr
    assert MARK not in done.stderr
    problem = json.loads(coatcheck_here(*words, "--json").stderr) if words[-1] != "--limit" else {}
    assert problem.get("reason", reason).startswith(reason)
    assert problem.get("code", "usage") == "usage"


def test_the_version() -> None:
    assert coatcheck_here("--version").stdout == f"coatcheck, version {__version__}\n"
    assert json.loads(coatcheck_here("version", "--json").stdout) == {"version": __version__}
