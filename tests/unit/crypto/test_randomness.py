"""Keys and credentials come from the operating system, whole and unbiased."""

from __future__ import annotations

import os
import string
from collections import Counter

import pytest

from vault.crypto.randomness import CREDENTIAL_CHARACTERS, credential_secret, new_key
from vault.identifiers import format_id, split_credential


def test_a_key_is_what_the_system_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    monkeypatch.setattr(os, "urandom", urandom)
    assert new_key().expose() == bytes(range(32))
    assert asked == [32]


def test_keys_and_credentials_do_not_repeat() -> None:
    assert len({new_key().expose() for _ in range(1_000)}) == 1_000
    assert len({credential_secret() for _ in range(1_000)}) == 1_000


def test_a_credential_has_256_bits_and_the_form_that_is_parsed() -> None:
    secret = credential_secret()
    assert len(secret) == CREDENTIAL_CHARACTERS == 43
    assert 62**43 > 2**256
    assert split_credential("_".join(("ck", format_id("ck", bytes(16))[3:], secret)))[2] == secret


def test_no_character_of_a_credential_is_favoured() -> None:
    """Taking a byte modulo 62 would give the first eight characters a quarter more than the rest."""
    drawn = Counter("".join(credential_secret() for _ in range(5_000)))
    assert set(drawn) == set(string.ascii_letters + string.digits)
    mean = 5_000 * 43 / 62
    # Each count has a standard deviation under 60; 8 of them for each of 62 leaves less than 1 in 10^12.
    assert all(abs(count - mean) < 480 for count in drawn.values())
