"""What a schema says, and every reason for which one is refused, by the name of the place."""

from __future__ import annotations

import hashlib
import json
import tomllib
from typing import Any

import pytest

from tests.unit.schema.documents import GOOD, REMOVED, changed, refusals, schema
from vault.cli.templates import DEVELOPMENT_SCHEMA
from vault.clock import Period
from vault.schema.document import EMPTY, LEGAL_BASES, MAX_NAMES, Protection, parse_document, parse_toml


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
    assert (name.protection, name.template.spec, name.subject_required) == (
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
    ("purposes/support/bearer/delivery", "plain", "purposes.support.bearer.delivery: is not a list"),
    ("purposes/support/bearer/delivery", ["sealed"], "bearer.delivery: is not a list; only plain is built"),
    ("purposes/support/bearer/delivery", ["plain", "egress"], "bearer.delivery: is not a list; only plain"),
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
    (
        "retention/customer/from",
        "last_use",
        "retention.customer.from: only creation is built in this version",
    ),
    ("retention/customer/from", "event:closed", "retention.customer.from: only creation is built"),
    ("retention/customer/from", None, "retention.customer.from: only creation is built"),
    ("retention/customer/max", "P10Y", f"retention.customer.max: {NOT_BUILT}"),
    ("retention/customer/period", "week", "retention.customer.period: is not one of month, day"),
    ("retention/customer/until", "2030", "retention.customer.until: is unknown"),
    ("retention/key-lifetime/from", "creation", "retention.key-lifetime.from: goes with a period"),
    ("retention/key-lifetime/period", "day", "retention.key-lifetime.period: goes with a period"),
    ("retention/:identifier", {"keep": "P1D"}, "retention.(unnamed): a name is a-z"),
    # fields
    ("fields", "x", "fields: is not a table"),
    ("fields/customer.name", 7, "fields.customer.name: is not a table"),
    ("fields/customer.name/template", REMOVED, "fields.customer.name.template: is not a template"),
    ("fields/customer.name/template", "email", "fields.customer.name.template: is not a template"),
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
    (
        "fields/customer.name/protection",
        "encrypted",
        f"fields.customer.name.protection: encrypted {NOT_BUILT}",
    ),
    ("fields/customer.ssn/protection", "vaultless-subject", f"protection: vaultless-subject {NOT_BUILT}"),
    ("fields/customer.ssn/surrogate", "ssn", f"fields.customer.ssn.surrogate: {NOT_BUILT}"),
    ("fields/customer.ssn/max_rows", 5_000_000, f"fields.customer.ssn.max_rows: {NOT_BUILT}"),
    ("fields/customer.ssn/normalize", "lowercase", f"fields.customer.ssn.normalize: {NOT_BUILT}"),
    ("fields/customer.ssn/rotation", "P1Y", f"fields.customer.ssn.rotation: {NOT_BUILT}"),
    (
        "fields/customer.ssn/tokenize_budget",
        {"per_day": 1},
        f"fields.customer.ssn.tokenize_budget: {NOT_BUILT}",
    ),
    ("fields/customer.ssn/max_bytes", 65_536, f"fields.customer.ssn.max_bytes: {NOT_BUILT}"),
    ("fields/customer.name/deterministic", "subject", f"deterministic: subject {NOT_BUILT}"),
    ("fields/customer.name/deterministic", "field", f"deterministic: field {NOT_BUILT}"),
    ("fields/customer.name/deterministic", True, "fields.customer.name.deterministic: is not one of none"),
    ("fields/customer.ssn/small", "vaulted", f"fields.customer.ssn.small: vaulted {NOT_BUILT}"),
    ("fields/customer.ssn/small", "pass", f"fields.customer.ssn.small: pass {NOT_BUILT}"),
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
    ("templates", {"employee": {"pattern": "EMP-(\\d{8})"}}, f"schema.templates: {NOT_BUILT}"),
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
    conversation = {"protection": "encrypted", "retention": "customer", "max_bytes": 65_536}
    assert refusals(changed({"fields/conversation.text": conversation})) == [
        "fields.conversation.text.max_bytes: is not built yet in this version; leave it out",
        "fields.conversation.text.protection: encrypted is not built yet in this version",
    ]


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
