"""Opening a cell: what was there is there again, one process holds it, and half a cell is not opened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import NAME, REGION, SSN, BuiltCell, create, development_cell, settings
from tests.unit.services.calls import grant_id, rows
from vault.config import Config, build
from vault.errors import CoatcheckError, Conflict, IntegrityError, Misconfigured, Unauthenticated, Unavailable
from vault.kms import halves, local
from vault.kms.guard import Guard
from vault.secret import Secret
from vault.services import initialise
from vault.services.audit import verify
from vault.services.batch import BatchRefused
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.tokenize import TokenizeBody, tokenize
from vault.store import migrations
from vault.wiring import OpenCell, Wiring, as_host, deploy

VALUE = "123-45-6789"

OPENER = """
import sys
from pathlib import Path
from tests.support.cells import settings
from vault.errors import Conflict
from vault.wiring import Wiring
try:
    opened = Wiring(settings(Path(sys.argv[1]))).open("eu")
except Conflict as refusal:
    print(refusal.code, refusal.facts["pid"])
else:
    print("opened", flush=True)
    sys.stdin.read()
"""


def reopen(built: BuiltCell) -> OpenCell:
    """Closes a cell and opens it as another process would."""
    built.close()
    opened = Wiring(built.config).open(REGION)
    built.cell = opened.cell
    built.close = opened.close
    return opened


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path) as made:
        yield made
        made.close()


class TestRestart:
    def test_everything_is_there_again(self, built: BuiltCell) -> None:
        social, ada = built.token(SSN, VALUE), built.token(NAME, "Ada", "c1")
        credential, revoked = built.grant(SSN, NAME, uses=5), built.grant(SSN)
        assert built.reveal(credential, SSN, social) == [VALUE]
        built.run(revoke_grant, grant_id(revoked), ChangeBody())
        before = rows(built)
        for _ in range(2):
            reopen(built)
            assert rows(built) == before
        assert built.token(SSN, VALUE) == social
        assert built.reveal(credential, SSN, social) == [VALUE]
        assert built.reveal(credential, NAME, ada) == ["Ada"]
        with pytest.raises(CoatcheckError, match="budget_exhausted"):
            built.reveal(credential, NAME, ada, ada, ada)
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            built.reveal(revoked, SSN, social)
        assert built.token(NAME, "Ada", "c1")
        assert len(rows(built)["cu_subjects"]) == 1
        verify(built.cell.store)

    def test_the_log_goes_on_where_it_ended(self, built: BuiltCell) -> None:
        number = built.next_number
        reopen(built)
        built.token(SSN, VALUE)
        assert built.next_number == number + 1
        verify(built.cell.store)

    def test_what_was_counted_is_flushed_when_a_deployment_closes(self, tmp_path: Path) -> None:
        config = create(tmp_path)
        deployment = deploy(config)
        cell = deployment.cells[REGION]
        built = BuiltCell(cell, config, deployment.close)
        with pytest.raises(Unauthenticated):
            built.run(tokenize, TokenizeBody(field=SSN, values=[VALUE]), by="nonsense")
        deployment.close()
        opened = Wiring(config).open(REGION)
        built = BuiltCell(opened.cell, config, opened.close)
        assert [e["counts"] for e in built.events(kind="unauthenticated")] == [{"credential_invalid": 1}]
        opened.close()

    def test_all_cells_of_a_deployment_are_opened_or_none(self, tmp_path: Path) -> None:
        config = create(tmp_path, "eu", "us")
        deployment = deploy(config)
        assert sorted(deployment.cells) == ["eu", "us"]
        deployment.close()
        held = Wiring(config).open("us")
        with pytest.raises(Conflict, match="cell_locked"):
            deploy(config)
        Wiring(config).open("eu").close()  # it was let go of again
        held.close()


class TestLock:
    def test_a_second_process_is_told_who_holds_the_cell(self, built: BuiltCell) -> None:
        command = [sys.executable, "-c", OPENER, built.config.base]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment())
        assert answer.stdout == f"cell_locked {os.getpid()}\n"

    def test_the_same_the_other_way_round(self, built: BuiltCell) -> None:
        built.close()
        command = [sys.executable, "-c", OPENER, built.config.base]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "opened\n"
            for act in (
                lambda: Wiring(built.config).open(REGION),
                lambda: Wiring(built.config).create(REGION, as_host()),
            ):
                with pytest.raises(Conflict) as refusal:
                    act()
                assert refusal.value.facts == {"pid": other.pid}
            other.kill()
            other.wait()
        reopen(built)
        assert built.token(SSN, VALUE)

    def test_reading_needs_no_lock(self, built: BuiltCell) -> None:
        with Wiring(built.config).reader(REGION) as store:
            assert verify(store).events == built.next_number


def _environment() -> dict[str, str]:
    """This process's, with the checkout to import from."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


class Interrupted(BaseException):
    """As when the process is killed."""


STEPS: list[tuple[Any, str]] = [
    (local, "make_key_file"),
    (migrations, "upgrade"),
    (initialise, "has_head"),
    (Guard, "create_root"),
    (halves.HalfStores, "create"),
    (Guard, "wrap"),
    (initialise, "write_epoch"),
    (Wiring, "_cell"),
    (initialise, "finish"),
]


class TestCreation:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("step", range(len(STEPS)), ids=[name for _, name in STEPS])
    def test_interrupted_at_a_step_and_run_again_finishes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, when: str
    ) -> None:
        config = settings(tmp_path)
        where, name = STEPS[step]
        original = getattr(where, name)
        reached: list[str] = []

        def interrupted(*arguments: Any, **named: Any) -> Any:
            if when == "after":
                original(*arguments, **named)
            reached.append(name)
            raise Interrupted

        with monkeypatch.context() as patched:
            patched.setattr(where, name, interrupted)
            with pytest.raises(Interrupted):
                Wiring(config).create(REGION, as_host())
        assert reached == [name]
        finished = (name, when) == ("finish", "after")
        if not finished:
            with pytest.raises(Misconfigured) as refusal:
                Wiring(config).open(REGION)
            assert refusal.value.code in ("not_initialised", "migration_required")
        assert Wiring(config).create(REGION, as_host()) is not finished
        self.check(config)

    def check(self, config: Config) -> None:
        """The cell is whole: it can be populated and used."""
        opened = Wiring(config).open(REGION)
        built = BuiltCell(opened.cell, config, opened.close)
        built.populate()
        assert built.reveal(built.grant(NAME), NAME, built.token(NAME, "Ada", "c1")) == ["Ada"]
        assert [event["kind"] for event in built.events()].count("cell.init") == 1
        assert verify(opened.cell.store).events == built.next_number
        opened.close()

    def test_twice_changes_nothing(self, tmp_path: Path) -> None:
        config = create(tmp_path)
        before = {path: path.read_bytes() for path in (tmp_path / "keys").rglob("*") if path.is_file()}
        assert Wiring(config).create(REGION, as_host()) is False
        assert before == {
            path: path.read_bytes() for path in (tmp_path / "keys").rglob("*") if path.is_file()
        }
        self.check(config)

    def test_nothing_is_left_over_beside_the_keys(self, tmp_path: Path) -> None:
        create(tmp_path)
        names = {path.name for path in (tmp_path / "keys" / REGION).iterdir()}
        assert names == {"development.key", "root-000001", "half-000001"}
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys" / REGION).iterdir()} == {0o600}
        assert (tmp_path / "eu.db").stat().st_mode & 0o777 == 0o600

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        config = settings(tmp_path / "file")
        with pytest.raises(Misconfigured, match="host_permissions"):
            Wiring(config).create(REGION, as_host())

    def test_a_path_with_odd_characters(self, tmp_path: Path) -> None:
        folder = tmp_path / "a b?c=d%20#é"
        folder.mkdir()
        self.check(create(folder))
        assert sorted(path.name for path in folder.iterdir())[:2] == ["eu.db", "eu.db.lock"]


class TestRefusedToOpen:
    def test_what_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured, match="not_initialised"):
            Wiring(settings(tmp_path)).open(REGION)
        with pytest.raises(Misconfigured) as refusal:
            Wiring(settings(tmp_path)).open("mars")
        assert refusal.value.facts["setting"] == "cell.mars"
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "eu.db").write_bytes(b"")
        with pytest.raises(Misconfigured, match="not_initialised"):
            Wiring(settings(tmp_path)).open(REGION)

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "eu.db").write_bytes(b"not a database at all" * 1_000)
        for act in (
            lambda: Wiring(settings(tmp_path)).open(REGION),
            lambda: Wiring(settings(tmp_path)).create(REGION, as_host()),
        ):
            with pytest.raises(CoatcheckError, match="database_unavailable"):
                act()

    def test_another_region_s_database(self, tmp_path: Path) -> None:
        config = create(tmp_path, "eu", "us")
        shutil.copy(tmp_path / "us.db", tmp_path / "eu.db")
        for act in (lambda: Wiring(config).open("eu"), lambda: Wiring(config).create("eu", as_host())):
            with pytest.raises(Misconfigured) as refusal:
                act()
            assert refusal.value.facts["setting"] == "cell.eu.database"
        Wiring(config).open("us").close()

    @pytest.mark.parametrize("name", ["root-000001", "half-000001", "development.key"])
    def test_another_cell_s_keys(self, tmp_path: Path, name: str) -> None:
        """Whole, of the same region, and not those that this cell is sealed under."""
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        one, two = create(tmp_path / "one"), create(tmp_path / "two")
        path = Path("keys") / REGION / name
        original = (tmp_path / "one" / path).read_bytes()
        (tmp_path / "one" / path).write_bytes((tmp_path / "two" / path).read_bytes())
        with pytest.raises(CoatcheckError) as refusal:
            Wiring(one).open(REGION)
        assert refusal.value.code in ("integrity_failed", "config_invalid")
        (tmp_path / "one" / path).write_bytes(original)
        Wiring(one).open(REGION).close()
        Wiring(two).open(REGION).close()

    def test_a_half_store_that_is_missing(self, tmp_path: Path) -> None:
        config = create(tmp_path)
        half = tmp_path / "keys" / REGION / "half-000001"
        half.rename(half.with_suffix(".away"))
        with pytest.raises(Unavailable) as refusal:
            Wiring(config).open(REGION)
        assert refusal.value.code == "key_unavailable"
        half.with_suffix(".away").rename(half)
        Wiring(config).open(REGION).close()

    def test_a_torn_half(self, tmp_path: Path) -> None:
        config = create(tmp_path)
        half = tmp_path / "keys" / REGION / "half-000001"
        half.write_bytes(half.read_bytes()[:-1])
        with pytest.raises(Unavailable, match="key_unavailable"):
            Wiring(config).open(REGION)

    def test_a_root_key_that_is_missing(self, tmp_path: Path) -> None:
        config = create(tmp_path)
        (tmp_path / "keys" / REGION / "root-000001").unlink()
        with pytest.raises(CoatcheckError) as refusal:
            Wiring(config).open(REGION)
        assert refusal.value.code in ("key_unavailable", "host_permissions")

    @pytest.mark.parametrize("content", [bytes(32), b"", bytes(31)])
    def test_a_wrong_key_file(self, tmp_path: Path, content: bytes) -> None:
        config = create(tmp_path)
        (tmp_path / "keys" / REGION / "development.key").write_bytes(content)
        with pytest.raises(Misconfigured, match="config_invalid"):
            Wiring(config).open(REGION)

    def test_keys_that_others_may_read(self, tmp_path: Path) -> None:
        config = create(tmp_path)
        (tmp_path / "keys" / REGION / "root-000001").chmod(0o644)
        with pytest.raises(Misconfigured, match="host_permissions"):
            Wiring(config).open(REGION)

    def test_the_lock_is_let_go_of_after_a_refusal(self, tmp_path: Path) -> None:
        config = create(tmp_path)
        root = tmp_path / "keys" / REGION / "root-000001"
        root.rename(root.with_suffix(".away"))
        with pytest.raises(CoatcheckError):
            Wiring(config).open(REGION)
        root.with_suffix(".away").rename(root)
        Wiring(config).open(REGION).close()

    def test_two_half_stores_of_which_one_is_left(self, tmp_path: Path) -> None:
        cell = {
            "database": "sqlite:///eu.db",
            "kms": "local:keys/eu",
            "half_stores": ["keys/eu", "second/eu"],
            "key_file": "keys/eu/development.key",
        }
        config = build({"mode": "development", "cell": {"eu": cell}}, {}, tmp_path)
        Wiring(config).create(REGION, as_host())
        (tmp_path / "keys" / REGION / "half-000001").unlink()
        Wiring(config).open(REGION).close()
        (tmp_path / "second" / REGION / "half-000001").unlink()
        with pytest.raises(Unavailable, match="key_unavailable"):
            Wiring(config).open(REGION)


class TestPassphrase:
    def config(self, folder: Path, passphrase: str | None) -> Config:
        if passphrase is not None:
            (folder / "passphrase").write_text(passphrase + "\n")
        cell = {
            "database": "sqlite:///eu.db",
            "kms": "local:keys/eu",
            "half_stores": ["keys/eu"],
            **({} if passphrase is None else {"passphrase_file": "passphrase"}),
        }
        return build({"cell": {"eu": cell}}, {}, folder)

    def test_the_right_one_opens_and_a_wrong_one_does_not(self, tmp_path: Path) -> None:
        Wiring(self.config(tmp_path, "correct horse")).create(REGION, as_host())
        Wiring(self.config(tmp_path, "correct horse")).open(REGION).close()
        for wrong in ("correct horsf", ""):
            with pytest.raises(Misconfigured, match="config_invalid"):
                Wiring(self.config(tmp_path, wrong)).open(REGION)

    def test_it_is_asked_for_when_nothing_names_it(self, tmp_path: Path) -> None:
        asked: list[str] = []

        def prompt(region: str) -> Secret:
            asked.append(region)
            return Secret(b"correct horse")

        config = self.config(tmp_path, None)
        Wiring(config, prompt).create(REGION, as_host())
        Wiring(config, prompt).open(REGION).close()
        assert set(asked) == {REGION}
        with pytest.raises(Misconfigured, match="config_invalid"):
            Wiring(config).open(REGION)


class TestKeysInTheCache:
    """A key that was opened before serves only while its row stands."""

    def remove_keys(self, built: BuiltCell) -> None:
        with built.cell.store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM cu_data_keys WHERE class = 'customer'")

    def test_a_reveal_answers_erased(self, built: BuiltCell) -> None:
        token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME)
        assert built.reveal(credential, NAME, token) == ["Ada"]
        self.remove_keys(built)
        with pytest.raises(BatchRefused, match="erased"):
            built.reveal(credential, NAME, token)

    def test_tokenize_makes_a_new_key(self, built: BuiltCell) -> None:
        built.token(NAME, "Ada", "c1")
        (old,) = [row[0] for row in rows(built)["cu_data_keys"] if row[3] == "customer"]
        self.remove_keys(built)
        token = built.token(NAME, "Ada", "c1")
        (new,) = [row[0] for row in rows(built)["cu_data_keys"] if row[3] == "customer"]
        assert new != old
        assert built.reveal(built.grant(NAME), NAME, token) == ["Ada"]
        assert all(row[1] == new for row in rows(built)["va_claims"] if row[1] != old)

    def test_a_key_whose_row_was_exchanged_opens_nothing(self, built: BuiltCell) -> None:
        """Sealed keys are bound to their row: two people's cannot be swapped."""
        ada = built.token(NAME, "Ada", "c1")
        built.token(NAME, "Bob", "c2")
        reopen(built)
        with built.cell.store.engine.begin() as connection:
            found = connection.exec_driver_sql(
                "SELECT id, sealed FROM cu_data_keys WHERE class = 'customer'"
            ).fetchall()
            (one, sealed_one), (two, sealed_two) = found
            swap = "UPDATE cu_data_keys SET sealed = ? WHERE id = ?"
            connection.exec_driver_sql(swap, (sealed_two, one))
            connection.exec_driver_sql(swap, (sealed_one, two))
        with pytest.raises(IntegrityError, match="integrity_failed"):
            built.reveal(built.grant(NAME), NAME, ada)
