"""The bytes of a sealed delivery: exact, and no two lists of parts have the same."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.delivery import info, signed_bytes

PARTS: dict[str, Any] = {
    "cell": "eu",
    "grant": "gr_01KARF3GPKFS7RMPVCFP79Z85H",
    "challenge": "n" * 22,
    "decision": "dec_01KARF3GPKFS7RMPVCFP79Z85H",
    "suite": "hpke-x25519-sha256-aes256gcm",
    "kid": "k" * 43,
    "enc_ct": b"sealed",
}


def parted(data: bytes) -> list[bytes]:
    """The parts of some bytes, as the page says to read them."""
    parts = []
    while data:
        size = int.from_bytes(data[:4], "big")
        assert len(data) >= 4 + size
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    return parts


def test_the_parts_stand_in_the_order_of_the_page() -> None:
    assert parted(info("suite", "grant", "jti")) == [b"suite", b"grant", b"jti"]
    assert info("ab", "c", "") == b"\0\0\0\2ab\0\0\0\1c\0\0\0\0"
    *texts, last = parted(signed_bytes(**PARTS))
    names = ("cell", "grant", "challenge", "decision", "suite", "kid")
    assert texts == [b"coatcheck/delivery/v1", *(PARTS[name].encode() for name in names)]
    assert last == hashlib.sha256(b"sealed").digest()


@pytest.mark.parametrize("member", PARTS)
def test_another_part_makes_other_bytes(member: str) -> None:
    other = b"other" if member == "enc_ct" else PARTS[member] + "x"
    assert signed_bytes(**{**PARTS, member: other}) != signed_bytes(**PARTS)


@given(
    st.lists(st.tuples(*[st.sampled_from(["", "a", "b", "ab", "aab", "\0", "\0\0\0\1"])] * 3), unique=True)
)
def test_other_parts_make_other_bytes(several: list[tuple[str, str, str]]) -> None:
    made = [info(*parts) for parts in several]
    assert len(set(made)) == len(several)


def test_parts_that_are_only_joined_are_confused() -> None:
    """Control: without lengths, one character moves from a part to the next and nothing shows."""
    cuts = [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd")]
    assert len({"".join(parts) for parts in cuts}) == 1
    assert len({info(*parts) for parts in cuts}) == 3
    for one, other in itertools.permutations(range(6), 2):
        names = list(PARTS)
        moved = dict(PARTS)
        moved[names[one]], moved[names[other]] = (
            PARTS[names[one]][:-1],
            PARTS[names[one]][-1] + PARTS[names[other]],
        )
        assert signed_bytes(**moved) != signed_bytes(**PARTS)
