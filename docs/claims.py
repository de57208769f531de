"""Lists the claims of docs/claims.toml and checks them: `python docs/claims.py list`, `... run ID`.

A claim holds when its command ends with 0 and prints what the claim expects. Exit codes: 0 holds,
1 does not hold, 2 no such claim.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
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


def list_(claims: dict[str, Claim]) -> int:
    """Prints every claim: its id, where it is made, and its text."""
    for claim in claims.values():
        print(f"{claim.id:<6} {claim.where:<12} {claim.text}{' (slow)' if claim.slow else ''}")
    if not claims:
        print("There are no claims yet.")
    return 0


def run(claims: dict[str, Claim], id_: str) -> int:
    """Checks one claim, or with `all` every one that is not slow."""
    if id_ != "all" and id_ not in claims:
        known = ", ".join(claims) or "none yet"
        print(f"There is no claim {id_ or 'without an id'}. Claims: {known}.", file=sys.stderr)
        return 2
    chosen = [claims[id_]] if id_ != "all" else [claim for claim in claims.values() if not claim.slow]
    failed = [claim.id for claim in chosen if not holds(claim)]
    if id_ == "all":
        print(
            f"claims: {len(chosen) - len(failed)} hold, {len(failed)} do not: {', '.join(failed) or 'none'}"
        )
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """The command line: `list`, or `run ID`."""
    claims = load(TABLE.read_text(encoding="utf-8"))
    match arguments:
        case ["list"]:
            return list_(claims)
        case ["run"]:
            return run(claims, "")
        case ["run", id_]:
            return run(claims, id_)
    print("usage: python docs/claims.py list | run ID | run all", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
