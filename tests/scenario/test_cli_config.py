"""config check and config show: everything that is wrong at once, and where each setting comes from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import coatcheck_here
from vault.config import build
from vault.config.settings import shown

CELL = """
[cell.eu]
database = "sqlite:///eu.db"
kms = "local:keys/eu"
half_stores = ["a/eu", "b/eu"]
passphrase_file = "secret"
"""


def check(tmp_path: Path, text: str, **more: str) -> tuple[int, list[dict[str, Any]]]:
    path = tmp_path / "coatcheck.toml"
    path.write_text(text, encoding="utf-8")
    done = coatcheck_here("config", "check", "--config", path, "--json", more=more)
    return done.returncode, json.loads(done.stdout)


def test_what_is_fine(tmp_path: Path) -> None:
    code, found = check(tmp_path, CELL)
    assert (code, [row["setting"] for row in found]) == (0, ["identities.admin"])
    assert check(tmp_path, CELL + '[identities]\nadmin = "operators"\n') == (0, [])


def test_everything_at_once(tmp_path: Path) -> None:
    text = """
mode = "staging"
colour = "red"
[listen]
adress = "0.0.0.0:1"
address = "0.0.0.0:8700"
workers = 4000
trusted_proxies = []
admin_address = "192.0.2.1:1"
[tls]
certificate = "tls.crt"
minimum = "1.2"
[ledger]
max_wait_ms = 2
queue = "many"
[limits]
items = 0
body_kib = true
[log]
level = "loud"
[region.us]
[cell.eu]
database = "mysql://user:canary7f3a91@host/eu"
kms = "local:keys/eu"
half_stores = []
passphrase = "canary7f3a91"
custody_backup_keep = "a week"
[cell."E U"]
kms = "local:keys"
"""
    code, rows = check(tmp_path, text, COATCHECK_NONSENSE="canary7f3a91", COATCHECK_LIMITS__BATCH_MIB="x")
    assert code == 11
    assert {row["result"] for row in rows} == {"wrong"}
    assert {row["setting"] for row in rows} >= {
        "mode", "colour", "listen.adress", "listen.address", "listen.workers", "listen.admin_address",
        "tls.key", "ledger.max_wait_ms", "ledger.queue", "limits.items", "limits.body_kib",
        "limits.batch_mib", "log.level", "region.us.url", "cell.eu.database", "cell.eu.half_stores",
        "cell.eu.passphrase", "cell.eu.custody_backup_keep", "cell.E U.database", "cell.E U.half_stores",
        "COATCHECK_NONSENSE",
    }  # fmt: skip
    reasons = {row["setting"]: row["reason"] for row in rows}
    assert reasons["listen.adress"] == "is unknown; near: address"
    assert reasons["listen.workers"] == "is a number from 1 to 64"
    assert reasons["limits.items"] == "is a number from 1 to 1000000"
    assert reasons["cell.eu.custody_backup_keep"] == "is a duration like P7D"
    assert "canary7f3a91" not in json.dumps(rows)


OTHER = CELL.replace("eu", "us")
OPERATORS = {"": '\n[identities]\nadmin = "operators"\n', "identities.admin": ""}
RISKS = {
    "identities.admin": "",
    "mode": 'mode = "development"',
    "log.level": '[log]\nlevel = "debug"',
    "listen.address": '[listen]\naddress = "0.0.0.0:1"\ntrusted_proxies = ["10.0.0.0/24"]',
    "listen.trusted_proxies": '[listen]\ntrusted_proxies = ["0.0.0.0/0"]',
    "cell.us.half_stores": OTHER.replace('"a/us", ', ""),
    "cell.us.passphrase": OTHER.replace('passphrase_file = "secret"', 'passphrase = "env:X"'),
    "cell.us.passphrase_file": OTHER.replace("passphrase_file", "# "),
}


@pytest.mark.parametrize("setting", RISKS)
def test_what_is_risky_is_a_warning(setting: str, tmp_path: Path) -> None:
    code, rows = check(tmp_path, RISKS[setting] + CELL + OPERATORS.get(setting, OPERATORS[""]))
    assert code == 0
    assert [(row["result"], row["setting"]) for row in rows] == [("risky", setting)]


def test_files_are_not_looked_at_and_nothing_is_made(tmp_path: Path) -> None:
    assert check(tmp_path, CELL)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["coatcheck.toml"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    done = coatcheck_here("config", "check", "--config", tmp_path / "none.toml")
    assert done.returncode == 11
    (tmp_path / "coatcheck.toml").write_text("[listen", encoding="utf-8")
    done = coatcheck_here("config", "check", "--config", tmp_path)
    assert done.returncode == 11
    assert "config_invalid" in done.stderr


class TestShow:
    def rows(self, tmp_path: Path, text: str, **more: str) -> dict[str, tuple[Any, str]]:
        (tmp_path / "coatcheck.toml").write_text(text, encoding="utf-8")
        done = coatcheck_here("config", "show", "--config", tmp_path, "--json", more=more)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["named_by"] == "--config"
        return {row["setting"]: (row["value"], row["source"]) for row in document["settings"]}

    def test_sources(self, tmp_path: Path) -> None:
        rows = self.rows(
            tmp_path,
            'mode = "production"\n' + CELL + '[log]\nlevel = "error"\n',
            COATCHECK_LOG__LEVEL="info",
            COATCHECK_CELL__EU__SCHEMA="schema.toml",
            COATCHECK_PORT="1234",
        )
        assert rows["mode"] == ("production", "file")
        assert rows["log.level"] == ("info", "COATCHECK_LOG__LEVEL")
        assert rows["log.format"] == ("json", "default")
        assert rows["listen.address"] == ("127.0.0.1:1234", "COATCHECK_PORT")
        assert rows["cell.eu.database"] == ("sqlite:///eu.db", "file")
        assert rows["cell.eu.schema"] == ("schema.toml", "COATCHECK_CELL__EU__SCHEMA")
        assert rows["cell.eu.url"] == (None, "default")
        assert rows["limits.items"] == (10_000, "default")

    def test_it_is_what_a_file_would_say(self, tmp_path: Path) -> None:
        """Every setting of a deployment is shown, and what is shown makes the same deployment again."""
        rows = self.rows(tmp_path, CELL + '[tls]\ncertificate = "c"\nkey = "k"\n')
        document: dict[str, Any] = {}
        for name, (value, _) in rows.items():
            table = document
            *above, last = name.split(".")
            for part in above:
                table = table.setdefault(part, {})
            if value is not None:
                table[last] = value
        written = tomllib.loads((tmp_path / "coatcheck.toml").read_text(encoding="utf-8"))
        assert build(document, {}, tmp_path) == build(written, {}, tmp_path)

    def test_a_region_with_dots(self, tmp_path: Path) -> None:
        rows = self.rows(tmp_path, CELL.replace("cell.eu", 'cell."eu.west"'))
        assert rows["cell.eu.west.database"] == ("sqlite:///eu.db", "file")
        assert rows["cell.eu.west.url"] == (None, "default")

    @pytest.mark.parametrize("setting", ["cell.eu.database", "cell.eu.kms", "region.us.url"])
    def test_secrets_are_hidden(self, setting: str) -> None:
        for address in (
            "postgresql+psycopg://user:canary@host/eu",
            "transit://user:canary@host:8200/transit/x?token=canary",
            "https://host/x?key=canary",
        ):
            assert "canary" not in str(shown(setting, address))
            assert "host" in str(shown(setting, address))

    def test_what_is_wrong_is_not_shown(self, tmp_path: Path) -> None:
        (tmp_path / "coatcheck.toml").write_text(CELL + 'colour = "canary7f3a91"\n', encoding="utf-8")
        done = coatcheck_here("config", "show", "--config", tmp_path)
        assert done.returncode == 11
        assert "cell.eu.colour is unknown" in done.stderr
        assert "canary" not in done.stderr

    def test_who_named_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "coatcheck.toml").write_text(CELL, encoding="utf-8")
        done = coatcheck_here("config", "show", more={"COATCHECK_CONFIG": str(tmp_path)})
        assert "named by: COATCHECK_CONFIG" in done.stderr
