"""`[identities]`: what is taken, what is wrong, and what passkeys are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vault.authn.passkeys import Party
from vault.clock import SECOND
from vault.config import build
from vault.config.checking import risks
from vault.config.identities import IdentitySettings, sign_in_of, wrong_identities
from vault.config.profiles import Profile
from vault.errors import Misconfigured


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"admin": "anybody"}, "admin"),
        ({"session_idle": "PT1M"}, "session_idle"),
        ({"session_idle": "P1M"}, "session_idle"),
        ({"session_idle": "soon"}, "session_idle"),
        ({"session_longest": "P31D"}, "session_longest"),
        ({"mfa_max_age": "P2D"}, "mfa_max_age"),
        ({"mfa_max_age": "PT30S"}, "mfa_max_age"),
        ({"passkey_domain": "https://vault.example.org"}, "passkey_domain"),
        ({"passkey_domain": "Vault.example.org"}, "passkey_domain"),
        ({"passkey_origins": ["https://vault.example.org"]}, "passkey_origins"),
        ({"passkey_domain": "example.org", "passkey_origins": ["https://example.com"]}, "passkey_origins"),
        ({"passkey_domain": "example.org", "passkey_origins": ["https://notexample.org"]}, "passkey_origins"),
        ({"passkey_domain": "example.org", "passkey_origins": ["http://example.org"]}, "passkey_origins"),
        ({"passkey_domain": "example.org", "passkey_origins": ["https://example.org/x"]}, "passkey_origins"),
        ({"passkey_domain": "localhost", "passkey_origins": ["http://localhost:1"]}, "passkey_origins"),
    ],
)
def test_what_is_wrong(change: dict[str, Any], setting: str) -> None:
    assert [name for name, _ in wrong_identities(IdentitySettings(**change), strict=True)] == [setting]
    with pytest.raises(Misconfigured, match="config_invalid"):
        build({"identities": change}, {}, Path("."))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"admin": "operators", "session_idle": "PT5M", "session_longest": "P30D", "mfa_max_age": "P1D"},
        {"passkey_domain": "example.org"},
        {
            "passkey_domain": "example.org",
            "passkey_origins": ["https://a.example.org:8443", "https://example.org"],
        },
    ],
)
def test_what_is_not(change: dict[str, Any]) -> None:
    assert list(wrong_identities(IdentitySettings(**change), strict=True)) == []


def test_whom_passkeys_are_for() -> None:
    settings = IdentitySettings()
    assert sign_in_of(settings, 8700, development=False).party is None
    here = sign_in_of(settings, 8701, development=True).party
    assert here == Party("localhost", ("http://localhost:8701",))
    named = IdentitySettings(passkey_domain="vault.example.org", mfa_max_age="PT5M")
    made = sign_in_of(named, 1, development=True)
    assert made.party == Party("vault.example.org", ("https://vault.example.org",))
    assert made.fresh == 300 * SECOND


@pytest.mark.parametrize(("admin", "risky"), [("any", True), ("operators", False)])
def test_who_administers_is_a_risk_in_production(admin: str, risky: bool) -> None:
    config = build({"identities": {"admin": admin}}, {}, Path("."))
    assert ("identities.admin" in [problem.setting for problem in risks(config)]) is risky
    config = build({"mode": "development", "identities": {"admin": admin}}, {}, Path("."))
    assert "identities.admin" not in [problem.setting for problem in risks(config)]


@pytest.mark.parametrize(
    ("session", "expires", "credential"),
    [
        ("cs_1", "2026-11-23T12:00:01Z", "cs_1"),
        ("cs_1", "2026-11-23T12:00:00Z", "ck_1"),
        ("cs_1", "garbage", "ck_1"),
        ("cs_1", None, "cs_1"),
        (None, None, "ck_1"),
    ],
)
def test_a_session_goes_before_the_key_until_it_ends(
    session: str | None, expires: str | None, credential: str
) -> None:
    profile = Profile(key="ck_1", session=session, session_expires=expires)
    assert profile.credential(1_795_435_200 * SECOND) == credential
    assert repr(profile) == "<Profile>"
