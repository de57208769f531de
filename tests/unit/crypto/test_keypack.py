"""A packed key comes out for its owner only."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.envelope.damage import flips, truncations
from vault.crypto.keypack import pack, pack_page, page_ids, take, unpack
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


# pages


def page_of(count: int, first: int = 0) -> tuple[dict[bytes, Secret], Secret]:
    """Packed keys by id, and the page of them."""
    keys = {
        bytes([number]) * 16: pack(Secret(bytes([number]) * 32), bytes([number]))
        for number in range(first, first + count)
    }
    return keys, pack_page(keys)


@pytest.mark.parametrize("count", [0, 1, 2, 255])
def test_a_page_gives_each_key_to_its_owner_only(count: int) -> None:
    keys, page = page_of(count)
    assert len(page) == 3 + 112 * count - 32 * count
    assert page_ids(page) == sorted(keys)
    for id_ in keys:
        assert take(page, id_, id_[:1]).expose() == id_[:1] * 32
        with pytest.raises(IntegrityError, match="ciphertext_invalid"):
            take(page, id_, b"other")
    with pytest.raises(LookupError):
        take(page, b"\xff" * 16, b"")


def test_a_page_is_made_of_another_and_of_more_keys() -> None:
    _, page = page_of(10)
    more, _ = page_of(3, first=20)
    keep = {bytes([number]) * 16 for number in (1, 5, 9, 200)}
    made = pack_page(more, page, keep)
    assert page_ids(made) == [bytes([number]) * 16 for number in (1, 5, 9, 20, 21, 22)]
    assert take(made, b"\x05" * 16, b"\x05").expose() == b"\x05" * 32
    assert take(made, b"\x15" * 16, b"\x15").expose() == b"\x15" * 32
    assert page_ids(pack_page({}, page)) == []
    assert pack_page({}, page, set(page_ids(page))).matches(page)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\1", b"\1\0", b"\2\0\0", b"\1\0\1", b"\1\0\0x", b"\1\0\1" + bytes(79), b"\1\0\1" + bytes(81),
        b"\1\0\2" + bytes(160), b"\1\0\2" + b"\2" * 80 + b"\1" * 80,
    ],
)  # fmt: skip
def test_what_is_no_page_is_refused(raw: bytes) -> None:
    """Another version, another length, ids that do not ascend."""
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        page_ids(Secret(raw))


def test_what_is_no_packed_key_does_not_get_into_one() -> None:
    with pytest.raises(ValueError, match="packed keys"):
        pack_page({b"short": pack(Secret(bytes(32)), b"")})
    with pytest.raises(ValueError, match="packed keys"):
        pack_page({bytes(16): Secret(bytes(32))})
