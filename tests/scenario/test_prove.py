"""P7: what is erased does not come back, for whom has the database from before, the key store, and guesses.

COATCHECK_FULL=1 takes 1,000 people and a domain of a million, as `coatcheck erasure prove` can.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.databases import give_back, postgresql
from tests.support.keystores import PROVIDERS
from tests.support.servers import server
from tests.support.service import coatcheck_here
from vault import attacker, prove
from vault.attacker import Attacker, Loot
from vault.config import build
from vault.prove import Finding, Proof
from vault.wiring import Wiring

FULL = bool(os.environ.get("COATCHECK_FULL"))
PEOPLE, DOMAIN = (1_000, 1_000_000) if FULL else (24, 4_000)
STORES = ["transit, a fake", "AWS KMS, moto", "PKCS#11, SoftHSM2"]


def held(findings: list[Finding]) -> None:
    assert [one for one in findings if not one.holds] == []
    assert {one.level for one in findings} == {
        "requested", "keys_removed", "epoch_closed", "kms_destroyed", "survivors",
    }  # fmt: skip
    controls = [one for one in findings if one.expected]
    assert all(one.recovered == one.values for one in controls)
    assert len(controls) >= 6


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nothing_erased_comes_back(tmp_path: Path, database: str) -> None:
    url = None if database == "sqlite" else postgresql()
    try:
        plain = None if url is None else url.replace(":@", "@")  # no password, not an empty one
        held(Proof(tmp_path, PEOPLE, DOMAIN, database=plain).run())
    finally:
        if url is not None:
            give_back(url)


def test_what_postgresql_leaves_in_its_files_opens_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead tuples and the write-ahead log keep sealed keys for a while: those of the stolen copy."""
    stolen: list[Loot] = []
    plain = attacker.steal

    def steal(*given: Any) -> Loot:
        stolen.append(plain(*given))
        return stolen[-1]

    monkeypatch.setattr(prove, "steal", steal)
    with server() as postgres:
        held(Proof(tmp_path, 12, 2_000, database=postgres.database("proof")).run())
        before, now = stolen[0].sealed_keys(), stolen[-1].sealed_keys()
        gone = set(before.values()) - set(now.values())
        with psycopg.connect(postgres.conninfo("proof"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")  # into the files, what the server has in memory
        raw = b"".join(path.read_bytes() for path in postgres.folder.rglob("*") if path.is_file())
        left = {sealed for sealed in gone if sealed[: prove.STEM] in raw}
        assert len(left) > 12  # so that there is something to be afraid of
        loot = replace(stolen[0], keys=[row for row in stolen[0].keys if before[row.id] in left])
        config = build(
            {"mode": "development", "cell": {prove.REGION: {
                "database": "sqlite:///no.db", "kms": f"local:keys/{prove.REGION}",
                "half_stores": ["stolen"], "key_file": f"keys/{prove.REGION}/proof.key",
            }}}, {}, tmp_path,
        )  # fmt: skip
        wiring = Wiring(config)
        thief = Attacker(loot, wiring.provider(prove.REGION), wiring.halves(prove.REGION))
        assert thief.values() == {}


@pytest.mark.parametrize("name", STORES)
def test_with_other_key_stores(tmp_path: Path, name: str) -> None:
    with PROVIDERS[name](tmp_path) as store:
        settings = {"kms_auth": dict(store.auth)} if store.auth else {}
        held(Proof(tmp_path, 12, 2_000, kms=store.uri, settings=settings).run())


def test_an_erasure_that_keeps_the_keys_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the worker says that it removed them, and did not."""
    from vault.services import erasing

    def nothing(*_: object, **__: object) -> object:
        yield from ()

    monkeypatch.setattr(erasing, "remove_keys", nothing)
    wrong = [one for one in Proof(tmp_path, 8, 2_000).run() if not one.holds]
    assert {one.level for one in wrong} >= {"keys_removed", "kms_destroyed"}


def test_an_index_that_keeps_its_entries_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: with the entries carried along, trying every value tells which were erased."""
    from vault.services import turning

    monkeypatch.setattr(turning, "dead_entries", lambda *_: [])
    wrong = [one for one in Proof(tmp_path, 8, 2_000).run() if not one.holds]
    assert [one.attacker.partition(",")[0] for one in wrong] == ["the living index"]


def test_the_command(tmp_path: Path) -> None:
    done = coatcheck_here("erasure", "prove", "--people", "8", "--domain", "2000", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) > 10
    assert all(row["as_expected"] for row in rows)
