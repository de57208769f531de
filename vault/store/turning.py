"""Statements of an epoch's turn: epochs, key pages, and the rows that are keyed by epoch."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.store.custody import keys
from vault.store.indexes import carrying
from vault.store.session import Statement, StatementFamily
from vault.store.tables import Tables

COUNTED: Final = (
    *("data_keys", "key_pages", "field_keys", "blind_index", "subject_refs", "idempotency", "suppressions"),
)
"""What is sealed or found under an epoch: what `TurnStatements.counted` counts, in its order."""


class PageRow(NamedTuple):
    """A key page, in the order of `TurnStatements.key_pages`."""

    id: bytes
    tenant: str
    class_: str
    due: str
    version: int
    epoch: int
    keys: int
    sealed: bytes


class TurnStatements:
    """All statements of a turn, compiled for one dialect. Each changes a row only as it was seen."""

    index_rows: Statement
    reference_rows: Statement
    suppression_rows: Statement

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._dialect = dialect
        self._epochs(tables)
        self._pages(tables)
        self._singles(tables)
        self._indexes(tables)

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _epochs(self, t: Tables) -> None:
        e, f = t.epochs.c, t.field_keys.c
        self.epochs_listed = self._compiled(
            select(
                e.epoch, e.id, e.state, e.sealed_half, e.sealed_canary, e.created_at, e.activated_at,
                e.destroy_at,
            ).order_by(e.epoch)
        )  # fmt: skip
        self.move_epoch = self._compiled(
            update(t.epochs)
            .values(
                state=bindparam("to"),
                activated_at=func.coalesce(e.activated_at, bindparam("at", type_=BigInteger)),
            )
            .where(e.epoch == bindparam("of_epoch"), e.state == bindparam("was"))
        )
        self.order_destruction = self._compiled(
            update(t.epochs)
            .values(destroy_at=bindparam("at"))
            .where(e.epoch == bindparam("of_epoch"), e.destroy_at.is_(None))
        )
        self.add_canary = self._compiled(
            update(t.epochs)
            .values(sealed_canary=bindparam("canary"))
            .where(e.epoch == bindparam("of_epoch"), e.sealed_canary.is_(None))
        )
        self.end_epoch = self._compiled(
            update(t.epochs)
            .values(state=bindparam("to"), sealed_half=b"", sealed_canary=null())
            .where(e.epoch == bindparam("of_epoch"), e.state == bindparam("was"))
        )
        self.field_keys_under = self._compiled(
            select(f.id, f.tenant, f.field, f.purpose, f.version, f.state, f.epoch, f.sealed)
            .where(f.epoch == bindparam("epoch"))
            .order_by(f.id)
        )
        self.reseal_field_key = self._compiled(
            update(t.field_keys)
            .values(epoch=bindparam("to"), sealed=bindparam("resealed"))
            .where(f.id == bindparam("key_id"), f.epoch == bindparam("was"))
        )
        self.move_field_key = self._compiled(
            update(t.field_keys)
            .values(state=bindparam("to"))
            .where(f.id == bindparam("key_id"), f.state == bindparam("was"))
        )
        # What it protected is gone, and nothing opens it again: its row says that there was one.
        self.end_field_key = self._compiled(
            update(t.field_keys)
            .values(state=bindparam("to"), epoch=0, sealed=b"")
            .where(f.id == bindparam("key_id"), f.state == bindparam("was"))
        )

    def _pages(self, t: Tables) -> None:
        p = t.key_pages.c
        page = (p.id, p.tenant, p["class"], p.due, p.version, p.epoch, p["keys"], p.sealed)
        k = t.data_keys.c
        # How many of a page's keys still have a row: all of them, nearly always.
        living = select(func.count()).where(k.page == p.id).scalar_subquery()
        self.insert_key_page = self._compiled(insert(t.key_pages))
        self.key_pages = StatementFamily(
            lambda size: select(*page).where(p.id.in_(keys(size))), self._dialect
        )
        self.pages_under = self._compiled(
            select(*page, living)
            .where(p.epoch == bindparam("epoch"))
            .order_by(p.id)
            .limit(bindparam("most", type_=Integer))
        )
        self.keys_paged = self._compiled(select(func.sum(p["keys"])).where(p.epoch == bindparam("epoch")))
        self.page_with_room = self._compiled(
            select(*page, living)
            .where(
                p.tenant == bindparam("tenant"),
                p["class"] == bindparam("class"),
                p.due == bindparam("due"),
                p.epoch == bindparam("epoch"),
                p["keys"] <= bindparam("at_most"),
            )
            .order_by(p["keys"])
            .limit(1)
        )
        self.reseal_page = self._compiled(
            update(t.key_pages)
            .values(
                version=p.version + 1,
                epoch=bindparam("to"),
                keys=bindparam("holds"),
                sealed=bindparam("resealed"),
            )
            .where(p.id == bindparam("page_id"), p.version == bindparam("was"))
        )
        self.drop_page = self._compiled(
            delete(t.key_pages).where(p.id == bindparam("page_id"), p.version == bindparam("was"))
        )

    def _singles(self, t: Tables) -> None:
        k = t.data_keys.c
        self.singles_under = self._compiled(
            select(k.id, k.tenant, k.subject, k["class"], k.due, k.state, k.epoch, k.sealed)
            .where(k.epoch == bindparam("epoch"))
            .order_by(k.epoch, k.tenant, k["class"], k.due, k.id)
            .limit(bindparam("most", type_=Integer))
        )
        self.keys_in_page = StatementFamily(
            lambda size: select(k.id).where(k.page == bindparam("page"), k.id.in_(keys(size))), self._dialect
        )
        # Where a key lies is part of what must not have changed: else it would be left there.
        self.remove_data_key = self._compiled(
            delete(t.data_keys).where(
                k.id == bindparam("data_key"),
                k.epoch == bindparam("was"),
                or_(
                    k.page == bindparam("of_page", type_=LargeBinary),
                    and_(k.page.is_(None), bindparam("single", type_=Integer) == 1),
                ),
            )
        )
        s, r = t.subjects.c, t.subject_refs.c
        mine = select(s.id).where(s.key == bindparam("data_key"))
        self.drop_references_of = self._compiled(delete(t.subject_refs).where(r.subject.in_(mine)))
        self.drop_subject_of = self._compiled(delete(t.subjects).where(s.key == bindparam("data_key")))
        self.pack_key = self._compiled(
            update(t.data_keys)
            .values(epoch=0, sealed=b"", page=bindparam("into"))
            .where(k.id == bindparam("key_id"), k.epoch == bindparam("was"))
        )

    def _indexes(self, t: Tables) -> None:
        """The same for the tables that are keyed by epoch and found by a block under the index layer."""
        pairs = (
            ("index", t.blind_index, "entry", "token"),
            ("reference", t.subject_refs, "ref", "subject"),
            ("suppression", t.suppressions, "ref", "erasure"),
        )
        for name, table, found_by, names in pairs:
            c = table.c
            setattr(
                self,
                f"{name}_rows",
                self._compiled(
                    select(c[found_by])
                    .where(c.epoch == bindparam("epoch"), c[found_by] > bindparam("above"))
                    .order_by(c[found_by])
                    .limit(bindparam("most", type_=Integer))
                ),
            )
            carried = carrying(t, self._dialect, table, found_by, names, c.key_version)
            setattr(self, f"carry_{name}", carried)
            setattr(self, f"drop_{name}", self._drop(table, c[found_by]))
        self.drop_answers = self._drop(t.idempotency, t.idempotency.c.ref)
        # Entries of tokens under which nothing lies any more: whoever has the keys could try values on them.
        b, v, k = t.blind_index.c, t.claims.c, t.data_keys.c
        claimed = (
            select(v.token)
            .join(t.data_keys, k.id == v.key)
            .where(v.token == b.token)
            .correlate(t.blind_index)
        ).exists()
        self.dead_entries = self._compiled(
            select(b.entry)
            .where(
                b.epoch == bindparam("epoch"),
                b.entry > bindparam("above"),
                b.entry <= bindparam("through"),
                ~claimed,
            )
            .order_by(b.entry)
        )
        self.drop_dead_entry = self._compiled(
            delete(t.blind_index).where(
                b.epoch == bindparam("of_epoch"), b.entry == bindparam("found_by"), ~claimed
            )
        )
        self.last_answer = self._compiled(
            select(func.max(t.idempotency.c.expires_at)).where(t.idempotency.c.epoch == bindparam("epoch"))
        )
        # One statement: on both kinds of database it sees one instant.
        self.counted = self._compiled(
            select(
                *(
                    select(func.count())
                    .select_from(getattr(t, name))
                    .where(getattr(t, name).c.epoch == bindparam("epoch"))
                    .scalar_subquery()
                    .label(name)
                    for name in COUNTED
                )
            )
        )
        self.counted_in_both = self._compiled(
            select(
                *(
                    select(func.count())
                    .select_from(table)
                    .where(table.c.epoch == bindparam(epoch))
                    .scalar_subquery()
                    for table in (t.blind_index, t.subject_refs, t.suppressions)
                    for epoch in ("of_epoch", "to_epoch")
                )
            )
        )

    def _drop(self, table: Table, found_by: Column[Any]) -> Statement:
        """A bounded number of an epoch's rows."""
        those = (
            select(table.c.epoch, found_by)
            .where(table.c.epoch == bindparam("of_epoch"))
            .limit(bindparam("most", type_=Integer))
        )
        return self._compiled(delete(table).where(tuple_(table.c.epoch, found_by).in_(those)))
