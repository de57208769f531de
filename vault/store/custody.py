"""Statements on the custody part: keys, token rows, subjects, audit items."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.keystate.states import PROCESSES
from vault.retention.period import IDENTIFIER_CLASS
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables


class Slot(NamedTuple):
    """What a data key is for: at most one living key a slot."""

    tenant: str
    subject: bytes  # row id; the nil UUID for nobody
    class_: str
    due: str


class KeyRow(NamedTuple):
    """A data key's row with its period's state, in the order of `CustodyStatements.data_keys`."""

    id: bytes
    tenant: str
    subject: bytes
    class_: str
    due: str
    state: str
    epoch: int
    sealed: bytes
    period: str
    due_at: int | None = None  # of a key whose date moves; microseconds
    page: bytes | None = None  # where it is sealed with others; then `epoch` is 0 and `sealed` empty

    @property
    def slot(self) -> Slot:
        """What the key is for."""
        return Slot(self.tenant, self.subject, self.class_, self.due)


class FieldKeyRow(NamedTuple):
    """A field key's row, in the order of `CustodyStatements.field_keys`."""

    id: bytes
    tenant: str
    field: str
    purpose: str
    version: int
    state: str
    epoch: int
    sealed: bytes
    filling: int = 0  # 1: of an index key by which nothing is looked up yet


def keys(size: int) -> list[ClauseElement]:
    """The parameters `k0` ... of a family's IN list."""
    return [bindparam(f"k{index}") for index in range(size)]


class CustodyStatements:
    """All statements on custody, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        t = tables
        on_conflict = sqlite.insert if tables.dialect == SQLITE else postgresql.insert

        def compiled(element: ClauseElement) -> Statement:
            return Statement(element, dialect)

        self.insert_epoch = compiled(insert(t.epochs))
        self.insert_field_key = compiled(insert(t.field_keys))
        self.insert_data_key = compiled(
            on_conflict(t.data_keys).on_conflict_do_nothing(
                index_elements=["tenant", "subject", "class", "due"]
            )
        )
        self.insert_due_period = compiled(on_conflict(t.due_periods).on_conflict_do_nothing())
        self.insert_subject = compiled(insert(t.subjects))
        self.insert_subject_ref = compiled(insert(t.subject_refs))
        self.insert_token = compiled(insert(t.tokens))
        self.insert_audit_items = compiled(insert(t.audit_items))
        k = t.data_keys.c
        p = t.due_periods.c
        period_of = and_(p.tenant == k.tenant, p["class"] == k["class"], p.due == k.due)
        key_columns = (
            k.id, k.tenant, k.subject, k["class"], k.due, k.state, k.epoch, k.sealed, p.state.label("period"),
            k.due_at, k.page,
        )  # fmt: skip
        self.data_keys = StatementFamily(
            lambda size: select(*key_columns).join(t.due_periods, period_of).where(k.id.in_(keys(size))),
            dialect,
        )
        self.data_key_slot = compiled(
            select(*key_columns)
            .join(t.due_periods, period_of)
            .where(
                k.tenant == bindparam("tenant"),
                k.subject == bindparam("subject"),
                k["class"] == bindparam("class"),
                k.due == bindparam("due"),
            )
        )
        f = t.field_keys.c
        self._shown_keys(t, period_of, dialect)
        self.field_keys = compiled(
            select(
                f.id, f.tenant, f.field, f.purpose, f.version, f.state, f.epoch, f.sealed, f.filling
            ).where(
                f.tenant == bindparam("tenant"),
                f.field == bindparam("field"),
                f.purpose == bindparam("purpose"),
            )
        )
        r = t.subject_refs.c
        self.subject_refs = StatementFamily(
            lambda size: select(r.ref, r.subject).where(r.epoch == bindparam("epoch"), r.ref.in_(keys(size))),
            dialect,
        )
        s = t.subjects.c
        # Whoever is being erased is nobody any more: nothing is made for them.
        self.subjects = StatementFamily(
            lambda size: select(s.id, s.tenant).where(s.id.in_(keys(size)), s.erasure.is_(None)), dialect
        )
        v = t.claims.c
        self.claims = StatementFamily(
            lambda size: (
                select(
                    t.tokens.c.id,
                    t.tokens.c.tenant,
                    t.tokens.c.field,
                    t.tokens.c.surrogate,
                    v.sealed.label("claim"),
                    *key_columns,
                )
                .select_from(t.tokens)
                .outerjoin(t.claims, v.token == t.tokens.c.id)
                .outerjoin(t.data_keys, k.id == v.key)
                .outerjoin(t.due_periods, period_of)
                .where(t.tokens.c.id.in_(keys(size)))
                .order_by(t.tokens.c.id, v.key)
            ),
            dialect,
        )
        self._surrogates(t, dialect)
        self._living(t, dialect)
        self.audit_items = StatementFamily(
            lambda size: select(t.audit_items.c.number, t.audit_items.c.salt, t.audit_items.c["items"]).where(
                t.audit_items.c.number.in_(keys(size))
            ),
            dialect,
        )

    def _shown_keys(self, t: Tables, period_of: ColumnElement[bool], dialect: Dialect) -> None:
        """Keys without what is sealed, in the order that `services.keys` shows them; the tenant last."""
        f, k, p = t.field_keys.c, t.data_keys.c, t.due_periods.c
        none = literal("", String)
        state = case((k.state == "active", p.state), else_=k.state)
        fields = select(
            f.id,
            f.purpose,
            f.field,
            f.version,
            f.state,
            f.epoch,
            f.created_at,
            none,
            none,
            f.filling,
            f.tenant,
        )
        data = select(
            k.id, literal("data", String), none, literal(1, Integer), state, k.epoch, k.created_at,
            k["class"], k.due, literal(0, Integer), k.tenant,
        ).join(t.due_periods, period_of)  # fmt: skip

        def page(keys_: Select[Any], of: Any) -> Statement:
            return Statement(
                keys_.where(of.tenant == bindparam("tenant"), of.id < bindparam("below"))
                .order_by(of.id.desc())
                .limit(bindparam("most", type_=Integer)),
                dialect,
            )

        self.field_keys_page = page(fields, f)
        self.data_keys_page = page(data, k)
        self.field_key_shown = Statement(fields.where(f.id == bindparam("key_id")), dialect)
        self.data_key_shown = Statement(data.where(k.id == bindparam("key_id")), dialect)

    def _surrogates(self, t: Tables, dialect: Dialect) -> None:
        """Blind index, registered surrogates, and what was issued."""
        on_conflict = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        b, s, i = t.blind_index.c, t.surrogates.c, t.issued.c
        self.insert_index_entry = Statement(insert(t.blind_index), dialect)
        self.index_entries = StatementFamily(
            lambda size: (
                select(b.entry, b.token)
                .where(b.epoch == bindparam("epoch"), b.entry.in_(keys(size)))
                .order_by(b.entry)
            ),
            dialect,
            locks=True,
        )
        self.insert_surrogate = Statement(insert(t.surrogates), dialect)
        self.surrogates = StatementFamily(
            lambda size: select(s.surrogate, s.token).where(
                s.tenant == bindparam("tenant"), s.field == bindparam("field"), s.surrogate.in_(keys(size))
            ),
            dialect,
        )
        counted = on_conflict(t.issued)
        self.add_issued = Statement(
            counted.on_conflict_do_update(
                index_elements=["tenant", "field", "key_version"],
                set_={"issued": i.issued + counted.excluded.issued, "last_at": counted.excluded.last_at},
                where=i.issued + counted.excluded.issued <= bindparam("most", type_=BigInteger),
            ),
            dialect,
        )
        self.issued = Statement(
            select(i.key_version, i.issued, i.last_at)
            .where(i.tenant == bindparam("tenant"), i.field == bindparam("field"))
            .order_by(i.key_version),
            dialect,
        )
        u = t.key_uses.c
        uses = on_conflict(t.key_uses)
        of_version = ["tenant", "field", "key_version"]
        self.add_rekeyed = Statement(
            uses.on_conflict_do_update(
                index_elements=of_version, set_={"rekeyed": u.rekeyed + uses.excluded.rekeyed}
            ),
            dialect,
        )
        self.note_use = Statement(
            uses.on_conflict_do_update(
                index_elements=of_version,
                set_={"used_at": uses.excluded.used_at},
                where=u.used_at < uses.excluded.used_at,
            ),
            dialect,
        )
        self.key_uses = Statement(
            select(u.key_version, u.rekeyed, u.used_at)
            .where(u.tenant == bindparam("tenant"), u.field == bindparam("field"))
            .order_by(u.key_version),
            dialect,
        )
        k = t.data_keys.c
        # Never to an earlier day: of two groups that move a date, the later day stands.
        self.move_due = Statement(
            update(t.data_keys)
            .values(due_at=bindparam("to"))
            .where(k.id == bindparam("data_key"), (k.due_at.is_(None)) | (k.due_at < bindparam("to"))),
            dialect,
        )

    def _living(self, t: Tables, dialect: Dialect) -> None:
        """What a schema's change would leave behind, and the end of field keys."""
        k, p, f = t.data_keys.c, t.due_periods.c, t.field_keys.c
        period_of = and_(p.tenant == k.tenant, p["class"] == k["class"], p.due == k.due)
        opens = and_(*(or_(*(state == one for one in sorted(PROCESSES))) for state in (k.state, p.state)))
        self.living_tokens = Statement(
            select(func.count(func.distinct(t.tokens.c.id)))
            .select_from(t.tokens)
            .join(t.claims, t.claims.c.token == t.tokens.c.id)
            .join(t.data_keys, k.id == t.claims.c.key)
            .join(t.due_periods, period_of)
            .where(t.tokens.c.tenant == bindparam("tenant"), t.tokens.c.field == bindparam("field"), opens),
            dialect,
        )
        self.living_keys = Statement(
            select(func.count())
            .select_from(t.data_keys)
            .join(t.due_periods, period_of)
            .where(k.tenant == bindparam("tenant"), k["class"] == bindparam("class"), opens),
            dialect,
        )
        self.old_data_keys = Statement(
            select(func.count())
            .select_from(t.data_keys)
            .join(t.due_periods, period_of)
            .where(
                k.due == "",
                k["class"] != IDENTIFIER_CLASS,
                k.created_at <= bindparam("made_by"),
                k.state == "active",
                p.state == "active",
            ),
            dialect,
        )
        self.newest_field_keys = Statement(
            select(f.tenant, f.field, func.max(f.version), func.max(f.created_at))
            .where(f.purpose == bindparam("purpose"))
            .group_by(f.tenant, f.field)
            .order_by(f.tenant, f.field),
            dialect,
        )
        self.claims_of_key = Statement(
            select(func.count()).select_from(t.claims).where(t.claims.c.key == bindparam("data_key")), dialect
        )
        self.end_field_keys = Statement(
            update(t.field_keys)
            .values(state="deactivated")
            .where(
                f.tenant == bindparam("of_tenant"),
                f.field == bindparam("of_field"),
                f.purpose == bindparam("of_purpose"),
                f.version < bindparam("below"),
                or_(f.state == "active", f.state == "suspended"),  # SP 800-57 part 1, 7.2 and 7.3
            ),
            dialect,
        )
