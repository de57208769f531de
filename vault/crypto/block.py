"""One AES-256 block as a permutation of 16 bytes: hides row ids, and covers blind references.

A UUIDv7 under this cipher looks random to whoever lacks the key, keeps its row's place in time order
for the database, and needs no look-up table: decoding gives the row id. ECB is right for exactly one
block and nothing else (SP 800-38A, 6.1), so no other length is taken.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from vault.secret import Secret

BLOCK_BYTES: Final = 16


class BlockCipher:
    """AES-256 on one block."""

    __slots__ = ("_decrypt", "_encrypt")

    def __init__(self, key: Secret) -> None:
        """Args: key: 32 bytes.

        Raises:
            ValueError: another length.
        """
        if len(key) != 32:
            raise ValueError("an AES-256 key has 32 bytes")
        cipher = Cipher(algorithms.AES(key.expose()), modes.ECB())  # noqa: S305 - one block only
        self._encrypt = cipher.encryptor().update
        self._decrypt = cipher.decryptor().update

    def encrypt(self, block: bytes) -> bytes:
        """The image of 16 bytes. Thread-safe: whole blocks leave no state, and the call keeps the GIL."""
        if len(block) != BLOCK_BYTES:
            raise ValueError("one block of 16 bytes")
        return self._encrypt(block)

    def decrypt(self, block: bytes) -> bytes:
        """The 16 bytes whose image this is."""
        if len(block) != BLOCK_BYTES:
            raise ValueError("one block of 16 bytes")
        return self._decrypt(block)
