"""What is wrong or risky on this host, and what to do about it. Takes no lock and changes nothing."""

from __future__ import annotations

import contextlib
import resource
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from vault.clock import SECOND, Clock, SystemClock
from vault.codes import CODES, Exit
from vault.config import Config, Settings
from vault.config.certificate import read_certificate, server_context
from vault.config.checking import risks
from vault.config.keystores import files as secret_files
from vault.config.notices import secret_files_of
from vault.crypto.randomness import new_key
from vault.errors import CoatcheckError, IntegrityError
from vault.finding import OK, RISKY, WRONG, Finding
from vault.keyring.epoch import open_epochs
from vault.kms.erased import ErasedLog
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.overdue import approvals, periods, rotation
from vault.services.audit import verify_newest
from vault.services.backup_folder import newest_age
from vault.services.upkeep import ServerStanding, hear
from vault.store.cell import Store
from vault.wiring import Prompt, Wiring, working_of

EXPIRY_WARNING: Final = timedelta(days=30)  # long enough to renew, short enough for 90-day certificates
LITTLE_SPACE_BYTES: Final = 1024**3
NO_SPACE_BYTES: Final = 100 * 1024**2
LARGE_WAL_BYTES: Final = 256 * 1024**2  # SQLite folds it back at about 4 MiB, unless a reader holds it open
OTHER_DESCRIPTORS: Final = 192  # what the server keeps for all that is no client
NEWEST_EVENTS: Final = 1_000
HOUR: Final = 3_600 * SECOND
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_CONTEXT: Final = b"doctor"


_REMEDIES: Final = {
    "not_initialised": "coatcheck init",
    "migration_required": "coatcheck cell upgrade, or the program that the database belongs to",
    "key_unavailable": "put the root keys and the half-stores back from their backups",
    "integrity_failed": "put the keys of this cell back; these are damaged or another cell's",
    "database_unavailable": "see that the file is there, whole, and this user's",
    "audit_broken": "keep the database as it is, and find out who could write to it",
    "directory_unavailable": "coatcheck directory create; or see that its database and key store are there",
    "host_permissions": "see that the file is there, and change its mode or owner",
}


_SETTINGS: Final = {
    "mode": 'mode = "production", once real data comes in',
    "cell": "coatcheck init",
    "address": "give the service a [tls] section of its own",
    "trusted_proxies": "name the proxies, not the network that they are in",
    "level": 'level = "info"',
    "half_stores": "name a second folder, on another disk; coatcheck init fills it",
    "key_file": "passphrase_file",
    "passphrase": "passphrase_file",
    "database_sslmode": "database_root_certificate, and a server with a certificate for its name",
    "database_password": "database_password_file",
    "passphrase_file": "name a file, if the service shall start by itself",
}


def exit_of(findings: list[Finding], *, strict: bool = False) -> Exit:
    """The exit class of the worst finding: integrity before configuration before nothing.

    Args:
        strict: whether what is risky is wrong.
    """
    wrong = [found for found in findings if found.result == WRONG or (strict and found.result == RISKY)]
    if any(found.code == "audit_broken" for found in wrong):
        return Exit.INTEGRITY
    return Exit.CONFIG if wrong else Exit.OK


class Checkup:
    """Looks at a deployment.

    Args:
        settings: the settings, whether they can be used or not.
        prompt: asks for a passphrase; None: never asks.
        clock: where the time comes from.
    """

    def __init__(self, settings: Settings, prompt: Prompt | None = None, clock: Clock | None = None) -> None:
        self.settings = settings
        self._prompt = prompt
        self._clock = clock or SystemClock()

    def all(self) -> list[Finding]:
        """Everything there is to say."""
        config = self.settings.config
        findings = [
            Finding(problem.setting, WRONG, problem.reason, "change coatcheck.toml", "config_invalid")
            for problem in self.settings.problems
        ]
        if findings or config is None:
            return findings
        where = str(Path(config.base).resolve())
        findings.append(Finding("configuration", OK, f"{len(config.cell)} cells, folder {where}"))
        findings += [_risk(problem.setting, problem.reason) for problem in risks(config)]
        if not config.cell:
            findings.append(Finding("cells", WRONG, "no [cell.REGION] is configured", "coatcheck init"))
        findings += self._transport(config)
        findings += self._process(config)
        for region in config.cell:
            findings += self.cell(config, region)
        return [*findings, *self._directory(config)]

    def cell(self, config: Config, region: str) -> list[Finding]:
        """What is to be said of one cell."""
        wiring = Wiring(config, self._prompt, self._clock)
        name = f"cell {region}"
        path = wiring.database_path(region)
        findings = [*_files(config, region, path)]
        try:
            with wiring.upkeep(region) as upkeep:
                held_by, wal = upkeep.standing().held_by, upkeep.standing().wal_bytes
                if held_by is not None:
                    findings.append(Finding(f"{name} lock", OK, f"held by process {held_by}"))
                if path is None:
                    findings += _server(name, config, upkeep.server())
                if wal > LARGE_WAL_BYTES:
                    detail = f"the write-ahead log has {wal // 1024**2} MiB"
                    remedy = "end what reads the database for long; restart the service to fold it in"
                    findings.append(Finding(f"{name} database", RISKY, detail, remedy))
            with wiring.reader(region) as store:
                findings += self._database(name, store)
                findings += rotation(config, region, store, self._clock.now())
                findings += periods(config, region, store, self._clock.now())
                findings += approvals(region, store, self._clock.now())
                findings += self._backups(config, region, wiring, store)
                findings += self._keys(config, region, wiring, store)
        except CoatcheckError as problem:
            findings.append(_error(name, problem))
        return findings

    def _database(self, name: str, store: Store) -> Iterator[Finding]:
        head = store.read(store.record.head)[0]
        yield Finding(f"{name} database", OK, f"at the newest migration, {head[1]} events")
        ahead = (head[6] - hear(store)) // SECOND
        if ahead > 0:
            detail = f"the ledger's time is {ahead} s ahead of the clock, which went back"
            remedy = "set the clock, and keep it set (NTP); until then the ledger's time stands still"
            yield Finding(f"{name} clock", WRONG, detail, remedy)
        else:
            yield Finding(f"{name} clock", OK, f"{-ahead} s after the last event")
        try:
            checked = verify_newest(store, NEWEST_EVENTS)
            yield Finding(f"{name} audit log", OK, f"the newest {checked.events} events are intact")
        except CoatcheckError as problem:
            yield _error(f"{name} audit log", problem)

    def _backups(self, config: Config, region: str, wiring: Wiring, store: Store) -> Iterator[Finding]:
        """How old the newest backup is, and whether what was erased is known."""
        name, working = f"cell {region} backup", working_of(config, region)
        remedy = f"coatcheck cell backup --region {region}"
        epoch, now = store.read(store.record.head)[0][2], self._clock.now()
        if working.custody_backup is None:
            yield Finding(name, OK, "no folder is set (cell.REGION.custody_backup); a turn writes none")
        elif (age := newest_age(working.custody_backup, region, epoch, now)) is None:
            detail = f"no custody and record under epoch {epoch} in {working.custody_backup}"
            yield Finding(name, RISKY, detail, remedy)
        else:
            old = working.custody_backup_keep.after(now - age) < now
            detail = f"the newest custody and record are {age // HOUR} hours old"
            yield Finding(name, RISKY if old else OK, detail, remedy if old else "")
        try:
            erased = ErasedLog(region, wiring.halves(region).folders).read()
            if erased:
                yield Finding(f"cell {region} erased.log", OK, f"{len(erased)} keys")
        except CoatcheckError as problem:
            yield _error(f"cell {region} erased.log", problem)

    def _keys(self, config: Config, region: str, wiring: Wiring, store: Store) -> Iterator[Finding]:
        name = f"cell {region}"
        try:
            with contextlib.closing(wiring.provider(region)) as provider:
                halves = wiring.halves(region)
                epochs = open_epochs(region, store, provider, halves)
                yield Finding(f"{name} keys", OK, f"epoch {max(epochs)}; {provider.destroy_means}")
                _round_trip(provider, max(epochs))
                yield Finding(f"{name} key store", OK, "what it wraps it opens again")
                yield from _halves(name, halves, sorted(epochs))
        except CoatcheckError as problem:
            yield _error(f"{name} keys", problem)

    def _directory(self, config: Config) -> Iterator[Finding]:
        directory = Wiring(config, self._prompt, self._clock).directory(asks=True)
        if directory is None:
            return
        with contextlib.closing(directory):
            try:
                rows, keys = directory.standing(), directory.keys()
            except CoatcheckError as problem:
                yield _error("directory", problem)
                return
        behind = sorted({str(row["region"]) for row in rows if not row["complete"]})
        if behind:
            remedy = "see that a worker of the region runs; coatcheck directory drop-region, if it is no more"
            yield Finding("directory", RISKY, f"not everybody is listed of: {', '.join(behind)}", remedy)
        else:
            listed = sum(row["entries"] for row in rows)
            yield Finding("directory", OK, f"{listed} entries under key {keys[0].version}")

    def _transport(self, config: Config) -> Iterator[Finding]:
        address = config.listen.address
        if config.tls is None:
            who = "to the trusted proxies only" if config.proxies_only else "on loopback"
            yield Finding("listener", OK, f"plain HTTP {who}, {address}")
        else:
            yield Finding("listener", OK, f"TLS 1.3, {address}")
            yield from self._certificate(config)
        admin = config.listen.admin_address
        yield Finding("administrators", OK, admin or "no listener, so no /metrics outside development")

    def _certificate(self, config: Config) -> Iterator[Finding]:
        renew = "renew it, then SIGHUP"
        try:
            server_context(config)
            assert config.tls is not None  # noqa: S101 - asked by the caller
            certificate = read_certificate(config, config.tls)
        except CoatcheckError as problem:
            yield _error("certificate", problem)
            return
        now = datetime.fromtimestamp(self._clock.now() / SECOND, UTC)
        left = certificate.not_after - now
        until = f"for {', '.join(certificate.names)}, until {certificate.not_after:%Y-%m-%d}"
        if certificate.not_before > now:
            yield Finding("certificate", WRONG, f"not valid before {certificate.not_before:%Y-%m-%d}", renew)
        elif left <= timedelta(0):
            yield Finding("certificate", WRONG, f"has expired; {until}", renew)
        elif left < EXPIRY_WARNING:
            yield Finding("certificate", RISKY, f"expires in {left.days} days; {until}", renew)
        else:
            yield Finding("certificate", OK, f"{until}; the key is its own")

    def _process(self, config: Config) -> Iterator[Finding]:
        """Limits of this process; the service has its own, if it is started otherwise."""
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        wanted = config.limits.connections + OTHER_DESCRIPTORS
        if allowed != resource.RLIM_INFINITY and allowed < wanted:
            detail = f"{allowed} are allowed here, and limits.connections needs {wanted}"
            remedy = f"LimitNOFILE={wanted} in the unit, or fewer connections"
            yield Finding("descriptors", RISKY, detail, remedy)
        else:
            yield Finding("descriptors", OK, "enough for limits.connections")
        if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0 and not config.development:
            remedy = "LimitCORE=0 in the unit"
            yield Finding("core dumps", RISKY, "a crash here would write keys to a file", remedy)


def _risk(setting: str, reason: str) -> Finding:
    return Finding(setting, RISKY, reason, _SETTINGS.get(setting.rpartition(".")[2], ""))


_KEY_STORE: Final = {
    "denied": "see that the credentials are right, current and sufficient; docs/how-to says what they need",
    "disabled": "enable the root key again, if that was not meant",
    "pending_deletion": "cancel the deletion before its date, if that was not meant",
    "sealed": "unseal the key store",
    "tls": "name its authority with kms_auth.ca, and see that its certificate is valid for this host",
}
"""What to do about a key store that does not serve, by the cause; others are away, or have lost a key."""


def _error(check: str, problem: CoatcheckError) -> Finding:
    """What an error says, in a line."""
    facts = " ".join(f"{name}={value}" for name, value in problem.facts.items())
    detail = f"{problem.code} {facts}".strip()
    remedy = _REMEDIES.get(problem.code, CODES[problem.code].hint)
    cause = problem.facts.get("cause")
    if cause is not None and cause != "missing":
        remedy = _KEY_STORE.get(str(cause), "see that the key store runs and can be reached from here")
    return Finding(check, WRONG, detail, remedy, problem.code)


def _round_trip(provider: Provider, version: int) -> None:
    """Returns if the key store opens what it wraps.

    Raises:
        CoatcheckError: it does not, or is out of reach.
    """
    half = new_key()
    if not provider.unwrap(version, provider.wrap(version, half, _CONTEXT), _CONTEXT).matches(half):
        raise IntegrityError("integrity_failed")


def _halves(name: str, halves: HalfStores, epochs: list[int]) -> Iterator[Finding]:
    """Whether every half-store has every half, the same, and on a disk of its own."""
    whole = True
    for epoch in epochs:
        halves.read(epoch)  # raises if they differ
        for folder in halves.missing(epoch):
            whole = False
            remedy = "coatcheck init copies it from the others, while no service runs"
            yield Finding(f"{name} half-stores", WRONG, f"{folder} lacks its half", remedy)
    if whole and len(halves.folders) > 1:
        yield Finding(f"{name} half-stores", OK, f"{len(halves.folders)} agree")
    with contextlib.suppress(OSError):
        if len(halves.folders) > len({folder.stat().st_dev for folder in halves.folders}):
            remedy = "put one on another disk: losing the last copy is losing every value"
            yield Finding(f"{name} half-stores", RISKY, "two are on one disk", remedy)


def _server(name: str, config: Config, server: ServerStanding) -> Iterator[Finding]:
    """What is risky about a PostgreSQL server."""
    if server.standby:
        remedy = "name the server that writes, or both: of several hosts the one that can write is taken"
        yield Finding(f"{name} server", WRONG, "a stand-by, which cannot write", remedy)
    if not server.durable:
        remedy = "fsync = on and full_page_writes = on"
        yield Finding(f"{name} server", WRONG, "a crash of it may lose what was acknowledged", remedy)
    if not server.followed and not config.development:
        detail = "no synchronous stand-by, so a failover may lose uses, revocations and tokens"
        yield Finding(f"{name} server", RISKY, detail, "synchronous_standby_names, or never fail over")
    if server.superuser:
        remedy = "a role of its own: docs/how-to/run-on-postgresql.md"
        yield Finding(f"{name} server", RISKY, "this role is a superuser, who may change the log", remedy)
    sent = "TLS" if server.encrypted else "on this host, or unencrypted"
    yield Finding(f"{name} server", OK, f"PostgreSQL {server.version}, {sent}")


def _files(config: Config, region: str, database: Path | None) -> Iterator[Finding]:
    """Modes of what holds keys and values, and the space that is left beside them."""
    settings, name = config.cell[region], f"cell {region}"
    folders = {config.path(text) for text in settings.half_stores}
    if settings.kms.startswith("local:"):
        folders.add(config.path(settings.kms.removeprefix("local:")))
    private = [place for folder in sorted(folders) for place in (folder, *_inside(folder))]
    if settings.passphrase_file is not None:
        private.append(config.path(settings.passphrase_file))
    if settings.key_file is not None:
        private.append(config.path(settings.key_file))
    private += [config.path(text) for text in secret_files(settings.kms_auth)]
    private += [config.path(text) for text in secret_files_of(config.notices)]
    if settings.database_password_file is not None:
        private.append(config.path(settings.database_password_file))
    if database is not None:
        private += [database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))]
    beside = {*folders} if database is None else {database.parent, *folders}
    open_ = [place for place in dict.fromkeys(private) if _is_open(place)]
    for place in open_:
        wanted = "0700" if place.is_dir() else "0600"
        yield Finding(f"{name} permissions", WRONG, f"others may read {place}", f"chmod {wanted} {place}")
    if not open_:
        yield Finding(f"{name} permissions", OK, "keys, passphrase and database are this user's alone")
    if settings.passphrase_file is not None and config.path(settings.passphrase_file).parent in beside:
        detail = "the passphrase lies beside what it protects, and gets into the same copies"
        yield Finding(f"{name} passphrase", RISKY, detail, "a tmpfs, or the service manager's credentials")
    for place in sorted(beside):
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(place).free
            if free < LITTLE_SPACE_BYTES:
                result = WRONG if free < NO_SPACE_BYTES else RISKY
                yield Finding(f"{name} disk", result, f"{free // 1024**2} MiB left for {place}", "make room")


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_open(place: Path) -> bool:
    """Whether others than its owner may do anything with a file; False if it is not there."""
    try:
        return bool(stat.S_IMODE(place.stat().st_mode) & _OTHERS)
    except OSError:
        return False
