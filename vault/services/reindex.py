"""Rotating an index key: rows that are found by version n of it become rows that are found by n+1.

An index row is a keyed hash of a value, so its successor cannot be made from it: the value is opened from a
claim, hashed under the new version, and let go of, here and nowhere else. No step begins before the one above
it is in the database:

begin     the new version's row, `filling`, and the job, in one transaction that bumps the schema's head: what
          was prepared before is stale, and whoever prepares from here on writes rows by both versions and
          looks up by n
fill      each row of n, locked, gets its row of n+1; rows whose values are gone get none
close     n+1 is looked up by, and alone written by; n is `deactivated`. Bumps the head again
sweep     the rows of n go

Stopped at any step, look-ups are right: until `close` by n, whose rows all are there, from then on by n+1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Final

from vault.audit.event import Event
from vault.context import Use, encode_for
from vault.envelope.seal import open_encoded
from vault.errors import BadInput, IntegrityError, Stale, Unavailable
from vault.identifiers import parse_id
from vault.keyring.hierarchy import CELL, Purpose
from vault.keystate.states import KeyState, may_open
from vault.ledger.command import Command, Committed, State, Writes
from vault.ledger.state import TokenRow, collect_tokens
from vault.services.cell import Cell
from vault.services.jobs import DONE, Piece, Progress, Work
from vault.services.reseal import moved
from vault.services.subjects import open_identifier
from vault.services.vaulting import index_entry, normal_form
from vault.store.custody import FieldKeyRow, KeyRow
from vault.store.rows import EpochsInUse
from vault.tokens.shaped import claim_record

KIND: Final = "key.reindex"
FIRST_STEP: Final = "fill"
SUPERSEDED: Final = "superseded"  # the schema ended the field, or its index, meanwhile

Pieces = Generator[Command, Committed, None]
Blocks = dict[bytes, dict[int, bytes]]
"""What each row is found by now, and what it is to be found by in each epoch."""


@dataclass(frozen=True, slots=True)
class Index:
    """Which index is written anew, by which key.

    Attributes:
        field: empty: references to the tenant's data subjects.
        to: the version that rows are to be found by.
        key: the id of that version's row.
    """

    tenant: str
    field: str
    to: int
    key: bytes

    @property
    def table(self) -> str:
        """The word for its rows in the names of statements."""
        return "index" if self.field else "reference"

    @property
    def purpose(self) -> Purpose:
        """What its key is for."""
        return Purpose.BLIND_INDEX if self.field else Purpose.SUBJECT_REFERENCE


def index_of(params: dict[str, Any], tenant: str) -> Index:
    """What a job of this kind is done to."""
    return Index(tenant, params["field"], params["to"], parse_id("key", params["key"]))


def advance(cell: Cell, work: Work) -> Pieces:
    """Does the next piece of a rotation. Raises as `turning.advance` does."""
    index = index_of(work.params, work.tenant)
    head = cell.schemas.of(work.tenant, fresh=True).head  # before keys and rows are looked at
    yield from STEPS[work.progress.step](cell, work, index, head)


class Rewrite(Piece):
    """A piece under the epochs and the schema that it was prepared on."""

    def __init__(self, work: Work, then: Progress, index: Index, head: int, epochs: EpochsInUse) -> None:
        super().__init__(work, then)
        self.prepared_on = self.epochs = epochs
        self.index = index
        self._head = head

    def decide(self, state: State, writes: Writes) -> Any:
        """Does the piece, if the field is still what it was."""
        if state.head.schema_version != self._head:
            raise Stale
        return super().decide(state, writes)

    def note(self, writes: Writes, step: str, **facts: Any) -> None:
        """Adds the event of a step that has ended."""
        of = {"field": self.index.field, "purpose": self.index.purpose.value, "key_version": self.index.to}
        facts = {"step": step, "job": self.work.id, **of, **facts}
        writes.event(Event("key.reindex", self.work.tenant, self.work.actor, facts))


class Fill(Rewrite):
    """Writes rows of the new version as the old ones stand: locked, so that none is moved between."""

    def __init__(self, *given: Any, blocks: Blocks) -> None:
        super().__init__(*given)
        self._blocks = blocks
        self.weight = 1 + len(blocks) // 64

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the inserts. What is there already was written by both versions."""
        for epoch in self.epochs.each:
            pairs = sorted(((old, new[epoch]) for old, new in self._blocks.items()), key=lambda pair: pair[1])
            of = {"of_epoch": self.epochs.read, "to_epoch": epoch, "as_version": self.index.to}
            if pairs:
                writes.carry(f"fill_{self.index.table}", pairs, **of)


class Filled(Rewrite):
    """Every row that lives has its row of the new version."""

    def effect(self, state: State, writes: Writes) -> None:
        """Notes it."""
        cursor = self.then.cursor
        self.note(writes, "fill", opened=cursor.get("opened", 0), gone=cursor.get("gone", 0))


class Close(Rewrite):
    """The new version is looked up by from here on. Bumps the head: what was prepared before is stale."""

    alone = True

    def effect(self, state: State, writes: Writes) -> None:
        """Moves the states: of the versions before, those that are compromised stay so."""
        index = self.index
        writes.change("end_filling", [{"key_id": index.key}])
        writes.update(
            "end_field_keys",
            of_tenant=index.tenant,
            of_field=index.field,
            of_purpose=index.purpose.value,
            below=index.to,
        )
        writes.schema_by += 1
        writes.fence_by += 1
        self.note(writes, "close")


class Sweep(Rewrite):
    """Removes rows of the versions before, in every epoch at once: a turn counts them in both."""

    def __init__(self, *given: Any, rows: list[dict[str, Any]]) -> None:
        super().__init__(*given)
        self._rows = rows
        self.weight = 1 + len(rows) // 64

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the deletes; another process may have moved none of them, as nothing finds them."""
        writes.change(f"drop_{self.index.table}_row", self._rows, each=False)


class Swept(Rewrite):
    """Nothing is left of the versions before."""

    def effect(self, state: State, writes: Writes) -> None:
        """Notes it."""
        self.note(writes, "sweep", removed=self.then.cursor.get("removed", 0))


def _commit(work: Work, piece: Piece) -> Pieces:
    yield piece
    work.progress = piece.then


def _fill(cell: Cell, work: Work, index: Index, head: int) -> Pieces:
    epochs = cell.keyring.in_use
    began = time.monotonic()
    now = work.progress
    if not _stands(cell, index):
        yield from _superseded(work, index, head, epochs)
        return
    page = _page(cell, index, now, epochs)
    if not page:
        yield from _commit(work, Filled(work, _next(now, "close"), index, head, epochs))
        return
    old = {bytes(row[0]): bytes(row[1]) for row in page if row[2] < index.to}
    made, opened, gone = _opened(cell, index, old, epochs)
    cursor = {
        "epoch": epochs.read,
        "above": bytes(page[-1][0]).hex(),
        "opened": now.cursor.get("opened", 0) + opened,
        "gone": now.cursor.get("gone", 0) + gone,
    }
    then = moved(now, len(old), time.monotonic() - began, **cursor)
    yield from _commit(work, Fill(work, then, index, head, epochs, blocks=made))


def _close(cell: Cell, work: Work, index: Index, head: int) -> Pieces:
    epochs = cell.keyring.in_use
    if not _stands(cell, index):
        yield from _superseded(work, index, head, epochs)
        return
    yield from _commit(work, Close(work, _next(work.progress, "sweep"), index, head, epochs))
    cell.forget()


def _sweep(cell: Cell, work: Work, index: Index, head: int) -> Pieces:
    epochs = cell.keyring.in_use
    began = time.monotonic()
    now = work.progress
    page = _page(cell, index, now, epochs)
    if not page:
        then = replace(_next(now, DONE), state=DONE)
        yield from _commit(work, Swept(work, then, index, head, epochs))
        return
    named = {bytes(row[0]): bytes(row[1]) for row in page if row[2] < index.to}
    ours = _ours(cell, index, list(named.values()))
    gone = [block for block, row in named.items() if row in ours]
    rows = [
        {"of_epoch": epoch, "of_block": block, "below": index.to}
        for epoch, blocks in _in_each(cell, gone, epochs).items()
        for block in blocks
    ]
    cursor = {
        "epoch": epochs.read,
        "above": bytes(page[-1][0]).hex(),
        "removed": now.cursor.get("removed", 0) + len(gone),
    }
    then = moved(now, len(gone), time.monotonic() - began, **cursor)
    yield from _commit(work, Sweep(work, then, index, head, epochs, rows=rows))


def _superseded(work: Work, index: Index, head: int, epochs: EpochsInUse) -> Pieces:
    """Ends the job: the key is not one that anything is found by, and a later sweep removes its rows."""
    then = replace(_next(work.progress, SUPERSEDED), state=DONE)
    yield from _commit(work, Rewrite(work, then, index, head, epochs))


def _next(now: Progress, step: str) -> Progress:
    """The progress at the next step's beginning."""
    return replace(now, step=step, cursor={**now.cursor, "above": ""}, waits_for="", error="")


def _stands(cell: Cell, index: Index) -> bool:
    """Whether the new version is still the newest of its field, and waits for its rows."""
    params = {"tenant": index.tenant, "field": index.field, "purpose": index.purpose.value}
    rows = [FieldKeyRow(*row) for row in cell.store.read(cell.store.custody.field_keys, params)]
    newest = max(rows, key=lambda row: row.version)
    return (newest.version, newest.state, newest.filling) == (index.to, KeyState.ACTIVE, 1)


def _page(cell: Cell, index: Index, now: Progress, epochs: EpochsInUse) -> list[Any]:
    """The next rows of the table, as they are found in the epoch that is looked up in, whoever's they are.

    A turn that closes that epoch makes the order another: then it is begun again.
    """
    above = now.cursor.get("above", "") if now.cursor.get("epoch") == epochs.read else ""
    statement = getattr(cell.store.indexes, f"{index.table}_page")
    params = {"epoch": epochs.read, "above": bytes.fromhex(above), "most": cell.working.batch}
    return cell.store.read(statement, params)


def _ours(cell: Cell, index: Index, ids: list[bytes]) -> set[bytes]:
    """Those of the tokens, or people, that the index is of."""
    if not ids:
        return set()
    wanted = list(dict.fromkeys(ids))
    statements = cell.store.indexes
    if index.field:
        of = {"tenant": index.tenant, "field": index.field}
        return {bytes(row[0]) for row in cell.store.read_keys(statements.tokens_of_field, wanted, **of)}
    rows = cell.store.read_keys(statements.people_of_tenant, wanted, tenant=index.tenant)
    return {bytes(row[0]) for row in rows}


def _in_each(cell: Cell, blocks: list[bytes], epochs: EpochsInUse) -> dict[int, list[bytes]]:
    """What finds the same rows in each epoch that they are written in (see `reseal.carry`)."""
    if epochs.write == epochs.read:
        return {epochs.read: blocks}
    old, new = cell.keyring.layer(epochs.read), cell.keyring.layer(epochs.write)
    return {epochs.read: blocks, epochs.write: [new.encrypt(old.decrypt(block)) for block in blocks]}


def _opened(
    cell: Cell, index: Index, old: dict[bytes, bytes], epochs: EpochsInUse
) -> tuple[Blocks, int, int]:
    """What rows are to be found by, from the values that they name; how many were opened, and were gone.

    Raises:
        IntegrityError: `integrity_failed`: a value does not open. The rotation stops there; nothing is lost.
        Unavailable: `key_unavailable`: a data key may not be used for now, and its value is not gone.
    """
    if not old:
        return {}, 0, 0
    try:
        found = _entries(cell, index, old, epochs) if index.field else _references(cell, index, old, epochs)
    except (IntegrityError, BadInput):
        raise IntegrityError("integrity_failed", field=index.field) from None
    made = {block: found[row] for block, row in old.items() if found.get(row)}
    return made, len(made), sum(1 for row in old.values() if row in found and not found[row])


def _entries(
    cell: Cell, index: Index, old: dict[bytes, bytes], epochs: EpochsInUse
) -> dict[bytes, dict[int, bytes]]:
    """The new entries of the field's tokens, by epoch; none for a token whose value is gone."""
    ours = sorted(_ours(cell, index, list(old.values())))
    if not ours:
        return {}
    rule = cell.schemas.of(index.tenant).schema.fields.get(index.field)
    if rule is None:
        raise Stale
    tokens = collect_tokens(cell.store.read_keys(cell.store.custody.claims, ours))
    chosen = {row: _claim(token) for row, token in tokens.items()}
    cell.keyring.prepare([claim[0] for claim in chosen.values() if claim is not None])
    made: dict[bytes, dict[int, bytes]] = {}
    for row, claim in chosen.items():
        if claim is None:
            made[row] = {}
            continue
        key, sealed = claim
        record = claim_record(row, tokens[row].surrogate)
        context = encode_for(Use.CLAIM, index.tenant, cell.region, index.field, record)
        form = normal_form(rule, open_encoded(cell.keyring.data_key(key), context, sealed).decode())
        if form is None:
            raise Stale  # the field compares nothing any more: another schema than the one that was read
        made[row] = {
            epoch: index_entry(cell, index.tenant, epoch, index.to, rule, form, key) for epoch in epochs.each
        }
    return made


def _claim(token: TokenRow) -> tuple[KeyRow, bytes] | None:
    """A claim that opens; None if the value is gone.

    Raises:
        Unavailable: `key_unavailable`: all that is left of it lies under keys that are suspended.
    """
    for claim in token.claims:
        if may_open(KeyState(claim.key.state), KeyState(claim.key.period)):
            return claim.key, claim.sealed
    if any(_may_return(claim.key) for claim in token.claims):
        raise Unavailable("key_unavailable")
    return None


def _may_return(key: KeyRow) -> bool:
    return KeyState.DESTROYED not in (KeyState(key.state), KeyState(key.period))


def _references(
    cell: Cell, index: Index, old: dict[bytes, bytes], epochs: EpochsInUse
) -> dict[bytes, dict[int, bytes]]:
    """The new references of the tenant's people, by epoch; none for a person whose identifier is gone."""
    wanted = sorted(set(old.values()))
    rows = cell.store.read_keys(cell.store.indexes.people_of_tenant, wanted, tenant=index.tenant)
    people = {bytes(row[0]): (bytes(row[1]), None if row[2] is None else KeyRow(*row[2:])) for row in rows}
    cell.keyring.prepare([key for _, key in people.values() if key is not None])
    made: dict[bytes, dict[int, bytes]] = {}
    for person, (sealed, key) in people.items():
        if key is None or not may_open(KeyState(key.state), KeyState(key.period)):
            if key is not None and _may_return(key):
                raise Unavailable("key_unavailable")
            made[person] = {}
            continue
        subject = open_identifier(cell, index.tenant, person, key, sealed)
        made[person] = {
            epoch: cell.keyring.references(index.tenant, epoch, index.to).of(subject) for epoch in epochs.each
        }
    return made


def rows_of(cell: Cell, tenant: str, field: str, version: int) -> int:
    """How many rows are found by a version of an index key."""
    statements = cell.store.indexes
    statement = statements.entries_of_version if field else statements.references_of_version
    params = {"epoch": cell.keyring.in_use.read, "version": version, "tenant": tenant}
    return int(cell.store.read(statement, {**params, **({"field": field} if field else {})})[0][0])


STEPS: Final[dict[str, Callable[[Cell, Work, Index, int], Pieces]]] = {
    "fill": _fill,
    "close": _close,
    "sweep": _sweep,
}

__all__ = ["CELL", "FIRST_STEP", "KIND", "STEPS", "SUPERSEDED", "Index", "advance", "index_of", "rows_of"]
