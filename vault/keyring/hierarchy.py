"""The key hierarchy: epoch key, sealing key, data keys, field keys. Spec: docs/spec/key-hierarchy.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vault.context import (
    TAG_CLASS,
    TAG_DUE,
    TAG_EPOCH,
    TAG_FIELD,
    TAG_PURPOSE,
    TAG_RECORD,
    TAG_REGION,
    TAG_SUBJECT,
    TAG_TENANT,
    TAG_VERSION,
    EncryptionContext,
    Use,
    canonical,
)
from vault.crypto.kdf import Label, combine, expand
from vault.crypto.keypack import check_packed, pack, take, unpack
from vault.crypto.randomness import new_key
from vault.envelope.seal import SealingKey, open_message, open_secret, seal
from vault.errors import IntegrityError
from vault.identifiers import KeyId, uuid7
from vault.retention.period import NO_DUE
from vault.secret import Secret
from vault.store.custody import FieldKeyRow, KeyRow, Slot
from vault.store.turning import PageRow

CELL: Final = ""
"""In place of a tenant or a field: the key is the cell's, or the tenant's, own."""


PAGE_KEYS: Final = 256
"""Most keys of a page: some 20 KB, which open in the time of three single keys."""

_CANARY: Final = b"coatcheck canary"


class Purpose(StrEnum):
    """What a field key is for: one purpose each (SP 800-57 part 1, 5.2)."""

    FF1 = "ff1"
    ROW_ID = "row-id"
    SUBJECT_REFERENCE = "subject-reference"
    INDEX_LAYER = "index-layer"
    BLIND_INDEX = "blind-index"
    MASK = "mask"
    DELIVERY = "delivery"  # signs sealed answers; the cell's own
    ATTEMPTS = "verify-attempts"  # over tokens that are verified; the cell's own
    INTAKE = "intake"  # opens sealed requests; the cell's own
    AUTHENTICATORS = "authenticators"
    APPROVALS = "approvals"  # over requests that somebody must approve; the cell's own
    CERTIFICATES = "certificates"  # signs certificates of erasure; the cell's own
    ACCESS_TOKENS = "access-tokens"  # signs access tokens; the cell's own


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch's key: as a key that seals keys, as one over repeatable requests, as one over backups."""

    number: int
    region: str
    sealing: SealingKey
    requests: Secret
    backup: SealingKey

    def context(self, use: Use, tenant: str) -> EncryptionContext:
        """The context of a key sealed in this epoch."""
        return EncryptionContext(use, tenant=tenant, region=self.region)


def half_context(region: str, epoch: int, epoch_id: bytes) -> bytes:
    """What the KMS binds to an epoch's wrapped half."""
    return canonical(
        ((TAG_REGION, region.encode()), (TAG_EPOCH, epoch.to_bytes(4, "big") + epoch_id)),
    )


def make_epoch(region: str, number: int, epoch_id: bytes, kms_half: Secret, store_half: Secret) -> Epoch:
    """The epoch whose key is derived from its two halves."""
    key = combine(kms_half, store_half, Label.EPOCH, half_context(region, number, epoch_id))
    sealing = SealingKey(KeyId(epoch_id), number, expand(key, Label.EPOCH_SEALING))
    backup = SealingKey(KeyId(epoch_id), number, expand(key, Label.EPOCH_BACKUP))
    return Epoch(number, region, sealing, expand(key, Label.EPOCH_REQUESTS), backup)


def make_canary(epoch: Epoch) -> bytes:
    """Something sealed that only this epoch's key opens: who can has the epoch, and not another one."""
    return seal(epoch.sealing, epoch.context(Use.CANARY, CELL), _CANARY)


def check_canary(epoch: Epoch, sealed: bytes) -> None:
    """Returns if the canary opens.

    Raises:
        IntegrityError: `ciphertext_invalid`: another epoch's key, or not what was sealed.
    """
    if open_message(epoch.sealing, epoch.context(Use.CANARY, CELL), sealed) != _CANARY:
        raise IntegrityError("ciphertext_invalid")


def slot_owner(slot: Slot) -> bytes:
    """What a data key is bound to: its tenant, subject, class and due period."""
    return canonical(
        (
            (TAG_TENANT, slot.tenant.encode()),
            (TAG_SUBJECT, slot.subject),
            (TAG_CLASS, slot.class_.encode()),
            (TAG_DUE, None if slot.due == NO_DUE else slot.due.encode()),
        )
    )


def field_key_owner(tenant: str, field: str, purpose: str, version: int) -> bytes:
    """What a field key is bound to: its tenant, field, purpose and version."""
    return canonical(
        (
            (TAG_TENANT, tenant.encode()),
            (TAG_FIELD, field.encode()),
            (TAG_PURPOSE, purpose.encode()),
            (TAG_VERSION, version.to_bytes(4, "big")),
        )
    )


def new_data_key(epoch: Epoch, slot: Slot) -> KeyRow:
    """A fresh data key for a slot, sealed; not yet in the database."""
    id_ = uuid7()
    sealed = seal(epoch.sealing, epoch.context(Use.DATA_KEY, slot.tenant), pack(new_key(), slot_owner(slot)))
    return KeyRow(id_, *slot, "active", epoch.number, sealed, "active")


def open_data_key(epoch: Epoch, row: KeyRow) -> SealingKey:
    """The data key of a row.

    Raises:
        IntegrityError: `ciphertext_invalid`: altered, or moved from another row.
    """
    packed = open_secret(epoch.sealing, epoch.context(Use.DATA_KEY, row.tenant), row.sealed)
    return SealingKey(KeyId(row.id), 1, unpack(packed, slot_owner(row.slot)))


def packed_data_key(epoch: Epoch, row: KeyRow) -> Secret:
    """The key of a row with the hash of its owner, to be put into a page.

    Raises:
        IntegrityError: `ciphertext_invalid`: altered, or moved from another row.
    """
    packed = open_secret(epoch.sealing, epoch.context(Use.DATA_KEY, row.tenant), row.sealed)
    return check_packed(packed, slot_owner(row.slot))


def _page_context(region: str, page: PageRow) -> EncryptionContext:
    """What a page is bound to: its id, tenant, class, due period and version."""
    record = canonical(
        (
            (TAG_RECORD, page.id),
            (TAG_CLASS, page.class_.encode()),
            (TAG_DUE, None if page.due == NO_DUE else page.due.encode()),
            (TAG_VERSION, page.version.to_bytes(4, "big")),
        )
    )
    return EncryptionContext(Use.KEY_PAGE, page.tenant, region, record=record)


def seal_page(epoch: Epoch, page: PageRow, plaintext: Secret, count: int) -> PageRow:
    """A page as it is stored in this epoch; `page` says all but the keys."""
    sealed = seal(epoch.sealing, _page_context(epoch.region, page), plaintext)
    return page._replace(epoch=epoch.number, keys=count, sealed=sealed)


def open_page(epoch: Epoch, page: PageRow) -> Secret:
    """The plaintext of a page (`vault.crypto.keypack`).

    Raises:
        IntegrityError: `ciphertext_invalid`: altered, or put in another page's or version's place.
    """
    return open_secret(epoch.sealing, _page_context(epoch.region, page), page.sealed)


def open_paged_key(page: Secret, row: KeyRow) -> SealingKey:
    """The data key of a row, from its page.

    Raises:
        LookupError: the page has no such key.
        IntegrityError: `ciphertext_invalid`: the row is not the key's.
    """
    return SealingKey(KeyId(row.id), 1, take(page, row.id, slot_owner(row.slot)))


def reseal_field_key(old: Epoch, new: Epoch, row: FieldKeyRow) -> bytes:
    """A field key sealed under another epoch, if it is the one that its row says.

    Raises:
        IntegrityError: `ciphertext_invalid`.
    """
    packed = open_secret(old.sealing, old.context(Use.FIELD_KEY, row.tenant), row.sealed)
    owner = field_key_owner(row.tenant, row.field, row.purpose, row.version)
    return seal(new.sealing, new.context(Use.FIELD_KEY, row.tenant), check_packed(packed, owner))


def new_field_key(epoch: Epoch, tenant: str, field: str, purpose: Purpose, version: int) -> FieldKeyRow:
    """A fresh field key, sealed; not yet in the database."""
    owner = field_key_owner(tenant, field, purpose, version)
    sealed = seal(epoch.sealing, epoch.context(Use.FIELD_KEY, tenant), pack(new_key(), owner))
    return FieldKeyRow(uuid7(), tenant, field, purpose.value, version, "active", epoch.number, sealed)


def open_field_key(epoch: Epoch, row: FieldKeyRow) -> Secret:
    """The field key of a row.

    Raises:
        IntegrityError: `ciphertext_invalid`: altered, or moved from another row.
    """
    packed = open_secret(epoch.sealing, epoch.context(Use.FIELD_KEY, row.tenant), row.sealed)
    return unpack(packed, field_key_owner(row.tenant, row.field, row.purpose, row.version))
