"""Removing data keys: gone at once, out of their pages, noted in every half-store before it is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import NAME, REGION, BuiltCell, any_cell, development_cell
from tests.support.hosted import keys_of, remove, shown
from tests.support.turns import begin, stop_at, turn, until
from vault.clock import DAY, format_time
from vault.crypto.keypack import page_ids
from vault.errors import CoatcheckError, Misconfigured, Stale
from vault.identifiers import format_id
from vault.keyring.hierarchy import open_page
from vault.kms.erased import NAME as LOG
from vault.kms.erased import ErasedLog
from vault.services import remove_keys as removing
from vault.services.finality import final_events
from vault.services.remove_keys import remove_keys, still_there
from vault.store.turning import PageRow
from vault.wiring import Wiring, as_host, perform

PEOPLE = [f"cust-{number}" for number in range(8)]
GONE, LEFT = PEOPLE[:3], PEOPLE[3:]


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def opens(built: BuiltCell, tokens: dict[str, str]) -> dict[str, bool]:
    grant = built.grant(NAME, uses=len(tokens))
    return {person: shown(built, grant, NAME, token) is not None for person, token in tokens.items()}


def tokens_of(built: BuiltCell) -> dict[str, str]:
    return {person: built.token(NAME, f"name of {person}", person) for person in PEOPLE}


def log_of(built: BuiltCell) -> ErasedLog:
    return ErasedLog(REGION, Wiring(built.config).halves(REGION).folders)


def head(built: BuiltCell) -> Any:
    return built.cell.store.read(built.cell.store.record.head)[0]


def pages(built: BuiltCell) -> list[PageRow]:
    return [PageRow(*row) for row in built.cell.store.read(built.cell.store.tables.key_pages.select())]


@pytest.mark.parametrize("paged", [False, True], ids=["single", "in pages"])
def test_what_is_removed_opens_no_more_and_the_rest_does(built: BuiltCell, paged: bool) -> None:
    tokens = tokens_of(built)
    if paged:
        turn(built)
    before, ids = head(built), keys_of(built, *GONE)
    done = remove(built, ids)
    assert done.keys == len(ids) == 2 * len(GONE)
    assert opens(built, tokens) == {person: person in LEFT for person in PEOPLE}
    assert still_there(built.cell, ids) == []
    assert set(log_of(built).read()) == set(ids)
    assert all(one.events > before[1] for one in log_of(built).read().values())
    assert head(built)[4] == before[4] + 1
    for page in pages(built):
        found = page_ids(open_page(built.cell.keyring.epoch(page.epoch), page))
        assert not set(found) & set(ids)
        assert len(found) == page.keys
    [event] = built.events(kind="key.remove")
    assert event["count"] == len(ids)
    assert not any(format_id("key", id_) in str(event) for id_ in ids)  # they are items
    assert not keys_of(built, *GONE)  # the people went with their keys
    assert len(keys_of(built, *LEFT)) == 2 * len(LEFT)
    turn(built)
    assert opens(built, tokens) == {person: person in LEFT for person in PEOPLE}


def test_a_page_without_keys_goes(built: BuiltCell) -> None:
    tokens = tokens_of(built)
    turn(built)
    remove(built, keys_of(built, *PEOPLE))
    assert pages(built) == []
    assert not any(opens(built, tokens).values())


def test_again_is_the_same(built: BuiltCell) -> None:
    tokens_of(built)
    ids = keys_of(built, *GONE)
    remove(built, ids)
    assert remove(built, ids).keys == 0
    assert len(log_of(built).read()) == len(ids)
    assert len(built.events(kind="key.remove")) == 1


def test_it_is_not_said_before_every_half_store_knows(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log cannot be written: the keys are gone, nobody is told so, and whoever asks again is."""
    tokens_of(built)
    ids = keys_of(built, *GONE)
    append = ErasedLog.append

    def full(*_: Any) -> None:
        raise Misconfigured("host_permissions")

    monkeypatch.setattr(ErasedLog, "append", full)
    with pytest.raises(Misconfigured):
        remove(built, ids)
    assert log_of(built).read() == {}
    monkeypatch.setattr(ErasedLog, "append", append)
    assert remove(built, ids).keys == 0
    assert set(log_of(built).read()) == set(ids)


def test_with_a_damaged_log_nothing_is_begun(built: BuiltCell) -> None:
    tokens = tokens_of(built)
    folder = Wiring(built.config).halves(REGION).folders[0]
    (folder / LOG).write_bytes(b"x" * 64)
    with pytest.raises(CoatcheckError, match="integrity_failed"):
        remove(built, keys_of(built, *GONE))
    assert all(opens(built, tokens).values())


def test_a_key_that_moved_into_a_page_meanwhile_is_taken_out_of_it(built: BuiltCell) -> None:
    """Control: the same command without looking where the key lies leaves it in the page."""
    tokens_of(built)
    ids = keys_of(built, *GONE)
    rows = still_there(built.cell, ids)
    prepared = removing._changes(built.cell, rows, listed=True)
    turn(built)  # now they lie in pages
    with pytest.raises(Stale):
        built.cell.committer.execute(removing.RemoveKeys(as_host().actor, "main", prepared, {}))
    assert len(still_there(built.cell, ids)) == len(ids)
    now = {row.id: row for row in still_there(built.cell, ids)}
    for change in prepared.keys:
        row = now[change["data_key"]]
        change |= {"was": row.epoch, "of_page": row.page, "single": 0}
    built.cell.committer.execute(removing.RemoveKeys(as_host().actor, "main", prepared, {}))
    left = {id_ for page in pages(built) for id_ in page_ids(open_page(built.cell.keyring.epoch(2), page))}
    assert left >= set(ids)


def test_on_a_file_nothing_is_left_of_it(tmp_path: Path) -> None:
    """Of a removed key no byte is in the database's files; before it is reported, not some time later."""
    with development_cell(tmp_path) as built:
        tokens_of(built)
        ids = keys_of(built, *GONE)
        sealed = [bytes(row.sealed) for row in still_there(built.cell, ids)]
        files = [tmp_path / "eu.db", tmp_path / "eu.db-wal"]

        def seen() -> int:
            raw = b"".join(path.read_bytes() for path in files)
            return sum(one[-32:] in raw for one in sealed)

        assert seen() == len(ids)  # control
        remove(built, ids)
        assert seen() == 0


def test_an_epochs_end_leaves_out_of_the_log_what_was_gone_before_its_flip(built: BuiltCell) -> None:
    """What is removed while both epochs are readable may be in a backup under the new one: it stays."""
    tokens_of(built)
    first, second = keys_of(built, *GONE[:2]), keys_of(built, GONE[2])
    remove(built, first)
    id_ = begin(built)
    stop_at(built, id_, "carry")
    remove(built, second)
    look(built)
    assert set(log_of(built).read()) == {*first, *second}  # the old epoch's half is still there
    assert until(built, id_).state == "done"
    look(built)
    assert set(log_of(built).read()) == set(second)
    assert turn(built).state == "done"
    look(built)
    assert log_of(built).read() == {}


def test_a_key_that_somebody_else_removed_is_noted_as_of_when_it_was_seen_to_be_gone(
    built: BuiltCell,
) -> None:
    """Asked again after a kill between the removal and the note, and after the flip: it stays."""
    tokens_of(built)
    gone = keys_of(built, GONE[0])
    id_ = begin(built)
    stop_at(built, id_, "carry")
    perform(built.cell, lambda: remove_keys(built.cell, as_host().actor, gone, note=False))
    assert log_of(built).read() == {}
    assert remove(built, gone).keys == 0
    assert until(built, id_).state == "done"
    look(built)
    assert set(log_of(built).read()) == set(gone)


def test_while_a_root_key_may_still_be_taken_back_nothing_is_left_out(built: BuiltCell) -> None:
    tokens_of(built)
    gone = keys_of(built, *GONE)
    remove(built, gone)
    turn(built)
    store, t = built.cell.store, built.cell.store.tables.turns
    now = built.cell.clock.now()
    [evidence] = [json.loads(row[4]) for row in store.read(store.work.turns)]
    assert final_events(store, now) == evidence["events_at_flip"] > 0

    def stand(**more: Any) -> int:
        with store.engine.begin() as connection:
            connection.execute(t.update().values(**more))
        return final_events(store, now)

    pending = {**evidence, "root_destroyed": {"final_at": format_time(now + DAY)}}
    assert stand(evidence=json.dumps(pending)) == 0
    assert stand(evidence=json.dumps({**pending, "root_destroyed": {"final_at": format_time(now - DAY)}})) > 0
    assert stand(evidence=json.dumps({})) == 0  # a turn of an older program
    assert stand(evidence=json.dumps(evidence), ended_at=0) == 0


def look(built: BuiltCell) -> None:
    """What each process does once a second."""
    assert built.cell.attendant is not None
    built.cell.attendant.look()
