"""`local:PATH`: root keys in files, under a passphrase (Argon2id) or, in development, a key file.

Both halves of an epoch key then lie on this host, so what a certificate of erasure may claim with this
provider is only "against a copy of the database".
File: `"CKROOT1\\n" | kind 1 | time cost 4 | memory KiB 4 | lanes 4 | salt 16 | ve1 message`.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

from vault.context import EncryptionContext, Use
from vault.crypto.kdf import KEY_BYTES, Label, expand
from vault.crypto.passwords import RFC9106_LOW_MEMORY, SALT_BYTES, Argon2Parameters, derive_key
from vault.crypto.randomness import new_key
from vault.envelope.seal import SealingKey, open_secret, seal
from vault.errors import IntegrityError, Misconfigured
from vault.identifiers import NIL, KeyId
from vault.kms.files import destroy, is_there, make_private_folder, read_private, write_private
from vault.kms.provider import Destruction, ProviderSettings, away, register
from vault.secret import Secret

_MAGIC: Final = b"CKROOT1\n"
_HEAD: Final = struct.Struct(">8sBIII16s")
_PASSPHRASE: Final = 1
_KEY_FILE: Final = 2


class LocalProvider:
    """Root keys in a folder, `root-000001` and so on; mode 0600 in a folder of mode 0700."""

    destroy_means: str = (
        "the root key's file is overwritten, synced and unlinked at once; copies of the folder survive it"
    )
    remote = False

    def __init__(self, folder: Path, settings: ProviderSettings) -> None:
        self._folder = folder
        self._region = settings.region
        self._passphrase = settings.passphrase
        self._key_file = settings.key_file

    def create_root(self, version: int) -> None:
        """Makes the root key's version, if it does not exist."""
        make_private_folder(self._folder)
        path = self._path(version)
        if is_there(path):
            return
        kind = _PASSPHRASE if self._key_file is None else _KEY_FILE
        cost = RFC9106_LOW_MEMORY
        salt = os.urandom(SALT_BYTES)
        head = _HEAD.pack(_MAGIC, kind, cost.time_cost, cost.memory_kib, cost.lanes, salt)
        sealed = seal(self._cover(version, kind, salt, cost), self._context(Use.ROOT_KEY, head), new_key())
        write_private(path, head + sealed)

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        """The half, wrapped under a root version."""
        return seal(self._wrapping(version), self._context(Use.KMS_HALF, context), half)

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        """The half again."""
        return open_secret(self._wrapping(version), self._context(Use.KMS_HALF, context), wrapped)

    def destroy_root(self, version: int) -> Destruction:
        """Destroys a root version; afterwards nothing wrapped under it opens."""
        destroy(self._path(version))
        return Destruction(version, self._path(version).name)

    def probe(self, version: int) -> None:
        """Returns if the root version's file is there."""
        if not is_there(self._path(version)):
            raise away("missing", version)

    def close(self) -> None:
        """Nothing is held."""

    def _path(self, version: int) -> Path:
        return self._folder / f"root-{version:06d}"

    def _context(self, use: Use, record: bytes) -> EncryptionContext:
        return EncryptionContext(use, tenant="", region=self._region, record=record)

    def _wrapping(self, version: int) -> SealingKey:
        # Read each time, and not kept: a root key that is destroyed is in no process's memory either.
        return SealingKey(KeyId(NIL), version, expand(self._read(version), Label.ROOT_WRAP))

    def _read(self, version: int) -> Secret:
        """A root key from its file. A wrong passphrase and a damaged file look alike: one error for both."""
        path = self._path(version)
        if not is_there(path):
            raise away("missing", version)
        raw = read_private(path)
        try:
            magic, kind, *cost, salt = _HEAD.unpack_from(raw)
            parameters = Argon2Parameters(*cost)
            if magic != _MAGIC or kind not in (_PASSPHRASE, _KEY_FILE):
                raise ValueError("not a root key's file")
            cover = self._cover(version, kind, salt, parameters)
            context = self._context(Use.ROOT_KEY, raw[: _HEAD.size])
            return open_secret(cover, context, raw[_HEAD.size :])
        except (struct.error, ValueError, IntegrityError):
            setting = "passphrase_file" if self._key_file is None else "key_file"
            reason = "is not the one of this key store, or the file of its root key is damaged"
            raise Misconfigured("config_invalid", setting=setting, reason=reason) from None

    def _cover(self, version: int, kind: int, salt: bytes, cost: Argon2Parameters) -> SealingKey:
        """The key that covers a root key's file."""
        if kind == _KEY_FILE:
            if self._key_file is None:
                raise Misconfigured("config_invalid", setting="key_file")
            key = Secret(read_private(self._key_file))
            if len(key) != KEY_BYTES:
                raise Misconfigured("config_invalid", setting="key_file")
            return SealingKey(KeyId(NIL), version, key)
        if not self._passphrase:
            raise Misconfigured("config_invalid", setting="passphrase_file")
        return SealingKey(KeyId(NIL), version, derive_key(self._passphrase, salt, cost))


def make_key_file(path: Path) -> None:
    """Writes a new key file, unless there is one. For development."""
    if not is_there(path):
        make_private_folder(path.parent)
        write_private(path, os.urandom(KEY_BYTES))


def _open(rest: str, settings: ProviderSettings) -> LocalProvider:
    if not rest or rest.startswith("//"):
        raise Misconfigured("config_invalid", setting="kms")
    return LocalProvider(settings.base / rest, settings)


register("local", _open)
