"""HPKE in base mode with X25519, written from RFC 9180 on single primitives; one message a setup."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.unit.crypto.test_kdf import hkdf_expand

KEM_ID, KDF_ID = 0x0020, 0x0001


class Aead(NamedTuple):
    """RFC 9180, 7.3."""

    id: int
    key_bytes: int


AES_128_GCM = Aead(0x0001, 16)
AES_256_GCM = Aead(0x0002, 32)


def number(value: int, size: int) -> bytes:
    """I2OSP (RFC 8017, 4.1)."""
    return value.to_bytes(size, "big")


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """Section 4."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """Section 4."""
    return hkdf_expand(prk, number(length, 2) + b"HPKE-v1" + suite + label + info, length)


def shared_secret(dh: bytes, enc: bytes, public: bytes) -> bytes:
    """ExtractAndExpand, section 4.1."""
    suite = b"KEM" + number(KEM_ID, 2)
    prk = labeled_extract(suite, b"", b"eae_prk", dh)
    return labeled_expand(suite, prk, b"shared_secret", enc + public, 32)


def key_schedule(secret: bytes, info: bytes, aead: Aead) -> tuple[bytes, bytes]:
    """Key and base nonce, section 5.1, mode_base."""
    suite = b"HPKE" + number(KEM_ID, 2) + number(KDF_ID, 2) + number(aead.id, 2)
    psk_id_hash = labeled_extract(suite, b"", b"psk_id_hash", b"")
    info_hash = labeled_extract(suite, b"", b"info_hash", info)
    context = number(0, 1) + psk_id_hash + info_hash
    prk = labeled_extract(suite, secret, b"secret", b"")
    key = labeled_expand(suite, prk, b"key", context, aead.key_bytes)
    return key, labeled_expand(suite, prk, b"base_nonce", context, 12)


def seal(
    public: bytes, ephemeral: bytes, info: bytes, aad: bytes, plaintext: bytes, aead: Aead = AES_256_GCM
) -> bytes:
    """enc and ciphertext, with an ephemeral private key that is given."""
    own = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = own.public_key().public_bytes_raw()
    dh = own.exchange(X25519PublicKey.from_public_bytes(public))
    key, nonce = key_schedule(shared_secret(dh, enc, public), info, aead)
    return enc + AESGCM(key).encrypt(nonce, plaintext, aad)


def open_sealed(private: bytes, info: bytes, aad: bytes, enc_ct: bytes, aead: Aead = AES_256_GCM) -> bytes:
    """The plaintext."""
    own = X25519PrivateKey.from_private_bytes(private)
    enc = enc_ct[:32]
    dh = own.exchange(X25519PublicKey.from_public_bytes(enc))
    secret = shared_secret(dh, enc, own.public_key().public_bytes_raw())
    key, nonce = key_schedule(secret, info, aead)
    return AESGCM(key).decrypt(nonce, enc_ct[32:], aad)
