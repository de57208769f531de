"""The turn of an epoch: what was readable stays readable; what lay under the old one opens no more."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import (
    EMAIL,
    HANDLE,
    HOST,
    NAME,
    REGION,
    SSN,
    TEXT,
    BuiltCell,
    any_cell,
    development_cell,
    put_together,
)
from tests.support.turns import begin, job, slow_pieces, stop_at, turn, until
from vault.clock import DAY, FixedClock, parse_period
from vault.crypto.keypack import pack_page, page_ids
from vault.errors import CoatcheckError, Conflict, IntegrityError, Unavailable
from vault.keyring.epoch import open_epochs
from vault.keyring.hierarchy import PAGE_KEYS, open_page, seal_page
from vault.keyring.ring import Keyring
from vault.services import processes, turning
from vault.services.audit import verify
from vault.services.backup_file import frames, read_whole, sha256_of
from vault.services.cell import Working
from vault.services.jobs import cancel_job, resume_job
from vault.services.processes import Process
from vault.services.reseal import reseal
from vault.services.turn import TurnBody, list_epochs, schedule_turn, start_turn
from vault.services.turning import KEEP
from vault.services.worker import Worker
from vault.store.cell import Store
from vault.store.custody import KeyRow
from vault.store.turning import PageRow
from vault.store.work import ProcessRow
from vault.wiring import Wiring, perform

PEOPLE = [f"person-{number}" for number in range(300)]
MAILS = [f"user{number}@example.org" for number in range(300)]
STEPS = [name for name in turning.STEPS if name != "create"]


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


class Held:
    """Values of all kinds, and their tickets."""

    def __init__(self, built: BuiltCell, people: list[str]) -> None:
        self.built = built
        self.people = people
        self.names = [f"name of {person}" for person in people]
        self.mails = MAILS[: len(people)]
        self.tokens = built.tokens(NAME, *self.names, subjects=[*people])
        self.by_mail = built.tokens(EMAIL, *self.mails, subjects=[*people])
        self.handles = built.tokens(HANDLE, *self.names[:20], subjects=[*people[:20]])
        self.text = built.ciphertext(TEXT, "a note", subject=people[0])
        self.ssn = built.token(SSN, "123-45-6789")

    def check(self) -> None:
        """Everything comes back, and equal values have the tokens that they had."""
        built = self.built
        grant = built.grant(NAME, EMAIL, HANDLE, SSN, uses=100_000, purpose="files")
        text = built.grant(TEXT)
        assert built.reveal(grant, NAME, *self.tokens, purpose="files") == self.names
        assert built.reveal(grant, EMAIL, *self.by_mail, purpose="files") == self.mails
        assert built.reveal(grant, HANDLE, *self.handles, purpose="files") == self.names[:20]
        assert built.reveal(grant, SSN, self.ssn, purpose="files") == ["123-45-6789"]
        assert built.decrypt(text, TEXT, self.text, subject=self.people[0]) == ["a note"]
        assert built.tokens(EMAIL, *self.mails, subjects=[*self.people]) == self.by_mail
        assert built.tokens(HANDLE, *self.names[:20], subjects=[*self.people[:20]]) == self.handles
        named = built.grant(NAME, subjects=[self.people[0]])
        assert built.reveal(named, NAME, self.tokens[0]) == self.names[:1]


def rows(built: BuiltCell, table: str) -> list[Any]:
    with built.cell.store.engine.connect() as connection:
        return list(connection.execute(getattr(built.cell.store.tables, table).select()))


def test_two_turns_keep_every_value_and_every_token(built: BuiltCell) -> None:
    held = Held(built, PEOPLE)
    done = turn(built)
    assert (done.state, done.error, done.done) == ("done", None, done.total)
    held.check()
    more = Held(built, [f"late-{number}" for number in range(30)])
    assert turn(built).state == "done"
    held.check()
    more.check()
    epochs = built.run(list_epochs, by=HOST).items
    assert [(row.epoch, row.state, row.writes, row.reads) for row in epochs] == [
        (3, "active", True, True), (2, "destroyed", False, False), (1, "destroyed", False, False),
    ]  # fmt: skip
    recorded = epochs[0].turn
    assert list(turning.STEPS) == sorted(recorded.steps, key=lambda step: recorded.steps[step])
    assert recorded.evidence["opened_at"] < recorded.evidence["refused_at"]
    assert recorded.evidence["refused"] == "key_unavailable"
    events = built.events(kind="epoch.turn")
    assert [event["step"] for event in events] == list(turning.STEPS) * 2
    verify(built.cell.store)


def test_keys_lie_in_pages_of_one_class_and_due_period(built: BuiltCell) -> None:
    Held(built, PEOPLE)
    turn(built)
    keys = rows(built, "data_keys")
    assert all((row.epoch, bytes(row.sealed)) == (0, b"") and row.page is not None for row in keys)
    pages = {bytes(row.id): row for row in rows(built, "key_pages")}
    assert {row.epoch for row in pages.values()} == {2}
    for row in keys:
        page = pages[bytes(row.page)]
        assert (page.tenant, page[2], page.due) == (row.tenant, row[3], row.due)
    for page in pages.values():
        opened = open_page(built.cell.keyring.epoch(2), PageRow(*page))
        assert len(page_ids(opened)) == page[6] <= PAGE_KEYS
    count = len(pages)
    built.tokens(NAME, *[f"x{number}" for number in range(5)], subjects=[f"new-{n}" for n in range(5)])
    turn(built)
    assert len(rows(built, "key_pages")) == count  # the new ones went where there was room


def test_a_key_that_is_gone_is_left_out_of_its_page(built: BuiltCell) -> None:
    held = Held(built, PEOPLE[:10])
    turn(built)
    store = built.cell.store
    gone = next(row for row in rows(built, "data_keys") if row[3] == "customer")
    with store.engine.begin() as connection:
        connection.execute(store.tables.data_keys.delete().where(store.tables.data_keys.c.id == gone.id))
    turn(built)
    for page in rows(built, "key_pages"):
        opened = open_page(built.cell.keyring.epoch(3), PageRow(*page))
        assert bytes(gone.id) not in page_ids(opened)
    built.cell.forget()
    grant = built.grant(NAME, uses=50)
    shown = [_shown(built, grant, token) for token in held.tokens]
    assert shown.count(None) == 1


def _shown(built: BuiltCell, grant: str, token: str | None) -> str | None:
    try:
        values = built.reveal(grant, NAME, token)
    except CoatcheckError:
        return None
    return values[0] if values else None


@pytest.mark.parametrize("step", STEPS)
def test_everything_works_at_every_step(tmp_path: Path, step: str) -> None:
    """Stopped there, with reads, writes and look-ups in between; then it goes on and ends."""
    with development_cell(tmp_path) as built:
        held = Held(built, PEOPLE[:20])
        id_ = begin(built)
        stop_at(built, id_, step)
        held.check()
        meanwhile = Held(built, [f"meanwhile-{number}" for number in range(10)])
        held.check()
        assert until(built, id_).state == "done"
        held.check()
        meanwhile.check()


def test_a_second_turn_is_refused_while_one_has_not_ended(built: BuiltCell) -> None:
    id_ = begin(built)
    for _ in range(2):
        with pytest.raises(Conflict, match="job_running") as refusal:
            begin(built)
        assert refusal.value.facts["job"] == id_
        built.run(cancel_job, id_, by=HOST)  # stopped, it still has its place
    assert built.run(resume_job, id_, by=HOST).state == "queued"
    assert until(built, id_).state == "done"
    assert until(built, begin(built)).state == "done"


def test_a_turn_that_is_stopped_stays_where_it_is_until_it_is_resumed(built: BuiltCell) -> None:
    held = Held(built, PEOPLE[:20])
    id_ = begin(built)
    stop_at(built, id_, "carry")
    assert built.run(cancel_job, id_, by=HOST).state == "cancelled"
    assert Worker(built.cell).run_due() == 0
    assert job(built, id_).step == "carry"
    held.check()
    built.run(resume_job, id_, by=HOST)
    assert until(built, id_).state == "done"
    held.check()
    assert [len(built.events(kind=f"job.{what}")) for what in ("create", "cancel", "resume", "end")] == [
        1
    ] * 4


def test_a_key_store_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with development_cell(tmp_path) as built:
        held = Held(built, PEOPLE[:5])
        monkeypatch.setattr("vault.services.worker.FIRST_PAUSE_S", 0.05)
        stores = built.cell.keys
        assert stores is not None

        def away() -> Any:
            raise Unavailable("key_unavailable")

        id_ = begin(built)
        for step in ("create", "prove", "root"):
            if step != "create":
                stop_at(built, id_, step)
            built.cell.keys = away
            worker = Worker(built.cell)
            worker.run_one()
            waits = job(built, id_)
            assert (waits.state, waits.step, waits.error) == ("waiting", step, "key_unavailable")
            assert waits.waits_for == "key_store"
            held.check()
            built.cell.keys = stores
            built.run(resume_job, id_, by=HOST)
        assert until(built, id_).state == "done"
        held.check()


def test_a_key_that_does_not_open_stops_the_turn_before_anything_is_destroyed(built: BuiltCell) -> None:
    held = Held(built, PEOPLE[:5])
    store = built.cell.store
    keys = store.tables.data_keys
    damaged = rows(built, "data_keys")[0]
    with store.engine.begin() as connection:
        broken = bytes(damaged.sealed)[:-1] + bytes([damaged.sealed[-1] ^ 1])
        connection.execute(keys.update().where(keys.c.id == damaged.id).values(sealed=broken))
    failed = until(built, begin(built))
    assert (failed.state, failed.step, failed.error) == ("failed", "reseal", "integrity_failed")
    with store.engine.begin() as connection:
        connection.execute(keys.update().where(keys.c.id == damaged.id).values(sealed=damaged.sealed))
    built.run(resume_job, failed.id, by=HOST)
    assert until(built, failed.id).state == "done"
    held.check()


def test_answers_kept_for_repeated_requests_are_waited_for_unless_told_otherwise(tmp_path: Path) -> None:
    clock = FixedClock(1_800_000_000_000_000)
    with development_cell(tmp_path, clock) as built:
        body = built.grant_body(NAME)
        from vault.services.grants import create_grant

        first = built.run(create_grant, body, once="again")
        id_ = begin(built, KEEP)
        waits = None
        worker = Worker(built.cell)
        for _ in range(40):
            worker.run_due()
            waits = job(built, id_)
            if waits.waits_for == "replays":
                break
            clock.advance(1_000_000)
        assert waits is not None
        assert (waits.state, waits.step, waits.waits_for) == ("waiting", "settle", "replays")
        again = built.run(create_grant, body, once="again")
        assert (again.id, again.replayed) == (first.id, True)
        clock.advance(DAY)
        for _ in range(40):
            worker.run_due()
            clock.advance(2_000_000)
        assert job(built, id_).state == "done"
        assert rows(built, "idempotency") == []


def test_dropping_them_means_that_a_repeated_request_is_done_again(built: BuiltCell) -> None:
    """What the how-to says: the control of the test above."""
    from vault.services.grants import create_grant

    body = built.grant_body(NAME)
    first = built.run(create_grant, body, once="again")
    turn(built)
    again = built.run(create_grant, body, once="again")
    assert again.id != first.id
    assert not again.replayed


def test_yesterdays_database_with_todays_keys_opens_nothing(tmp_path: Path) -> None:
    """P7: and before the close it opens everything (the control)."""
    with development_cell(tmp_path) as built:
        held = Held(built, PEOPLE)
        yesterday = tmp_path / "yesterday.db"
        with sqlite3.connect(tmp_path / "eu.db") as live, sqlite3.connect(yesterday) as copy:
            live.backup(copy)
        wiring = Wiring(built.config)

        def opens() -> int:
            """How many data keys of yesterday's database the keys of now open."""
            store = Store(f"sqlite:///{yesterday}", built.cell.clock)
            try:
                keys = wiring.provider(REGION), wiring.halves(REGION)
                ring = Keyring(REGION, open_epochs(REGION, store, *keys), store)
                every = [bytes(row[0]) for row in store.read(store.tables.data_keys.select())]
                found = store.read_keys(store.custody.data_keys, every)
                return sum(ring.data_key(KeyRow(*row)) is not None for row in found)
            except Unavailable:
                return 0
            finally:
                store.close()

        keys = len(rows(built, "data_keys"))
        assert opens() == keys >= 600
        id_ = begin(built)
        stop_at(built, id_, "prove")
        assert opens() == keys  # closed, and not yet destroyed
        assert until(built, id_).state == "done"
        assert opens() == 0
        held.check()  # the survivors, all of them
        assert [path.name for path in (tmp_path / "keys" / "eu").iterdir() if "0001" in path.name] == []


def test_yesterdays_half_store_beside_it_opens_it_again(tmp_path: Path) -> None:
    """What the threat model says: whoever kept a copy of the half and of the root keeps the values."""
    with development_cell(tmp_path) as built:
        Held(built, PEOPLE[:3])
        shutil.copytree(tmp_path, tmp_path.parent / "copy")
        turn(built)
    copy = tmp_path.parent / "copy"
    wiring = Wiring(built.config)
    store = Store(f"sqlite:///{copy / 'eu.db'}", built.cell.clock)
    for name in ("half-000001", "root-000001"):
        shutil.copy(copy / "keys" / "eu" / name, tmp_path / "keys" / "eu" / name)
    assert 1 in open_epochs(REGION, store, wiring.provider(REGION), wiring.halves(REGION))
    store.close()


def test_a_process_that_starts_while_a_closed_epoch_is_being_destroyed_starts(tmp_path: Path) -> None:
    with development_cell(tmp_path) as built:
        held = Held(built, PEOPLE[:5])
        id_ = begin(built)
        stop_at(built, id_, "root")
    config = built.config
    Wiring(config).create(REGION, built.request(HOST).host)  # type: ignore[arg-type]
    opened = Wiring(config).open(REGION)
    try:
        built.cell = opened.cell
        assert built.cell.keyring.held == (2,)
        assert until(built, id_).state == "done"
        held.built = built
        held.check()
    finally:
        opened.close()


# processes


def test_a_turn_waits_until_every_live_process_has_opened_the_new_epoch(built: BuiltCell) -> None:
    process = Process(built.cell, "serve")
    process._sole = False
    process.look()
    other = Process(built.cell, "serve")  # it shares the ring, but says what it says
    other._sole = False
    other.look()
    id_ = begin(built)
    built.cell.attendant = process
    worker = Worker(built.cell)
    worker.run_due()
    waits = job(built, id_)
    assert (waits.state, waits.step, waits.waits_for) == ("waiting", "open", "processes")
    other.look()
    end = time.monotonic() + 30
    waited = set()
    while (found := job(built, id_)).state != "done" and time.monotonic() < end:
        worker.run_due()
        waited.add((found.step, found.waits_for))
        if found.waits_for == "processes":
            other.look()
        time.sleep(0.05)
    assert job(built, id_).state == "done"
    assert ("drop", "processes") in waited  # it was asked again before the old epoch's key was destroyed


def test_a_lapsed_lease_leaves_no_key(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    token = built.token(NAME, "Ada", "c1")
    grant = built.grant(NAME)
    process = Process(built.cell, "serve")
    process.look()
    assert built.reveal(grant, NAME, token) == ["Ada"]
    built.cell.keyring.lease(0.0)
    with pytest.raises(Unavailable, match="key_unavailable"):
        built.reveal(grant, NAME, token)
    assert built.cell.keyring.held == ()
    process._renew_at = process._expires = 0.0
    process.look()
    assert built.reveal(grant, NAME, token) == ["Ada"]


def test_a_lapsed_lease_is_renewed_also_while_others_ask_for_keys(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request that finds the lease lapsed takes the keys out of the ring, those just opened too."""
    token = built.token(NAME, "Ada", "c1")
    grant = built.grant(NAME)
    process = Process(built.cell, "serve")
    process.look()
    destroy, asked = process._destroy, []

    def in_between() -> None:
        """A request between the opening of the epochs and the word of it to the others."""
        destroy()
        with pytest.raises(Unavailable, match="key_unavailable"):
            built.cell.keyring.epoch(1)
        asked.append(built.cell.keyring.held)

    monkeypatch.setattr(process, "_destroy", in_between)
    built.cell.keyring.lease(0.0)
    process._renew_at = process._expires = 0.0
    process.look()
    assert asked == [()]  # and none is in the ring that nobody answers for
    assert built.reveal(grant, NAME, token) == ["Ada"]


def test_a_turn_of_hours_outlives_its_lease_also_where_no_steward_follows(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `coatcheck epoch turn` on the host of a SQLite cell: the worker renews what it has entered."""
    held = Held(built, PEOPLE[:100])
    built.cell.working = Working(batch=64)
    passed = slow_pieces(monkeypatch)
    worker = Worker(built.cell)
    id_ = begin(built)
    states = set()
    while (found := job(built, id_)).state != "done":
        states.add((found.state, found.error))
        worker.run_one()
    assert passed[0] > 3 * processes.LEASE_S
    assert states == {("queued", None)}  # taken once, done to its end
    built.cell.attendant.keep()  # type: ignore[union-attr]
    held.check()


def test_where_nobody_renews_it_the_turn_waits_for_keys(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    Held(built, PEOPLE[:100])
    built.cell.working = Working(batch=64)
    slow_pieces(monkeypatch)
    monkeypatch.setattr(Process, "keep", lambda _self: None)
    id_ = begin(built)
    Worker(built.cell).run_one()
    waits = job(built, id_)
    assert (waits.state, waits.waits_for, waits.error) == ("waiting", "key_store", "key_unavailable")


def test_a_dead_process_is_waited_for_until_its_lease_and_a_minute_are_over() -> None:
    row = ProcessRow(b"p" * 16, "serve", 1, lease_until=100, opened=2, dropped=0, destroyed=0)
    second = 1_000_000
    assert processes.behind([row], 3, now=100) == [row]
    assert processes.behind([row], 3, now=101) == []
    assert processes.holding([row], 1, now=100 + 60 * second) == [row]
    assert processes.holding([row], 1, now=101 + 60 * second) == []
    assert processes.holding([row._replace(dropped=1)], 1, now=0) == []


# on schedule, and backups


def test_it_is_due_by_its_cryptoperiod(tmp_path: Path) -> None:
    clock = FixedClock(1_800_000_000_000_000)
    with development_cell(tmp_path, clock) as built:
        built.cell.working = Working(rotation=parse_period("P90D"))
        assert not perform(built.cell, lambda: schedule_turn(built.cell))
        clock.advance(90 * DAY)
        assert perform(built.cell, lambda: schedule_turn(built.cell))
        assert not perform(built.cell, lambda: schedule_turn(built.cell))
        made = built.events(kind="job.create")[-1]
        assert (made["actor"], made["of"]) == ("schedule", "epoch.turn")


def test_custody_is_backed_up_under_the_new_epoch_and_read_back(built: BuiltCell, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    built.cell.working = Working(custody_backup=folder)
    Held(built, PEOPLE[:20])
    assert turn(built).state == "done"
    path, record = sorted(folder.iterdir())
    assert path.stat().st_mode & 0o777 == record.stat().st_mode & 0o777 == 0o600
    evidence = built.run(list_epochs, by=HOST).items[0].turn.evidence["backup"]
    new = built.cell.keyring.epoch(2)
    for file, part in ((path, "custody"), (record, "record")):
        assert sha256_of(file) == evidence[part]["sha256"]
        assert sum(read_whole(file, new).values()) == evidence[part]["rows"]
    kept: dict[str, int] = {}
    for table, those in frames(path, new):
        kept[table] = kept.get(table, 0) + len(those)
    assert kept["data_keys"] == len(rows(built, "data_keys"))
    assert kept["subject_refs"] == len(rows(built, "subject_refs")) == 20
    raw = path.read_bytes()
    for broken in (raw[:-1], raw[:-200], raw[:40] + raw[41:], raw[:-1] + bytes([raw[-1] ^ 1])):
        path.write_bytes(broken)
        with pytest.raises(IntegrityError):
            read_whole(path, new)


def test_only_the_cells_custodian_turns(built: BuiltCell) -> None:
    with pytest.raises(CoatcheckError, match="permission_denied"):
        built.run(start_turn, TurnBody(), by=built.service)
    assert built.run(start_turn, TurnBody(), by=built.admin).state == "queued"


# compare-and-swap, and its control


@pytest.mark.parametrize("swap", [True, False], ids=["compare and swap", "control: swap"])
def test_a_key_that_was_taken_out_meanwhile_does_not_come_back(
    tmp_path: Path, swap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between preparing a page and swapping it in, a key is removed: its row, and its place in the page."""
    with development_cell(tmp_path) as built:
        Held(built, PEOPLE[:10])
        turn(built)
        store, keyring = built.cell.store, built.cell.keyring
        gone = next(row for row in rows(built, "data_keys") if row[3] == "customer")
        prepared = reseal
        removed: list[bytes] = []

        def meanwhile(cell: Any, old: Any, new: Any) -> Any:
            batch = prepared(cell, old, new)
            mine = [page for page in (batch.pages if batch else []) if page["page_id"] == bytes(gone.page)]
            if mine and not removed:
                removed.append(bytes(gone.id))
                (row,) = store.read_keys(store.turning.key_pages, [gone.page])
                page = PageRow(*row)
                left = [id_ for id_ in page_ids(open_page(old, page)) if id_ != bytes(gone.id)]
                plain = pack_page({}, open_page(old, page), left)
                page = seal_page(old, page._replace(version=page.version + 1), plain, len(left))
                t = store.tables
                with store.engine.begin() as connection:
                    connection.execute(t.data_keys.delete().where(t.data_keys.c.id == gone.id))
                    connection.execute(
                        t.key_pages.update()
                        .where(t.key_pages.c.id == page.id)
                        .values(version=page.version, keys=len(left), sealed=page.sealed)
                    )
                if not swap:
                    mine[0]["was"] = page.version  # as if nobody had looked
            return batch

        monkeypatch.setattr(turning, "reseal", meanwhile)
        id_ = begin(built)
        stop_at(built, id_, "carry")
        (row,) = store.read_keys(store.turning.key_pages, [gone.page])
        found = PageRow(*row)
        if swap:
            assert bytes(gone.id) not in page_ids(open_page(keyring.epoch(3), found))
            assert until(built, id_).state == "done"
        else:  # the version in the page's context is not the row's: even so, it would not open
            with pytest.raises(IntegrityError):
                open_page(keyring.epoch(3), found)


def test_two_workers_do_a_turn_once(tmp_path: Path) -> None:
    """Each with a ring and a committer of its own, on one PostgreSQL database; no piece is done twice."""
    with any_cell("postgresql", tmp_path) as built:
        held = Held(built, PEOPLE[:50])
        built.cell.working = Working(batch=32)
        store = Store(built.cell.store.engine.url, built.cell.clock)
        other = put_together(Wiring(built.config), store, built.cell.clock)
        other.working = built.cell.working
        id_ = begin(built)
        workers = [Worker(built.cell), Worker(other)]
        stop = threading.Event()

        def run(worker: Worker) -> None:
            while not stop.is_set():
                worker.run_due()
                worker._cell.attendant.look()  # type: ignore[union-attr]
                time.sleep(0.02)

        threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60
        while job(built, id_).state not in ("done", "failed") and time.monotonic() < end:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        try:
            done = job(built, id_)
            assert (done.state, done.error, done.done) == ("done", None, done.total)
            steps = [event["step"] for event in built.events(kind="epoch.turn")]
            assert steps == list(turning.STEPS)
            assert built.cell.keyring.held == other.keyring.held == (2,)
            held.check()
        finally:
            other.close()
