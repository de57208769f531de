"""Committing AEAD: one set of keys a message, derived from the message's key, salt and context.

AES-256-GCM alone commits to nothing: one ciphertext can be made to open under two keys. Here the
derivation also yields a 32-byte commitment that is stored beside the ciphertext and compared first.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from vault.crypto.kdf import KEY_BYTES, Label
from vault.errors import IntegrityError
from vault.secret import Secret

IV_BYTES: Final = 12  # SP 800-38D, 5.2.1.1
TAG_BYTES: Final = 16
COMMITMENT_BYTES: Final = 32
_LENGTH: Final = KEY_BYTES + IV_BYTES + COMMITMENT_BYTES
_PUBLIC: Final = KEY_BYTES + IV_BYTES  # what lies behind is the commitment
_IV: Final = slice(KEY_BYTES, _PUBLIC)
_HASH: Final = SHA256()
_LABEL: Final = Label.VE1.value


class MessageKeys:
    """The keys of one message: AES-256-GCM key and IV (hidden), and the commitment (public)."""

    __slots__ = ("_aead", "_okm", "commitment")

    def __init__(self, key: Secret, info: bytes) -> None:
        """Derives the keys.

        Args:
            key: the 32-byte key that the message is sealed under.
            info: suite, salt and the hash of the context, behind the label `ve1`.

        Raises:
            ValueError: the key does not have 32 bytes.
        """
        if len(key) != KEY_BYTES:
            raise ValueError("a message key has 32 bytes")
        # Kept whole as one Secret: slices are taken in expressions, so no frame's local holds a key.
        self._okm = Secret(HKDFExpand(_HASH, _LENGTH, _LABEL + info).derive(key.expose()))
        self._aead = AESGCM(self._okm.expose()[:KEY_BYTES])
        self.commitment = self._okm.expose()[_PUBLIC:]

    def seal(self, plaintext: bytes | Secret, associated: bytes) -> bytes:
        """Ciphertext and tag. Once per set of keys: the IV is derived, not drawn."""
        if isinstance(plaintext, Secret):
            return self._aead.encrypt(self._okm.expose()[_IV], plaintext.expose(), associated)
        return self._aead.encrypt(self._okm.expose()[_IV], plaintext, associated)

    def open(self, ciphertext: bytes, associated: bytes, commitment: bytes) -> bytes:
        """The plaintext, if the commitment and the tag are right.

        Raises:
            IntegrityError: `ciphertext_invalid`, whatever the reason.
        """
        if not hmac.compare_digest(self.commitment, commitment):
            raise IntegrityError("ciphertext_invalid")
        try:
            return self._aead.decrypt(self._okm.expose()[_IV], ciphertext, associated)
        except InvalidTag:
            raise IntegrityError("ciphertext_invalid") from None
