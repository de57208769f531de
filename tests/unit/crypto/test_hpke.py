"""HPKE: the published values, and a second implementation written from the RFC."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.crypto import hpke_by_hand
from tests.unit.echo import shown
from tests.unit.envelope.damage import damaged
from vault.crypto import hpke
from vault.errors import IntegrityError
from vault.secret import Secret

URN = b"Ode on a Grecian Urn"
BEAUTY = b"Beauty is truth, truth beauty"
COUNT = b"Count-0"

# RFC 9180, A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM
RFC_PRIVATE = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
RFC_PUBLIC = bytes.fromhex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d")
RFC_EPHEMERAL = bytes.fromhex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")
RFC_ENC = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
RFC_SECRET = bytes.fromhex("fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc")
RFC_KEY = bytes.fromhex("4531685d41d65f03dc48f6b8302c05b0")
RFC_NONCE = bytes.fromhex("56d890e5accaaf011cff4b7d")
RFC_CT = bytes.fromhex(
    "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
)
# The same with AES-256-GCM, which the RFC's appendix leaves out: the CFRG's complete list of vectors
LIST_PUBLIC = bytes.fromhex("ac66bae9ffa270cf4a89ed9f274e30c0456babae2572aaaf002ff0d8884ab018")
LIST_EPHEMERAL = bytes.fromhex("28e212563a8b6f068af7ff17400ff1baf23612b7a738bbaf5dfb321b2b5b431a")
LIST_CT = bytes.fromhex(
    "23ded2d5d90ea89d975dac4792b297240f194952d7421aacbff0474100052b6bb8aa58d18ef6c42b6960e2e28f"
)

PRIVATE, PUBLIC = hpke.keypair()
EPHEMERAL = bytes(range(1, 33))

# x-coordinates of small order, RFC 7748, section 6.1 and the twist's; p and p + 1 are 0 and 1 once more
PRIME = 2**255 - 19
ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
SMALL = (0, 1, *ORDER_8, PRIME - 1, PRIME, PRIME + 1)


def refused(private: Secret, info: bytes, enc_ct: bytes) -> None:
    with pytest.raises(IntegrityError) as refusal:
        hpke.open_sealed(private, info, enc_ct)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})
    assert refusal.value.__suppress_context__


def test_the_second_implementation_gives_the_published_values() -> None:
    by = hpke_by_hand
    secret = by.shared_secret(
        X25519PrivateKey.from_private_bytes(RFC_PRIVATE).exchange(X25519PublicKey.from_public_bytes(RFC_ENC)),
        RFC_ENC,
        RFC_PUBLIC,
    )
    assert secret == RFC_SECRET
    assert by.key_schedule(secret, URN, by.AES_128_GCM) == (RFC_KEY, RFC_NONCE)
    sealed = by.seal(RFC_PUBLIC, RFC_EPHEMERAL, URN, COUNT, BEAUTY, by.AES_128_GCM)
    assert sealed == RFC_ENC + RFC_CT
    assert by.open_sealed(RFC_PRIVATE, URN, COUNT, sealed, by.AES_128_GCM) == BEAUTY
    assert by.seal(LIST_PUBLIC, LIST_EPHEMERAL, URN, COUNT, BEAUTY)[32:] == LIST_CT


@given(
    info=st.binary(max_size=200),
    plaintext=st.binary(max_size=300),
    ephemeral=st.binary(min_size=32, max_size=32),
)
def test_both_open_what_the_other_seals(info: bytes, plaintext: bytes, ephemeral: bytes) -> None:
    assert hpke.open_sealed(PRIVATE, info, hpke.seal(PUBLIC, info, plaintext)) == plaintext
    assert hpke.public_of(Secret(RFC_PRIVATE)) == RFC_PUBLIC
    made = hpke_by_hand.seal(RFC_PUBLIC, ephemeral, info, b"", plaintext)
    assert hpke.open_sealed(Secret(RFC_PRIVATE), info, made) == plaintext
    sealed = hpke.seal(RFC_PUBLIC, info, plaintext)
    assert hpke_by_hand.open_sealed(RFC_PRIVATE, info, b"", sealed) == plaintext
    assert len(sealed) == hpke.ENC_BYTES + len(plaintext) + hpke.TAG_BYTES


def test_two_seals_of_the_same_are_not_alike() -> None:
    assert hpke.seal(PUBLIC, b"info", b"value") != hpke.seal(PUBLIC, b"info", b"value")


def test_every_damage_is_refused() -> None:
    sealed = hpke.seal(PUBLIC, b"info", b"value")
    assert hpke.open_sealed(PRIVATE, b"info", sealed) == b"value"
    for other in damaged(sealed):
        # the highest bit of an X25519 key says nothing (RFC 7748, 5), yet the key schedule takes it in
        refused(PRIVATE, b"info", other)


@pytest.mark.parametrize("info", [b"", b"inf", b"info\0", b"Info", b"info" * 100])
def test_another_info_is_refused(info: bytes) -> None:
    refused(PRIVATE, info, hpke.seal(PUBLIC, b"info", b"value"))


def test_another_key_is_refused() -> None:
    refused(hpke.keypair()[0], b"info", hpke.seal(PUBLIC, b"info", b"value"))


@pytest.mark.parametrize("x", SMALL)
def test_a_key_of_small_order_is_refused(x: int) -> None:
    """Everybody knows what is agreed with it: zero."""
    public = x.to_bytes(32, "little")
    with pytest.raises(ValueError, match="not an X25519 key"):
        hpke.check_public(public)
    with pytest.raises(ValueError, match="not an X25519 key"):
        hpke.seal(public, b"info", b"value")
    refused(PRIVATE, b"info", public + hpke.seal(PUBLIC, b"info", b"value")[32:])


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_public_key_has_32_bytes(size: int) -> None:
    for call in (hpke.check_public, lambda public: hpke.seal(public, b"info", b"value")):
        with pytest.raises(ValueError, match="not an X25519 key") as refusal:
            call(b"Z" * size)
        assert "ZZ" not in shown(refusal.value)


def test_a_key_can_be_sealed_to() -> None:
    hpke.check_public(PUBLIC)
    hpke.check_public(RFC_PUBLIC)
    assert hpke.keypair()[1] != hpke.keypair()[1]
