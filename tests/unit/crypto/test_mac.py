"""HMAC-SHA-256 whole and cut, and comparison."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import pytest

from vault.crypto.mac import REFERENCE_BYTES, mac, reference, same, secret_digest
from vault.secret import Secret


class Case(NamedTuple):
    """A test case of RFC 4231, section 4."""

    key: bytes
    data: bytes
    mac: str


RFC4231 = {
    "4.2": Case(
        b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    ),
    "4.3": Case(
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    "4.4": Case(
        b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
    ),
    "4.5": Case(
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    "4.7": Case(
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    "4.8": Case(
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
}


@pytest.mark.parametrize("section", RFC4231)
def test_the_published_values(section: str) -> None:
    case = RFC4231[section]
    assert mac(Secret(case.key), case.data).hex() == case.mac
    assert reference(Secret(case.key), case.data).hex() == case.mac[:32]


def test_a_reference_is_the_published_truncation() -> None:
    """RFC 4231, section 4.6: output cut to 128 bits."""
    cut = reference(Secret(b"\x0c" * 20), b"Test With Truncation")
    assert cut.hex() == "a3b6167473100ee06e0c796c2955552b"
    assert len(cut) == REFERENCE_BYTES


def test_a_credential_is_stored_as_the_digest_of_its_secret() -> None:
    assert secret_digest("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert secret_digest("é") == hashlib.sha256("é".encode()).digest()


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [(b"", b"", True), (b"a", b"a", True), (b"a", b"b", False), (b"a", b"ab", False), (b"", b"a", False)],
)
def test_same(left: bytes, right: bytes, equal: bool) -> None:
    assert same(left, right) is equal
