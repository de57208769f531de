"""Backup and restore from the shell: survivors open, the erased stay erased, and nothing wrong is taken."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import EMAIL, NAME, SSN
from tests.support.hosted import Hosted, keys_of, remove
from tests.support.servers import PostgreSQL, server
from tests.support.service import running
from vault.codes import Exit

PEOPLE = [f"cust-{number}" for number in range(12)]
ERASED = PEOPLE[:4]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    with server() as made:
        yield made


_names = iter(range(1, 1_000))


class Places:
    """New databases of a kind."""

    def __init__(self, kind: str, request: pytest.FixtureRequest) -> None:
        self.kind = kind
        self._request = request

    def new(self) -> str:
        if self.kind == "sqlite":
            return "sqlite:///eu.db"
        postgres: PostgreSQL = self._request.getfixturevalue("postgres")
        return postgres.database(f"cell_{next(_names)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest) -> Places:
    return Places(request.param, request)


class Told:
    """A deployment with values of some people, and what was done to it."""

    def __init__(self, folder: Path, database: str, backups: Path) -> None:
        self.host = Hosted.new(folder, database)
        self.backups = backups
        self.tokens: dict[str, str] = {}

    def tokenize(self, *people: str) -> None:
        with self.host.opened() as built:
            for person in people:
                self.tokens[person] = built.token(NAME, f"name of {person}", person)

    def erase(self, *people: str) -> None:
        with self.host.opened() as built:
            ids = keys_of(built, *people)
            assert len(ids) == 2 * len(people)  # a class, and the identifier
            assert remove(built, ids).keys == len(ids)

    def backup(self, *words: str, folder: Path | None = None) -> Any:
        return self.host.answer("cell", "backup", folder or self.backups, *words)

    def opens(self, host: Hosted) -> dict[str, bool]:
        """Whose values open on a host."""
        values = host.reveal(NAME, *self.tokens.values())
        shown = dict(zip(self.tokens, values, strict=True))
        assert all(value in (None, f"name of {person}") for person, value in shown.items())
        return {person: value is not None for person, value in shown.items()}


def only(survivors: list[str], people: Any) -> dict[str, bool]:
    return {person: person in survivors for person in people}


def test_old_values_with_the_newest_custody_and_record(places: Places, tmp_path: Path) -> None:
    told = Told(tmp_path / "one", places.new(), tmp_path / "backups")
    told.tokenize(*PEOPLE[:8])
    first = told.backup()
    told.tokenize(*PEOPLE[8:])
    told.erase(*ERASED)
    second = told.backup("--without-values")
    assert [*second["files"]] == ["custody", "record"]

    other = told.host.moved_to(tmp_path / "two", places.new())
    plan = other.answer("cell", "restore", told.backups, "--dry-run")
    assert plan["set"] == second["set"]
    assert (plan["values"], plan["values_instant"]) == (8, first["instant"])
    assert plan["values_recorded"] is True
    assert plan["would_come_back"] == {"keys": 0, "values": 4}  # custody knows them no more
    assert plan["events"] == second["events"]
    assert other.refusal("audit", "verify")["code"] == "not_initialised"  # a dry run does nothing

    done = other.answer("cell", "restore", told.backups, "--yes")
    assert done["erased_again"] == {"keys": 0, "values": 4}
    assert done["tokens_without_value"] == 4  # those made since
    [event] = other.events("cell.restore")
    assert event["erased"] == {"keys": 0, "values": 4}
    assert event["set"] == second["set"]
    with other.opened() as built, pytest.raises(Exception, match="credential_invalid"):
        built.grant(NAME)
    other.new_key()
    assert told.opens(other) == only(PEOPLE[4:8], PEOPLE)
    assert other.answer("audit", "verify")["events"] == other.answer("audit", "verify")["events"]
    with other.opened() as built:  # and it goes on
        token = built.token(NAME, "new", "cust-new")
    assert other.reveal(NAME, token) == ["new"]


def test_who_is_no_longer_in_the_log_comes_back_by_no_backup(places: Places, tmp_path: Path) -> None:
    """The turn destroys what older backups lie under, and leaves out of the log who was gone by then."""
    told = Told(tmp_path / "one", places.new(), tmp_path / "backups")
    early, late, survivors = PEOPLE[0], PEOPLE[1], PEOPLE[2:5]
    told.tokenize(*PEOPLE[:5])
    old = told.backup(folder=tmp_path / "old")
    told.erase(early)
    log = told.host.folder / "keys" / "eu" / "erased.log"
    assert log.stat().st_size == 40 + 2 * 64
    assert told.host.answer("epoch", "turn", "--yes")["state"] == "done"
    assert log.stat().st_size == 40
    told.backup("--without-values")
    told.erase(late)
    assert log.stat().st_size == 40 + 2 * 64

    other = told.host.moved_to(tmp_path / "two", places.new())
    refused = other.refusal("cell", "restore", tmp_path / "old", "--yes")
    assert (refused["code"], "closed" in refused["reason"]) == ("backup_invalid", True)
    words = ("cell", "restore", told.backups, "--values", tmp_path / "old" / old["files"]["values"], "--yes")
    done = other.answer(*words)
    assert done["erased_again"] == {"keys": 2, "values": 2}  # late, by the log; early's value had no key
    other.new_key()
    assert told.opens(other) == only(survivors, PEOPLE[:5])

    without = told.host.moved_to(tmp_path / "three", places.new())  # the control: an entry that is needed
    (without.folder / "keys" / "eu" / "erased.log").unlink()
    without.answer(*words)
    without.new_key()
    assert told.opens(without) == only([late, *survivors], PEOPLE[:5])


def test_how_far_it_is_goes_to_standard_error(places: Places, tmp_path: Path) -> None:
    told = Told(tmp_path / "one", places.new(), tmp_path / "backups")
    told.tokenize(*PEOPLE[:3])
    parts = ("values", "custody", "record")
    done = told.host("cell", "backup", told.backups)
    assert json.loads(done.stdout)["region"] == "eu"
    begun = [line.partition("%  ")[2].rpartition("  ")[0] for line in done.stderr.splitlines()]
    assert begun[:6] == [f"{what} {part}" for part in parts for what in ("write", "check")]
    assert told.host("cell", "backup", told.backups, "--quiet").stderr == ""

    other = told.host.moved_to(tmp_path / "two", places.new())
    done = other("cell", "restore", told.backups, "--yes")
    assert json.loads(done.stdout)["region"] == "eu"
    begun = [line.partition("%  ")[2].rpartition("  ")[0] for line in done.stderr.splitlines()]
    assert begun[:3] == ["check custody", "check values", "check record"]
    assert begun[3:6] == ["custody", "values", "record"]


def test_a_backup_from_before_an_erasure_brings_nobody_back(places: Places, tmp_path: Path) -> None:
    told = Told(tmp_path / "one", places.new(), tmp_path / "backups")
    told.tokenize(*PEOPLE)
    with told.host.opened() as built:
        email = built.token(EMAIL, "ada@example.com", PEOPLE[0])
        ssn = built.tokens(SSN, "123-45-6789")[0] or ""
    made = told.backup()
    told.erase(*ERASED)
    assert told.opens(told.host) == only(PEOPLE[4:], PEOPLE)
    with told.host.opened() as built:
        numbers = built.next_number

    other = told.host.moved_to(tmp_path / "two", places.new())
    plan = other.answer("cell", "restore", told.backups, "--dry-run")
    assert plan["would_come_back"] == {"keys": 2 * len(ERASED), "values": len(ERASED) + 1}
    assert plan["events"] == made["events"] < plan["resumes_at"] <= numbers
    assert plan["revokes"]["credentials"] >= 2
    done = other.answer("cell", "restore", told.backups, "--yes")
    assert done["erased_again"] == plan["would_come_back"]
    [event] = other.events("cell.restore")
    assert event["erased"] == plan["would_come_back"]
    assert event["events"] == plan["events"]
    assert done["event"] == plan["resumes_at"]
    assert event["revoked"] == plan["revokes"]
    removed = other.events("key.remove")
    assert sum(one["count"] for one in removed) == 2 * len(ERASED)
    assert other.answer("audit", "verify")["events"] > 0
    other.new_key()
    assert told.opens(other) == only(PEOPLE[4:], PEOPLE)
    assert other.reveal(EMAIL, email) == [None]
    with other.opened() as built:
        assert built.reveal(built.grant(SSN), SSN, ssn) == ["123-45-6789"]


def test_control_without_the_log_they_come_back(places: Places, tmp_path: Path) -> None:
    told = Told(tmp_path / "one", places.new(), tmp_path / "backups")
    told.tokenize(*PEOPLE)
    told.backup()
    told.erase(*ERASED)
    other = told.host.moved_to(tmp_path / "two", places.new())
    (other.folder / "keys" / "eu" / "erased.log").unlink()
    other.answer("cell", "restore", told.backups, "--yes")
    other.new_key()
    assert told.opens(other) == only(PEOPLE, PEOPLE)


def test_keys_in_pages_are_taken_out_of_them(places: Places, tmp_path: Path) -> None:
    """After a turn, whose own backup is what is restored: it was written before the turn had closed."""
    told = Told(tmp_path / "one", places.new(), tmp_path / "backups")
    told.host.settings(f'custody_backup = "{told.backups}"')
    told.tokenize(*PEOPLE)
    told.backup()
    told.host.answer("epoch", "turn", "--yes", "--drop-replays")
    custody = sorted(path.name for path in told.backups.glob("custody-*"))
    assert [name[:17] for name in custody] == ["custody-eu-000002"]  # those of the closed epoch are gone
    told.erase(*ERASED)
    assert told.opens(told.host) == only(PEOPLE[4:], PEOPLE)
    other = told.host.moved_to(tmp_path / "two", places.new())
    plan = other.answer("cell", "restore", told.backups, "--dry-run")
    assert (plan["epoch"], plan["would_come_back"]["keys"]) == (2, 2 * len(ERASED))
    other.answer("cell", "restore", told.backups, "--yes")
    other.new_key()
    assert told.opens(other) == only(PEOPLE[4:], PEOPLE)
    other.answer("worker", "--once")  # the turn's job goes on, and ends what is left of the old epoch
    epochs = other.answer("epoch", "list")
    assert [(one["epoch"], one["state"]) for one in epochs] == [(2, "active"), (1, "destroyed")]
    assert [job["state"] for job in other.answer("jobs", "list")] == ["done"]
    other.answer("epoch", "turn", "--yes", "--drop-replays")
    assert told.opens(other) == only(PEOPLE[4:], PEOPLE)


def test_the_newest_record_keeps_its_access(tmp_path: Path) -> None:
    told = Told(tmp_path / "one", "sqlite:///eu.db", tmp_path / "backups")
    told.tokenize(*PEOPLE)
    told.backup()
    other = told.host.moved_to(tmp_path / "two", "sqlite:///eu.db")
    refused = other.refusal("cell", "restore", told.backups, "--newest", "--above", "1000", "--yes")
    assert (refused["code"], refused["known"]) == ("usage", 1000)
    done = other.answer("cell", "restore", told.backups, "--newest", "--yes")
    assert done["revoked"] == {"grants": 0, "credentials": 0}
    assert told.opens(other) == only(PEOPLE, PEOPLE)
    third = told.host.moved_to(tmp_path / "three", "sqlite:///eu.db")
    assert third.answer("cell", "restore", told.backups, "--above", "9000", "--yes")["event"] == 9000
    assert third.answer("audit", "verify")["events"] < 100
    assert third.answer("doctor")


def test_no_other_gap_is_taken(tmp_path: Path) -> None:
    """Only the numbers that a restore says it skipped may be missing."""
    told = Told(tmp_path / "one", "sqlite:///eu.db", tmp_path / "backups")
    told.tokenize(*PEOPLE[:2])
    events = told.backup()["events"]
    for change, number in (
        ("DELETE FROM re_audit WHERE number = 4", 4),
        (f"DELETE FROM re_audit WHERE number = {events - 1}", events - 1),
        ("DELETE FROM re_audit WHERE number = 9000", events),
        (f"UPDATE re_audit SET number = {events + 3} WHERE number = {events - 1}", events - 1),
        ("UPDATE re_audit SET number = 9002 WHERE number = 9000", events),
    ):
        folder = tmp_path / f"broken-{number}-{change.split()[0]}"
        other = told.host.moved_to(folder, "sqlite:///eu.db")
        other.answer("cell", "restore", told.backups, "--above", "9000", "--yes")
        other.new_key()
        assert other.answer("audit", "verify")["events"] == events + 2
        with sqlite3.connect(folder / "eu.db") as connection:
            assert connection.execute(change).rowcount == 1
        broken = other.refusal("audit", "verify")
        assert (broken["code"], broken["number"]) == ("audit_broken", number), change


def test_from_one_kind_of_database_to_the_other(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kinds = {kind: Places(kind, request) for kind in ("sqlite", "postgresql")}
    for source, target in (("sqlite", "postgresql"), ("postgresql", "sqlite")):
        folder = tmp_path / source
        told = Told(folder / "one", kinds[source].new(), folder / "backups")
        told.tokenize(*PEOPLE)
        told.backup()
        told.erase(*ERASED)
        other = told.host.moved_to(folder / "two", kinds[target].new())
        other.answer("cell", "restore", told.backups, "--yes")
        other.new_key()
        assert told.opens(other) == only(PEOPLE[4:], PEOPLE)


def damaged(path: Path) -> Iterator[None]:
    """The file, spoilt in one way after the other; as it was in the end."""
    raw = path.read_bytes()
    middle = len(raw) // 2
    for spoilt in (
        raw[:-1], raw[:-200], raw[:100], b"", raw + b"\0", raw[:middle] + raw[middle + 1 :],
        raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :], raw[:60] + b"x" + raw[61:],
    ):  # fmt: skip
        path.write_bytes(spoilt)
        yield
    path.write_bytes(raw)


def test_what_is_damaged_is_refused(tmp_path: Path) -> None:
    told = Told(tmp_path / "one", "sqlite:///eu.db", tmp_path / "backups")
    told.tokenize(*PEOPLE)
    files = told.backup()["files"]
    other = told.host.moved_to(tmp_path / "two", "sqlite:///eu.db")
    for name in files.values():
        for _ in damaged(told.backups / name):
            done = other("cell", "restore", told.backups, "--yes")
            assert done.returncode == Exit.INTEGRITY, (name, done.stderr)
            assert '"backup_invalid"' in done.stderr
            assert not (other.folder / "eu.db").exists()
    other.answer("cell", "restore", told.backups, "--yes")  # as they were, they are taken


def test_what_is_foreign_closed_or_mixed_up_is_refused(tmp_path: Path) -> None:
    told = Told(tmp_path / "one", "sqlite:///eu.db", tmp_path / "backups")
    told.tokenize(*PEOPLE)
    first = told.backup()
    other = told.host.moved_to(tmp_path / "two", "sqlite:///eu.db")

    def reason(host: Hosted, folder: Path) -> str:
        refused = host.refusal("cell", "restore", folder, "--yes")
        assert refused["code"] == "backup_invalid"
        return str(refused["reason"])

    stranger = Hosted.new(tmp_path / "stranger", "sqlite:///eu.db")
    (stranger.folder / "eu.db").unlink()
    assert reason(stranger, told.backups) == "is another cell's"
    mixed = tmp_path / "mixed"
    shutil.copytree(told.backups, mixed)
    with told.host.opened():
        pass
    second = told.backup(folder=tmp_path / "later")
    shutil.copy(tmp_path / "later" / second["files"]["record"], mixed / first["files"]["record"])
    assert reason(other, mixed) == "is not of the same instant as the file of custody"
    newer = tmp_path / "newer"
    shutil.copytree(told.backups, newer)
    refused = other.refusal(
        "cell", "restore", newer, "--values", tmp_path / "later" / second["files"]["values"], "--yes"
    )
    assert refused["reason"] == "is newer than custody, which would not know its keys"
    assert other.refusal("cell", "restore", tmp_path / "two", "--yes")["code"] == "no_backup"
    us = told.backups.with_name("us")
    us.mkdir(mode=0o700)
    for name in first["files"].values():
        shutil.copy(told.backups / name, us / name.replace("-eu-", "-us-"))
    assert other.refusal("cell", "restore", us, "--yes")["code"] == "no_backup"
    told.host.answer("epoch", "turn", "--yes", "--drop-replays")
    after = told.host.moved_to(tmp_path / "after", "sqlite:///eu.db")
    assert reason(after, told.backups).startswith("is of an epoch that is closed")
    assert after.refusal("cell", "restore", told.backups, "--yes")["epoch"] == 1
    assert told.host.refusal("cell", "restore", told.backups, "--yes")["code"] == "backup_invalid"


def test_old_files_go_and_doctor_says_how_old_the_newest_are(tmp_path: Path) -> None:
    told = Told(tmp_path / "one", "sqlite:///eu.db", tmp_path / "backups")

    def found() -> tuple[str, str]:
        rows = {row["check"]: row for row in json.loads(told.host("doctor").stdout)}
        row = rows["cell eu backup"]
        return row["result"], row["detail"]

    assert found() == ("ok", "no folder is set (cell.REGION.custody_backup); a turn writes none")
    assert told.host.refusal("cell", "backup")["setting"] == "cell.eu.custody_backup"
    told.host.settings(f'custody_backup = "{told.backups}"\ncustody_backup_keep = "PT1H"')
    assert found()[0] == "risky"
    files = told.host.answer("cell", "backup")["files"]
    assert found() == ("ok", "the newest custody and record are 0 hours old")
    old = {}
    for part, name in files.items():
        stamp = name.split("-")[3]
        old[part] = name.replace(stamp, "20200101T000000.000000Z")
        (told.backups / name).rename(told.backups / old[part])
    (told.backups / (files["custody"] + ".new")).write_bytes(b"half of one")
    assert found()[0] == "risky"
    done = told.host.answer("cell", "backup")
    assert done["removed"] == 3
    left = {path.name for path in told.backups.iterdir()}
    assert left == {*done["files"].values(), old["values"]}


def test_beside_a_service(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    told = Told(folder, "sqlite:///eu.db", tmp_path / "backups")
    told.tokenize(*PEOPLE[:3])
    with running(folder) as service:
        made = told.backup()
        assert made["recorded"] is False
        assert service.get("/readyz").status == 200
    later = told.backup("--without-values")
    assert later["recorded"] is True
    other = told.host.moved_to(tmp_path / "two", "sqlite:///eu.db")
    plan = other.answer("cell", "restore", told.backups, "--dry-run")
    assert (plan["set"], plan["values_recorded"]) == (later["set"], False)
    other.answer("cell", "restore", told.backups, "--yes")
    other.new_key()
    assert told.opens(other) == only(PEOPLE[:3], PEOPLE[:3])
    assert_private(told.backups)


def assert_private(folder: Path) -> None:
    """Nobody else may read, and nothing of a person stands in the files."""
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        raw = path.read_bytes()
        assert not any(word in raw for word in (b"cust-", b"name of"))
