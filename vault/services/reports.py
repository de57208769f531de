"""The record of processing (GDPR, article 30): what is kept of people, why, for how long, and who may see it.

What a schema says, and what there is under it. Who the controller is, and what else article 30(1) asks for
that no schema says, is for whoever keeps the record to add.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec

from vault.clock import format_time
from vault.ledger.command import Verb
from vault.schema.document import FieldRule, Schema
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.report_parts import (
    MAX_GROUPS,
    ClassLine,
    ErasedLine,
    HoldLine,
    LevelLine,
    class_lines,
    counted,
    erased_lines,
    hold_lines,
    level_lines,
)
from vault.store.rows import decode_scope


class FieldLine(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """A field: what is kept, how it is protected, and for how long.

    Attributes:
        small_class: the class of values that are too few for FF1, where they are kept in rows.
        person: `required` or `optional`: whether a value names its data subject.
        masks: what may be shown in place of the value.
        purposes: for which grants that are in force give it.
        transfer_to: regions into which values may be transferred.
        values: how many are kept in rows now. Callers keep ciphertexts and vaultless tokens themselves.
        issued: how many tokens were ever made, where that is counted.
    """

    field: str
    classification: str
    protection: str
    class_: str = msgspec.field(name="class")
    small_class: str | None = None
    person: str
    masks: list[str]
    purposes: list[str]
    transfer_to: list[str]
    values: int
    issued: int | None = None


class PurposeLine(Hidden, frozen=True, kw_only=True):
    """A purpose: why plaintext is wanted, and who has grants for it that are in force.

    Attributes:
        legal_basis: GDPR, article 6(1).
        activity: its name in the caller's own record.
        disclosure_class: HIPAA: `internal`, `tpo` or `non_tpo`.
        recipients: agents.
    """

    purpose: str
    description: str
    legal_basis: str
    activity: str
    disclosure_class: str
    grants: int
    recipients: list[str]


class AgeLine(Hidden, frozen=True, kw_only=True):
    """How many values of a class have tokens that were made in a month."""

    class_: str = msgspec.field(name="class")
    month: str
    values: int


class ProcessingReport(Hidden, frozen=True, kw_only=True):
    """The record of processing of a tenant.

    Attributes:
        complete: whether all there is was counted; if not, counts and recipients are at least that.
        people: of whom something is kept, those who are being erased among them.
        being_erased: those.
        holds: the oldest legal holds in force; `holds_in_force`: how many there are.
        levels: how many erasures are at which level.
    """

    as_of: str
    region: str
    tenant: str
    schema_version: int
    schema_digest: str
    complete: bool
    people: int
    being_erased: int
    holds_in_force: int
    fields: list[FieldLine]
    purposes: list[PurposeLine]
    classes: list[ClassLine]
    ages: list[AgeLine]
    holds: list[HoldLine]
    erasures: list[ErasedLine]
    levels: list[LevelLine]


def processing_report(cell: Cell, request: Request) -> Verb[ProcessingReport]:
    """The record of processing of the caller's tenant, as it is now."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "report.processing", "report:read")
    tenant, now = caller.principal.tenant, cell.clock.now()
    found = cell.schemas.of(tenant, fresh=True)
    read, reporting = cell.store.read, cell.store.reporting
    all_values = True
    values: Counter[str] = Counter()
    ages: Counter[tuple[str, str]] = Counter()
    for groups in counted(cell, reporting.values_by_month, tenant):
        all_values = all_values and len(groups) < MAX_GROUPS
        for field, class_, month, count in groups:
            values[field] += count
            ages[class_, month] += count
    given = _Given(cell, tenant)
    [[people, being_erased]] = read(reporting.people_counted, {"tenant": tenant})
    issued = {name: int(count) for name, count in read(reporting.issued_by_field, {"tenant": tenant})}
    holds, in_force = hold_lines(cell, tenant)
    erased, all_erased = erased_lines(cell, tenant)
    return ProcessingReport(
        as_of=format_time(now),
        region=cell.region,
        tenant=tenant,
        schema_version=found.version,
        schema_digest=found.schema.digest,
        complete=all_values and given.complete and all_erased,
        people=people,
        being_erased=being_erased,
        holds_in_force=in_force,
        fields=[
            _field(rule, given.purposes[name], values[name], issued.get(name))
            for name, rule in sorted(found.schema.fields.items())
        ],
        purposes=_purposes(found.schema, given),
        classes=class_lines(found.schema),
        ages=[
            AgeLine(class_=class_, month=month, values=count)
            for (class_, month), count in sorted(ages.items())
        ],
        holds=holds,
        erasures=erased,
        levels=level_lines(cell, tenant, erased, now),
    )


class _Given:
    """What grants that are in force give.

    Attributes:
        purposes: for which purposes, by field; grants, agents: how many, and to whom, by purpose.
    """

    def __init__(self, cell: Cell, tenant: str) -> None:
        self.purposes: defaultdict[str, set[str]] = defaultdict(set)
        self.grants: Counter[str] = Counter()
        self.agents: defaultdict[str, set[str]] = defaultdict(set)
        params = {"tenant": tenant, "after": cell.clock.now(), "most": MAX_GROUPS}
        rows = cell.store.read(cell.store.reporting.recipients, params)
        for purpose, agent, scope, count in rows:
            self.grants[purpose] += count
            self.agents[purpose].add(agent)
            for entry in decode_scope(scope):
                for name in entry.fields:
                    self.purposes[name].add(purpose)
        self.complete = len(rows) < MAX_GROUPS


def _field(rule: FieldRule, purposes: set[str], values: int, issued: int | None) -> FieldLine:
    return FieldLine(
        field=rule.name,
        classification=rule.classification,
        protection=rule.protection.value,
        class_=rule.retention,
        small_class=rule.small_retention or None,
        person="required" if rule.subject_required else "optional",
        masks=sorted(rule.masks),
        purposes=sorted(purposes),
        transfer_to=sorted(rule.transfer_to),
        values=values,
        issued=issued,
    )


def _purposes(schema: Schema, given: _Given) -> list[PurposeLine]:
    return [
        PurposeLine(
            purpose=name,
            description=purpose.description,
            legal_basis=purpose.legal_basis,
            activity=purpose.activity,
            disclosure_class=purpose.disclosure_class,
            grants=given.grants[name],
            recipients=sorted(given.agents[name]),
        )
        for name, purpose in sorted(schema.purposes.items())
    ]
