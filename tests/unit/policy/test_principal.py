"""Principals: names by kind, what they hold, and ceilings that give nothing unless they say so."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.policy.grants import proposal
from vault.errors import Denied
from vault.identifiers import PrincipalId
from vault.policy.grant import check_ceiling
from vault.policy.permissions import ROLES
from vault.policy.principal import Ceiling, Kind, Principal, full_name


@pytest.mark.parametrize("kind", Kind)
def test_both_spellings_give_the_full_name(kind: Kind) -> None:
    assert full_name(kind, "bot-1") == full_name(kind, f"{kind.value}:bot-1") == f"{kind.value}:bot-1"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "agent:",
        ":bot",
        "service:bot",
        "agent:agent:bot",
        "Bot",
        "bo t",
        "bot\n",
        "bot\0",
        "-bot",
        "４",
        "a" * 64,
    ],
)
def test_what_is_no_name_of_an_agent(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        full_name(Kind.AGENT, name)


def test_what_a_principal_holds() -> None:
    principal = Principal(
        PrincipalId("pr_1"), "main", Kind.SERVICE, "service:app", ("auditor",), ("tokenize:a",), None, 1
    )
    assert principal.held == ROLES["auditor"] | {"tokenize:a"}


def test_a_ceiling_that_says_nothing_gives_nothing() -> None:
    with pytest.raises(Denied) as refusal:
        check_ceiling(proposal(), Ceiling(), 0)
    assert (refusal.value.code, refusal.value.facts) == ("delegation_denied", {"member": "purpose"})
    assert msgspec.json.encode(Ceiling()) == b"{}"


def test_a_ceiling_takes_no_member_it_does_not_know() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"fields":["a"],"everything":true}', type=Ceiling)


def test_a_day_has_an_end() -> None:
    """A number that a reader of the audit log would round is not taken (RFC 8785, 3.2.2.3)."""
    assert msgspec.json.decode(b'{"uses_per_day":1000000000000}', type=Ceiling).uses_per_day == 10**12
    for number in (b"1000000000001", b"9007199254740993", b"99999999999999999999999"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(b'{"uses_per_day":' + number + b"}", type=Ceiling)
