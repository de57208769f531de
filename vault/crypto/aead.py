"""Committing AEAD: one set of keys a message, derived from a long-lived key, a salt and the context.

AES-256-GCM alone commits to nothing: one ciphertext can be made to open under two keys. Here the
derivation also yields a 32-byte commitment that is stored beside the ciphertext and compared first.

The derivation is HKDF-Expand (RFC 5869, 2.3), written out here because the long-lived key is worked into
HMAC once and not once a message: half the price of a short message would be that. A key stays inside hash
and cipher objects, which OpenSSL overwrites when they go; no name is ever bound to its bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.crypto.kdf import KEY_BYTES, Label
from vault.errors import IntegrityError
from vault.secret import Secret

if TYPE_CHECKING:
    from hashlib import _Hash

IV_BYTES: Final = 12  # SP 800-38D, 5.2.1.1
TAG_BYTES: Final = 16
COMMITMENT_BYTES: Final = 32

_HASH_BLOCK: Final = 64  # bytes, SHA-256 (FIPS 180-4, figure 1)
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))  # ipad and opad, FIPS 198-1, table 1
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_THIRD: Final = IV_BYTES + COMMITMENT_BYTES - 32  # what the third block of 32 bytes gives


class CommittingAead:
    """AES-256-GCM under keys of each message's own, with a commitment to them. Safe to share between threads.

    Args:
        key: the 32-byte key that messages are sealed under.
        suite: the byte that says how; bound by the derivation.

    Raises:
        ValueError: the key does not have 32 bytes, or is wiped.
    """

    __slots__ = ("_first", "_inner", "_key", "_lead", "_outer")

    def __init__(self, key: Secret, suite: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a message key has 32 bytes")
        self._key = key
        self._lead = Label.VE1.value + suite
        # HMAC's two hashes as far as the key takes them: K0 xor ipad, K0 xor opad (FIPS 198-1, section 4)
        self._inner = hashlib.sha256(key.expose().ljust(_HASH_BLOCK, b"\0").translate(_INNER))
        self._outer = hashlib.sha256(key.expose().ljust(_HASH_BLOCK, b"\0").translate(_OUTER))
        self._first = self._inner.copy()
        self._first.update(self._lead)

    def seal(self, salt: bytes, prefix: bytes, plaintext: bytes | Secret, context: bytes) -> bytes:
        """`prefix`, `salt`, commitment, ciphertext and tag. Once for each salt: the IV is derived, not drawn.

        All that stands before the ciphertext is associated data, and behind it the context.

        Raises:
            ValueError: the key is wiped.
        """
        first, iv, commitment = self._expand(salt, context)
        header = prefix + salt + commitment
        aead = AESGCM(first.digest())
        if isinstance(plaintext, Secret):
            return header + aead.encrypt(iv, plaintext.expose(), header + context)
        return header + aead.encrypt(iv, plaintext, header + context)

    def open(self, salt: bytes, header: bytes, ciphertext: bytes, context: bytes) -> bytes:
        """The plaintext, if the commitment, which ends the header, and the tag are right.

        Raises:
            IntegrityError: `ciphertext_invalid`, whatever the reason.
            ValueError: the key is wiped.
        """
        first, iv, commitment = self._expand(salt, context)
        if not hmac.compare_digest(commitment, header[-COMMITMENT_BYTES:]):
            raise IntegrityError("ciphertext_invalid")
        try:
            return AESGCM(first.digest()).decrypt(iv, ciphertext, header + context)
        except InvalidTag:
            raise IntegrityError("ciphertext_invalid") from None

    def _expand(self, salt: bytes, context: bytes) -> tuple[_Hash, bytes, bytes]:
        """HKDF-Expand to 76 bytes: AES key (inside the hash object that gives it), IV, commitment.

        The info is label, suite, salt, SHA-256 of the context. T(1) to T(3) as in RFC 5869, 2.3; T(1) is the
        AES key and has no name here, T(2) and T(3) hold what is public or worth nothing without it.
        """
        if not self._key:
            raise ValueError("the Secret is wiped")
        varying = salt + hashlib.sha256(context).digest()
        info = self._lead + varying
        block = self._first.copy()
        block.update(varying + b"\1")
        first = self._outer.copy()
        first.update(block.digest())
        block = self._inner.copy()
        block.update(first.digest() + info + b"\2")
        last = self._outer.copy()
        last.update(block.digest())
        second = last.digest()
        block = self._inner.copy()
        block.update(second + info + b"\3")
        last = self._outer.copy()
        last.update(block.digest())
        return first, second[:IV_BYTES], second[IV_BYTES:] + last.digest()[:_THIRD]
