"""Which values tokenize would refuse, and why. Nothing is made, kept, counted or charged."""

from __future__ import annotations

import msgspec

from vault.errors import BadInput, CoatcheckError
from vault.ledger.command import Verb
from vault.schema.rules import FieldRule, Protection, Small
from vault.services.batch import check_size
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.small import REFUSED_AS
from vault.services.tokenize import check_vaulted


class CheckBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """Values of a field, as `POST tokenize` takes them in a column."""

    field: str
    values: list[str | None]
    subjects: list[str | None] | None = None


class RefusedValue(msgspec.Struct, frozen=True):
    """A value that would be refused: its place among the values, from 0, and the code."""

    index: int
    code: str


class CheckAnswer(msgspec.Struct, frozen=True):
    """What would be refused, in the order of the values. Nothing else is said of them."""

    field: str
    refused: list[RefusedValue]


def rehearse(cell: Cell, request: Request, body: CheckBody) -> Verb[CheckAnswer]:
    """Looks at values as tokenize does. Budgets and limits are not looked at: they change.

    Raises:
        Unauthenticated, Denied: the caller may not tokenize the field.
        BadInput: the body cannot be taken.
    """
    caller = authenticate(cell, request)
    if body.subjects is not None and len(body.subjects) != len(body.values):
        raise BadInput("items_mismatch")
    check_size(body.values, cell.limits.items, "values")
    yield from admit(cell, caller, request.origin, "tokenize", f"tokenize:{body.field}")
    tenant = caller.principal.tenant
    rule = cell.schemas.of(tenant, fresh=True).schema.fields.get(body.field)
    if rule is None:
        raise BadInput("field_unknown")
    if rule.protection is Protection.ENCRYPTED:
        raise BadInput("operation_unsupported", field=rule.name)
    if rule.protection is Protection.VAULTLESS:
        codes = _vaultless(cell, tenant, rule, body)
    else:
        codes = _vaulted(rule, body)
    return CheckAnswer(rule.name, [RefusedValue(index, codes[index]) for index in sorted(codes)])


def _vaultless(cell: Cell, tenant: str, rule: FieldRule, body: CheckBody) -> dict[int, str]:
    """Tokens are made, together, and forgotten: no other way is sure to refuse the same."""
    version = cell.keyring.ff1_versions(tenant, rule.name).primary
    _, refused = cell.keyring.vaultless(tenant, rule.name, rule.shape, version).tokenize_many(body.values)
    codes = {index: refusal.code for index, refusal in refused.items()}
    for index, subject in enumerate(body.subjects or ()):
        if subject is not None and body.values[index] is not None:
            codes[index] = "subjects_unenforceable"
    if rule.small is Small.REFUSE:
        return codes
    return {index: code for index, code in codes.items() if code != REFUSED_AS}


def _vaulted(rule: FieldRule, body: CheckBody) -> dict[int, str]:
    codes: dict[int, str] = {}
    for index, value in enumerate(body.values):
        if value is None:
            continue
        try:
            check_vaulted(rule, value, None if body.subjects is None else body.subjects[index])
        except CoatcheckError as refusal:
            codes[index] = refusal.code
    return codes
