"""Keys turned over from the shell, and what callers keep rekeyed: line by line, as a stream, and in files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.roomy import add_principal, initialise_roomy
from tests.scenario.test_http_streams import Peer, lines
from tests.support.service import ROOT, Service, coatcheck

SSN = "customer.ssn"
VALUES = [f"{n:09d}" for n in range(100_000_000, 100_000_400)]


class Keys:
    """A service whose SSN key was rotated once, tokens of both versions, and who may do what."""

    def __init__(self, folder: Path) -> None:
        initialise_roomy(folder)
        self.service = Service(folder, {})
        self.service.start()
        _, self.loader = add_principal(self.service, "loader")
        _, self.custodian = add_principal(self.service, "custodian", roles=["key-custodian"], permissions=[])
        self.old = self.tokens()
        listed = self.service.call("GET", "keys?kind=ff1&limit=500", key=self.custodian).json()["items"]
        self.first = str(next(row["id"] for row in listed if row.get("field") == SSN))
        self.rotated = self.shell("key", "rotate", self.first, "--reason", "due", by=self.custodian)
        self.new = self.tokens()

    def tokens(self) -> list[str]:
        answer = self.service.call("POST", "tokenize", {"field": SSN, "values": VALUES}, key=self.loader)
        tokens: list[str] = answer.json()["tokens"]
        return tokens

    def shell(self, *words: Any, by: str = "", given: bytes = b"", fails: int = 0) -> Any:
        """What a command prints, as JSON."""
        settings = {
            "COATCHECK_URL": self.service.url, "COATCHECK_KEY": by or self.loader, "COATCHECK_REGION": "eu",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        done = coatcheck(*words, "--json", more=settings, given=given)
        assert done.returncode == fails, done.stderr
        return json.loads(done.stdout if not fails else done.stderr)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    made = Keys(tmp_path_factory.mktemp("rekey") / "deployment")
    try:
        yield made
    finally:
        made.service.kill()


def records(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def rekey_file(keys: Keys, source: Path, target: Path, *more: str, fails: int = 0) -> Any:
    column = ("--column", f"ssn={SSN}")
    return keys.shell("rekey-file", "--in", source, "--out", target, *column, *more, fails=fails)


def test_the_rotation_is_told(keys: Keys) -> None:
    assert (keys.rotated["state"], keys.rotated["primary_version"]) == ("deactivated", 2)
    assert set(keys.old).isdisjoint(keys.new)


def test_lines(keys: Keys) -> None:
    given = "\n".join([*keys.old[:3], "", ""]).encode()
    answer = keys.shell("rekey", SSN, "--from-version", "1", given=given)
    assert answer["tokens"] == [*keys.new[:3], None]
    assert answer["key_version"] == 2


def test_a_stream(keys: Keys) -> None:
    with Peer(keys.service, "rekey/stream", keys.loader) as peer:
        peer.write(lines({"field": SSN, "from_version": 1, "on_error": "report"}, *keys.old[:50]))
        peer.write(lines(None, {"token": keys.old[50]}, "12-secret"))
        peer.end()
        head, *rest, trailer = peer.all()
    assert head == {"field": SSN, "key_version": 2}
    assert rest[:52] == [*keys.new[:50], None, keys.new[50]]
    assert rest[52]["error"]["code"].startswith("value_")
    assert trailer == {"done": True, "count": 53, "failed": 1}


def test_a_file_with_a_column_of_versions(keys: Keys, tmp_path: Path) -> None:
    """Half of it was rekeyed before: each token is of the version that its row says."""
    half = len(VALUES) // 2
    rows = [["id", "ssn", "v"]]
    rows += [[str(n), token, "1"] for n, token in enumerate(keys.old[:half])]
    rows += [[str(n), token, "2"] for n, token in enumerate(keys.new[half:], half)]
    rows += [["x", "", ""]]
    source, target = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    done = rekey_file(keys, source, target, "--key-version-column", "v")
    assert done == {"rows": 401, "rejected_rows": 0, "resumed": False, "key_versions": {SSN: 2}}
    made = records(target)
    assert [row[1] for row in made[1:]] == [*keys.new, ""]
    assert [row[2] for row in made[1:]] == ["2"] * len(VALUES) + [""]
    assert rekey_file(keys, target, tmp_path / "again.csv", "--key-version-column", "v")["rows"] == 401
    assert (tmp_path / "again.csv").read_bytes() == target.read_bytes()


def test_a_file_of_one_version(keys: Keys, tmp_path: Path) -> None:
    rows = [["ssn", "note"], *([token, f'a "{n}"'] for n, token in enumerate(keys.old))]
    source, target = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    rekey_file(keys, source, target, "--from-version", "1")
    assert records(target) == [
        rows[0],
        *([token, row[1]] for token, row in zip(keys.new, rows[1:], strict=True)),
    ]


def test_json_lines(keys: Keys, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(
        "".join(
            json.dumps({"ssn": token, "v": 1 if n % 2 else "1"}) + "\n" for n, token in enumerate(keys.old)
        )
    )
    rekey_file(keys, source, target, "--key-version-column", "v")
    made = [json.loads(line) for line in target.read_text().splitlines()]
    assert [one["ssn"] for one in made] == keys.new
    assert [one["v"] for one in made] == [
        2 if n % 2 else "2" for n in range(len(VALUES))
    ]  # as it was written


def test_parquet(keys: Keys, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"ssn": [*keys.old, None], "v": pa.array([1] * len(VALUES) + [None], pa.int32())})
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source, row_group_size=100)
    rekey_file(keys, source, target, "--key-version-column", "v")
    made = pq.read_table(target)
    assert made.schema.equals(table.schema)
    assert made.column("ssn").to_pylist() == [*keys.new, None]
    assert made.column("v").to_pylist() == [2] * len(VALUES) + [None]


def test_what_cannot_be_rekeyed_is_told_by_row(keys: Keys, tmp_path: Path) -> None:
    rows = [["ssn", "v"], [keys.old[0], "1"], ["12-secret", "1"], [keys.old[1], "9"], [keys.old[2], "x"]]
    source, target, told = write(tmp_path / "in.csv", rows), tmp_path / "out.csv", tmp_path / "rejects.csv"
    more = ("--key-version-column", "v", "--rejects", str(told))
    settings = ("--in", source, "--out", target, "--column", f"ssn={SSN}")
    done = coatcheck(
        "rekey-file", *settings, *more, "--json",
        more={"COATCHECK_URL": keys.service.url, "COATCHECK_KEY": keys.loader, "COATCHECK_REGION": "eu"},
    )  # fmt: skip
    assert done.returncode == 8, done.stderr
    assert records(target) == [["ssn", "v"], [keys.new[0], "2"]]
    codes = [(row[0], row[2]) for row in records(told)[1:]]
    assert [row for row, _ in codes] == ["2", "3", "4"]
    assert [code for _, code in codes[1:]] == ["key_version_unknown"] * 2
    assert "secret" not in told.read_text()


def test_tokens_without_a_version_are_refused(keys: Keys, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [["ssn"], [keys.old[0]]])
    failed = rekey_file(keys, source, tmp_path / "out.csv", fails=3)
    assert failed["code"] == "key_version_required"
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_one_column_of_versions_for_two_is_refused(keys: Keys, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [["ssn", "b", "v"], [keys.old[0], keys.old[1], "1"]])
    more = ("--column", f"b={SSN}", "--key-version-column", "ssn=v", "--key-version-column", "b=v")
    assert rekey_file(keys, source, tmp_path / "out.csv", *more, fails=2)["code"] == "usage"


def test_coverage_and_destruction(keys: Keys) -> None:
    """Last: the old version goes."""
    shown = keys.shell("key", "coverage", keys.first, by=keys.custodian)
    assert (shown["held_by"], shown["state"], shown["issued"]) == ("callers", "deactivated", len(VALUES))
    for _ in range(2):  # copies are counted as often as they come
        body = {"field": SSN, "tokens": keys.old, "from_version": 1}
        assert keys.service.call("POST", "rekey", body, key=keys.loader).status == 200
    again = keys.shell("key", "coverage", keys.first, by=keys.custodian)
    assert again["rekeyed"] == shown["rekeyed"] + 2 * len(VALUES)
    refused = keys.shell("key", "destroy", keys.first, "--yes", by=keys.custodian, fails=7)
    assert (refused["code"], refused["issued"]) == ("key_in_use", len(VALUES))
    asked = keys.shell("key", "destroy", keys.first, by=keys.custodian, fails=2)
    assert asked["code"] == "usage"  # nobody there to ask
    keys.shell("key", "destroy", keys.first, "--yes", "--attested-by", "Ada", by=keys.custodian, fails=2)
    word = ("--attested-by", "Ada Lovelace", "--statement", "all tables were rekeyed", "--yes")
    done = coatcheck(
        "key", "destroy", keys.first, *word, "--json",
        more={"COATCHECK_URL": keys.service.url, "COATCHECK_KEY": keys.custodian, "COATCHECK_REGION": "eu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (
        json.loads(done.stdout.splitlines()[-1] if "\n{" in done.stdout else done.stdout)["state"]
        == "destroyed"
    )
    gone = keys.shell("rekey", SSN, "--from-version", "1", given=keys.old[0].encode(), fails=3)
    assert gone["code"] == "key_version_unknown"
