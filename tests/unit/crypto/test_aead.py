"""The keys of one message: derived as published, sealed with GCM, opened only with the commitment."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.unit.crypto.test_kdf import hkdf_expand
from vault.crypto.aead import COMMITMENT_BYTES, IV_BYTES, TAG_BYTES, MessageKeys
from vault.errors import IntegrityError
from vault.secret import Secret

KEY = bytes(range(32))
INFO = b"\x01" + bytes(range(32)) + hashlib.sha256(b"context").digest()


def keys(key: bytes = KEY, info: bytes = INFO) -> MessageKeys:
    return MessageKeys(Secret(key), info)


def refused(one: MessageKeys, ciphertext: bytes, associated: bytes, commitment: bytes) -> None:
    with pytest.raises(IntegrityError) as refusal:
        one.open(ciphertext, associated, commitment)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


def test_key_iv_and_commitment_are_derived_in_that_order() -> None:
    okm = hkdf_expand(KEY, b"coatcheck/ve1/" + INFO, 32 + IV_BYTES + COMMITMENT_BYTES)
    one = keys()
    assert one.commitment == okm[44:]
    assert one.seal(b"value", b"associated") == AESGCM(okm[:32]).encrypt(okm[32:44], b"value", b"associated")


@pytest.mark.parametrize("plaintext", [b"", b"v", b"value" * 1000])
def test_there_and_back(plaintext: bytes) -> None:
    sealed = keys().seal(plaintext, b"associated")
    assert len(sealed) == len(plaintext) + TAG_BYTES
    assert keys().open(sealed, b"associated", keys().commitment) == plaintext
    assert keys().seal(Secret(plaintext), b"associated") == sealed


def test_what_differs_is_refused() -> None:
    one, other = keys(), keys(key=KEY[::-1])
    sealed = one.seal(b"value", b"associated")
    refused(one, sealed, b"associated", other.commitment)
    refused(one, sealed, b"associated", one.commitment[:-1])
    refused(one, sealed, b"associated", b"")
    refused(one, sealed, b"associatee", one.commitment)
    refused(one, sealed[:-1], b"associated", one.commitment)
    refused(one, sealed[: TAG_BYTES - 1], b"associated", one.commitment)
    refused(one, b"", b"associated", one.commitment)
    refused(other, sealed, b"associated", other.commitment)
    refused(other, sealed, b"associated", one.commitment)


def test_the_commitment_is_looked_at_before_the_ciphertext(monkeypatch: pytest.MonkeyPatch) -> None:
    one = keys()
    sealed = one.seal(b"value", b"")

    class Unreachable:
        def decrypt(self, *_: object) -> bytes:
            raise AssertionError("GCM ran on a message that commits to other keys")

    monkeypatch.setattr(one, "_aead", Unreachable())
    refused(one, sealed, b"", bytes(32))
    with pytest.raises(AssertionError, match="GCM ran"):
        one.open(sealed, b"", one.commitment)


def test_key_and_info_matter() -> None:
    commitments = {
        keys(key, info).commitment for key in (KEY, KEY[::-1]) for info in (INFO, INFO[:-1] + b"\0", b"")
    }
    assert len(commitments) == 6


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_message_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        keys(key=bytes(size))
