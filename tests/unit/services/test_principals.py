"""Principals and their keys: what may be made, what is shown, and that a name is taken once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cells import NAME, SSN, BuiltCell
from tests.unit.services.calls import rows
from vault.clock import SECOND, format_time
from vault.crypto.mac import secret_digest
from vault.errors import BadInput, Conflict, Unknown
from vault.ledger.command import Command
from vault.policy.principal import Ceiling
from vault.services.identities import (
    PrincipalBody,
    create_principal,
    list_principals,
    remove_principal,
    whoami,
)
from vault.services.listing import Page
from vault.services.service_keys import (
    MAX_NETWORKS,
    KeyBody,
    create_key,
    list_keys,
    revoke_key,
)

NOBODY = "pr_" + "0" * 26


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("name_invalid", PrincipalBody("robot", "x")),
        ("name_invalid", PrincipalBody("", "x")),
        ("name_invalid", PrincipalBody("service", "")),
        ("name_invalid", PrincipalBody("service", "UPPER")),
        ("name_invalid", PrincipalBody("service", "operator:x")),
        ("name_invalid", PrincipalBody("service", "service:")),
        ("name_invalid", PrincipalBody("service", "x" * 64)),
        ("name_invalid", PrincipalBody("service", "x\n")),
        ("name_invalid", PrincipalBody("service", "ｘ")),
        ("name_invalid", PrincipalBody("service", "x\x00")),
        ("permission_unknown", PrincipalBody("service", "x", permissions=["everything"])),
        ("permission_unknown", PrincipalBody("service", "x", permissions=["tokenize:*"])),
        ("permission_unknown", PrincipalBody("service", "x", permissions=["tokenize:"])),
        ("permission_unknown", PrincipalBody("service", "x", permissions=["tokenize"])),
        ("permission_unknown", PrincipalBody("service", "x", permissions=["*"])),
        ("permission_unknown", PrincipalBody("service", "x", roles=["root"])),
        ("permission_unknown", PrincipalBody("agent", "x", roles=["admin"])),
        ("permission_unknown", PrincipalBody("agent", "x", permissions=["audit:read"])),
        ("permission_unknown", PrincipalBody("agent", "x", ceiling=Ceiling())),
        ("limit_invalid", PrincipalBody("service", "x", ceiling=Ceiling(ttl="soon"))),
        ("limit_invalid", PrincipalBody("service", "x", ceiling=Ceiling(ttl="P2Y"))),
        ("limit_invalid", PrincipalBody("service", "x", ceiling=Ceiling(uses=-1))),
        ("limit_invalid", PrincipalBody("service", "x", ceiling=Ceiling(uses=10**12 + 1))),
        ("limit_invalid", PrincipalBody("service", "x", ceiling=Ceiling(uses_per_day=-1))),
    ],
)
def test_what_makes_no_sense_is_refused(built: BuiltCell, code: str, body: PrincipalBody) -> None:
    before = rows(built)
    with pytest.raises(BadInput, match=code):
        built.run(create_principal, body, by=built.admin)
    assert rows(built) == before


def test_a_name_is_taken_once_while_its_holder_lives(built: BuiltCell) -> None:
    body = PrincipalBody("service", "twice")
    first = built.run(create_principal, body, by=built.admin)
    for name in ("twice", "service:twice"):
        with pytest.raises(Conflict, match="name_taken"):
            built.run(create_principal, PrincipalBody("service", name), by=built.admin)
    built.run(create_principal, PrincipalBody("operator", "twice"), by=built.admin)
    built.run(remove_principal, first.id, by=built.admin)
    second = built.run(create_principal, body, by=built.admin)
    assert second.id != first.id
    built.run(remove_principal, second.id, by=built.admin)
    built.run(create_principal, body, by=built.admin)


def test_a_name_is_taken_once_by_two_at_the_same_moment(built: BuiltCell) -> None:
    """Both prepared on a free name, and decided in one group."""
    body = PrincipalBody("service", "twice")
    verbs = [create_principal(built.cell, built.request(built.admin), body) for _ in range(3)]
    commands: list[Command] = [next(verb) for verb in verbs]
    done: list[Any] = []
    pending = [built.cell.committer.pending(command, done.extend) for command in commands]
    built.cell.committer.submit(pending)
    built.run(create_principal, PrincipalBody("service", "after"), by=built.admin)
    assert [getattr(one.outcome, "code", "made") for one in pending] == ["made", "name_taken", "name_taken"]


def test_a_key_is_shown_once_and_kept_as_a_digest(built: BuiltCell) -> None:
    answer = built.run(create_key, built.service_id, KeyBody(), by=built.admin)
    assert answer.credential is not None
    assert answer.credential.startswith(answer.id + "_")
    secret = answer.credential.rpartition("_")[2]
    table = rows(built)["re_api_keys"]
    assert secret not in str(rows(built))
    assert secret_digest(secret) in [row[2] for row in table]
    (listed,) = [
        key for key in built.run(list_keys, built.service_id, by=built.admin).items if key.id == answer.id
    ]
    assert (listed.credential, listed.revoked) == (None, False)


def test_keys_differ(built: BuiltCell) -> None:
    credentials = {built.key(built.service_id) for _ in range(20)}
    assert len({credential.rpartition("_")[2] for credential in credentials}) == 20


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("validity_invalid", KeyBody("tomorrow")),
        ("validity_invalid", KeyBody(format_time(0))),
        ("validity_invalid", KeyBody("2026-13-01T00:00:00Z")),
        ("limit_invalid", KeyBody(networks=["everywhere"])),
        ("limit_invalid", KeyBody(networks=["192.0.2.1/24"])),
        ("limit_invalid", KeyBody(networks=[""])),
        ("limit_invalid", KeyBody(networks=["192.0.2.0/33"])),
        ("limit_invalid", KeyBody(networks=["192.0.2.0/24"] * (MAX_NETWORKS + 1))),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(built: BuiltCell, code: str, body: KeyBody) -> None:
    before = rows(built)
    with pytest.raises(BadInput, match=code):
        built.run(create_key, built.service_id, body, by=built.admin)
    assert rows(built) == before


def test_agents_never_hold_keys(built: BuiltCell) -> None:
    with pytest.raises(BadInput, match="operation_unsupported"):
        built.run(create_key, built.agent_id, KeyBody(), by=built.admin)


def test_what_is_not_there(built: BuiltCell) -> None:
    before = rows(built)
    for name in (NOBODY, "", "pr_", "x", NOBODY.lower(), "ck_" + "0" * 26):
        with pytest.raises(Unknown):
            built.run(create_key, name, KeyBody(), by=built.admin)
        with pytest.raises(Unknown):
            built.run(remove_principal, name, by=built.admin)
    for name in ("ck_" + "0" * 26, "", "ck_", NOBODY):
        with pytest.raises(Unknown):
            built.run(revoke_key, name, by=built.admin)
    assert built.run(list_keys, NOBODY, by=built.admin).items == []
    assert rows(built) == before


def test_revoking_a_key_twice_is_once(built: BuiltCell) -> None:
    key = "_".join(built.key(built.service_id).split("_")[:2])
    assert built.run(revoke_key, key, by=built.admin).revoked
    before = rows(built)
    assert built.run(revoke_key, key, by=built.admin).revoked
    assert rows(built) == before


def test_removing_a_principal_twice(built: BuiltCell) -> None:
    built.run(remove_principal, built.service_id, by=built.admin)
    before = rows(built)
    with pytest.raises(Unknown):
        built.run(remove_principal, built.service_id, by=built.admin)
    with pytest.raises(Unknown):
        built.run(create_key, built.service_id, KeyBody(), by=built.admin)
    assert rows(built) == before
    assert "service:demo" not in [p.name for p in built.run(list_principals, Page(), by=built.admin).items]


def test_the_other_keys_of_a_principal_live_on(built: BuiltCell) -> None:
    first, second = built.key(built.service_id), built.key(built.service_id)
    built.run(revoke_key, "_".join(first.split("_")[:2]), by=built.admin)
    assert built.run(whoami, by=second).name == "service:demo"


def test_the_log_names_no_person_of_a_ceiling(built: BuiltCell) -> None:
    ceiling = Ceiling(fields=[NAME], subjects=["person-4711", "person-4712"])
    built.run(create_principal, PrincipalBody("service", "narrow", ceiling=ceiling), by=built.admin)
    event = built.events(kind="principal.create")[-1]
    assert event["ceiling"]["subjects"] == 2
    assert "4711" not in str(rows(built))


def test_key_expiry_is_kept(built: BuiltCell) -> None:
    expires = format_time(built.cell.clock.now() + 60 * SECOND)
    answer = built.run(create_key, built.service_id, KeyBody(expires, ["192.0.2.0/24"]), by=built.admin)
    assert (answer.expires, answer.networks) == (expires, ["192.0.2.0/24"])
    assert built.tokens(SSN, "123-45-6789")
