"""doctor: each thing that it looks at, damaged on purpose, is found by its name and with what to do."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import authority
from tests.support.service import coatcheck_here, initialise
from vault import checkup
from vault.cli.templates import PRODUCTION

TLS = "[tls]\ncertificate = 'ca/tls.crt'\nkey = 'ca/tls.key'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    initialise(tmp_path / "deployment")
    return tmp_path / "deployment"


def doctor(folder: Path, *arguments: str, **more: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and the findings by what was looked at."""
    done = coatcheck_here("doctor", "--config", folder, "--json", *arguments, more=more)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(done.stdout):
        found.setdefault(row["check"], []).append(row)
    return done.returncode, found


def wrong(found: dict[str, list[dict[str, Any]]], result: str = "wrong") -> set[str]:
    return {check for check, rows in found.items() if any(row["result"] == result for row in rows)}


def settle(folder: Path, text: str) -> None:
    path = folder / "coatcheck.toml"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_what_it_looks_at(folder: Path) -> None:
    code, found = doctor(folder)
    assert code == 0
    assert wrong(found) == set()
    for region in ("eu", "us"):
        names = {
            check.removeprefix(f"cell {region} ") for check in found if check.startswith(f"cell {region} ")
        }
        assert names == {
            *("permissions", "database", "clock", "audit log", "epoch", "backup", "keys", "key store"),
            *("data keys", "field keys", "service keys"),
        }
    for name in ("configuration", "listener", "administrators", "descriptors"):
        assert found[name][0]["result"] == "ok"


def test_strict_takes_risks_for_wrong(folder: Path) -> None:
    assert doctor(folder, "--strict")[0] == 11


def cut_log(folder: Path) -> None:
    sql(folder, "DELETE FROM re_audit WHERE number = (SELECT max(number) - 1 FROM re_audit)")


def sql(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "eu.db")) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement)
        connection.commit()


def second_half(folder: Path, damage: Callable[[Path], Any]) -> None:
    """A second half-store, whole, and then damaged."""
    path = folder / "coatcheck.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('["keys/eu"]', '["keys/eu", "second"]'), encoding="utf-8")
    (folder / "second").mkdir(mode=0o700)
    shutil.copy2(folder / "keys" / "eu" / "half-000001", folder / "second")
    damage(folder / "second" / "half-000001")


def swap_half(folder: Path) -> None:
    """Whole, of this region, and another cell's."""
    initialise(folder.parent / "other")
    (folder.parent / "other" / "keys" / "eu" / "half-000001").unlink()
    (folder.parent / "other" / "eu.db").unlink()
    (folder.parent / "other" / "keys" / "eu" / "root-000001").unlink()
    assert coatcheck_here("init", "--dev", folder.parent / "other").returncode == 0
    theirs = (folder.parent / "other" / "keys" / "eu" / "half-000001").read_bytes()
    second_half(folder, lambda path: path.write_bytes(theirs))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str, int]] = {
    "a key that others may read": (lambda f: (f / "keys/eu/root-000001").chmod(0o640),
                                   "cell eu permissions", 11),
    "a half that others may read": (lambda f: (f / "keys/eu/half-000001").chmod(0o604),
                                    "cell eu permissions", 11),
    "a folder that others may enter": (lambda f: (f / "keys/eu").chmod(0o755), "cell eu permissions", 11),
    "a database that others may read": (lambda f: (f / "eu.db").chmod(0o644), "cell eu permissions", 11),
    "no root key": (lambda f: (f / "keys/eu/root-000001").unlink(), "cell eu keys", 11),
    "no half": (lambda f: (f / "keys/eu/half-000001").unlink(), "cell eu keys", 11),
    "a torn half": (lambda f: (f / "keys/eu/half-000001").write_bytes(b"x"), "cell eu keys", 11),
    "a half-store without its half": (lambda f: second_half(f, Path.unlink), "cell eu half-stores", 11),
    "half-stores that differ": (swap_half, "cell eu keys", 11),
    "no database": (lambda f: (f / "eu.db").unlink(), "cell eu", 11),
    "no database in it": (lambda f: (f / "eu.db").write_bytes(b"nonsense" * 1000), "cell eu", 11),
    "another version": (lambda f: sql(f, "UPDATE alembic_version SET version_num = 'x'"), "cell eu", 11),
    "a gap in the log": (cut_log, "cell eu audit log", 10),
    "a changed event": (lambda f: sql(f, "UPDATE re_audit SET body = x'7b7d' WHERE number = 2"),
                        "cell eu audit log", 10),
    "no certificate": (lambda f: settle(f, TLS), "certificate", 11),
    "a setting": (lambda f: settle(f, "[limits]\nitems = 0\n"), "limits.items", 11),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_found(case: str, folder: Path) -> None:
    damage, check, exit_ = DAMAGE[case]
    damage(folder)
    code, found = doctor(folder)
    assert check in wrong(found), found
    assert code == exit_
    assert all(row["remedy"] for rows in found.values() for row in rows if row["result"] == "wrong"), found
    assert not any(check.startswith("cell us") for check in wrong(found))


DAY_US = 86_400 * 1_000_000


def test_what_is_overdue_is_risky(folder: Path) -> None:
    settle(folder, '[keys]\nlongest = "P30D"\n')
    text = (folder / "coatcheck.toml").read_text(encoding="utf-8")
    (folder / "coatcheck.toml").write_text(
        text.replace("[cell.eu]", '[cell.eu]\nreference_rotation = "P30D"'), encoding="utf-8"
    )
    _, before = doctor(folder)
    assert [before[f"cell eu {name} keys"][0]["result"] for name in ("field", "service")] == ["ok", "ok"]
    sql(folder, f"UPDATE cu_field_keys SET created_at = created_at - {40 * DAY_US}")
    sql(folder, f"UPDATE re_api_keys SET created_at = created_at - {40 * DAY_US}")
    with closing(sqlite3.connect(folder / "eu.db")) as connection:
        [[ends]] = connection.execute("SELECT last_at FROM re_head")
        [[some]] = connection.execute("SELECT max(id) FROM re_api_keys")
    sql(folder, f"UPDATE re_api_keys SET expires_at = {ends + 3 * DAY_US} WHERE id = '{some}'")
    _, found = doctor(folder)
    [due] = found["cell eu field keys"]
    assert (due["result"], "subject-reference" in due["detail"]) == ("risky", True)
    ending, old = found["cell eu service keys"]
    assert (ending["result"], ending["remedy"]) == ("risky", f"coatcheck apikey rotate {some}")
    assert old["result"] == "risky"
    assert "keys.longest" in old["detail"]
    assert found["cell eu data keys"][0]["result"] == "ok"
    row = "x'00', 'main', x'00', 'c', '', 'active', 1, x'', 1, NULL, NULL"
    sql(folder, "INSERT INTO cu_due_periods VALUES ('main', 'c', '', 'active')")
    sql(folder, f"INSERT INTO cu_data_keys VALUES ({row})")
    assert doctor(folder)[1]["cell eu data keys"][0]["result"] == "risky"
    assert found["cell us service keys"][0]["result"] == "ok"


class TestCertificate:
    @pytest.mark.parametrize(
        ("days", "result", "word"),
        [((-1, 90), "ok", "127.0.0.1"), ((-1, 10), "risky", "expires in"), ((-9, -1), "wrong", "has expired"),
         ((1, 90), "wrong", "not valid before")],
    )  # fmt: skip
    def test_when_it_is_valid(self, folder: Path, days: tuple[float, float], result: str, word: str) -> None:
        authority(folder / "ca").issue(days=days)
        settle(folder, TLS)
        code, found = doctor(folder)
        [row] = found["certificate"]
        assert (row["result"], code) == (result, 11 if result == "wrong" else 0)
        assert word in row["detail"]
        assert bool(row["remedy"]) == (result != "ok")

    def test_the_key_of_another(self, folder: Path) -> None:
        authority(folder / "ca").issue()
        other = authority(folder / "other")
        other.issue()
        shutil.copy(other.folder / "tls.key", folder / "ca" / "tls.key")
        settle(folder, TLS)
        assert "certificate" in wrong(doctor(folder)[1])

    def test_a_key_that_others_may_read(self, folder: Path) -> None:
        authority(folder / "ca").issue()
        (folder / "ca" / "tls.key").chmod(0o644)
        settle(folder, TLS)
        [row] = doctor(folder)[1]["certificate"]
        assert (row["result"], row["code"]) == ("wrong", "host_permissions")


def test_little_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, result in ((10**8 // 2, "wrong"), (5 * 10**8, "risky"), (10**12, None)):
        usage = shutil._ntuple_diskusage(10**12, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda place, usage=usage: usage)
        found = doctor(folder)[1]
        assert {row["result"] for row in found.get("cell eu disk", [])} == ({result} if result else set())


def test_a_large_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "LARGE_WAL_BYTES", -1)
    assert "cell eu database" in wrong(doctor(folder)[1], "risky")


def test_too_few_descriptors(folder: Path) -> None:
    found = doctor(folder, COATCHECK_LIMITS__CONNECTIONS="100000")[1]
    assert "descriptors" in wrong(found, "risky")
    assert "LimitNOFILE=" in found["descriptors"][0]["remedy"]


def test_everything_that_is_wrong_with_the_settings(folder: Path) -> None:
    code, found = doctor(folder, COATCHECK_LIMITS__ITEMS="0", COATCHECK_LOG__LEVEL="loud", COATCHECK_X="1")
    assert code == 11
    assert wrong(found) == {"limits.items", "log.level", "COATCHECK_X"}


def test_production(tmp_path: Path) -> None:
    """A deployment as the how-to lays it out has nothing wrong and few risks; each of its own is found."""
    folder = tmp_path / "production"
    (folder / "secrets").mkdir(parents=True, mode=0o700)
    secret = folder / "secrets" / "keystore"
    secret.write_text("correct horse battery staple\n", encoding="utf-8")
    secret.chmod(0o600)
    text = PRODUCTION.format(region="eu", passphrase='passphrase_file = "secrets/keystore"\n')
    (folder / "coatcheck.toml").write_text(text, encoding="utf-8")
    assert coatcheck_here("init", folder).returncode == 0
    code, found = doctor(folder)
    assert (code, wrong(found)) == (0, set())
    assert wrong(found, "risky") <= {"cell.eu.half_stores", "core dumps", "descriptors"}
    secret.chmod(0o644)
    code, found = doctor(folder)
    assert "cell eu permissions" in wrong(found)
    secret.chmod(0o600)
    shutil.move(secret, folder / "keystore")
    text = text.replace("secrets/keystore", "keystore")
    (folder / "coatcheck.toml").write_text(text, encoding="utf-8")
    assert "cell eu passphrase" in wrong(doctor(folder)[1], "risky")
    (folder / "keystore").write_text("another\n", encoding="utf-8")
    code, found = doctor(folder)
    assert (code, "cell eu keys" in wrong(found)) == (11, True)
    assert "another" not in json.dumps(found).replace("another disk", "").replace("another cell", "")
