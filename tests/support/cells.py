"""A cell to try verbs on: the development schema, an administrator, a service with a ceiling, an agent.

with development_cell(tmp_path) as built:
    made = built.run(tokenize, TokenizeBody(field="customer.ssn", values=["123-45-6789"]))
    credential = built.grant(SSN, uses=2)
    built.run(detokenize, reveal("customer.ssn", made.tokens), by=credential)
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from tests.support.databases import give_back, postgresql
from tests.support.holders import Holding
from vault.authn.identities import Identities
from vault.cli.templates import DEVELOPMENT_SCHEMA
from vault.clock import Clock, SystemClock
from vault.config import Config, build
from vault.keyring.epoch import create_epoch, open_epochs
from vault.keyring.ring import Keyring
from vault.kms.local import make_key_file
from vault.ledger.command import Verb
from vault.ledger.committer import Committer
from vault.policy.grant import ScopeEntry
from vault.policy.principal import Ceiling
from vault.services import initialise
from vault.services.batch import ItemError
from vault.services.cell import Cell, Limits, Origin, Schemas
from vault.services.decrypt import DecryptBody, DecryptItem, decrypt
from vault.services.detokenize import DetokenizeBody, detokenize
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.gate import Request
from vault.services.grant_body import GrantBody, GrantLimits, Subjects, Validity
from vault.services.grants import create_grant
from vault.services.identities import (
    PrincipalBody,
    create_principal,
    remove_principal,
)
from vault.services.schema import SchemaBody, apply_schema, plan_schema
from vault.services.service_keys import (
    KeyBody,
    create_key,
)
from vault.services.tenants import TenantBody, create_tenant
from vault.services.tokenize import ColumnAnswer, TokenizeBody, tokenize
from vault.store import migrations
from vault.store.cell import Store
from vault.wiring import Deployment, Wiring, as_host, deploy, perform

Answer = TypeVar("Answer")

REGION: Final = "eu"
HOST: Final = "host"
SSN: Final = "customer.ssn"
PAN: Final = "customer.pan"
NAME: Final = "customer.name"
NOTE: Final = "customer.note"
EMAIL: Final = "customer.email"  # deterministic over the field
CITY: Final = "customer.city"  # deterministic within a person, with a budget of 1,000 a day
PHONE: Final = "customer.phone"  # shaped: ten digits, at most 20 of them
HANDLE: Final = "customer.handle"  # shaped and deterministic
TEXT: Final = "chat.text"  # encrypted
VISIT: Final = "chat.visit"  # encrypted, kept from its last use
FIELDS: Final = [SSN, PAN, NAME, NOTE, EMAIL, CITY, PHONE, HANDLE]
WITHOUT_MASKS: Final = [NOTE, CITY, PHONE, HANDLE, TEXT]
ENCRYPTED: Final = [TEXT, VISIT]
AGENT: Final = "agent:demo"
ADDRESS: Final = "192.0.2.7"  # RFC 5737

SCHEMA: Final = (
    DEVELOPMENT_SCHEMA
    + """
[purposes.files]
legal_basis = "contract"
bearer = { delivery = ["plain"], max_uses = 1000000, max_ttl = "P30D" }
keyed = { delivery = ["plain"] }

[purposes.sealed]
legal_basis = "consent"

[retention.visit]
keep = "P30D"
from = "last_use"
period = "day"

[fields."customer.city"]
template = "text(max=80)"
protection = "vaulted"
deterministic = "subject"
retention = "customer"
tokenize_budget = { per_day = 1000 }
transfer_to = ["us"]

[fields."customer.phone"]
template = "text(max=40)"
protection = "vaulted"
surrogate = "digits(length=10)"
max_rows = 20
retention = "customer"

[fields."customer.handle"]
template = "text(max=40)"
protection = "vaulted"
surrogate = "alphanumeric(length=8, case='lower')"
max_rows = 1000000
deterministic = "field"
retention = "customer"

[fields."chat.text"]
protection = "encrypted"
retention = "customer"
max_bytes = 1000

[fields."chat.visit"]
protection = "encrypted"
retention = "visit"
subject = "required"
masks = { start = "{first:2}***" }
"""
)
"""The schema of `coatcheck init --dev`, with a purpose for jobs and one without plain delivery."""

CEILING: Final = Ceiling(
    fields=[*FIELDS, *ENCRYPTED],
    operations=["reveal", "mask"],
    deliveries=["plain", "sealed"],
    purposes=["support", "files", "sealed"],
    agents=[AGENT, "agent:absent"],
    uses=100_000,
    ttl="P30D",
)


def settings(folder: Path, *regions: str) -> Config:
    """The settings of a development deployment in a folder."""
    cells = {
        region: {
            "database": f"sqlite:///{region}.db",
            "kms": f"local:keys/{region}",
            "half_stores": [f"keys/{region}"],
            "key_file": f"keys/{region}/development.key",
        }
        for region in regions or (REGION,)
    }
    return build({"mode": "development", "cell": cells}, {}, folder)


def reveal(
    field_: str, tokens: list[str | None], key_version: int | None = None, **more: Any
) -> DetokenizeBody:
    """A columnar body that asks for values; key version 1 for vaultless fields."""
    if key_version is None and field_ in (SSN, PAN):
        key_version = 1
    more.setdefault("purpose", "support")
    return DetokenizeBody(field=field_, tokens=tokens, key_version=key_version, **more)


@dataclass
class BuiltCell:
    """A cell with people in it.

    Attributes:
        admin: the credential of an operator with the roles admin and auditor.
        service: the credential of `service:demo`, which may tokenize all fields and create grants.
        service_id: its principal's id; `agent_id`: the agent's.
    """

    cell: Cell
    config: Config
    close: Callable[[], None]
    admin: str = ""
    service: str = ""
    service_id: str = ""
    agent_id: str = ""
    deployment: Deployment | None = None
    tenant: str = initialise.MAIN_TENANT
    schema: str = field(default=SCHEMA, repr=False)

    def request(self, by: str | Holding = HOST, address: str = ADDRESS, once: str | None = None) -> Request:
        """A request of the holder of a credential, or of the host; `once` is its Idempotency-Key."""
        if isinstance(by, Holding):
            return by.request(self, address, once)
        if by == HOST:
            return Request(None, Origin(f"host:{os.getuid()}", "req_host"), as_host(self.tenant))
        return Request(f"Bearer {by}", Origin(address, "req_test"), idempotency=once)

    def run(
        self,
        verb: Callable[..., Verb[Answer]],
        *arguments: Any,
        by: str | Holding | None = None,
        address: str = ADDRESS,
        once: str | None = None,
    ) -> Answer:
        """Runs a verb to its end, as the service unless told otherwise."""
        request = self.request(self.service if by is None else by, address, once)
        return perform(self.cell, lambda: verb(self.cell, request, *arguments))

    def tokens(
        self, field_: str, *values: str | None, subjects: list[str | None] | None = None
    ) -> list[str | None]:
        """Tokens of values of one field."""
        made = self.run(tokenize, TokenizeBody(field=field_, values=list(values), subjects=subjects))
        assert isinstance(made, ColumnAnswer)
        return [token for token in made.tokens if not isinstance(token, ItemError)]

    def token(self, field_: str, value: str, subject: str | None = None) -> str:
        """The token of one value."""
        made = self.tokens(field_, value, subjects=[subject])[0]
        assert made is not None
        return made

    def grant_body(
        self,
        *fields: str,
        uses: int = 10,
        operations: list[str] | None = None,
        subjects: list[str] | None = None,
        valid: Validity | None = None,
        batch: int | None = None,
        **more: Any,
    ) -> GrantBody:
        """A grant for the agent over some fields; by default for support, to reveal and mask."""
        chosen = operations or ["reveal", "mask"]
        bare = [name for name in fields if name in WITHOUT_MASKS]
        with_masks = [name for name in fields if name not in bare]
        scope = [ScopeEntry(with_masks, chosen, ["plain"])] if with_masks else []
        if bare:
            scope.append(ScopeEntry(bare, ["reveal"], ["plain"]))
        return GrantBody(
            **{"agent": AGENT, "purpose": "support", "scope": scope, **more},
            subjects=None if subjects is None else Subjects(subjects),
            limits=GrantLimits(uses, batch),
            valid=valid or Validity(),
        )

    def grant(self, *fields: str, **more: Any) -> str:
        """The credential of a new grant; arguments as for `grant_body`."""
        made = self.run(create_grant, self.grant_body(*fields, **more))
        assert made.credential is not None
        return made.credential

    def reveal(
        self, credential: str | Holding, field_: str, *tokens: str | None, **more: Any
    ) -> list[str | None] | None:
        """The values of tokens of one field under a grant."""
        values = self.run(detokenize, reveal(field_, list(tokens), **more), by=credential).values
        assert isinstance(values, list)
        return [value for value in values if value is None or isinstance(value, str)]

    def events(self, first: int = 0, kind: str | None = None) -> list[dict[str, Any]]:
        """The audit events from a number on, decoded."""
        rows = self.cell.store.read(self.cell.store.record.audit_range, {"first": first, "end": 2**62})
        decoded = [msgspec.json.decode(row[2]) for row in rows]
        return [event for event in decoded if kind in (None, event["kind"])]

    def ciphertext(self, field_: str, value: str, **more: str) -> str:
        """The ciphertext of one value."""
        made = self.run(encrypt, EncryptBody([EncryptItem(field_, value, **more)])).items[0].ciphertext
        assert isinstance(made, str)
        return made

    def decrypt(self, credential: str, field_: str, *ciphertexts: str, **more: Any) -> list[Any]:
        """The values of ciphertexts of one field under a grant; members of the items as keywords."""
        items = [DecryptItem(field_, text, **more) for text in ciphertexts]
        answer = self.run(decrypt, DecryptBody("support", items), by=credential)
        return [item.value for item in answer.items or []]

    @property
    def next_number(self) -> int:
        """The number that the next event will have."""
        return int(self.cell.store.read(self.cell.store.record.head)[0][1])

    def apply(self, toml: str) -> None:
        """Plans and applies a schema, as the host."""
        plan = self.run(plan_schema, SchemaBody(toml=toml), by=HOST)
        self.run(apply_schema, SchemaBody(toml=toml, digest=plan.digest), by=HOST)

    def principal(self, kind: str, name: str, **more: Any) -> tuple[str, str]:
        """A new principal's id and credential; an agent's credential is empty."""
        made = self.run(create_principal, PrincipalBody(kind, name, **more), by=HOST)
        return made.id, "" if kind == "agent" else self.key(made.id)

    def key(self, principal: str, body: KeyBody | None = None) -> str:
        """A new service key's credential."""
        return self.run(create_key, principal, body or KeyBody(), by=HOST).credential or ""

    def another_tenant(self, name: str) -> BuiltCell:
        """A second tenant of the cell, populated as the first one is."""
        first = self.run(create_tenant, TenantBody(name), by=HOST)
        made = replace(self, tenant=name)
        assert first.admin is not None
        made.run(remove_principal, first.admin.principal, by=HOST)  # `populate` makes its own
        made.populate()
        return made

    def populate(self) -> None:
        """Applies the schema and makes the principals."""
        self.apply(self.schema)
        permissions = [f"tokenize:{name}" for name in FIELDS]
        permissions += [f"encrypt:{name}" for name in ENCRYPTED]
        permissions += [f"rekey:{name}" for name in (SSN, PAN)]
        permissions += [f"grant:create:{name}" for name in ("support", "files", "sealed")]
        self.agent_id, _ = self.principal("agent", AGENT)
        self.service_id, self.service = self.principal(
            "service", "demo", permissions=permissions, ceiling=CEILING
        )
        more = ["cell-admin", "cell-custodian"] if self.tenant == initialise.MAIN_TENANT else []
        _, self.admin = self.principal(
            "operator",
            "admin",
            roles=["admin", "auditor", "key-custodian", "privacy-officer", *more],
            permissions=["directory:lookup", "transfer:receive"],
        )


def create(folder: Path, *regions: str, clock: Clock | None = None) -> Config:
    """Makes empty cells in a folder."""
    config = settings(folder, *regions)
    for region in config.cell:
        Wiring(config, clock=clock).create(region, as_host())
    return config


@contextmanager
def development_cell(
    folder: Path, clock: Clock | None = None, *, populate: bool = True
) -> Iterator[BuiltCell]:
    """A new cell on SQLite, open.

    A populated one by the system's clock is a copy of one that was made before: the same keys, ids and
    credentials, in a folder of its own.
    """
    if clock is None and populate:
        config = _copy(folder)
        opened = Wiring(config).open(REGION)
        built = replace(_original(), cell=opened.cell, config=config, close=opened.close)
    else:
        config = create(folder, clock=clock)
        opened = Wiring(config, clock=clock).open(REGION)
        built = BuiltCell(opened.cell, config, opened.close)
    try:
        if clock is not None and populate:
            built.populate()
        yield built
    finally:
        opened.close()


def _copy(folder: Path) -> Config:
    """A populated cell in a folder, not open."""
    shutil.copytree(_original().config.base, folder, dirs_exist_ok=True)
    return settings(folder)


@cache
def _original() -> BuiltCell:
    """A populated cell, closed again, of which others are copies; gone with this process."""
    folder = Path(tempfile.mkdtemp(prefix="cell-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = create(folder)
    opened = Wiring(config).open(REGION)
    built = BuiltCell(opened.cell, config, opened.close)
    built.populate()
    opened.close()
    return built


@contextmanager
def development_deployment(folder: Path) -> Iterator[BuiltCell]:
    """A new cell on SQLite inside a deployment, as the HTTP door wants it."""
    config = _copy(folder)
    deployment = deploy(config, jobs=False)  # nothing is done that a test does not do
    try:
        yield replace(
            _original(),
            cell=deployment.cells[REGION],
            config=config,
            close=deployment.close,
            deployment=deployment,
        )
    finally:
        deployment.close()


def put_together(wiring: Wiring, store: Store, clock: Clock) -> Cell:
    """A cell over a database that is there, with a committer, keys and a memory of its own."""
    halves, provider = wiring.halves(REGION), wiring.provider(REGION)
    keyring = Keyring(REGION, open_epochs(REGION, store, provider, halves), store)
    return Cell(
        region=REGION,
        store=store,
        committer=Committer(store),
        keyring=keyring,
        identities=Identities(store, clock),
        schemas=Schemas(store, keyring),
        clock=clock,
        limits=Limits(),
        keys=lambda: (wiring.provider(REGION), wiring.halves(REGION)),
    )


@contextmanager
def cell_on(
    url: str, folder: Path, clock: Clock | None = None, *, populate: bool = True
) -> Iterator[BuiltCell]:
    """A new cell on any database, put together by hand: wiring opens SQLite only in this version."""
    folder.mkdir(parents=True, exist_ok=True)
    config = settings(folder)
    wiring = Wiring(config, clock=clock)
    clock = clock or SystemClock()
    make_key_file(config.path(config.cell[REGION].key_file or ""))
    provider, halves = wiring.provider(REGION), wiring.halves(REGION)
    store = Store(url, clock)
    migrations.upgrade(store.engine)
    initialise.write_epoch(store, REGION, create_epoch(REGION, 1, provider, halves))
    cell = put_together(wiring, store, clock)
    built = BuiltCell(cell, config, cell.close)
    try:
        initialise.finish(cell, as_host())
        if populate:
            built.populate()
        yield built
    finally:
        cell.close()


@contextmanager
def postgresql_cell(
    folder: Path, clock: Clock | None = None, *, populate: bool = True
) -> Iterator[BuiltCell]:
    """A new cell on a new PostgreSQL database."""
    url = postgresql()
    with cell_on(url, folder, clock, populate=populate) as built:
        yield built
    give_back(url)


@contextmanager
def any_cell(kind: str, folder: Path, clock: Clock | None = None) -> Iterator[BuiltCell]:
    """A new cell on a kind of database: `sqlite` or `postgresql`."""
    with (development_cell if kind == "sqlite" else postgresql_cell)(folder, clock) as built:
        yield built
