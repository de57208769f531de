"""Committing AEAD: one set of keys a message, derived from a long-lived key, a salt and the context.

AES-256-GCM alone commits to nothing: one ciphertext can be made to open under two keys. Here the
derivation also yields a 32-byte commitment that is stored beside the ciphertext and compared first.

The derivation is HKDF-Expand (RFC 5869, 2.3), written out here because the long-lived key is worked into
HMAC once and not once a message. A key stays inside MAC and cipher objects, which OpenSSL overwrites when
they go; no name is ever bound to its bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from vault.crypto.kdf import KEY_BYTES, Label
from vault.errors import IntegrityError
from vault.secret import Secret

IV_BYTES: Final = 12  # SP 800-38D, 5.2.1.1
TAG_BYTES: Final = 16
COMMITMENT_BYTES: Final = 32

_THIRD: Final = IV_BYTES + COMMITMENT_BYTES - 32  # what the third block of 32 bytes gives


class CommittingAead:
    """AES-256-GCM under keys of each message's own, with a commitment to them. Safe to share between threads.

    Args:
        key: the 32-byte key that messages are sealed under.
        suite: the byte that says how; bound by the derivation.

    Raises:
        ValueError: the key does not have 32 bytes, or is wiped.
    """

    __slots__ = ("_first", "_key", "_lead", "_mac")

    def __init__(self, key: Secret, suite: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a message key has 32 bytes")
        self._key = key
        self._lead = Label.VE1.value + suite
        self._mac = HMAC(key.expose(), SHA256())
        self._first = self._mac.copy()
        self._first.update(self._lead)

    def seal(self, salt: bytes, prefix: bytes, plaintext: bytes | Secret, context: bytes) -> bytes:
        """`prefix`, `salt`, commitment, ciphertext and tag. Once for each salt: the IV is derived, not drawn.

        All that stands before the ciphertext is associated data, and behind it the context.

        Raises:
            ValueError: the key is wiped.
        """
        first, iv, commitment = self._expand(salt, context)
        header = prefix + salt + commitment
        aead = AESGCM(first.finalize())
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
            return AESGCM(first.finalize()).decrypt(iv, ciphertext, header + context)
        except InvalidTag:
            raise IntegrityError("ciphertext_invalid") from None

    def _expand(self, salt: bytes, context: bytes) -> tuple[HMAC, bytes, bytes]:
        """HKDF-Expand to 76 bytes: AES key (inside the MAC object that gives it), IV, commitment.

        The info is label, suite, salt, SHA-256 of the context. T(1) to T(3) as in RFC 5869, 2.3; T(1) is the
        AES key and has no name here, T(2) and T(3) hold what is public or worth nothing without it.
        """
        if not self._key:
            raise ValueError("the Secret is wiped")
        varying = salt + hashlib.sha256(context).digest()
        info = self._lead + varying
        first = self._first.copy()
        first.update(varying + b"\1")
        block = self._mac.copy()
        block.update(first.copy().finalize() + info + b"\2")
        second = block.finalize()
        block = self._mac.copy()
        block.update(second + info + b"\3")
        return first, second[:IV_BYTES], second[IV_BYTES:] + block.finalize()[:_THIRD]
