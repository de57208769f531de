"""`erased.log`: durable in every half-store before anybody is told, whole or refused."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.unit.kms.watched import Watched
from vault.errors import IntegrityError, Misconfigured
from vault.kms.erased import NAME, Erased, ErasedLog

KEYS = [bytes([number]) * 16 for number in range(1, 6)]
ENTRIES = [Erased(key, 10 * number, 1_000 + number) for number, key in enumerate(KEYS)]
HEAD, ENTRY = 40, 64


def log(folder: Path, region: str = "eu") -> ErasedLog:
    return ErasedLog(region, [folder / "one", folder / "two"])


def both(folder: Path) -> list[bytes]:
    return [(folder / name / NAME).read_bytes() for name in ("one", "two")]


def test_it_holds_what_was_appended_in_every_half_store(tmp_path: Path) -> None:
    assert log(tmp_path).read() == {}
    log(tmp_path).append(ENTRIES[:2])
    log(tmp_path).append(ENTRIES[1:])
    assert list(log(tmp_path).read().values()) == ENTRIES
    one, two = both(tmp_path)
    assert one == two
    assert len(one) == HEAD + len(ENTRIES) * ENTRY
    assert (tmp_path / "one" / NAME).stat().st_mode & 0o777 == 0o600


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    log(tmp_path).append([])
    assert not (tmp_path / "one" / NAME).exists()


def test_any_half_store_is_enough_and_one_that_was_added_is_brought_up(tmp_path: Path) -> None:
    log(tmp_path).append(ENTRIES[:3])
    (tmp_path / "two" / NAME).unlink()
    ErasedLog("eu", [tmp_path / "one"]).append(ENTRIES[3:])
    assert list(log(tmp_path).read().values()) == ENTRIES
    log(tmp_path).heal()
    one, two = both(tmp_path)
    assert one == two


def test_synced_in_each_folder_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(tmp_path).append(ENTRIES[:1])
    watched = Watched(monkeypatch, tmp_path)
    log(tmp_path).append(ENTRIES[1:])
    assert watched.calls == [
        f"sync {tmp_path / name}" for name in ("one/erased.log", "one", "two/erased.log", "two")
    ]


@pytest.mark.parametrize("steps", range(5))
def test_killed_at_any_step_it_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    log(tmp_path).append(ENTRIES[:1])
    watched = Watched(monkeypatch, tmp_path)
    watched.kill_after(steps)
    try:
        log(tmp_path).append(ENTRIES[1:])
    except KeyboardInterrupt:
        assert steps < 4
    watched.let_live()
    log(tmp_path).append(ENTRIES[1:])
    assert list(log(tmp_path).read().values()) == ENTRIES
    one, two = both(tmp_path)
    assert one == two


def test_what_was_cut_off_was_never_reported_and_is_written_over(tmp_path: Path) -> None:
    log(tmp_path).append(ENTRIES[:3])
    path = tmp_path / "one" / NAME
    whole = path.read_bytes()
    (tmp_path / "two" / NAME).unlink()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        kept = max(0, (end - HEAD) // ENTRY)
        assert list(log(tmp_path).read().values()) == ENTRIES[:kept]
    path.write_bytes(whole[:-5])
    ErasedLog("eu", [tmp_path / "one"]).append(ENTRIES[2:])
    assert list(log(tmp_path).read().values()) == ENTRIES
    path.write_bytes(whole + bytes(2 * ENTRY))  # room that was made, and never written
    assert list(log(tmp_path).read().values()) == ENTRIES[:3]
    ErasedLog("eu", [tmp_path / "one"]).append(ENTRIES[3:])
    assert list(log(tmp_path).read().values()) == ENTRIES


def test_every_altered_byte_is_found(tmp_path: Path) -> None:
    log(tmp_path).append(ENTRIES[:3])
    path = tmp_path / "one" / NAME
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        with pytest.raises(IntegrityError, match="integrity_failed"):
            log(tmp_path).read()
        with pytest.raises(IntegrityError):
            log(tmp_path).append(ENTRIES[3:])


def test_another_regions_log_is_refused(tmp_path: Path) -> None:
    log(tmp_path).append(ENTRIES)
    with pytest.raises(IntegrityError):
        log(tmp_path, "us").read()


def test_a_half_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir(mode=0o700)
    (tmp_path / "two" / NAME).mkdir()
    with pytest.raises(Misconfigured, match="host_permissions"):
        log(tmp_path).append(ENTRIES)


def test_what_is_final_is_left_out_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    log(tmp_path).append(ENTRIES)
    before = both(tmp_path)
    assert log(tmp_path).compact(-1) == 0
    assert both(tmp_path) == before  # nothing is written for nothing
    assert log(tmp_path).compact(25) == 3
    assert list(log(tmp_path).read().values()) == ENTRIES[3:]
    one, two = both(tmp_path)
    assert one == two
    assert len(one) == HEAD + 2 * ENTRY
    assert (tmp_path / "one" / NAME).stat().st_mode & 0o777 == 0o600
    log(tmp_path).append(ENTRIES[:1])  # and it goes on
    assert list(log(tmp_path).read().values()) == [*ENTRIES[3:], ENTRIES[0]]
    log(tmp_path).compact(50)
    assert log(tmp_path).read() == {}
    assert both(tmp_path) == [one[:HEAD]] * 2


def test_without_a_log_there_is_nothing_to_leave_out(tmp_path: Path) -> None:
    assert log(tmp_path).compact(10) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_log_is_not_replaced(tmp_path: Path) -> None:
    log(tmp_path).append(ENTRIES)
    path = tmp_path / "one" / NAME
    raw = bytearray(path.read_bytes())
    raw[HEAD] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError):
        log(tmp_path).compact(25)
    assert path.read_bytes() == raw


def test_what_was_cut_off_is_left_out_too(tmp_path: Path) -> None:
    log(tmp_path).append(ENTRIES[:3])
    for name in ("one", "two"):
        path = tmp_path / name / NAME
        path.write_bytes(path.read_bytes()[:-1])
    log(tmp_path).compact(5)
    assert list(log(tmp_path).read().values()) == ENTRIES[1:2]


@pytest.mark.parametrize("steps", range(8))
def test_killed_at_any_step_of_leaving_out_each_log_is_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    log(tmp_path).append(ENTRIES)
    old = both(tmp_path)[0]
    watched = Watched(monkeypatch, tmp_path)
    watched.kill_after(steps)
    with pytest.raises(KeyboardInterrupt):
        log(tmp_path).compact(25)
    watched.let_live()
    after = both(tmp_path)
    log(tmp_path).compact(25)
    new = both(tmp_path)[0]
    assert both(tmp_path) == [new, new]
    assert all(raw in (old, new) for raw in after)
    assert after[1] == old or after[0] == new  # one half-store after the other
    assert list(log(tmp_path).read().values()) == ENTRIES[3:]
    assert [path.name for path in (tmp_path / "one").iterdir()] == [NAME]


def test_it_is_synced_before_it_takes_the_old_one_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(tmp_path).append(ENTRIES)
    watched = Watched(monkeypatch, tmp_path)
    log(tmp_path).compact(25)
    one, new = tmp_path / "one" / NAME, tmp_path / "one" / f"{NAME}.new"
    assert watched.calls[:4] == [f"sync {new}", f"sync {one.parent}", f"replace {one}", f"sync {one.parent}"]


def test_many_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    kept = [Erased(bytes([0, number]) * 8, 1_000, 0) for number in range(40)]
    gone = [Erased(bytes([1, number]) * 8, 1, 0) for number in range(40)]
    log(tmp_path).append([])

    def run(number: int) -> None:
        mine = log(tmp_path)
        for entry in (*kept[number::4], *gone[number::4]):
            mine.append([entry])
            if number == 0:
                mine.compact(1)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log(tmp_path).compact(1)
    assert set(log(tmp_path).read()) == {entry.key for entry in kept}
