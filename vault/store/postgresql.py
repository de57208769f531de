"""Engines for PostgreSQL: how a server is reached, and what is settled on every connection.

Every connection has bounds: on the time to connect, to wait for a lock, to run a statement, and to stand
idle in a transaction, so that neither a server that is gone nor a process that hangs holds up the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event

from vault import extras

DRIVER: Final = "postgresql+psycopg"
CONNECT_TIMEOUT_S: Final = 5
POOL_TIMEOUT_S: Final = 5.0
LOCK_TIMEOUT_MS: Final = 1_000
STATEMENT_TIMEOUT_MS: Final = 30_000
IDLE_IN_TRANSACTION_MS: Final = 10_000  # a process that stands still must not keep the head from the others
COMMITTERS: Final = 1  # connections that are not the pool's
DEFAULT_CONNECTIONS: Final = 8
# What a dead peer costs at most, if nothing says that it is dead (libpq, 32.1.2).
_KEEPALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# An acknowledged commit survives a crash, whatever the server's default is. `remote_write` and stronger
# levels are left alone: those who set them know why.
_SETTINGS: Final = (
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}",
    f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}",
    f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}",
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') IN ('off', 'local')",
)


@dataclass(frozen=True, slots=True)
class Server:
    """A database on a server, and how it is reached.

    Attributes:
        hosts: names or addresses, or one folder of a unix socket.
        password: gives the password as it is when a connection is made; None without one.
        sslmode: as libpq names it.
        root: the authority of the server's certificate; None: the system's.
        connections: most connections of this process.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    user: str
    name: str
    sslmode: str
    password: Callable[[], str | None] = field(repr=False)
    root: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    connections: int = DEFAULT_CONNECTIONS

    def arguments(self) -> dict[str, Any]:
        """What libpq is told, without the password. Nothing of it is left to the environment."""
        several = {"target_session_attrs": "read-write"} if len(self.hosts) > 1 else {}
        tls: dict[str, Any] = {"sslmode": "disable"}
        if not self.hosts[0].startswith("/"):
            verifies = self.sslmode.startswith("verify")
            root = "system" if verifies and self.sslmode == "verify-full" else None
            tls = {"sslmode": self.sslmode, "sslrootcert": str(self.root) if self.root else root}
            tls |= {"sslcert": _text(self.certificate), "sslkey": _text(self.key), "gssencmode": "disable"}
        return {
            "host": ",".join(self.hosts),
            "port": ",".join(map(str, self.ports)),
            "user": self.user,
            "dbname": self.name,
            **several,
            **{name: value for name, value in tls.items() if value is not None},
        }


def engine_of(place: Server | URL) -> Engine:
    """An engine for a server, or, for tests, for a URL.

    Raises:
        Misconfigured: `extra_missing`: the driver is not installed.
    """
    extras.load("psycopg", "postgres")
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # that a pipeline ends after an error is no news
    server = place if isinstance(place, Server) else None
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "coatcheck"}
    arguments |= _KEEPALIVE
    engine = create_engine(
        URL.create(DRIVER) if isinstance(place, Server) else place,
        isolation_level="READ COMMITTED",
        pool_size=(DEFAULT_CONNECTIONS if server is None else server.connections) - COMMITTERS,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        use_native_hstore=False,  # saves a question that nobody here asks
        connect_args=arguments | (server.arguments() if server is not None else {}),
        hide_parameters=True,  # what goes into a statement does not come out of its error
    )
    if server is not None:

        @event.listens_for(engine, "do_connect")
        def ask(_dialect: object, _record: object, _args: object, wanted: dict[str, Any]) -> None:
            password = server.password()
            if password is not None:
                wanted["password"] = password

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: object) -> None:
        was = connection.autocommit
        connection.autocommit = True
        connection.add_notice_handler(_ignore)
        for statement in _SETTINGS:
            connection.execute(statement)
        connection.autocommit = was

    return engine


def _ignore(_notice: object) -> None:
    """Notices may hold values; nobody reads them."""


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
