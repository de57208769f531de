"""Key derivation: HKDF-SHA-256 (RFC 5869), with every label of every derivation in one list.

A label is used for one purpose. Two derivations from one key never share an `info`, because each
starts with its own label and what follows a label has a fixed length or is canonically encoded.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from vault.secret import Secret

KEY_BYTES: Final = 32


class Label(Enum):
    """All labels. Append-only: a label never changes its meaning."""

    VE1 = b"coatcheck/ve1/"  # key of a message -> its AES-256 key, IV and commitment
    EPOCH = b"coatcheck/epoch/"  # two halves -> epoch key
    EPOCH_SEALING = b"coatcheck/epoch-sealing/"  # epoch key -> the key that seals data and field keys
    EPOCH_REQUESTS = b"coatcheck/epoch-requests/"  # epoch key -> the key over repeatable requests
    EPOCH_BACKUP = b"coatcheck/epoch-backup/"  # epoch key -> the key that seals backups of custody
    REQUEST = b"coatcheck/request/"  # that key -> the key of one request
    REQUEST_REFERENCE = b"coatcheck/request-reference/"  # key of a request -> what its row is found by
    REQUEST_FINGERPRINT = b"coatcheck/request-fingerprint/"  # key of a request -> MAC key over what it asks
    REQUEST_SEALING = b"coatcheck/request-sealing/"  # key of a request -> the key that seals its answer
    DIRECTORY = b"coatcheck/directory/"  # two halves -> root of a version of the directory's key
    DIRECTORY_REFERENCE = b"coatcheck/directory-reference/"  # that root -> MAC key over people's identifiers
    DIRECTORY_PROOF = b"coatcheck/directory-proof/"  # that root -> MAC key that proves it is this version
    AUTHENTICATOR_SEALING = b"coatcheck/authenticator-sealing/"  # the cell's key -> what seals TOTP secrets
    AUTHENTICATOR_CHALLENGES = b"coatcheck/authenticator-challenges/"  # that key -> MAC key over challenges
    APPROVAL_SEALING = b"coatcheck/approval-sealing/"  # the cell's key -> what seals requests to approve
    APPROVAL_REQUESTS = b"coatcheck/approval-requests/"  # that key -> MAC key over those requests
    ROOT_WRAP = b"coatcheck/root-wrap/"  # local root key -> the key that wraps kms halves


def expand(key: Secret, label: Label, info: bytes = b"", length: int = KEY_BYTES) -> Secret:
    """HKDF-Expand with `key` as the pseudo-random key.

    Args:
        key: exactly 32 uniform bytes (HashLen), so that Extract may be left out (RFC 5869, 3.3).
        label: what the result is for.
        info: what follows the label; fixed length or canonical.
        length: bytes to derive, at most 8160.

    Raises:
        ValueError: the key does not have 32 bytes.
    """
    if len(key) != KEY_BYTES:
        raise ValueError("HKDF-Expand takes a key of 32 bytes")
    return Secret(HKDFExpand(SHA256(), length, label.value + info).derive(key.expose()))


def combine(first: Secret, second: Secret, label: Label, info: bytes) -> Secret:
    """A 32-byte key from two halves of 32 bytes each; neither half alone says anything about it.

    HKDF-Extract over the two, one behind the other, then Expand (RFC 5869, 2.2 and 2.3).

    Raises:
        ValueError: a half does not have 32 bytes.
    """
    if len(first) != KEY_BYTES or len(second) != KEY_BYTES:
        raise ValueError("a half has 32 bytes")
    hkdf = HKDF(SHA256(), KEY_BYTES, salt=None, info=label.value + info)
    return Secret(hkdf.derive(first.expose() + second.expose()))
