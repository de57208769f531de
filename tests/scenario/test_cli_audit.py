"""`coatcheck audit verify` finds every change to the log that its rows can show, and says where."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.service import coatcheck_here, running


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment in whose log a few things happened."""
    folder = tmp_path_factory.mktemp("audit") / "deployment"
    with running(folder) as service:
        for number in range(5):
            body = {"field": "customer.name", "values": [f"name {number}"], "subjects": [f"p{number}"]}
            assert service.call("POST", "tokenize", body).status == 200
        assert service.stop() == 0
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "deployment")


def verify(folder: Path) -> tuple[int, str, str]:
    done = coatcheck_here("audit", "verify", "--config", folder, "--region", "eu", "--json")
    return done.returncode, done.stdout, done.stderr


def sql(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "eu.db")) as database:
        for statement in statements:
            assert database.execute(statement).rowcount != 0, statement
        database.commit()


def test_a_whole_log(folder: Path) -> None:
    code, out, _ = verify(folder)
    assert code == 0
    shown = json.loads(out)
    with closing(sqlite3.connect(folder / "eu.db")) as database:
        [(count,)] = database.execute("SELECT count(*) FROM re_audit").fetchall()
        [(items,)] = database.execute("SELECT count(*) FROM cu_audit_items").fetchall()
    assert (shown["events"], shown["with_items"]) == (count, items)
    assert "does not detect" in shown["note"]
    assert verify(folder)[0] == 0  # looking changes nothing


LAST = "(SELECT max(number) FROM re_audit)"
ITEM = "(SELECT min(number) FROM cu_audit_items)"
OTHER = "(SELECT max(number) FROM cu_audit_items)"


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["UPDATE re_audit SET body = replace(body, 'host:', 'hast:') WHERE number = 0"], "leaf"),
        ([f"UPDATE re_audit SET body = body || ' ' WHERE number = {LAST}"], "leaf"),
        ([f"UPDATE re_audit SET body = x'' WHERE number = {LAST}"], "leaf"),
        (["UPDATE re_audit SET leaf = zeroblob(32) WHERE number = 2"], "leaf"),
        (
            ["UPDATE re_audit SET leaf = (SELECT leaf FROM re_audit WHERE number = 1) WHERE number = 2"],
            "leaf",
        ),
        (["DELETE FROM re_audit WHERE number = 0"], "gap"),
        (["DELETE FROM re_audit WHERE number = 3"], "gap"),
        ([f"DELETE FROM re_audit WHERE number = {LAST}"], "head"),
        (["DELETE FROM re_audit"], "head"),
        (["UPDATE re_audit SET number = 1000 WHERE number = 3"], "gap"),
        (["UPDATE re_head SET next = next + 1"], "head"),
        (["UPDATE re_head SET next = next - 1"], "head"),
        (["UPDATE re_head SET next = 0"], "head"),
        (["INSERT INTO re_audit SELECT -1, leaf, body FROM re_audit WHERE number = 1"], "head"),
        (["INSERT INTO re_audit SELECT 999999, leaf, body FROM re_audit WHERE number = 1"], "head"),
        (["UPDATE re_audit SET leaf = 1000000000 WHERE number = 2"], "leaf"),
        (["UPDATE re_audit SET body = 1 WHERE number = 2"], "leaf"),
        ([f"UPDATE cu_audit_items SET salt = '' WHERE number = {ITEM}"], "items"),
        (
            [
                "UPDATE re_audit SET number = -1 WHERE number = 1",
                "UPDATE re_audit SET number = 1 WHERE number = 2",
                "UPDATE re_audit SET number = 2 WHERE number = -1",
            ],
            None,
        ),
        ([f"UPDATE cu_audit_items SET \"items\" = '{{}}' WHERE number = {ITEM}"], "items"),
        ([f"UPDATE cu_audit_items SET salt = zeroblob(32) WHERE number = {ITEM}"], "items"),
        (
            [
                f'UPDATE cu_audit_items SET ("items", salt) = (SELECT "items", salt FROM cu_audit_items '
                f"WHERE number = {OTHER}) WHERE number = {ITEM}"
            ],
            "items",
        ),
        ([f"UPDATE cu_audit_items SET number = 0 WHERE number = {ITEM}"], "items"),
    ],
)
def test_a_changed_log(folder: Path, statements: list[str], reason: str | None) -> None:
    sql(folder, *statements)
    code, out, err = verify(folder)
    if reason is None:  # what the leaves alone cannot show: their order needs checkpoints, as `note` says
        assert code == 0
        return
    assert (code, out) == (10, "")
    problem = json.loads(err)
    assert (problem["code"], problem["reason"]) == ("audit_broken", reason)
    assert isinstance(problem["number"], int)


def test_items_that_are_gone_are_no_fault(folder: Path) -> None:
    """They go with the person; the log stays whole."""
    sql(folder, "DELETE FROM cu_audit_items")
    code, out, _ = verify(folder)
    assert (code, json.loads(out)["with_items"]) == (0, 0)


def test_every_byte_of_a_body_counts(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "eu.db")) as database:
        [(body,)] = database.execute("SELECT body FROM re_audit WHERE number = 2").fetchall()
        for index in range(0, len(body), 7):
            changed = bytearray(body)
            changed[index] ^= 1
            database.execute("UPDATE re_audit SET body = ? WHERE number = 2", (bytes(changed),))
            database.commit()
            code, _, err = verify(folder)
            assert (code, json.loads(err)["number"]) == (10, 2)


@pytest.mark.parametrize("body", ["x''", "'{}'", "'[]'", "1", "x'ff'"])
def test_showing_a_broken_row_is_no_defect(folder: Path, body: str) -> None:
    sql(folder, f"UPDATE re_audit SET body = {body} WHERE number = {LAST}")
    done = coatcheck_here("audit", "tail", "--config", folder, "--region", "eu", "--json")
    assert done.returncode in (0, 10)
    assert "Traceback" not in done.stderr


def test_plain_text_says_it_too(folder: Path) -> None:
    sql(folder, "DELETE FROM re_audit WHERE number = 1")
    done = coatcheck_here("audit", "verify", "--config", folder, "--region", "eu")
    assert done.returncode == 10
    assert done.stderr.splitlines() == [
        "coatcheck: audit_broken: The audit log is not intact.",
        "  number: 1",
        "  reason: gap",
    ]


def test_the_other_region_is_not_concerned(folder: Path) -> None:
    sql(folder, "DELETE FROM re_audit WHERE number = 1")
    assert coatcheck_here("audit", "verify", "--config", folder, "--region", "us").returncode == 0
