"""A key together with the hash of what it is for, as it lies inside a sealed key; and pages of them.

The hash makes rows of the key table unswappable: a key that opens, but in another row, is refused.
Formats: docs/spec/key-hierarchy.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from itertools import pairwise
from struct import Struct
from typing import Final

from vault.crypto.kdf import KEY_BYTES
from vault.errors import IntegrityError
from vault.secret import Secret

_BINDING_BYTES: Final = 32
_PACKED_BYTES: Final = KEY_BYTES + _BINDING_BYTES
_ID_BYTES: Final = 16
_PAGE_VERSION: Final = 0x01
_HEAD: Final = Struct(">BH")  # version, keys
_ENTRY: Final = Struct(f">{_ID_BYTES + _PACKED_BYTES}s")
_ID: Final = Struct(f">{_ID_BYTES}s{_PACKED_BYTES}x")  # what is secret of an entry is passed over


def pack(key: Secret, owner: bytes) -> Secret:
    """`key 32 | SHA-256(owner)`: the plaintext of a sealed key.

    Args:
        owner: the canonical encoding of what the key belongs to.
    """
    return Secret(key.expose() + hashlib.sha256(owner).digest())


def unpack(packed: Secret, owner: bytes) -> Secret:
    """The key, if it was packed for this owner.

    Raises:
        IntegrityError: `ciphertext_invalid`.
    """
    if len(packed) != _PACKED_BYTES or not hmac.compare_digest(
        packed.expose()[KEY_BYTES:], hashlib.sha256(owner).digest()
    ):
        raise IntegrityError("ciphertext_invalid")
    return Secret(packed.expose()[:KEY_BYTES])


def check_packed(packed: Secret, owner: bytes) -> Secret:
    """The packed key itself, if it was packed for this owner; to be put elsewhere.

    Raises:
        IntegrityError: `ciphertext_invalid`.
    """
    unpack(packed, owner)
    return packed


def pack_page(
    keys: Mapping[bytes, Secret], page: Secret | None = None, keep: Collection[bytes] = ()
) -> Secret:
    """The plaintext of a key page: `version 1 | keys 2`, then `id 16 | packed key 64` by ascending id.

    Args:
        keys: packed keys (`pack`) by their ids of 16 bytes.
        page: a page whose keys go into it too.
        keep: the ids of those that do.

    Raises:
        ValueError: an id or a key of another length, or more than 65,535 keys.
    """
    if any(len(id_) != _ID_BYTES or len(packed) != _PACKED_BYTES for id_, packed in keys.items()):
        raise ValueError("a page holds packed keys by ids of 16 bytes")
    kept = [] if page is None else [id_ for id_ in page_ids(page) if id_ in keep and id_ not in keys]
    head = _HEAD.pack(_PAGE_VERSION, len(keys) + len(kept))
    if page is None:
        return Secret(head + b"".join(id_ + keys[id_].expose() for id_ in sorted(keys)))
    if not keys and len(kept) * _ENTRY.size + _HEAD.size == len(page):
        return page
    chosen = frozenset(kept)  # of what has to be taken apart
    return Secret(
        head
        + b"".join(
            sorted(
                [
                    *(id_ + keys[id_].expose() for id_ in keys),
                    *(
                        entry
                        for (entry,) in _ENTRY.iter_unpack(page.expose()[_HEAD.size :])
                        if entry[:_ID_BYTES] in chosen
                    ),
                ]
            )
        )
    )


def page_ids(page: Secret) -> list[bytes]:
    """The ids of a page's keys, ascending.

    Raises:
        IntegrityError: `ciphertext_invalid`: not a page.
    """
    if len(page) < _HEAD.size:
        raise IntegrityError("ciphertext_invalid")
    version, count = _HEAD.unpack(page.expose()[: _HEAD.size])
    if version != _PAGE_VERSION or len(page) != _HEAD.size + count * _ENTRY.size:
        raise IntegrityError("ciphertext_invalid")
    ids = [id_ for (id_,) in _ID.iter_unpack(page.expose()[_HEAD.size :])]
    if any(one >= other for one, other in pairwise(ids)):
        raise IntegrityError("ciphertext_invalid")
    return ids


def take(page: Secret, id_: bytes, owner: bytes) -> Secret:
    """One key of a page.

    Raises:
        LookupError: the page has no such key.
        IntegrityError: `ciphertext_invalid`: not a page, or the key was packed for another owner.
    """
    ids = page_ids(page)
    if id_ not in ids:
        raise LookupError("no such key in this page")
    start = _HEAD.size + ids.index(id_) * _ENTRY.size + _ID_BYTES
    return unpack(Secret(page.expose()[start : start + _PACKED_BYTES]), owner)
