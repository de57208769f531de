"""Every authenticated denial leaves exactly one event with its code; the others are counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cells import ADDRESS, AGENT, NAME, PAN, SSN, BuiltCell, reveal
from tests.unit.services.calls import BY_GRANT, BY_KEY, CALLS, NOBODY, VALUE, grant_id, rows
from vault.clock import SECOND, format_time
from vault.errors import CoatcheckError, Denied, Unauthenticated, Unavailable
from vault.identifiers import new_id
from vault.policy.grant import ScopeEntry
from vault.policy.principal import Ceiling
from vault.services.detokenize import detokenize
from vault.services.grant_body import GrantBody, Validity
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grants import create_grant
from vault.services.identities import (
    PrincipalBody,
    create_principal,
)
from vault.services.limited import flush_failures
from vault.services.service_keys import (
    KeyBody,
)
from vault.services.tokenize import TokenizeBody, tokenize
from vault.wiring import perform

SECRET = "0" * 43


def denied(built: BuiltCell, act: Callable[[], Any]) -> tuple[CoatcheckError, dict[str, Any]]:
    """The refusal of an act and its event, after checking that there is one event and no other change."""
    before, first = rows(built), built.next_number
    with pytest.raises((Denied, Unauthenticated)) as refusal:
        act()
    after = rows(built)
    changed = {name for name in before if before[name] != after[name]}
    assert changed - {"cu_audit_items"} == {"re_audit", "re_head"}
    (event,) = built.events(first)
    assert event["code"] == refusal.value.code
    assert event["decision"] == refusal.value.facts["decision"]
    assert event["address"] == ADDRESS
    assert event["request"] == "req_test"
    assert event["tenant"] == "main"
    return refusal.value, event


@pytest.mark.parametrize("name", [name for name in BY_KEY if CALLS[name].needs])
def test_a_permission_that_is_lacking(built: BuiltCell, name: str) -> None:
    _, arguments = CALLS[name].prepare(built)
    principal, credential = built.principal("service", "powerless")
    refusal, event = denied(built, lambda: built.run(CALLS[name].verb, *arguments, by=credential))
    assert refusal.code == "permission_denied"
    assert event["kind"] == "denied"
    assert event["actor"] == "service:powerless"
    assert event["credential"] == "_".join(credential.split("_")[:2])
    assert event["missing"] == [CALLS[name].needs.partition(":")[0]]
    assert principal


def test_the_permission_of_one_field_is_not_that_of_another(built: BuiltCell) -> None:
    _, credential = built.principal("service", "narrow", permissions=[f"tokenize:{SSN}"])
    built.run(tokenize, TokenizeBody(field=SSN, values=[VALUE]), by=credential)
    for field in (PAN, "customer.ssn2", "customer.no-such-field", "customer.*", "*"):
        body = TokenizeBody(field=field, values=["4111111111111111"])
        denied(built, lambda body=body: built.run(tokenize, body, by=credential))  # type: ignore[misc]


@pytest.mark.parametrize("name", BY_KEY)
def test_a_network_that_a_key_may_not_be_used_from(built: BuiltCell, name: str) -> None:
    by, arguments = CALLS[name].prepare(built)
    principal = _owner(built, by)
    networks = KeyBody(networks=["198.51.100.0/24", "2001:db8::/32"])
    if name == "remove_principal":
        by = built.admin
    credential = built.key(principal, networks)
    refusal, event = denied(built, lambda: built.run(CALLS[name].verb, *arguments, by=credential))
    assert refusal.code == "network_denied"
    assert event["kind"] == "denied"
    built.run(CALLS[name].verb, *arguments, by=credential, address="198.51.100.9")


def _owner(built: BuiltCell, credential: str) -> str:
    """Whose key it is."""
    keys = built.cell.store.tables.api_keys
    named = keys.c.id == "_".join(credential.split("_")[:2])
    [[owner]] = built.cell.store.read(keys.select().with_only_columns(keys.c.principal).where(named))
    return str(owner)


@pytest.mark.parametrize("address", ["2001:db8::1", "198.51.100.255"])
def test_a_network_that_it_may_be_used_from(built: BuiltCell, address: str) -> None:
    credential = built.key(built.service_id, KeyBody(networks=["198.51.100.0/24", "2001:db8::/32"]))
    built.run(tokenize, TokenizeBody(field=SSN, values=[VALUE]), by=credential, address=address)


@pytest.mark.parametrize("address", ["", "host:0", "198.51.101.0", "::ffff:198.51.100.1", "not an address"])
def test_an_address_that_is_none_is_in_no_network(built: BuiltCell, address: str) -> None:
    credential = built.key(built.service_id, KeyBody(networks=["198.51.100.0/24"]))
    with pytest.raises(Denied, match="network_denied"):
        built.run(tokenize, TokenizeBody(field=SSN, values=[VALUE]), by=credential, address=address)


class TestUse:
    """Refusals on the use of a grant."""

    def use(self, built: BuiltCell, credential: str, **changes: Any) -> Callable[[], Any]:
        """Asks for one SSN, or something else."""
        given = {"field_": SSN, "tokens": ["123-45-6789"], **changes}
        return lambda: built.run(detokenize, reveal(**given), by=credential)

    @pytest.mark.parametrize(
        ("code", "charged", "changes"),
        [
            ("scope_denied", 1, {"field_": PAN, "tokens": ["4111111111111111"]}),
            ("scope_denied", 1, {"field_": NAME, "tokens": ["tok_x"]}),
            ("scope_denied", 1, {"field_": "no.such.field", "tokens": ["x"]}),
            ("scope_denied", 1, {"operation": "mask", "mask": "last4"}),
            ("purpose_mismatch", 1, {"purpose": "files"}),
            ("purpose_mismatch", 1, {"purpose": "no such purpose"}),
            ("scope_denied", 3, {"tokens": ["123-45-6789"] * 3}),  # more than the batch
            ("budget_exhausted", 0, {"tokens": ["123-45-6789"] * 5}),
        ],
    )
    def test_scope_purpose_batch_and_budget(
        self, built: BuiltCell, code: str, charged: int, changes: dict[str, Any]
    ) -> None:
        credential = built.grant(SSN, uses=4, batch=2, operations=["reveal"])
        act = self.use(built, credential, **changes)
        if charged == 0:
            refusal, event = denied(built, act)
        else:
            first = built.next_number
            with pytest.raises(Denied) as raised:
                act()
            refusal = raised.value
            (event,) = built.events(first)
        assert (refusal.code, event["code"], event["charged"]) == (code, code, charged)
        assert event["decision"] == refusal.facts["decision"]
        assert (event["kind"], event["outcome"]) == ("detokenize", "denied")
        assert (event["actor"], event["grant"]) == (AGENT, grant_id(credential))

    def test_revoked_and_expired(self, built: BuiltCell) -> None:
        revoked = built.grant(SSN)
        built.run(revoke_grant, grant_id(revoked), ChangeBody())
        refusal, event = denied(built, self.use(built, revoked))
        assert (refusal.code, event["check"], event["charged"]) == ("grant_invalid", 6, 0)

    def test_not_valid_yet(self, built: BuiltCell) -> None:
        at = built.cell.clock.now() + 3_600 * SECOND
        valid = Validity(format_time(at), format_time(at + 60 * SECOND))
        refusal, event = denied(built, self.use(built, built.grant(SSN, valid=valid)))
        assert (refusal.code, event["charged"]) == ("outside_window", 0)


class TestGrant:
    """Refusals on the creation of a grant."""

    CEILING = Ceiling(
        fields=[SSN, NAME],
        operations=["reveal"],
        deliveries=["plain"],
        purposes=["support", "sealed"],
        agents=[AGENT],
        subjects=["c1", "c2"],
        uses=5,
        uses_per_day=8,
        ttl="PT10M",
    )

    @pytest.fixture
    def limited(self, built: BuiltCell) -> str:
        permissions = [f"grant:create:{name}" for name in ("support", "sealed", "files")]
        built.principal("agent", "other")
        return built.principal("service", "limited", permissions=permissions, ceiling=self.CEILING)[1]

    def body(self, built: BuiltCell, **changes: Any) -> GrantBody:
        """Inside the ceiling, unless changed."""
        fields = changes.pop("fields", [NAME])
        until = format_time(built.cell.clock.now() + 300 * SECOND)
        given = {"uses": 2, "operations": ["reveal"], "subjects": ["c1"], "valid": Validity(None, until)}
        return built.grant_body(*fields, **{**given, **changes})

    def test_what_is_inside_is_given(self, built: BuiltCell, limited: str) -> None:
        assert built.run(create_grant, self.body(built), by=limited).credential

    @pytest.mark.parametrize(
        ("member", "changes"),
        [
            ("purpose", {"purpose": "files"}),
            ("agent", {"agent": "agent:other"}),
            ("fields", {"fields": ["customer.note"]}),
            ("operations", {"operations": ["reveal", "mask"]}),
            ("subjects", {"subjects": ["c1", "c3"]}),
            ("subjects", {"subjects": None}),
            ("uses", {"uses": 6}),
        ],
    )
    def test_outside_the_ceiling(
        self, built: BuiltCell, limited: str, member: str, changes: dict[str, Any]
    ) -> None:
        body = self.body(built, **changes)
        refusal, event = denied(built, lambda: built.run(create_grant, body, by=limited))
        assert refusal.code == "delegation_denied"
        assert (event["kind"], event["member"], event["actor"]) == ("denied", member, "service:limited")
        assert "c3" not in str(event)

    def test_longer_than_the_ceiling(self, built: BuiltCell, limited: str) -> None:
        until = format_time(built.cell.clock.now() + 660 * SECOND)
        body = self.body(built, valid=Validity(None, until))
        refusal, event = denied(built, lambda: built.run(create_grant, body, by=limited))
        assert (refusal.code, event["member"]) == ("delegation_denied", "valid")

    def test_a_delivery_that_the_purpose_does_not_allow(self, built: BuiltCell, limited: str) -> None:
        body = self.body(built, purpose="sealed")
        refusal, event = denied(built, lambda: built.run(create_grant, body, by=limited))
        assert refusal.code == "plain_delivery_denied"
        assert event["verb"] == "grant.create"

    def test_without_a_ceiling_nothing_is_given(self, built: BuiltCell) -> None:
        _, credential = built.principal("service", "poor", permissions=["grant:create:support"])
        refusal, event = denied(built, lambda: built.run(create_grant, self.body(built), by=credential))
        assert (refusal.code, event["member"]) == ("delegation_denied", "ceiling")

    def test_uses_of_a_day(self, built: BuiltCell, limited: str) -> None:
        for _ in range(4):
            built.run(create_grant, self.body(built), by=limited)
        refusal, event = denied(built, lambda: built.run(create_grant, self.body(built, uses=1), by=limited))
        assert (refusal.code, event["member"]) == ("budget_exhausted", "uses_per_day")
        assert (event["kind"], event["outcome"]) == ("grant.create", "denied")

    @pytest.mark.parametrize("named", ["service:demo", "agent:demo-service"])
    def test_nobody_grants_to_itself(self, built: BuiltCell, named: str) -> None:
        credential = built.service
        if named.startswith("agent:"):
            credential = _agent_with_a_key(built, named)
        body = built.grant_body(SSN, agent=named)
        refusal, event = denied(built, lambda: built.run(create_grant, body, by=credential))
        assert refusal.code == "self_approval"
        assert event["verb"] == "grant.create"
        plain = built.grant_body(SSN, agent=named.partition(":")[2])
        if named.startswith("agent:"):
            denied(built, lambda: built.run(create_grant, plain, by=credential))


def _agent_with_a_key(built: BuiltCell, name: str) -> str:
    """An agent that holds a key and may create grants, which no verb makes."""
    _, credential = built.principal("service", "x", permissions=["grant:create:support"])
    principals = built.cell.store.tables.principals
    with built.cell.store.engine.begin() as connection:
        renamed = principals.update().where(principals.c.name == "service:x")
        connection.execute(renamed.values(name=name, kind="agent"))
    return credential


def test_revoking_what_one_may_see_but_not_revoke(built: BuiltCell) -> None:
    _, auditor = built.principal("operator", "auditor", roles=["auditor"])
    grant = grant_id(built.grant(SSN))
    refusal, event = denied(built, lambda: built.run(revoke_grant, grant, ChangeBody(), by=auditor))
    assert (refusal.code, event["verb"]) == ("permission_denied", "grant.revoke")


class TestUnauthenticated:
    """Nobody we know: counted, and the counts are one event a minute."""

    def headers(self, built: BuiltCell) -> dict[str, tuple[str | None, str, str]]:
        """Header, code on a route for keys, code on a route for grants."""
        missing, invalid = "credential_missing", "credential_invalid"
        unknown_key = new_id("ck") + "_" + SECRET
        unknown_grant = new_id("gr").replace("gr_", "cg_") + "_" + SECRET
        wrong_secret = "_".join([*built.service.split("_")[:2], SECRET])
        wrong_grant = "_".join([*built.grant(SSN).split("_")[:2], SECRET])
        return {
            "none": (None, missing, missing),
            "empty": ("", missing, missing),
            "another scheme": ("Basic QWxhZGRpbg==", invalid, invalid),
            "no credential": ("Bearer ", invalid, invalid),
            "nonsense": ("Bearer nonsense", invalid, invalid),
            "a secret too long": (f"Bearer {built.service}0", invalid, invalid),
            "a megabyte": ("Bearer " + "x" * 1_000_000, invalid, invalid),
            "full-width digits": ("Bearer " + built.service.translate(_WIDE), invalid, invalid),
            "lower case": ("Bearer " + built.service.lower(), invalid, invalid),
            "an unknown key": (f"Bearer {unknown_key}", invalid, "grant_invalid"),
            "a wrong secret": (f"Bearer {wrong_secret}", invalid, "grant_invalid"),
            "an unknown grant": (f"Bearer {unknown_grant}", invalid, "grant_invalid"),
            "a wrong secret of a grant": (f"Bearer {wrong_grant}", invalid, "grant_invalid"),
            "the other kind": (f"Bearer {built.grant(SSN)}", invalid, ""),
        }

    @pytest.mark.parametrize("name", [name for name in CALLS if name not in NOBODY])
    def test_no_verb_serves_nobody(self, built: BuiltCell, name: str) -> None:
        call = CALLS[name]
        _, arguments = call.prepare(built)
        headers = self.headers(built)
        before = rows(built)
        counted: dict[str, int] = {}
        for header, by_key, by_grant in headers.values():
            expected = by_grant if name in BY_GRANT else by_key
            if name in ("read_grant", "read_approval") and header is not None and header[7:10] == "cg_":
                expected = by_grant
            if not expected:
                continue
            request = built.request("x")
            request = type(request)(header, request.origin)
            with pytest.raises(Unauthenticated) as refusal:
                perform(built.cell, lambda r=request: call.verb(built.cell, r, *arguments))  # type: ignore[misc]
            assert refusal.value.code == expected
            assert refusal.value.facts == {}
            counted[expected] = counted.get(expected, 0) + 1
        assert rows(built) == before
        first = built.next_number
        perform(built.cell, lambda: flush_failures(built.cell))
        perform(built.cell, lambda: flush_failures(built.cell))
        (event,) = built.events(first)
        assert (event["kind"], event["counts"], event["tenant"]) == ("unauthenticated", counted, "")

    def test_nothing_to_flush_is_no_event(self, built: BuiltCell) -> None:
        first = built.next_number
        perform(built.cell, lambda: flush_failures(built.cell))
        assert built.events(first) == []

    def test_counts_that_cannot_be_flushed_are_kept(self, built: BuiltCell) -> None:
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                built.run(tokenize, TokenizeBody(field=SSN, values=[VALUE]), by="nonsense")
        with built.cell.store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE re_audit RENAME TO gone")
        with pytest.raises(Unavailable, match="audit_unavailable"):
            perform(built.cell, lambda: flush_failures(built.cell))
        verb = flush_failures(built.cell)
        next(verb)
        verb.close()  # given up half-way, as when it is stale
        with built.cell.store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO re_audit")
        first = built.next_number
        perform(built.cell, lambda: flush_failures(built.cell))
        (event,) = built.events(first)
        assert event["counts"] == {"credential_invalid": 3}


_WIDE = {ord(str(digit)): chr(0xFF10 + digit) for digit in range(10)}


def test_a_refused_value_of_a_known_caller_is_no_event(built: BuiltCell) -> None:
    """Refused before the ledger: a metric, not an event."""
    before = rows(built)
    with pytest.raises(CoatcheckError, match="value_"):
        built.run(tokenize, TokenizeBody(field=SSN, values=["x"]))
    with pytest.raises(CoatcheckError, match="name_invalid"):
        built.run(create_principal, PrincipalBody("service", "NOT A NAME"), by=built.admin)
    assert rows(built) == before


def test_scope_lines_are_read_together(built: BuiltCell) -> None:
    scope = [
        ScopeEntry([SSN], ["mask"], ["plain"], mask="last4"),
        ScopeEntry([SSN], ["reveal"], ["plain"]),
    ]
    credential = built.grant(SSN, scope=scope)
    assert built.reveal(credential, SSN, "123-45-6789") is not None
