"""Runs migrations on the connection that `vault.store.migrations` hands over."""

from __future__ import annotations

from alembic import context


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, transactional_ddl=True, render_as_batch=False)
    with context.begin_transaction():
        context.run_migrations()


run()
