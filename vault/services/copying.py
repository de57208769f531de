"""Copying a cell row by row into another database, comparing the two, and opening some of it there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import LargeBinary, Table, select

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.context import Use, encode_for
from vault.envelope.seal import open_encoded
from vault.errors import IntegrityError
from vault.keystate.states import KeyState, may_open
from vault.ledger.command import Command, Committed, Needs, State, Writes
from vault.ledger.state import collect_tokens
from vault.services.cell import Cell
from vault.services.initialise import MAIN_TENANT
from vault.store import migrations
from vault.store.cell import Store
from vault.store.loads import Loading
from vault.store.snapshot import (
    columns_of,
    count_of,
    digest_of,
    key_of,
    name_of,
    page_of,
    snapshot,
    tables_of,
)
from vault.store.tables import OF_THE_DATABASE
from vault.tokens.shaped import claim_record

BATCH: Final = 1_000  # rows of one transaction
SAMPLES: Final = 100
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
Seen = Callable[[str, int, int], None]


class CellCopied(Command):
    """Says that the cell was copied. Returns from `decide`: the number of its event."""

    def __init__(self, caller: Caller, progress: dict[str, Any]) -> None:
        rows = progress["rows"]
        facts = {"tables": len(rows), "rows": sum(rows.values()), "digest": progress["digest"]}
        self._event = Event("cell.copy", MAIN_TENANT, caller.actor, facts)
        self._progress = progress

    def needs(self, needs: Needs) -> None:
        """Touches no row but the head: nobody else is there."""

    def decide(self, state: State, writes: Writes) -> int:
        """Notes the event, once."""
        known = self._progress.get("event")
        if known is not None:
            return int(known)
        number = state.head.next
        writes.update("note_load", new_progress=_encode({**self._progress, "event": number}).decode())
        writes.event(self._event)
        return number


def mark_of(store: Store) -> str:
    """What names a cell as it stands: its head, which every commit moves.

    Raises:
        Misconfigured: `migration_required`: the database belongs to a newer program.
    """
    migrations.check_newest(store.engine)
    head = list(store.read(store.record.head)[0])
    return hashlib.sha256(_encode([migrations.newest(), *head])).hexdigest()


def total_of(source: Store) -> int:
    """How many rows there are to copy."""
    with snapshot(source) as connection:
        return sum(
            count_of(connection, table) for table in tables_of(source.tables, left_out=OF_THE_DATABASE)
        )


def copy_rows(source: Store, loading: Loading, seen: Seen, total: int) -> None:
    """Copies every table in the order of its primary key, from where it stood."""
    tables = tables_of(source.tables, left_out=OF_THE_DATABASE)
    progress = loading.load.progress
    done = progress.get("done", 0)
    with snapshot(source) as connection:
        for place, table in enumerate(tables):
            if place < progress["place"]:
                continue
            progress = loading.load.progress
            above = _read(table, progress.get("above")) if progress["place"] == place else None
            while rows := page_of(connection, table, above, BATCH):
                above = key_of(table, rows[-1])
                done += len(rows)
                part, columns = str(table.info["part"]), columns_of(table)
                loading.put(name_of(table), part, columns, rows, place=place, above=_shown(above), done=done)
                seen(name_of(table), done, total)
            loading.note(place=place + 1, above=None)


def _shown(key: Sequence[Any]) -> list[Any]:
    """A primary key as JSON says it."""
    return [value.hex() if isinstance(value, bytes) else value for value in key]


def _read(table: Table, shown: list[Any] | None) -> list[Any] | None:
    if shown is None:
        return None
    columns = table.primary_key.columns
    return [
        bytes.fromhex(value) if isinstance(column.type, LargeBinary) else value
        for column, value in zip(columns, shown, strict=True)
    ]


def compare(source: Store, target: Store, seen: Seen) -> tuple[dict[str, int], str]:
    """The rows of each table, which are the same in both, and a digest over all of them.

    Raises:
        IntegrityError: `copy_differs`.
    """
    counted: dict[str, int] = {}
    whole = hashlib.sha256()
    mine = tables_of(source.tables, left_out=OF_THE_DATABASE)
    theirs = {name_of(table): table for table in tables_of(target.tables, left_out=OF_THE_DATABASE)}
    with snapshot(source) as one, snapshot(target) as other:
        for place, table in enumerate(sorted(mine, key=name_of), 1):
            name = name_of(table)
            rows, digest = digest_of(one, table)
            found, copied = digest_of(other, theirs[name])
            if (rows, digest) != (found, copied):
                raise IntegrityError("copy_differs", table=name, rows=rows, copied=found)
            counted[name] = rows
            whole.update(f"{name} {rows} {digest}\n".encode())
            seen("compare", place, len(mine))
    return counted, whole.hexdigest()


def open_some(cell: Cell, done: Committed) -> int:
    """Opens values drawn from all over the cell, and forgets them; how many.

    Args:
        done: the proof that the log says of the copy.

    Raises:
        IntegrityError: one does not open.
    """
    if not isinstance(done, Committed):
        raise TypeError("opening takes a Committed")
    store, count = cell.store, 0
    for id_, token in collect_tokens(store.read_keys(store.custody.claims, _drawn(store))).items():
        for claim in token.claims:
            if not may_open(KeyState(claim.key.state), KeyState(claim.key.period)):
                continue
            record = claim_record(id_, token.surrogate)
            context = encode_for(Use.CLAIM, token.tenant, cell.region, token.field, record)
            open_encoded(cell.keyring.data_key(claim.key), context, claim.sealed)
            count += 1
    return count


def _drawn(store: Store) -> list[bytes]:
    """Tokens with values, from the first to the last in even steps."""
    token = store.tables.claims.c.token
    # Not by min and max, which not every version of PostgreSQL has for bytes.
    ends = [store.read(select(token).order_by(order).limit(1)) for order in (token, token.desc())]
    if not ends[0]:
        return []
    first, last = (int.from_bytes(rows[0][0], "big") for rows in ends)
    found: dict[bytes, None] = {}
    for step in range(SAMPLES + 1):
        at = (first + (last - first) * step // SAMPLES).to_bytes(16, "big")
        row = store.read(select(token).where(token >= at).order_by(token).limit(1))
        found[bytes(row[0][0])] = None
    return list(found)
