"""Explaining a template or a field: domain, chances, what stays visible, advice. Takes no value."""

from __future__ import annotations

from dataclasses import dataclass

from vault.errors import BadInput, CoatcheckError, Unknown
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.surrogate import parse_surrogate
from vault.ledger.command import Verb
from vault.schema.explain import Explanation
from vault.schema.explain import explain_field as field_explained
from vault.schema.explain import explain_template as template_explained
from vault.schema.fields import MAX_BUDGET, MAX_ROWS
from vault.schema.rules import Protection
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate


@dataclass(frozen=True, slots=True, repr=False)
class TemplateQuestion:
    """A template of the catalogue, and what it would be used with.

    Attributes:
        parameters: as they stand between the parentheses of a spelling.
        protection: `vaultless`, `vaulted`, `encrypted`; None for the one that is advised.
        surrogate: the spelling of one.
    """

    parameters: str | None = None
    protection: str | None = None
    surrogate: str | None = None
    max_rows: int | None = None
    per_day: int | None = None


def explain_template(
    cell: Cell, request: Request, name: str, question: TemplateQuestion
) -> Verb[Explanation]:
    """A template of the catalogue.

    Raises:
        Unknown: `not_found`: the catalogue has no such name.
        BadInput: `template_invalid`, `parameter_invalid`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "template.explain")
    if name not in CATALOG:
        raise Unknown("not_found")
    spelling = name if question.parameters is None else f"{name}({question.parameters})"
    return explained(spelling, question)


def explain_field(cell: Cell, request: Request, name: str) -> Verb[Explanation]:
    """A field of the schema in force.

    Raises:
        Unknown: `not_found`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "field.explain")
    rule = cell.schemas.of(caller.principal.tenant, fresh=True).schema.fields.get(name)
    if rule is None:
        raise Unknown("not_found")
    return field_explained(rule)


def explained(spelling: str, question: TemplateQuestion) -> Explanation:
    """What a spelling comes to. Needs no cell.

    Raises:
        BadInput: `template_invalid`, `parameter_invalid`.
    """
    template = parse_template(spelling)
    try:
        surrogate = None if question.surrogate is None else parse_surrogate(question.surrogate)
    except CoatcheckError:
        raise BadInput("parameter_invalid", parameter="surrogate") from None
    for name, number, most in (
        ("max_rows", question.max_rows, MAX_ROWS),
        ("per_day", question.per_day, MAX_BUDGET),
    ):
        if number is not None and not 1 <= number <= most:
            raise BadInput("parameter_invalid", parameter=name)
    try:
        protection = None if question.protection is None else Protection(question.protection)
        return template_explained(template, protection, surrogate, question.max_rows, question.per_day)
    except ValueError:
        raise BadInput("parameter_invalid", parameter="protection") from None
