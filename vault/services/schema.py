"""The schema: show, plan, apply; and the versions there were."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.clock import format_time
from vault.crypto.ff1 import MIN_DOMAIN
from vault.errors import BadInput, Conflict, Unknown
from vault.ledger.command import Verb
from vault.schema.document import Protection, Schema, Small, parse_document, parse_toml
from vault.schema.plan import Bound, Plan, bound, make_plan
from vault.services.applying import ApplySchema, plan_keys
from vault.services.cell import Cell
from vault.services.fields import DomainAnswer, domain_answer
from vault.services.gate import Request, admit, authenticate
from vault.services.idempotency import Replayable, once
from vault.services.listing import Listing, Page, check_limit, listing
from vault.services.living import Counted, count

_ABOVE_ALL: Final = 2**63 - 1  # above every version


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


class PlanAnswer(msgspec.Struct):
    """What applying changes, what is refused, and the digest to apply with.

    `domains` has the effective domain of each vaultless field: what one value hides among, after check
    digits and kept characters. `warnings` says which fields hand values back without protection.
    """

    changes: list[ChangeAnswer]
    refusals: list[str]
    warnings: list[str]
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


class VersionRow(msgspec.Struct):
    """One version of the schema: who applied it, and when."""

    version: int
    digest: str
    applied_by: str
    applied_at: str


class VersionAnswer(VersionRow):
    """One version of the schema, with its document as canonical JSON."""

    document: dict[str, Any]


def show_schema(cell: Cell, request: Request) -> Verb[SchemaAnswer]:
    """The schema in force."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "schema.read", "schema:read")
    now = cell.schemas.of(caller.principal.tenant, fresh=True)
    return SchemaAnswer(now.version, now.schema.digest, msgspec.json.decode(now.schema.body))


def list_versions(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The versions there were, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "schema.history", "schema:read")
    check_limit(page)
    below = _ABOVE_ALL if page.cursor is None else _number(page.cursor)
    if below is None:
        raise BadInput("parameter_invalid", parameter="cursor")
    params = {"tenant": caller.principal.tenant, "below": below, "most": page.limit + 1}
    rows = [_row(*row) for row in cell.store.read(cell.store.record.schemas_page, params)]
    return listing(list(rows), [str(row.version) for row in rows], page)


def read_version(cell: Cell, request: Request, version: str) -> Verb[VersionAnswer]:
    """One version, also one that is in force no more."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "schema.history", "schema:read")
    params = {"tenant": caller.principal.tenant, "version": _number(version) or 0}
    rows = cell.store.read(cell.store.record.schema_version, params)
    if not rows:
        raise Unknown("not_found")
    *row, body = rows[0]
    return VersionAnswer(**msgspec.structs.asdict(_row(*row)), document=msgspec.json.decode(body))


def plan_schema(cell: Cell, request: Request, body: SchemaBody) -> Verb[PlanAnswer]:
    """What applying a document would change."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "schema.plan", "schema:read")
    then = _document(body)
    now = cell.schemas.of(caller.principal.tenant, fresh=True).schema
    plan, _, _ = _plan(cell, caller.principal.tenant, now, then)
    domains = {
        name: domain_answer(rule.shape.domain())
        for name, rule in sorted(then.fields.items())
        if rule.protection is Protection.VAULTLESS
    }
    warnings = [
        f"field {name}: values of which fewer than {MIN_DOMAIN:,} look alike are handed back as they are"
        for name, rule in sorted(then.fields.items())
        if rule.small is Small.PASS
    ]
    return PlanAnswer(_changes(plan), list(plan.refusals), warnings, domains, plan.digest)


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
    tenant = caller.principal.tenant
    now = cell.schemas.of(tenant)
    then = _document(body)
    plan, binds, counted = _plan(cell, tenant, now.schema, then)
    if plan.refusals:
        raise BadInput("schema_refused", refusals=list(plan.refusals))
    if body.digest != plan.digest:
        raise Conflict("plan_changed")
    if not plan.changes:
        return AppliedAnswer(now.version, [])
    keys = plan_keys(cell, tenant, now.schema, then)
    answer = AppliedAnswer(now.version + 1, _changes(plan))
    command = ApplySchema(caller, request.origin, now, then, plan, binds, counted, keys)
    yield repeat.keep(command, answer)
    cell.forget()
    return answer


def _plan(cell: Cell, tenant: str, now: Schema, then: Schema) -> tuple[Plan, Bound, Counted]:
    """The plan, by what lives now."""
    binds = bound(now, then)
    counted = count(cell, tenant, now, binds)
    return make_plan(now, then, counted.living), binds, counted


def _number(text: str) -> int | None:
    """The number of a version, in its one spelling."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18) or text.startswith("0"):
        return None
    return int(text)


def _row(version: int, digest: str, applied_by: str, applied_at: int) -> VersionRow:
    return VersionRow(version, digest, applied_by, format_time(applied_at))


def _document(body: SchemaBody) -> Schema:
    if (body.toml is None) == (body.document is None):
        raise BadInput("member_missing", member="toml")
    return parse_toml(body.toml) if body.toml is not None else parse_document(body.document or {})


def _changes(plan: Plan) -> list[ChangeAnswer]:
    return [ChangeAnswer(c.action, c.kind, c.name, list(c.settings)) for c in plan.changes]
