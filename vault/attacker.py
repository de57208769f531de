"""What somebody makes of a stolen database: reads it raw, with whatever keys there are, and asks nobody.

States, periods, grants and the ledger mean nothing here. It is used to show that an erasure holds
(`vault.prove`); it can do nothing that whoever has these things could not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select

from vault.context import EncryptionContext, Use, encode_for
from vault.crypto.block import BlockCipher
from vault.envelope.message import from_text, parse
from vault.envelope.seal import SealingKey, open_encoded, open_message
from vault.errors import CoatcheckError
from vault.keyring.epoch import StoredEpoch, open_epoch, stored_epochs
from vault.keyring.hierarchy import (
    Epoch,
    Purpose,
    open_data_key,
    open_field_key,
    open_page,
    open_paged_key,
)
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.secret import Secret
from vault.store.cell import Store
from vault.store.custody import FieldKeyRow, KeyRow
from vault.store.turning import PageRow
from vault.tokens.index import BlindIndex
from vault.tokens.shaped import claim_record


class StolenClaim(NamedTuple):
    """A value under a token."""

    token: bytes
    tenant: str
    field: str
    surrogate: str | None
    key: bytes
    sealed: bytes


class Ciphertext(NamedTuple):
    """A ciphertext that a caller has kept, with what it is bound to."""

    tenant: str
    field: str
    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Loot:
    """A copy of all that a database holds about values and keys, as of one moment."""

    region: str
    epochs: list[StoredEpoch]
    keys: list[KeyRow]
    pages: dict[bytes, PageRow]
    field_keys: list[FieldKeyRow]
    claims: list[StolenClaim]
    index: dict[tuple[int, bytes], bytes]

    def sealed_keys(self) -> dict[bytes, bytes]:
        """What is sealed of each data key, or of the page that it lies in."""
        return {
            row.id: self.pages[row.page].sealed if row.page in self.pages else row.sealed for row in self.keys
        }


def steal(store: Store, region: str) -> Loot:
    """Copies a database."""
    t = store.tables
    k, p, f = t.data_keys.c, t.key_pages.c, t.field_keys.c
    keys = select(
        k.id, k.tenant, k.subject, k["class"], k.due, k.state, k.epoch, k.sealed, k.state.label("period"),
        k.due_at, k.page,
    )  # fmt: skip
    pages = select(p.id, p.tenant, p["class"], p.due, p.version, p.epoch, p["keys"], p.sealed)
    fields = select(f.id, f.tenant, f.field, f.purpose, f.version, f.state, f.epoch, f.sealed, f.filling)
    o, v = t.tokens.c, t.claims.c
    claims = select(o.id, o.tenant, o.field, o.surrogate, v.key, v.sealed).join(t.claims, v.token == o.id)
    b = t.blind_index.c
    return Loot(
        region,
        stored_epochs(store),
        [_key(row) for row in store.read(keys)],
        {page.id: page for page in map(_page, store.read(pages))},
        [FieldKeyRow(*row)._replace(sealed=bytes(row[7])) for row in store.read(fields)],
        [
            StolenClaim(bytes(row[0]), row[1], row[2], row[3], bytes(row[4]), bytes(row[5]))
            for row in store.read(claims)
        ],
        {(row[0], bytes(row[1])): bytes(row[2]) for row in store.read(select(b.epoch, b.entry, b.token))},
    )


def _page(row: Sequence[Any]) -> PageRow:
    found = PageRow(*row)
    return found._replace(id=bytes(found.id), sealed=bytes(found.sealed))


def _key(row: Sequence[Any]) -> KeyRow:
    found = KeyRow(*row)
    page = None if found.page is None else bytes(found.page)
    return found._replace(
        id=bytes(found.id), subject=bytes(found.subject), sealed=bytes(found.sealed), page=page
    )


class Attacker:
    """Somebody with a copy of the database, the key store, and half-stores.

    Args:
        provider: the key store, as it is now.
        halves: half-stores, as they are now or as they were copied.
    """

    def __init__(self, loot: Loot, provider: Provider, halves: HalfStores) -> None:
        self._loot = loot
        self._epochs: dict[int, Epoch] = {}
        for row in loot.epochs:
            try:
                self._epochs[row.number] = open_epoch(loot.region, row, provider, halves)
            except CoatcheckError:  # destroyed, or not to be had
                continue
        self._keys = dict(self._opened())

    def _opened(self) -> Iterable[tuple[bytes, SealingKey]]:
        pages = {}
        for page in self._loot.pages.values():
            epoch = self._epochs.get(page.epoch)
            if epoch is not None:
                pages[page.id] = open_page(epoch, page)
        for row in self._loot.keys:
            try:
                if row.page is None and row.epoch in self._epochs:
                    yield row.id, open_data_key(self._epochs[row.epoch], row)
                elif row.page in pages:
                    yield row.id, open_paged_key(pages[row.page], row)
            except (CoatcheckError, LookupError):
                continue

    def values(self) -> dict[bytes, set[str]]:
        """The values that open, by token."""
        found: dict[bytes, set[str]] = {}
        for claim in self._loot.claims:
            key = self._keys.get(claim.key)
            if key is None:
                continue
            record = claim_record(claim.token, claim.surrogate)
            context = encode_for(Use.CLAIM, claim.tenant, self._loot.region, claim.field, record)
            try:
                found.setdefault(claim.token, set()).add(open_encoded(key, context, claim.sealed).decode())
            except CoatcheckError:
                continue
        return found

    def texts(self, ciphertexts: Iterable[Ciphertext]) -> list[str | None]:
        """What each ciphertext says; None of one that does not open."""
        return [self._text(one) for one in ciphertexts]

    def _text(self, one: Ciphertext) -> str | None:
        message = parse(from_text(one.text))
        key = self._keys.get(bytes(message.key_id))
        if key is None:
            return None
        context = EncryptionContext(Use.VALUE, one.tenant, self._loot.region, one.field, None)
        try:
            return open_message(key, context, message).decode()
        except CoatcheckError:
            return None

    def index_key(self, tenant: str, field: str) -> Secret | None:
        """The newest index key of a field, if it opens."""
        rows = [
            row
            for row in self._loot.field_keys
            if (row.tenant, row.field, row.purpose) == (tenant, field, Purpose.BLIND_INDEX)
        ]
        newest = max(rows, key=lambda row: row.version)
        return open_field_key(self._epochs[newest.epoch], newest) if newest.epoch in self._epochs else None

    def guess(self, tenant: str, field: str, key: Secret, domain: Sequence[str]) -> set[str]:
        """Which of many values the index of a deterministic field knows: each is tried.

        Args:
            key: the field's index key; the living database's is the same as long as it is not rotated.
        """
        found: set[str] = set()
        for row in self._loot.field_keys:
            if row.purpose != Purpose.INDEX_LAYER or row.epoch not in self._epochs:
                continue
            try:
                layer = BlockCipher(open_field_key(self._epochs[row.epoch], row))
            except CoatcheckError:
                continue
            index, known = BlindIndex(key, layer, tenant, field), self._loot.index
            found.update(value for value in domain if (row.version, index.entry(value, None)) in known)
        return found

    @property
    def epochs(self) -> list[int]:
        """Those that it could open."""
        return sorted(self._epochs)
