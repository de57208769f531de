"""Every claim that a document makes is in the table with a command that exists, and the other way round."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rules.test_documents import ROOT, script

MARKER = re.compile(r"\(claim: ([A-Za-z0-9-]+)\)")


claims = script("claims")
TABLE = claims.load((ROOT / "docs" / "claims.toml").read_text(encoding="utf-8"))


def documents(root: Path = ROOT) -> dict[str, str]:
    """The text of every document that may make a claim, by path."""
    paths = [root / "README.md", root / "SECURITY.md", *sorted((root / "docs").rglob("*.md"))]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths if path.exists()}


def unknown(texts: dict[str, str], ids: set[str]) -> list[str]:
    """Claims made that are not in the table."""
    return [
        f"{path}: {id_}" for path, text in texts.items() for id_ in MARKER.findall(text) if id_ not in ids
    ]


def unmade(texts: dict[str, str], homes: dict[str, str]) -> list[str]:
    """Claims of the table that the document named does not make; a document may be still to be written."""
    return [id_ for id_, path in homes.items() if path in texts and id_ not in MARKER.findall(texts[path])]


def lacking(command: str, root: Path = ROOT) -> list[str]:
    """What a command names that is not there: a module, a file, or a test in a file."""
    words = command.split()
    gone = []
    if words[:3] == ["python", "-m", "bench"]:
        gone += [] if (root / "bench" / "__main__.py").exists() else ["bench"]
    elif words[:3] != ["python", "-m", "pytest"]:
        gone.append(" ".join(words[:3]))
    for word in words:
        if word.startswith(("tests/", "bench/")):
            path, *names = re.sub(r"\[.*\]$", "", word).split("::")
            if not (root / path).exists():
                gone.append(path)
            else:
                text = (root / path).read_text(encoding="utf-8") if names else ""
                gone += [word for name in names if not re.search(rf"\b(?:def|class) {name}\b", text)]
    return gone


def test_every_claim_made_is_in_the_table() -> None:
    assert unknown(documents(), set(TABLE)) == []


def test_every_claim_in_the_table_is_made() -> None:
    assert unmade(documents(), {claim.id: claim.document for claim in TABLE.values()}) == []


def test_what_shows_a_claim_exists() -> None:
    assert {id_: lacking(claim.command) for id_, claim in TABLE.items() if lacking(claim.command)} == {}


def test_a_claim_out_of_thin_air_is_found() -> None:
    texts = {"README.md": "Fast (claim: F1) and exact (claim: P2).", "SECURITY.md": ""}
    assert unknown(texts, {"P2"}) == ["README.md: F1"]
    assert unmade(texts, {"P2": "SECURITY.md", "F1": "README.md", "P3": "docs/not-written-yet.md"}) == ["P2"]


@pytest.mark.parametrize(
    "command",
    [
        "python -m pytest tests/rules/test_nothing.py",
        "python -m pytest tests/rules/test_claims.py::test_nothing",
        "python -m pytest -q tests/rules/test_claims.py::TestNothing::test_nothing",
        "python -m json.tool x",
    ],
)
def test_a_command_that_shows_nothing_is_found(command: str) -> None:
    assert (
        lacking(
            "python -m pytest -q tests/rules/test_claims.py::test_a_command_that_shows_nothing_is_found[x]"
        )
        == []
    )
    assert lacking(command)


ROW = """
[claims.P12]
text = "Ten is more than nine."
where = "README"
command = "python -m timeit"
expects = 'loops'
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('text = "Ten is more than nine."\n', ""),
        ("expects = 'loops'\n", ""),
        ('where = "README"', 'where = "BLOG"'),
        ('where = "README"', 'where = "README"\nwhen = "now"'),
        ('where = "README"', 'where = "README"\nslow = "yes"'),
        ('where = "README"', 'where = "README"\ntries = true'),
        ('"python -m timeit"', '"timeit"'),
        ('"python -m timeit"', '["python", "-m", "timeit"]'),
        ("'loops'", "'loops('"),
        ("'loops'", "'.*'"),
        ("P12", "all"),
        ("P12", '"P 12"'),
    ],
)
def test_a_bad_row_is_refused(old: str, new: str) -> None:
    assert claims.load(ROW)["P12"].where == "README"
    assert claims.load(ROW + "slow = true")["P12"].slow
    with pytest.raises(ValueError, match="claim"):
        claims.load(ROW.replace(old, new))


@pytest.mark.parametrize(
    ("command", "expects", "answer"),
    [
        ("python -m timeit -n 1 -r 1 pass", r"^1 loop, best of 1: .* per loop$", 0),
        ("python -m timeit -n 1 -r 1 pass", r"^2 loops", 1),
        ("python -m timeit -n 1 -r 1 1/0", "ZeroDivisionError", 1),
        ("python -m no_such_module", "No module named", 1),
    ],
)
def test_a_claim_is_put_to_the_test(
    command: str, expects: str, answer: int, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"X1": claims.Claim("X1", "It is so.", "README", command, expects)}
    assert claims.run(table, "X1") == answer
    assert ("X1 holds." in capsys.readouterr().out) == (answer == 0)
    assert claims.run(table, "all") == answer


def test_an_unknown_id_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = {id_: claims.Claim(id_, "It is so.", "README", "python -m timeit", "x") for id_ in ("P1", "P2")}
    assert claims.run(table, "P3") == 2
    assert "There is no claim P3. Claims: P1, P2." in capsys.readouterr().err
    assert claims.main(["run"]) == 2
    assert claims.main([]) == 2


def test_slow_claims_are_left_to_those_who_ask(capsys: pytest.CaptureFixture[str]) -> None:
    table = {"P1": claims.Claim("P1", "It is so.", "README", "python -m no_such_module", "x", slow=True)}
    assert claims.run(table, "all") == 0
    assert claims.list_(table) == 0
    assert "It is so. (slow)" in capsys.readouterr().out


def test_a_ratio_of_speeds_may_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    code = f"import pathlib; p = pathlib.Path({str(path)!r}); p.touch(); n = len(p.read_text()); "
    code += "p.write_text('x' * (n + 1)); print('pass' if n == 2 else 'fail')"
    row = claims.load(ROW.replace("'loops'", "'pass'") + "tries = 3")["P12"]
    claim = type(row)("P12", "", "README", f"python -c {shlex.quote(code)}", "pass", tries=3)
    assert claims.holds(claim)
    assert path.read_text() == "xxx"
    path.write_text("xxxx")
    assert not claims.holds(claim)
    assert path.read_text() == "x" * 7


def test_only_ratios_of_speeds_are_tried_again() -> None:
    assert {id_ for id_, claim in TABLE.items() if claim.tries > 1} == {
        id_ for id_, claim in TABLE.items() if claim.command.startswith("python -m bench")
    }


TESTS = """
def test_a_one(): pass
def test_a_two(): pass
def test_b_three(): pass
"""


class Suite:
    """A tree with tests of its own, and what pytest reported of them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.report, self.file = root, root / "report.xml", root / "tests" / "test_some.py"
        self.file.parent.mkdir()
        (self.file.parent / "__init__.py").write_text("")
        (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
        self.file.write_text(TESTS)
        monkeypatch.setattr(claims, "ROOT", root)
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading them takes longer than the rest

    def run(self, *more: str) -> None:
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={self.report}", *more, "tests"]
        subprocess.run(command, cwd=self.root, capture_output=True, check=False)

    def settled(self, command: str = "python -m pytest -q tests/test_some.py", **more: Any) -> bool | None:
        """What the report says of a claim; None: nothing."""
        claim = claims.Claim("X1", "It is so.", "README", command, "passed", **more)
        return claims.settled({"X1": claim}, self.report).get("X1")  # type: ignore[no-any-return]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    return Suite(tmp_path, monkeypatch)


def test_what_the_tests_have_shown_is_not_run_again(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    suite.run()
    assert suite.settled() is True
    assert suite.settled("python -m pytest -q tests/test_some.py -k a", slow=True) is True
    command = "python -m pytest -q tests/test_some.py"
    table = {"X1": claims.Claim("X1", "It is so.", "README", command, "passed", slow=True)}
    table["X2"] = claims.Claim("X2", "So is it.", "README", "python -m timeit -n 1 -r 1 pass", "1 loop")
    assert claims.run(table, "all", suite.report) == 0
    said = capsys.readouterr().out
    assert "X1 holds by the report of the tests." in said
    assert said.count("$ ") == 1  # the other's command was run
    assert "claims: 2 hold, 0 do not: none" in said


def test_a_report_settles_only_commands_over_whole_files_that_it_has(suite: Suite) -> None:
    suite.run()
    commands = [
        "python -m pytest -q tests/test_some.py -k nothing",
        "python -m pytest -q tests/test_some.py -k 'not a'",
        "python -m pytest -q tests/test_some.py tests/test_other.py",
        "python -m pytest -q tests/test_some.py::test_a_one",
        "python -m pytest -q tests",
        "python -m pytest -q -x tests/test_some.py",
        "python -m pytest tests/test_some.py",
        "python -m pytest -q",
        "python -m bench ff1",
    ]
    assert {command: suite.settled(command) for command in commands} == dict.fromkeys(commands)


def test_a_report_of_some_tests_settles_nothing(suite: Suite) -> None:
    assert suite.settled() is None  # there is none
    suite.run("-k", "a")
    assert suite.settled() is None
    suite.run()
    suite.file.write_text(TESTS + "\ndef test_a_new_one(): pass\n")
    assert suite.settled() is None


def test_what_was_skipped_is_not_settled(suite: Suite) -> None:
    suite.file.write_text(TESTS + "\nimport pytest\ndef test_away(): pytest.skip('away')\n")
    suite.run()
    assert suite.settled() is None


@pytest.mark.parametrize("fault", ["def test_worse(): assert False", "def test_worse(absent): pass"])
def test_what_failed_does_not_hold(suite: Suite, fault: str) -> None:
    suite.file.write_text(f"{TESTS}\n{fault}\n")
    suite.run()
    assert suite.settled() is False
    assert suite.settled("python -m pytest -q tests/test_some.py -k a") is False
    claim = claims.Claim("X1", "It is so.", "README", "python -m pytest -q tests/test_some.py", "passed")
    assert claims.run({"X1": claim}, "all", suite.report) == 1


def test_the_claims_of_tests_are_ones_that_a_report_can_settle() -> None:
    """Else `.ci/run` runs twice what takes minutes."""
    shown_by_tests = [id_ for id_, claim in TABLE.items() if not claim.command.startswith("python -m bench")]
    assert [id_ for id_ in shown_by_tests if claims.Selection.of(TABLE[id_]) is None] == []
