"""Keeps the directory as the cell is: lists people who are new to it, and takes out who was removed.

The person's own row says whether it was done (`listed`), in the transaction that enters the person. So nobody
is lost when the directory is away, nobody waits for it, and listing everybody anew, under a new key or after
something was lost, is the same work. What was removed leaves its reference for as long as it takes.

One runner a region at a time, under a fence in the directory: who reads a person and is then held up cannot
list that person after somebody else took the person out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any, Final

from vault.audit.event import Event
from vault.errors import CoatcheckError, IntegrityError, Stale
from vault.keyring.directory import DirectoryKey
from vault.ledger.command import Command, Needs, State, Writes
from vault.services.cell import Cell
from vault.services.directory import RELIST, Directory
from vault.services.initialise import MAIN_TENANT
from vault.services.subjects import open_identifier
from vault.store.cell import Store
from vault.store.crossing import SubjectRow
from vault.store.custody import KeyRow
from vault.store.directory import Overrun, RegionRow

BATCH: Final = 500
SLICE_S: Final = 1.0
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
ACTOR: Final = "directory"
MOST_UNTOLD: Final = 100_000  # that are counted, of new people and of removed ones
_log = logging.getLogger("coatcheck.directory")


class Listed(Command):
    """Says in people's rows that they are listed. Who was removed meanwhile is taken out again.

    Args:
        refs: what each was listed under, by row.
        broken: rows whose identifier does not open.
    """

    def __init__(self, refs: dict[bytes, bytes], broken: list[bytes], generation: int) -> None:
        self._refs = refs
        self._broken = broken
        self._generation = generation

    def needs(self, needs: Needs) -> None:
        """The people."""
        needs.subjects.update(self._refs)

    def decide(self, state: State, writes: Writes) -> None:
        """Notes it."""
        done = [*self._refs, *self._broken]
        rows = [{"of_subject": row, "now_listed": self._generation} for row in done]
        writes.change("note_listed", rows, each=False)
        note_removals(writes, [ref for row, ref in self._refs.items() if row not in state.subjects])
        if self._broken:
            facts = {"code": "integrity_failed", "subjects": len(self._broken)}
            writes.event(Event("alert", MAIN_TENANT, ACTOR, facts))


class Removed(Command):
    """Forgets references that were taken out of the directory."""

    def __init__(self, refs: list[bytes]) -> None:
        self._refs = refs

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Forgets them."""
        writes.change("drop_directory_removal", [{"of_ref": ref} for ref in self._refs], each=False)


def note_removals(writes: Writes, refs: Iterable[bytes]) -> None:
    """Has references taken out of the directory, by the transaction that removes the people.

    Args:
        refs: from `vault.services.directory.referred`.
    """
    for ref in sorted(set(refs)):
        writes.insert("directory_removal", ref=ref)


class Enlisting:
    """A cell's reports to the directory, by one worker.

    Args:
        runner: the process, as it stands in the cell.
    """

    def __init__(self, cell: Cell, directory: Directory, runner: bytes) -> None:
        self._cell = cell
        self._directory = directory
        self._runner = runner
        self._not_before = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._compared = False  # whether the directory was found to be no older than the cell

    def run(self) -> int:
        """Does what is to be done now, for a while, unless the directory was away a moment ago.

        Returns:
            how many were listed.
        """
        if time.monotonic() < self._not_before:
            return 0
        try:
            listed = self._run()
        except (CoatcheckError, Stale) as problem:
            code = problem.code if isinstance(problem, CoatcheckError) else "too_busy"
            _log.warning("directory not told", extra={"code": code})
            self._not_before = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            return 0
        except Overrun:
            return 0  # somebody else goes on
        self._pause_s = FIRST_PAUSE_S
        return listed

    def _run(self) -> int:
        store, region = self._directory.store, self._cell.region
        standing = {row.region: row for row in store.regions()}.get(region)
        if standing is None or not self._compared:
            most = self._cell.store.read(self._cell.store.crossing.most_listed)[0][0] or 0
            if standing is None:
                store.enter(region, most + 1)
                return 0
            if standing.generation < most:  # it was restored from a time before
                store.anew(region, most + 1)
                return 0
            self._compared = True
        if standing.through == standing.generation and not self._waiting(standing.generation):
            self._directory.finish()
            return 0
        held = store.take(region, self._runner)
        if held is None:
            return 0
        newest = self._directory.keys()[0]
        listed, end = 0, time.monotonic() + SLICE_S
        while rows := self._unlisted(held.generation, BATCH):
            listed += len(rows)
            self._list(held, newest, rows)
            if time.monotonic() > end:
                return listed  # the worker has other work too, and may be told to stop
        while refs := self._removals(BATCH):
            if RELIST in refs:
                store.anew(region)
                self._cell.committer.execute(Removed([RELIST]))
                return listed
            store.drop(held, refs)
            self._cell.committer.execute(Removed(refs))
        if held.through < held.generation:
            store.close_generation(held)
        self._directory.finish()
        return listed

    def _waiting(self, generation: int) -> bool:
        return bool(self._unlisted(generation, 1) or self._removals(1))

    def _unlisted(self, generation: int, most: int) -> list[SubjectRow]:
        crossing = self._cell.store.crossing
        rows = self._cell.store.read(crossing.unlisted, {"generation": generation, "most": most})
        return [SubjectRow(bytes(row[0]), row[1], bytes(row[2]), bytes(row[3])) for row in rows]

    def _removals(self, most: int) -> list[bytes]:
        crossing = self._cell.store.crossing
        return [bytes(row[0]) for row in self._cell.store.read(crossing.directory_removals, {"most": most})]

    def _list(self, held: RegionRow, key: DirectoryKey, rows: list[SubjectRow]) -> None:
        """The directory first: a person's row never says of an entry that it is there when it is not."""
        refs: dict[bytes, bytes] = {}
        broken: list[bytes] = []
        found = {row.id: row for row in rows}
        for row, subject in identifiers(self._cell, rows):
            if subject is None:
                broken.append(row)
            else:
                refs[row] = key.of(found[row].tenant, subject)
        self._directory.store.put(held, key.version, list(refs.values()))
        self._cell.committer.execute(Listed(refs, broken, held.generation))


def untold(store: Store) -> int:
    """How many people the directory has not been told of, new or removed: at most twice `MOST_UNTOLD`.

    By what the cell itself knows: that everybody is to be listed anew shows with the first one who was.
    """
    newest = max(store.read(store.crossing.most_listed)[0][0] or 0, 1)
    params = {"generation": newest, "most": MOST_UNTOLD}
    return sum(map(int, store.read(store.crossing.untold, params)[0]))


def identifiers(cell: Cell, rows: list[SubjectRow]) -> Iterable[tuple[bytes, str | None]]:
    """The identifier of each person, by row; None if it does not open, which is damage of ours.

    Raises:
        Unavailable: `key_unavailable`.
    """
    family: Any = cell.store.custody.data_keys
    keys = {bytes(row[0]): KeyRow(*row) for row in cell.store.read_keys(family, [row.key for row in rows])}
    cell.keyring.prepare(keys.values())
    for row in rows:
        yield row.id, _identifier(cell, row, keys.get(row.key))


def _identifier(cell: Cell, row: SubjectRow, key: KeyRow | None) -> str | None:
    if key is None:
        return None
    try:
        return open_identifier(cell, row.tenant, row.id, key, row.sealed)
    except IntegrityError:
        return None
