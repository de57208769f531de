"""The schema: show, plan, apply; and fields as any principal may see them."""

from __future__ import annotations

from typing import Any

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.errors import BadInput, Conflict, Stale, Unknown
from vault.formats.template import Domain
from vault.keyring.hierarchy import Purpose, new_field_key
from vault.ledger.command import State, Verb, Writes
from vault.schema.document import FieldRule, Protection, Schema, parse_document, parse_toml
from vault.schema.plan import Plan, make_plan, new_key_purposes
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.idempotency import Replayable, once
from vault.services.listing import FIRST_PAGE, Listing, Page, check_limit, listing
from vault.store.custody import FieldKeyRow


class SchemaBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A schema to plan or apply: as TOML text or as a JSON document; `digest` of the plan to apply."""

    toml: str | None = None
    document: dict[str, Any] | None = None
    digest: str | None = None


class ChangeAnswer(msgspec.Struct, omit_defaults=True):
    """One line of a plan."""

    action: str
    kind: str
    name: str
    settings: list[str] = []


class DomainAnswer(msgspec.Struct):
    """How many values of a length look alike: what one value hides among."""

    length: int
    size: int
    note: str


class PlanAnswer(msgspec.Struct):
    """What applying changes, what is refused, and the digest to apply with.

    `domains` has the effective domain of each vaultless field: what one value hides among, after check
    digits and kept characters.
    """

    changes: list[ChangeAnswer]
    refusals: list[str]
    domains: dict[str, DomainAnswer]
    digest: str


class AppliedAnswer(Replayable, frozen=True):
    """The version that is now in force."""

    version: int
    changes: list[ChangeAnswer]


class SchemaAnswer(msgspec.Struct):
    """The schema in force, as canonical JSON."""

    version: int
    digest: str
    document: dict[str, Any]


class FieldAnswer(msgspec.Struct, omit_defaults=True):
    """A field as any principal may see it."""

    name: str
    protection: str
    retention: str
    subject: str
    template: str | None = None
    classification: str = ""
    masks: list[str] = []
    key_version: int | None = None
    small: str | None = None
    domain: DomainAnswer | None = None
    smallest_domain: DomainAnswer | None = None


class ApplySchema(CallerCommand):
    """Inserts a schema's version with the keys of its new fields."""

    alone = True

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        now: TenantSchema,
        then: Schema,
        plan: Plan,
        keys: list[FieldKeyRow],
    ) -> None:
        super().__init__(caller, now.head)
        self._origin = origin
        self._version = now.version + 1
        self._then = then
        self._plan = plan
        self._keys = keys

    def decide(self, state: State, writes: Writes) -> int:
        """The new version."""
        self.check(state)
        if any(key.epoch != state.head.write_epoch for key in self._keys):
            raise Stale
        for key in self._keys:
            writes.insert("field_key", **key._asdict(), created_at=state.now)
        tenant = self.caller.principal.tenant
        writes.insert(
            "schema",
            tenant=tenant,
            version=self._version,
            digest=self._then.digest,
            body=self._then.body,
            applied_by=self.caller.actor,
            applied_at=state.now,
        )
        writes.schema_by += 1
        writes.fence_by += 1
        facts = {
            "version": self._version,
            "digest": self._then.digest,
            "changes": [f"{change.action} {change.kind} {change.name}" for change in self._plan.changes],
            "keys": len(self._keys),
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        writes.event(Event("schema.apply", tenant, self.caller.actor, facts))
        return self._version


def show_schema(cell: Cell, request: Request) -> Verb[SchemaAnswer]:
    """The schema in force."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "schema.read", "schema:read")
    now = cell.schemas.of(caller.principal.tenant)
    return SchemaAnswer(now.version, now.schema.digest, msgspec.json.decode(now.schema.body))


def plan_schema(cell: Cell, request: Request, body: SchemaBody) -> Verb[PlanAnswer]:
    """What applying a document would change."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "schema.plan", "schema:read")
    then = _document(body)
    plan = make_plan(cell.schemas.of(caller.principal.tenant).schema, then)
    domains = {
        name: _domain(rule.shape.domain())
        for name, rule in sorted(then.fields.items())
        if rule.protection is Protection.VAULTLESS
    }
    return PlanAnswer(_changes(plan), list(plan.refusals), domains, plan.digest)


def apply_schema(cell: Cell, request: Request, body: SchemaBody) -> Verb[AppliedAnswer]:
    """Applies a document, if it is the one that was planned.

    Raises:
        BadInput: `schema_refused` with `refusals`.
        Conflict: `plan_changed`: the digest is another plan's.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "schema.apply", "schema:apply")
    repeat = once(cell, request, caller, "schema.apply", AppliedAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    now = cell.schemas.of(caller.principal.tenant)
    then = _document(body)
    plan = make_plan(now.schema, then)
    if plan.refusals:
        raise BadInput("schema_refused", refusals=list(plan.refusals))
    if body.digest != plan.digest:
        raise Conflict("plan_changed")
    if not plan.changes:
        return AppliedAnswer(now.version, [])
    keys = _new_keys(cell, caller.principal.tenant, now.schema, then)
    answer = AppliedAnswer(now.version + 1, _changes(plan))
    yield repeat.keep(ApplySchema(caller, request.origin, now, then, plan, keys), answer)
    cell.forget()
    return answer


def list_fields(cell: Cell, request: Request, page: Page = FIRST_PAGE) -> Verb[Listing]:
    """The fields in the order of their names, as any principal may see them."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "field.list")
    check_limit(page)
    rules = cell.schemas.of(caller.principal.tenant).schema.fields
    names = [name for name in sorted(rules) if page.cursor is None or name > page.cursor]
    shown = names[: page.limit + 1]
    return listing([_field(cell, caller.principal.tenant, rules[name]) for name in shown], shown, page)


def read_field(cell: Cell, request: Request, name: str) -> Verb[FieldAnswer]:
    """One field."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "field.read")
    rule = cell.schemas.of(caller.principal.tenant).schema.fields.get(name)
    if rule is None:
        raise Unknown("not_found")
    return _field(cell, caller.principal.tenant, rule)


def _document(body: SchemaBody) -> Schema:
    if (body.toml is None) == (body.document is None):
        raise BadInput("member_missing", member="toml")
    return parse_toml(body.toml) if body.toml is not None else parse_document(body.document or {})


def _changes(plan: Plan) -> list[ChangeAnswer]:
    return [ChangeAnswer(c.action, c.kind, c.name, list(c.settings)) for c in plan.changes]


def _new_keys(cell: Cell, tenant: str, now: Schema, then: Schema) -> list[FieldKeyRow]:
    """The field keys of fields that are new."""
    epoch = cell.keyring.epoch(cell.keyring.write_epoch)
    return [
        new_field_key(epoch, tenant, rule.name, Purpose(purpose), 1)
        for name, rule in then.fields.items()
        if name not in now.fields
        for purpose in new_key_purposes(rule)
    ]


def _field(cell: Cell, tenant: str, rule: FieldRule) -> FieldAnswer:
    answer = FieldAnswer(
        name=rule.name,
        protection=rule.protection.value,
        template=None if rule.template is None else rule.template.spec,
        retention=rule.retention,
        subject="required" if rule.subject_required else "optional",
        classification=rule.classification,
        masks=sorted(rule.masks),
    )
    if rule.protection is Protection.VAULTLESS:
        answer.key_version = cell.keyring.ff1_versions(tenant, rule.name).primary
        answer.small = "refuse"
        answer.subject = "none"
        answer.domain = _domain(rule.shape.domain())
        answer.smallest_domain = _domain(rule.shape.smallest())
    return answer


def _domain(domain: Domain) -> DomainAnswer:
    return DomainAnswer(domain.length, domain.size, domain.note)
