"""The directory's key and references, against a second way to compute them; and what does not open."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from tests.support.regions import two_settings
from vault.config import DIRECTORY
from vault.errors import CoatcheckError
from vault.keyring.directory import DirectoryKey, create_key, open_key
from vault.kms.halves import HalfStores
from vault.kms.local import make_key_file
from vault.kms.registry import Guard
from vault.services.directory import NAME
from vault.store.directory import DirectoryKeyRow
from vault.stores import Stores

Stored = tuple[DirectoryKeyRow, Guard, HalfStores]


@pytest.fixture
def made(tmp_path: Path) -> Stored:
    config = two_settings(tmp_path)
    make_key_file(tmp_path / "keys/directory/development.key")
    stores = Stores(config)
    provider, halves = stores.provider(DIRECTORY), stores.halves(DIRECTORY)
    return create_key(NAME, 1, provider, halves), provider, halves


def part(tag: int, value: bytes) -> bytes:
    """One part of the canonical encoding, as docs/spec/context.md has it."""
    return bytes((tag,)) + len(value).to_bytes(4, "big") + value


def expand(key: bytes, label: str, info: bytes = b"") -> bytes:
    """The first block of HKDF-Expand (RFC 5869, 2.3)."""
    return hmac.digest(key, label.encode() + info + b"\x01", hashlib.sha256)


def test_the_page_is_enough_to_make_a_reference(made: Stored) -> None:
    """From the two halves, by docs/spec/regions.md alone."""
    row, provider, halves = made
    context = b"\x01" + part(3, b":directory") + part(11, (1).to_bytes(4, "big") + row.id)
    kms_half = provider.unwrap(1, row.sealed_half, context).expose()
    prk = hmac.digest(bytes(32), kms_half + halves.read(1).expose(), hashlib.sha256)
    root = expand(prk, "coatcheck/directory/", context)
    proof = bytes.fromhex("636f6174636865636b206469726563746f7279")
    assert row.proof == hmac.digest(expand(root, "coatcheck/directory-proof/"), proof, hashlib.sha256)
    message = b"\x01" + part(2, b"main") + part(8, "zoë".encode())
    key = expand(root, "coatcheck/directory-reference/")
    expected = hmac.digest(key, message, hashlib.sha256)[:16]
    assert open_key(NAME, row, provider, halves).of("main", "zoë") == expected


def opened(made: Stored) -> DirectoryKey:
    return open_key(NAME, *made)


def test_people_tenants_and_versions_have_references_of_their_own(made: Stored) -> None:
    row, provider, halves = made
    key = opened(made)
    second = open_key(NAME, create_key(NAME, 2, provider, halves), provider, halves)
    pairs = [("main", "a"), ("main", "b"), ("acme", "a"), ("maina", ""), ("mai", "na")]
    refs = {one.of(*pair) for one in (key, second) for pair in pairs}
    assert len(refs) == 2 * len(pairs)
    assert key.of("main", "a") == opened(made).of("main", "a")
    assert row.version == 1


def test_what_is_not_its_own_does_not_open(made: Stored, tmp_path: Path) -> None:
    row, provider, halves = made
    path = tmp_path / "keys/directory/half-000001"
    raw = path.read_bytes()
    for other in (
        row._replace(sealed_half=row.sealed_half[:-1] + bytes((row.sealed_half[-1] ^ 1,))),
        row._replace(id=bytes(16)),
        row._replace(proof=bytes(32)),
    ):
        with pytest.raises(CoatcheckError) as refusal:
            open_key(NAME, other, provider, halves)
        assert refusal.value.code == "integrity_failed"
    body = raw[:44] + bytes(32)
    path.write_bytes(body + hashlib.sha256(body).digest())
    with pytest.raises(CoatcheckError) as refusal:
        opened(made)
    assert refusal.value.code == "integrity_failed"
    with pytest.raises(CoatcheckError):
        open_key("eu", row, provider, HalfStores("eu", halves.folders))
    path.write_bytes(raw)
    opened(made)  # control


def test_it_shows_nothing(made: Stored) -> None:
    assert "Secret" in repr(opened(made))
    assert opened(made).key.expose().hex() not in repr(opened(made))
