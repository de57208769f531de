"""A plan says what changes, refuses what values may live under, and is named by both its sides."""

from __future__ import annotations

import copy
import hashlib
import itertools
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.schema.documents import GOOD, REMOVED, Document, changed, schema
from vault.schema import plan as plan_module
from vault.schema.document import EMPTY, parse_document
from vault.schema.plan import Change, make_plan, new_key_purposes

LATER = "is not built yet in this version (values may live under it)"
GRANTS = "is not built yet in this version (grants may be for it)"
FILED = "is not built yet in this version (keys are filed under its periods)"
OTHER_RULE = {"keep": "P30D"}


def plan(changes: dict[str, Any]) -> tuple[list[Change], list[str]]:
    made = make_plan(schema(), schema(changes))
    return list(made.changes), list(made.refusals)


def test_the_first_schema_adds_everything_in_reading_order() -> None:
    made = make_plan(EMPTY, schema())
    assert list(made.changes) == [
        Change("add", "purpose", "support"),
        Change("add", "retention", "customer"),
        Change("add", "retention", "key-lifetime"),
        Change("add", "field", "customer.name"),
        Change("add", "field", "customer.ssn"),
        Change("add", "field", "customer.text"),
    ]
    assert made.refusals == ()


def test_nothing_changes_nothing() -> None:
    made = make_plan(schema(), schema())
    assert (made.changes, made.refusals) == ((), ())
    assert make_plan(EMPTY, EMPTY).changes == ()


@pytest.mark.parametrize(
    ("place", "value", "change"),
    [
        ("purposes/fraud", {"legal_basis": "consent"}, Change("add", "purpose", "fraud")),
        ("purposes/support/activity", "x", Change("change", "purpose", "support", ("activity",))),
        ("purposes/support/bearer/max_uses", 5, Change("change", "purpose", "support", ("bearer",))),
        ("purposes/support/bearer", REMOVED, Change("change", "purpose", "support", ("bearer",))),
        ("retention/short", OTHER_RULE, Change("add", "retention", "short")),
        ("fields/a", GOOD["fields"]["customer.ssn"], Change("add", "field", "a")),
        (
            "fields/customer.ssn/masks/last2",
            "{last:2}",
            Change("change", "field", "customer.ssn", ("masks",)),
        ),
        (
            "fields/customer.ssn/classification",
            "",
            Change("change", "field", "customer.ssn", ("classification",)),
        ),
        (
            "fields/customer.name/subject",
            "optional",
            Change("change", "field", "customer.name", ("subject",)),
        ),
    ],
)
def test_what_may_change(place: str, value: Any, change: Change) -> None:
    assert plan({place: value}) == ([change], [])


@pytest.mark.parametrize(
    ("changes", "refusals"),
    [
        ({"fields/customer.ssn": REMOVED}, [f"field customer.ssn: removing it {LATER}"]),
        ({"purposes/support": REMOVED}, [f"purpose support: removing it {GRANTS}"]),
        (
            {"fields/customer.ssn/masks": REMOVED},
            [f"field customer.ssn: changing mask last4 {GRANTS}"],
        ),
        (
            {"fields/customer.ssn/masks/last4": "{last:4}"},
            [f"field customer.ssn: changing mask last4 {GRANTS}"],
        ),
        ({"fields/customer.ssn/template": "digits"}, [f"field customer.ssn: changing template {LATER}"]),
        (
            {"retention/short": OTHER_RULE, "fields/customer.name/retention": "short"},
            [f"field customer.name: changing retention {LATER}"],
        ),
        (
            {
                "fields/customer.ssn/protection": "vaulted",
                "fields/customer.ssn/retention": "customer",
                "fields/customer.ssn/classification": "other",
            },
            [
                f"field customer.ssn: changing protection {LATER}",
                f"field customer.ssn: changing retention {LATER}",
            ],
        ),
        (
            {"retention/customer/keep": "P3Y"},
            [f"retention customer: changing it {FILED}"],
        ),
        (
            {
                "retention/customer": REMOVED,
                "fields/customer.name": REMOVED,
                "fields/customer.text": REMOVED,
            },
            [
                f"retention customer: removing it {LATER}",
                f"field customer.name: removing it {LATER}",
                f"field customer.text: removing it {LATER}",
            ],
        ),
    ],
    ids=str,
)
def test_what_may_not(changes: dict[str, Any], refusals: list[str]) -> None:
    assert plan(changes)[1] == refusals


@pytest.mark.parametrize(
    ("place", "default"),
    [
        ("fields/customer.ssn/small", "refuse"),
        ("fields/customer.ssn/deterministic", "none"),
        ("fields/customer.ssn/subject", "optional"),
        ("fields/customer.name/masks", {}),
        ("fields/customer.name/classification", ""),
        ("retention/key-lifetime", {"keep": "key"}),
    ],
)
def test_writing_down_what_is_meant_anyway_changes_nothing(place: str, default: Any) -> None:
    assert plan({place: default}) == ([], [])


def test_the_defaults_of_a_plan_are_those_of_the_document() -> None:
    bare: Document = {
        "purposes": {"p": {"legal_basis": "consent"}},
        "retention": {"r": {"keep": "P1Y"}, "k": {"keep": "key"}},
    }
    bare["fields"] = {"f": {"template": "ssn", "protection": "vaultless", "retention": "k"}}
    full = copy.deepcopy(bare)
    for kind, name in (("purpose", "p"), ("retention", "r"), ("field", "f")):
        full[{"retention": kind}.get(kind, kind + "s")][name] |= plan_module._DEFAULTS[kind]
    one, other = parse_document(bare), parse_document(full)
    assert one.digest != other.digest
    assert (one.purposes, one.retention) == (other.purposes, other.retention)
    assert replace(one.fields["f"], source={}) == replace(other.fields["f"], source={})
    assert make_plan(one, other).changes == ()


def test_a_plan_has_both_directions() -> None:
    """Undoing an addition is a removal, and is refused as one."""
    more = schema({"fields/a": GOOD["fields"]["customer.ssn"]})
    assert make_plan(schema(), more).refusals == ()
    assert make_plan(more, schema()).refusals == (f"field a: removing it {LATER}",)


def test_the_digest_names_both_sides() -> None:
    schemas = [
        EMPTY,
        schema(),
        schema({"purposes/support/activity": "x"}),
        schema({"retention/short": OTHER_RULE}),
    ]
    digests = {make_plan(now, then).digest for now, then in itertools.product(schemas, repeat=2)}
    assert len(digests) == len(schemas) ** 2
    again = parse_document(changed({}))
    assert make_plan(EMPTY, again).digest == make_plan(EMPTY, schema()).digest
    both = f"{EMPTY.digest}\n{again.digest}".encode()
    assert make_plan(EMPTY, again).digest == hashlib.sha256(both).hexdigest()


def test_a_new_field_needs_one_key_for_its_one_way_of_making_tokens() -> None:
    fields = schema().fields
    assert new_key_purposes(fields["customer.ssn"]) == ("ff1",)
    assert new_key_purposes(fields["customer.name"]) == ("row-id",)
    assert new_key_purposes(fields["customer.text"]) == ()
