"""The deployment's settings: `coatcheck.toml`, the environment above it, flags above that.

Unknown keys are errors, and so are keys that this version does not build yet: nothing is ignored.
Secrets are never values here, only paths of files or `env:NAME`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from vault.errors import Misconfigured
from vault.identifiers import is_name
from vault.secret import Secret

FILE_NAME: Final = "coatcheck.toml"
DEFAULT_PORT: Final = 8700
MAX_PORT: Final = 65_535
_PORT: Final = re.compile(r"[0-9]{1,5}")
_PREFIX: Final = "COATCHECK_"
_SQLITE: Final = "sqlite:///"
_ENV: Final = "env:"
# Environment variables that are not settings of the file.
_OTHER: Final = frozenset(
    {"CONFIG", "PORT", "URL", "KEY", "REGION", "VECTORS", "FULL", "PURPOSE", "OPERATION", "PASSPHRASE"}
)

# Keys of the design that later versions build.
_NOT_BUILT: Final = {
    "": ("tls",),
    "listen": ("workers", "admin_address", "trusted_proxies"),
    "ledger": ("max_wait_ms",),
    "cell": ("database_password_file", "custody_backup", "custody_backup_keep"),
}


class Listen(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the service listens."""

    address: str = f"127.0.0.1:{DEFAULT_PORT}"


class CellSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One region's cell. Relative paths are relative to the file's folder."""

    database: str
    kms: str
    half_stores: list[str]
    passphrase_file: str | None = None
    passphrase: str | None = None
    key_file: str | None = None
    schema: str | None = None
    url: str | None = None


class RegionSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A region that another service hosts."""

    url: str


class LedgerSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Bounds of the committer."""

    max_commands: int = 256
    queue: int = 4096


class LimitSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Bounds of a request."""

    body_kib: int = 256
    batch_mib: int = 8
    items: int = 10_000


class LogSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How the log looks."""

    format: str = "json"
    level: str = "info"


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A deployment."""

    mode: str = "production"
    listen: Listen = Listen()
    cell: dict[str, CellSettings] = {}
    region: dict[str, RegionSettings] = {}
    ledger: LedgerSettings = LedgerSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    base: str = "."

    @property
    def development(self) -> bool:
        """Whether the relaxations of development hold."""
        return self.mode == "development"

    def path(self, text: str) -> Path:
        """A path of the file, relative to its folder."""
        return Path(self.base) / text

    def host_and_port(self) -> tuple[str, int]:
        """The listener's address.

        Raises:
            Misconfigured: `config_invalid`: not `host:port`, or not loopback (plain HTTP goes no further).
        """
        host, _, port = self.listen.address.rpartition(":")
        host = host.strip("[]")
        if not host or _PORT.fullmatch(port) is None or int(port) > MAX_PORT:
            raise Misconfigured("config_invalid", setting="listen.address", reason="is not host:port")
        if host != "localhost" and not _loopback(host):
            raise Misconfigured(
                "config_invalid", setting="listen.address", reason="plain HTTP is served on loopback only"
            )
        return host, int(port)

    def passphrase_of(self, region: str) -> Secret | None:
        """A cell's passphrase, from its file or an environment variable; None without either."""
        cell = self.cell[region]
        if cell.passphrase_file is not None:
            try:
                return Secret(self.path(cell.passphrase_file).read_bytes().rstrip(b"\r\n"))
            except OSError:
                raise Misconfigured("host_permissions", setting=f"cell.{region}.passphrase_file") from None
        if cell.passphrase is not None:
            value = os.environ.get(cell.passphrase.removeprefix(_ENV))
            if not value:
                raise Misconfigured(
                    "config_invalid",
                    setting=f"cell.{region}.passphrase",
                    reason="is env:NAME of a set variable",
                )
            return Secret(value.encode())
        return None


def no_color_wanted() -> bool:
    """Whether the environment asks for no colours (NO_COLOR)."""
    return bool(os.environ.get("NO_COLOR"))


def find_file(flag: str | None) -> Path:
    """The configuration file: the flag's, `COATCHECK_CONFIG`'s, or ./coatcheck.toml."""
    path = Path(flag or os.environ.get("COATCHECK_CONFIG") or FILE_NAME)
    return path / FILE_NAME if path.is_dir() else path


def load(path: Path) -> Config:
    """The settings of a file with the environment above it.

    Raises:
        Misconfigured: `config_invalid` with the setting's name; `not_initialised` if there is no file.
    """
    try:
        document = _toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misconfigured("not_initialised", path=str(path)) from None
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None
    except ValueError as problem:
        raise Misconfigured("config_invalid", path=str(path), reason=str(problem)[:200]) from None
    return build(document, os.environ, path.parent)


def build(document: dict[str, Any], environment: Mapping[str, str], base: Path) -> Config:
    """The settings of a decoded file with an environment above it.

    Raises:
        Misconfigured: `config_invalid` with the setting's name.
    """
    if "base" in document:
        raise Misconfigured("config_invalid", setting="base", reason="is unknown")
    _overlay(document, environment)
    _refuse_not_built(document)
    try:
        config = msgspec.convert({**document, "base": str(base)}, Config)
    except (msgspec.ValidationError, RecursionError) as problem:
        # msgspec names keys and types here, never values.
        raise Misconfigured("config_invalid", reason=str(problem)) from None
    _check(config)
    return config


def _toml(text: str) -> dict[str, Any]:
    """The table that a TOML text holds.

    Raises:
        ValueError: it is not TOML, or more than this reader takes: nested too deep, numbers too long.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def _overlay(document: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Puts `COATCHECK_SECTION__KEY` over the file; `COATCHECK_PORT` over the listener's port."""
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name[len(_PREFIX) :] in _OTHER:
            continue
        parts = name[len(_PREFIX) :].lower().split("__")
        if len(parts) < 2 and parts[0] != "mode":
            raise Misconfigured("config_invalid", setting=name, reason="is not COATCHECK_SECTION__KEY")
        table = document
        for part in parts[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise Misconfigured("config_invalid", setting=name)
        table[parts[-1]] = _value(environment[name])
    port = environment.get("COATCHECK_PORT")
    if port:
        listen = document.setdefault("listen", {})
        if not isinstance(listen, dict):
            raise Misconfigured("config_invalid", setting="listen", reason="is not a table")
        host = str(listen.get("address", f"127.0.0.1:{DEFAULT_PORT}")).rpartition(":")[0]
        listen["address"] = f"{host}:{port}"


def _value(text: str) -> Any:
    """A TOML value if it reads as a number, a flag or a list; else the text itself."""
    try:
        table = _toml(f"value = {text}")
    except ValueError:
        return text
    value = table["value"] if len(table) == 1 else text
    return value if isinstance(value, int | bool | list) else text


def _refuse_not_built(document: Mapping[str, Any]) -> None:
    tables: list[tuple[str, str, Any]] = [("", "", document)]
    tables += [(name, name + ".", document.get(name, {})) for name in ("listen", "ledger")]
    cells = document.get("cell", {})
    if isinstance(cells, dict):
        tables += [("cell", f"cell.{region}.", cell) for region, cell in cells.items()]
    for kind, place, table in tables:
        for key in _NOT_BUILT[kind]:
            if isinstance(table, dict) and key in table:
                raise Misconfigured(
                    "config_invalid", setting=place + key, reason="is not built yet in this version"
                )


def _check(config: Config) -> None:
    if config.mode not in ("production", "development"):
        raise Misconfigured("config_invalid", setting="mode", reason="is production or development")
    databases: dict[Path, str] = {}
    for region, cell in config.cell.items():
        if not is_name(region):
            raise Misconfigured("config_invalid", setting="cell", reason="a region's name is a-z, 0-9, - . _")
        _check_cell(config, f"cell.{region}", cell)
        other = databases.setdefault(config.path(cell.database.removeprefix(_SQLITE)), region)
        if other != region:
            reason = f"is the database of cell.{other} too"
            raise Misconfigured("config_invalid", setting=f"cell.{region}.database", reason=reason)
    bounds = (
        ("ledger.max_commands", config.ledger.max_commands, 1, 4096),
        ("ledger.queue", config.ledger.queue, 1, 1_000_000),
        ("limits.body_kib", config.limits.body_kib, 1, 16_384),
        ("limits.batch_mib", config.limits.batch_mib, 1, 256),
        ("limits.items", config.limits.items, 1, 1_000_000),
    )
    for setting, value, low, high in bounds:
        if not low <= value <= high:
            raise Misconfigured("config_invalid", setting=setting, reason=f"is from {low} to {high}")
    if config.log.format not in ("json", "text") or config.log.level not in (
        "debug",
        "info",
        "warning",
        "error",
    ):
        raise Misconfigured("config_invalid", setting="log")
    config.host_and_port()


def _check_cell(config: Config, place: str, cell: CellSettings) -> None:
    if not cell.half_stores:
        raise Misconfigured("config_invalid", setting=f"{place}.half_stores", reason="is empty")
    if len({config.path(folder) for folder in cell.half_stores}) < len(cell.half_stores):
        raise Misconfigured("config_invalid", setting=f"{place}.half_stores", reason="names a folder twice")
    if not cell.database.startswith(_SQLITE) or len(cell.database) == len(_SQLITE):
        reason = "only sqlite:///PATH is built in this version"
        raise Misconfigured("config_invalid", setting=f"{place}.database", reason=reason)
    if cell.key_file is not None and not config.development:
        reason = "a key file beside the data is for development only; use passphrase_file"
        raise Misconfigured("config_invalid", setting=f"{place}.key_file", reason=reason)
    if cell.passphrase is not None and not cell.passphrase.startswith(_ENV):
        reason = "is env:NAME, never the passphrase itself"
        raise Misconfigured("config_invalid", setting=f"{place}.passphrase", reason=reason)
    if sum(setting is not None for setting in (cell.passphrase, cell.passphrase_file, cell.key_file)) > 1:
        reason = "goes with one of passphrase_file, passphrase and key_file"
        raise Misconfigured("config_invalid", setting=place, reason=reason)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
