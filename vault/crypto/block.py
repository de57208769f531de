"""One AES-256 block as a permutation of 16 bytes: hides row ids, and covers blind references.

A UUIDv7 under this cipher looks random to whoever lacks the key, keeps its row's place in time order
for the database, and needs no look-up table: decoding gives the row id. ECB is right for exactly one
block and nothing else (SP 800-38A, 6.1), so no other length is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from vault.secret import Secret

BLOCK_BYTES: Final = 16


class BlockCipher:
    """AES-256 on one block."""

    __slots__ = ("_decrypt", "_encrypt", "_encrypt_many", "_lock")

    def __init__(self, key: Secret) -> None:
        """Args: key: 32 bytes.

        Raises:
            ValueError: another length.
        """
        if len(key) != 32:
            raise ValueError("an AES-256 key has 32 bytes")
        cipher = Cipher(algorithms.AES(key.expose()), modes.ECB())  # noqa: S305 - one block only
        self._encrypt = cipher.encryptor().update
        self._encrypt_many = cipher.encryptor().update
        self._lock = threading.Lock()
        self._decrypt = cipher.decryptor().update

    def encrypt(self, block: bytes) -> bytes:
        """The image of 16 bytes. Thread-safe: whole blocks leave no state, and one block keeps the GIL."""
        if len(block) != BLOCK_BYTES:
            raise ValueError("one block of 16 bytes")
        return self._encrypt(block)

    def encrypt_many(self, blocks: Sequence[bytes]) -> bytes:
        """The images of blocks of 16 bytes, one behind the other: each on its own, in one call.

        A call on many bytes gives up the GIL, and a cipher in use refuses another thread: so this has one of
        its own, and a lock.
        """
        if any(len(block) != BLOCK_BYTES for block in blocks):
            raise ValueError("blocks of 16 bytes")
        with self._lock:
            return self._encrypt_many(b"".join(blocks))

    def decrypt(self, block: bytes) -> bytes:
        """The 16 bytes whose image this is."""
        if len(block) != BLOCK_BYTES:
            raise ValueError("one block of 16 bytes")
        return self._decrypt(block)
