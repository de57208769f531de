"""Sealing and opening: a fresh salt each time, and one error for every failure."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.crypto.test_kdf import hkdf_expand
from tests.unit.echo import shown
from vault.context import EncryptionContext, Use
from vault.envelope.message import Message, parse
from vault.envelope.seal import SealingKey, open_many, open_message, open_secret, seal, seal_many
from vault.errors import IntegrityError
from vault.identifiers import NIL, KeyId
from vault.secret import Secret

RAW = bytes(range(200, 232))
KEY = SealingKey(KeyId(b"k" * 16), 3, Secret(RAW))
CONTEXT = EncryptionContext(Use.VALUE, "main", "eu", "customer.name")
PLAINTEXT = b"Maria Lopez, Calle Mayor 1"


def key(id_: bytes = b"k" * 16, version: int = 3, raw: bytes = RAW) -> SealingKey:
    return SealingKey(KeyId(id_), version, Secret(raw))


@given(st.binary(max_size=300))
def test_there_and_back(plaintext: bytes) -> None:
    message = seal(KEY, CONTEXT, plaintext)
    assert len(message) == 102 + len(plaintext)
    assert open_message(key(), CONTEXT, message) == plaintext
    assert open_message(KEY, CONTEXT, parse(message)) == plaintext
    assert open_secret(KEY, CONTEXT, message).expose() == plaintext


def test_a_secret_is_sealed_as_its_bytes() -> None:
    assert open_message(KEY, CONTEXT, seal(KEY, CONTEXT, Secret(RAW))) == RAW


def test_every_message_has_a_salt_of_its_own() -> None:
    messages = [seal(KEY, CONTEXT, PLAINTEXT) for _ in range(500)]
    assert len({parse(message).salt for message in messages}) == 500
    assert len({parse(message).commitment for message in messages}) == 500
    assert len({parse(message).ciphertext[:16] for message in messages}) == 500


def test_the_salt_is_drawn_from_the_system_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return b"s" * size

    monkeypatch.setattr(os, "urandom", urandom)
    assert parse(seal(KEY, CONTEXT, PLAINTEXT)).salt == b"s" * 32
    assert asked == [32]


@pytest.mark.parametrize(
    "other",
    [key(id_=NIL), key(id_=b"k" * 15 + b"l"), key(version=2), key(version=4), key(raw=RAW[::-1])],
    ids=["nil id", "another id", "version before", "version after", "another key"],
)
def test_another_key_opens_nothing(other: SealingKey) -> None:
    message = seal(KEY, CONTEXT, PLAINTEXT)
    with pytest.raises(IntegrityError) as refusal:
        open_message(other, CONTEXT, message)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})


def test_a_renamed_key_opens_nothing_even_with_the_header_rewritten() -> None:
    """Id and version are bound as associated data, not only compared."""
    message = bytearray(seal(KEY, CONTEXT, PLAINTEXT))
    message[2:18] = NIL
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        open_message(key(id_=NIL), CONTEXT, bytes(message))
    message = bytearray(seal(KEY, CONTEXT, PLAINTEXT))
    message[21] = 4
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        open_message(key(version=4), CONTEXT, bytes(message))


@pytest.mark.parametrize(("version", "suite"), [(0, 1), (2, 1), (255, 1), (1, 0), (1, 2), (1, 255)])
def test_another_version_or_suite_is_refused_even_if_all_else_is_made_for_it(
    version: int, suite: int
) -> None:
    """Whoever holds the key can make such a message; it must not be read as if it were one of ours."""
    encoded = CONTEXT.encode()

    def made(version: int, suite: int) -> bytes:
        info = b"coatcheck/ve1/" + bytes((suite,)) + bytes(32) + hashlib.sha256(encoded).digest()
        okm = hkdf_expand(RAW, info, 76)
        header = bytes((version, suite)) + KEY.id + (3).to_bytes(4, "big") + bytes(32) + okm[44:]
        return header + AESGCM(okm[:32]).encrypt(okm[32:44], PLAINTEXT, header + encoded)

    assert open_message(KEY, CONTEXT, made(1, 1)) == PLAINTEXT
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        open_message(KEY, CONTEXT, made(version, suite))


def test_no_failure_says_more_than_another() -> None:
    message = seal(KEY, CONTEXT, PLAINTEXT)
    said = set()
    for broken in (
        b"",
        message[:-1],
        b"\0" + message[1:],
        message[:60] + b"\0\0" + message[62:],
        message + b"x",
    ):
        with pytest.raises(IntegrityError) as refusal:
            open_message(KEY, CONTEXT, broken)
        said.add(str(refusal.value) + repr(refusal.value.args) + repr(refusal.value.facts))
        assert PLAINTEXT.decode() not in shown(refusal.value)
    assert len(said) == 1


def test_a_message_taken_apart_elsewhere_is_not_trusted_either() -> None:
    good = parse(seal(KEY, CONTEXT, PLAINTEXT))
    changes: list[dict[str, Any]] = [
        {"suite": 2},
        {"key_id": KeyId(NIL)},
        {"key_version": 4},
        {"salt": bytes(32)},
        {"commitment": bytes(32)},
        {"commitment": b""},
        {"ciphertext": b""},
        {"ciphertext": good.ciphertext[:15]},
        {"header": b""},
        {"header": good.header[:-1]},
    ]
    parts = good._asdict()
    for change in changes:
        with pytest.raises(IntegrityError, match="ciphertext_invalid"):
            open_message(KEY, CONTEXT, Message(**{**parts, **change}))
    assert open_message(KEY, CONTEXT, Message(**parts)) == PLAINTEXT


@pytest.mark.parametrize(
    "parts",
    [
        {"id": KeyId(b"k" * 15)},
        {"id": KeyId(b"k" * 17)},
        {"id": KeyId(b"")},
        {"version": -1},
        {"version": 2**32},
        {"key": Secret(bytes(31))},
        {"key": Secret(bytes(64))},
        {"key": Secret(b"")},
        {"suite": 0},
        {"suite": 2},
        {"suite": 256},
    ],
)
def test_a_key_under_which_nothing_could_be_opened_again_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a key has"):
        SealingKey(**{"id": KEY.id, "version": 3, "key": Secret(RAW), **parts})


@pytest.mark.parametrize("version", [0, 1, 2**32 - 1])
def test_the_ends_of_what_a_version_can_be(version: int) -> None:
    sealed = seal(key(version=version), CONTEXT, PLAINTEXT)
    assert parse(sealed).key_version == version
    assert open_message(key(version=version), CONTEXT, sealed) == PLAINTEXT


def test_a_sealing_key_shows_nothing_of_its_bytes() -> None:
    assert "<Secret>" in repr(KEY)
    assert repr(RAW)[2:-1] not in repr(KEY)


# many at once

fields = st.sampled_from([None, "", "customer.name", "größe"])
records = st.none() | st.binary(max_size=20)
contexts = st.builds(
    EncryptionContext,
    st.sampled_from(Use),
    st.sampled_from(["", "main", "other"]),
    st.sampled_from(["", "eu"]),
    fields,
    records,
)
batches = st.lists(st.tuples(contexts, st.binary(max_size=40)), max_size=12)


def pinned(seed: int) -> Callable[[int], bytes]:
    """In place of `os.urandom`: the same bytes however they are asked for."""
    return random.Random(seed).randbytes


@given(batches, st.integers(0, 9))
def test_many_are_as_if_sealed_one_by_one(batch: list[tuple[EncryptionContext, bytes]], seed: int) -> None:
    places, plaintexts = [place for place, _ in batch], [plaintext for _, plaintext in batch]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", pinned(seed))
        together = seal_many(KEY, places, plaintexts)
        patch.setattr(os, "urandom", pinned(seed))
        singly = [seal(KEY, place, plaintext) for place, plaintext in batch]
    assert together == singly
    assert open_many(KEY, places, together) == plaintexts
    assert [open_message(KEY, *one) for one in zip(places, together, strict=True)] == plaintexts


def test_many_take_secrets_and_messages_that_are_taken_apart() -> None:
    messages = seal_many(KEY, (CONTEXT, CONTEXT), (Secret(b"one"), b"two"))
    assert open_many(KEY, (CONTEXT, CONTEXT), [parse(messages[0]), messages[1]]) == [b"one", b"two"]
    assert (seal_many(KEY, [], []), open_many(KEY, [], [])) == ([], [])


def test_the_salts_of_many_are_drawn_at_once_and_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, drawn = [], os.urandom

    def urandom(size: int) -> bytes:
        asked.append(size)
        return drawn(size)

    monkeypatch.setattr(os, "urandom", urandom)
    messages = seal_many(KEY, [CONTEXT] * 3000, [PLAINTEXT] * 3000)
    assert asked == [32 * 3000]
    assert len({parse(message).salt for message in messages}) == 3000
    assert len({parse(message).commitment for message in messages}) == 3000


def test_threads_share_no_salt() -> None:
    found: list[bytes] = []

    def run() -> None:
        for size in (1, 2, 100, 1, 400):
            found.extend(message[22:54] for message in seal_many(KEY, [CONTEXT] * size, [b""] * size))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == len(found) == 8 * 504


def test_a_process_and_its_fork_share_no_salt() -> None:
    seal_many(KEY, [CONTEXT] * 5, [b""] * 5)  # whatever were kept would be kept now
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no test may go on here, whatever happens
        try:
            os.write(writing, b"".join(m[22:54] for m in seal_many(KEY, [CONTEXT] * 9, [b""] * 9)))
        finally:
            os._exit(0)
    os.close(writing)
    theirs = os.read(reading, 4096)
    os.close(reading)
    os.waitpid(child, 0)
    ours = b"".join(message[22:54] for message in seal_many(KEY, [CONTEXT] * 9, [b""] * 9))
    salts = [both[at : at + 32] for both in (ours, theirs) for at in range(0, len(both), 32)]
    assert len(set(salts)) == len(salts) == 18


@pytest.mark.parametrize(("places", "values"), [(0, 1), (1, 0), (2, 1), (1, 2), (3, 5)])
def test_a_context_for_each(places: int, values: int) -> None:
    with pytest.raises(ValueError, match="zip"):
        seal_many(KEY, [CONTEXT] * places, [PLAINTEXT] * values)
    with pytest.raises(ValueError, match="zip"):
        open_many(KEY, [CONTEXT] * places, [seal(KEY, CONTEXT, PLAINTEXT)] * values)


def test_of_many_all_open_or_none() -> None:
    places = [EncryptionContext(Use.CLAIM, "main", "eu", "customer.name", bytes((n,)) * 16) for n in range(4)]
    messages = seal_many(KEY, places, [PLAINTEXT] * 4)
    said = set()
    for broken in (
        [*messages[:3], messages[3][:-1]],
        [messages[0] + b"x", *messages[1:]],
        [messages[1], messages[0], *messages[2:]],
        [b"", *messages[1:]],
    ):
        with pytest.raises(IntegrityError) as refusal:
            open_many(KEY, places, broken)
        said.add(str(refusal.value) + repr(refusal.value.args) + repr(refusal.value.facts))
    assert len(said) == 1


def test_a_wiped_key_seals_and_opens_nothing() -> None:
    one = key()
    message = seal(one, CONTEXT, PLAINTEXT)
    one.key.wipe()
    with pytest.raises(ValueError, match="wiped"):
        seal(one, CONTEXT, PLAINTEXT)
    with pytest.raises(ValueError, match="wiped"):
        open_message(one, CONTEXT, message)
