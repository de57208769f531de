"""Creating tenants: who may, what is there from the first moment, and what races and repeats give."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import HOST, NAME, BuiltCell, any_cell
from vault.errors import BadInput, Conflict, Denied
from vault.services.audit import verify
from vault.services.identities import (
    PrincipalBody,
    create_principal,
    whoami,
)
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page
from vault.services.schema import SchemaBody, apply_schema, plan_schema
from vault.services.service_keys import (
    KeyBody,
    create_key,
)
from vault.services.tenants import TenantBody, create_tenant, list_tenants
from vault.services.tokenize import TokenizeBody, tokenize


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def create(built: BuiltCell, name: str, **more: Any) -> Any:
    return built.run(create_tenant, TenantBody(name), **{"by": built.admin, **more})


def test_a_tenant_works_from_its_first_credential_on(built: BuiltCell) -> None:
    made = create(built, "acme")
    assert made.id.startswith("tn_")
    assert (made.name, made.state) == ("acme", "active")
    assert made.credential.startswith(made.admin.key + "_")
    first = made.credential
    shown = built.run(whoami, by=first)
    assert (shown.principal, shown.name, shown.tenant) == (made.admin.principal, "operator:admin", "acme")
    assert shown.roles == ["admin"]
    plan = built.run(plan_schema, SchemaBody(toml=built.schema), by=first)
    built.run(apply_schema, SchemaBody(toml=built.schema, digest=plan.digest), by=first)
    body = PrincipalBody("service", "signup", permissions=[f"tokenize:{NAME}"])
    service = built.run(create_principal, body, by=first).id
    key = built.run(create_key, service, KeyBody(), by=first).credential
    tokens = built.run(tokenize, TokenizeBody(field=NAME, values=["Ada"], subjects=["c1"]), by=key)
    assert str(tokens.tokens[0]).startswith("tok_")  # type: ignore[union-attr]
    verify(built.cell.store)


def test_it_is_on_the_record_of_whoever_made_it(built: BuiltCell) -> None:
    made = create(built, "acme")
    (event,) = built.events(kind="tenant.create")
    assert (event["tenant"], event["actor"], event["created"]) == ("main", "operator:admin", "acme")
    assert (event["id"], event["principal"], event["key"]) == (made.id, made.admin.principal, made.admin.key)
    assert made.credential.rpartition("_")[2] not in repr(built.events())


def test_a_tenant_has_keys_of_its_own(built: BuiltCell) -> None:
    made = create(built, "acme")
    auditor = built.run(
        create_principal, PrincipalBody("operator", "eve", roles=["auditor"]), by=made.credential
    )
    key = built.run(create_key, auditor.id, KeyBody(), by=made.credential).credential
    listed = built.run(list_stored_keys, Page(), KeyFilter(), by=key).items
    (own,) = [row for row in listed if row.kind != "api"]
    assert len(listed) == 3  # that, and the keys of its two operators
    assert own.kind == "subject-reference"
    mains = built.run(list_stored_keys, Page(), KeyFilter(), by=built.admin).items
    assert own.id not in {row.id for row in mains}
    assert "index-layer" in {row.kind for row in mains}


@pytest.mark.parametrize("name", ["", "A", "-a", "a" * 64, "a b", "ä", "a\0", "../a", "main\n"])
def test_a_name_that_is_none(built: BuiltCell, name: str) -> None:
    with pytest.raises(BadInput, match="name_invalid"):
        create(built, name)


def test_a_name_is_taken_once(built: BuiltCell) -> None:
    create(built, "acme")
    for name in ("acme", "main"):
        with pytest.raises(Conflict, match="name_taken"):
            create(built, name)
    assert len(built.events(kind="tenant.create")) == 1


def test_of_those_who_race_one_has_the_name(built: BuiltCell) -> None:
    start = threading.Barrier(6)
    outcomes: list[str] = []

    def ask() -> None:
        start.wait()
        try:
            outcomes.append(create(built, "raced").name)
        except Conflict as refusal:
            outcomes.append(refusal.code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["name_taken"] * 5 + ["raced"]
    assert len(built.events(kind="tenant.create")) == 1
    verify(built.cell.store)


def test_a_credential_is_shown_once(built: BuiltCell) -> None:
    made = create(built, "acme", once="k")
    again = create(built, "acme", once="k")
    assert (again.id, again.credential, again.replayed) == (made.id, None, True)


def test_only_main_s_operators_who_may(built: BuiltCell) -> None:
    first = create(built, "acme").credential
    _, powerless = built.principal("operator", "powerless", roles=["admin", "auditor"])
    for by in (first, powerless):
        with pytest.raises(Denied, match="permission_denied"):
            create(built, "other", by=by)
        with pytest.raises(Denied, match="permission_denied"):
            built.run(list_tenants, Page(), by=by)
    denied = built.events(kind="denied")
    assert [event["tenant"] for event in denied] == ["acme", "acme", "main", "main"]


def test_nobody_else_can_be_given_the_permission(built: BuiltCell) -> None:
    first = create(built, "acme").credential
    for more in (
        {"roles": ["cell-admin"]},
        {"permissions": ["tenant:create"]},
        {"permissions": ["tenant:read"]},
    ):
        with pytest.raises(BadInput, match="permission_unknown"):
            built.run(create_principal, PrincipalBody("operator", "x", **more), by=first)  # type: ignore[arg-type]


def test_not_even_the_host_in_the_name_of_another(built: BuiltCell) -> None:
    other = built.another_tenant("acme")
    with pytest.raises(Denied, match="permission_denied"):
        other.run(create_tenant, TenantBody("more"), by=HOST)


def test_tenants_are_listed_newest_first(built: BuiltCell) -> None:
    for number in range(3):
        create(built, f"t{number}")
    names, cursor = [], None
    while True:
        page = built.run(list_tenants, Page(2, cursor), by=built.admin)
        names += [row.name for row in page.items]
        assert all(row.credential is None and row.admin is None for row in page.items)
        cursor = page.next
        if cursor is None:
            break
        create(built, f"meanwhile-{len(names)}")
    assert names == ["t2", "t1", "t0", "main"]
