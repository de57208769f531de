"""From a header to whoever presents it: one spelling, no hint about what was wrong, nothing kept too long."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import SSN, BuiltCell, development_cell
from vault.authn.identities import Caller, Identities, in_networks, parse_authorization
from vault.clock import SECOND, FixedClock, format_time
from vault.crypto.mac import secret_digest
from vault.errors import Stale, Unauthenticated
from vault.services.cell import Origin
from vault.services.gate import Request, authenticate, holder, host_caller, recognise
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.identities import (
    list_principals,
    remove_principal,
    whoami,
)
from vault.services.listing import Page
from vault.services.service_keys import (
    KeyBody,
    list_keys,
    revoke_key,
)
from vault.services.tokenize import TokenizeBody, tokenize

START = 1_795_000_000 * SECOND
BODY = "0" * 26
SECRET = "a" * 43
AGAIN: Any = object()


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path, FixedClock(START)) as made:
        yield made


class TestParsing:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
    @pytest.mark.parametrize(("kind", "prefix"), [("ck", "ck_"), ("cg", "gr_")])
    def test_a_credential_names_what_it_is_of(self, scheme: str, kind: str, prefix: str) -> None:
        found = parse_authorization(f"{scheme} {kind}_{BODY}_{SECRET}")
        assert (found.kind, found.id, found.digest) == (kind, prefix + BODY, secret_digest(SECRET))

    @pytest.mark.parametrize("header", [None, ""])
    def test_none(self, header: str | None) -> None:
        with pytest.raises(Unauthenticated, match="credential_missing"):
            parse_authorization(header)

    @pytest.mark.parametrize(
        "header",
        [
            "Bearer",
            "Bearer ",
            f"Bearer  ck_{BODY}_{SECRET}",
            f" Bearer ck_{BODY}_{SECRET}",
            f"Bearer ck_{BODY}_{SECRET} ",
            f"Bearer\tck_{BODY}_{SECRET}",
            f"Basic ck_{BODY}_{SECRET}",
            f"Grant gr_{BODY}",
            f"ck_{BODY}_{SECRET}",
            f"Bearer gr_{BODY}_{SECRET}",
            f"Bearer CK_{BODY}_{SECRET}",
            f"Bearer ck_{BODY}",
            f"Bearer ck_{BODY}_",
            f"Bearer ck__{SECRET}",
            f"Bearer ck_{BODY}_{SECRET[:-1]}",
            f"Bearer ck_{BODY}_{SECRET}a",
            f"Bearer ck_{BODY}_{SECRET[:-1]}-",
            f"Bearer ck_{BODY}_{SECRET[:-1]}\n",
            f"Bearer ck_{BODY}_{SECRET[:-1]}\x00",
            f"Bearer ck_{BODY}_{SECRET[:-1]}ａ",
            f"Bearer ck_{BODY[:-1]}_{SECRET}",
            f"Bearer ck_8{BODY[1:]}_{SECRET}",
            f"Bearer ck_{BODY[:-1]}I_{SECRET}",
            f"Bearer ck_{BODY[:-1]}a_{SECRET}",
            f"Bearer ck_{BODY}_{SECRET},ck_{BODY}_{SECRET}",
            "Bearer " + "_" * 500,
            "Bearer " + "x" * 1_000_000,
        ],
    )
    def test_anything_else(self, header: str) -> None:
        with pytest.raises(Unauthenticated) as refusal:
            parse_authorization(header)
        assert (refusal.value.code, refusal.value.facts) == ("credential_invalid", {})

    def test_the_secret_is_gone(self) -> None:
        found = parse_authorization(f"Bearer ck_{BODY}_{SECRET}")
        assert SECRET not in f"{found!r} {found}"
        assert repr(secret_digest(SECRET)) not in repr(found)


class TestKeys:
    def test_whoever_presents_one(self, built: BuiltCell) -> None:
        shown = built.run(whoami)
        assert (shown.name, shown.tenant, shown.region) == ("service:demo", "main", "eu")
        assert shown.key == "_".join(built.service.split("_")[:2])
        assert shown.expires is None

    def test_it_expires_at_the_moment_itself(self, built: BuiltCell) -> None:
        clock = built.cell.clock
        assert isinstance(clock, FixedClock)
        credential = built.key(built.service_id, KeyBody(format_time(START + 60 * SECOND)))
        clock.at = START + 60 * SECOND - 1
        built.run(tokenize, TokenizeBody(field=SSN, values=["123-45-6789"]), by=credential)
        assert built.run(whoami, by=credential).expires == format_time(START + 60 * SECOND)
        clock.at += 1
        with pytest.raises(Unauthenticated, match="credential_invalid"):
            built.run(tokenize, TokenizeBody(field=SSN, values=["123-45-6789"]), by=credential)

    def test_it_expires_by_the_ledger_s_clock_too(self, built: BuiltCell) -> None:
        """A request prepared in time and decided too late is stale, and then refused."""
        clock = built.cell.clock
        assert isinstance(clock, FixedClock)
        credential = built.key(built.service_id, KeyBody(format_time(START + 60 * SECOND)))
        verb = tokenize(built.cell, built.request(credential), TokenizeBody(field=SSN, values=[None]))
        command = next(verb)
        clock.at = START + 60 * SECOND
        with pytest.raises(Stale):
            built.cell.committer.execute(command)

    @pytest.mark.parametrize("how", ["key", "principal"])
    @pytest.mark.parametrize("verb", ["whoami", "list_keys", "list_principals", "tokenize"])
    def test_a_revoked_one_is_refused_at_once(self, built: BuiltCell, how: str, verb: str) -> None:
        """Also by verbs that only read, and although it was remembered a moment ago."""
        admin_id, admin = built.principal("operator", "second", roles=["admin"])
        calls: dict[str, Callable[[], object]] = {
            "whoami": lambda: built.run(whoami, by=admin),
            "list_keys": lambda: built.run(list_keys, built.service_id, by=admin),
            "list_principals": lambda: built.run(list_principals, Page(), by=admin),
            "tokenize": lambda: built.token(SSN, "123-45-6789"),
        }
        call = calls[verb]
        call()
        if how == "key":
            credential = built.service if verb == "tokenize" else admin
            built.run(revoke_key, "_".join(credential.split("_")[:2]), by=built.admin)
        else:
            built.run(remove_principal, built.service_id if verb == "tokenize" else admin_id, by=built.admin)
        with pytest.raises(Unauthenticated, match="credential_invalid"):
            call()

    def test_a_grant_s_credential_is_no_key_and_the_other_way_round(self, built: BuiltCell) -> None:
        identities = Identities(built.cell.store, built.cell.clock)
        key, grant = (parse_authorization(f"Bearer {text}") for text in (built.service, built.grant(SSN)))
        assert isinstance(identities.caller(key), Caller)
        assert identities.holder(grant).tenant == "main"
        with pytest.raises(Unauthenticated, match="credential_invalid"):
            identities.caller(grant)
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            identities.holder(key)

    def test_a_holder_is_known_in_whatever_state_the_grant_is(self, built: BuiltCell) -> None:
        credential = built.grant(SSN)
        built.run(revoke_grant, "gr_" + credential.split("_")[1], ChangeBody())
        identities = Identities(built.cell.store, built.cell.clock)
        assert identities.holder(parse_authorization(f"Bearer {credential}")).tenant == "main"

    def test_unknown_ids_are_not_remembered(self, built: BuiltCell) -> None:
        """Whoever invents ids fills no cache, and a key made later is found."""
        identities = Identities(built.cell.store, built.cell.clock)
        for number in range(50):
            text = f"{number:026d}"
            for kind, find in (("ck", identities.caller), ("cg", identities.holder)):
                with pytest.raises(Unauthenticated):
                    find(parse_authorization(f"Bearer {kind}_{text}_{SECRET}"))
        assert len(identities._keys) == len(identities._grants) == 0

    def test_the_host_needs_none(self, built: BuiltCell) -> None:
        caller = authenticate(built.cell, built.request())
        assert (caller.actor, caller.api_key) == (host_caller(os.getuid(), "main").actor, "")


@pytest.mark.parametrize(
    ("networks", "address", "inside"),
    [
        ("[]", "192.0.2.1", True),
        ("[]", "", True),
        ('["192.0.2.0/24"]', "192.0.2.255", True),
        ('["192.0.2.0/24"]', "192.0.3.0", False),
        ('["198.51.100.0/24", "192.0.2.0/24"]', "192.0.2.1", True),
        ('["2001:db8::/32"]', "2001:db8:ffff::1", True),
        ('["2001:db8::/32"]', "2001:db9::1", False),
        ('["0.0.0.0/0"]', "2001:db8::1", False),
        ('["0.0.0.0/0"]', "::ffff:192.0.2.1", False),
        ('["192.0.2.0/24"]', "192.0.2.1 ", False),
        ('["192.0.2.0/24"]', "192.0.2.01", False),
        ('["192.0.2.0/24"]', "１９２.0.2.1", False),
        ('["192.0.2.0/24"]', "host:0", False),
        ('["192.0.2.0/24"]', "", False),
    ],
)
def test_networks(networks: str, address: str, inside: bool) -> None:
    assert in_networks(networks, address) is inside


class TestRecognised:
    """Who was found before the body was read serves the verb's first look, and no other."""

    @staticmethod
    def request(built: BuiltCell) -> Request:
        made = Request(f"Bearer {built.service}", Origin("192.0.2.7", "req_test"))
        recognise(built.cell, made, ("key",))
        return made

    def test_once(self, built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
        request = self.request(built)
        found = request.recognised
        built.cell.identities.forget()
        monkeypatch.setattr(built.cell.identities, "caller", lambda *_, **__: AGAIN)
        assert authenticate(built.cell, request) is found
        assert authenticate(built.cell, request) is AGAIN

    def test_never_where_the_verb_only_reads(self, built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
        request = self.request(built)
        monkeypatch.setattr(built.cell.identities, "caller", lambda *_, **__: AGAIN)
        assert authenticate(built.cell, request, fresh=True) is AGAIN
        assert authenticate(built.cell, request) is AGAIN

    def test_a_key_is_no_holder(self, built: BuiltCell) -> None:
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            holder(built.cell, self.request(built))

    def test_it_is_not_shown(self, built: BuiltCell) -> None:
        assert built.service not in repr(self.request(built))
        assert "Caller" not in repr(self.request(built))
