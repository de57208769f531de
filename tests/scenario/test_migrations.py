"""Migrations run up and down on both kinds of database, and leave exactly the tables that the program has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, Inspector, inspect, select, text

from tests.support.databases import new_database
from vault.errors import Misconfigured
from vault.store import migrations
from vault.store.session import open_engine
from vault.store.tables import SCHEMAS, Tables

LAST_ALONE = "0015"  # the newest migration that is not online


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(new_database(request.param, tmp_path, empty=True))
    yield made
    made.dispose()


def differences(engine: Engine) -> list[Any]:
    """What autogenerate would write into a next migration."""
    schemas = {None, *SCHEMAS.values()}
    with engine.connect() as connection:
        options = {
            "include_schemas": engine.dialect.name == "postgresql",
            "include_name": lambda name, kind, _: kind != "schema" or name in schemas,
            "include_object": lambda _o, name, kind, _r, _c: (kind, name) != ("table", "alembic_version"),
            "compare_type": True,
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, Tables(engine.dialect.name).metadata))


def shape(looked: Inspector, table: str, schema: str | None) -> list[Any]:
    """Columns, primary key, unique and foreign keys, checks and indexes of a table."""
    return [
        [(c["name"], str(c["type"]), c["nullable"]) for c in looked.get_columns(table, schema)],
        looked.get_pk_constraint(table, schema)["constrained_columns"],
        sorted((u["name"] or "", u["column_names"]) for u in looked.get_unique_constraints(table, schema)),
        sorted(
            (k["constrained_columns"], k["referred_table"], k["referred_columns"])
            for k in looked.get_foreign_keys(table, schema)
        ),
        sorted((c["name"] or "", c["sqltext"]) for c in looked.get_check_constraints(table, schema)),
        sorted((i["name"] or "", i["column_names"], i["unique"]) for i in looked.get_indexes(table, schema)),
    ]


def objects(engine: Engine) -> dict[str, Any]:
    """Every table with its columns, keys, constraints and indexes, as the database says them."""
    looked = inspect(engine)
    schemas = [None] if engine.dialect.name == "sqlite" else [*SCHEMAS.values()]
    found: dict[str, Any] = {}
    for schema in schemas:
        if schema is not None and schema not in looked.get_schema_names():
            continue
        for table in looked.get_table_names(schema):
            if table == "alembic_version":
                continue
            found[f"{schema}.{table}"] = shape(looked, table, schema)
    return found


def test_up_gives_the_tables_of_the_program(engine: Engine) -> None:
    migrations.upgrade(engine)
    assert differences(engine) == []
    assert migrations.current(engine) == migrations.newest()
    migrations.check(engine)


def test_the_comparison_sees_a_difference(engine: Engine) -> None:
    """The control of the test above."""
    migrations.upgrade(engine)
    tables = Tables(engine.dialect.name)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {tables.grants.fullname} ADD COLUMN surplus INTEGER"))
        connection.execute(text(f"DROP TABLE {tables.counters.fullname}"))
    kinds = {difference[0] for difference in differences(engine)}
    assert kinds == {"remove_column", "add_table"}


def test_the_tables_are_those_that_create_all_makes(engine: Engine, tmp_path: Path) -> None:
    """Names and constraints too, of which autogenerate compares only some."""
    migrations.upgrade(engine)
    kind = engine.dialect.name
    folder = tmp_path / "other"
    folder.mkdir()
    other = open_engine(new_database(kind, folder, empty=True))
    tables = Tables(kind)
    with other.begin() as connection:
        if kind == "postgresql":
            for schema in SCHEMAS.values():
                connection.execute(text(f"CREATE SCHEMA {schema}"))
        tables.metadata.create_all(connection)
    expected = objects(other)
    other.dispose()
    assert objects(engine) == expected
    assert len(expected) == len(tables.metadata.tables)


def test_on_sqlite_tables_without_a_row_number_are_without_one(tmp_path: Path) -> None:
    engine = open_engine(new_database("sqlite", tmp_path))
    migrations.upgrade(engine)
    tables = Tables("sqlite").metadata.sorted_tables
    with engine.connect() as connection:
        for table in tables:
            sql = connection.exec_driver_sql(
                "SELECT sql FROM sqlite_schema WHERE name = ?", (table.name,)
            ).scalar_one()
            assert ("WITHOUT ROWID" in sql) is (table.dialect_options["sqlite"]["with_rowid"] is False)
    engine.dispose()


def test_down_leaves_nothing_and_up_again_gives_the_same(engine: Engine) -> None:
    migrations.upgrade(engine)
    first = objects(engine)
    assert first
    migrations.downgrade(engine, "base")
    assert objects(engine) == {}
    assert migrations.current(engine) is None
    migrations.upgrade(engine)
    assert objects(engine) == first
    assert differences(engine) == []


def test_every_step_goes_down_and_up(engine: Engine) -> None:
    script = ScriptDirectory(str(migrations.location()))
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    assert len(script.get_heads()) == 1
    for revision in revisions:
        migrations.upgrade(engine, revision)
        before = objects(engine)
        migrations.downgrade(engine, "-1")
        assert objects(engine) != before
        migrations.upgrade(engine, revision)
        assert objects(engine) == before
    assert migrations.current(engine) == migrations.newest()


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    migrations.upgrade(engine)
    first = objects(engine)
    migrations.upgrade(engine)
    assert objects(engine) == first


def test_a_step_that_fails_leaves_nothing(engine: Engine) -> None:
    """Both databases run DDL in a transaction."""
    tables = Tables(engine.dialect.name)
    last = tables.grant_subjects
    with engine.begin() as connection:
        if last.schema is not None:
            connection.execute(text(f"CREATE SCHEMA {last.schema}"))
        connection.execute(text(f"CREATE TABLE {last.fullname} (x INTEGER)"))
    before = objects(engine)
    with pytest.raises(Misconfigured, match="migration_required") as failure:
        migrations.upgrade(engine)
    assert str(failure.value.facts["reason"]).startswith("a step failed and was undone: ")
    assert objects(engine) == before
    assert migrations.current(engine) is None


def test_a_database_of_another_version_is_not_opened(engine: Engine) -> None:
    with pytest.raises(Misconfigured, match="not_initialised"):
        migrations.check(engine)
    migrations.upgrade(engine)
    program = Tables(engine.dialect.name).program
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(program.update().values(oldest="9998"))
    with pytest.raises(Misconfigured) as refusal:
        migrations.check(engine)
    assert refusal.value.code == "migration_required"
    assert refusal.value.facts == {"database": "9999", "program": migrations.newest()}
    with engine.begin() as connection:
        connection.execute(program.delete())
    with pytest.raises(Misconfigured, match="migration_required"):
        migrations.check(engine)


def test_a_newer_database_is_opened_if_it_serves_older_programs(engine: Engine) -> None:
    migrations.upgrade(engine)
    program = Tables(engine.dialect.name).program
    with engine.begin() as connection:
        assert connection.execute(select(program.c.oldest)).scalar_one() == LAST_ALONE
        connection.execute(text("UPDATE alembic_version SET version_num = '9001'"))
    migrations.check(engine)
    assert not migrations.is_newest(engine)


def test_every_migration_says_whether_programs_go_on_beside_it() -> None:
    script = ScriptDirectory(str(migrations.location()))
    steps = [step for step in script.walk_revisions() if step.revision >= "0008"]
    assert steps
    for step in script.walk_revisions():
        assert step.revision.isdecimal()
        assert len(step.revision) == 4  # the order of texts is theirs
        assert step.revision < "0008" or isinstance(step.module.online, bool)


def test_a_package_without_migrations_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vault").mkdir()
    monkeypatch.setattr("vault.__file__", str(tmp_path / "vault" / "__init__.py"))
    for call in (migrations.location, migrations.newest):
        with pytest.raises(Misconfigured, match="migration_required"):
            call()


def test_what_was_issued_before_is_counted_from_the_log(engine: Engine) -> None:
    """Else a field whose tokens callers hold would look unused, and could be removed."""
    migrations.upgrade(engine, "0001")
    tables = Tables(engine.dialect.name)

    def event(kind: str, tenant: str, *fields: dict[str, Any]) -> bytes:
        return json.dumps({"kind": kind, "tenant": tenant, "fields": list(fields)}).encode()

    ssn = {"field": "customer.ssn", "key_version": 1}
    bodies = [
        event("tokenize", "main", {**ssn, "values": 2}, {"field": "customer.name", "values": 1}),
        event("tokenize", "main", {**ssn, "values": 3}),
        event("tokenize", "other", {**ssn, "values": 4}),
        event("detokenize", "main", {**ssn, "values": 100}),
    ]
    with engine.begin() as connection:
        for number, body in enumerate(bodies):
            connection.execute(tables.audit.insert(), {"number": number, "leaf": bytes(32), "body": body})
    migrations.upgrade(engine)
    issued = tables.issued.c
    with engine.connect() as connection:
        counted = connection.execute(
            tables.issued.select().with_only_columns(
                issued.tenant, issued.field, issued.key_version, issued.issued
            )
        )
        assert sorted(tuple(row) for row in counted) == [
            ("main", "customer.name", 0, 1),
            ("main", "customer.ssn", 1, 5),
            ("other", "customer.ssn", 1, 4),
        ]


def test_down_takes_the_budgets_of_fields_along(engine: Engine) -> None:
    """Their names are longer than the older version's column; on PostgreSQL the step would fail."""
    migrations.upgrade(engine)
    tables = Tables(engine.dialect.name)
    kinds = ["grant-uses", "tokenize:" + "f" * 64]
    with engine.begin() as connection:
        for kind in kinds:
            row = {"principal": "pr_1", "kind": kind, "day": "2026-11-23", "used": 1}
            connection.execute(tables.counters.insert(), row)
    migrations.downgrade(engine, "0001")
    with engine.connect() as connection:
        assert connection.execute(select(tables.counters.c.kind)).scalars().all() == kinds[:1]


@pytest.mark.parametrize("name", ["blind_index", "surrogates"])
def test_a_way_down_that_would_lose_tokens_is_refused(engine: Engine, name: str) -> None:
    migrations.upgrade(engine)
    tables = Tables(engine.dialect.name)
    rows: dict[str, dict[str, Any]] = {
        "blind_index": {"epoch": 1, "entry": bytes(16), "token": bytes(16)},
        "surrogates": {"tenant": "main", "field": "a", "surrogate": "1", "token": bytes(16)},
    }
    table = getattr(tables, name)
    with engine.begin() as connection:
        connection.execute(table.insert(), rows[name])
    before = objects(engine)
    with pytest.raises(Misconfigured, match="migration_required") as refusal:
        migrations.downgrade(engine, "0001")
    assert "would be lost" in str(refusal.value.facts["reason"])
    assert objects(engine) == before
    assert migrations.current(engine) == migrations.newest()
    with engine.begin() as connection:
        connection.execute(table.delete())
    migrations.downgrade(engine, "0001")
    assert migrations.current(engine) == "0001"


def test_a_way_down_from_a_cell_whose_epoch_was_turned_is_refused(engine: Engine) -> None:
    """An older program could not find a key in its page."""
    migrations.upgrade(engine)
    epochs = Tables(engine.dialect.name).epochs
    with engine.begin() as connection:
        for number in (1, 2):
            row = {"epoch": number, "id": bytes(16), "state": "active", "sealed_half": b"h", "created_at": 1}
            connection.execute(epochs.insert(), row)
    with pytest.raises(Misconfigured, match="migration_required"):
        migrations.downgrade(engine, "0002")
    with engine.begin() as connection:
        connection.execute(epochs.delete().where(epochs.c.epoch == 2))
    migrations.downgrade(engine, "0002")
    assert migrations.current(engine) == "0002"
