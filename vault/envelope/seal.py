"""Sealing and opening `ve1` messages, one or many.

No caller chooses a nonce, an algorithm or a key's route: the salt is drawn here, the suite is the
key's, and the key is looked up by whoever calls, inside its own tenant and region.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vault.context import EncryptionContext
from vault.crypto.aead import CommittingAead
from vault.crypto.kdf import KEY_BYTES
from vault.envelope.message import (
    HEADER_BYTES,
    KEY_ID_BYTES,
    KEY_VERSION_BYTES,
    OVERHEAD_BYTES,
    PREFIX_BYTES,
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

_SALT_END: Final = PREFIX_BYTES + SALT_BYTES


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key with the name that goes into the header.

    Attributes:
        id: 16 bytes.
        version: 0 to 2**32 - 1.
        key: 32 uniform bytes.
        suite: the one suite this key's record allows.
        prefix: the first 22 bytes of every message under it.
        aead: what seals and opens with it.

    Raises:
        ValueError: one of them is not so; a message would be sealed that can never be opened.
    """

    id: KeyId
    version: int
    key: Secret
    suite: int = SUITE_AES_256_GCM
    prefix: bytes = field(init=False, repr=False)
    aead: CommittingAead = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.id) != KEY_ID_BYTES or not 0 <= self.version < 1 << 8 * KEY_VERSION_BYTES:
            raise ValueError("a key has an id of 16 bytes and a version of 4")
        if len(self.key) != KEY_BYTES or self.suite not in SUITES:
            raise ValueError("a key has 32 bytes and a suite that exists")
        suite = bytes((self.suite,))
        prefix = bytes((VERSION,)) + suite + self.id + self.version.to_bytes(KEY_VERSION_BYTES, "big")
        object.__setattr__(self, "prefix", prefix)
        object.__setattr__(self, "aead", CommittingAead(self.key, suite))


def seal(key: SealingKey, context: EncryptionContext, plaintext: bytes | Secret) -> bytes:
    """A `ve1` message that opens only under this key in this context.

    The header repeats what the derivation binds, and stands with the context in the associated data.
    """
    return key.aead.seal(os.urandom(SALT_BYTES), key.prefix, plaintext, context.encode())


def seal_many(
    key: SealingKey, contexts: Sequence[EncryptionContext], plaintexts: Sequence[bytes | Secret]
) -> list[bytes]:
    """What `seal` gives for each plaintext in the context at its place, for less.

    Raises:
        ValueError: there are not as many contexts as plaintexts.
    """
    return seal_encoded(key, [context.encode() for context in contexts], plaintexts)


def seal_encoded(
    key: SealingKey, contexts: Sequence[bytes], plaintexts: Sequence[bytes | Secret]
) -> list[bytes]:
    """As `seal_many`, for contexts that are encoded already (`vault.context.encode_for`).

    Raises:
        ValueError: there are not as many contexts as plaintexts.
    """
    # Drawn for this call and used up in it: no salts are kept that two threads or a fork could share.
    salts = os.urandom(SALT_BYTES * len(contexts))
    sealed, prefix = key.aead.seal, key.prefix
    starts = range(0, len(salts), SALT_BYTES)
    return [
        sealed(salts[at : at + SALT_BYTES], prefix, plaintext, context)
        for context, plaintext, at in zip(contexts, plaintexts, starts, strict=True)
    ]


def open_message(key: SealingKey, context: EncryptionContext, raw: bytes | Message) -> bytes:
    """The plaintext of a message.

    The order is fixed: length, version, suite, key's name, commitment in constant time, GCM.

    Raises:
        IntegrityError: `ciphertext_invalid`, the same for every failure.
    """
    if isinstance(raw, Message):
        parts, raw = raw, raw.header + raw.ciphertext
        if parse(raw) != parts:
            raise IntegrityError("ciphertext_invalid")
    return open_encoded(key, context.encode(), raw)


def open_encoded(key: SealingKey, context: bytes, raw: bytes) -> bytes:
    """As `open_message`, for a context that is encoded already (`vault.context.encode_for`)."""
    if len(raw) < OVERHEAD_BYTES or not raw.startswith(key.prefix):
        raise IntegrityError("ciphertext_invalid")
    header = raw[:HEADER_BYTES]
    return key.aead.open(raw[PREFIX_BYTES:_SALT_END], header, raw[HEADER_BYTES:], context)


def open_many(
    key: SealingKey, contexts: Sequence[EncryptionContext], messages: Sequence[bytes | Message]
) -> list[bytes]:
    """The plaintexts of messages, each opened in the context at its place: all of them or none.

    Raises:
        IntegrityError: `ciphertext_invalid`, as `open_message`; it does not say which message.
        ValueError: there are not as many contexts as messages.
    """
    return [open_message(key, context, raw) for context, raw in zip(contexts, messages, strict=True)]


def open_secret(key: SealingKey, context: EncryptionContext, raw: bytes | Message) -> Secret:
    """The secret that a message holds. Raises as `open_message` does."""
    return Secret(open_message(key, context, raw))
