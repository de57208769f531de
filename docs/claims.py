"""Lists the claims of docs/claims.toml and checks them: `python docs/claims.py list`, `... run ID`.

A claim holds when its command ends with 0 and prints what the claim expects. Exit codes: 0 holds,
1 does not hold, 2 no such claim.

`... run all --passed REPORT` does not run again what has just been run: REPORT is what pytest wrote
(`--junit-xml`) when it ran the tests of this very tree. A claim whose command is pytest over whole files
holds by it when the report has as many tests of each file as pytest collects there now, and every one of them
passed; one that failed does not hold; whatever the report does not settle is run as ever. The report also
settles claims that are slow.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
TABLE: Final = ROOT / "docs" / "claims.toml"
DOCUMENTS: Final = {
    "README": "README.md",
    "SECURITY": "SECURITY.md",
    "performance": "docs/explanation/performance.md",
}
MEMBERS: Final = {"text": str, "where": str, "command": str, "expects": str, "slow": bool, "tries": int}
OPTIONAL: Final = frozenset({"slow", "tries"})


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: what is said, where, and what shows it.

    Attributes:
        tries: how often its command may be run: others may use the machine too while speeds are compared.
    """

    id: str
    text: str
    where: str
    command: str
    expects: str
    slow: bool = False
    tries: int = 1

    @property
    def document(self) -> str:
        """The path of the document that makes the claim."""
        return DOCUMENTS[self.where]

    @property
    def arguments(self) -> list[str]:
        """The command's words; `python` is the interpreter that runs this."""
        first, *rest = shlex.split(self.command)
        return [sys.executable if first == "python" else first, *rest]


def load(text: str) -> dict[str, Claim]:
    """The claims of a table, by id.

    Raises:
        ValueError: a claim lacks a member, has one too many or one of another type, names a document
            that is none, runs something else than Python, or expects no regular expression.
    """
    claims = {}
    for id_, row in tomllib.loads(text).get("claims", {}).items():
        for name in {*row, *MEMBERS} - (OPTIONAL - {*row}):
            if name not in MEMBERS or type(row.get(name)) is not MEMBERS[name]:
                raise ValueError(f"claim {id_}: {name} is missing, unknown or of the wrong type")
        claim = Claim(id=id_, **row)
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", id_) is None or id_ == "all":
            raise ValueError(f"claim {id_}: an id is a letter, then letters, digits and hyphens")
        if claim.where not in DOCUMENTS:
            raise ValueError(f"claim {id_}: where is one of {', '.join(DOCUMENTS)}")
        if not claim.command.startswith("python -m "):
            raise ValueError(f"claim {id_}: the command begins with `python -m`")
        try:
            matches_nothing = re.search(claim.expects, "") is not None
        except re.error as fault:
            raise ValueError(f"claim {id_}: expects is no regular expression: {fault}") from None
        if matches_nothing:
            raise ValueError(f"claim {id_}: what it expects is found in no output at all")
        claims[id_] = claim
    return claims


def holds(claim: Claim) -> bool:
    """Says whether a claim holds, in one of its tries."""
    print(f"{claim.id}: {claim.text}", flush=True)
    return any(_shown(claim) for _ in range(claim.tries))


def _shown(claim: Claim) -> bool:
    """Runs what shows a claim, passing its output on, and says whether it did."""
    print(f"$ {claim.command}", flush=True)
    lines = []
    with subprocess.Popen(
        claim.arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode != 0:
        print(f"{claim.id} does not hold: the command ended with {process.returncode}.")
    elif re.search(claim.expects, "".join(lines), re.MULTILINE) is None:
        print(f"{claim.id} does not hold: nothing printed matches {claim.expects!r}.")
    else:
        print(f"{claim.id} holds.")
        return True
    return False


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command over whole files runs: the files, and the word that the names of tests must hold."""

    files: tuple[str, ...]
    word: str = ""

    @classmethod
    def of(cls, claim: Claim) -> Selection | None:
        """What a claim's command runs; None if it is no such command."""
        words = shlex.split(claim.command)
        if words[:4] != ["python", "-m", "pytest", "-q"]:
            return None
        files, word = words[4:], ""
        if "-k" in files:
            *files, option, word = files
            if option != "-k" or not word.isidentifier() or word in ("and", "or", "not"):
                return None
        if not files or not all(re.fullmatch(r"tests/[a-z0-9_/]+\.py", name) for name in files):
            return None
        return cls(tuple(files), word.lower())


@dataclass(slots=True)
class Report:
    """What a run of pytest says of each file's tests.

    Attributes:
        passed: the names of those that passed, by file.
        other: the names of those that failed, were skipped or ended in an error.
        failed: whether there are failures or errors among a file's.
    """

    passed: dict[str, list[str]] = field(default_factory=dict)
    other: dict[str, list[str]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Report:
        """A report that pytest wrote; nothing is known by one that is not there."""
        report = cls()
        if not path.exists():
            return report
        for case in ElementTree.parse(path).iter("testcase"):
            file = _file_of(case.get("classname", ""))
            named = report.other if _unwell(case) else report.passed
            named.setdefault(file, []).append(case.get("name", "").lower())
            if case.find("failure") is not None or case.find("error") is not None:
                report.failed.add(file)
        return report

    def settles(self, chosen: Selection, collected: Mapping[str, int]) -> bool | None:
        """Whether what is chosen passed; None if the report cannot tell.

        Args:
            collected: how many tests pytest finds now, by file.
        """
        if self.failed.intersection(chosen.files):
            return False
        for file in chosen.files:
            passed = self.passed.get(file, [])
            if self.other.get(file) or not passed or len(passed) != collected.get(file):
                return None
        names = [name for file in chosen.files for name in self.passed[file]]
        return True if any(chosen.word in name for name in names) else None


def _unwell(case: ElementTree.Element) -> bool:
    return any(part.tag in ("failure", "error", "skipped") for part in case)


def _file_of(classname: str) -> str:
    """The file of a test by its class name: the module's name, and the names of classes in it."""
    parts = classname.split(".")
    while parts and not parts[-1].startswith("test_"):
        parts.pop()  # a class
    return "/".join(parts) + ".py"


def collected(files: set[str]) -> dict[str, int]:
    """How many tests pytest finds in each file."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", *sorted(files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    counts = re.findall(r"^(tests/\S+\.py): (\d+)$", done.stdout, re.MULTILINE)
    return {name: int(count) for name, count in counts}


def list_(claims: dict[str, Claim]) -> int:
    """Prints every claim: its id, where it is made, and its text."""
    for claim in claims.values():
        print(f"{claim.id:<6} {claim.where:<12} {claim.text}{' (slow)' if claim.slow else ''}")
    if not claims:
        print("There are no claims yet.")
    return 0


def settled(claims: dict[str, Claim], path: Path) -> dict[str, bool]:
    """Which claims hold and which do not by a report of tests, by id; the others it does not settle."""
    selections = {id_: chosen for id_, claim in claims.items() if (chosen := Selection.of(claim)) is not None}
    report = Report.read(path)
    known = {file for chosen in selections.values() for file in chosen.files}
    if not known.intersection(report.passed.keys() | report.failed):
        return {}
    found = collected(known)
    verdicts = {id_: report.settles(chosen, found) for id_, chosen in selections.items()}
    return {id_: verdict for id_, verdict in verdicts.items() if verdict is not None}


def run(claims: dict[str, Claim], id_: str, report: Path | None = None) -> int:
    """Checks one claim, or with `all` every one that is not slow or that a report of tests settles."""
    if id_ != "all" and id_ not in claims:
        known = ", ".join(claims) or "none yet"
        print(f"There is no claim {id_ or 'without an id'}. Claims: {known}.", file=sys.stderr)
        return 2
    by_report = {} if report is None else settled(claims, report)
    for name, verdict in by_report.items():
        print(f"{name} {'holds' if verdict else 'does not hold'} by the report of the tests.", flush=True)
    chosen = [claims[id_]] if id_ != "all" else [claim for claim in claims.values() if not claim.slow]
    failed = [name for name, verdict in by_report.items() if not verdict]
    left = [claim for claim in chosen if claim.id not in by_report]
    failed += [claim.id for claim in left if not holds(claim)]
    if id_ == "all":
        checked = len(by_report) + len(left)
        print(f"claims: {checked - len(failed)} hold, {len(failed)} do not: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """The command line: `list`, or `run ID`."""
    claims = load(TABLE.read_text(encoding="utf-8"))
    match arguments:
        case ["list"]:
            return list_(claims)
        case ["run"]:
            return run(claims, "")
        case ["run", "all", "--passed", report]:
            return run(claims, "all", Path(report))
        case ["run", id_]:
            return run(claims, id_)
    print("usage: python docs/claims.py list | run ID | run all [--passed REPORT]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
