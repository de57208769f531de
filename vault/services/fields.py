"""Fields, as any principal may see them."""

from __future__ import annotations

import msgspec

from vault.errors import BadInput, Unknown
from vault.formats.template import Domain
from vault.ledger.command import Verb
from vault.schema.document import Determinism, FieldRule, Protection
from vault.schema.refusals import is_label
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.listing import FIRST_PAGE, Listing, Page, check_limit, listing


class DomainAnswer(msgspec.Struct):
    """How many values of a length look alike: what one value hides among."""

    length: int
    size: int
    note: str


class SurrogateAnswer(msgspec.Struct):
    """What shaped tokens look like: how many there are, and how many may be handed out.

    A made-up token is somebody's with the chance `max_rows` / `space` at most.
    """

    spec: str
    space: int
    max_rows: int


class FieldAnswer(msgspec.Struct, omit_defaults=True):
    """A field as any principal may see it: what its protection has no use for is left out."""

    name: str
    protection: str
    retention: str
    subject: str
    template: str | None = None
    classification: str = ""
    masks: list[str] = []
    key_version: int | None = None
    rotation: str | None = None
    budget_per_day: int | None = None
    deterministic: str | None = None
    normalize: str | None = None
    surrogate: SurrogateAnswer | None = None
    max_bytes: int | None = None
    small: str | None = None
    small_retention: str | None = None
    domain: DomainAnswer | None = None
    smallest_domain: DomainAnswer | None = None


def list_fields(cell: Cell, request: Request, page: Page = FIRST_PAGE) -> Verb[Listing]:
    """The fields in the order of their names, as any principal may see them."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "field.list")
    check_limit(page)
    if page.cursor is not None and not is_label(page.cursor):
        raise BadInput("parameter_invalid", parameter="cursor")
    rules = cell.schemas.of(caller.principal.tenant, fresh=True).schema.fields
    if page.cursor is not None and page.cursor not in rules:
        raise BadInput("parameter_invalid", parameter="cursor")
    names = [name for name in sorted(rules) if page.cursor is None or name > page.cursor]
    shown = names[: page.limit + 1]
    return listing([_field(cell, caller.principal.tenant, rules[name]) for name in shown], shown, page)


def read_field(cell: Cell, request: Request, name: str) -> Verb[FieldAnswer]:
    """One field."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "field.read")
    rule = cell.schemas.of(caller.principal.tenant, fresh=True).schema.fields.get(name)
    if rule is None:
        raise Unknown("not_found")
    return _field(cell, caller.principal.tenant, rule)


def _field(cell: Cell, tenant: str, rule: FieldRule) -> FieldAnswer:
    answer = FieldAnswer(
        name=rule.name,
        protection=rule.protection.value,
        template=None if rule.template is None else rule.template.spec,
        retention=rule.retention,
        subject="required" if rule.subject_required else "optional",
        classification=rule.classification,
        masks=sorted(rule.masks),
        budget_per_day=rule.budget_per_day,
    )
    if rule.protection is Protection.VAULTLESS:
        answer.key_version = cell.keyring.ff1_versions(tenant, rule.name).primary
        answer.rotation = rule.source.get("rotation")
        answer.small = rule.small.value
        answer.small_retention = rule.small_retention or None
        answer.subject = "none"
        answer.domain = domain_answer(rule.shape.domain())
        answer.smallest_domain = domain_answer(rule.shape.smallest())
    elif rule.protection is Protection.VAULTED:
        answer.deterministic = rule.deterministic.value
        answer.normalize = None if rule.deterministic is Determinism.NONE else rule.normalize.value
        if rule.surrogate is not None and rule.max_rows is not None:
            answer.surrogate = SurrogateAnswer(rule.surrogate.spec, rule.surrogate.space, rule.max_rows)
    else:
        answer.max_bytes = rule.max_bytes
    return answer


def domain_answer(domain: Domain) -> DomainAnswer:
    """A template's domain, for an answer."""
    return DomainAnswer(domain.length, domain.size, domain.note)
