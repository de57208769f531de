"""A packed key comes out for its owner only."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.envelope.damage import flips, truncations
from vault.crypto.keypack import pack, unpack
from vault.errors import IntegrityError
from vault.secret import Secret

KEY = bytes(range(32))


def refused(packed: bytes, owner: bytes) -> None:
    with pytest.raises(IntegrityError) as refusal:
        unpack(Secret(packed), owner)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})


def test_the_bytes_are_the_published_ones() -> None:
    assert pack(Secret(KEY), b"owner").expose() == KEY + hashlib.sha256(b"owner").digest()


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.binary(max_size=80))
def test_only_the_owner_gets_the_key(key: bytes, owner: bytes, other: bytes) -> None:
    packed = pack(Secret(key), owner)
    assert unpack(packed, owner).expose() == key
    if other != owner:
        refused(packed.expose(), other)


def test_every_flip_in_the_binding_and_every_other_length_is_refused() -> None:
    packed = pack(Secret(KEY), b"owner").expose()
    for binding in flips(packed[32:]):  # the key's own bits are under the seal, not under the hash
        refused(packed[:32] + binding, b"owner")
    for short in truncations(packed):
        refused(short, b"owner")
    refused(packed + b"\0", b"owner")
    refused(b"\0" + packed, b"owner")
    refused(KEY + KEY + packed[32:], b"owner")
