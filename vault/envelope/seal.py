"""Sealing and opening `ve1` messages.

No caller chooses a nonce, an algorithm or a key's route: the salt is drawn here, the suite is the
key's, and the key is looked up by whoever calls, inside its own tenant and region.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from vault.context import EncryptionContext
from vault.crypto.aead import MessageKeys
from vault.crypto.kdf import KEY_BYTES
from vault.envelope.message import (
    KEY_ID_BYTES,
    KEY_VERSION_BYTES,
    SALT_BYTES,
    SUITE_AES_256_GCM,
    SUITES,
    VERSION,
    Message,
    parse,
)
from vault.errors import IntegrityError
from vault.identifiers import KeyId
from vault.secret import Secret


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key with the name that goes into the header.

    Attributes:
        id: 16 bytes.
        version: 0 to 2**32 - 1.
        key: 32 uniform bytes.
        suite: the one suite this key's record allows.

    Raises:
        ValueError: one of them is not so; a message would be sealed that can never be opened.
    """

    id: KeyId
    version: int
    key: Secret
    suite: int = SUITE_AES_256_GCM

    def __post_init__(self) -> None:
        if len(self.id) != KEY_ID_BYTES or not 0 <= self.version < 1 << 8 * KEY_VERSION_BYTES:
            raise ValueError("a key has an id of 16 bytes and a version of 4")
        if len(self.key) != KEY_BYTES or self.suite not in SUITES:
            raise ValueError("a key has 32 bytes and a suite that exists")


def seal(key: SealingKey, context: EncryptionContext, plaintext: bytes | Secret) -> bytes:
    """A `ve1` message that opens only under this key in this context.

    The header repeats what the derivation binds, and stands with the context in the associated data.
    """
    encoded = context.encode()
    salt = os.urandom(SALT_BYTES)
    keys = _message_keys(key.key, key.suite, salt, encoded)
    header = (
        bytes((VERSION, key.suite))
        + key.id
        + key.version.to_bytes(KEY_VERSION_BYTES, "big")
        + salt
        + keys.commitment
    )
    return header + keys.seal(plaintext, header + encoded)


def open_message(key: SealingKey, context: EncryptionContext, raw: bytes | Message) -> bytes:
    """The plaintext of a message.

    The order is fixed: length, suite, key's name, commitment in constant time, GCM.

    Raises:
        IntegrityError: `ciphertext_invalid`, the same for every failure.
    """
    message = raw if isinstance(raw, Message) else parse(raw)
    if message.suite != key.suite or message.key_id != key.id or message.key_version != key.version:
        raise IntegrityError("ciphertext_invalid")
    encoded = context.encode()
    keys = _message_keys(key.key, message.suite, message.salt, encoded)
    return keys.open(message.ciphertext, message.header + encoded, message.commitment)


def open_secret(key: SealingKey, context: EncryptionContext, raw: bytes | Message) -> Secret:
    """The secret that a message holds. Raises as `open_message` does."""
    return Secret(open_message(key, context, raw))


def _message_keys(key: Secret, suite: int, salt: bytes, encoded: bytes) -> MessageKeys:
    return MessageKeys(key, bytes((suite,)) + salt + hashlib.sha256(encoded).digest())
