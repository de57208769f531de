"""Two tenants of one cell: to each, the other is not there."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.cells import AGENT, NAME, SSN, BuiltCell
from tests.unit.services.calls import grant_id, rows
from vault.errors import CoatcheckError, Unknown
from vault.identifiers import RowId
from vault.services.audit import AuditQuery, read_audit, verify
from vault.services.batch import BatchRefused
from vault.services.fields import list_fields
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import GrantFilter, list_grants, read_grant
from vault.services.identities import (
    PrincipalBody,
    create_principal,
    list_principals,
    remove_principal,
)
from vault.services.limited import flush_failures
from vault.services.listing import Page
from vault.services.schema import SchemaBody, apply_schema, plan_schema, show_schema
from vault.services.service_keys import (
    KeyBody,
    create_key,
    list_keys,
    revoke_key,
)
from vault.tokens.vaulted import decode, encode
from vault.wiring import perform

SOCIAL = "123-45-6789"
ALIAS = """
[fields."customer.alias"]
template = "text(max=50)"
protection = "vaulted"
retention = "customer"
"""


@pytest.fixture
def other(built: BuiltCell) -> BuiltCell:
    return built.another_tenant("other")


def test_the_same_names_live_side_by_side(built: BuiltCell, other: BuiltCell) -> None:
    assert other.service_id != built.service_id
    assert other.agent_id != built.agent_id
    for one in (built, other):
        names = [row.name for row in one.run(list_principals, Page(), by=one.admin).items]
        assert sorted(names) == [AGENT, "operator:admin", "service:demo"]
        token = one.token(NAME, f"Ada of {one.tenant}", "c1")
        assert one.reveal(one.grant(NAME, subjects=["c1"]), NAME, token) == [f"Ada of {one.tenant}"]
    assert len(rows(built)["cu_subjects"]) == 2


def test_a_vaulted_token_of_the_other_is_unknown(built: BuiltCell, other: BuiltCell) -> None:
    token = built.token(NAME, "Ada")
    with pytest.raises(BatchRefused, match="token_unknown"):
        other.reveal(other.grant(NAME), NAME, token)


def test_not_even_a_token_that_names_the_other_s_row(built: BuiltCell, other: BuiltCell) -> None:
    """One that only the other's own key could have made: the row says whose it is."""
    ring = built.cell.keyring
    row = decode(ring.row_ids("main", NAME), built.token(NAME, "Ada"))
    forged = encode(ring.row_ids("other", NAME), RowId(row))
    with pytest.raises(BatchRefused, match="token_unknown"):
        other.reveal(other.grant(NAME), NAME, forged)
    own = decode(ring.row_ids("other", NAME), other.token(NAME, "Eve"))
    assert other.reveal(other.grant(NAME), NAME, encode(ring.row_ids("other", NAME), RowId(own))) == ["Eve"]


def test_a_vaultless_token_of_the_other_is_another_value(built: BuiltCell, other: BuiltCell) -> None:
    token = built.token(SSN, SOCIAL)
    assert token != other.token(SSN, SOCIAL)
    try:
        found = other.reveal(other.grant(SSN), SSN, token)
    except BatchRefused:
        return  # no value has this token there
    assert found != [SOCIAL]


def test_a_grant_of_the_other_is_not_there(built: BuiltCell, other: BuiltCell) -> None:
    credential = built.grant(SSN)
    name = grant_id(credential)
    for by in (other.admin, other.service, "host", other.grant(SSN)):
        with pytest.raises(Unknown, match="not_found"):
            other.run(read_grant, name, by=by)
    for by in (other.admin, other.service, "host"):
        with pytest.raises(Unknown, match="not_found"):
            other.run(revoke_grant, name, ChangeBody(), by=by)
    listed = other.run(list_grants, Page(), GrantFilter(), by=other.admin)
    assert name not in [grant.id for grant in listed.items]
    assert built.reveal(credential, SSN, built.token(SSN, SOCIAL)) == [SOCIAL]


def test_a_credential_acts_in_its_own_tenant(built: BuiltCell, other: BuiltCell) -> None:
    """Whatever the door believes: the tenant is the credential's."""
    token = built.token(SSN, SOCIAL)
    assert other.reveal(built.grant(SSN), SSN, token) == [SOCIAL]


def test_principals_and_keys_of_the_other_are_not_there(built: BuiltCell, other: BuiltCell) -> None:
    key = "_".join(built.service.split("_")[:2])
    before = rows(built)
    with pytest.raises(Unknown):
        other.run(remove_principal, built.service_id, by=other.admin)
    with pytest.raises(Unknown):
        other.run(create_key, built.service_id, KeyBody(), by=other.admin)
    with pytest.raises(Unknown):
        other.run(revoke_key, key, by=other.admin)
    assert other.run(list_keys, built.service_id, by=other.admin).items == []
    assert rows(built) == before


def test_a_grant_for_the_other_s_agent_cannot_be_made(built: BuiltCell, other: BuiltCell) -> None:
    other.run(remove_principal, other.agent_id, by=other.admin)
    with pytest.raises(CoatcheckError, match="agent_unknown"):
        other.grant(SSN)
    assert built.grant(SSN)


def test_the_log_shows_one_s_own_events_and_to_main_the_cell_s(built: BuiltCell, other: BuiltCell) -> None:
    built.token(SSN, SOCIAL)
    other.token(SSN, SOCIAL)
    with pytest.raises(CoatcheckError, match="credential_invalid"):
        built.run(create_principal, PrincipalBody("agent", "x"), by="nonsense")
    perform(built.cell, lambda: flush_failures(built.cell))
    for one, stranger in ((built, "other"), (other, "main")):
        page = one.run(read_audit, AuditQuery(limit=500), by=one.admin)
        events = [msgspec.json.decode(row.event) for row in page.items]
        assert {event["tenant"] for event in events} == ({"main", ""} if one is built else {"other"})
        assert stranger not in {event["tenant"] for event in events}
        assert "tokenize" in {event["kind"] for event in events}
        assert ("unauthenticated" in {event["kind"] for event in events}) is (one is built)
    verify(built.cell.store)


def test_a_schema_is_a_tenant_s_own(built: BuiltCell, other: BuiltCell) -> None:
    toml = other.schema + ALIAS
    digest = other.run(plan_schema, SchemaBody(toml=toml), by=other.admin).digest
    assert other.run(apply_schema, SchemaBody(toml=toml, digest=digest), by=other.admin).version == 2
    assert other.run(show_schema, by=other.admin).version == 2
    assert built.run(show_schema, by=built.admin).version == 1
    names = [field.name for field in built.run(list_fields).items]
    assert "customer.alias" not in names
    assert built.reveal(built.grant(SSN), SSN, built.token(SSN, SOCIAL)) == [SOCIAL]
