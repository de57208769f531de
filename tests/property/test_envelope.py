"""Sealed bytes open in their full context only (P3), commit to it and to the key (P4), take no damage (P6).

COATCHECK_FULL=1 tries more forgeries.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.unit.crypto.test_kdf import hkdf_expand
from tests.unit.envelope.damage import damaged
from tests.unit.envelope.ghash import Role, collide, inverse, multiply, power, raw_tag
from vault.context import EncryptionContext, Use
from vault.crypto import aead
from vault.crypto.passwords import Argon2Parameters
from vault.envelope.message import HEADER_BYTES
from vault.envelope.seal import SealingKey, open_message, seal
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


def cut(text: str) -> Iterator[Members]:
    """One run of characters cut into members at every place, empty ones also left out."""
    for one, two, three in itertools.combinations_with_replacement(range(len(text) + 1), 3):
        a, b, c, d = text[:one], text[one:two], text[two:three], text[three:]
        for field, record in itertools.product({c, c or None}, {d, d or None}):
            yield Use.VALUE, a, b, field, None if record is None else record.encode()


def absent_or_empty() -> Iterator[Members]:
    """Every member empty or not, optional ones also absent, under two uses."""
    yield from itertools.product(
        (Use.VALUE, Use.CLAIM), ("", "a"), ("", "a"), (None, "", "a"), (None, b"", b"a")
    )


def contexts() -> list[EncryptionContext]:
    """All of them, each once."""
    families = (*map(swapped, Use), cut("abcdef"), cut("aaaa"), absent_or_empty())
    return [EncryptionContext(*members) for members in dict.fromkeys(itertools.chain(*families))]


def test_p3_a_message_opens_in_its_own_context_and_in_no_other() -> None:
    """Every message is tried in every other context: all swaps, all shifted boundaries."""
    places = contexts()
    messages = [seal(KEY, place, b"value") for place in places]
    assert all(opens(KEY, place, message) for place, message in zip(places, messages, strict=True))
    pairs = list(itertools.permutations(range(len(places)), 2))
    accepted = sum(opens(KEY, places[opened], messages[sealed]) for sealed, opened in pairs)
    assert accepted == 0
    assert len(pairs) > 200_000


def test_p3_a_neighbour_in_one_member_is_refused() -> None:
    """Every member replaced by everything else it might be, the others left as they are."""
    home = EncryptionContext(Use.VALUE, "main", "eu", "ab", b"abc")
    message = seal(KEY, home, b"value")
    others = [EncryptionContext(use, "main", "eu", "ab", b"abc") for use in Use]
    others += [EncryptionContext(Use.VALUE, word, "eu", "ab", b"abc") for word in WORDS]
    others += [EncryptionContext(Use.VALUE, "main", word, "ab", b"abc") for word in WORDS]
    others += [EncryptionContext(Use.VALUE, "main", "eu", field, b"abc") for field in FIELDS]
    others += [EncryptionContext(Use.VALUE, "main", "eu", "ab", record) for record in RECORDS]
    assert [other for other in others if opens(KEY, other, message)] == [home] * 5


def test_p3_subject_and_version_are_bound_through_the_key() -> None:
    """A data key belongs to one subject, so another subject's key, or another version, opens nothing."""
    place = EncryptionContext(Use.CLAIM, "main", "eu", "customer.email", b"r" * 16)
    keys = [
        SealingKey(KeyId(bytes((owner,)) * 16), version, Secret(bytes((material,)) * 32))
        for owner, version, material in itertools.product(range(4), range(1, 4), range(3))
    ]
    for (i, one), (j, other) in itertools.product(enumerate(keys), repeat=2):
        assert opens(other, place, seal(one, place, b"value")) == (i == j)


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


def crafted(rng: random.Random) -> Iterator[tuple[str, list[tuple[SealingKey, EncryptionContext]], bytes]]:
    """(whose commitment it carries, the two ways to read it, message): GCM takes each both ways."""
    name = KeyId(rng.randbytes(16))  # both keys go by one name, or the header alone would tell them apart
    one, other = (SealingKey(name, 1, Secret(rng.randbytes(32))) for _ in range(2))
    here = EncryptionContext(Use.CLAIM, "main", "eu", "customer.email", b"r" * 16)
    there = EncryptionContext(Use.CLAIM, "main", "eu", "customer.email", b"s" * 16)
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
    for owner, ways, message in itertools.chain.from_iterable(crafted(rng) for _ in range(FORGERIES)):
        opened = [opens(key, place, message) for key, place in ways]
        assert opened == [owner == "first", owner == "second"]
        ambiguous += all(opened)
        tried += 1
    assert (tried, ambiguous) == (9 * FORGERIES, 0)


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


def test_p6_a_message_takes_no_damage() -> None:
    place = EncryptionContext(Use.VALUE, "main", "eu", "customer.email", b"r" * 16)
    message = seal(KEY, place, b"maria.lopez@example.org")
    assert refusals(lambda raw: open_message(KEY, place, raw), message) == {"ciphertext_invalid []"}


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
