"""HKDF as RFC 5869 computes it, and labels that no two derivations share."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.kdf import KEY_BYTES, Label, combine, expand
from vault.secret import Secret

KEY = bytes(range(32))
NO_LABEL: Any = SimpleNamespace(value=b"")

# RFC 5869, appendix A.1 to A.3: the steps from PRK to OKM with SHA-256
RFC5869 = [
    (
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        bytes(range(0xB0, 0x100)).hex(),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, 2.3, from HMAC alone."""
    out = block = b""
    counter = 0
    while len(out) < length:
        counter += 1
        block = hmac.digest(prk, block + info + bytes((counter,)), hashlib.sha256)
        out += block
    return out[:length]


@pytest.mark.parametrize(("prk", "info", "okm"), RFC5869, ids=["A.1", "A.2", "A.3"])
def test_expand_gives_the_published_values(prk: str, info: str, okm: str) -> None:
    key, info_bytes, length = bytes.fromhex(prk), bytes.fromhex(info), len(okm) // 2
    assert expand(Secret(key), NO_LABEL, info_bytes, length).expose().hex() == okm
    assert hkdf_expand(key, info_bytes, length).hex() == okm


@given(st.sampled_from(Label), st.binary(max_size=64), st.integers(1, 200))
def test_expand_is_hkdf_expand_under_its_label(label: Label, info: bytes, length: int) -> None:
    derived = expand(Secret(KEY), label, info, length)
    assert derived.expose() == hkdf_expand(KEY, label.value + info, length)


@given(st.sampled_from(Label), st.binary(min_size=64, max_size=64), st.binary(max_size=40))
def test_combine_is_extract_then_expand(label: Label, halves: bytes, info: bytes) -> None:
    prk = hmac.digest(bytes(32), halves, hashlib.sha256)  # RFC 5869, 2.2: no salt is HashLen zeros
    derived = combine(Secret(halves[:32]), Secret(halves[32:]), label, info)
    assert derived.expose() == hkdf_expand(prk, label.value + info, 32)


def test_each_half_its_place_and_the_info_matter() -> None:
    one, other = Secret(KEY), Secret(KEY[::-1])
    changed = Secret(bytes((KEY[0] ^ 1,)) + KEY[1:])
    keys = {
        combine(first, second, label, info).expose()
        for first, second in ((one, other), (other, one), (changed, other), (one, changed), (one, one))
        for label in Label
        for info in (b"", b"a", b"b")
    }
    assert len(keys) == 5 * len(Label) * 3


def test_labels_are_published_unique_and_none_begins_another() -> None:
    assert {label.name: label.value for label in Label} == {
        "VE1": b"coatcheck/ve1/",
        "EPOCH": b"coatcheck/epoch/",
        "EPOCH_SEALING": b"coatcheck/epoch-sealing/",
        "EPOCH_REQUESTS": b"coatcheck/epoch-requests/",
        "EPOCH_BACKUP": b"coatcheck/epoch-backup/",
        "REQUEST": b"coatcheck/request/",
        "REQUEST_REFERENCE": b"coatcheck/request-reference/",
        "REQUEST_FINGERPRINT": b"coatcheck/request-fingerprint/",
        "REQUEST_SEALING": b"coatcheck/request-sealing/",
        "DIRECTORY": b"coatcheck/directory/",
        "DIRECTORY_REFERENCE": b"coatcheck/directory-reference/",
        "DIRECTORY_PROOF": b"coatcheck/directory-proof/",
        "AUTHENTICATOR_SEALING": b"coatcheck/authenticator-sealing/",
        "AUTHENTICATOR_CHALLENGES": b"coatcheck/authenticator-challenges/",
        "APPROVAL_SEALING": b"coatcheck/approval-sealing/",
        "APPROVAL_REQUESTS": b"coatcheck/approval-requests/",
        "ROOT_WRAP": b"coatcheck/root-wrap/",
    }
    for one, other in itertools.permutations(Label, 2):
        assert not one.value.startswith(other.value)
    assert all(label.value.startswith(b"coatcheck/") and label.value.endswith(b"/") for label in Label)


@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 64])
def test_only_keys_of_32_bytes_are_taken(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        expand(Secret(bytes(size)), Label.VE1)
    for halves in ((bytes(size), KEY), (KEY, bytes(size))):
        with pytest.raises(ValueError, match="32 bytes"):
            combine(Secret(halves[0]), Secret(halves[1]), Label.EPOCH, b"")


def test_a_boundary_between_halves_cannot_move() -> None:
    """Halves have one length, so what lies behind one another has one reading."""
    assert KEY_BYTES == 32
    with pytest.raises(ValueError, match="half"):
        combine(Secret(KEY + b"\0"), Secret(KEY[:-1]), Label.EPOCH, b"")


def test_what_is_derived_is_a_secret_and_not_longer_than_the_rfc_allows() -> None:
    assert repr(expand(Secret(KEY), Label.VE1)) == "<Secret>"
    assert len(expand(Secret(KEY), Label.VE1, length=255 * 32)) == 8160
    with pytest.raises(ValueError, match="8160"):
        expand(Secret(KEY), Label.VE1, length=255 * 32 + 1)
