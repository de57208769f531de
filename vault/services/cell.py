"""A cell: one region's database, keys, identities and schema, as the verbs see it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from vault.authn.identities import Identities
from vault.authn.oauth import OAuth
from vault.authn.seen import Seen
from vault.authn.sessions import SignIn
from vault.clock import SECOND, Clock, Micros, Period
from vault.errors import Unavailable
from vault.keyring.epoch import KeyStores
from vault.keyring.ring import Keyring
from vault.kms.guard import Guard
from vault.ledger.committer import Committer
from vault.policy.attribute_rules import DEFAULT, AttributeRules, rules_of
from vault.schema.document import EMPTY, Schema, parse_document
from vault.services.directory import Directory
from vault.services.key_terms import KeyTerms
from vault.services.messenger import Messenger
from vault.services.pacing import Pacing
from vault.services.peers import Peer
from vault.services.throttle import Throttle
from vault.services.uses import KeyUses
from vault.store.cell import Store

HOUR: Final[Micros] = 3_600 * SECOND
KEEP: Final = Period(months=0, seconds=7 * 86_400)
FENCED: Final = Period(months=120, seconds=0)
"""How long backups of custody are kept, if nothing else is said: `P7D`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a deployment (`[limits]`)."""

    items: int = 10_000
    body_bytes: int = 256 * 1024
    batch_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Working:
    """How jobs of a cell are done, and how often its epoch is turned.

    Attributes:
        batch: rows of one transaction.
        pause_s: seconds between two transactions, for everybody else.
        rotation: how long an epoch is sealed under; None: until somebody turns it.
        references: how long references to people are made by one key; None: until somebody rotates it.
        signing: how long access tokens are signed by one key; None: for ever.
        messages: how long sealed answers are signed, and sealed requests opened, by one key; None: for ever.
        custody_backup: the folder that a turn writes a backup of custody and record into.
        custody_backup_keep: how long such a backup is kept.
        suppression_keep: for how long late writes for somebody who was erased are refused.
    """

    batch: int = 2_048
    pause_s: float = 0.0
    rotation: Period | None = None
    custody_backup: Path | None = None
    custody_backup_keep: Period = KEEP
    suppression_keep: Period = FENCED
    references: Period | None = None
    signing: Period | None = None
    messages: Period | None = None


class Attendant(Protocol):
    """What a turn asks of the process that it runs in."""

    id: bytes

    def look(self) -> None:
        """Opens epochs that are new, drops those that are closed, and says so in the database."""

    def keep(self) -> None:
        """Looks, unless something does so all the while: between the pieces of long work."""


class Origin(NamedTuple):
    """Where a request came from: for the audit log.

    Attributes:
        address: the peer's address, or `host:<uid>`.
        request: the request's id.
    """

    address: str
    request: str


@dataclass(frozen=True, slots=True)
class TenantSchema:
    """A tenant's schema in force, and its attribute rules: both are bound by the head's schema version.

    Attributes:
        version: of the tenant's own schemas.
        head: the cell's schema version when this was read; one more for each schema or set of rules applied.
        rules: None where the default set is in force, which permits all.
        policies: its text; policy_version: 0 where none was applied.
    """

    schema: Schema
    version: int
    head: int
    rules: AttributeRules | None = None
    policies: str = DEFAULT
    policy_version: int = 0


class FailureCounts:
    """Requests without a valid credential, by code, since the last flush. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, counts: Mapping[str, int]) -> None:
        """Adds counts."""
        with self._lock:
            self._counts.update(counts)

    def take(self) -> dict[str, int]:
        """The counts so far, which start anew."""
        with self._lock:
            taken, self._counts = dict(self._counts), Counter()
        return taken


class Schemas:
    """The schemas in force, read once, and again when another one is: reading all of them takes long."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self._lock = threading.Lock()
        self._known: dict[str, TenantSchema] = {}
        self._head = -1
        self._sure = False

    def of(self, tenant: str, *, fresh: bool = False) -> TenantSchema:
        """The tenant's schema; an empty one if none was applied.

        Args:
            tenant: whose.
            fresh: for verbs that only read. No command finds them stale, so it is looked at here whether
                another process has applied a schema.
        """
        with self._lock:
            # The head's version first: if a schema is applied in between, commands come back stale.
            version = self._head if self._sure and not fresh else self._version()
            if version != self._head:
                self._known = self._read(version)
                self._head = version
                self._keyring.forget()  # a field that is another now may have another key
            self._sure = True
            return self._known.get(tenant) or TenantSchema(EMPTY, 0, self._head)

    def _read(self, head: int) -> dict[str, TenantSchema]:
        store = self._store
        rows = store.read(store.record.latest_schemas)
        schemas = {row[0]: (parse_document(msgspec.json.decode(row[2])), row[1]) for row in rows}
        applied = {
            row[0]: (row[1], row[2]) for row in self._store.read(self._store.oversight.latest_policies)
        }
        known = {}
        for tenant in schemas.keys() | applied.keys():
            schema, version = schemas.get(tenant, (EMPTY, 0))
            policy_version, text = applied.get(tenant, (0, DEFAULT))
            was = self._known.get(tenant)
            if was is not None and (was.version, was.policy_version) == (version, policy_version):
                rules = was.rules  # with all that they were asked before
            else:
                rules = rules_of(text, schema)
            known[tenant] = TenantSchema(schema, version, head, rules, text, policy_version)
        return known

    def outdated(self) -> bool:
        """Whether another schema is in force than the one that is remembered."""
        with self._lock:
            return self._sure and self._version() != self._head

    def _version(self) -> int:
        """The cell's schema version, over all tenants."""
        return int(self._store.read(self._store.record.head)[0][5])

    def forget(self) -> None:
        """Looks at the next use whether another schema is in force."""
        with self._lock:
            self._sure = False


@dataclass(slots=True)
class Cell:
    """Everything of one region. Made by `wiring`; closed there."""

    region: str
    store: Store
    committer: Committer
    keyring: Keyring
    identities: Identities
    schemas: Schemas
    clock: Clock
    limits: Limits
    failures: FailureCounts = field(default_factory=FailureCounts)
    uses: KeyUses = field(default_factory=KeyUses)
    seen: Seen = field(default_factory=lambda: Seen(HOUR))  # service keys
    terms: KeyTerms = field(default_factory=KeyTerms)
    sign_in: SignIn = field(default_factory=SignIn)
    oauth: OAuth = field(default_factory=OAuth, repr=False)
    throttle: Throttle = field(default_factory=Throttle, repr=False)
    pacing: Pacing = field(default_factory=Pacing, repr=False)
    ending: int = 0  # service keys whose end is near and that have no successor, as last looked at
    unreviewed: int = 0  # items of reviews whose time is near or over that nobody decided, as last looked at
    untold: int = 0  # people that the directory is yet to be told of, as last looked at
    key_store: Guard | None = None  # never asked inside a command, nor on a request's way
    working: Working = Working()
    keys: KeyStores | None = None
    attendant: Attendant | None = None
    directory: Directory | None = field(default=None, repr=False)
    regions: Mapping[str, str] = field(default_factory=dict)  # every region that is known, and its address
    neighbours: dict[str, Cell] = field(
        default_factory=dict, repr=False
    )  # the other cells that this process has open
    peers: Mapping[str, Peer] = field(default_factory=dict, repr=False)  # cells of other processes
    messenger: Messenger | None = field(default=None, repr=False)  # tells people; asked by the worker alone
    overdue: int = 0  # grants past a ceiling whose review is late, as last looked at
    untellable: int = 0  # notices that were given up in the last week, as last looked at
    transfer_to: frozenset[str] = frozenset()  # regions that values of people may be transferred into

    @property
    def channels(self) -> tuple[str, ...]:
        """How people are told of what waits for them; none: they have to look."""
        return () if self.messenger is None else self.messenger.channels

    def forget(self) -> None:
        """Drops everything remembered of the database, after something was found stale."""
        self.identities.forget()
        self.schemas.forget()
        self.keyring.forget()

    def outdated(self) -> bool:
        """Whether another process changed what a verb was just refused by.

        A command says by itself that it was prepared on what is no longer so; a refusal leaves none. A SQLite
        cell has one process.
        """
        if self.store.is_file:
            return False
        try:
            return self.schemas.outdated()
        except Unavailable:
            return False  # then the refusal stands as it is

    def close(self) -> None:
        """Finishes what waits, then lets go of the database and the keys."""
        self.committer.close()
        if self.key_store is not None:
            self.key_store.close()  # first, as whoever looks at it may read the database
        self.keyring.forget()
        if self.directory is not None:
            self.directory.close()
        self.store.close()
