"""Pages speak of what is there: commands, options, codes, settings, files; and every page is found.

That links lead somewhere is checked in test_documents.py, that commands print what is shown in
tests/scenario/test_readme.py.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import click
import pytest

import vault.__main__  # noqa: F401 - adds `serve` to the command line
from tests.rules.test_documents import CODE, FENCE, LINK, ROOT, documents, script
from vault import config
from vault.audit.event import KINDS
from vault.cli.main import cli
from vault.cli.templates import DEVELOPMENT_SCHEMA
from vault.config.settings import NOT_BUILT
from vault.errors import CoatcheckError
from vault.schema.document import parse_toml

build = script("build")

Finder = Callable[[str], Iterator[str]]

SPOKEN = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```(console|sh|text|ini)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"(?<![\w./-])coatcheck((?: +[^\s|;<>&()`]+)*)")
WORD = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
SETTING = re.compile(r"(?:listen|tls|cell|region|ledger|limits|log)\.[a-zA-Z_.]+")
VARIABLE = re.compile(r"\bCOATCHECK_[A-Z][A-Z_]*")
PATH = re.compile(r"(?:tests|vault|docs|bench|migrations|\.ci)/[\w./-]*")
HERE = re.compile(r"<<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What pages may name although nothing has it yet, and what is another program's.
PLANNED = {"keys_removed", "epoch_closed", "kms_destroyed", "last_use", "on_error"}
OTHERS = {"limit_req_zone", "max_connections", "remote_apply", "pg_xact_status"}
FOR_TESTS = {"COATCHECK_FULL", "COATCHECK_VECTORS", "COATCHECK_SECTION__KEY"}


def calls(text: str) -> Iterator[list[str]]:
    """The words behind `coatcheck` wherever a page shows a command: in blocks, and in code within a line."""
    shown = []
    for language, block in BLOCK.findall(text):
        lines = block.splitlines()
        typed = [line for line in lines if line.startswith(("$ ", "> "))] if language == "console" else lines
        shown.append("\n".join(typed))
    shown += [code for code in SPOKEN.findall(FENCE.sub("", text)) if code.startswith("coatcheck ")]
    for part in shown:
        for call in CALL.findall(part.replace("\\\n", " ")):
            if call.strip():
                yield call.split()


def unknown_commands(text: str) -> Iterator[str]:
    """Commands and options that the command line does not have."""
    for words in calls(text):
        command: click.Command = cli
        rest = list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.commands.get(rest.pop(0))
            if found is None:
                break
            command = found
        else:
            known = {option for item in command.params for option in item.opts} | {
                "--help",
                "-h",
                "--version",
            }
            strange = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
            if not strange:
                continue
        yield "coatcheck " + " ".join(words)


@cache
def vocabulary() -> frozenset[str]:
    """Every name with an underscore in the package and in the vectors."""
    paths = [*(ROOT / "vault").rglob("*.py"), *(ROOT / "tests" / "vectors").glob("*.json")]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return frozenset(WORD.findall("\n".join(texts)))


def unknown_words(text: str) -> Iterator[str]:
    """Words in code that look like codes, members or settings, and that nothing in the package is called.

    A page's own notation, as the formulas of a specification have it, stands in a block of the page.
    """
    notation = {word for block in FENCE.finditer(text) for word in WORD.findall(block[0])}
    for code in SPOKEN.findall(FENCE.sub("", text)):
        if WORD.fullmatch(code) and code not in vocabulary() | PLANNED | OTHERS | notation:
            yield code


def unknown_settings(text: str) -> Iterator[str]:
    """Settings that coatcheck.toml does not have; those that are not built may stand on their own page."""
    for code in SPOKEN.findall(FENCE.sub("", text)):
        if SETTING.fullmatch(code) and code not in {*build.SETTINGS, *not_built(), *KINDS}:
            yield code


def not_built() -> set[str]:
    """Settings of the design that are refused by name."""
    return {f"{table}.{name}" for table, names in NOT_BUILT.items() for name in names}


def unknown_variables(text: str) -> Iterator[str]:
    """Environment variables that nothing reads."""
    known = {f"COATCHECK_{name}" for name in build._ENVIRONMENT} | FOR_TESTS
    settings = {name.upper().replace(".", "__") for name in build.SETTINGS}
    for name in VARIABLE.findall(text):
        as_setting = re.sub(r"^(CELL|REGION)__[A-Z]+__", r"\1__REGION__", name.removeprefix("COATCHECK_"))
        if name not in known and as_setting not in settings:
            yield name


def unknown_paths(text: str) -> Iterator[str]:
    """Paths of the checkout in code that do not exist."""
    for code in SPOKEN.findall(FENCE.sub("", text)):
        if (
            PATH.fullmatch(code)
            and not (ROOT / code).exists()
            and "half-0" not in code
            and "root-0" not in code
        ):
            yield code


def other_vaults(text: str) -> Iterator[str]:
    """HashiCorp's product under any other name."""
    yield from re.findall(r"[^\n]{0,30}(?<!HashiCorp )\bVault\b(?![`_])[^\n]{0,30}", FENCE.sub("", text))


def refused_files(text: str) -> Iterator[str]:
    """coatcheck.toml and schema.toml as pages show them, where the program refuses them."""
    for part in [*HERE.findall(text), *TOML.findall(text)]:
        try:
            if "[cell." in part:
                config.build(tomllib.loads(part), {}, Path())
            elif "[fields." in part:
                whole = part if "[retention." in part else f"{DEVELOPMENT_SCHEMA}\n{part}"
                parse_toml(whole)
        except CoatcheckError as problem:
            yield f"{problem}: {problem.facts}"


RULES: tuple[Finder, ...] = (
    unknown_commands,
    unknown_words,
    unknown_settings,
    unknown_variables,
    unknown_paths,
    other_vaults,
    refused_files,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_pages_speak_of_what_is_there(rule: Finder) -> None:
    found = {
        str(page.relative_to(ROOT)): list(rule(page.read_text(encoding="utf-8"))) for page in documents()
    }
    assert {page: names for page, names in found.items() if names} == {}


GOOD = """
Run `coatcheck grant create --agent x` ([codes](c.md): `token_unknown`), see `limits.items`, COATCHECK_KEY,
COATCHECK_LIMITS__ITEMS, `tests/rules/house.py`, HashiCorp Vault.

```console
$ echo x | coatcheck tokenize customer.ssn --in file > out; coatcheck -h
Usage: coatcheck grant show [OPTIONS] GRANT
```
"""


@pytest.mark.parametrize(
    ("rule", "planted"),
    [
        (unknown_commands, "Run `coatcheck cell bury`."),
        (unknown_commands, "```sh\nx=$(coatcheck grant\\\n widen gr_1)\n```"),
        (unknown_commands, "```console\n$ coatcheck grant create --width 3\n```"),
        (unknown_commands, "`coatcheck init --production=yes`"),
        (unknown_words, "It answers `token_unheard_of`."),
        (unknown_settings, "Set `limits.patience`."),
        (unknown_settings, "Set `cell.REGION.vault`."),
        (unknown_variables, "Set COATCHECK_TOKEN."),
        (unknown_variables, "Set `COATCHECK_LIMITS__PATIENCE=1`."),
        (unknown_paths, "See `tests/rules/test_nothing.py`."),
        (other_vaults, "Vault keeps secrets."),
        (
            refused_files,
            "```toml\n[cell.eu]\ndatabase = 'postgresql:///x'\nkms = 'local:x'\nhalf_stores = []\n```",
        ),
        (refused_files, "cat <<'END'\n[fields.x]\ntemplate = 'shoe'\nEND\n"),
    ],
)
def test_what_is_not_there_is_found(rule: Finder, planted: str) -> None:
    assert list(rule(GOOD)) == []
    assert len(list(rule(GOOD + planted + "\n"))) == 1


def links(page: Path) -> set[Path]:
    """The files of the checkout that a page links to."""
    text = CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    targets = (match[1] or match[2] for match in LINK.finditer(text))
    return {
        (page.parent / target.partition("#")[0]).resolve()
        for target in targets
        if not re.match(r"[a-z][a-z+.-]*:|#", target)
    }


def lost(start: Path, pages: list[Path]) -> list[str]:
    """The pages that nobody finds who begins at `start` and follows links."""
    seen: set[Path] = set()
    front = [start]
    while front:
        page = front.pop()
        if page not in seen and page.suffix == ".md" and page.exists():
            seen.add(page)
            front += links(page)
    return sorted(page.name for page in pages if page.resolve() not in seen)


def test_every_page_is_found_from_the_readme() -> None:
    assert lost(ROOT / "README.md", documents()) == []


def test_every_how_to_is_linked_from_the_index() -> None:
    pages = {page.resolve() for page in (ROOT / "docs" / "how-to").glob("*.md")}
    assert pages
    assert pages - links(ROOT / "docs" / "index.md") == set()


def test_a_lost_page_is_found(tmp_path: Path) -> None:
    names = ("readme.md", "found.md", "lost.md")
    pages = [tmp_path / name for name in names]
    for page in pages:
        page.write_text("", encoding="utf-8")
    pages[0].write_text("[a](found.md#x) `[b](lost.md)` [c](https://example.org)", encoding="utf-8")
    assert lost(pages[0], pages) == ["lost.md"]


def test_the_reference_is_current() -> None:
    assert build.stale() == [], "run `python docs/build.py`"


def test_a_stale_page_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "reference"
    shutil.copytree(build.FOLDER, folder)
    (folder / "codes.md").write_text("# Codes\n", encoding="utf-8")
    (folder / "more.md").write_text("# By hand\n", encoding="utf-8")
    (folder / "cli.md").unlink()
    assert set(build.stale(folder)) >= {"cli.md", "codes.md", "more.md"}


def test_the_reference_is_the_same_each_time() -> None:
    assert build.pages() == build.pages()
