"""The command line on the host: init, serve, lock, doctor, and the verbs that open the cell itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness import checks
from tests.support.operators import PASSWORD, STEP_S, Device
from tests.support.service import (
    COATCHECK,
    HOST,
    ROOT,
    Service,
    coatcheck,
    coatcheck_here,
    environment,
    free_port,
    initialise,
    running,
)
from vault.codes import CODES

NAME = "customer.name"
Done = subprocess.CompletedProcess[str]


def here(*arguments: str | Path, given: str = "", **more: str) -> Done:
    done = coatcheck_here(*arguments, given=given, more=more)
    assert "Traceback" not in done.stderr
    return done


def refused(done: Done, code: str, *facts: str) -> None:
    row = CODES[code]
    assert done.returncode == row.exit, done.stderr
    assert done.stderr.splitlines()[0] == f"coatcheck: {code}: {row.sentence}"
    for fact in facts:
        assert fact in done.stderr


def document(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its bytes and mode, but for locks and what SQLite keeps beside a database."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in paths
        if path.suffix not in {".lock", ".db-wal", ".db-shm"}
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A development deployment that nobody serves."""
    initialise(tmp_path / "deployment")
    return tmp_path / "deployment"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("host") / "deployment") as service:
        yield service


class TestInit:
    def test_development(self, tmp_path: Path) -> None:
        done = here("init", "--dev", tmp_path / "new" / "folder")
        assert done.returncode == 0, done.stderr
        assert done.stderr == "cell eu: created\ncell us: created\n"
        assert done.stdout == ""
        files = snapshot(tmp_path / "new" / "folder")
        for region in ("eu", "us"):
            assert files.keys() >= {
                f"{region}.db",
                f"keys/{region}/half-000001",
                f"keys/{region}/root-000001",
            }
        secret = [name for name in files if not name.endswith(".toml")]
        assert {files[name][1] for name in secret} == {0o600}
        assert (tmp_path / "new" / "folder" / "keys" / "eu").stat().st_mode & 0o777 == 0o700

    def test_twice_keeps_everything(self, folder: Path) -> None:
        before = snapshot(folder)
        done = here("init", "--dev", folder)
        assert done.returncode == 0
        assert "cell eu: already there, kept\ncell us: already there, kept\n" in done.stderr
        assert snapshot(folder) == before

    def test_it_finishes_what_was_interrupted(self, folder: Path) -> None:
        before = snapshot(folder)
        for name in ("us.db", "dev-credentials.json"):
            (folder / name).unlink()
        shutil.rmtree(folder / "keys" / "us")
        done = here("init", "--dev", folder)
        assert done.returncode == 0, done.stderr
        assert "cell eu: already there, kept\ncell us: created\n" in done.stderr
        after = snapshot(folder)
        assert after.keys() == before.keys()
        assert after["keys/eu/root-000001"] == before["keys/eu/root-000001"]

    def test_beside_a_running_service_it_is_refused(self, service: Service) -> None:
        (service.folder / "dev-credentials.json").rename(service.folder / "aside")
        try:
            refused(here("init", "--dev", service.folder), "cell_locked", f"pid: {service.pid}")
        finally:
            (service.folder / "aside").rename(service.folder / "dev-credentials.json")

    @pytest.mark.parametrize("region", ["EU", "a b", "../x", "", "é"])
    def test_a_region_that_is_no_name(self, tmp_path: Path, region: str) -> None:
        done = here("init", tmp_path / "new", "--region", region)
        assert done.returncode == 11 or (region == "" and done.returncode in (0, 11))

    def test_where_it_cannot_write(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x", encoding="utf-8")
        assert here("init", "--dev", tmp_path / "file").returncode == 2
        refused(here("init", "--dev", tmp_path / "file" / "inside"), "host_permissions")


class TestProduction:
    """A cell as an operator sets it up: passphrase file, first admin, key, schema, serve."""

    def test_from_nothing_to_a_value_under_a_grant(self, tmp_path: Path) -> None:
        folder = tmp_path / "production"
        folder.mkdir()
        (folder / "passphrase").write_text("correct horse battery staple\n", encoding="utf-8")
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        done = here("init", folder, "--passphrase-file", folder / "passphrase",
                    "--operator", "ada", "--password-file", folder / "password")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "cell eu: created\nNext: write schema.toml and coatcheck schema apply;" in done.stderr
        assert not (folder / "dev-credentials.json").exists()
        assert not (folder / "keys" / "eu" / "development.key").exists()
        config = ("--config", folder, "--json")
        initialise(tmp_path / "development")
        shutil.copy(tmp_path / "development" / "schema.toml", folder / "schema.toml")
        plan = document(here("schema", "plan", *config))
        assert len(plan["changes"]) > 5
        assert here("schema", "apply", "--config", folder).returncode == 2  # asks, and there is no terminal
        assert document(here("schema", "apply", "--digest", plan["digest"], *config))["version"] == 1
        service = Service(folder, anew=True)
        try:
            service.start()
            remote = {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu", "COATCHECK_PURPOSE": "support"}
            body = {"name": "ada", "password": PASSWORD}
            session = service.call("POST", "sessions", body, key="none").json()["credential"]
            as_admin = remote | {"COATCHECK_KEY": session}
            early = here("principal", "create", "agent", "demo", **as_admin)
            refused(early, "insufficient_user_authentication")
            device = Device(service.call("POST", "self/totp", key=session).json()["secret"])
            code = {"code": device.at(int(time.time()) // STEP_S)}
            assert service.call("POST", "self/totp/confirm", code, key=session).status == 200
            here("principal", "create", "agent", "demo", **as_admin)
            ceiling = {"fields": [NAME], "operations": ["reveal"], "deliveries": ["plain"],
                       "purposes": ["support"], "agents": ["agent:demo"], "uses": 5}  # fmt: skip
            made = here("principal", "create", "service", "crm", "--permission", f"tokenize:{NAME}",
                        "--permission", "grant:create:support", "--ceiling", json.dumps(ceiling), "--json",
                        **as_admin)  # fmt: skip
            own = document(here("apikey", "create", document(made)["id"], "--json", **as_admin))["credential"]
            as_service = remote | {"COATCHECK_KEY": own}
            token = here("tokenize", NAME, given="Ada\n", **as_service).stdout
            grant = here("grant", "create", "--agent", "agent:demo", "--field", NAME, "--json", **as_service)
            holder = remote | {"COATCHECK_KEY": document(grant)["credential"]}
            assert here("detokenize", NAME, given=token, **holder).stdout == "Ada\n"
            refused(here("detokenize", NAME, given=token, **holder), "budget_exhausted")
            assert service.stop() == 0
        finally:
            service.kill()
        kinds = [(event["kind"], event["actor"]) for event in checks.events(folder / "eu.db")]
        host = f"host:{os.getuid()}"
        assert kinds[:4] == [
            ("cell.init", host),
            ("principal.create", host),
            ("operator.password", host),
            ("schema.apply", host),
        ]

    def test_the_wrong_passphrase(self, tmp_path: Path) -> None:
        folder = tmp_path / "production"
        folder.mkdir()
        secret = folder / "passphrase"
        secret.write_text("correct horse battery staple\n", encoding="utf-8")
        assert here("init", folder, "--passphrase-file", secret).returncode == 0
        before = snapshot(folder)
        for text, code in (("wrong\n", "config_invalid"), ("", "config_invalid"), (None, "host_permissions")):
            if text is None:
                secret.unlink()
            else:
                secret.write_text(text, encoding="utf-8")
            done = here("schema", "show", "--config", folder)
            refused(done, code)
            assert "wrong\n" not in done.stderr
        secret.write_text("correct horse battery staple\n", encoding="utf-8")
        assert here("schema", "show", "--config", folder).returncode == 0
        assert snapshot(folder) == before

    def test_without_a_passphrase_and_without_a_terminal(self, tmp_path: Path) -> None:
        done = here("init", tmp_path / "production")
        refused(done, "config_invalid", "setting: cell.eu.passphrase_file", "there is no terminal to ask on")

    def test_a_passphrase_from_the_environment(self, tmp_path: Path) -> None:
        folder = tmp_path / "production"
        assert here("init", folder).returncode == 11
        settings = folder / "coatcheck.toml"
        text = settings.read_text(encoding="utf-8").replace(
            "schema =", 'passphrase = "env:COATCHECK_PASSPHRASE"\nschema ='
        )
        settings.write_text(text, encoding="utf-8")
        assert here("init", folder, COATCHECK_PASSPHRASE="correct horse").returncode == 0
        assert (
            here("schema", "show", "--config", folder, COATCHECK_PASSPHRASE="correct horse").returncode == 0
        )
        refused(here("schema", "show", "--config", folder), "config_invalid", "cell.eu.passphrase")
        assert (
            "correct" not in here("schema", "show", "--config", folder, COATCHECK_PASSPHRASE="correct").stderr
        )


class TestServe:
    def test_twice_names_who_holds_the_cell(self, service: Service) -> None:
        done = coatcheck("serve", "--config", service.folder, more={"COATCHECK_PORT": str(free_port())})
        refused(done, "cell_locked", f"pid: {service.pid}")
        done = coatcheck(
            "serve", "--config", service.folder, "--json", more={"COATCHECK_PORT": str(free_port())}
        )
        assert json.loads(done.stderr)["pid"] == service.pid

    def test_an_address_in_use(self, folder: Path) -> None:
        with socket.socket() as taken:
            taken.bind((HOST, 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = coatcheck("serve", "--config", folder, more={"COATCHECK_PORT": str(port)})
        refused(done, "address_in_use", f"address: {HOST}:{port}")
        assert here("schema", "show", "--config", folder, "--region", "eu").returncode == 0  # no lock is left

    @pytest.mark.parametrize(
        ("change", "fact"),
        [
            (("mode =", "mode = 1 #"), "mode"),
            (('mode = "development"', 'mode = "production"'), "key_file"),
            (("[listen]", "[listen]\nadress = 1"), "adress"),
            (("[listen]", "[listening]"), "listening"),
            (("127.0.0.1:8700", "0.0.0.0:8700"), "listen.address"),
            (("127.0.0.1:8700", "127.0.0.1"), "listen.address"),
            (("127.0.0.1:8700", "127.0.0.1:99999"), "listen.address"),
            (("sqlite:///eu.db", "mysql://eu"), "cell.eu.database"),
            (("local:keys/eu", "carrier-pigeon:keys"), "kms"),
            (('half_stores = ["keys/eu"]', "half_stores = []"), "cell.eu.half_stores"),
            (('format = "text"', 'format = "xml"'), "log"),
            (("[log]", "[limits]\nitems = 0\n[log]"), "limits.items"),
            (("[log]", "[ledger]\nmax_wait_ms = 1\n[log]"), "ledger.max_wait_ms"),
            (("[log]", "[tls]\n[log]"), "tls"),
            (("[cell.eu]", "[cell.EU]"), "cell"),
            (("[listen]", "[listen"), "reason"),
        ],
        ids=lambda change: str(change)[:40],
    )
    def test_settings_that_are_wrong(self, folder: Path, change: tuple[str, str], fact: str) -> None:
        path = folder / "coatcheck.toml"
        text = path.read_text(encoding="utf-8")
        assert change[0] in text
        path.write_text(text.replace(*change), encoding="utf-8")
        refused(here("serve", "--config", folder), "config_invalid", fact)
        doctor = here("doctor", "--config", folder, "--json")
        assert doctor.returncode == 11
        wrong = [row for row in json.loads(doctor.stdout) if row["result"] == "wrong"]
        assert {row["code"] for row in wrong} == {"config_invalid"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("COATCHECK_NONSENSE", "1"),
            ("COATCHECK_LIMITS__ITEMS", "many"),
            ("COATCHECK_LISTEN__ADDRESS", "x"),
        ],
    )
    def test_variables_that_are_wrong(self, folder: Path, name: str, value: str) -> None:
        refused(here("serve", "--config", folder, **{name: value}), "config_invalid")

    def test_no_file_no_cell_no_migration(self, tmp_path: Path, folder: Path) -> None:
        refused(here("serve", "--config", tmp_path / "none"), "not_initialised", "coatcheck init")
        (tmp_path / "empty.toml").write_text('mode = "development"\n', encoding="utf-8")
        refused(here("serve", "--config", tmp_path / "empty.toml"), "not_initialised")
        sql(folder / "eu.db", "UPDATE alembic_version SET version_num = 'older'")
        refused(here("serve", "--config", folder), "migration_required")
        sql(folder / "eu.db", "DELETE FROM alembic_version")
        refused(here("serve", "--config", folder), "not_initialised")


def sql(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(statement)
        connection.commit()


class TestHostVerbs:
    def test_they_are_on_record_as_the_host(self, folder: Path) -> None:
        config = ("--config", folder, "--region", "eu", "--json")
        made = document(here("principal", "create", "service", "job", *config))
        key = document(here("apikey", "create", made["id"], *config))
        assert [row["id"] for row in document(here("apikey", "list", made["id"], *config))] == [key["id"]]
        after = document(here("apikey", "rotate", key["id"], "--overlap", "P1D", *config))
        assert (after["replaces"], after["credential"].startswith(after["id"])) == (key["id"], True)
        rows = document(here("apikey", "list", made["id"], *config))
        assert [row["id"] for row in rows] == [after["id"], key["id"]]
        assert rows[1]["successor"] == after["id"]
        assert here("apikey", "rotate", key["id"], *config).returncode == 7
        for one in (key["id"], after["id"]):
            assert document(here("apikey", "revoke", one, "--yes", *config))["revoked"] is True
        assert "service:job" in [row["name"] for row in document(here("principal", "list", *config))]
        document(here("principal", "remove", made["id"], "--yes", *config))
        newest = checks.events(folder / "eu.db")[-6:]
        host = f"host:{os.getuid()}"
        assert [(event["kind"], event["actor"], event["address"]) for event in newest] == [
            (kind, host, host)
            for kind in (
                *("principal.create", "apikey.create", "apikey.replace", "apikey.revoke", "apikey.revoke"),
                "principal.remove",
            )
        ]

    def test_the_region_is_named_when_there_are_several(self, folder: Path) -> None:
        refused(here("principal", "list", "--config", folder), "config_invalid", "--region", "known: eu, us")
        refused(here("principal", "list", "--config", folder, "--region", "mars"), "config_invalid")

    def test_they_wait_for_nobody(self, service: Service) -> None:
        """Verbs that write or need keys are refused beside a service; those that read the log are not."""
        for arguments in (("principal", "list"), ("schema", "show"), ("apikey", "list", "pr_x")):
            refused(here(*arguments, "--config", service.folder, "--region", "eu"), "cell_locked")
        service.call("POST", "tokenize", {"field": NAME, "values": ["Ada"]})
        config = ("--config", service.folder, "--region", "eu")
        assert here("audit", "verify", *config).returncode == 0
        last = here("audit", "tail", "--count", "1", *config).stdout.splitlines()[1]
        assert "tokenize" in last

    def test_the_log_is_whole_while_it_grows(self, service: Service) -> None:
        """Checked beside a service that writes all the time, it is never called broken."""
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                service.call("POST", "tokenize", {"field": NAME, "values": ["Ada"]})

        writers = [threading.Thread(target=write) for _ in range(4)]
        for writer in writers:
            writer.start()
        try:
            counts = []
            for _ in range(8):
                done = here("audit", "verify", "--config", service.folder, "--region", "eu", "--json")
                counts.append(document(done)["events"])
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert counts == sorted(counts)
        assert counts[-1] > counts[0]

    def test_from_where_the_file_is(self, folder: Path) -> None:
        done = subprocess.run(
            [*COATCHECK, "schema", "show", "--region", "eu"],
            cwd=folder,
            env=environment({"PYTHONPATH": str(ROOT)}),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert document(done)["version"] == 1
        assert (
            document(here("schema", "show", COATCHECK_CONFIG=str(folder), COATCHECK_REGION="us"))["version"]
            == 1
        )


class TestDoctor:
    def test_a_development_deployment_is_risky_and_works(self, folder: Path) -> None:
        rows = {
            (row["check"], row["result"]): row["detail"]
            for row in document(here("doctor", "--config", folder, "--json"))
        }
        assert ("mode", "risky") in rows
        assert ("cell eu keys", "ok") in rows
        assert ("cell us database", "ok") in rows
        assert ("cell.eu.half_stores", "risky") in rows
        assert ("cell.us.key_file", "risky") in rows
        assert {result for _, result in rows} == {"ok", "risky"}

    def test_it_names_what_is_wrong_and_changes_nothing(self, folder: Path) -> None:
        before = snapshot(folder)
        for name, word in (
            ("keys/eu/half-000001", "cell eu"),
            ("keys/eu/development.key", "cell eu"),
            ("keys/us/root-000001", "cell us"),
            ("us.db", "cell us"),
        ):
            path = folder / name
            path.rename(folder / "aside")
            done = here("doctor", "--config", folder, "--json")
            assert done.returncode == 11
            wrong = [row["check"] for row in json.loads(done.stdout) if row["result"] == "wrong"]
            assert wrong, name
            assert all(check.startswith(word) for check in wrong)
            (folder / "aside").rename(path)
        assert here("doctor", "--config", folder).returncode == 0
        assert snapshot(folder) == before

    def test_beside_a_running_service(self, service: Service) -> None:
        done = here("doctor", "--config", service.folder)
        assert done.returncode == 0
        assert f"held by process {service.pid}" in done.stdout

    def test_without_a_file(self, tmp_path: Path) -> None:
        done = here("doctor", "--config", tmp_path / "none.toml")
        assert done.returncode == 11
        assert "not_initialised" in done.stdout
