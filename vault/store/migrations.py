"""Migrations: where they lie, and running them up and down."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

import vault
from vault.errors import Conflict, Misconfigured, Unavailable
from vault.store.pipeline import CELL_LOCK
from vault.store.tables import SQLITE

PATIENCE_S: Final = 5.0  # another process that migrates is soon done; one that serves is not


def location() -> Path:
    """The folder of migrations: inside an installed package, beside it in a checkout.

    Raises:
        Misconfigured: `migration_required`: the package was installed without them.
    """
    package = Path(vault.__file__).parent
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise Misconfigured("migration_required", reason="the migrations are not installed")


def newest() -> str:
    """The revision that this program needs."""
    head = ScriptDirectory(str(location())).get_current_head()
    if head is None:
        raise Misconfigured("migration_required", reason="the migrations are not installed")
    return head


def is_known(revision: str) -> bool:
    """Whether this program has a migration of that name."""
    return revision in between(None, newest())


def between(lower: str | None, upper: str) -> list[str]:
    """The migrations above one and up to another, in the order in which they are run.

    Args:
        lower: excluded; None: from the first one on.
    """
    steps = ScriptDirectory(str(location())).iterate_revisions(upper, lower or "base")
    return [step.revision for step in steps][::-1]


def current(engine: Engine) -> str | None:
    """The revision that a database has; None if it has none.

    Raises:
        Unavailable: `database_unavailable`: it cannot be read, or is no database at all.
    """
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DBAPIError:
        raise Unavailable("database_unavailable") from None


def upgrade(engine: Engine, to: str = "head") -> None:
    """Brings a database up to a revision.

    Raises:
        Unavailable: `database_unavailable`.
        Misconfigured: `migration_required`: a step failed; none was taken.
        Conflict: `cell_locked`: on a server, somebody writes into the cell or migrates it.
    """
    _run(engine, command.upgrade, to)


def downgrade(engine: Engine, to: str) -> None:
    """Takes a database down to a revision; `base` is none at all."""
    _run(engine, command.downgrade, to)


def check(engine: Engine) -> None:
    """Returns if the database has the revision that this program needs.

    Raises:
        Misconfigured: `not_initialised`, `migration_required`.
    """
    found = current(engine)
    if found is None:
        raise Misconfigured("not_initialised")
    if found != newest():
        raise Misconfigured("migration_required", database=found, program=newest())


def _run(engine: Engine, verb: Any, to: str) -> None:
    if verb is command.upgrade and to == "head" and current(engine) == newest():
        return  # whoever serves the cell meanwhile need not be told
    config = Config()
    config.set_main_option("script_location", str(location()).replace("%", "%%"))
    current(engine)
    try:
        with engine.begin() as connection:
            if engine.dialect.name != SQLITE:
                _alone(connection)
            config.attributes["connection"] = connection
            verb(config, to)
    except DBAPIError as problem:
        reason = f"a step failed and was undone: {type(problem).__name__}"
        raise Misconfigured("migration_required", reason=reason) from None


def _alone(connection: Connection) -> None:
    """Takes the cell's lock for this transaction: nobody writes into the cell, and nobody else migrates it.

    Raises:
        Conflict: `cell_locked`.
    """
    end = time.monotonic() + PATIENCE_S
    taken = "SELECT pg_try_advisory_xact_lock(%s, %s)"
    while not connection.exec_driver_sql(taken, CELL_LOCK).scalar():
        if time.monotonic() > end:
            raise Conflict("cell_locked", reason="a service writes into it, or it is being migrated")
        time.sleep(0.1)
    # A table of years is not rewritten within the bounds of a request.
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
