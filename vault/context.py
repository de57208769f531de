"""The encryption context and the one canonical encoding behind it.

Everything that is bound to a ciphertext, a key or a tweak goes through `canonical`: tag-length-value,
tags ascending, lengths fixed at four bytes. Absent differs from empty, and no two different inputs
share an encoding. Byte format: docs/spec/context.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from struct import Struct
from typing import Final

VERSION: Final = 0x01
_head_of_part: Final = Struct(">BI").pack
MAX_PART: Final = 2**32 - 1  # bytes; what the four-byte length can say

# Tags are append-only: a number is never given a second meaning.
TAG_USE: Final = 1
TAG_TENANT: Final = 2
TAG_REGION: Final = 3
TAG_FIELD: Final = 4
TAG_RECORD: Final = 5
TAG_TEMPLATE: Final = 6
TAG_KEPT: Final = 7
TAG_SUBJECT: Final = 8
TAG_CLASS: Final = 9
TAG_DUE: Final = 10
TAG_EPOCH: Final = 11
TAG_PURPOSE: Final = 12
TAG_VERSION: Final = 13
TAG_CALLER: Final = 14
TAG_ROUTE: Final = 15
TAG_REQUEST: Final = 16
TAG_VALUE: Final = 17


class Use(StrEnum):
    """Use labels: what a sealed message is. One label each; a message never opens under another."""

    VALUE = "value"
    CLAIM = "claim"
    DATA_KEY = "data key"
    FIELD_KEY = "field key"
    SUBJECT_IDENTIFIER = "subject identifier"
    KMS_HALF = "kms half"
    ROOT_KEY = "root key"
    REPLAY = "replay"
    KEY_PAGE = "key page"
    CANARY = "canary"
    CUSTODY_BACKUP = "custody backup"
    RECORD_BACKUP = "record backup"
    AUTHENTICATOR = "authenticator"
    APPROVAL = "approval"

    __hash__ = str.__hash__  # Enum's own is written in Python, and runs for every message that is sealed


def canonical(parts: Iterable[tuple[int, bytes | None]]) -> bytes:
    """The canonical encoding: a version byte, then `tag u8 | length u32 | bytes` for each present part.

    Args:
        parts: (tag, bytes) in strictly ascending order of tags; None means absent and is left out.

    Raises:
        ValueError: tags out of order or out of range, or a part of 4 GiB and more.
    """
    out = bytearray((VERSION,))
    last = 0
    for tag, value in parts:
        if not last < tag < 256:
            raise ValueError("tags ascend from 1 to 255")
        last = tag
        if value is not None:
            if len(value) > MAX_PART:
                raise ValueError("a part is too long")
            out.append(tag)
            out += len(value).to_bytes(4, "big")
            out += value
    return bytes(out)


@dataclass(frozen=True, slots=True)
class EncryptionContext:
    """What a ciphertext is bound to, besides its key.

    The data subject is not a member: it is bound through the key (each data key belongs to one).
    """

    use: Use
    tenant: str
    region: str
    field: str | None = None
    record: bytes | None = None

    def encode(self) -> bytes:
        """The canonical bytes, used as associated data and, hashed, in the key derivation."""
        return encode_for(self.use, self.tenant, self.region, self.field, self.record)


def encode_for(use: Use, tenant: str, region: str, field: str | None, record: bytes | None) -> bytes:
    """What `EncryptionContext(...).encode()` gives, without the object: for batches."""
    prefix = _unrecorded(use, tenant, region, field)
    if record is None:
        return prefix
    return with_record(prefix, record)


def with_record(context: bytes, record: bytes) -> bytes:
    """An encoded context that has no record yet, with one: for many records of one field."""
    return context + _head_of_part(TAG_RECORD, len(record)) + record


@lru_cache(maxsize=4096)
def _unrecorded(use: Use, tenant: str, region: str, field: str | None) -> bytes:
    """A context's encoding up to its record, which has the highest tag and changes with every message."""
    return canonical(
        (
            (TAG_USE, use.value.encode()),
            (TAG_TENANT, tenant.encode()),
            (TAG_REGION, region.encode()),
            (TAG_FIELD, None if field is None else field.encode()),
        ),
    )
