"""All keys of a cell as one thing: finds, opens and caches them; never hands out bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vault.context import TAG_SUBJECT, TAG_TENANT, canonical
from vault.crypto.block import BlockCipher
from vault.crypto.mac import reference
from vault.envelope.seal import SealingKey
from vault.errors import IntegrityError, Stale, Unavailable, ValueRefused
from vault.formats.template import Template
from vault.keyring.hierarchy import CELL, Epoch, Purpose, open_data_key, open_field_key
from vault.keystate.states import PROCESSES, PROTECTS, KeyState
from vault.secret import Secret
from vault.store.cache import BoundedCache
from vault.store.cell import Store
from vault.store.custody import FieldKeyRow, KeyRow, Slot
from vault.tokens.index import BlindIndex
from vault.tokens.masked import MaskHash
from vault.tokens.vaultless import Vaultless


@dataclass(frozen=True, slots=True)
class FieldKeys:
    """A field's keys of one purpose: rows by version.

    Attributes:
        processing: the versions that may be used at all.
    """

    rows: Mapping[int, FieldKeyRow]
    processing: frozenset[int] = field(init=False)
    _newest: int | None = field(init=False)

    def __post_init__(self) -> None:
        states = {version: KeyState(row.state) for version, row in self.rows.items()}
        processing = frozenset(version for version, state in states.items() if state in PROCESSES)
        protecting = [version for version, state in states.items() if state in PROTECTS]
        object.__setattr__(self, "processing", processing)
        object.__setattr__(self, "_newest", max(protecting, default=None))

    @property
    def primary(self) -> int:
        """The newest version that may protect.

        Raises:
            Stale: all have ended. The field is gone, or another by now: whoever asks has an older schema.
            Unavailable: `key_unavailable`.
        """
        if self._newest is not None:
            return self._newest
        if all(KeyState(row.state) is KeyState.DEACTIVATED for row in self.rows.values()):
            raise Stale
        raise Unavailable("key_unavailable")


@dataclass(frozen=True, slots=True)
class References:
    """Makes references to data subjects of one tenant."""

    key: Secret
    layer: BlockCipher
    tenant: str

    def of(self, subject: str) -> bytes:
        """The 16-byte reference of a subject: keyed, cut, and under the index layer."""
        parts = ((TAG_TENANT, self.tenant.encode()), (TAG_SUBJECT, subject.encode()))
        return self.layer.encrypt(reference(self.key, canonical(parts)))


class Keyring:
    """The keys of one cell.

    Args:
        region: the cell's region.
        epochs: the epochs in use, by number.
        store: where key rows are read from.
    """

    def __init__(self, region: str, epochs: Mapping[int, Epoch], store: Store) -> None:
        self.region = region
        self._epochs = dict(epochs)
        self._store = store
        self._data: BoundedCache[tuple[bytes, int, Slot], SealingKey] = BoundedCache()
        self._slots: BoundedCache[Slot, KeyRow | None] = BoundedCache()
        self._rows: BoundedCache[tuple[str, str, Purpose], FieldKeys] = BoundedCache()
        self._vaultless: BoundedCache[tuple[str, str, int, str], Vaultless] = BoundedCache()
        self._row_ids: BoundedCache[tuple[str, str], BlockCipher] = BoundedCache()
        self._references: BoundedCache[str, References] = BoundedCache()
        self._indexes: BoundedCache[tuple[str, str], BlindIndex] = BoundedCache()
        self._mask_hashes: BoundedCache[tuple[str, str], MaskHash] = BoundedCache()

    def epoch(self, number: int) -> Epoch:
        """An epoch in use.

        Raises:
            Unavailable: `key_unavailable`: it is not, or the keys were let go of.
        """
        epoch = self._epochs.get(number)
        if epoch is None:
            raise Unavailable("key_unavailable")
        return epoch

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """The epochs in use, newest first.

        Raises:
            Unavailable: `key_unavailable`: the keys were let go of.
        """
        if not self._epochs:
            raise Unavailable("key_unavailable")
        return tuple(self._epochs[number] for number in sorted(self._epochs, reverse=True))

    @property
    def write_epoch(self) -> int:
        """The newest epoch this process holds; a command that writes states it and is stale otherwise.

        Raises:
            Unavailable: `key_unavailable`: the keys were let go of.
        """
        newest = max(self._epochs, default=None)
        if newest is None:
            raise Unavailable("key_unavailable")
        return newest

    @property
    def held(self) -> tuple[int, ...]:
        """The numbers of the epochs in use; empty if the keys were let go of."""
        return tuple(self._epochs)

    def let_go(self) -> None:
        """Drops the epochs too: nothing is opened or sealed until `hold` brings them back."""
        self._epochs = {}
        self.forget()

    def hold(self, epochs: Mapping[int, Epoch]) -> None:
        """Holds these epochs from now on."""
        self._epochs = dict(epochs)

    def data_key(self, row: KeyRow) -> SealingKey:
        """The key of a row that the ledger has just read.

        Whose key it is belongs to the cache's key: a row changed meanwhile is opened, and refused, anew.

        Raises:
            IntegrityError: `ciphertext_invalid`: altered, or moved from another row.
        """
        named = (row.id, row.epoch, row.slot)
        return self._data.get(named, lambda: open_data_key(self.epoch(row.epoch), row))

    def slot(self, slot: Slot) -> KeyRow | None:
        """The row of a slot's key, as last read; the ledger checks that it still stands."""
        row = self._slots.get(slot, lambda: self._read_slot(slot))
        if row is None:
            self._slots.drop(slot)
        return row

    def remember(self, row: KeyRow) -> None:
        """Keeps a row that the ledger has just committed or read."""
        self._slots.drop(row.slot)
        self._slots.get(row.slot, lambda: row)

    def ff1_versions(self, tenant: str, field: str) -> FieldKeys:
        """The FF1 key versions of a vaultless field."""
        return self._field_keys(tenant, field, Purpose.FF1)

    def vaultless(self, tenant: str, field: str, template: Template, version: int) -> Vaultless:
        """What tokenizes and detokenizes a vaultless field under a key version.

        Raises:
            ValueRefused: `key_version_unknown`: there is none, or it may not be used any more.
        """
        keys = self.ff1_versions(tenant, field)
        if version not in keys.processing:
            raise ValueRefused("key_version_unknown")
        row = keys.rows[version]
        return self._vaultless.get(
            (tenant, field, version, template.spec),
            lambda: Vaultless(self._open(row), tenant, field, template),
        )

    def row_ids(self, tenant: str, field: str) -> BlockCipher:
        """The cipher between a vaulted field's row ids and its tokens."""
        return self._row_ids.get(
            (tenant, field), lambda: BlockCipher(self._single(tenant, field, Purpose.ROW_ID))
        )

    def references(self, tenant: str) -> References:
        """What makes references to the tenant's data subjects."""
        return self._references.get(
            tenant,
            lambda: References(
                self._single(tenant, CELL, Purpose.SUBJECT_REFERENCE),
                self._layer(),
                tenant,
            ),
        )

    def blind_index(self, tenant: str, field: str) -> BlindIndex:
        """What finds the tokens of a deterministic field."""
        return self._indexes.get(
            (tenant, field),
            lambda: BlindIndex(
                self._single(tenant, field, Purpose.BLIND_INDEX), self._layer(), tenant, field
            ),
        )

    def mask_hash(self, tenant: str, field: str) -> MaskHash:
        """What hashes values for the masks of a field."""
        return self._mask_hashes.get(
            (tenant, field), lambda: MaskHash(self._single(tenant, field, Purpose.MASK), tenant, field)
        )

    def forget(self) -> None:
        """Drops everything opened; it is read and opened again when next needed."""
        for cache in (
            self._data,
            self._slots,
            self._rows,
            self._vaultless,
            self._row_ids,
            self._references,
            self._indexes,
            self._mask_hashes,
        ):
            cache.clear()

    def _layer(self) -> BlockCipher:
        """The epoch's layer over index entries and references."""
        return BlockCipher(self._single(CELL, CELL, Purpose.INDEX_LAYER))

    def _single(self, tenant: str, field: str, purpose: Purpose) -> Secret:
        keys = self._field_keys(tenant, field, purpose)
        row = keys.rows[keys.primary]
        return self._open(row)

    def _open(self, row: FieldKeyRow) -> Secret:
        """A field key. One that does not open is damage of ours, never the caller's fault."""
        try:
            return open_field_key(self.epoch(row.epoch), row)
        except IntegrityError:
            raise IntegrityError("integrity_failed") from None

    def _field_keys(self, tenant: str, field: str, purpose: Purpose) -> FieldKeys:
        return self._rows.get((tenant, field, purpose), lambda: self._read_field_keys(tenant, field, purpose))

    def _read_field_keys(self, tenant: str, field: str, purpose: Purpose) -> FieldKeys:
        params = {"tenant": tenant, "field": field, "purpose": purpose.value}
        rows = [FieldKeyRow(*row) for row in self._store.read(self._store.custody.field_keys, params)]
        if not rows:
            raise Unavailable("key_unavailable")
        return FieldKeys({row.version: row for row in rows})

    def _read_slot(self, slot: Slot) -> KeyRow | None:
        params = {"tenant": slot.tenant, "subject": slot.subject, "class": slot.class_, "due": slot.due}
        rows = self._store.read(self._store.custody.data_key_slot, params)
        return KeyRow(*rows[0]) if rows else None
