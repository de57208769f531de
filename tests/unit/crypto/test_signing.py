"""Ed25519: the published values, and the ways to pass off another signature as the same."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.unit.echo import shown
from tests.unit.envelope.damage import flips
from vault.crypto.base64url import decode, digest
from vault.crypto.signing import Signer, keypair, thumbprint, verify
from vault.errors import IntegrityError
from vault.secret import Secret

ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, 5.1: L
PRIME = 2**255 - 19


class Case(NamedTuple):
    """A test of RFC 8032, section 7.1."""

    seed: str
    public: str
    message: str
    signature: str


RFC8032 = {
    "TEST 1": Case(
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": Case(
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": Case(
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
}

SIGNER = Signer(Secret(bytes(range(32))))
MESSAGE = b"what is signed"
SIGNATURE = SIGNER.sign(MESSAGE)


def refused(public: bytes, message: bytes, signature: bytes) -> None:
    with pytest.raises(IntegrityError) as refusal:
        verify(public, message, signature)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize("name", RFC8032)
def test_the_published_values(name: str) -> None:
    seed, public, message, signature = (bytes.fromhex(part) for part in RFC8032[name])
    signer = Signer(Secret(seed))
    assert signer.public == public
    assert signer.sign(message) == signature
    verify(public, message, signature)


def test_every_flipped_bit_is_refused() -> None:
    verify(SIGNER.public, MESSAGE, SIGNATURE)
    for flipped in flips(SIGNATURE):
        refused(SIGNER.public, MESSAGE, flipped)
    for flipped in flips(SIGNER.public):
        refused(flipped, MESSAGE, SIGNATURE)
    for flipped in flips(MESSAGE):
        refused(SIGNER.public, flipped, SIGNATURE)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 63, 65, 128])
def test_other_lengths_are_refused(size: int) -> None:
    refused(SIGNER.public, MESSAGE, (SIGNATURE * 2)[:size])
    refused((SIGNER.public * 4)[:size], MESSAGE, SIGNATURE)


def test_a_signature_has_one_form() -> None:
    """S and S + L say the same; only the smaller is taken (RFC 8032, 5.1.7)."""
    scalar = int.from_bytes(SIGNATURE[32:], "little")
    for multiple in range(1, 16):
        if (larger := scalar + multiple * ORDER) < 2**256:
            refused(SIGNER.public, MESSAGE, SIGNATURE[:32] + larger.to_bytes(32, "little"))


@pytest.mark.parametrize("y", [1, PRIME - 1, 0, PRIME, PRIME + 1])
def test_points_of_small_order_are_refused(y: int) -> None:
    """Under such a key one signature would fit many messages."""
    for sign in (0, 1 << 255):
        small = (y | sign).to_bytes(32, "little")
        refused(small, MESSAGE, small + bytes(32))
        refused(small, MESSAGE, (1).to_bytes(32, "little") + bytes(32))
        refused(SIGNER.public, MESSAGE, small + SIGNATURE[32:])


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32") as refusal:
        Signer(Secret(b"\x5a" * size))
    assert "ZZ" not in shown(refusal.value)


def test_a_signer_shows_nothing_of_its_seed() -> None:
    seed = bytes(range(100, 132))
    signer = Signer(Secret(seed))
    for form in (repr(signer), str(signer)):
        assert seed.hex() not in form
        assert repr(seed)[2:-1] not in form


# the same point spelled another way: y and y + p, where both fit 255 bits
NON_CANONICAL = [y.to_bytes(32, "little") for k in range(19) for y in (PRIME + k, PRIME + k | 1 << 255)]


@pytest.mark.parametrize("public", NON_CANONICAL, ids=bytes.hex)
def test_a_key_that_is_not_canonical_is_refused(public: bytes) -> None:
    """RFC 8032, 5.1.3: a y of p or more is none. Else one key would have two thumbprints."""
    refused(public, MESSAGE, SIGNATURE)
    refused(public, MESSAGE, (1).to_bytes(32, "little") + bytes(32))


def test_a_verifier_that_takes_small_order_is_deceived() -> None:
    """Control: the bare equation of RFC 8032, 5.1.7, holds for a key that nobody holds, whatever is signed.

    With A and R the neutral element and S = 0, [S]B = R + [k]A reads 0 = 0 + [k]0.
    """
    neutral = (1).to_bytes(32, "little")
    openssl = Ed25519PublicKey.from_public_bytes(neutral)
    openssl.verify(neutral + bytes(32), MESSAGE)
    openssl.verify(neutral + bytes(32), b"anything else")
    refused(neutral, MESSAGE, neutral + bytes(32))


def test_a_pair_belongs_together() -> None:
    seed, public = keypair()
    assert Signer(seed).public == public != keypair()[1]
    verify(public, MESSAGE, Signer(seed).sign(MESSAGE))


def test_the_published_thumbprint() -> None:
    """RFC 8037, appendix A.3."""
    public = decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    written = b'{"crv":"X25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
    assert thumbprint(public, "X25519") == digest(written)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_thumbprint_is_of_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        thumbprint(b"Z" * size)
