"""What a schema says, and every reason for which one is refused, by the name of the place."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
from typing import Any, cast

import pytest

from tests.unit.schema.documents import GOOD, REMOVED, Document, changed, refusals, schema
from vault.cli.templates import DEVELOPMENT_SCHEMA
from vault.clock import Period
from vault.errors import Misconfigured, ValueRefused
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.custom import custom
from vault.formats.stored import whole
from vault.formats.surrogate import parse_surrogate
from vault.formats.template import Reversible, Shape, Template
from vault.schema.document import (
    EMPTY,
    MAX_NAMES,
    Determinism,
    Protection,
    RetentionRule,
    parse_document,
    parse_toml,
)
from vault.schema.opaque import takes_opaque_tokens
from vault.schema.purposes import LEGAL_BASES


def test_a_document_says_what_it_says() -> None:
    parsed = schema()
    purpose = parsed.purposes["support"]
    assert (purpose.name, purpose.legal_basis, purpose.disclosure_class) == (
        "support",
        "contract",
        "internal",
    )
    assert (purpose.deliveries, purpose.max_uses, purpose.max_ttl_s) == (frozenset({"plain"}), 50, 900)
    assert parsed.retention["customer"].keep == Period(24, 0)
    assert parsed.retention["customer"].period == "month"
    assert parsed.retention["key-lifetime"].keep is None
    ssn, name = parsed.fields["customer.ssn"], parsed.fields["customer.name"]
    assert (ssn.protection, ssn.retention, ssn.subject_required) == (
        Protection.VAULTLESS,
        "key-lifetime",
        False,
    )
    assert ssn.masks["last4"].apply("123-45-6789") == "***-**-6789"
    assert (name.protection, name.shape.spec, name.subject_required) == (
        Protection.VAULTED,
        "text(max=200)",
        True,
    )


def test_what_is_left_out_has_the_narrow_meaning() -> None:
    purpose = schema({"purposes/bare": {"legal_basis": "consent"}}).purposes["bare"]
    assert (purpose.deliveries, purpose.max_uses, purpose.max_ttl_s) == (frozenset(), 50, 900)
    assert (purpose.description, purpose.activity, purpose.disclosure_class) == ("", "", "internal")
    rule = schema({"retention/short": {"keep": "P30D"}}).retention["short"]
    assert (rule.keep, rule.period) == (Period(0, 30 * 86_400), "month")


def test_the_schema_of_a_new_cell_is_taken() -> None:
    parsed = parse_toml(DEVELOPMENT_SCHEMA)
    assert parsed.fields
    assert parsed == parse_document(tomllib.loads(DEVELOPMENT_SCHEMA))


def test_nothing_is_a_schema_too() -> None:
    assert parse_document({}) == EMPTY == parse_toml("# nothing yet\n")
    assert parse_document({"fields": {}}).fields == {}


# every refusal, with its reason

NOT_BUILT = "is not built yet in this version"
REFUSED: list[tuple[str, Any, str]] = [
    # purposes
    ("purposes", [], "purposes: is not a table"),
    ("purposes/support", "x", "purposes.support: is not a table"),
    (
        "purposes/support/legal_basis",
        REMOVED,
        "purposes.support.legal_basis: is missing: one of consent, contract",
    ),
    (
        "purposes/support/legal_basis",
        "because",
        "purposes.support.legal_basis: is not one of consent, contract",
    ),
    ("purposes/support/description", "a" * 201, "purposes.support.description: is not a text of at most 200"),
    ("purposes/support/description", "a\nb", "purposes.support.description: is not a text of at most 200"),
    ("purposes/support/activity", 7, "purposes.support.activity: is not a text of at most 200"),
    (
        "purposes/support/disclosure_class",
        "public",
        "purposes.support.disclosure_class: is not one of internal",
    ),
    ("purposes/support/note", "x", "purposes.support.note: is unknown"),
    ("purposes/support/bearer", [], "purposes.support.bearer: is not a table"),
    ("purposes/support/bearer/uses", 1, "purposes.support.bearer.uses: is unknown"),
    ("purposes/support/bearer/delivery", "plain", "purposes.support.bearer.delivery: is a list of `plain`"),
    ("purposes/support/bearer/delivery", ["plain", "egress"], "bearer.delivery: is a list of `plain` and"),
    ("purposes/support/keyed", {"delivery": ["egress"]}, "keyed.delivery: is a list of `plain` and"),
    ("purposes/support/keyed", {"max_uses": 5}, "purposes.support.keyed.max_uses: is unknown"),
    ("purposes/support/bearer/max_uses", 0, "bearer.max_uses: is not a whole number from 1 to 1000000000000"),
    ("purposes/support/bearer/max_uses", 10**12 + 1, "bearer.max_uses: is not a whole number"),
    ("purposes/support/bearer/max_uses", True, "bearer.max_uses: is not a whole number"),
    ("purposes/support/bearer/max_uses", 5.0, "bearer.max_uses: is not a whole number"),
    ("purposes/support/bearer/max_uses", "50", "bearer.max_uses: is not a whole number"),
    ("purposes/support/bearer/max_ttl", "15 minutes", "bearer.max_ttl: is not an ISO 8601 duration"),
    ("purposes/support/bearer/max_ttl", 900, "bearer.max_ttl: is not an ISO 8601 duration"),
    ("purposes/support/bearer/max_ttl", "PT0S", "bearer.max_ttl: is more than nothing and at most a year"),
    ("purposes/support/bearer/max_ttl", "P9999Y", "bearer.max_ttl: is more than nothing and at most a year"),
    ("purposes/Support", {"legal_basis": "consent"}, "purposes.(unnamed): a name is a-z"),
    # retention
    ("retention", 1, "retention: is not a table"),
    ("retention/customer", [], "retention.customer: is not a table"),
    (
        "retention/customer/keep",
        REMOVED,
        "retention.customer.keep: is missing: an ISO 8601 duration, or 'key'",
    ),
    ("retention/customer/keep", "forever", "retention.customer.keep: is not an ISO 8601 duration"),
    ("retention/customer/keep", "P0D", "retention.customer.keep: is more than nothing and at most 200 years"),
    (
        "retention/customer/keep",
        "P300Y",
        "retention.customer.keep: is more than nothing and at most 200 years",
    ),
    (
        "retention/customer/keep",
        "PT36H",
        "retention.customer.keep: is a whole number of days, months or years",
    ),
    (
        "retention/customer/keep",
        "P1YT1S",
        "retention.customer.keep: is a whole number of days, months or years",
    ),
    ("retention/customer/from", "event:", "retention.customer.from: is not one of creation, last_use, event"),
    ("retention/customer/from", "event:Closed", "retention.customer.from: is not one of creation"),
    ("retention/customer/from", "event:a\n", "retention.customer.from: is not one of creation"),
    ("retention/customer/from", "first_use", "retention.customer.from: is not one of creation"),
    ("retention/customer/from", None, "retention.customer.from: is not one of creation"),
    ("retention/customer/from", ["creation"], "retention.customer.from: is not one of creation"),
    ("retention/customer/max", "P10Y", "retention.customer.max: goes with last_use or an event"),
    ("retention/key-lifetime/max", "P10Y", "retention.key-lifetime.max: goes with a period"),
    (
        "retention/event",
        {"keep": "P2Y", "from": "event:closed", "max": "P1Y"},
        "retention.event.max: is shorter than keep",
    ),
    (
        "retention/event",
        {"keep": "P2Y", "from": "last_use", "max": "P23M"},
        "retention.event.max: is shorter than keep",
    ),
    (
        "retention/event",
        {"keep": "P2Y", "from": "event:closed", "max": "PT36H"},
        "retention.event.max: is a whole number of days, months or years",
    ),
    (
        "retention/event",
        {"keep": "P2Y", "from": "event:closed", "max": "P300Y"},
        "retention.event.max: is more than nothing and at most 200 years",
    ),
    (
        "retention/event",
        {"keep": "P2Y", "from": "event:closed", "max": "for ever"},
        "retention.event.max: is not an ISO 8601 duration",
    ),
    ("retention/customer/period", "week", "retention.customer.period: is not one of month, day"),
    ("retention/customer/until", "2030", "retention.customer.until: is unknown"),
    ("retention/key-lifetime/from", "creation", "retention.key-lifetime.from: goes with a period"),
    ("retention/key-lifetime/period", "day", "retention.key-lifetime.period: goes with a period"),
    ("retention/:identifier", {"keep": "P1D"}, "retention.(unnamed): a name is a-z"),
    # fields
    ("fields", "x", "fields: is not a table"),
    ("fields/customer.name", 7, "fields.customer.name: is not a table"),
    ("fields/customer.name/template", REMOVED, "fields.customer.name.template: is not a template"),
    ("fields/customer.name/template", "shoe-size", "fields.customer.name.template: is not a template"),
    ("fields/customer.name/template", "e164(country=1)", "fields.customer.name.template: is not a template"),
    ("fields/customer.name/template", "text(max=0)", "fields.customer.name.template: is not a template"),
    ("fields/customer.name/template", ["text"], "fields.customer.name.template: is not a template"),
    ("fields/customer.ssn/template", "text", "fields.customer.ssn.template: has no fixed alphabet"),
    ("fields/customer.ssn/subject", "required", "fields.customer.ssn.subject: cannot be required"),
    (
        "fields/customer.name/subject",
        "anybody",
        "fields.customer.name.subject: is not one of optional, required",
    ),
    (
        "fields/customer.name/protection",
        REMOVED,
        "fields.customer.name.protection: is missing: one of vaultless",
    ),
    ("fields/customer.name/protection", "plain", "fields.customer.name.protection: is not one of vaultless"),
    ("fields/customer.ssn/protection", "vaultless-subject", f"protection: vaultless-subject {NOT_BUILT}"),
    # settings that their protection cannot honour
    ("fields/customer.ssn/surrogate", "ssn", "fields.customer.ssn.surrogate: goes with vaulted fields"),
    (
        "fields/customer.ssn/max_rows",
        5_000_000,
        "customer.ssn.max_rows: goes with the surrogate of a vaulted",
    ),
    (
        "fields/customer.ssn/normalize",
        "lowercase",
        "customer.ssn.normalize: goes with vaulted fields that are",
    ),
    ("fields/customer.ssn/max_bytes", 65_536, "fields.customer.ssn.max_bytes: goes with encrypted fields"),
    (
        "fields/customer.ssn/deterministic",
        "subject",
        "deterministic: goes with vaulted fields: vaultless tok",
    ),
    ("fields/customer.ssn/deterministic", "field", "deterministic: goes with vaulted fields: vaultless tok"),
    ("fields/customer.name/rotation", "P1Y", "fields.customer.name.rotation: goes with vaultless fields"),
    ("fields/customer.name/max_bytes", 65_536, "fields.customer.name.max_bytes: goes with encrypted fields"),
    ("fields/customer.text/surrogate", "ssn", "fields.customer.text.surrogate: goes with vaulted fields"),
    ("fields/customer.text/max_rows", 5_000_000, "fields.customer.text.max_rows: goes with the surrogate"),
    (
        "fields/customer.text/normalize",
        "lowercase",
        "fields.customer.text.normalize: goes with vaulted fields",
    ),
    ("fields/customer.text/rotation", "P1Y", "fields.customer.text.rotation: goes with vaultless fields"),
    ("fields/customer.text/deterministic", "field", "deterministic: goes with vaulted fields: every cipher"),
    (
        "fields/customer.text/tokenize_budget",
        {"per_day": 1},
        "customer.text.tokenize_budget: goes with fields that are tokenized",
    ),
    # settings that do not go with each other, or out of bounds
    ("fields/customer.name/normalize", "lowercase", "customer.name.normalize: goes with vaulted fields that"),
    (
        "fields/customer.name/normalize",
        "upper",
        "fields.customer.name.normalize: is not one of none, nfc, lowercase",
    ),
    ("fields/customer.name/max_rows", 5_000_000, "customer.name.max_rows: goes with the surrogate"),
    (
        "fields/customer.name/surrogate",
        "digits(length=9)",
        "customer.name.max_rows: is missing: a surrogate needs room",
    ),
    ("fields/customer.text/max_bytes", 0, "customer.text.max_bytes: is not a whole number from 1 to 1048576"),
    ("fields/customer.text/max_bytes", 2**20 + 1, "customer.text.max_bytes: is not a whole number from 1"),
    ("fields/customer.text/max_bytes", True, "customer.text.max_bytes: is not a whole number from 1"),
    ("fields/customer.text/template", "nothing", "fields.customer.text.template: is not a template"),
    ("fields/customer.ssn/tokenize_budget", 7, "fields.customer.ssn.tokenize_budget: is not a table"),
    ("fields/customer.ssn/tokenize_budget", {}, "tokenize_budget.per_day: is missing: how many values a day"),
    ("fields/customer.ssn/tokenize_budget", {"per_day": 0}, "per_day: is not a whole number from 1 to"),
    ("fields/customer.ssn/tokenize_budget", {"per_day": 10**12 + 1}, "per_day: is not a whole number from 1"),
    ("fields/customer.ssn/tokenize_budget", {"per_day": "7"}, "per_day: is not a whole number from 1 to"),
    (
        "fields/customer.ssn/tokenize_budget",
        {"per_day": 1, "per_hour": 1},
        "fields.customer.ssn.tokenize_budget.per_hour: is unknown",
    ),
    ("fields/customer.ssn/rotation", "PT23H", "fields.customer.ssn.rotation: is at least a day and at most"),
    ("fields/customer.ssn/rotation", "P11Y", "fields.customer.ssn.rotation: is at least a day and at most"),
    ("fields/customer.ssn/rotation", "yearly", "fields.customer.ssn.rotation: is not an ISO 8601 duration"),
    ("fields/customer.name/deterministic", True, "fields.customer.name.deterministic: is not one of none"),
    (
        "fields/customer.ssn/small",
        "vaulted",
        "fields.customer.ssn.small_retention: is missing: a class with a period",
    ),
    (
        "fields/customer.ssn/small_retention",
        "customer",
        "fields.customer.ssn.small_retention: goes with small = 'vaulted'",
    ),
    ("fields/customer.ssn/small_retention", "none", "ssn.small_retention: does not name a class"),
    ("fields/customer.ssn/small_retention", ["customer"], "ssn.small_retention: does not name a class"),
    ("fields/customer.name/small", "pass", "fields.customer.name.small: goes with vaultless fields"),
    ("fields/customer.text/small", "vaulted", "fields.customer.text.small: goes with vaultless fields"),
    ("fields/customer.ssn/small", "keep", "fields.customer.ssn.small: is not one of refuse"),
    ("fields/customer.name/retention", REMOVED, "retention: does not name a class of [retention]"),
    ("fields/customer.name/retention", "nothing", "retention: does not name a class of [retention]"),
    ("fields/customer.name/retention", ["customer"], "retention: does not name a class of [retention]"),
    (
        "fields/customer.name/retention",
        "key-lifetime",
        "customer.name.retention: retention_unkeepable: a vaulted",
    ),
    (
        "fields/customer.text/retention",
        "key-lifetime",
        "customer.text.retention: retention_unkeepable: an encrypted",
    ),
    (
        "fields/customer.ssn/retention",
        "customer",
        "customer.ssn.retention: retention_unkeepable: a vaultless",
    ),
    ("fields/customer.ssn/classification", "x" * 65, "classification: is not a text of at most 64 printable"),
    ("fields/customer.ssn/classification", "a\0b", "classification: is not a text of at most 64 printable"),
    ("fields/customer.ssn/masks", ["last4"], "fields.customer.ssn.masks: is not a table"),
    ("fields/customer.ssn/masks/last4", "{last:9}", "fields.customer.ssn.masks.last4: is not a mask"),
    ("fields/customer.ssn/masks/last4", 4, "fields.customer.ssn.masks.last4: is not a mask"),
    ("fields/customer.ssn/masks/Last 4", "{last:4}", "fields.customer.ssn.masks.(unnamed): is not a mask"),
    ("fields/customer.ssn/owner", "x", "fields.customer.ssn.owner: is unknown"),
    ("fields/Customer SSN", {}, "fields.(unnamed): a name is a-z"),
    # the whole
    # templates of its own
    ("templates", [], "templates: is not a table"),
    ("templates/x", "EMP-(\\d{8})", "templates.x: is not a table"),
    ("templates/X 1", {"pattern": "(\\d{8})"}, "templates.(unnamed): a name is a-z"),
    ("templates/ssn", {"pattern": "(\\d{8})"}, "templates.ssn: is the name of a template of the catalogue"),
    ("templates/" + "x" * 41, {"pattern": "(\\d{8})"}, "a template's name has at most 40 characters"),
    ("templates/x", {}, "templates.x.pattern: is missing"),
    ("templates/x", {"pattern": 7}, "templates.x.pattern: is not a text of at most 256"),
    ("templates/x", {"pattern": "(a" * 200}, "templates.x.pattern: is not a text of at most 256"),
    ("templates/x", {"pattern": "(\\d{8}"}, "templates.x.pattern: is not RE2"),
    ("templates/x", {"pattern": "(?=a)(\\d{8})"}, "templates.x.pattern: is not RE2"),
    ("templates/x", {"pattern": "EMP-\\d{8}"}, "templates.x.pattern: has no group"),
    ("templates/x", {"pattern": "EMP-(\\d(\\d{7}))"}, "templates.x.pattern: a group stands within a group"),
    ("templates/x", {"pattern": "EMP-(\\d*)"}, "templates.x.pattern: a group can be empty"),
    ("templates/x", {"pattern": "(\\d{9})", "decode": "$1"}, "templates.x.decode: is unknown"),
    ("templates/x", {"pattern": "(\\d{9})", "alphabet": "aa"}, "templates.x.alphabet: is not one of digits"),
    ("templates/x", {"pattern": "(\\d{9})", "alphabet": ["a"]}, "templates.x.alphabet: is not one of digits"),
    (
        "templates/x",
        {"pattern": "(\\d{9})", "alphabet": "ab"},
        "pattern: a group takes no character of the alph",
    ),
    ("fields/customer.name/template", "x", "fields.customer.name.template: is not a template"),
    ("agents", {}, "schema.agents: is unknown"),
]


@pytest.mark.parametrize(("place", "value", "reason"), REFUSED, ids=lambda part: str(part)[:60])
def test_a_refusal_names_the_place_and_the_reason(place: str, value: Any, reason: str) -> None:
    found = refusals(changed({place: value}))
    assert [line for line in found if reason in line], found
    if not place.startswith("retention"):  # which fields refer to
        assert len(found) == 1


def test_all_reasons_come_at_once() -> None:
    places = ("purposes/support/note", "retention/customer/until", "fields/customer.ssn/owner")
    found = refusals(changed(dict.fromkeys(places, 1)))
    assert found == [
        "purposes.support.note: is unknown",
        "retention.customer.until: is unknown",
        "fields.customer.ssn.owner: is unknown",
    ]


def test_no_reason_rests_on_a_guess() -> None:
    """A field whose protection is not known is not told what another protection would not take."""
    unknown = {"protection": "vaultless-subject", "retention": "customer", "max_bytes": 65_536}
    assert refusals(changed({"fields/customer.pan": unknown | {"rotation": "P1Y", "owner": "x"}})) == [
        "fields.customer.pan.owner: is unknown",
        "fields.customer.pan.protection: vaultless-subject is not built yet in this version",
    ]


# what a setting implies


def test_a_class_says_when_its_time_begins() -> None:
    parsed = schema(
        {
            "retention/used": {"keep": "P90D", "from": "last_use", "period": "day"},
            "retention/closed": {"keep": "P2Y", "from": "event:account_closed", "max": "P10Y"},
        }
    )
    assert parsed.retention["used"] == RetentionRule(
        "used", Period(0, 90 * 86_400), start="last_use", period="day"
    )
    assert parsed.retention["closed"] == RetentionRule(
        "closed", Period(24, 0), start="event", event="account_closed", max=Period(120, 0)
    )
    assert parsed.retention["customer"].start == "creation"


@pytest.mark.parametrize("start", ["last_use", "event:account_closed"])
@pytest.mark.parametrize("name", ["customer.name", "customer.text"])
def test_a_class_that_waits_needs_a_person_or_an_end(start: str, name: str) -> None:
    open_ended = {"keep": "P2Y", "from": start}
    changes = {"retention/waits": open_ended, f"fields/{name}/retention": "waits"}
    assert refusals(changed(changes | {f"fields/{name}/subject": "optional"})) == [
        f"fields.{name}.retention: retention_unkeepable: a value without a person never meets its class's "
        "event: give the class a max, or say subject = 'required'"
    ]
    assert schema(changes | {f"fields/{name}/subject": "required"}).fields[name].retention == "waits"
    bounded = {"retention/waits": open_ended | {"max": "P10Y"}}
    assert schema(changes | bounded).fields[name].retention == "waits"


def test_joining_people_implies_that_they_are_named() -> None:
    field = schema({"fields/customer.name/subject": REMOVED, "fields/customer.name/deterministic": "field"})
    rule = field.fields["customer.name"]
    assert (rule.deterministic, rule.subject_required) == (Determinism.FIELD, True)
    silent = schema(
        {"fields/customer.name/subject": REMOVED, "fields/customer.name/deterministic": "subject"}
    )
    assert not silent.fields["customer.name"].subject_required
    contrary = {"fields/customer.name/deterministic": "field", "fields/customer.name/subject": "optional"}
    assert refusals(changed(contrary)) == [
        "fields.customer.name.subject: is required where deterministic = 'field' joins people's values"
    ]


def test_there_is_room_for_the_rows() -> None:
    def shaped(spec: Any, rows: int) -> dict[str, Any]:
        return {"fields/customer.name/surrogate": spec, "fields/customer.name/max_rows": rows}

    # 10^9 tokens
    assert schema(shaped("digits(length=9)", 10_000_000)).fields["customer.name"].max_rows == 10_000_000
    assert refusals(changed(shaped("digits(length=9)", 10_000_001))) == [
        "fields.customer.name.max_rows: is more than 10,000,000: a hundredth of the surrogate's tokens"
    ]
    # 10^6, and one digit less
    assert schema(shaped("digits(length=6)", 1)).fields["customer.name"].max_rows == 1
    assert refusals(changed(shaped("digits(length=5)", 1))) == [
        "fields.customer.name.surrogate: has 100,000 tokens, fewer than 1,000,000"
    ]
    assert refusals(changed(shaped("text", 1))) == [
        "fields.customer.name.surrogate: is not a surrogate; docs/reference/templates.md lists them"
    ]
    assert refusals(changed(shaped(["digits"], 1))) == refusals(changed(shaped("digits", 1)))


def test_every_setting_of_a_field_is_read() -> None:
    parsed = schema(
        {
            "fields/customer.ssn/tokenize_budget": {"per_day": 1_000_000},
            "fields/customer.ssn/rotation": "P1Y",
            "fields/customer.name/deterministic": "field",
            "fields/customer.name/normalize": "lowercase",
            "fields/customer.name/surrogate": "digits(length=12)",
            "fields/customer.name/max_rows": 5_000_000,
            "fields/customer.name/tokenize_budget": {"per_day": 5},
            "fields/customer.text/max_bytes": 100,
        }
    )
    ssn, name, text = (parsed.fields[f"customer.{which}"] for which in ("ssn", "name", "text"))
    assert (ssn.budget_per_day, ssn.rotation, ssn.max_bytes) == (1_000_000, Period(12, 0), 65_536)
    assert (ssn.deterministic, ssn.normalize, ssn.surrogate) == (Determinism.NONE, "none", None)
    assert (name.normalize, name.max_rows) == ("lowercase", 5_000_000)
    assert name.surrogate == parse_surrogate("digits(length=12)")
    assert (name.budget_per_day, name.rotation) == (5, None)
    assert (text.protection, text.template, text.max_bytes) == (Protection.ENCRYPTED, None, 100)
    assert text.masks["first"].apply("hello") == "h..."
    with pytest.raises(TypeError):
        text.shape


def test_an_encrypted_field_may_have_a_template() -> None:
    rule = schema({"fields/customer.text/template": "text(max=20)"}).fields["customer.text"]
    assert rule.shape.spec == "text(max=20)"


def test_there_are_at_most_a_hundred_reasons() -> None:
    assert len(refusals({"fields": {f"f{number}": {} for number in range(MAX_NAMES)}})) == 100


@pytest.mark.parametrize("kind", ["purposes", "retention", "fields"])
def test_names_are_counted(kind: str) -> None:
    entry = {"purposes": {"legal_basis": "consent"}, "retention": {"keep": "key"}}.get(
        kind, GOOD["fields"]["customer.ssn"]
    )
    full = {f"n{number}": entry for number in range(MAX_NAMES)}
    base = {} if kind == "retention" else {"retention": GOOD["retention"]}
    assert len(getattr(parse_document({**base, kind: full}), kind)) == MAX_NAMES
    found = refusals({**base, kind: {**full, "one-more": entry}})
    assert found == [f"{kind}: has more than 1000 entries"]


@pytest.mark.parametrize("basis", LEGAL_BASES)
def test_every_legal_basis_of_the_regulation_is_taken(basis: str) -> None:
    assert schema({"purposes/support/legal_basis": basis}).purposes["support"].legal_basis == basis


@pytest.mark.parametrize("name", ["a", "0", "a" * 64, "a.b-c_d", "customer.ssn.2"])
def test_a_name_that_is_taken(name: str) -> None:
    assert name in schema({f"fields/{name}": GOOD["fields"]["customer.ssn"]}).fields


# the digest


def test_the_digest_is_of_the_canonical_document() -> None:
    parsed = schema()
    canonical = json.dumps(GOOD, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert parsed.body == canonical
    assert parsed.digest == hashlib.sha256(canonical.encode()).hexdigest()
    assert parse_document(json.loads(parsed.body)) == parsed


def test_order_and_notation_do_not_matter_and_content_does() -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    assert turned(GOOD) == GOOD
    assert list(turned(GOOD)) != list(GOOD)
    assert parse_document(turned(GOOD)).digest == schema().digest
    one = parse_toml('[retention.a]\nkeep = "P30D"\nperiod = "day"\n')
    other = parse_toml("# a note\nretention.a = { period = 'day', keep = \"\\u0050\\u0033\\u0030D\" }")
    assert one.digest == other.digest
    digests = {schema({place: value}).digest for place, value in ACCEPTED_CHANGES}
    assert len(digests | {schema().digest}) == len(ACCEPTED_CHANGES) + 1


ACCEPTED_CHANGES: list[tuple[str, Any]] = [
    ("purposes/support/description", "Answer"),
    ("purposes/support/bearer/max_uses", 49),
    ("retention/customer/keep", "P1Y"),
    ("retention/customer/period", "day"),
    ("fields/customer.name/subject", "optional"),
    ("fields/customer.ssn/masks/last2", "{last:2}"),
    ("fields/customer.ssn/template", "ssn(strict=true)"),
]


@pytest.mark.parametrize(
    ("template", "taken"),
    [
        ("card(keep_first=6, keep_last=4)", False),  # sixteen digits leave 10^5
        ("card(keep_first=6, keep_last=3)", True),
        ("digits(min=1, max=5)", False),
        ("digits(min=1, max=6)", True),
        ("alphanumeric(min=1, max=3)", False),
        ("alphanumeric(min=1, max=4)", True),
    ],
)
def test_a_vaultless_field_has_values_to_hide_among(template: str, taken: bool) -> None:
    document = changed({"fields/customer.ssn/template": template})
    reason = "fewer than 1,000,000 values of the usual length look alike: too few to hide one among"
    if taken:
        parse_document(document)
    else:
        assert refusals(document) == [f"fields.customer.ssn.template: {reason}"]


SMALL = {"fields/customer.ssn/small": "vaulted", "fields/customer.ssn/small_retention": "rows"}


@pytest.mark.parametrize(
    "kept",
    [{"keep": "key"}, {"keep": "P1Y", "from": "event:closed"}, {"keep": "P1Y", "from": "last_use"}],
    ids=str,
)
def test_rows_of_small_values_must_end_by_themselves(kept: Document) -> None:
    (told,) = refusals(changed(SMALL | {"retention/rows": kept}))
    assert told.startswith(
        "fields.customer.ssn.small_retention: retention_unkeepable: a row without a person"
    )


@pytest.mark.parametrize(
    "kept", [{"keep": "P1Y"}, {"keep": "P1Y", "from": "last_use", "max": "P2Y"}], ids=str
)
def test_rows_of_small_values_have_a_class_of_their_own(kept: Document) -> None:
    field = parse_document(changed(SMALL | {"retention/rows": kept})).fields["customer.ssn"]
    assert (field.small.value, field.retention, field.row_class) == ("vaulted", "key-lifetime", "rows")


class TokLike(Reversible):
    """Takes texts of a pattern."""

    def __init__(self, only: str) -> None:
        self.only = only

    def parse(self, value: str) -> Shape:
        if re.fullmatch(self.only, value) is None:
            raise ValueRefused("value_format")
        return whole(value)


@pytest.mark.parametrize("only", ["tok_[a-z]+", "tok_[0-9]{26}", "tok_[a-z0-9]*", "[a-z0-9_]{30}"])
def test_templates_that_take_opaque_tokens_are_found(only: str) -> None:
    assert takes_opaque_tokens(cast("Template", TokLike(only)))
    assert not takes_opaque_tokens(cast("Template", TokLike("tok-.*")))


def test_vaultless_templates_that_take_opaque_tokens_are_few() -> None:
    found = set()
    for name, entry in CATALOG.items():
        for spec in (name, *entry.examples):
            template = parse_template(spec)
            if template.reversible_by_ff1 and takes_opaque_tokens(template):
                found.add(name)
    assert found == {"code", "name"}  # for these `small = vaulted` is refused


# templates of its own

EMPLOYEE = {"pattern": "EMP-(\\d{8})", "alphabet": "digits"}


def with_template(definition: dict[str, Any] = EMPLOYEE, **changes: Any) -> dict[str, Any]:
    return {"templates/employee": definition, "fields/customer.ssn/template": "employee", **changes}


def test_a_field_names_a_template_of_the_schema() -> None:
    parsed = schema(with_template())
    rule = parsed.fields["customer.ssn"]
    assert rule.template is parsed.templates["employee"]
    assert rule.shape.spec.startswith("custom(employee, ")
    assert parse_document(json.loads(parsed.body)) == parsed


def test_a_template_that_is_refused_is_told_of_once() -> None:
    found = refusals(changed(with_template({"pattern": "EMP-\\d{8}"})))
    assert found == ["templates.employee.pattern: has no group: what stands in parentheses is transformed"]


def test_a_template_of_few_values_is_not_for_vaultless_fields() -> None:
    found = refusals(changed(with_template({"pattern": "EMP-(\\d{5})"})))
    assert found[0].startswith("fields.customer.ssn.template: fewer than 1,000,000 values")
    vaulted = {"templates/employee": {"pattern": "EMP-(\\d{5})"}, "fields/customer.name/template": "employee"}
    assert schema(vaulted).fields["customer.name"].shape.domain().size == 10**5


def test_the_name_and_the_characters_of_an_alphabet_are_one() -> None:
    named, written = (
        schema(with_template({"pattern": "(\\d{9})", "alphabet": alphabet})).templates["employee"]
        for alphabet in ("digits", "0123456789")
    )
    assert named == written


def test_a_template_may_have_a_format_for_its_tokens() -> None:
    accounts = {"pattern": "(\\d{4})-?(\\d{4})", "encode": "$1-$2"}
    parsed = schema(with_template(accounts))
    template = parsed.templates["employee"]
    assert template.canonical("12345678") == "1234-5678"
    assert parse_document(json.loads(parsed.body)) == parsed
    assert schema(with_template(accounts | {"encode": "$1 $2"})).templates["employee"].spec != template.spec
    found = refusals(changed(with_template(accounts | {"encode": "$1"})))
    assert found[0].startswith("templates.employee.encode: the format has each group once")
    found = refusals(changed(with_template(accounts | {"encode": 7})))
    assert found[0].startswith("templates.employee.encode: is not a text")


def test_without_re2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    custom.cache_clear()
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(Misconfigured) as missing:
        schema(with_template())
    assert (missing.value.code, missing.value.facts) == ("extra_missing", {"extra": "re2"})
    custom.cache_clear()


@pytest.mark.parametrize("setting", ["pattern", "alphabet"])
def test_no_reason_shows_a_template(setting: str) -> None:
    for planted in ("(canary", "canary", ["canary"], {"canary ": 1}, "(canary)+", "c(a|n)(a|na)ry"):
        found = refusals(changed(with_template(EMPLOYEE | {setting: planted})))
        assert "canary" not in "".join(found)
