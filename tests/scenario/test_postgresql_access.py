"""Who gets to a PostgreSQL server, and as whom: TLS, client certificates, passwords, least privilege."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from tests.support.cells import HOST, NAME, PHONE, SCHEMA, SSN, BuiltCell, reveal
from tests.support.certificates import authority
from tests.support.databases import postgresql
from tests.support.servers import PostgreSQL, with_tls
from tests.support.turns import turn, until, with_keys
from tests.unit.services.calls import CALLS
from vault.clock import SystemClock
from vault.config import Config, build
from vault.errors import CoatcheckError, Conflict, Misconfigured, Unavailable
from vault.services.audit import verify
from vault.services.detokenize import detokenize
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.holds import HoldBody, create_hold
from vault.services.idempotency import drop_expired
from vault.services.jobs import list_jobs, resume_job
from vault.services.listing import Page
from vault.services.turning import KIND
from vault.services.worker import Worker
from vault.store import migrations
from vault.store.cell import Store
from vault.wiring import Wiring, as_host, perform

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "run-on-postgresql.md"
HBA: Final = """
local all postgres trust
hostssl all by_certificate 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 scram-sha-256
"""


class Site:
    """A server that takes only TLS on loopback, and the files of its certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ours, self.other = authority(folder / "ours"), authority(folder / "other", "Other")
        self.ours.issue("server", "127.0.0.1")
        self.ours.issue("client", "by_certificate", named=False)
        self.other.issue("client", "by_certificate", named=False)
        self.server = PostgreSQL(listen=True, programs=with_tls())
        self.server.initialise(HBA)
        for name, target in (("server.crt", "s.crt"), ("server.key", "s.key"), ("ca.crt", "ca.crt")):
            path = self.server.folder / target
            shutil.copy(self.ours.folder / name, path)
            path.chmod(0o600)
            shutil.chown(path, self.server.folder.stat().st_uid)
        self.server.settings |= {"ssl": "on", "ssl_cert_file": "s.crt", "ssl_key_file": "s.key"}
        self.server.settings |= {"ssl_ca_file": "ca.crt"}
        self.server.start()
        for role in ("by_password", "by_certificate"):
            self.server.run(f"CREATE ROLE {role} LOGIN PASSWORD 'first'")
            self.server.run(f"CREATE DATABASE {role} OWNER {role}")
        (folder / "pw").write_text("first\n", encoding="utf-8")

    def config(self, role: str, **more: Any) -> Config:
        cell = {
            "database": f"postgresql+psycopg://{role}@127.0.0.1:{self.server.port}/{role}",
            "database_sslmode": "verify-full",
            "database_root_certificate": "ours/ca.crt",
            "kms": f"local:keys/{role}",
            "half_stores": [f"keys/{role}"],
            "key_file": f"keys/{role}/development.key",
            **more,
        }
        table = {name: value for name, value in cell.items() if value is not None}
        return build({"mode": "development", "cell": {"eu": table}}, {}, self.folder)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if with_tls() is None:
        pytest.skip("needs a PostgreSQL that speaks TLS, as Debian's does")
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.server.close()


def connected(config: Config) -> tuple[bool, str]:
    """Whether the connection is encrypted, and the role."""
    store = Store(Wiring(config).server("eu"), SystemClock())
    try:
        with store.engine.connect() as connection:
            statement = "SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            [row] = connection.exec_driver_sql(statement).fetchall()
            return bool(row[0]), str(row[1])
    finally:
        store.close()


def refused(config: Config) -> None:
    with pytest.raises(Unavailable, match="database_unavailable"):
        Wiring(config).create("eu", as_host())


def test_a_password_over_tls(site: Site) -> None:
    assert connected(site.config("by_password", database_password_file="pw")) == (True, "by_password")
    refused(site.config("by_password"))  # none


def test_a_password_is_changed_without_a_restart(site: Site) -> None:
    config = site.config("by_password", database_password_file="pw")
    store = Store(Wiring(config).server("eu"), SystemClock())
    try:
        migrations.current(store.engine)
        site.server.run("ALTER ROLE by_password PASSWORD 'second'")
        store.engine.dispose()
        with pytest.raises(Unavailable):
            migrations.current(store.engine)
        (site.folder / "pw").write_text("second\n", encoding="utf-8")
        assert migrations.current(store.engine) is None
    finally:
        site.server.run("ALTER ROLE by_password PASSWORD 'first'")
        (site.folder / "pw").write_text("first\n", encoding="utf-8")
        store.close()


def test_a_server_of_another_authority_is_not_the_server(site: Site) -> None:
    config = site.config("by_password", database_password_file="pw", database_root_certificate="other/ca.crt")
    refused(config)
    refused(site.config("by_password", database_password_file="pw", database_root_certificate=None))
    # The control: with less than the whole of TLS, it would be taken for the server.
    config = site.config(
        "by_password", database_password_file="pw", database_root_certificate=None, database_sslmode="require"
    )
    assert connected(config) == (True, "by_password")


def test_a_server_of_another_name_is_not_the_server(site: Site) -> None:
    config = site.config("by_password", database_password_file="pw")
    database = config.cell["eu"].database.replace("127.0.0.1", "localhost")
    named = site.config("by_password", database_password_file="pw", database=database)
    refused(named)
    less = site.config(
        "by_password", database_password_file="pw", database=database, database_sslmode="verify-ca"
    )
    assert connected(less) == (True, "by_password")


def test_a_client_s_certificate(site: Site) -> None:
    ours = {"database_certificate": "ours/client.crt", "database_key": "ours/client.key"}
    assert connected(site.config("by_certificate", **ours)) == (True, "by_certificate")
    refused(site.config("by_certificate"))
    refused(site.config("by_certificate", database_password_file="pw"))
    theirs = {"database_certificate": "other/client.crt", "database_key": "other/client.key"}
    refused(site.config("by_certificate", **theirs))
    key = site.folder / "ours" / "client.key"
    key.chmod(0o644)
    try:
        with pytest.raises(Misconfigured, match="host_permissions"):
            Wiring(site.config("by_certificate", **ours)).create("eu", as_host())
    finally:
        key.chmod(0o600)


def statements() -> list[str]:
    """The SQL of the page: the roles, then their rights."""
    blocks = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line.strip() for block in blocks for line in block.split(";") if line.strip()]


def test_the_roles_of_the_page_are_enough_and_not_too_much(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = PostgreSQL()
    server.initialise()
    server.start()
    try:
        making = [text for text in statements() if text.startswith("CREATE")]
        rights = [text for text in statements() if text.startswith("GRANT")]
        assert (len(making), len(rights)) == (3, 9)
        for text in making:
            server.run(text)

        def config(role: str) -> Config:
            cell = {
                "database": server.url("eu", role), "kms": "local:keys/eu", "half_stores": ["keys/eu"],
                "key_file": "keys/eu/development.key",
            }  # fmt: skip
            return build({"mode": "development", "cell": {"eu": cell}}, {}, tmp_path)

        Wiring(config("coatcheck_owner")).create("eu", as_host())
        with psycopg.connect(server.conninfo("eu", "coatcheck_owner"), autocommit=True) as owner:
            for text in rights:
                owner.execute(text)
        opened = Wiring(config("coatcheck")).open("eu")
        built = BuiltCell(opened.cell, config("coatcheck"), opened.close, schema=SCHEMA)
        try:
            everything(built)
            every_verb(built)
            assert [one.of for one in caplog.records if one.message == DENIED] == []  # type: ignore[attr-defined]
            with psycopg.connect(server.conninfo("eu", "coatcheck_owner"), autocommit=True) as owner:
                owner.execute("REVOKE INSERT ON record.holds FROM coatcheck")
            with pytest.raises(Unavailable, match="database_right_missing"):
                built.run(create_hold, HoldBody(reason="a case", everything=True), by=HOST)
            assert [one.of for one in caplog.records if one.message == DENIED] == ["table holds"]  # type: ignore[attr-defined]
        finally:
            opened.close()
        for text in (
            "UPDATE record.audit SET body = body", "DELETE FROM record.audit", "TRUNCATE record.audit",
            "DELETE FROM record.grants", "DELETE FROM custody.surrogates",
            "UPDATE record.schemas SET body = ''",
            "DROP TABLE record.audit", "UPDATE custody.audit_items SET salt = ''",
            "CREATE TABLE record.other (a int)", "UPDATE vals.claims SET sealed = ''",
        ):  # fmt: skip
            with (
                psycopg.connect(server.conninfo("eu", "coatcheck")) as serving,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                serving.execute(text)
        with pytest.raises(CoatcheckError), Wiring(config("coatcheck")).upkeep("eu") as upkeep:
            upkeep.move(upkeep.plan("0001", up=False))
    finally:
        server.close()


def everything(built: BuiltCell) -> None:
    """What a service does all day, with every kind of field."""
    built.populate()
    token = built.token(NAME, "Ada", "c1")
    built.tokens(PHONE, "1", "2")
    built.tokens("customer.email", "a@example.com", subjects=["c1"])
    built.token("customer.city", "Paris", "c1")
    built.ciphertext("chat.visit", "hello", subject="c1")
    built.tokens(NAME, *(f"n{number}" for number in range(200)))
    credential = built.grant(NAME, SSN, uses=20)
    assert built.reveal(credential, NAME, token) == ["Ada"]
    asked = reveal(SSN, [built.token(SSN, "123-45-6789")])
    for _ in range(2):
        built.run(detokenize, asked, by=credential, once="key")
    with built.cell.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE custody.idempotency SET expires_at = 1")
    perform(built.cell, lambda: drop_expired(built.cell))
    built.run(revoke_grant, "gr_" + credential.split("_")[1], ChangeBody("done"))
    built.apply(built.schema.replace("max_uses = 50", "max_uses = 60"))
    verify(built.cell.store)


DENIED: Final = "the database denies the service a right"


def every_verb(built: BuiltCell) -> None:
    """Each verb once, as far as the ones before leave it something to do; then a turn, and what is due."""
    done = 0
    for call in CALLS.values():
        try:
            by, arguments = call.prepare(built)
            built.run(call.verb, *arguments, by=by)
            done += 1
        except (CoatcheckError, DBAPIError):
            continue  # a name that is taken, a state that is another; a right is looked for in the log
    assert done > len(CALLS) // 2
    worker = Worker(with_keys(built).cell)
    for job in built.run(list_jobs, Page(), by=HOST).items:
        if job.kind == KIND:  # one that was begun above, and stopped
            built.run(resume_job, job.id, by=HOST)
            assert until(built, job.id, worker=worker).state == "done"
    turn(built)


def race(*actions: Callable[[], Any]) -> list[str]:
    """What they do at the same moment: `done`, or the code of a refusal."""
    start, found = threading.Barrier(len(actions)), list[str]()

    def act(action: Callable[[], Any]) -> None:
        start.wait()
        try:
            action()
        except CoatcheckError as refusal:
            found.append(refusal.code)
        else:
            found.append("done")

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class TestMigrations:
    """One at a time, and nobody writes meanwhile."""

    def test_several_at_once(self) -> None:
        url = postgresql(empty=True)
        stores = [Store(url, SystemClock()) for _ in range(4)]
        assert (
            race(*(lambda store=store: migrations.upgrade(store.engine) for store in stores)) == ["done"] * 4
        )
        assert migrations.current(stores[0].engine) == migrations.newest()
        for store in stores:
            store.close()

    def test_not_beside_a_writer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(migrations, "PATIENCE_S", 0.3)
        url = postgresql(empty=True)
        serving, migrating = Store(url, SystemClock()), Store(url, SystemClock())
        migrations.upgrade(serving.engine)
        session = serving.session()
        session.begin()
        session.rollback()
        with pytest.raises(Conflict, match="cell_locked"):
            migrations.downgrade(migrating.engine, "0001")
        session.close()
        migrations.downgrade(migrating.engine, "0001")
        with migrating.engine.begin() as connection:
            migrations._alone(connection)
            with pytest.raises(psycopg.OperationalError):
                session.begin()
        serving.close()
        migrating.close()

    def test_a_cell_is_made_once(self, tmp_path: Path) -> None:
        server = PostgreSQL()
        server.initialise()
        server.start()
        try:
            cell = {
                "database": server.database("eu"), "kms": "local:keys/eu", "half_stores": ["keys/eu"],
                "key_file": "keys/eu/development.key",
            }  # fmt: skip
            config = build({"mode": "development", "cell": {"eu": cell}}, {}, tmp_path)
            found = race(*(lambda: Wiring(config).create("eu", as_host()) for _ in range(3)))
            assert "done" in found
            assert set(found) <= {"done", "cell_locked"}
            assert Wiring(config).create("eu", as_host()) is False
            opened = Wiring(config).open("eu")
            assert verify(opened.cell.store).events == 1
            opened.close()
        finally:
            server.close()
