"""The keys of one message: derived as published, sealed with GCM, opened only with the commitment."""

from __future__ import annotations

import hashlib
import threading
import traceback

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.crypto.test_kdf import hkdf_expand
from vault.crypto import aead
from vault.crypto.aead import COMMITMENT_BYTES, IV_BYTES, TAG_BYTES, CommittingAead
from vault.errors import IntegrityError
from vault.secret import Secret

KEY = bytes(range(32))
SALT = bytes(range(32, 64))
CONTEXT = b"context"
PREFIX = b"prefix"
HEADER = len(PREFIX) + len(SALT) + COMMITMENT_BYTES


def aead_of(key: bytes = KEY, suite: bytes = b"\x01") -> CommittingAead:
    return CommittingAead(Secret(key), suite)


def sealed(one: CommittingAead, plaintext: bytes | Secret = b"value") -> tuple[bytes, bytes]:
    """Header, and ciphertext with its tag."""
    whole = one.seal(SALT, PREFIX, plaintext, CONTEXT)
    return whole[:HEADER], whole[HEADER:]


def refused(
    one: CommittingAead, header: bytes, ciphertext: bytes, salt: bytes = SALT, context: bytes = CONTEXT
) -> None:
    with pytest.raises(IntegrityError) as refusal:
        one.open(salt, header, ciphertext, context)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


keys = st.binary(min_size=32, max_size=32)


@given(keys, st.integers(0, 255), keys, st.binary(max_size=300))
def test_key_iv_and_commitment_are_those_of_hkdf_in_that_order(
    key: bytes, suite: int, salt: bytes, context: bytes
) -> None:
    """HKDF-Expand is written out in the package: here from HMAC alone, and from a library."""
    info = b"coatcheck/ve1/" + bytes((suite,)) + salt + hashlib.sha256(context).digest()
    okm = hkdf_expand(key, info, 32 + IV_BYTES + COMMITMENT_BYTES)
    assert okm == HKDFExpand(SHA256(), 76, info).derive(key)
    header = PREFIX + salt + okm[44:]
    expected = header + AESGCM(okm[:32]).encrypt(okm[32:44], b"value", header + context)
    assert aead_of(key, bytes((suite,))).seal(salt, PREFIX, b"value", context) == expected


@pytest.mark.parametrize("plaintext", [b"", b"v", b"value" * 1000])
def test_there_and_back(plaintext: bytes) -> None:
    header, ciphertext = sealed(aead_of(), plaintext)
    assert header[:-COMMITMENT_BYTES] == PREFIX + SALT
    assert len(ciphertext) == len(plaintext) + TAG_BYTES
    assert aead_of().open(SALT, header, ciphertext, CONTEXT) == plaintext
    assert sealed(aead_of(), Secret(plaintext)) == (header, ciphertext)


def test_what_differs_is_refused() -> None:
    one, other = aead_of(), aead_of(key=KEY[::-1])
    header, ciphertext = sealed(one)
    foreign = header[:-COMMITMENT_BYTES] + sealed(other)[0][-COMMITMENT_BYTES:]
    refused(one, foreign, ciphertext)
    refused(one, header[:-1], ciphertext)
    refused(one, b"", ciphertext)
    refused(one, b"P" + header[1:], ciphertext)
    refused(one, header, ciphertext, context=b"contexs")
    refused(one, header, ciphertext, salt=bytes(32))
    refused(one, header, ciphertext[:-1])
    refused(one, header, ciphertext[: TAG_BYTES - 1])
    refused(one, header, b"")
    refused(other, foreign, ciphertext)
    refused(other, header, ciphertext)
    refused(aead_of(suite=b"\x02"), header, ciphertext)


def test_the_commitment_is_looked_at_before_the_ciphertext(monkeypatch: pytest.MonkeyPatch) -> None:
    one = aead_of()
    header, ciphertext = sealed(one)

    class Unreachable:
        def __init__(self, key: bytes) -> None:
            raise AssertionError("GCM ran on a message that commits to other keys")

    monkeypatch.setattr(aead, "AESGCM", Unreachable)
    refused(one, header[:-COMMITMENT_BYTES] + bytes(COMMITMENT_BYTES), ciphertext)
    with pytest.raises(AssertionError, match="GCM ran"):
        one.open(SALT, header, ciphertext, CONTEXT)


def test_key_suite_salt_and_context_matter() -> None:
    commitments = {
        aead_of(key, suite).seal(salt, PREFIX, b"", context)[HEADER - COMMITMENT_BYTES : HEADER]
        for key in (KEY, KEY[::-1])
        for suite in (b"\x01", b"\x02")
        for salt in (SALT, SALT[::-1], SALT[:-1] + b"\0")
        for context in (CONTEXT, b"")
    }
    assert len(commitments) == 24


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_message_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        aead_of(key=bytes(size))


def test_a_wiped_key_does_nothing_more() -> None:
    """What is worked into the hashes outlives the Secret; it is not used once the Secret is gone."""
    key = Secret(KEY)
    one = CommittingAead(key, b"\x01")
    header, ciphertext = sealed(one)
    key.wipe()
    with pytest.raises(ValueError, match="wiped"):
        sealed(one)
    with pytest.raises(ValueError, match="wiped"):
        one.open(SALT, header, ciphertext, CONTEXT)
    with pytest.raises(ValueError, match=r"wiped|32 bytes"):
        CommittingAead(key, b"\x01")


def test_no_frame_of_a_failure_holds_a_key() -> None:
    """Neither the long-lived key nor the message's own, in what a traceback with locals would show."""
    one = aead_of()
    header, ciphertext = sealed(one)
    info = b"coatcheck/ve1/\x01" + SALT + hashlib.sha256(CONTEXT).digest()
    own = hkdf_expand(KEY, info, 32)

    def locals_shown(failure: BaseException) -> str:
        frames = traceback.TracebackException.from_exception(failure, capture_locals=True).stack
        return repr([frame.locals for frame in frames if frame.filename == aead.__file__])

    with pytest.raises(IntegrityError) as damaged:
        one.open(SALT, header, ciphertext[:-1], CONTEXT)
    with pytest.raises(TypeError) as misused:
        one.seal(SALT, PREFIX, "no bytes", CONTEXT)  # type: ignore[arg-type]
    for failure in (damaged.value, misused.value):
        shown = locals_shown(failure)
        assert "commitment" in shown  # the frame is there, with its locals
        for secret in (KEY, own):
            assert repr(secret)[2:-1].replace("\\", "\\\\") not in shown  # a repr of a repr
    assert repr(KEY)[2:-1] not in repr(one)


def test_threads_share_one() -> None:
    one = aead_of()
    found: set[bytes] = set()

    def run() -> None:
        found.update(one.seal(SALT, PREFIX, b"value", CONTEXT) for _ in range(500))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {aead_of().seal(SALT, PREFIX, b"value", CONTEXT)}
