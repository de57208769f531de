"""The schema as a verb: the sample applies, what lives refuses, keys follow, and every version is kept."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from tests.support.cells import HOST, NAME, NOTE, PAN, SSN, VISIT, BuiltCell
from vault.cli.templates import STARTER_SCHEMA
from vault.errors import BadInput, CoatcheckError, Stale, Unknown
from vault.policy.grant import ScopeEntry
from vault.schema.document import parse_document
from vault.services import cell
from vault.services.applying import ApplySchema
from vault.services.fields import list_fields, read_field
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grants import create_grant
from vault.services.listing import Page
from vault.services.schema import (
    SchemaBody,
    apply_schema,
    list_versions,
    plan_schema,
    read_version,
    show_schema,
)
from vault.services.tokenize import TokenizeBody, tokenize
from vault.wiring import perform

Document = dict[str, Any]


def document(built: BuiltCell) -> Document:
    """The schema in force, to change."""
    return tomllib.loads(built.schema)


def without(built: BuiltCell, *names: str) -> Document:
    """The schema without some fields."""
    changed = document(built)
    for name in names:
        del changed["fields"][name]
    return changed


def planned(built: BuiltCell, changed: Document) -> list[str]:
    """Why a document cannot be applied."""
    return built.run(plan_schema, SchemaBody(document=changed), by=HOST).refusals


def apply(built: BuiltCell, changed: Document) -> int:
    """Applies a document; the new version."""
    digest = built.run(plan_schema, SchemaBody(document=changed), by=HOST).digest
    return built.run(apply_schema, SchemaBody(document=changed, digest=digest), by=HOST).version


def refused(built: BuiltCell, changed: Document) -> list[str]:
    """Why a document cannot be applied, as planning and as applying say it."""
    before = built.next_number
    plan = built.run(plan_schema, SchemaBody(document=changed), by=HOST)
    with pytest.raises(BadInput) as refusal:
        built.run(apply_schema, SchemaBody(document=changed, digest=plan.digest), by=HOST)
    assert refusal.value.code == "schema_refused"
    assert refusal.value.facts["refusals"] == plan.refusals
    assert built.next_number == before
    return plan.refusals


def keys(built: BuiltCell, field: str) -> list[tuple[str, int, str]]:
    """Purpose, version and state of a field's keys."""
    f = built.cell.store.tables.field_keys.c
    mine = select(f.purpose, f.version, f.state).where(f.field == field, f.tenant == built.tenant)
    return sorted((row[0], row[1], row[2]) for row in built.cell.store.read(mine))


# the sample


def test_the_starter_plans_and_applies_as_it_stands(built: BuiltCell) -> None:
    made = built.another_tenant("second")
    made.apply("")  # everything that nothing lives under may go
    plan = made.run(plan_schema, SchemaBody(toml=STARTER_SCHEMA), by=HOST)
    assert plan.refusals == []
    assert {change.action for change in plan.changes} == {"add"}
    assert set(plan.domains) == {SSN, PAN}
    made.apply(STARTER_SCHEMA)
    active = {name: [(p, v) for p, v, state in keys(made, name) if state == "active"] for name in STARTER}
    assert active == {
        "customer.ssn": [("ff1", 2)],  # the first was the development schema's
        "customer.pan": [("ff1", 2)],
        "customer.phone": [("blind-index", 1)],  # shaped: no row id to encrypt
        "customer.email": [("blind-index", 2), ("row-id", 2)],
        "customer.iban": [("blind-index", 1), ("row-id", 1)],
        "customer.birthdate": [("row-id", 1)],
        "customer.name": [("row-id", 2)],
        "conversation.text": [],
    }


STARTER = tomllib.loads(STARTER_SCHEMA)["fields"]


def test_fields_show_every_setting(built: BuiltCell) -> None:
    made = built.another_tenant("second")
    made.apply("")
    made.apply(STARTER_SCHEMA)
    shown = {field.name: msgspec.to_builtins(field) for field in made.run(list_fields, by=HOST).items}
    ssn, phone = shown["customer.ssn"], shown["customer.phone"]
    assert (ssn["key_version"], ssn["rotation"], ssn["budget_per_day"]) == (2, "P1Y", 1_000_000)
    assert (ssn["subject"], ssn["domain"]["size"]) == ("none", 10**9)
    assert phone == {
        "name": "customer.phone",
        "protection": "vaulted",
        "retention": "customer",
        "subject": "optional",
        "template": phone["template"],
        "deterministic": "subject",
        "normalize": "none",
        "surrogate": {
            "spec": phone["surrogate"]["spec"],
            "space": phone["surrogate"]["space"],
            "max_rows": 5_000_000,
        },
    }
    assert phone["surrogate"]["space"] >= 100 * 5_000_000
    email = shown["customer.email"]
    assert (email["deterministic"], email["normalize"], email["subject"]) == (
        "field",
        "lowercase",
        "required",
    )
    assert shown["customer.birthdate"]["deterministic"] == "none"
    assert shown["conversation.text"] == {
        "name": "conversation.text",
        "protection": "encrypted",
        "retention": "conversation",
        "subject": "optional",
        "max_bytes": 65_536,
    }
    for name, field in shown.items():
        assert msgspec.to_builtins(made.run(read_field, name, by=HOST)) == field


# what lives refuses


def test_a_field_with_values_stays(built: BuiltCell) -> None:
    built.tokens(NAME, "Ada", "Bob", None, subjects=["c1", "c2", None])
    built.tokens(SSN, "123-45-6789", "123-45-6789", "987-65-4320")
    assert refused(built, without(built, NAME, SSN)) == [
        "field customer.name: cannot be removed while values live under it: 2",
        "field customer.ssn: cannot be removed while tokens of it are with callers: 3",
    ]
    renamed = without(built, NAME)
    renamed["fields"]["person.name"] = document(built)["fields"][NAME]
    assert refused(built, renamed) == ["field customer.name: cannot be removed while values live under it: 2"]
    re_protected = document(built)
    re_protected["fields"][NAME]["protection"] = "encrypted"
    assert refused(built, re_protected) == [
        "field customer.name: cannot change protection while values live under it: 2"
    ]
    assert apply(built, without(built, PAN, NOTE)) == 2  # nothing lives there


def test_values_whose_keys_are_gone_do_not_live(built: BuiltCell) -> None:
    built.tokens(NAME, "Ada", "Bob", subjects=["c1", "c2"])
    tables = built.cell.store.tables
    with built.cell.store.engine.begin() as connection:
        k = tables.data_keys.c
        connection.execute(
            tables.data_keys.update().where(k["class"] == "customer").values(state="destroyed")
        )
    assert apply(built, without(built, NAME)) == 2


def test_another_tenants_values_are_not_counted(built: BuiltCell) -> None:
    other = built.another_tenant("second")
    other.tokens(NAME, "Ada", subjects=["c1"])
    other.tokens(SSN, "123-45-6789")
    other.grant(SSN)
    assert apply(built, without(built, NAME, SSN)) == 2
    assert len(refused(other, without(other, NAME, SSN))) == 3


def test_a_class_with_keys_stays_as_it_is(built: BuiltCell) -> None:
    changed = document(built)
    changed["retention"]["customer"]["keep"] = "P3Y"
    assert planned(built, changed) == []
    built.tokens(NAME, "Ada", "Bob", subjects=["c1", "c2"])
    assert refused(built, changed) == ["retention customer: cannot change keep while keys live under it: 2"]


def test_a_purpose_with_grants_stays(built: BuiltCell) -> None:
    changed = document(built)
    del changed["purposes"]["files"]
    spent = built.grant(SSN, purpose="files", uses=1)
    credential = built.grant(SSN, purpose="files")
    built.grant(SSN, purpose="support")
    assert refused(built, changed) == ["purpose files: cannot be removed while grants for it live: 2"]
    built.reveal(spent, SSN, built.token(SSN, "123-45-6789"), purpose="files")
    assert refused(built, changed) == ["purpose files: cannot be removed while grants for it live: 1"]
    built.run(revoke_grant, "gr_" + credential.split("_")[1], ChangeBody(), by=built.admin)
    assert apply(built, changed) == 2


def test_a_mask_that_a_grant_may_show_stays(built: BuiltCell) -> None:
    changed = document(built)
    changed["fields"][SSN]["masks"]["last4"] = "{last:8}"
    named = ScopeEntry([PAN], ["mask"], ["plain"], mask="last4")
    reveals = ScopeEntry([SSN], ["reveal"], ["plain"])
    built.run(create_grant, built.grant_body(SSN, scope=[named, reveals]))
    assert planned(built, changed) == []  # neither shows a mask of this field
    any_mask = ScopeEntry([SSN], ["mask"], ["plain"])
    built.run(create_grant, built.grant_body(SSN, scope=[any_mask]))
    assert refused(built, changed) == [
        "field customer.ssn: cannot change mask last4 while grants that may show it live: 1"
    ]
    changed["fields"][SSN]["masks"] = {"last4": "***-**-{last:4}", "last2": "{last:2}"}
    assert apply(built, changed) == 2


def test_disclosures_that_are_accounted_for_are_of_persons(built: BuiltCell) -> None:
    changed = document(built)
    changed["purposes"]["files"]["disclosure_class"] = "non_tpo"
    credential = built.grant(SSN, purpose="files")
    built.grant(NAME, purpose="files")
    assert refused(built, changed) == [
        "purpose files: cannot become non_tpo while grants for it live over vaultless fields: 1"
    ]
    built.run(revoke_grant, "gr_" + credential.split("_")[1], ChangeBody(), by=built.admin)
    apply(built, changed)
    assert built.grant(NAME, purpose="files")
    before = built.next_number
    with pytest.raises(BadInput) as refusal:
        built.grant(NAME, SSN, purpose="files")
    assert (refusal.value.code, refusal.value.facts["field"]) == ("subjects_unenforceable", SSN)
    assert built.next_number == before
    assert built.grant(NAME, SSN, purpose="support")


# field keys


def test_the_keys_of_a_removed_field_protect_nothing_and_are_not_used_again(built: BuiltCell) -> None:
    assert keys(built, SSN) == [("ff1", 1, "active")]
    apply(built, without(built, SSN, NAME))
    assert keys(built, SSN) == [("ff1", 1, "deactivated")]
    assert keys(built, NAME) == [("row-id", 1, "deactivated")]
    with pytest.raises(BadInput) as refusal:
        built.tokens(SSN, "123-45-6789")
    assert refusal.value.code == "field_unknown"
    apply(built, document(built))
    assert keys(built, SSN) == [("ff1", 1, "deactivated"), ("ff1", 2, "active")]
    assert built.run(read_field, SSN).key_version == 2
    made = built.run(tokenize, TokenizeBody(field=SSN, values=["123-45-6789"]))
    assert made.key_version == 2  # type: ignore[union-attr]
    assert built.reveal(built.grant(SSN), SSN, *made.tokens, key_version=2) == ["123-45-6789"]  # type: ignore[union-attr]
    name = built.token(NAME, "Ada", "c1")
    assert built.reveal(built.grant(NAME), NAME, name) == ["Ada"]
    event = built.events(kind="schema.apply")[-1]
    assert (event["keys"], event["keys_ended"]) == (2, 0)


def test_another_template_is_another_key_version(built: BuiltCell) -> None:
    changed = document(built)
    changed["fields"][SSN]["template"] = "digits"
    apply(built, changed)
    assert keys(built, SSN) == [("ff1", 1, "deactivated"), ("ff1", 2, "active")]
    assert built.events(kind="schema.apply")[-1]["keys_ended"] == 1


# decided again under the lock


def race(built: BuiltCell, changed: Document, between: Callable[[], object]) -> list[str] | int:
    """Applies a document; something happens between what was counted and what is locked."""
    digest = built.run(plan_schema, SchemaBody(document=changed), by=HOST).digest
    body = SchemaBody(document=changed, digest=digest)
    verb = apply_schema(built.cell, built.request(HOST), body)
    command = next(verb)
    assert isinstance(command, ApplySchema)
    between()
    with pytest.raises(Stale):
        built.cell.committer.execute(command)
    verb.close()
    built.cell.forget()
    try:
        return perform(built.cell, lambda: apply_schema(built.cell, built.request(HOST), body)).version
    except BadInput as refusal:
        return [str(reason) for reason in refusal.facts["refusals"]]  # type: ignore[union-attr]


def test_a_value_that_comes_to_life_meanwhile_keeps_its_field(built: BuiltCell) -> None:
    tokens: list[str | None] = []
    assert race(built, without(built, NAME), lambda: tokens.extend(built.tokens(NAME, "Ada"))) == [
        "field customer.name: cannot be removed while values live under it: 1"
    ]
    assert built.reveal(built.grant(NAME), NAME, *tokens) == ["Ada"]
    assert race(built, without(built, SSN), lambda: built.tokens(SSN, "123-45-6789")) == [
        "field customer.ssn: cannot be removed while tokens of it are with callers: 1"
    ]


def test_a_value_that_comes_to_life_meanwhile_keeps_its_class(built: BuiltCell) -> None:
    changed = document(built)
    changed["retention"]["visit"]["keep"] = "P60D"
    assert race(built, changed, lambda: built.ciphertext(VISIT, "Ada", subject="c1")) == [
        "retention visit: cannot change keep while keys live under it: 1"
    ]


def test_what_is_stale_reads_no_schema_again_that_is_still_in_force(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading all of a large cell takes seconds, and anybody may be stale as often as they like."""
    read: list[str] = []

    def parse(document: Any) -> Any:
        read.append("")
        return parse_document(document)

    built.tokens(NOTE, "Ada")
    monkeypatch.setattr(cell, "parse_document", parse)
    for _ in range(3):
        built.cell.forget()
        built.tokens(NOTE, "Ada")
    assert read == []
    apply(built, without(built, SSN))
    built.tokens(NOTE, "Ada")
    assert len(read) == 1


def test_a_grant_that_is_created_meanwhile_keeps_its_purpose(built: BuiltCell) -> None:
    changed = document(built)
    del changed["purposes"]["files"]
    assert race(built, changed, lambda: built.grant(SSN, purpose="files")) == [
        "purpose files: cannot be removed while grants for it live: 1"
    ]


def test_what_is_prepared_on_an_older_schema_is_prepared_again(built: BuiltCell) -> None:
    """The other order: tokenizing has prepared everything, and the field goes before it commits."""
    verb = tokenize(built.cell, built.request(built.service), TokenizeBody(field=SSN, values=["123-45-6789"]))
    command = next(verb)
    apply(built, without(built, SSN))
    with pytest.raises(Stale):
        built.cell.committer.execute(command)
    verb.close()
    with pytest.raises(BadInput):
        built.tokens(SSN, "123-45-6789")


def test_values_of_other_fields_do_not_matter(built: BuiltCell) -> None:
    digest = built.run(plan_schema, SchemaBody(document=without(built, NAME)), by=HOST).digest
    verb = apply_schema(
        built.cell, built.request(HOST), SchemaBody(document=without(built, NAME), digest=digest)
    )
    command = next(verb)
    built.tokens(SSN, "123-45-6789")
    built.grant(SSN)
    assert built.cell.committer.execute(command).value == 2


# history


def test_every_version_is_kept(built: BuiltCell) -> None:
    first = built.run(show_schema, by=built.admin)
    changed = document(built)
    for number in range(2, 6):
        changed["purposes"]["support"]["activity"] = f"RoPA-{number}"
        digest = built.run(plan_schema, SchemaBody(document=changed), by=built.admin).digest
        built.run(apply_schema, SchemaBody(document=changed, digest=digest), by=built.admin)
    rows = built.run(list_versions, Page(), by=built.admin)
    assert [row.version for row in rows.items] == [5, 4, 3, 2, 1]
    assert rows.next is None
    assert rows.items[-1].digest == first.digest
    assert rows.items[-1].applied_by.startswith("host:")
    assert {row.applied_by for row in rows.items[:-1]} == {"operator:admin"}
    assert all(re.fullmatch(r"2[0-9]{3}-.*Z", row.applied_at) for row in rows.items)
    assert sorted(row.applied_at for row in rows.items) == [row.applied_at for row in rows.items][::-1]
    old = built.run(read_version, "1", by=built.admin)
    assert (old.version, old.digest, old.document) == (1, first.digest, first.document)
    new = built.run(read_version, "5", by=built.admin)
    assert new.document["purposes"]["support"]["activity"] == "RoPA-5"
    assert built.run(show_schema, by=built.admin).document == new.document


def test_versions_come_in_pages(built: BuiltCell) -> None:
    changed = document(built)
    for number in range(2, 6):
        changed["purposes"]["support"]["activity"] = f"RoPA-{number}"
        apply(built, changed)
    seen, cursor = [], None
    for _ in range(4):
        page = built.run(list_versions, Page(2, cursor), by=built.admin)
        seen += [row.version for row in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("cursor", ["", "0", "-1", "01", "1.0", "one", "９", "9" * 19, "1 "])
def test_a_cursor_is_a_version(built: BuiltCell, cursor: str) -> None:
    with pytest.raises(BadInput) as refusal:
        built.run(list_versions, Page(2, cursor), by=built.admin)
    assert refusal.value.code == "parameter_invalid"
    for limit in (0, 501):
        with pytest.raises(BadInput):
            built.run(list_versions, Page(limit), by=built.admin)


@pytest.mark.parametrize("version", ["0", "2", "-1", "01", "1.0", "one", "９", "9" * 19, "9" * 18, "1 "])
def test_a_version_that_was_not_is_not_found(built: BuiltCell, version: str) -> None:
    with pytest.raises(Unknown):
        built.run(read_version, version, by=built.admin)


def test_history_needs_permission_and_stays_in_the_tenant(built: BuiltCell) -> None:
    for verb, argument in ((list_versions, Page()), (read_version, "1")):
        with pytest.raises(CoatcheckError) as refusal:
            built.run(verb, argument, by=built.service)
        assert refusal.value.code == "permission_denied"
    other = built.another_tenant("second")
    other.apply(other.schema + '\n[purposes.more]\nlegal_basis = "consent"\n')
    assert len(other.run(list_versions, Page(), by=HOST).items) == 2
    assert len(built.run(list_versions, Page(), by=HOST).items) == 1
    with pytest.raises(Unknown):
        built.run(read_version, "2", by=built.admin)
