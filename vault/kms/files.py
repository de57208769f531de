"""Files that hold keys: private, written durably, read back."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from vault.errors import Misconfigured

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def make_private_folder(folder: Path) -> None:
    """Creates a folder (and those above it) that only its owner may enter; refuses a wider one.

    Each new entry is made durable in the folder above, or a key file in it could be lost with it.

    Raises:
        Misconfigured: `host_permissions`.
    """
    try:
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            sync_folder(place.parent)
        if not folder.is_dir():
            raise NotADirectoryError
        if stat.S_IMODE(folder.stat().st_mode) & _OTHERS:
            raise Misconfigured("host_permissions", path=str(folder), needs="0700")
    except OSError:
        raise Misconfigured("host_permissions", path=str(folder)) from None


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file durably: file, then folder, then reads it back. Never overwrites.

    Raises:
        Misconfigured: `host_permissions`.
    """
    temporary = _unfinished(path)
    try:
        if path.exists():
            raise FileExistsError
        _erase(temporary)  # what a killed attempt left
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, _FILE_MODE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
        temporary.unlink()
        sync_folder(path.parent)
        if path.read_bytes() != content:
            raise Misconfigured("host_permissions", path=str(path))
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def is_there(path: Path) -> bool:
    """Whether a file exists.

    Raises:
        Misconfigured: `host_permissions`: this process may not look.
    """
    try:
        return path.exists()
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def read_private(path: Path) -> bytes:
    """A key file's content.

    Raises:
        Misconfigured: `host_permissions`: missing, unreadable, or open to others.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
            raise Misconfigured("host_permissions", path=str(path), needs="0600")
        return path.read_bytes()
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def destroy(path: Path) -> None:
    """Overwrites, syncs and unlinks a file, and what a killed attempt to write it left.

    What a copying file system or a backup still holds is out of reach.

    Raises:
        Misconfigured: `host_permissions`.
    """
    try:
        _erase(path)
        _erase(_unfinished(path))
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def _unfinished(path: Path) -> Path:
    """The name a file has until it is whole."""
    return path.with_name(path.name + ".new")


def _erase(path: Path) -> None:
    try:
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return


def sync_folder(folder: Path) -> None:
    """Makes a folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
