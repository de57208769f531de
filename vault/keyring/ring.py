"""All keys of a cell as one thing: finds, opens and caches them; never hands out bytes."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from vault.clock import Micros
from vault.context import TAG_FIELD, TAG_RECORD, TAG_VALUE, canonical
from vault.crypto.block import BlockCipher
from vault.crypto.mac import reference
from vault.crypto.signing import Signer
from vault.envelope.seal import SealingKey
from vault.errors import IntegrityError, Stale, Unavailable, ValueRefused
from vault.formats.template import Template
from vault.keyring.field_keys import FieldKeys, IndexVersions, References
from vault.keyring.hierarchy import (
    CELL,
    Epoch,
    Purpose,
    open_data_key,
    open_field_key,
    open_page,
    open_paged_key,
)
from vault.keystate.states import KeyState
from vault.secret import Secret
from vault.store.cache import BoundedCache
from vault.store.cell import Store
from vault.store.custody import FieldKeyRow, KeyRow, Slot
from vault.store.rows import EpochsInUse
from vault.store.turning import PageRow
from vault.tokens.index import BlindIndex
from vault.tokens.masked import MaskHash
from vault.tokens.vaultless import Vaultless

LOOKS: Final = 4  # at a key that moves: a turn moves it once, and an erasure of a neighbour its page
PAGES_A_READ: Final = 64  # some 1.3 MB


def awake() -> float:
    """Seconds that also pass while the host sleeps, where it can tell (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Keyring:
    """The keys of one cell.

    A data key or a field key that a turn has sealed anew is looked for again where it lies now: which epoch
    it was under when its row was read decides nothing.

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
        self._references: BoundedCache[tuple[str, int, int], References] = BoundedCache()
        self._indexes: BoundedCache[tuple[str, str, int, int], BlindIndex] = BoundedCache()
        self._mask_hashes: BoundedCache[tuple[str, str], MaskHash] = BoundedCache()
        self._attempts: BoundedCache[str, Secret] = BoundedCache()
        self._intake: BoundedCache[str, tuple[Secret, ...]] = BoundedCache()
        self._made: BoundedCache[Purpose, Micros] = BoundedCache()
        self._signers: BoundedCache[str, Signer] = BoundedCache()

        self._in_use: EpochsInUse | None = None
        self._seen = EpochsInUse(0, 0)
        self._looking = threading.Lock()
        self._expires = math.inf

    def epoch(self, number: int) -> Epoch:
        """An epoch that this process holds.

        Raises:
            Unavailable: `key_unavailable`: it is not, or the keys were let go of.
        """
        self._check_lease()
        epoch = self._epochs.get(number)
        if epoch is None:
            raise Unavailable("key_unavailable")
        return epoch

    @property
    def held(self) -> tuple[int, ...]:
        """The numbers of the epochs that this process holds, oldest first."""
        return tuple(sorted(self._epochs))

    @property
    def in_use(self) -> EpochsInUse:
        """The epochs of the head row, as last read; a command that was prepared on others is stale."""
        found = self._in_use
        if found is None:
            rows = self._store.read(self._store.record.head)
            newest = max(self._epochs, default=0)
            found = EpochsInUse(rows[0][2], rows[0][3]) if rows else EpochsInUse(newest, newest)
            with self._looking:  # whoever looked earlier and comes later does not bring back what was
                self._in_use = self._seen = found = max(found, self._seen)
        return found

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """The epochs in use, newest first."""
        return tuple(self.epoch(number) for number in reversed(self.in_use.each))

    @property
    def write_epoch(self) -> int:
        """The epoch that is sealed under; a command that writes states it and is stale otherwise."""
        return self.in_use.write

    def hold(self, epochs: Mapping[int, Epoch]) -> None:
        """Takes epochs that were opened."""
        self._epochs = {**self._epochs, **epochs}

    def drop_through(self, number: int) -> None:
        """Lets go of an epoch and of those before it, and of all that was opened."""
        self._epochs = {other: epoch for other, epoch in self._epochs.items() if other > number}
        self.forget()

    def wipe(self) -> None:
        """Lets go of every key. What nobody else holds any more is overwritten."""
        self._epochs = {}
        self.forget()

    def lease(self, expires: float) -> None:
        """Until when keys may be used, by `awake`; whoever comes later finds none."""
        self._expires = expires

    def _check_lease(self) -> None:
        """Returns if this process is one that a turn waits for.

        Raises:
            Unavailable: `key_unavailable`: its lease lapsed, as after the host slept. The keys are gone.
        """
        if awake() > self._expires:
            self.wipe()
            raise Unavailable("key_unavailable", retry_after=1)

    def data_key(self, row: KeyRow) -> SealingKey:
        """The key of a row that the ledger has just read.

        Whose key it is belongs to the cache's key: a row changed meanwhile is opened, and refused, anew.

        Raises:
            IntegrityError: `ciphertext_invalid`: altered, or moved from another row.
            Unavailable: `key_unavailable`: it is gone, or of an epoch that this process does not hold.
        """
        self._check_lease()
        return self._data.get((row.id, row.epoch, row.slot), lambda: self._open_data_key(row))

    def prepare(self, rows: Iterable[KeyRow]) -> None:
        """Opens those keys that lie in pages, each page read and opened once; the rest is left."""
        self._check_lease()
        by_page: dict[bytes, dict[bytes, KeyRow]] = defaultdict(dict)
        for row in rows:
            if row.page is not None and not self._data.holds((row.id, row.epoch, row.slot)):
                by_page[bytes(row.page)][row.id] = row
        wanted = sorted(by_page)
        for start in range(0, len(wanted), PAGES_A_READ):
            for page in self._pages(wanted[start : start + PAGES_A_READ]):
                if page.epoch in self._epochs:
                    opened = open_page(self._epochs[page.epoch], page)
                    for row in by_page[page.id].values():
                        self._keep(opened, row)

    def _keep(self, opened: Secret, row: KeyRow) -> None:
        try:
            key = open_paged_key(opened, row)
        except (LookupError, IntegrityError):
            return  # `data_key` says what is wrong with it
        self._data.get((row.id, row.epoch, row.slot), lambda: key)

    def _open_data_key(self, row: KeyRow) -> SealingKey:
        """Opens a key where it lies: singly, or in its page; where it lies now, if it has moved."""
        for _ in range(LOOKS):
            if row.page is None:
                epoch = self._epochs.get(row.epoch)
                if epoch is not None:
                    return open_data_key(epoch, row)
            else:
                for page in self._pages([bytes(row.page)]):
                    if page.epoch in self._epochs:
                        try:
                            return open_paged_key(open_page(self._epochs[page.epoch], page), row)
                        except LookupError:
                            continue
            found = self._store.read_keys(self._store.custody.data_keys, [row.id])
            if not found:
                break
            row = KeyRow(*found[0])
        raise Unavailable("key_unavailable")

    def _pages(self, ids: list[bytes]) -> list[PageRow]:
        rows = self._store.read_keys(self._store.turning.key_pages, ids)
        return [PageRow(*row) for row in rows]

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
        self._check_lease()
        return self._row_ids.get(
            (tenant, field), lambda: BlockCipher(self.single(tenant, field, Purpose.ROW_ID))
        )

    def index_versions(self, tenant: str, field: str) -> IndexVersions:
        """The versions of a deterministic field's index key; of a tenant's own, that of references.

        A command that was prepared on them states the schema's head, and is stale once they are others.

        Args:
            field: `CELL` for references to data subjects.
        """
        purpose = Purpose.BLIND_INDEX if field else Purpose.SUBJECT_REFERENCE
        return self._field_keys(tenant, field, purpose).index

    def references(self, tenant: str, epoch: int | None = None, version: int | None = None) -> References:
        """What makes references to the tenant's data subjects.

        Args:
            epoch: whose index layer; None: the one that is looked up in.
            version: of the key; None: the one that is looked up by.

        Raises:
            Stale: that epoch is closed.
        """
        self._check_lease()
        number = self.in_use.read if epoch is None else epoch
        of = self.index_versions(tenant, CELL).read if version is None else version
        return self._references.get(
            (tenant, number, of),
            lambda: References(
                self._version(tenant, CELL, Purpose.SUBJECT_REFERENCE, of), self.layer(number), tenant
            ),
        )

    def reference_versions(self, tenant: str) -> frozenset[int]:
        """The versions of the key of references that may be used at all."""
        return self._field_keys(tenant, CELL, Purpose.SUBJECT_REFERENCE).processing

    def blind_index(
        self, tenant: str, field: str, epoch: int | None = None, version: int | None = None
    ) -> BlindIndex:
        """What finds the tokens of a deterministic field; `epoch` and `version` as for `references`."""
        self._check_lease()
        number = self.in_use.read if epoch is None else epoch
        of = self.index_versions(tenant, field).read if version is None else version
        return self._indexes.get(
            (tenant, field, number, of),
            lambda: BlindIndex(
                self._version(tenant, field, Purpose.BLIND_INDEX, of), self.layer(number), tenant, field
            ),
        )

    def mask_hash(self, tenant: str, field: str) -> MaskHash:
        """What hashes values for the masks of a field."""
        self._check_lease()
        return self._mask_hashes.get(
            (tenant, field), lambda: MaskHash(self.single(tenant, field, Purpose.MASK), tenant, field)
        )

    def has_own(self, purpose: Purpose) -> bool:
        """Whether the cell has a key of its own for a purpose."""
        try:
            self._field_keys(CELL, CELL, purpose)
        except Unavailable as lacking:
            if lacking.code != "key_unavailable":
                raise
            return False
        return True

    def intakes(self) -> tuple[Secret, ...]:
        """The X25519 keys that open sealed requests, newest first; none: no keys yet."""
        self._check_lease()
        return self._intake.get(CELL, lambda: tuple(map(self._open, self._own(Purpose.INTAKE))))

    def signers(self, purpose: Purpose) -> list[tuple[FieldKeyRow, Signer]]:
        """The cell's own signing keys of a purpose that may be looked at, newest first; none: no keys yet."""
        self._check_lease()
        return [
            (row, self._signers.get(f"{purpose}:{row.version}", lambda row=row: Signer(self._open(row))))  # type: ignore[misc]
            for row in self._own(purpose)
        ]

    def _own(self, purpose: Purpose) -> list[FieldKeyRow]:
        if not self.has_own(purpose):
            return []
        keys = self._field_keys(CELL, CELL, purpose)
        return [
            row
            for _, row in sorted(keys.rows.items(), reverse=True)
            if KeyState(row.state) in (KeyState.ACTIVE, KeyState.DEACTIVATED)
        ]

    def made_at(self, purpose: Purpose) -> Micros:
        """When the newest of the cell's own keys of a purpose was made."""
        newest = self._store.custody.newest_field_keys
        return self._made.get(purpose, lambda: self._store.read(newest, {"purpose": purpose.value})[0][3])

    def look_again(self, purpose: Purpose) -> None:
        """Drops what is remembered of the cell's own keys of a purpose."""
        self._rows.drop((CELL, CELL, purpose))
        self._made.drop(purpose)

    def attempt(self, grant: str, field: str, token: bytes) -> bytes:
        """What tries of a token under a grant are counted by: keyed, for a token may be easy to guess."""
        self._check_lease()
        key = self._attempts.get(CELL, lambda: self.single(CELL, CELL, Purpose.ATTEMPTS))
        parts = ((TAG_FIELD, field.encode()), (TAG_RECORD, grant.encode()), (TAG_VALUE, token))
        return reference(key, canonical(parts))

    def forget_data(self) -> None:
        """Drops data keys and where they stand: some are denied, or gone."""
        self._data.clear()
        self._slots.clear()

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
            self._attempts,
            self._signers,
            self._intake,
            self._made,
        ):
            cache.clear()
        self._in_use = None

    def layer(self, epoch: int) -> BlockCipher:
        """An epoch's layer over index entries and references.

        Raises:
            Stale: the epoch is closed, and the layer gone.
        """
        row = self._field_keys(CELL, CELL, Purpose.INDEX_LAYER).rows.get(epoch)
        if row is None or KeyState(row.state) is KeyState.DESTROYED:
            raise Stale
        return BlockCipher(self._open(row))

    def single(self, tenant: str, field: str, purpose: Purpose) -> Secret:
        """The newest key of a field and a purpose."""
        keys = self._field_keys(tenant, field, purpose)
        row = keys.rows[keys.primary]
        return self._open(row)

    def _version(self, tenant: str, field: str, purpose: Purpose, version: int) -> Secret:
        """One version of an index key.

        Raises:
            Stale: there is none that may be used: whoever asks has an older schema's head.
        """
        keys = self._field_keys(tenant, field, purpose)
        if version not in keys.processing:
            raise Stale
        return self._open(keys.rows[version])

    def _open(self, row: FieldKeyRow) -> Secret:
        """A field key. One that does not open is damage of ours, never the caller's fault."""
        self._check_lease()
        if row.epoch not in self._epochs:  # a turn has sealed it anew since it was read
            self._rows.drop((row.tenant, row.field, Purpose(row.purpose)))
            keys = self._field_keys(row.tenant, row.field, Purpose(row.purpose))
            row = keys.rows.get(row.version, row)
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
