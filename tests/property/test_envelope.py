"""Sealed bytes open in their full context only (P3), commit to it and to the key (P4), take no damage (P6).

COATCHECK_FULL=1 tries more forgeries.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.unit.crypto.test_kdf import hkdf_expand
from tests.unit.envelope.damage import damaged, flips
from tests.unit.envelope.ghash import Role, collide, inverse, multiply, power, raw_tag
from vault.context import EncryptionContext, Use
from vault.crypto import aead
from vault.crypto.passwords import Argon2Parameters
from vault.envelope.message import HEADER_BYTES, from_text, to_text
from vault.envelope.seal import SealingKey, open_many, open_message, seal, seal_many
from vault.errors import CoatcheckError, IntegrityError
from vault.identifiers import KeyId
from vault.keyring.hierarchy import (
    Purpose,
    make_epoch,
    new_data_key,
    new_field_key,
    open_data_key,
    open_field_key,
)
from vault.kms import local
from vault.kms.halves import HalfStores
from vault.kms.registry import ProviderSettings, open_provider
from vault.secret import Secret
from vault.store.custody import Slot

FULL = os.environ.get("COATCHECK_FULL") == "1"
FORGERIES = 200 if FULL else 25

KEY = SealingKey(KeyId(b"k" * 16), 1, Secret(bytes(range(32))))
Members = tuple[Use, str, str, str | None, bytes | None]


def opens(key: SealingKey, context: EncryptionContext, message: bytes) -> bool:
    """Whether a message opens; anything but the one error fails the test."""
    try:
        open_message(key, context, message)
    except IntegrityError as refusal:
        if (refusal.code, refusal.facts) != ("ciphertext_invalid", {}):
            raise
        return False
    return True


# P3: contexts that are as alike as contexts can be

WORDS = ("", "a", "ab", "abc", "b", "bc", "main", "mai", "n", "eu", "main.eu", "\0", "\x01\0\0\0\0")
FIELDS = (None, *WORDS)
RECORDS = (None, *(word.encode() for word in WORDS))


def swapped(use: Use) -> Iterator[Members]:
    """The same four texts in every order: each pair of members changes places."""
    for tenant, region, field, record in itertools.permutations(("eu", "main", "email", "name")):
        yield use, tenant, region, field, record.encode()


def cut(use: Use, text: str) -> Iterator[Members]:
    """One run of characters cut into members at every place, empty ones also left out."""
    for one, two, three in itertools.combinations_with_replacement(range(len(text) + 1), 3):
        a, b, c, d = text[:one], text[one:two], text[two:three], text[three:]
        for field, record in itertools.product({c, c or None}, {d, d or None}):
            yield use, a, b, field, None if record is None else record.encode()


def absent_or_empty() -> Iterator[Members]:
    """Every member empty or not, optional ones also absent, under two uses."""
    yield from itertools.product(
        (Use.VALUE, Use.CLAIM), ("", "a"), ("", "a"), (None, "", "a"), (None, b"", b"a")
    )


def records() -> Iterator[Members]:
    """What stands in `record` of callers' values and of claims: a caller's text, a row's id, alike or not."""
    row = bytes(range(16))
    for use, record in itertools.product(
        (Use.VALUE, Use.CLAIM),
        (None, b"", row, row[:-1], row + b"\0", row[::-1], row[:-1] + b"\x10", row.hex().encode(), row * 2),
    ):
        yield use, "main", "eu", "customer.email", record
        yield use, "main", "eu", None, record


def contexts() -> list[EncryptionContext]:
    """All of them, each once."""
    cuts = (cut(use, text) for use in (Use.VALUE, Use.CLAIM) for text in ("abcdef", "aaaa"))
    families = (*map(swapped, Use), *cuts, absent_or_empty(), records())
    return [EncryptionContext(*members) for members in dict.fromkeys(itertools.chain(*families))]


def test_p3_a_message_opens_in_its_own_context_and_in_no_other() -> None:
    """Every message is tried in every other context: all swaps, all shifted boundaries."""
    places = contexts()
    messages = seal_many(KEY, places, [b"value"] * len(places))
    assert all(opens(KEY, place, message) for place, message in zip(places, messages, strict=True))
    assert {place.use for place in places} == set(Use)
    for use in (Use.VALUE, Use.CLAIM):  # what callers keep, and what a cell keeps
        assert len({place.record for place in places if place.use is use}) > 20
    pairs = list(itertools.permutations(range(len(places)), 2))
    accepted = sum(opens(KEY, places[opened], messages[sealed]) for sealed, opened in pairs)
    assert accepted == 0
    assert len(pairs) > 500_000


@pytest.mark.parametrize("own", [Use.VALUE, Use.CLAIM])
def test_p3_a_neighbour_in_one_member_is_refused(own: Use) -> None:
    """Every member replaced by everything else it might be, the others left as they are."""
    home = EncryptionContext(own, "main", "eu", "ab", b"abc")
    message = seal(KEY, home, b"value")
    others = [EncryptionContext(use, "main", "eu", "ab", b"abc") for use in Use]
    others += [EncryptionContext(own, word, "eu", "ab", b"abc") for word in WORDS]
    others += [EncryptionContext(own, "main", word, "ab", b"abc") for word in WORDS]
    others += [EncryptionContext(own, "main", "eu", field, b"abc") for field in FIELDS]
    others += [EncryptionContext(own, "main", "eu", "ab", record) for record in RECORDS]
    assert [other for other in others if opens(KEY, other, message)] == [home] * 5


@pytest.mark.parametrize("use", [Use.VALUE, Use.CLAIM])
def test_p3_subject_and_version_are_bound_through_the_key(use: Use) -> None:
    """A data key belongs to one subject, so another subject's key, or another version, opens nothing."""
    place = EncryptionContext(use, "main", "eu", "customer.email", b"r" * 16)
    keys = [
        SealingKey(KeyId(bytes((owner,)) * 16), version, Secret(bytes((material,)) * 32))
        for owner, version, material in itertools.product(range(4), range(1, 4), range(3))
    ]
    for (i, one), (j, other) in itertools.product(enumerate(keys), repeat=2):
        assert opens(other, place, seal(one, place, b"value")) == (i == j)


def test_p3_messages_of_one_batch_do_not_open_in_each_others_places() -> None:
    """Neighbours of a batch share all but the record, and the work on what they share."""
    places = [
        EncryptionContext(Use.CLAIM, "main", "eu", "customer.email", bytes((n,)) * 16) for n in range(40)
    ]
    places += [EncryptionContext(Use.VALUE, "main", "eu", "customer.email", p.record) for p in places]
    messages = seal_many(KEY, places, [b"value"] * len(places))
    assert open_many(KEY, places, messages) == [b"value"] * len(places)
    for shift in range(1, len(places)):
        moved = places[shift:] + places[:shift]
        assert not any(opens(KEY, place, m) for place, m in zip(moved, messages, strict=True))
        with pytest.raises(IntegrityError, match="ciphertext_invalid"):
            open_many(KEY, moved, messages)


def test_p3_control_one_key_for_all_subjects_opens_everything() -> None:
    """Were data keys not of one subject each, nothing else would tell subjects apart."""
    place = EncryptionContext(Use.VALUE, "main", "eu", "customer.email", None)
    shared = [SealingKey(KeyId(b"k" * 16), 1, Secret(bytes(32))) for _ in ("one subject", "another")]
    assert opens(shared[1], place, seal(shared[0], place, b"value"))


def test_p3_control_a_context_without_use_and_record_opens_elsewhere() -> None:
    """The sweep sees what these two bind: with both left out of what is bound, messages change places."""

    def bare(place: EncryptionContext) -> EncryptionContext:
        return EncryptionContext(Use.VALUE, place.tenant, place.region, place.field)

    places = [EncryptionContext(*members) for members in records()]
    messages = [seal(KEY, bare(place), b"value") for place in places]
    pairs = itertools.permutations(range(len(places)), 2)
    assert sum(opens(KEY, bare(places[opened]), messages[sealed]) for sealed, opened in pairs) > 500


def test_p3_control_a_context_that_is_only_joined_opens_elsewhere() -> None:
    """The same attack on GCM with the members strung together as associated data."""
    gcm, places = AESGCM(bytes(32)), contexts()

    def joined(place: EncryptionContext) -> bytes:
        names = (place.use.value, place.tenant, place.region, place.field or "")
        return "".join(names).encode() + (place.record or b"")

    messages = [gcm.encrypt(bytes(12), b"value", joined(place)) for place in places]
    assert gcm.decrypt(bytes(12), messages[0], joined(places[0])) == b"value"
    # with one key and IV a message opens elsewhere just when it is the same as the one sealed there
    assert sum(one == other for one, other in itertools.permutations(messages, 2)) > 1_000


# P4: one ciphertext, two keys


def test_the_arithmetic_is_that_of_gcm() -> None:
    rng = random.Random(4)
    for _ in range(20):
        a, b, c = (rng.getrandbits(128) for _ in range(3))
        assert multiply(a, b) == multiply(b, a)
        assert multiply(a, b ^ c) == multiply(a, b) ^ multiply(a, c)
        assert multiply(a, inverse(a)) == 1 << 127 == power(a, 0)
        assert power(a, 5) == multiply(a, multiply(multiply(a, a), multiply(a, a)))
    for size, extra in ((0, 0), (1, 3), (16, 16), (47, 20)):
        role = Role(rng.randbytes(32), rng.randbytes(12), rng.randbytes(extra))
        sealed = AESGCM(role.key).encrypt(role.iv, rng.randbytes(size), role.associated)
        assert raw_tag(role, sealed[:-16]).to_bytes(16, "big") == sealed[-16:]


def role(key: SealingKey, place: EncryptionContext, header: bytes) -> Role:
    """What GCM would be run with for a `ve1` header, whatever it commits to."""
    info = header[1:2] + header[22:54] + hashlib.sha256(place.encode()).digest()
    okm = hkdf_expand(key.key.expose(), b"coatcheck/ve1/" + info, 44)
    return Role(okm[:32], okm[32:], header + place.encode())


# what a forger would like to confuse: another row, a value for a claim, another tenant, region or field
OTHER_PLACES: list[dict[str, Any]] = [
    {"record": b"s" * 16},
    {"record": None},
    {"use": Use.VALUE},
    {"tenant": "other"},
    {"region": "us"},
    {"field": "customer.phone"},
]


def crafted(rng: random.Random) -> Iterator[tuple[str, list[tuple[SealingKey, EncryptionContext]], bytes]]:
    """(whose commitment it carries, the two ways to read it, message): GCM takes each both ways."""
    name = KeyId(rng.randbytes(16))  # both keys go by one name, or the header alone would tell them apart
    one, other = (SealingKey(name, 1, Secret(rng.randbytes(32))) for _ in range(2))
    here = EncryptionContext(Use.CLAIM, "main", "eu", "customer.email", b"r" * 16)
    there = replace(here, **OTHER_PLACES[rng.randrange(len(OTHER_PLACES))])
    for ways in ([(one, here), (other, here)], [(one, here), (one, there)], [(one, here), (other, there)]):
        length = 16 * rng.randint(1, 4)
        own = seal(*ways[0], bytes(length))[:HEADER_BYTES]
        for owner in ("first", "second", "neither"):
            header = own
            if owner == "second":
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(os, "urandom", lambda size, salt=own[22:54]: salt)
                    header = seal(*ways[1], bytes(length))[:HEADER_BYTES]
            elif owner == "neither":
                header = own[:54] + rng.randbytes(32)
            roles = [role(key, place, header) for key, place in ways]
            at = rng.randrange(length // 16)
            yield owner, ways, header + collide(roles[0], roles[1], rng.randbytes(length), at)


def test_p4_control_raw_gcm_takes_one_ciphertext_under_two_keys() -> None:
    rng = random.Random(40)
    for _ in range(FORGERIES):
        iv, associated = rng.randbytes(12), rng.randbytes(20)
        roles = [Role(rng.randbytes(32), iv, associated) for _ in range(2)]
        sealed = collide(roles[0], roles[1], rng.randbytes(48), rng.randrange(3))
        plain = [AESGCM(one.key).decrypt(iv, sealed, associated) for one in roles]
        assert plain[0] != plain[1]


def test_p4_control_without_the_commitment_ve1_would_take_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aead, "hmac", SimpleNamespace(compare_digest=lambda *_: True))
    for owner, ways, message in crafted(random.Random(41)):
        plain = [open_message(key, place, message) for key, place in ways]
        assert plain[0] != plain[1], owner


def test_p4_no_message_opens_under_two_keys_or_in_two_contexts() -> None:
    rng = random.Random(42)
    ambiguous = tried = 0
    confused = set()
    for owner, ways, message in itertools.chain.from_iterable(crafted(rng) for _ in range(FORGERIES)):
        opened = [opens(key, place, message) for key, place in ways]
        assert opened == [owner == "first", owner == "second"]
        ambiguous += all(opened)
        confused |= {place for _, place in ways}
        tried += 1
    assert (tried, ambiguous) == (9 * FORGERIES, 0)
    assert len(confused) == 1 + len(OTHER_PLACES)


# P6: damage


def refusals(open_: Callable[[bytes], object], raw: bytes) -> set[str]:
    """With what `open_` refuses every damaged form of `raw`; it opens none."""
    open_(raw)
    found = set()
    for broken in damaged(raw):
        with pytest.raises(CoatcheckError) as refusal:
            open_(broken)
        found.add(f"{refusal.value.code} {sorted(refusal.value.facts.items())}")
    return found


PLACES = [
    EncryptionContext(Use.VALUE, "main", "eu", "customer.email", b"r" * 16),
    EncryptionContext(Use.VALUE, "main", "eu", "customer.email"),
    EncryptionContext(Use.CLAIM, "main", "eu", "customer.email", b"r" * 16),
]


@pytest.mark.parametrize("place", PLACES, ids=["value", "value without record", "claim"])
def test_p6_a_message_takes_no_damage(place: EncryptionContext) -> None:
    message = seal(KEY, place, b"maria.lopez@example.org")
    assert refusals(lambda raw: open_message(KEY, place, raw), message) == {"ciphertext_invalid []"}
    assert refusals(lambda raw: open_many(KEY, [place], [raw]), message) == {"ciphertext_invalid []"}


# 21, 22 and 23 bytes: the text ends in a group of 4, 2 and 3 characters, with 0, 4 and 2 spare bits
@pytest.mark.parametrize("size", [21, 22, 23])
@pytest.mark.parametrize("place", PLACES, ids=["value", "value without record", "claim"])
def test_p6_a_message_as_text_takes_no_damage(place: EncryptionContext, size: int) -> None:
    """As a caller keeps it: every bit, every length, every character replaced by every other and left out."""
    text = to_text(seal(KEY, place, b"maria.lopez@example.org"[:size]))

    def open_(raw: bytes) -> None:
        open_message(KEY, place, from_text(raw.decode("latin-1")))

    assert refusals(open_, text.encode()) == {"ciphertext_invalid []"}
    for broken in replaced(text):
        with pytest.raises(IntegrityError) as refusal:
            open_(broken.encode("latin-1"))
        assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})


def replaced(text: str) -> Iterator[str]:
    """Each character replaced by each other of the alphabet and by what is none, left out, and doubled."""
    for at, character in enumerate(text):
        for other in string.ascii_letters + string.digits + "-_+/=. \n\0\xe9":
            if other != character:
                yield text[:at] + other + text[at + 1 :]
        if text[at : at + 1] != text[at + 1 : at + 2]:  # else it is the same text as the one before
            yield text[:at] + text[at + 1 :]
        yield text[:at] + character + text[at:]


def test_p6_control_a_lenient_reader_takes_damaged_texts() -> None:
    """Python's own base64 passes over foreign characters and spare bits; so do many others."""
    place = PLACES[0]
    text = to_text(seal(KEY, place, b"maria.lopez@example.org"))

    def lenient(broken: str) -> bool:
        try:
            return opens(KEY, place, base64.urlsafe_b64decode(broken[4:] + "=="))
        except ValueError:
            return False

    assert lenient(text)
    assert sum(map(lenient, replaced(text))) > 100


def test_p6_control_without_commitment_and_tag_damage_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep sees what the two are for: with both off, flips behind the salt open."""

    class Counter:
        """AES-GCM that compares no tag."""

        def __init__(self, key: bytes) -> None:
            self._key = key

        def decrypt(self, iv: bytes, sealed: bytes, associated: bytes) -> bytes:
            decryptor = Cipher(algorithms.AES(self._key), modes.CTR(iv + b"\0\0\0\2")).decryptor()
            return decryptor.update(sealed[:-16]) + decryptor.finalize()

    message = seal(KEY, PLACES[0], b"maria.lopez@example.org")
    monkeypatch.setattr(aead, "hmac", SimpleNamespace(compare_digest=lambda *_: True))
    monkeypatch.setattr(aead, "AESGCM", Counter)
    taken = sum(opens(KEY, PLACES[0], broken) for broken in flips(message))
    assert taken >= 8 * (len(message) - 54)


def test_p6_a_sealed_data_key_takes_no_damage() -> None:
    epoch = make_epoch("eu", 1, bytes(16), Secret(bytes(32)), Secret(bytes(32)))
    row = new_data_key(epoch, Slot("main", b"s" * 16, "customer", "2031-01"))
    opened = refusals(lambda raw: open_data_key(epoch, row._replace(sealed=raw)), row.sealed)
    assert opened == {"ciphertext_invalid []"}


def test_p6_a_sealed_field_key_takes_no_damage() -> None:
    epoch = make_epoch("eu", 1, bytes(16), Secret(bytes(32)), Secret(bytes(32)))
    row = new_field_key(epoch, "main", "customer.ssn", Purpose.FF1, 1)
    opened = refusals(lambda raw: open_field_key(epoch, row._replace(sealed=raw)), row.sealed)
    assert opened == {"ciphertext_invalid []"}


@pytest.mark.parametrize("kind", ["passphrase_file", "key_file"])
def test_p6_a_root_key_file_takes_no_damage(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def derive(passphrase: Secret, salt: bytes, cost: Argon2Parameters) -> Secret:
        """In place of Argon2id, which would run 1,500 times: depends on the same things."""
        return Secret(hashlib.sha256(passphrase.expose() + salt + repr(cost).encode()).digest())

    monkeypatch.setattr(local, "derive_key", derive)
    key_file = tmp_path / "key" if kind == "key_file" else None
    if key_file is not None:
        local.make_key_file(key_file)
    passphrase = Secret(b"passphrase") if key_file is None else None
    settings = ProviderSettings("eu", tmp_path, passphrase, key_file)
    open_provider("local:keys", settings).create_root(1)
    file = tmp_path / "keys" / "root-000001"
    wrapped = open_provider("local:keys", settings).wrap(1, Secret(bytes(32)), b"")

    def open_(raw: bytes) -> None:
        file.write_bytes(raw)
        open_provider("local:keys", settings).unwrap(1, wrapped, b"")

    (refusal,) = refusals(open_, file.read_bytes())
    assert refusal.startswith("config_invalid ")
    assert f"('setting', '{kind}')" in refusal


def test_p6_a_half_store_file_takes_no_damage(tmp_path: Path) -> None:
    halves = HalfStores("eu", [tmp_path])
    half = halves.create(1)
    file = tmp_path / "half-000001"

    def open_(raw: bytes) -> None:
        file.write_bytes(raw)
        assert halves.read(1).matches(half)

    assert refusals(open_, file.read_bytes()) == {"key_unavailable [('epoch', 1)]"}
