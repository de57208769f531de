"""The tables of a cell, in its three parts.

*custody*: sealed keys, token rows, subjects, audit items. *record*: grants, principals, audit, schema.
*values*: the claims' ciphertexts, the bulk. On PostgreSQL a part is a schema; on SQLite a prefix, since
attached files tear in WAL mode when the host dies. Foreign keys stay inside a part, because the parts
are backed up and restored apart.

Instants are integers (microseconds), ids of rows and keys 16 bytes, names and public ids text.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

from vault.store import (
    approval_tables,
    crossing_tables,
    forgetting_tables,
    grant_tables,
    operator_tables,
    oversight_tables,
    work_tables,
)

CUSTODY: Final = "custody"
RECORD: Final = "record"
VALUES: Final = "values"
PREFIXES: Final = {CUSTODY: "cu_", RECORD: "re_", VALUES: "va_"}
SCHEMAS: Final = {CUSTODY: "custody", RECORD: "record", VALUES: "vals"}  # VALUES is a reserved word
SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"

# Under which epoch a row's sealed bytes lie: the epoch turn re-seals exactly these (a test fails on a
# sealed column that is missing here).
SEALED_UNDER_EPOCH: Final[dict[str, tuple[str, str]]] = {
    "data_keys": ("sealed", "epoch"),
    "field_keys": ("sealed", "epoch"),
    "key_pages": ("sealed", "epoch"),
}
# Sealed by something else: kms halves by the root key; the rest under data keys.
SEALED_OTHERWISE: Final = frozenset(
    {
        ("epochs", "sealed_half"),
        ("epochs", "sealed_canary"),  # under the row's own epoch, and goes with it
        ("subjects", "sealed"),
        ("approvals", "sealed"),  # under a field key of the cell's own, which a turn carries
        ("claims", "sealed"),
        ("totp", "sealed"),  # under a field key of the cell's own, which turns carry
        ("idempotency", "sealed"),  # under a key of the request, which is one of the epoch: dropped with it
    }
)
# Keyed by epoch: rows of an epoch are dropped when it closes.
KEYED_BY_EPOCH: Final = frozenset({"idempotency", "blind_index", "subject_refs", "suppressions"})
MAX_SURROGATE: Final = 256  # characters
OF_THE_DATABASE: Final = frozenset({"loads", "program"})
"""Tables that say how a database itself stands: in no backup, and in no copy."""
OF_ONE_PLACE: Final = OF_THE_DATABASE | {"processes"}
"""Those, and what ends with where the cell is: in no backup."""


class Tables:
    """All tables for one kind of database.

    Args:
        dialect: `sqlite` or `postgresql`.
    """

    program: Table  # these five: `vault.store.work_tables`
    jobs: Table
    processes: Table
    turns: Table
    loads: Table
    directory_removals: Table  # these three: `vault.store.crossing_tables`
    transfers: Table
    arrivals: Table
    grants: Table  # these seven: `vault.store.grant_tables`
    grant_subjects: Table
    grant_proofs: Table
    grant_blocks: Table
    grant_people: Table
    grant_tries: Table
    holder_keys: Table
    kills: Table
    approvals: Table  # these four: `vault.store.approval_tables`
    approval_votes: Table
    notices: Table
    break_glass: Table
    passwords: Table  # these six: `vault.store.operator_tables`
    totp: Table
    recovery_codes: Table
    passkeys: Table
    client_keys: Table
    sessions: Table
    challenges: Table
    policies: Table  # these three: `vault.store.oversight_tables`
    reviews: Table
    review_items: Table
    erasures: Table  # these four: `vault.store.forgetting_tables`
    suppressions: Table
    subject_events: Table
    holds: Table

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.metadata = MetaData()
        self._custody()
        self._record()
        self._values()
        grant_tables.define(self)
        work_tables.define(self)
        crossing_tables.define(self)
        operator_tables.define(self)
        approval_tables.define(self)
        oversight_tables.define(self)
        forgetting_tables.define(self)

    def table(self, part: str, name: str, /, *columns: SchemaItem, rowid: bool = True) -> Table:
        """A table of a part."""
        info = {"part": part, "name": name}
        if self.dialect == SQLITE:
            return Table(PREFIXES[part] + name, self.metadata, *columns, sqlite_with_rowid=rowid, info=info)
        return Table(name, self.metadata, *columns, schema=SCHEMAS[part], info=info)

    def key(self, part: str, name: str, column: str) -> str:
        """The target of a foreign key inside a part."""
        table = PREFIXES[part] + name if self.dialect == SQLITE else f"{SCHEMAS[part]}.{name}"
        return f"{table}.{column}"

    def _custody(self) -> None:
        self.epochs = self.table(
            CUSTODY,
            "epochs",
            Column("epoch", Integer, primary_key=True, autoincrement=False),
            Column("id", LargeBinary(16), nullable=False),
            Column("state", String(16), nullable=False),
            Column("sealed_half", LargeBinary, nullable=False),  # empty: destroyed
            Column("created_at", BigInteger, nullable=False),
            Column("sealed_canary", LargeBinary),  # absent: of an epoch from before there were canaries
            Column("activated_at", BigInteger),  # absent: when it was made, or not yet
            Column("destroy_at", BigInteger),  # from when on every host destroys its half of it
        )
        self.due_periods = self.table(
            CUSTODY,
            "due_periods",
            Column("tenant", String(64), primary_key=True),
            Column("class", String(64), primary_key=True),
            Column("due", String(10), primary_key=True),
            Column("state", String(16), nullable=False),
        )
        self.data_keys = self.table(
            CUSTODY,
            "data_keys",
            Column("id", LargeBinary(16), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("subject", LargeBinary(16), nullable=False),  # the nil UUID: nobody
            Column("class", String(64), nullable=False),
            Column("due", String(10), nullable=False),  # empty: absent
            Column("state", String(16), nullable=False),
            Column("epoch", Integer, nullable=False),  # 0: its page says
            Column("sealed", LargeBinary, nullable=False),  # empty: it lies in its page
            Column("created_at", BigInteger, nullable=False),
            Column("due_at", BigInteger),  # of a key whose date moves; absent: its due period says, or none
            Column("page", LargeBinary(16)),  # absent: sealed here, singly
            UniqueConstraint("tenant", "subject", "class", "due", name="uq_data_keys_slot"),
            rowid=False,
        )
        Index("ix_data_keys_page", self.data_keys.c.tenant, self.data_keys.c.id)
        d = self.data_keys.c
        paged = d.page.is_not(None)
        dated = d.due_at.is_not(None)
        Index("ix_data_keys_due", d.due_at, sqlite_where=dated, postgresql_where=dated)
        Index("ix_data_keys_of_page", d.page, sqlite_where=paged, postgresql_where=paged)
        Index("ix_data_keys_epoch", d.epoch, d.tenant, d["class"], d.due)  # what a turn packs, in order
        # Up to 256 data keys of one tenant, class and due period: a period that ends goes by the page.
        self.key_pages = self.table(
            CUSTODY,
            "key_pages",
            Column("id", LargeBinary(16), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("class", String(64), nullable=False),
            Column("due", String(10), nullable=False),
            Column("version", Integer, nullable=False),  # one more each time it is sealed
            Column("epoch", Integer, nullable=False),
            Column("keys", Integer, nullable=False),
            Column("sealed", LargeBinary, nullable=False),
        )
        p = self.key_pages.c
        Index("ix_key_pages_period", p.tenant, p["class"], p.due)
        Index("ix_key_pages_epoch", p.epoch, p.id)
        self.field_keys = self.table(
            CUSTODY,
            "field_keys",
            Column("id", LargeBinary(16), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("field", String(64), nullable=False),  # empty: the tenant's or the cell's own
            Column("purpose", String(32), nullable=False),
            Column("version", Integer, nullable=False),
            Column("state", String(16), nullable=False),
            Column("epoch", Integer, nullable=False),
            Column("sealed", LargeBinary, nullable=False),
            Column("created_at", BigInteger, nullable=False),
            # 1: of an index key under which not all rows are there yet, so that none is looked up by it
            Column("filling", Integer, nullable=False, server_default="0"),
            UniqueConstraint("tenant", "field", "purpose", "version", name="uq_field_keys_version"),
        )
        self.subjects = self.table(
            CUSTODY,
            "subjects",
            Column("id", LargeBinary(16), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("key", LargeBinary(16), ForeignKey(self.key(CUSTODY, "data_keys", "id")), nullable=False),
            Column("sealed", LargeBinary, nullable=False),
            Column("created_at", BigInteger, nullable=False),
            # The generation of the directory in which the person is listed: 0 until that was done.
            Column("listed", Integer, nullable=False, server_default="0"),
            Column("erasure", String(32)),  # that the person is subject to; absent: none
            rowid=False,
        )
        Index("ix_subjects_key", self.subjects.c.key)
        self.subject_refs = self.table(
            CUSTODY,
            "subject_refs",
            Column("epoch", Integer, primary_key=True, autoincrement=False),
            Column("ref", LargeBinary(16), primary_key=True),
            Column(
                "subject", LargeBinary(16), ForeignKey(self.key(CUSTODY, "subjects", "id")), nullable=False
            ),
            Column("key_version", Integer, nullable=False, server_default="1"),  # of the reference's key
            rowid=False,
        )
        Index("ix_subject_refs_subject", self.subject_refs.c.subject)
        self.tokens = self.table(
            CUSTODY,
            "tokens",
            Column("id", LargeBinary(16), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("field", String(64), nullable=False),
            Column("created_at", BigInteger, nullable=False),
            Column("surrogate", String(MAX_SURROGATE)),  # of a shaped token; absent: the token is opaque
            rowid=False,
        )
        self.blind_index = self.table(
            CUSTODY,
            "blind_index",
            Column("epoch", Integer, primary_key=True, autoincrement=False),
            Column("entry", LargeBinary(16), primary_key=True),
            Column("token", LargeBinary(16), nullable=False),
            Column("key_version", Integer, nullable=False, server_default="1"),  # of the field's index key
            rowid=False,
        )
        # Every shaped surrogate ever issued. Rows outlive their tokens: none is issued twice.
        self.surrogates = self.table(
            CUSTODY,
            "surrogates",
            Column("tenant", String(64), primary_key=True),
            Column("field", String(64), primary_key=True),
            Column("surrogate", String(MAX_SURROGATE), primary_key=True),
            Column("token", LargeBinary(16), nullable=False),
            rowid=False,
        )
        self.issued = self.table(
            CUSTODY,
            "issued",
            Column("tenant", String(64), primary_key=True),
            Column("field", String(64), primary_key=True),
            # 0: of a field whose surrogates name no key version
            Column("key_version", Integer, primary_key=True, autoincrement=False),
            Column("issued", BigInteger, nullable=False),
            Column("last_at", BigInteger, nullable=False),
        )
        # What became of surrogates that callers keep. Copies exist: nothing is ever subtracted from `issued`.
        self.key_uses = self.table(
            CUSTODY,
            "key_uses",
            Column("tenant", String(64), primary_key=True),
            Column("field", String(64), primary_key=True),
            Column("key_version", Integer, primary_key=True, autoincrement=False),
            Column("rekeyed", BigInteger, nullable=False),
            Column("used_at", BigInteger, nullable=False),  # to the minute; 0: never
        )
        # Nothing in the clear: a keyed reference, a keyed fingerprint of what was asked, the sealed answer.
        self.idempotency = self.table(
            CUSTODY,
            "idempotency",
            Column("epoch", Integer, primary_key=True, autoincrement=False),
            Column("ref", LargeBinary(16), primary_key=True),
            Column("fingerprint", LargeBinary(32), nullable=False),
            Column("sealed", LargeBinary, nullable=False),
            Column("expires_at", BigInteger, nullable=False),
        )
        Index("ix_idempotency_expires_at", self.idempotency.c.expires_at)
        self.audit_items = self.table(
            CUSTODY,
            "audit_items",
            Column("number", BigInteger, primary_key=True, autoincrement=False),
            Column("salt", LargeBinary(32), nullable=False),
            Column("items", LargeBinary, nullable=False),
        )

    def _record(self) -> None:
        self.head = self.table(
            RECORD,
            "head",
            Column("id", Integer, primary_key=True, autoincrement=False),
            Column("region", String(64), nullable=False),
            Column("next", BigInteger, nullable=False),
            Column("write_epoch", Integer, nullable=False),
            Column("read_epoch", Integer, nullable=False),
            Column("fence", BigInteger, nullable=False),
            Column("schema_version", BigInteger, nullable=False),
            Column("last_at", BigInteger, nullable=False),
            CheckConstraint("id = 1", name="ck_head_one_row"),
        )
        self.tenants = self.table(
            RECORD,
            "tenants",
            Column("id", String(32), primary_key=True),
            Column("name", String(64), nullable=False, unique=True),
            Column("state", String(16), nullable=False),
            Column("created_at", BigInteger, nullable=False),
        )
        self.principals = self.table(
            RECORD,
            "principals",
            Column("id", String(32), primary_key=True),
            Column("tenant", String(64), nullable=False),
            Column("kind", String(16), nullable=False),
            Column("name", String(80), nullable=False),
            Column("roles", Text, nullable=False),
            Column("permissions", Text, nullable=False),
            Column("ceiling", Text),
            Column("version", Integer, nullable=False),
            Column("created_by", String(80), nullable=False),
            Column("created_at", BigInteger, nullable=False),
            Column("removed_at", BigInteger, nullable=False),  # 0: lives
            UniqueConstraint("tenant", "name", "removed_at", name="uq_principals_name"),
        )
        Index("ix_principals_page", self.principals.c.tenant, self.principals.c.id)
        self.api_keys = self.table(
            RECORD,
            "api_keys",
            Column("id", String(32), primary_key=True),
            Column(
                "principal",
                String(32),
                ForeignKey(self.key(RECORD, "principals", "id")),
                nullable=False,
            ),
            Column("digest", LargeBinary(32), nullable=False),
            Column("networks", Text, nullable=False),
            Column("expires_at", BigInteger, nullable=False),  # 0: never
            Column("created_at", BigInteger, nullable=False),
            Column("revoked_at", BigInteger, nullable=False),  # 0: valid
            Column("used_at", BigInteger, nullable=False, server_default="0"),  # to the hour; 0: never
            Column("warned_at", BigInteger, nullable=False, server_default="0"),  # of its end; 0: not yet
            Column("replaced_by", String(32)),  # the key that took its place; absent: none
        )
        Index("ix_re_api_keys_principal", self.api_keys.c.principal)  # so on both databases
        self.counters = self.table(
            RECORD,
            "counters",
            Column("principal", String(32), primary_key=True),
            Column("kind", String(80), primary_key=True),
            Column("day", String(10), primary_key=True),
            Column("used", BigInteger, nullable=False),
        )
        self.audit = self.table(
            RECORD,
            "audit",
            Column("number", BigInteger, primary_key=True, autoincrement=False),
            Column("leaf", LargeBinary(32), nullable=False),
            Column("body", LargeBinary, nullable=False),
        )
        self.schemas = self.table(
            RECORD,
            "schemas",
            Column("tenant", String(64), primary_key=True),
            Column("version", BigInteger, primary_key=True, autoincrement=False),
            Column("digest", String(64), nullable=False),
            Column("body", Text, nullable=False),
            Column("applied_by", String(80), nullable=False),
            Column("applied_at", BigInteger, nullable=False),
        )

    def _values(self) -> None:
        self.claims = self.table(
            VALUES,
            "claims",
            Column("token", LargeBinary(16), primary_key=True),
            Column("key", LargeBinary(16), primary_key=True),
            Column("sealed", LargeBinary, nullable=False),
            rowid=False,
        )
        Index("ix_claims_key", self.claims.c.key)  # what lies under a key that goes
