"""`erased.log`: durable in every half-store before anybody is told, whole or refused."""

from __future__ import annotations

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
