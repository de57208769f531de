"""Statements on rows that are found by a block, in an epoch and by a key version: entries and references."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    Table,
    and_,
    bindparam,
    column,
    delete,
    func,
    select,
    update,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables


def carrying(
    t: Tables, dialect: Dialect, table: Table, found_by: str, names: str, version: ColumnElement[int]
) -> StatementFamily:
    """Locks rows as they are found by one block and inserts those of another, which may be there already.

    The lock makes a writer that moves a row wait, and then move both; on SQLite there is one writer.
    The parameters of a pair are `k0` and `n0`: what finds the row now and what it is to be found by too.

    Args:
        version: the key version that the new rows say.
    """
    on_conflict: Any = sqlite.insert if t.dialect == SQLITE else postgresql.insert

    def build(size: int) -> ClauseElement:
        pairs = (
            values(column("old", LargeBinary), column("new", LargeBinary))
            .data(
                [
                    (bindparam(f"k{at}", type_=LargeBinary), bindparam(f"n{at}", type_=LargeBinary))
                    for at in range(size)
                ]
            )
            .cte("pairs")
        )
        held = (
            select(bindparam("to_epoch", type_=Integer), pairs.c.new, table.c[names], version)
            .select_from(pairs)
            .join(table, table.c[found_by] == pairs.c.old)
            .where(table.c.epoch == bindparam("of_epoch", type_=Integer))
            .with_for_update(of=table)
        )
        stated = on_conflict(table).from_select(["epoch", found_by, names, "key_version"], held)
        return cast(ClauseElement, stated.on_conflict_do_nothing())

    return StatementFamily(build, dialect)


class IndexStatements:
    """What rotating an index key reads and writes, compiled for one dialect."""

    index_page: Statement
    reference_page: Statement

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._dialect = dialect
        t = tables
        for name, table, found_by, names in (
            ("index", t.blind_index, "entry", "token"),
            ("reference", t.subject_refs, "ref", "subject"),
        ):
            self._rows(t, name, table, table.c[found_by], table.c[names])
        self._owners(t)
        b, f = t.blind_index, t.field_keys.c
        on_conflict: Any = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        placed = on_conflict(b)
        # What equal values were found by names another token: of an epoch or a version that is being
        # filled the row may not be there yet.
        self.place_index_entry = self._compiled(
            placed.on_conflict_do_update(
                index_elements=["epoch", "entry"],
                set_={"token": placed.excluded.token, "key_version": placed.excluded.key_version},
            )
        )
        self.end_filling = self._compiled(
            update(t.field_keys)
            .values(filling=0)
            .where(f.id == bindparam("key_id"), f.filling == 1, f.state == "active")
        )

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _rows(self, t: Tables, name: str, table: Table, found_by: Column[Any], names: Column[Any]) -> None:
        c = table.c
        page = (
            select(found_by, names, c.key_version)
            .where(c.epoch == bindparam("epoch"), found_by > bindparam("above"))
            .order_by(found_by)
            .limit(bindparam("most", type_=Integer))
        )
        setattr(self, f"{name}_page", self._compiled(page))
        version = bindparam("as_version", type_=Integer)
        filling = carrying(t, self._dialect, table, found_by.name, names.name, version)
        setattr(self, f"fill_{name}", filling)
        drop = delete(table).where(
            c.epoch == bindparam("of_epoch"),
            found_by == bindparam("of_block"),
            c.key_version < bindparam("below"),
        )
        setattr(self, f"drop_{name}_row", self._compiled(drop))

    def _owners(self, t: Tables) -> None:
        """Whose rows they are: entries a field's by their tokens, references a tenant's by their people."""
        k, p, s, o = t.data_keys.c, t.due_periods.c, t.subjects.c, t.tokens.c
        period_of = and_(p.tenant == k.tenant, p["class"] == k["class"], p.due == k.due)
        self.tokens_of_field = StatementFamily(
            lambda size: select(o.id).where(
                o.tenant == bindparam("tenant"), o.field == bindparam("field"), o.id.in_(keys(size))
            ),
            self._dialect,
        )
        key = (
            k.id, k.tenant, k.subject, k["class"], k.due, k.state, k.epoch, k.sealed, p.state, k.due_at,
            k.page,
        )  # fmt: skip
        self.people_of_tenant = StatementFamily(
            lambda size: (
                select(s.id, s.sealed, *key)
                .select_from(t.subjects)
                .outerjoin(t.data_keys, k.id == s.key)
                .outerjoin(t.due_periods, period_of)
                .where(s.tenant == bindparam("tenant"), s.id.in_(keys(size)))
            ),
            self._dialect,
        )
        b, r = t.blind_index.c, t.subject_refs.c
        self.entries_of_version = self._compiled(
            select(func.count())
            .select_from(t.blind_index)
            .join(t.tokens, o.id == b.token)
            .where(
                b.epoch == bindparam("epoch"),
                b.key_version == bindparam("version"),
                o.tenant == bindparam("tenant"),
                o.field == bindparam("field"),
            )
        )
        people = (
            select(func.count())
            .select_from(t.subject_refs)
            .join(t.subjects, s.id == r.subject)
            .where(
                r.epoch == bindparam("epoch"),
                r.key_version == bindparam("version"),
                s.tenant == bindparam("tenant"),
            )
        )
        # Whoever was erased cannot be referred to anew: their suppressions stay as they were made.
        x, e = t.suppressions.c, t.erasures.c
        suppressed = (
            select(func.count())
            .select_from(t.suppressions)
            .join(t.erasures, e.id == x.erasure)
            .where(
                x.epoch == bindparam("epoch"),
                x.key_version == bindparam("version"),
                e.tenant == bindparam("tenant"),
            )
        )
        self.references_of_version = self._compiled(
            select(people.scalar_subquery() + suppressed.scalar_subquery())
        )
        self.rows_of_epoch = self._compiled(
            select(
                *(
                    select(func.count())
                    .select_from(table)
                    .where(table.c.epoch == bindparam("epoch"))
                    .scalar_subquery()
                    for table in (t.blind_index, t.subject_refs)
                )
            )
        )
