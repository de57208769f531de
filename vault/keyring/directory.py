"""The directory's keys: one a version, of two halves like an epoch's, and the references made with it.

It is no key of any cell: another key store, another half-store, another label. So a reference of the
directory says nothing about a cell's reference to the same person. Spec: docs/spec/regions.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vault.context import TAG_SUBJECT, TAG_TENANT, canonical
from vault.crypto.kdf import Label, combine, expand
from vault.crypto.mac import mac, reference, same
from vault.crypto.randomness import new_key
from vault.errors import IntegrityError
from vault.identifiers import uuid7
from vault.keyring.hierarchy import half_context
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.secret import Secret
from vault.store.directory import ACTIVE, DirectoryKeyRow

_PROOF: Final = b"coatcheck directory"


@dataclass(frozen=True, slots=True)
class DirectoryKey:
    """One version of the directory's key."""

    version: int
    key: Secret
    proof: bytes

    def of(self, tenant: str, subject: str) -> bytes:
        """The 16-byte reference of a tenant's data subject."""
        return reference(
            self.key, canonical(((TAG_TENANT, tenant.encode()), (TAG_SUBJECT, subject.encode())))
        )


def _made(name: str, version: int, id_: bytes, kms_half: Secret, store_half: Secret) -> DirectoryKey:
    root = combine(kms_half, store_half, Label.DIRECTORY, half_context(name, version, id_))
    proof = mac(expand(root, Label.DIRECTORY_PROOF), _PROOF)
    return DirectoryKey(version, expand(root, Label.DIRECTORY_REFERENCE), proof)


def create_key(name: str, version: int, provider: Provider, halves: HalfStores) -> DirectoryKeyRow:
    """Makes a version: root version, half in every half-store (durable first), wrapped half.

    Nothing is listed under it before its row is committed.
    """
    id_ = uuid7()
    provider.create_root(version)
    store_half = halves.create(version)
    kms_half = new_key()
    wrapped = provider.wrap(version, kms_half, half_context(name, version, id_))
    made = _made(name, version, id_, kms_half, store_half)
    return DirectoryKeyRow(version, id_, ACTIVE, wrapped, made.proof, 0)


def open_key(name: str, row: DirectoryKeyRow, provider: Provider, halves: HalfStores) -> DirectoryKey:
    """A version, with the proof that it is the one that people are listed under.

    Raises:
        Unavailable: `key_unavailable`: the key store or every half-store is out of reach.
        IntegrityError: `integrity_failed`: a half is not what was written.
    """
    context = half_context(name, row.version, row.id)
    try:
        kms_half = provider.unwrap(row.version, row.sealed_half, context)
        made = _made(name, row.version, row.id, kms_half, halves.read(row.version))
    except IntegrityError:
        raise IntegrityError("integrity_failed", key=row.version) from None
    if not same(made.proof, row.proof):
        raise IntegrityError("integrity_failed", key=row.version)
    return made
