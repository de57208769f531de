"""Half-stores: the half of each epoch key that no database backup holds, in every configured folder.

File `half-000001`: `"CKHALF1\\n" | epoch 4 | SHA-256 of the region 32 | half 32 | SHA-256 of all before 32`.
The trailing hash tells a torn copy from a whole one; it does not authenticate.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vault.crypto.randomness import new_key
from vault.errors import CoatcheckError, IntegrityError, Unavailable
from vault.kms.files import destroy, is_there, make_private_folder, read_private, write_private
from vault.secret import Secret

_HEAD: Final = struct.Struct(">8sI32s")
_MAGIC: Final = b"CKHALF1\n"
_HALF_BYTES: Final = 32
_SUM_BYTES: Final = 32


class HalfStores:
    """All half-stores of a region.

    Args:
        region: the region's name, which the files repeat.
        folders: one folder a half-store; they belong on different disks.
    """

    def __init__(self, region: str, folders: Sequence[Path]) -> None:
        self._region = hashlib.sha256(region.encode()).digest()
        self.folders = tuple(folders)

    def create(self, epoch: int) -> Secret:
        """Draws an epoch's half and makes it durable in every half-store: file, folder, read back.

        A half that exists is read and copied to the stores that lack it, never drawn again.
        """
        held = any(is_there(self._path(folder, epoch)) for folder in self.folders)
        return self._fill(epoch, self.read(epoch) if held else new_key())

    def heal(self, epoch: int) -> None:
        """Copies an epoch's half to the stores that lack it, such as one added since. Draws nothing.

        Raises:
            Unavailable: `key_unavailable`: no half-store has it whole.
        """
        self._fill(epoch, self.read(epoch))

    def _fill(self, epoch: int, half: Secret) -> Secret:
        for folder in self.folders:
            if not is_there(self._path(folder, epoch)):
                make_private_folder(folder)
                write_private(self._path(folder, epoch), self._encode(epoch, half))
        return half

    def read(self, epoch: int) -> Secret:
        """An epoch's half.

        Raises:
            Unavailable: `key_unavailable`: no half-store has it whole.
            IntegrityError: `integrity_failed`: whole copies disagree.
        """
        found: list[Secret] = []
        for folder in self.folders:
            try:
                found.append(self._decode(epoch, read_private(self._path(folder, epoch))))
            except CoatcheckError:
                continue
        if not found:
            raise Unavailable("key_unavailable", epoch=epoch)
        if not all(found[0].matches(other) for other in found[1:]):
            raise IntegrityError("integrity_failed", epoch=epoch)
        return found[0]

    def missing(self, epoch: int) -> tuple[Path, ...]:
        """The half-stores that do not have an epoch's half whole; for `doctor`."""
        lacking = []
        for folder in self.folders:
            try:
                self._decode(epoch, read_private(self._path(folder, epoch)))
            except CoatcheckError:
                lacking.append(folder)
        return tuple(lacking)

    def destroy(self, epoch: int) -> None:
        """Destroys an epoch's half in every half-store."""
        for folder in self.folders:
            destroy(self._path(folder, epoch))

    @staticmethod
    def _path(folder: Path, epoch: int) -> Path:
        return folder / f"half-{epoch:06d}"

    def _encode(self, epoch: int, half: Secret) -> bytes:
        head = _HEAD.pack(_MAGIC, epoch, self._region)
        return head + half.expose() + hashlib.sha256(head + half.expose()).digest()

    def _decode(self, epoch: int, raw: bytes) -> Secret:
        if (
            len(raw) != _HEAD.size + _HALF_BYTES + _SUM_BYTES
            or raw[: _HEAD.size] != _HEAD.pack(_MAGIC, epoch, self._region)
            or hashlib.sha256(raw[:-_SUM_BYTES]).digest() != raw[-_SUM_BYTES:]
        ):
            raise IntegrityError("integrity_failed", epoch=epoch)
        return Secret(raw[_HEAD.size : _HEAD.size + _HALF_BYTES])
