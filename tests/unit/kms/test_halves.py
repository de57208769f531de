"""Half-stores: drawn once, durable everywhere, healed when missing, never guessed when they disagree."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.kms.watched import Watched
from vault.errors import IntegrityError, Misconfigured, Unavailable
from vault.kms.halves import HalfStores

SIZE = 8 + 4 + 32 + 32 + 32


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [tmp_path / name for name in ("one", "two", "three")]


def stores(folders: list[Path], region: str = "eu") -> HalfStores:
    return HalfStores(region, folders)


def file(folder: Path, epoch: int = 1) -> Path:
    return folder / f"half-{epoch:06d}"


def rewrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def unavailable(halves: HalfStores, epoch: int = 1) -> None:
    with pytest.raises(Unavailable) as refusal:
        halves.read(epoch)
    assert (refusal.value.code, refusal.value.facts) == ("key_unavailable", {"epoch": epoch})


def test_a_half_lies_whole_in_every_store(folders: list[Path]) -> None:
    half = stores(folders).create(1)
    assert len(half) == 32
    assert half.matches(stores(folders).read(1))
    assert len({file(folder).read_bytes() for folder in folders}) == 1
    for folder in folders:
        assert half.matches(stores([folder]).read(1))
        assert file(folder).stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
    assert stores(folders).missing(1) == ()


def test_the_bytes_are_the_published_ones(folders: list[Path]) -> None:
    half = stores(folders).create(7)
    head = b"CKHALF1\n" + bytes((0, 0, 0, 7)) + hashlib.sha256(b"eu").digest()
    body = head + half.expose()
    assert file(folders[0], 7).read_bytes() == body + hashlib.sha256(body).digest()
    assert len(body) + 32 == SIZE


def test_halves_are_drawn_once_an_epoch(folders: list[Path]) -> None:
    halves = stores(folders)
    first, second = halves.create(1), halves.create(2)
    assert not first.matches(second)
    assert halves.create(1).matches(first)
    assert stores(folders).create(2).matches(second)


@pytest.mark.parametrize("lost", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_a_lost_copy_is_read_around_reported_and_healed(folders: list[Path], lost: tuple[int, ...]) -> None:
    halves = stores(folders)
    half = halves.create(1)
    for index in lost:
        file(folders[index]).unlink()
    assert halves.read(1).matches(half)
    assert halves.missing(1) == tuple(folders[index] for index in lost)
    assert halves.create(1).matches(half)
    assert halves.missing(1) == ()
    assert len({file(folder).read_bytes() for folder in folders}) == 1


def test_a_store_added_later_gets_the_half(folders: list[Path]) -> None:
    half = stores(folders[:1]).create(1)
    assert stores(folders).missing(1) == tuple(folders[1:])
    assert stores(folders).create(1).matches(half)
    assert stores(folders[2:]).read(1).matches(half)


@pytest.mark.parametrize("size", [0, 1, 8, 44, 76, SIZE - 1])
def test_a_torn_copy_is_read_around_and_reported(folders: list[Path], size: int) -> None:
    halves = stores(folders)
    half = halves.create(1)
    rewrite(file(folders[0]), file(folders[0]).read_bytes()[:size])
    assert halves.read(1).matches(half)
    assert halves.missing(1) == (folders[0],)
    assert halves.create(1).matches(half)  # and never drawn again


def test_when_no_copy_is_whole_nothing_is_drawn(folders: list[Path]) -> None:
    halves = stores(folders)
    halves.create(1)
    for folder in folders:
        rewrite(file(folder), file(folder).read_bytes()[:-1])
    unavailable(halves)
    with pytest.raises(Unavailable, match="key_unavailable"):
        halves.create(1)
    for folder in folders:
        file(folder).unlink()
    unavailable(halves)
    unavailable(stores([]))


def test_copies_that_disagree_are_an_alarm(folders: list[Path]) -> None:
    halves = stores(folders)
    half = halves.create(1)
    file(folders[1]).unlink()
    other = stores(folders[1:2]).create(1)
    assert not other.matches(half)
    for use in (halves.read, halves.create):
        with pytest.raises(IntegrityError) as refusal:
            use(1)
        assert (refusal.value.code, refusal.value.facts) == ("integrity_failed", {"epoch": 1})


def test_a_half_of_another_region_or_epoch_is_none(folders: list[Path]) -> None:
    halves = stores(folders[:1])
    halves.create(1)
    unavailable(stores(folders[:1], region="us"))
    file(folders[0]).rename(file(folders[0], 2))
    unavailable(halves, 2)


def test_a_copy_that_others_may_read_is_not_used(folders: list[Path]) -> None:
    halves = stores(folders[:2])
    half = halves.create(1)
    file(folders[0]).chmod(0o644)
    assert halves.read(1).matches(half)
    assert halves.missing(1) == (folders[0],)
    file(folders[1]).chmod(0o640)
    unavailable(halves)


def test_a_store_that_others_may_enter_gets_no_half(folders: list[Path]) -> None:
    folders[1].mkdir()
    folders[1].chmod(0o755)
    with pytest.raises(Misconfigured, match="host_permissions"):
        stores(folders).create(1)
    assert not file(folders[1]).exists()


def test_each_copy_is_durable_before_the_next_is_begun(folders: list[Path], watched: Watched) -> None:
    stores(folders).create(1)
    expected = []
    for folder in folders:
        expected += [f"sync {folder.parent}", f"sync {file(folder)}.new", f"link {file(folder)}"]
        expected += [f"unlink {file(folder)}.new", f"sync {folder}"]
    assert watched.calls == expected


def test_killed_at_any_step_the_next_attempt_ends_with_one_half_everywhere(
    tmp_path: Path, watched: Watched
) -> None:
    for step in range(15):  # five steps a store: its folder, file, name, the old name, the entry
        folders = [tmp_path / f"{step}-{name}" for name in range(3)]
        halves = stores(folders)
        watched.kill_after(step)
        with pytest.raises(KeyboardInterrupt):
            halves.create(1)
        watched.let_live()
        named = [folder for folder in folders if file(folder).exists()]
        seen = halves.read(1) if named else None
        half = halves.create(1)
        assert seen is None or half.matches(seen)  # a half that had a name is never drawn again
        assert halves.missing(1) == ()
        assert len({file(folder).read_bytes() for folder in folders}) == 1


def test_destroyed_halves_are_gone_from_every_store(folders: list[Path], watched: Watched) -> None:
    halves = stores(folders)
    halves.create(1)
    kept = halves.create(2)
    file(folders[2]).unlink()  # a store that lacks it is no hindrance
    watched.calls.clear()
    halves.destroy(1)
    assert watched.calls == [
        f"{what} {path}"
        for folder in folders[:2]
        for what, path in (("sync", file(folder)), ("unlink", file(folder)), ("sync", folder))
    ]
    unavailable(halves)
    assert halves.missing(1) == tuple(folders)
    assert halves.read(2).matches(kept)
