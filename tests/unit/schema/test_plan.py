"""A plan says what changes, refuses what something lives under, and is named by both its sides."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest

from tests.unit.schema.documents import GOOD, REMOVED, changed, schema
from vault.schema.document import EMPTY, parse_document
from vault.schema.plan import (
    Bound,
    Change,
    Living,
    LivingGrant,
    Plan,
    bound,
    key_changes,
    make_plan,
    new_key_purposes,
)

NOTHING = Living()
SSN, NAME, TEXT = "customer.ssn", "customer.name", "customer.text"
FULL = Living(
    values={SSN: 3, NAME: 1_204, TEXT: 2},
    keys={"customer": 7},
    grants=(
        LivingGrant("support", frozenset({SSN}), frozenset({(SSN, "last4")})),
        LivingGrant("support", frozenset({SSN, TEXT}), frozenset({(TEXT, "")})),
        LivingGrant("another", frozenset({"other"}), frozenset({("other", "last4")})),
    ),
)
OTHER_RULE = {"keep": "P30D"}
TO_VAULTED = {f"fields/{SSN}/protection": "vaulted", f"fields/{SSN}/retention": "customer"}


def plan(changes: dict[str, Any], living: Living = FULL) -> Plan:
    return make_plan(schema(), schema(changes), living)


def test_the_first_schema_adds_everything_in_reading_order() -> None:
    made = make_plan(EMPTY, schema(), NOTHING)
    assert list(made.changes) == [
        Change("add", "purpose", "support"),
        Change("add", "retention", "customer"),
        Change("add", "retention", "key-lifetime"),
        Change("add", "field", NAME),
        Change("add", "field", SSN),
        Change("add", "field", TEXT),
    ]
    assert made.refusals == ()


def test_nothing_changes_nothing() -> None:
    made = make_plan(schema(), schema(), FULL)
    assert (made.changes, made.refusals) == ((), ())
    assert make_plan(EMPTY, EMPTY, FULL).changes == ()


NUMBERS = {
    f"fields/{NAME}/template": "digits",
    f"fields/{NAME}/surrogate": "digits(length=12)",
    f"fields/{NAME}/max_rows": 10,
    f"fields/{TEXT}/max_bytes": 100,
}


@pytest.mark.parametrize(
    ("place", "value", "change"),
    [
        ("purposes/fraud", {"legal_basis": "consent"}, Change("add", "purpose", "fraud")),
        ("purposes/support/activity", "x", Change("change", "purpose", "support", ("activity",))),
        ("purposes/support/bearer/max_uses", 5, Change("change", "purpose", "support", ("bearer",))),
        ("purposes/support/bearer", REMOVED, Change("change", "purpose", "support", ("bearer",))),
        (
            "purposes/support/disclosure_class",
            "tpo",
            Change("change", "purpose", "support", ("disclosure_class",)),
        ),
        ("retention/short", OTHER_RULE, Change("add", "retention", "short")),
        ("fields/a", GOOD["fields"][SSN], Change("add", "field", "a")),
        (f"fields/{SSN}/masks/last2", "{last:2}", Change("change", "field", SSN, ("masks",))),
        (f"fields/{SSN}/classification", "", Change("change", "field", SSN, ("classification",))),
        (f"fields/{SSN}/rotation", "P1Y", Change("change", "field", SSN, ("rotation",))),
        (
            f"fields/{SSN}/tokenize_budget",
            {"per_day": 5},
            Change("change", "field", SSN, ("tokenize_budget",)),
        ),
        (f"fields/{NAME}/subject", "optional", Change("change", "field", NAME, ("subject",))),
        (f"fields/{TEXT}/subject", "required", Change("change", "field", TEXT, ("subject",))),
        (f"fields/{TEXT}/max_bytes", 65_537, Change("change", "field", TEXT, ("max_bytes",))),
    ],
)
def test_what_may_change_whatever_lives(place: str, value: Any, change: Change) -> None:
    made = plan({place: value})
    assert (list(made.changes), made.refusals) == ([change], ())


@pytest.mark.parametrize(("name", "setting"), [(NAME, "max_rows"), (TEXT, "max_bytes")])
def test_bounds_may_rise_and_not_fall(name: str, setting: str) -> None:
    now, place = schema(NUMBERS), f"fields/{name}/{setting}"
    assert make_plan(now, schema(NUMBERS | {place: 101}), FULL).refusals == ()
    fallen = make_plan(now, schema(NUMBERS | {place: 9}), FULL)
    assert [reason.partition(" while ")[0] for reason in fallen.refusals] == [
        f"field {name}: cannot change {setting}"
    ]


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    (
        {f"fields/{SSN}": REMOVED},
        [
            "field customer.ssn: cannot be removed while tokens of it are with callers: 3",
            "field customer.ssn: cannot be removed while grants that name it live: 2",
        ],
    ),
    (
        {f"fields/{NAME}": REMOVED},
        ["field customer.name: cannot be removed while values live under it: 1,204"],
    ),
    (
        {f"fields/{TEXT}": REMOVED},
        [
            "field customer.text: cannot be removed while ciphertexts of it are with callers: 2",
            "field customer.text: cannot be removed while grants that name it live: 1",
        ],
    ),
    # renaming
    (
        {f"fields/{NAME}": REMOVED, "fields/person.name": GOOD["fields"][NAME]},
        ["field customer.name: cannot be removed while values live under it: 1,204"],
    ),
    # re-protecting
    (
        TO_VAULTED | {f"fields/{SSN}/classification": "other"},
        [
            "field customer.ssn: cannot change protection while tokens of it are with callers: 3",
            "field customer.ssn: cannot change retention while tokens of it are with callers: 3",
            "field customer.ssn: cannot change protection while grants that name it live: 2",
        ],
    ),
    (
        {f"fields/{NAME}/protection": "encrypted"},
        ["field customer.name: cannot change protection while values live under it: 1,204"],
    ),
    (
        {f"fields/{SSN}/template": "digits"},
        ["field customer.ssn: cannot change template while tokens of it are with callers: 3"],
    ),
    (
        {"retention/short": OTHER_RULE, f"fields/{NAME}/retention": "short"},
        ["field customer.name: cannot change retention while values live under it: 1,204"],
    ),
    (
        {f"fields/{NAME}/deterministic": "field", f"fields/{NAME}/normalize": "lowercase"},
        [
            "field customer.name: cannot change deterministic while values live under it: 1,204",
            "field customer.name: cannot change normalize while values live under it: 1,204",
        ],
    ),
    (
        {f"fields/{NAME}/surrogate": "digits(length=9)", f"fields/{NAME}/max_rows": 5},
        [
            "field customer.name: cannot change max_rows while values live under it: 1,204",
            "field customer.name: cannot change surrogate while values live under it: 1,204",
        ],
    ),
    # grants
    ({"purposes/support": REMOVED}, ["purpose support: cannot be removed while grants for it live: 2"]),
    (
        {"purposes/support/disclosure_class": "non_tpo"},
        ["purpose support: cannot become non_tpo while grants for it live over vaultless fields: 2"],
    ),
    (
        {f"fields/{SSN}/masks": REMOVED},
        ["field customer.ssn: cannot change mask last4 while grants that may show it live: 1"],
    ),
    (
        {f"fields/{SSN}/masks/last4": "{last:4}"},
        ["field customer.ssn: cannot change mask last4 while grants that may show it live: 1"],
    ),
    (
        {f"fields/{TEXT}/masks/first": "{first:2}"},
        ["field customer.text: cannot change mask first while grants that may show it live: 1"],
    ),
    # keys
    (
        {"retention/customer/keep": "P3Y"},
        ["retention customer: cannot change keep while keys live under it: 7"],
    ),
    (
        {"retention/customer/from": "last_use", "retention/customer/max": "P9Y"},
        ["retention customer: cannot change from, max while keys live under it: 7"],
    ),
    (
        {
            "retention/customer": REMOVED,
            "retention/other": OTHER_RULE,
            f"fields/{NAME}/retention": "other",
            f"fields/{TEXT}/retention": "other",
        },
        [
            "retention customer: cannot be removed while keys live under it: 7",
            "field customer.name: cannot change retention while values live under it: 1,204",
            "field customer.text: cannot change retention while ciphertexts of it are with callers: 2",
        ],
    ),
]


@pytest.mark.parametrize(("changes", "refusals"), REFUSED, ids=str)
def test_what_something_lives_under_is_refused_with_the_count(
    changes: dict[str, Any], refusals: list[str]
) -> None:
    assert list(plan(changes).refusals) == refusals


@pytest.mark.parametrize(("changes", "_refusals"), REFUSED, ids=str)
def test_without_anything_that_lives_all_of_it_may_change(
    changes: dict[str, Any], _refusals: list[str]
) -> None:
    assert plan(changes, NOTHING).refusals == ()


@pytest.mark.parametrize(("changes", "_refusals"), REFUSED, ids=str)
def test_what_refuses_is_what_was_to_be_counted(changes: dict[str, Any], _refusals: list[str]) -> None:
    """What a plan asks to be counted is enough to make it, and nothing else is asked for."""
    asked = bound(schema(), schema(changes))
    counted = Living(
        {name: n for name, n in FULL.values.items() if name in asked.fields},
        {name: n for name, n in FULL.keys.items() if name in asked.classes},
        FULL.grants if asked.grants else (),
    )
    assert plan(changes, counted) == plan(changes)


def test_additions_and_free_changes_count_nothing() -> None:
    free = {
        "purposes/fraud": {"legal_basis": "consent"},
        "retention/short": OTHER_RULE,
        "fields/a": GOOD["fields"][SSN],
        f"fields/{SSN}/masks/last2": "{last:2}",
        f"fields/{SSN}/rotation": "P1Y",
        f"fields/{TEXT}/max_bytes": 70_000,
    }
    assert bound(schema(), schema(free)) == Bound(frozenset(), frozenset(), grants=False)
    assert bound(EMPTY, schema()) == Bound(frozenset(), frozenset(), grants=False)


@pytest.mark.parametrize(
    ("place", "default"),
    [
        (f"fields/{SSN}/small", "refuse"),
        (f"fields/{SSN}/deterministic", "none"),
        (f"fields/{SSN}/normalize", "none"),
        (f"fields/{SSN}/subject", "optional"),
        (f"fields/{SSN}/template", "ssn( strict = false )"),
        (f"fields/{NAME}/masks", {}),
        (f"fields/{NAME}/classification", ""),
        (f"fields/{TEXT}/max_bytes", 65_536),
        ("retention/key-lifetime", {"keep": "key"}),
        ("retention/customer", {"keep": "P24M"}),
        ("purposes/support/bearer/max_ttl", "PT900S"),
    ],
)
def test_writing_down_what_is_meant_anyway_changes_nothing(place: str, default: Any) -> None:
    made = plan({place: default})
    assert (made.changes, made.refusals) == ((), ())


def test_the_digest_names_both_sides() -> None:
    schemas = [
        EMPTY,
        schema(),
        schema({"purposes/support/activity": "x"}),
        schema({"retention/short": OTHER_RULE}),
    ]
    digests = {make_plan(now, then, NOTHING).digest for now, then in itertools.product(schemas, repeat=2)}
    assert len(digests) == len(schemas) ** 2
    again = parse_document(changed({}))
    assert make_plan(EMPTY, again, FULL).digest == make_plan(EMPTY, schema(), NOTHING).digest
    both = f"{EMPTY.digest}\n{again.digest}".encode()
    assert make_plan(EMPTY, again, NOTHING).digest == hashlib.sha256(both).hexdigest()


# field keys


def test_a_field_needs_one_key_for_each_thing_that_is_done_with_its_values() -> None:
    fields = schema({f"fields/{NAME}/deterministic": "field"}).fields
    assert new_key_purposes(fields[SSN]) == ("ff1",)
    assert new_key_purposes(schema().fields[NAME]) == ("row-id",)
    assert new_key_purposes(fields[NAME]) == ("row-id", "blind-index")
    assert new_key_purposes(schema(NUMBERS).fields[NAME]) == ()
    assert new_key_purposes(fields[TEXT]) == ()


Keys = frozenset[tuple[str, str]]
NONE: Keys = frozenset()


@pytest.mark.parametrize(
    ("changes", "new", "ended"),
    [
        ({"fields/a": GOOD["fields"][SSN]}, frozenset({("a", "ff1")}), NONE),
        ({f"fields/{SSN}": REMOVED}, NONE, frozenset({(SSN, "ff1")})),
        ({f"fields/{SSN}/template": "digits"}, frozenset({(SSN, "ff1")}), frozenset({(SSN, "ff1")})),
        (TO_VAULTED, frozenset({(SSN, "row-id")}), frozenset({(SSN, "ff1")})),
        ({f"fields/{NAME}/deterministic": "field"}, frozenset({(NAME, "blind-index")}), NONE),
        ({f"fields/{NAME}/template": "text(max=9)"}, NONE, NONE),
        ({f"fields/{NAME}/protection": "encrypted"}, NONE, frozenset({(NAME, "row-id")})),
        (NUMBERS, NONE, frozenset({(NAME, "row-id")})),
        ({f"fields/{SSN}/classification": "x", "purposes/support": REMOVED}, NONE, NONE),
    ],
    ids=str,
)
def test_no_key_is_used_on_two_things(changes: dict[str, Any], new: Keys, ended: Keys) -> None:
    assert key_changes(schema(), schema(changes)) == (new, ended)


def test_a_change_of_what_is_compared_takes_a_new_index_key() -> None:
    now = schema({f"fields/{NAME}/deterministic": "field"})
    for change in ({f"fields/{NAME}/normalize": "lowercase"}, {f"fields/{NAME}/template": "text(max=9)"}):
        then = schema({f"fields/{NAME}/deterministic": "field"} | change)
        assert key_changes(now, then) == (
            frozenset({(NAME, "blind-index")}),
            frozenset({(NAME, "blind-index")}),
        )
    assert key_changes(now, schema()) == (NONE, frozenset({(NAME, "blind-index")}))


# values that are too few for FF1

PASS = {f"fields/{SSN}/small": "pass"}
ROWS = {
    f"fields/{SSN}/small": "vaulted",
    f"fields/{SSN}/small_retention": "rows",
    "retention/rows": OTHER_RULE,
    "retention/more": OTHER_RULE,
}
FEW = Living({SSN: 3}, {"rows": 2}, (), {SSN: 2})


@pytest.mark.parametrize("then", [PASS, ROWS], ids=str)
def test_small_values_may_be_taken_from_now_on(then: dict[str, Any]) -> None:
    assert plan(then, Living({SSN: 3})).refusals == ()
    assert bound(schema(), schema(then)).fields == {SSN}


@pytest.mark.parametrize("now", [PASS, ROWS], ids=str)
def test_small_values_that_live_hold_their_setting(now: dict[str, Any]) -> None:
    others = [one for one in ({}, PASS, ROWS) if one != now]
    for then in others:
        told = make_plan(schema(now), schema(then | {"retention/rows": OTHER_RULE}), FEW).refusals
        assert "field customer.ssn: cannot change small while small values of it live: 2" in told
        free = make_plan(schema(now), schema(then), Living({SSN: 3}))
        assert free.refusals == ()


def test_the_class_of_small_values_is_theirs_alone() -> None:
    other = ROWS | {f"fields/{SSN}/small_retention": "more"}
    assert make_plan(schema(ROWS), schema(other), FEW).refusals == (
        "field customer.ssn: cannot change small_retention while small values of it live: 2",
    )
    longer = ROWS | {"retention/rows": {"keep": "P60D"}}
    assert make_plan(schema(ROWS), schema(longer), FEW).refusals == (
        "retention rows: cannot change keep while keys live under it: 2",
    )
    assert bound(schema(ROWS), schema(longer)) == Bound(frozenset({SSN}), frozenset({"rows"}), grants=False)


def test_vaulted_small_values_need_a_key_for_their_tokens() -> None:
    assert new_key_purposes(schema(ROWS).fields[SSN]) == ("ff1", "row-id")
    assert new_key_purposes(schema(PASS).fields[SSN]) == ("ff1",)
    assert key_changes(schema(), schema(ROWS)) == (frozenset({(SSN, "row-id")}), frozenset())
    assert key_changes(schema(ROWS), schema()) == (frozenset(), frozenset({(SSN, "row-id")}))


# templates of the schema's own

CUSTOM = {"templates/employee": {"pattern": "(\\d{9})"}, f"fields/{SSN}/template": "employee"}


def test_a_template_that_nothing_names_is_free() -> None:
    now, then = (
        schema({"templates/x": {"pattern": "(\\d{9})"}}),
        schema({"templates/x": {"pattern": "(\\d{8})"}}),
    )
    assert make_plan(schema(), now, FULL).changes == (Change("add", "template", "x"),)
    assert make_plan(now, then, FULL).changes == (Change("change", "template", "x", ("pattern",)),)
    assert make_plan(then, schema(), FULL).refusals == ()
    assert bound(now, then) == Bound(frozenset(), frozenset(), grants=False)


@pytest.mark.parametrize(
    "definition", [{"pattern": "(\\d{9}) ?"}, {"pattern": "(\\d{9})", "alphabet": "9876543210"}]
)
def test_a_template_that_changes_is_another_one(definition: dict[str, Any]) -> None:
    now, then = schema(CUSTOM), schema(CUSTOM | {"templates/employee": definition})
    made = make_plan(now, then, FULL)
    assert [(change.kind, change.name) for change in made.changes] == [
        ("template", "employee"),
        ("field", SSN),
    ]
    assert made.refusals == (
        "field customer.ssn: cannot change template while tokens of it are with callers: 3",
    )
    assert make_plan(now, then, NOTHING).refusals == ()
    assert key_changes(now, then) == (frozenset({(SSN, "ff1")}), frozenset({(SSN, "ff1")}))


def test_a_template_with_another_name_is_another_one() -> None:
    then = schema({"templates/staff": {"pattern": "(\\d{9})"}, f"fields/{SSN}/template": "staff"})
    assert make_plan(schema(CUSTOM), then, FULL).refusals != ()
