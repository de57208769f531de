"""The settings of `coatcheck.toml`: names, types, defaults, bounds, meaning. The reference is made of it."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

import msgspec

from vault.config.addresses import split_address
from vault.config.identities import IdentitySettings
from vault.config.keystores import KmsAuth, KmsLimits
from vault.config.limits import LimitSettings
from vault.config.means import means
from vault.config.notices import NoticeSettings
from vault.config.oauth import OAuthSettings
from vault.errors import Misconfigured
from vault.secret import Secret

DEFAULT_PORT: Final = 8700
ENV: Final = "env:"
Network = IPv4Network | IPv6Network


DIRECTORY: Final = ":directory"
"""In place of a region where a database and its keys are the directory's; no region can have this name."""


def table_of(region: str) -> str:
    """The table of the file that a region's settings stand in."""
    return "directory" if region == DIRECTORY else f"cell.{region}"


class Listen(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the service listens, and who stands before it."""

    address: Annotated[
        str, means("`IP:PORT`; beyond loopback only with `tls` or `listen.trusted_proxies`")
    ] = f"127.0.0.1:{DEFAULT_PORT}"
    workers: Annotated[
        int, means("processes that answer; more than one only if all cells are on PostgreSQL", 1, 64)
    ] = 1
    admin_address: Annotated[
        str | None,
        means(
            "`IP:PORT` on loopback of a second listener, for administrators: `/metrics`, `/docs` and the "
            "details of `/readyz`; none: there is no such listener"
        ),
    ] = None
    trusted_proxies: Annotated[
        list[str],
        means(
            "networks of the proxies in front: they alone are believed when they forward an address, and "
            "over plain HTTP beyond loopback they alone are answered"
        ),
    ] = []
    client_cert_header: Annotated[
        bool,
        means(
            "whether `trusted_proxies` say in `Client-Cert` (RFC 9440) whose certificate they saw; only if "
            "they remove the one that a client sent"
        ),
    ] = False


class TlsSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """TLS of the service's own. With this section the listener speaks TLS 1.3 and nothing else."""

    certificate: Annotated[
        str, means("PEM file of the certificate, and of those between it and its authority")
    ]
    key: Annotated[str, means("PEM file of its private key, without a passphrase, mode 0600 or 0640")]
    minimum: Annotated[str, means("the oldest version of TLS: `1.3`, the only one")] = "1.3"
    client_ca: Annotated[
        str | None,
        means(
            "PEM file of the authorities whose certificates clients may show, or of such certificates "
            "themselves; none: clients are asked for none"
        ),
    ] = None


class StoreSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A database and a key store of its own. Relative paths are relative to the file's folder."""

    database: Annotated[
        str,
        means(
            "`sqlite:///PATH`; or `postgresql+psycopg://USER@HOST:PORT/NAME`, several hosts between commas; "
            "or `postgresql+psycopg://USER@/NAME?host=/FOLDER` for the unix socket in a folder"
        ),
    ]
    kms: Annotated[
        str,
        means("the key store: `local:PATH`, `transit://...`, `awskms://...` or `pkcs11:...`"),
    ]
    half_stores: Annotated[
        list[str], means("folders that each hold the second half of every epoch key; use two disks")
    ]
    database_password_file: Annotated[
        str | None,
        means("the file with the password of PostgreSQL's user; read anew for every connection"),
    ] = None
    database_password: Annotated[
        str | None, means("`env:NAME`: that password from an environment variable")
    ] = None
    database_sslmode: Annotated[
        str | None,
        means(
            "TLS to the server, as libpq names it; none: `verify-full`, on loopback `prefer`. In production "
            "nothing less than `verify-full` is taken beyond loopback and unix sockets"
        ),
    ] = None
    database_root_certificate: Annotated[
        str | None, means("PEM file of the authority of the server's certificate; none: the system's")
    ] = None
    database_certificate: Annotated[
        str | None, means("PEM file of the certificate that this service shows to the server")
    ] = None
    database_key: Annotated[str | None, means("PEM file of its private key, mode 0600 or 0640")] = None
    database_connections: Annotated[
        int, means("most connections of a process to PostgreSQL; one is the committer's", 2, 1000)
    ] = 8
    passphrase_file: Annotated[str | None, means("the file with the key store's passphrase")] = None
    passphrase: Annotated[str | None, means("`env:NAME`: the passphrase from an environment variable")] = None
    key_file: Annotated[str | None, means("a key file in place of a passphrase; in development only")] = None
    kms_auth: KmsAuth | None = None
    kms_limits: KmsLimits = KmsLimits()


class CellSettings(StoreSettings, forbid_unknown_fields=True, frozen=True):
    """One region's cell. Relative paths are relative to the file's folder."""

    schema: Annotated[
        str | None, means("the file that `schema plan` and `schema apply` read when none is named")
    ] = None
    url: Annotated[
        str | None, means("where clients reach this cell: what `region list` and the directory say")
    ] = None
    transfer_to: Annotated[
        list[str],
        means(
            "regions of this configuration into which values of people may be transferred, where the schema "
            "of their field says so too; none: nothing leaves"
        ),
    ] = []
    rotation: Annotated[
        str | None,
        means(
            "how long keys are sealed under one epoch, like `P90D`; then a worker turns it. None: when it is "
            "turned is up to you"
        ),
    ] = None
    reference_rotation: Annotated[
        str | None,
        means(
            "how long references to data subjects are made by one key, like `P1Y`; then a worker rotates it. "
            "None: when it is rotated is up to you"
        ),
    ] = None
    delivery_rotation: Annotated[
        str | None,
        means(
            "how long sealed answers are signed, and sealed requests opened, by one key, like `P1Y`; then a "
            "worker makes another, which signs after it was announced for a week. None: for ever"
        ),
    ] = None
    custody_backup: Annotated[
        str | None,
        means(
            "a folder for the backup of custody and record that a turn writes and reads back before it "
            "closes the old epoch, and that `cell backup` writes into; none: a turn writes none"
        ),
    ] = None
    custody_backup_keep: Annotated[
        str,
        means(
            "for how long backups of custody and record are kept at most, like `P7D`; older ones are removed "
            "when another is written. The newest always stays"
        ),
    ] = "P7D"
    suppression_keep: Annotated[
        str,
        means(
            "for how long late writes for a person who was erased are refused, like `P10Y`. Until then a "
            "keyed reference of the person stays, and nothing else"
        ),
    ] = "P10Y"


class DirectorySettings(StoreSettings, forbid_unknown_fields=True, frozen=True):
    """The directory, which tells in which region a person is. Its database and keys are no cell's."""

    lookups_per_day: Annotated[
        int,
        means("look-ups of each principal a day: it is told who is a customer", 1, 1_000_000_000),
    ] = 1_000


class RegionSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A region that another service hosts."""

    url: Annotated[str, means("where a region that another service hosts is reached; 421 answers name it")]
    key: Annotated[
        str | None,
        means("`env:NAME` of a service key of that region, with the permission `transfer:receive`"),
    ] = None
    key_file: Annotated[str | None, means("the file that such a key stands in")] = None
    intake_key: Annotated[
        str | None,
        means("`x` of the key that transfers are sealed to, of `POST intake-key`; none: it is asked for"),
    ] = None
    ca: Annotated[
        str | None, means("a PEM file of the authorities that are trusted for it; none: those of the host")
    ] = None

    @property
    def keyed(self) -> bool:
        """Whether values may be transferred into it."""
        return self.key is not None or self.key_file is not None


class LedgerSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Bounds of the committer."""

    max_wait_ms: Annotated[
        int, means("groups form while the commit before runs; a waiting window was slower each time", 0, 0)
    ] = 0
    max_commands: Annotated[int, means("most commands of one transaction", 1, 4096)] = 256
    queue: Annotated[
        int, means("most commands that may wait; more are refused with `too_busy`", 1, 1_000_000)
    ] = 4096


class WorkerSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How jobs are done."""

    inside: Annotated[
        bool, means("whether `serve` does jobs too; else `coatcheck worker` has to run beside it")
    ] = True
    batch: Annotated[int, means("rows that a job writes in one transaction", 16, 65_536)] = 2_048
    pause_ms: Annotated[
        int, means("milliseconds between two transactions of a job, for everybody else", 0, 60_000)
    ] = 5


class KeySettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Terms of service keys."""

    longest: Annotated[
        str | None,
        means(
            "the longest that a new service key may be valid, like `P1Y`; one without an expiry of its own "
            "then gets this one. None: as long as its maker says, or for ever"
        ),
    ] = None
    overlap: Annotated[
        str, means("how long a service key that is replaced stays valid, if nobody says; a month at most")
    ] = "P7D"
    warning: Annotated[
        str,
        means("how long before its end a service key is warned of, by `doctor`, `whoami` and a metric"),
    ] = "P14D"


class LogSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How the log looks."""

    format: Annotated[str, means("`json` or `text`")] = "json"
    level: Annotated[str, means("`debug`, `info`, `warning` or `error`")] = "info"


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A deployment."""

    mode: Annotated[
        str,
        means(
            "`production` or `development`; the latter allows key files, and serves `/metrics` and `/docs` "
            "to whoever can connect"
        ),
    ] = "production"
    listen: Listen = Listen()
    tls: TlsSettings | None = None
    cell: dict[str, CellSettings] = {}
    region: dict[str, RegionSettings] = {}
    directory: DirectorySettings | None = None
    ledger: LedgerSettings = LedgerSettings()
    worker: WorkerSettings = WorkerSettings()
    keys: KeySettings = KeySettings()
    identities: IdentitySettings = IdentitySettings()
    notices: NoticeSettings = NoticeSettings()
    oauth: OAuthSettings = OAuthSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    base: str = "."

    @property
    def development(self) -> bool:
        """Whether the relaxations of development hold."""
        return self.mode == "development"

    @property
    def proxies_only(self) -> bool:
        """Whether none but the trusted proxies are answered: plain HTTP beyond loopback."""
        return self.tls is None and not split_address(self.listen.address).loopback

    def path(self, text: str) -> Path:
        """A path of the file, relative to its folder."""
        return Path(self.base) / text

    def host_and_port(self) -> tuple[str, int]:
        """The listener's address."""
        address = split_address(self.listen.address)
        return address.host, address.port

    def admin_host_and_port(self) -> tuple[str, int] | None:
        """The administrators' listener's address; None without one."""
        if self.listen.admin_address is None:
            return None
        address = split_address(self.listen.admin_address)
        return address.host, address.port

    def url(self, port: int | None = None) -> str:
        """The listener's address as a URL.

        Args:
            port: the one that is bound, where the setting says 0.
        """
        host, configured = self.host_and_port()
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if self.tls is None else 'https'}://{shown}:{port or configured}"

    def trusted_proxies(self) -> tuple[Network, ...]:
        """The networks of the proxies in front."""
        return tuple(ip_network(text) for text in self.listen.trusted_proxies)

    def store_of(self, region: str) -> StoreSettings:
        """The database and key store of a cell, or of the directory."""
        if region == DIRECTORY and self.directory is not None:
            return self.directory
        return self.cell[region]

    def stores(self) -> dict[str, StoreSettings]:
        """Every database with its key store, by the table of the file that it stands in."""
        found: dict[str, StoreSettings] = {table_of(region): cell for region, cell in self.cell.items()}
        return found if self.directory is None else {**found, table_of(DIRECTORY): self.directory}

    def urls(self) -> dict[str, str]:
        """Where every region that the file speaks of is reached; its own without `url` by the listener."""
        return {
            **{region: settings.url for region, settings in self.region.items()},
            **{region: settings.url or self.url() for region, settings in self.cell.items()},
        }

    def database_password_of(self, region: str) -> str | None:
        """The password of a cell's database, as it is now; None if it has none.

        Raises:
            Misconfigured: `host_permissions`, `config_invalid`.
        """
        cell = self.store_of(region)
        setting = f"{table_of(region)}.database_password"
        return self._secret_text(cell.database_password_file, cell.database_password, setting)

    def region_key_of(self, region: str) -> str | None:
        """The service key of a region of another service, as it is now; None if there is none.

        Raises:
            Misconfigured: `host_permissions`, `config_invalid`.
        """
        settings = self.region[region]
        return self._secret_text(settings.key_file, settings.key, f"region.{region}.key")

    def _secret_text(self, file: str | None, variable: str | None, setting: str) -> str | None:
        """A secret of a file, `SETTING_file`, or of an environment variable; None without either."""
        if file is not None:
            try:
                return self.path(file).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                raise Misconfigured("host_permissions", setting=f"{setting}_file") from None
        if variable is None:
            return None
        value = os.environ.get(variable.removeprefix(ENV))
        if not value:
            raise Misconfigured("config_invalid", setting=setting, reason="is env:NAME of a set variable")
        return value

    def passphrase_of(self, region: str) -> Secret | None:
        """A cell's passphrase, from its file or an environment variable; None without either."""
        cell = self.store_of(region)
        if cell.passphrase_file is not None:
            try:
                return Secret(self.path(cell.passphrase_file).read_bytes().rstrip(b"\r\n"))
            except OSError:
                raise Misconfigured(
                    "host_permissions", setting=f"{table_of(region)}.passphrase_file"
                ) from None
        if cell.passphrase is not None:
            value = os.environ.get(cell.passphrase.removeprefix(ENV))
            if not value:
                raise Misconfigured(
                    "config_invalid",
                    setting=f"{table_of(region)}.passphrase",
                    reason="is env:NAME of a set variable",
                )
            return Secret(value.encode())
        return None


# Keys of the design that later versions build, by the table they stand in.
NOT_BUILT: Final[dict[str, tuple[str, ...]]] = {}
NOT_BUILT_REASON: Final = "is not built yet in this version"
_USERINFO: Final = re.compile(r"(?<=//)[^/@\s]*:[^/@\s]*(?=@)")
_QUERY: Final = re.compile(r"\?.*", re.DOTALL)


def shown(setting: str, value: object) -> object:
    """A setting as it may be shown: without the user and the password that an address may carry."""
    if isinstance(value, str) and setting.rpartition(".")[2] in ("database", "kms", "url", "webhook"):
        return _QUERY.sub("?(hidden)", _USERINFO.sub("(hidden)", value))
    return value
