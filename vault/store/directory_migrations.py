"""The directory's migrations: a chain of its own, in a folder beside those of cells, run up and down."""

from __future__ import annotations

from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from vault.errors import Misconfigured
from vault.store.migrations import current, location

FOLDER: Final = "directory"


def _config() -> Config:
    config = Config()
    folder = str(location()).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{folder}/{FOLDER}")
    return config


def newest() -> str | None:
    """The revision that this program needs; None: it was installed without them."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def upgrade(engine: Engine) -> None:
    """Brings a database up to that revision. Two at once: one of them fails, and nothing of it was done.

    Raises:
        Unavailable: `database_unavailable`.
        Misconfigured: `migration_required`: a step failed; none was taken.
    """
    if current(engine) != newest():
        _run(engine, command.upgrade, "head")


def downgrade(engine: Engine, to: str) -> None:
    """Takes a database down to a revision; `base` is none at all."""
    _run(engine, command.downgrade, to)


def check(engine: Engine) -> None:
    """Returns if the database has the revision that this program needs.

    Raises:
        Unavailable: `database_unavailable`.
        Misconfigured: `not_initialised`, `migration_required`.
    """
    found, program = current(engine), newest()
    if found is None or program is None:
        raise Misconfigured("not_initialised")
    if found != program:
        raise Misconfigured("migration_required", database=found, program=program)


def _run(engine: Engine, verb: Any, to: str) -> None:
    config = _config()
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            verb(config, to)
    except DBAPIError as problem:
        reason = f"a step failed and was undone: {type(problem).__name__}"
        raise Misconfigured("migration_required", reason=reason) from None
