"""Rotates index keys under load, and kills the worker at named points (P7).

    python -m tests.harness.reindex --database sqlite --seeds 20
    python -m tests.harness.reindex --database postgresql --seeds 20
    python -m tests.harness.reindex --database postgresql --seeds 20 --turn
    python -m tests.harness.reindex --control

For each seed a cell is made and three rotations are begun: of the index of a field, of that of a shaped
field, and of the references to people. One process after the other goes on with them, and each ends itself
(SIGKILL) at its point; the last one finishes. Reads and writes of old and new values go on in every one of
them, and on PostgreSQL in three bystanders that are never killed. Equal values must have one token, and
people one row; what was ever acknowledged must come back; nothing may be left of the version before, and no
read may fail. The last line on standard output counts what was found; the exit code is 0 when nothing was.
`--control` runs a program that writes rows by one version only while the other one's are made: that must be
found.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.harness.turns import (
    KILLED,
    OFTEN,
    Place,
    Report,
    ended,
    fork,
    look_up,
    make,
    stand_by,
    work,
)
from tests.support.cells import EMAIL, HANDLE, REGION, BuiltCell
from tests.support.databases import postgresql, sqlite
from vault.keyring.field_keys import FieldKeys, IndexVersions
from vault.services import reindex, turning
from vault.services.audit import verify
from vault.services.field_keys import ReasonBody, rotate_key
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page
from vault.services.turn import TurnBody, start_turn

POINTS: Final = (
    *(f"{when} {step}" for step in reindex.STEPS for when in ("before", "after")),
    "a batch opened", "before a commit", "after a commit",
)  # fmt: skip
FEW: Final = {**OFTEN, "a batch opened": 6, "before sweep": 4, "before fill": 6}
BYSTANDERS: Final = 3  # with the worker, four processes


def begin(built: BuiltCell, *, turn: bool = False) -> None:
    """Rotates what can be, and turns the epoch beside it if that is wanted."""
    if turn:
        built.run(start_turn, TurnBody(turning.DROP), by="host")
    for field, kind in ((EMAIL, "blind-index"), (HANDLE, "blind-index"), (None, "subject-reference")):
        rows = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind=kind), by=built.admin).items
        for row in rows:
            if row.field == field:
                built.run(rotate_key, row.id, ReasonBody(), by=built.admin)


def weaken() -> None:
    """The control: rows are written by the version that is looked up by, and by no other."""
    found: Callable[[FieldKeys], IndexVersions] = FieldKeys.index.fget  # type: ignore[attr-defined]

    def one_sided(self: FieldKeys) -> IndexVersions:
        read = found(self).read
        return IndexVersions(read, (read,))

    FieldKeys.index = property(one_sided)  # type: ignore[assignment,method-assign]


def run_seed(
    report: Report,
    database: str,
    seed: int,
    points: Sequence[str],
    folder: Path,
    *,
    control: bool,
    turn: bool,
) -> None:
    """One cell, killed at each of the points that the rotations come to, then finished and looked at."""
    folder.mkdir()
    rng = random.Random(f"reindex {seed}")
    place = Place(folder, sqlite(folder, f"{REGION}.db") if database == "sqlite" else postgresql(empty=True))
    report.seeds += 1
    weakens = weaken if control else None

    def wrong(what: str) -> None:
        report.wrong.append(f"seed {seed}, {what}: {(folder / 'stderr').read_text()[-600:]}")

    assert ended(fork(place, lambda: make(place, lambda built: begin(built, turn=turn)))) == 0, (
        folder / "stderr"
    ).read_text()[-2000:]
    count = 0 if database == "sqlite" else BYSTANDERS
    bystanders = [
        fork(place, lambda number=number: stand_by(place, f"{seed} by {number}"))  # type: ignore[misc]
        for number in range(count)
    ]
    for number, point in enumerate(points):
        plan = (point, rng.randint(1, FEW.get(point, 1)))
        code = ended(fork(place, lambda: work(place, f"{seed} {number}", plan, weakens, reindex.STEPS)))  # noqa: B023
        if code == KILLED:
            report.kills += 1
            report.killed[point] += 1
        elif code == 0:
            break  # done before it came to this point
        else:
            wrong(point)
            break
    if ended(fork(place, lambda: work(place, f"{seed} end", None, weakens, reindex.STEPS))) != 0:
        wrong("end")
    (folder / "over").touch()
    for bystander in bystanders:
        if ended(bystander) != 0:
            wrong("bystander")
    if ended(fork(place, lambda: place.append("found", *look(place)))) != 0:
        wrong("look")
    for part, sentence in place.lines("found"):
        getattr(report, part).append(f"seed {seed}: {sentence}")
    report.failed += [f"seed {seed}: {line}" for line in place.lines("failures")]
    report.acknowledged += len(place.lines("journal"))
    report.reads += sum(place.lines("reads"))


def look(place: Place) -> Iterator[tuple[str, str]]:
    """What is to be said against the cell after the rotations."""
    with place.open() as built:
        tables, store = built.cell.store.tables, built.cell.store
        for field in (EMAIL, HANDLE, ""):
            left, there = (reindex.rows_of(built.cell, "main", field, version) for version in (1, 2))
            if left or not there:
                yield "left", f"{left} rows of {field or 'references'} by version 1, {there} by 2"
        keys = [row for row in store.read(tables.field_keys.select()) if row[9]]
        if keys:
            yield "left", f"{len(keys)} keys wait for rows"
        people = store.read(tables.subjects.select())
        refs = store.read(tables.subject_refs.select())
        if len(people) != len(refs) or len({bytes(row[2]) for row in refs}) != len(refs):
            yield "twice", f"{len(refs)} references to {len(people)} people"
        verify(store)
        yield from look_up(place, built)


def run(
    database: str,
    seeds: int,
    points: Sequence[str],
    folder: Path,
    *,
    first: int = 1,
    control: bool = False,
    turn: bool = False,
) -> Report:
    """So many cells, each killed at its points in the order in which a rotation comes to them."""
    report = Report()
    for seed in range(first, first + seeds):
        run_seed(report, database, seed, points, folder / f"{seed}", control=control, turn=turn)
        print(f"seed {seed}: {report}", file=sys.stderr, flush=True)
    return report


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.reindex", description="P7, of rotations.")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--points", type=int, default=len(POINTS), help="how many points of each rotation")
    parser.add_argument(
        "--control", action="store_true", help="a program that loses; something must be found"
    )
    parser.add_argument("--turn", action="store_true", help="turn the epoch beside the rotations")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="reindex-"))
    points = ["before fill", "a batch opened", "before a commit", "after fill", "before close", "after close"]
    points += ["before sweep", "after a commit", "after sweep"]
    chosen = set(random.Random(options.first).sample(points, min(options.points, len(points))))
    points = ["after fill"] if options.control else [point for point in points if point in chosen]
    try:
        report = run(
            options.database,
            options.seeds,
            points,
            folder,
            first=options.first,
            control=options.control,
            turn=options.turn,
        )
    finally:
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for sentence in report.findings[:10]:
        print(sentence, file=sys.stderr)
    for point, count in sorted(report.killed.items()):
        print(f"{count:5} {point}", file=sys.stderr)
    print(str(report).replace("turns:", "reindex:"))
    return (0 if report.findings else 1) if options.control else (1 if report.findings else 0)


if __name__ == "__main__":
    sys.exit(main())
