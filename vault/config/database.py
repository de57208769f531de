"""Where a cell's database is, read from its settings: a SQLite file, or a PostgreSQL server.

Only the settings are looked at here; nothing is connected to, and no driver is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from vault.config.addresses import MAX_PORT, plain_address

if TYPE_CHECKING:
    from vault.config.settings import StoreSettings

SQLITE: Final = "sqlite:///"
POSTGRESQL: Final = "postgresql+psycopg://"
DEFAULT_PORT: Final = 5432
VERIFY_FULL: Final = "verify-full"
SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", VERIFY_FULL)  # libpq, 32.19.1
_FORMS: Final = f"is {SQLITE}PATH or {POSTGRESQL}USER@HOST/NAME"
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
# Settings that say how a server is reached, and mean nothing for a file.
OF_SERVERS: Final = (
    "database_password_file",
    "database_password",
    "database_sslmode",
    "database_root_certificate",
    "database_certificate",
    "database_key",
)


class Place(NamedTuple):
    """A database on a PostgreSQL server.

    Attributes:
        hosts: names or addresses, or the one folder of a unix socket; of several, the one that can write.
        ports: of each host.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    user: str
    name: str

    @property
    def socket(self) -> bool:
        """Whether it is reached by a unix socket."""
        return self.hosts[0].startswith("/")

    @property
    def local(self) -> bool:
        """Whether what is sent there stays on this host."""
        return self.socket or all(map(_is_loopback, self.hosts))


def is_file(database: str) -> bool:
    """Whether a setting names a SQLite file."""
    return database.startswith(SQLITE)


def place_of(database: str) -> Place:
    """The database that a setting names on a server.

    Raises:
        ValueError: it names none; with the reason.
    """
    if not database.startswith(POSTGRESQL):
        raise ValueError(_FORMS)
    rest, _, query = database.removeprefix(POSTGRESQL).partition("?")
    authority, slash, name = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    if ":" in user:
        raise ValueError("has a password in it; use database_password_file")
    if not (at and user and slash and name) or "/" in name:
        raise ValueError(_FORMS)
    folder = _folder(query)
    if folder is not None:
        if hosts:
            raise ValueError("names a host and the folder of a socket")
        return Place((folder,), (DEFAULT_PORT,), unquote(user), unquote(name))
    found = [_HOST.fullmatch(one) for one in hosts.split(",")]
    whole = [one for one in found if one is not None]
    ports = tuple(int(one["port"] or DEFAULT_PORT) for one in whole)
    if len(whole) < len(found) or not all(1 <= port <= MAX_PORT for port in ports):
        raise ValueError(_FORMS)
    return Place(tuple(one["host"].strip("[]") for one in whole), ports, unquote(user), unquote(name))


def sslmode_of(cell: StoreSettings, place: Place) -> str:
    """How TLS to the server is done: as it is set, else verified in full beyond this host."""
    return cell.database_sslmode or ("prefer" if place.local else VERIFY_FULL)


def wrong_database(cell: StoreSettings, *, strict: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with a cell's database, as (setting, reason).

    Args:
        strict: whether this is production.
    """
    if is_file(cell.database):
        if len(cell.database) == len(SQLITE):
            yield "database", _FORMS
        for name in OF_SERVERS:
            if getattr(cell, name) is not None:
                yield name, "goes with a PostgreSQL database"
        return
    try:
        place = place_of(cell.database)
    except ValueError as problem:
        yield "database", str(problem)
        return
    if cell.database_password is not None and not cell.database_password.startswith("env:"):
        yield "database_password", "is env:NAME, never the password itself"
    if cell.database_password is not None and cell.database_password_file is not None:
        yield "database_password", "goes without database_password_file"
    if (cell.database_certificate is None) != (cell.database_key is None):
        yield "database_certificate", "goes with database_key"
    if cell.database_sslmode is not None and cell.database_sslmode not in SSLMODES:
        yield "database_sslmode", f"is one of {', '.join(SSLMODES)}"
    elif strict and weak(cell, place):
        yield "database_sslmode", f"is {VERIFY_FULL} in production, beyond this host"


def weak(cell: StoreSettings, place: Place) -> bool:
    """Whether somebody on the way could read or be the server."""
    return not place.local and sslmode_of(cell, place) != VERIFY_FULL


def risky_database(cell: StoreSettings) -> Iterator[tuple[str, str]]:
    """What is allowed about a cell's database, and yet to be thought about."""
    if is_file(cell.database):
        return
    if weak(cell, place_of(cell.database)):
        reason = "whoever is on the way can read what is sent, or be the server; refused in production"
        yield "database_sslmode", reason
    if cell.database_password is not None:
        yield "database_password", "other processes of this user can read an environment variable"


def _folder(query: str) -> str | None:
    """The folder of a unix socket, from what stands behind the question mark; None without one."""
    if not query:
        return None
    pairs = parse_qsl(query, keep_blank_values=True)
    if [name for name, _ in pairs] != ["host"] or not pairs[0][1].startswith("/"):
        raise ValueError("takes only ?host=/FOLDER, a unix socket; all else has settings of its own")
    return pairs[0][1]


def _is_loopback(host: str) -> bool:
    address = plain_address(host)
    return host == "localhost" if address is None else address.is_loopback
