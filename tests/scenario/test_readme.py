"""The commands of README.md and of the tutorial run as they stand, and print what the pages show.

A `console` block shows commands behind `$ ` and what they print; an `sh` block only commands, which must
succeed. All commands of a page run in one shell, in order, against a fresh development deployment that is
served as `make run` serves it. Ids, times and tokens differ from run to run, so they are compared as
placeholders. COATCHECK_FULL=1 runs the how-to pages as well. `python -m tests.scenario.test_readme PAGE...`
writes what the commands print into the pages.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.service import ROOT, environment, running

FULL = os.environ.get("COATCHECK_FULL") == "1"
TUTORIAL = "docs/tutorial.md"
HOW_TO = tuple(sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "how-to").glob("*.md")))
PAGES = ("README.md", TUTORIAL, *(HOW_TO if FULL else ()))
PORT = "8700"  # the one that the pages name
PATIENCE_S = 120.0
FENCE = re.compile(r"^```(console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "\x1e"  # between what one command printed and the next
_MARKING = "\ncode=$?; printf '\\n\\036%d\\036' $code; (exit $code)\n"  # and `$?` is still the command's

# What differs between two runs. Widths of tables differ with it, so white space counts as one blank.
PLACEHOLDERS = (
    (re.compile(r"\b(c[kg]_[0-9A-Z]{26})_[0-9A-Za-z]{43}\b"), r"\1_SECRET"),
    (re.compile(r"\b(ck|cg|gr|pr|dec|req|sub|key|tn)_[0-9A-Z]{26}"), r"\1_ID"),
    (re.compile(r"\btok_[a-z2-7]{26}\b"), "tok_TOKEN"),
    (re.compile(r"\b\d+ s after the last event"), "N s after the last event"),
    (re.compile(r"\bve1\.[A-Za-z0-9_-]+"), "ve1.CIPHERTEXT"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
    (re.compile(r"\bhost:\d+"), "host:UID"),
    (re.compile(r"^\d+(?= +TIME)", re.MULTILINE), "N"),  # a minute's count of failures may come in between
    (re.compile(r" {2,}"), " "),
)
SSN = re.compile(r"\b\d{3}-\d\d-\d{4}\b")


@dataclass(frozen=True)
class Step:
    """A command of a page, what the page says it prints, and where that stands in the page's text."""

    command: str
    shown: str | None  # None: not shown, but the command must succeed
    start: int
    end: int


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    printed: str
    code: int


def steps(text: str) -> Iterator[Step]:
    """The commands of a page, in order."""
    for block in FENCE.finditer(text):
        if block[1] == "sh":
            lines = [line for line in block[2].splitlines() if not line.startswith("make ")]
            if lines:
                yield Step("\n".join(lines), None, block.start(2), block.end(2))
            continue
        yield from _console(block[2], block.start(2))


def _console(body: str, offset: int) -> Iterator[Step]:
    """The commands of a console block: `$ ` begins one, `> ` continues it, the rest is printed."""
    command: list[str] = []
    start = offset
    shown = ""
    for line in body.splitlines(keepends=True):
        offset += len(line)
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), shown, start, start + len(shown))
            command, shown, start = [line[2:].rstrip("\n")], "", offset
        elif line.startswith("> ") and not shown:
            command.append(line[2:].rstrip("\n"))
            start = offset
        else:
            shown += line
    if command:
        yield Step("\n".join(command), shown, start, start + len(shown))


def comparable(printed: str, given: str) -> str:
    """What was printed, without what differs between two runs.

    Args:
        given: the page's commands; numbers that stand in them are values, others of their shape tokens.
    """
    text = SSN.sub(lambda found: found[0] if found[0] in given else "TOKEN", printed)
    for pattern, placeholder in PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def shell_of_the_tutorial() -> str:
    """The commands that make a shell ready in the tutorial; how-to pages that say so go on from there."""
    text = (ROOT / TUTORIAL).read_text(encoding="utf-8")
    return next(step.command for step in steps(text) if step.command.startswith("export PATH"))


def before(text: str) -> str:
    """What a page assumes to have been run."""
    return shell_of_the_tutorial() if "shell of the [tutorial]" in " ".join(text.split()) else ""


def perform(wanted: list[Step], folder: Path, first: str = "") -> list[Outcome]:
    """Runs a page's commands in one shell on a terminal, beside a service in `folder`/var.

    Args:
        first: commands to run before.
    """
    (folder / ".venv").symlink_to(sys.prefix)
    with running(folder / "var") as service:
        script = f"PATH=$PWD/.venv/bin:$PATH\n{first}\n" + "".join(step.command + _MARKING for step in wanted)
        (folder / "script").write_text(script.replace(PORT, str(service.port)), encoding="utf-8")
        printed = _on_a_terminal(["bash", "script"], folder)
    shown = printed.replace("\r\n", "\n").replace(str(service.port), PORT).replace(str(folder), "...")
    parts = shown.split(MARK)
    assert len(parts) == 2 * len(wanted) + 1, printed
    return [
        Outcome(out.removesuffix("\n"), int(code)) for out, code in zip(parts[::2], parts[1::2], strict=False)
    ]


def _on_a_terminal(command: list[str], folder: Path) -> str:
    """What a command prints on a terminal: lines come in the order in which a person sees them."""
    given = environment({"NO_COLOR": "1", "HOME": str(folder), "LANG": "C.UTF-8"})
    # PYTHONUNBUFFERED among others: what goes through a pipe would come in another order.
    shell = {name: value for name, value in given.items() if not name.startswith("PYTHON")}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, cwd=folder, env=shell, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        printed = b""
        end = time.monotonic() + PATIENCE_S
        try:
            while select.select([ours], [], [], end - time.monotonic())[0]:
                part = os.read(ours, 65_536)
                if not part:
                    break
                printed += part
        except OSError:  # the other side of the terminal is closed: the shell has ended (Linux)
            pass
        finally:
            os.close(ours)
            process.kill()
    return printed.decode()


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_print_what_it_shows(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    wanted = list(steps(text))
    given = "\n".join(step.command for step in wanted)
    for step, outcome in zip(wanted, perform(wanted, tmp_path, before(text)), strict=True):
        if step.shown is None:
            assert outcome.code == 0, f"{page}: {step.command}\n{outcome.printed}"
        else:
            assert comparable(outcome.printed, given) == comparable(step.shown, given), step.command


def test_make_targets_that_pages_name_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for page in ("README.md", TUTORIAL):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = [
            line for block in FENCE.finditer(text) for line in re.findall(r"^make (\w+)", block[2], re.M)
        ]
        assert named, f"{page} does not say how to start"
        assert set(named) <= set(targets)


BLOCKS = """
```sh
make run
true
```
```text
$ not a command
```
```console
$ one
> more
out
> put
$ two
```
"""


def test_a_page_is_taken_apart() -> None:
    found = [(step.command, step.shown) for step in steps(BLOCKS)]
    assert found == [("true", None), ("one\nmore", "out\n> put\n"), ("two", "")]


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("123-45-6789\n", True),
        ("123-45-6780\n", False),  # neither the value nor, where a value belongs, a token
        ("uses left 1", False),
        ("coatcheck: scope_denied: The grant does not cover this.", False),
        ("", False),
    ],
)
def test_another_value_is_not_taken_for_the_one_shown(printed: str, same: bool) -> None:
    given = "echo 123-45-6789 | coatcheck tokenize customer.ssn"
    assert (comparable(printed, given) == comparable("123-45-6789", given)) is same


def test_ids_times_and_tokens_may_differ() -> None:
    one = "7   2026-11-23T15:46:50.214432Z  tokenize  dec_01M84HDAQ6FGGTNPKJ4XDMB4D1\n264-34-1794"
    other = "8  2027-01-02T03:04:05Z  tokenize  dec_01M84HEH1XF258HTYPG439S3SW\n999-99-9999\n"
    assert comparable(one, "") == comparable(other, "")
    assert comparable(one, "") != comparable(other.replace("tokenize", "detokenize"), "")


def write(page: Path) -> None:
    """Puts what a page's commands print into the page."""
    text = page.read_text(encoding="utf-8")
    wanted = list(steps(text))
    with tempfile.TemporaryDirectory() as folder:
        outcomes = perform(wanted, Path(folder), before(text))
    for step, outcome in reversed(list(zip(wanted, outcomes, strict=True))):
        if step.shown is not None:
            printed = outcome.printed.strip("\n")
            text = text[: step.start] + (printed + "\n" if printed else "") + text[step.end :]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:] or PAGES:
        write(ROOT / name)
