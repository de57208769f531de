"""A folder of backups: what its files are called, which belong together, and which have had their time."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vault.clock import Micros, Period, format_time, parse_time
from vault.errors import Misconfigured, Unavailable
from vault.kms.files import make_private_folder, sync_folder
from vault.store.tables import CUSTODY, RECORD, VALUES

ENDS: Final = {CUSTODY: ".ckc", RECORD: ".ckr", VALUES: ".ckv"}
UNFINISHED: Final = ".new"
_NAME: Final = re.compile(
    r"(custody|record|values)-(.+)-(\d{6})-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d\.\d{6})Z-([0-9a-f]{8})(\.ck[crv])(\.new)?"
)


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A file that has the name of a backup.

    Attributes:
        mark: the same in the names of one set.
        at: of which instant it is.
        whole: whether it was finished.
    """

    path: Path
    part: str
    epoch: int
    at: Micros
    mark: str
    whole: bool


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A folder that nobody else writes backups into, or removes any from, for as long as it takes.

    Raises:
        Unavailable: `too_busy`: somebody does.
        Misconfigured: `host_permissions`.
    """
    make_private_folder(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise Misconfigured("host_permissions", path=str(folder)) from None
    try:
        _hold(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _hold(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Unavailable("too_busy", reason="another backup is being written there") from None
    except OSError:
        raise Misconfigured("host_permissions", path=str(folder)) from None


def name_for(part: str, region: str, epoch: int, at: Micros, set_: str) -> str:
    """The name of a file."""
    stamp = format_time(at).replace("-", "").replace(":", "")
    return f"{part}-{region}-{epoch:06d}-{stamp}-{set_[-8:]}{ENDS[part]}"


def found_in(folder: Path, region: str) -> list[BackupFile]:
    """The region's backups in a folder, newest first; none if there is no such folder.

    Raises:
        Misconfigured: `host_permissions`.
    """
    found = []
    try:
        names = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
    except OSError:
        raise Misconfigured("host_permissions", path=str(folder)) from None
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or match[2] != region or match[11] != ENDS[match[1]]:
            continue
        try:
            at = parse_time(f"{match[4]}-{match[5]}-{match[6]}T{match[7]}:{match[8]}:{match[9]}Z")
        except ValueError:
            continue
        found.append(
            BackupFile(folder / name, match[1], int(match[3]), at, match[10], whole=match[12] is None)
        )
    return sorted(found, key=lambda one: (one.at, one.mark), reverse=True)


def pairs(found: Iterable[BackupFile], epoch: int | None = None) -> list[tuple[BackupFile, BackupFile]]:
    """Custody and record of one instant each, newest first.

    Args:
        epoch: only those under it.
    """
    whole = [one for one in found if one.whole and epoch in (None, one.epoch)]
    records = {(one.epoch, one.at, one.mark): one for one in whole if one.part == RECORD}
    return [
        (one, records[one.epoch, one.at, one.mark])
        for one in whole
        if one.part == CUSTODY and (one.epoch, one.at, one.mark) in records
    ]


def prune(folder: Path, region: str, epoch: int, keep: Period, now: Micros) -> list[Path]:
    """Removes custody and record of closed epochs and those that have had their time; what was removed.

    The newest of the epoch always stays. So do values: without custody nobody opens them. What a kill left
    half-written goes too, of values as well; so whoever calls holds the folder (`alone`).

    Args:
        epoch: the oldest that is not closed.
        keep: for how long custody is kept.

    Raises:
        Misconfigured: `host_permissions`.
    """
    found = found_in(folder, region)
    newest = [pair for pair in pairs(found) if pair[0].epoch >= epoch][:1]
    stay = {one.path for pair in newest for one in pair}
    gone = [
        one.path
        for one in found
        if not one.whole
        or (one.part != VALUES and one.path not in stay and (one.epoch < epoch or keep.after(one.at) < now))
    ]
    try:
        for path in gone:
            path.unlink(missing_ok=True)
        if gone:
            sync_folder(folder)
    except OSError:
        raise Misconfigured("host_permissions", path=str(folder)) from None
    return gone


def newest_age(folder: Path, region: str, epoch: int, now: Micros) -> Micros | None:
    """How old the newest custody and record of an epoch are; None if there are none."""
    mine = pairs(found_in(folder, region), epoch)
    return max(0, now - mine[0][0].at) if mine else None
