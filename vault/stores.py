"""Databases, key stores and half-stores of a deployment, from its settings: cells' and the directory's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vault.clock import Clock, SystemClock
from vault.config import DIRECTORY, Config, StoreSettings
from vault.config.certificate import check_key_mode
from vault.config.database import SQLITE, is_file, place_of, sslmode_of
from vault.config.keystores import credentials_of, guard_limits
from vault.config.settings import table_of
from vault.errors import Misconfigured
from vault.kms.halves import HalfStores
from vault.kms.registry import Guard, ProviderSettings, local, open_provider
from vault.secret import Secret
from vault.services.directory import Directory
from vault.store import directory_migrations
from vault.store.directory import DirectoryStore
from vault.store.postgresql import Server
from vault.store.session import sqlite_url

Prompt = Callable[[str], Secret]


class Stores:
    """What a deployment's settings say of where data and keys lie.

    Args:
        config: the settings.
        prompt: asks for a key store's passphrase when neither file nor variable has it; None: never asks.
        clock: where the time comes from.
    """

    def __init__(self, config: Config, prompt: Prompt | None = None, clock: Clock | None = None) -> None:
        self.config = config
        self._prompt = prompt
        self._clock = clock or SystemClock()

    def database_path(self, region: str) -> Path | None:
        """A SQLite cell's file; None if the cell is on a server."""
        database = self.settings(region).database
        return self.config.path(database.removeprefix(SQLITE)) if is_file(database) else None

    def server(self, region: str) -> Server:
        """How the server of a cell is reached."""
        cell, config = self.settings(region), self.config
        place = place_of(cell.database)
        if cell.database_key is not None:
            check_key_mode(config.path(cell.database_key))

        def path(text: str | None) -> Path | None:
            return None if text is None else config.path(text)

        return Server(
            *place,
            sslmode_of(cell, place),
            partial(config.database_password_of, region),
            path(cell.database_root_certificate),
            path(cell.database_certificate),
            path(cell.database_key),
            cell.database_connections,
        )

    def provider(self, region: str, kms: str | None = None, *, asks: bool = True) -> Guard:
        """A cell's key store, guarded; whoever has it closes it.

        Args:
            kms: another one, in place of the one that is configured.
            asks: whether somebody may be asked for a passphrase now.
        """
        cell = self.settings(region)
        uri = cell.kms if kms is None else kms
        passphrase = None
        if cell.key_file is None:
            passphrase = self.config.passphrase_of(region)
            if passphrase is None and self._prompt is not None and asks and self.asks(region):
                passphrase = self._prompt(region)
        key_file = None if cell.key_file is None else self.config.path(cell.key_file)
        base = Path(self.config.base)
        limits = guard_limits(cell.kms_limits, local=uri.startswith("local:"))
        credentials = credentials_of(cell.kms_auth, region, base, uri)
        settings = ProviderSettings(region, base, passphrase, key_file, credentials, limits.deadline_s)
        return Guard(open_provider(uri, settings), limits, region)

    def asks(self, region: str) -> bool:
        """Whether somebody has to be asked for a cell's passphrase."""
        cell = self.settings(region)
        named = (cell.key_file, cell.passphrase_file, cell.passphrase)
        return cell.kms.startswith("local:") and named == (None, None, None)

    def halves(self, region: str) -> HalfStores:
        """A cell's half-stores."""
        folders = [self.config.path(text) for text in self.settings(region).half_stores]
        return HalfStores(region, folders)

    @staticmethod
    def make_file(path: Path) -> None:
        """An empty file for a database, unless there is one.

        Raises:
            Misconfigured: `host_permissions`.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError:
            raise Misconfigured("host_permissions", path=str(path)) from None

    def existing(self, region: str) -> Path | None:
        """A SQLite cell's file, which is there; None on a server, where asking it tells.

        Raises:
            Misconfigured: `not_initialised`.
        """
        path = self.database_path(region)
        if path is not None and not path.exists():
            raise Misconfigured("not_initialised", region=region)
        return path

    def settings(self, region: str) -> StoreSettings:
        """The database and key store of a cell, or of the directory."""
        try:
            return self.config.store_of(region)
        except KeyError:
            raise Misconfigured("config_invalid", setting=table_of(region), reason="is missing") from None

    def directory(self, *, asks: bool = False) -> Directory | None:
        """The directory, if there is one. Nothing of it is opened before it is needed.

        Args:
            asks: whether somebody may then be asked for its passphrase: not in a service.
        """
        settings = self.config.directory
        if settings is None:
            return None
        opened: list[Guard] = []

        def keys() -> tuple[Guard, HalfStores]:
            if not opened:
                opened.append(self.provider(DIRECTORY, asks=asks))
            return opened[0], self.halves(DIRECTORY)

        def close() -> None:
            for guard in opened:
                guard.close()

        return Directory(self.directory_store, keys, settings.lookups_per_day, close)

    def directory_store(self) -> DirectoryStore:
        """The directory's database.

        Raises:
            Misconfigured: `not_initialised`, `migration_required`.
        """
        path = self.existing(DIRECTORY)
        store = DirectoryStore(self.server(DIRECTORY) if path is None else sqlite_url(path), self._clock)
        try:
            directory_migrations.check(store.engine)
        except BaseException:
            store.close()
            raise
        return store

    def create_directory(self) -> bool:
        """Makes the directory's tables and its first key, or finishes that; whether a key was made now.

        Raises:
            Misconfigured: `config_invalid`: no `[directory]`; `host_permissions`.
        """
        directory = self.directory(asks=True)
        if directory is None:
            raise Misconfigured("config_invalid", setting="directory", reason="is missing")
        path = self.database_path(DIRECTORY)
        if path is not None:
            self.make_file(path)
        store = DirectoryStore(self.server(DIRECTORY) if path is None else sqlite_url(path), self._clock)
        try:
            directory_migrations.upgrade(store.engine)
        finally:
            store.close()
        settings = self.settings(DIRECTORY)
        if self.config.development and settings.key_file is not None:
            local.make_key_file(self.config.path(settings.key_file))
        with contextlib.closing(directory):
            return directory.create()
