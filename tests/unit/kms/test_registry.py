"""The registry of key stores: a scheme is known or refused, and nothing of the URI is echoed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vault.errors import Misconfigured
from vault.kms.provider import register
from vault.kms.registry import Provider, ProviderSettings, open_provider

SETTINGS = ProviderSettings("eu", Path(), None, None)


@pytest.mark.parametrize(
    "uri", ["", "local", "nothing:x", ":", ":x", "LOCAL:keys", "local:", "local://host/keys", "http://x/"]
)
def test_a_key_store_that_is_not_known_is_refused(uri: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        open_provider(uri, SETTINGS)
    assert refusal.value.code == "config_invalid"
    assert refusal.value.facts["setting"] == "kms"
    assert "nothing" not in str(refusal.value.facts)


def test_a_scheme_is_known_once_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("vault.kms.provider._OPENERS", {})

    class Nothing:
        destroy_means = "nothing"

    def opener(rest: str, settings: ProviderSettings) -> Provider:
        assert settings is SETTINGS
        opened.append(rest)
        return Nothing()  # type: ignore[return-value]

    register("test", opener)
    assert open_provider("test:a:b", SETTINGS).destroy_means == "nothing"
    assert opened == ["a:b"]
