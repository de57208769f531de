"""Migrations: where they lie, running them up and down, and which programs a database serves.

Revisions are numbers of four digits, so that the order of texts is theirs. A migration that says
`online = True` only adds what older programs need not know: on a server it runs beside them, and they go on,
and may be started again, until the last of them is replaced. Only the newest programs do jobs meanwhile,
since a job of an older one would pass over what it does not know.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, delete, insert, inspect, select
from sqlalchemy.exc import DBAPIError

import vault
from vault.errors import Conflict, Misconfigured, Unavailable
from vault.store.pipeline import CELL_LOCK
from vault.store.tables import SQLITE, Tables

ONLINE: Final = "online"  # what a migration calls itself that older programs go on beside
ONLINE_LOCK_S: Final = 2.0  # that one waits for a table
LOCK_NOT_AVAILABLE: Final = "55P03"  # of PostgreSQL
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
    return _head(str(location()))


@cache
def _head(folder: str) -> str:
    head = ScriptDirectory(folder).get_current_head()
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
    """Returns if the database serves this program: it has its revision, or a newer one that it can live with.

    Raises:
        Misconfigured: `not_initialised`, `migration_required`.
    """
    found = current(engine)
    if found is None:
        raise Misconfigured("not_initialised")
    program = newest()
    newer = found.isdecimal() and found > program
    if found != program and not (newer and _serves(engine, program)):
        raise Misconfigured("migration_required", database=found, program=program)


def is_newest(engine: Engine) -> bool:
    """Whether the database has the revision of this program, and no newer one."""
    return current(engine) == newest()


def check_newest(engine: Engine) -> None:
    """Returns if the database has the revision of this program: else it has what this program does not see.

    Raises:
        Misconfigured: `migration_required`.
    """
    if not is_newest(engine):
        raise Misconfigured("migration_required", program=newest())


def is_online(steps: Sequence[str]) -> bool:
    """Whether programs that know none of these migrations go on beside them."""
    script = ScriptDirectory(str(location()))
    return all(_is_online(script.get_revision(step)) for step in steps)


def _is_online(step: Any) -> bool:
    return bool(getattr(step.module, ONLINE, False))


def _serves(engine: Engine, program: str) -> bool:
    """Whether a database that is ahead of a program serves it all the same."""
    table = Tables(engine.dialect.name).program
    try:
        with engine.connect() as connection:
            oldest = connection.execute(select(table.c.oldest)).scalar()
    except DBAPIError:  # no such table: it is no newer cell of ours
        return False
    return oldest is not None and oldest <= program


def _note_oldest(connection: Connection) -> None:
    """Writes down which is the oldest program that the database now serves."""
    revision = MigrationContext.configure(connection).get_current_revision()
    table = Tables(connection.dialect.name).program
    if revision is None or not inspect(connection).has_table(table.name, schema=table.schema):
        return
    steps = ScriptDirectory(str(location())).iterate_revisions(revision, "base")
    oldest = next(step.revision for step in steps if not _is_online(step))
    connection.execute(delete(table))
    connection.execute(insert(table).values(id=1, oldest=oldest))


def _run(engine: Engine, verb: Any, to: str) -> None:
    if verb is command.upgrade and to == "head" and current(engine) == newest():
        return  # whoever serves the cell meanwhile need not be told
    online = verb is command.upgrade and is_online(_pending(engine, to))
    config = Config()
    config.set_main_option("script_location", str(location()).replace("%", "%%"))
    current(engine)
    try:
        with engine.begin() as connection:
            if engine.dialect.name != SQLITE:
                (_beside if online else _alone)(connection)
            config.attributes["connection"] = connection
            verb(config, to)
            _note_oldest(connection)
    except DBAPIError as problem:
        if getattr(problem.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise Conflict("cell_locked", reason="a long transaction is in the way; try again") from None
        reason = f"a step failed and was undone: {type(problem).__name__}"
        raise Misconfigured("migration_required", reason=reason) from None


def _pending(engine: Engine, to: str) -> list[str]:
    """The steps up to a revision."""
    found = current(engine)
    if found is not None and not is_known(found):
        return []
    return between(found, newest() if to == "head" else to)


def _alone(connection: Connection) -> None:
    """Takes the cell's lock for this transaction: nobody writes into the cell, and nobody else migrates it.

    Raises:
        Conflict: `cell_locked`.
    """
    _lock(
        connection, "pg_try_advisory_xact_lock(%s, %s)", "a service writes into it, or it is being migrated"
    )


def _beside(connection: Connection) -> None:
    """Takes the cell's lock as whoever writes into it does: what needs it alone waits for this one.

    Two that go beside services wait for each other by the table of versions.

    Raises:
        Conflict: `cell_locked`.
    """
    _lock(connection, "pg_try_advisory_xact_lock_shared(%s, %s)", "it is being migrated")
    # Whoever waits for a table is waited for by all that come after: better to be the one that gives up.
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(1000 * ONLINE_LOCK_S)}")


def _lock(connection: Connection, take: str, reason: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not connection.exec_driver_sql(f"SELECT {take}", CELL_LOCK).scalar():
        if time.monotonic() > end:
            raise Conflict("cell_locked", reason=reason)
        time.sleep(0.1)
    # A table of years is not rewritten within the bounds of a request.
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
