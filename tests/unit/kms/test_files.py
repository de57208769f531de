"""Key files: private, durable before anyone relies on them, and gone when they are destroyed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.unit.kms.watched import Watched
from vault.errors import Misconfigured
from vault.kms.files import destroy, is_there, make_private_folder, read_private, write_private

CONTENT = b"a key, or half of one"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(path: Path, needs: str | None = None) -> pytest.RaisesExc[Misconfigured]:
    def why(error: Misconfigured) -> bool:
        facts = {"path": str(path)} if needs is None else {"path": str(path), "needs": needs}
        return error.code == "host_permissions" and error.facts == facts

    return pytest.raises(Misconfigured, check=why)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = tmp_path / "keys" / "eu"
        make_private_folder(folder)
        write_private(folder / "half", CONTENT)
    finally:
        os.umask(before)
    assert (mode(folder), mode(folder.parent), mode(folder / "half")) == (0o700, 0o700, 0o600)
    assert read_private(folder / "half") == CONTENT
    make_private_folder(folder)
    assert [entry.name for entry in folder.iterdir()] == ["half"]


@pytest.mark.parametrize("wide", [0o710, 0o701, 0o755, 0o770, 0o777])
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, wide: int) -> None:
    tmp_path.chmod(wide)
    with refused(tmp_path, "0700"):
        make_private_folder(tmp_path)


@pytest.mark.parametrize("wide", [0o640, 0o604, 0o644, 0o660, 0o602, 0o610, 0o601])
def test_a_file_that_others_may_read_write_or_run_is_refused(tmp_path: Path, wide: int) -> None:
    path = tmp_path / "half"
    write_private(path, CONTENT)
    path.chmod(wide)
    with refused(path, "0600"):
        read_private(path)


def test_what_is_no_folder_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "keys"):
        with refused(folder):
            make_private_folder(folder)
    with refused(tmp_path / "nothing"):
        read_private(tmp_path / "nothing")
    with refused(tmp_path / "nothing" / "half"):
        write_private(tmp_path / "nothing" / "half", CONTENT)


def test_a_place_that_we_may_not_look_at_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exists(_: Path) -> bool:
        raise PermissionError

    assert not is_there(tmp_path / "half")
    monkeypatch.setattr(Path, "exists", exists)
    with refused(tmp_path / "half"):
        is_there(tmp_path / "half")


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "half"
    write_private(path, CONTENT)
    with refused(path):
        write_private(path, b"another")
    assert read_private(path) == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["half"]


def test_a_link_laid_in_the_way_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "half.new").symlink_to(elsewhere)
    with refused(tmp_path / "half"):
        write_private(tmp_path / "half", CONTENT)
    assert not elsewhere.exists()


def test_the_file_is_durable_before_its_name_and_folders_before_their_files(
    tmp_path: Path, watched: Watched
) -> None:
    folder = tmp_path / "keys" / "eu"
    make_private_folder(folder)
    write_private(folder / "half", CONTENT)
    assert watched.calls == [
        f"sync {tmp_path}",  # the entry `keys`
        f"sync {tmp_path / 'keys'}",  # the entry `eu`
        f"sync {folder / 'half.new'}",
        f"link {folder / 'half'}",
        f"unlink {folder / 'half.new'}",
        f"sync {folder}",
    ]


def test_nothing_is_synced_for_folders_that_were_there(tmp_path: Path, watched: Watched) -> None:
    make_private_folder(tmp_path)
    assert watched.calls == []


def test_killed_at_any_step_a_file_is_whole_or_not_there(tmp_path: Path, watched: Watched) -> None:
    for step in range(4):
        path = tmp_path / f"half-{step}"
        watched.kill_after(step)
        with pytest.raises(KeyboardInterrupt):
            write_private(path, CONTENT)
        watched.let_live()
        assert path.exists() == (step >= 2)
        if not path.exists():
            write_private(path, CONTENT)
        assert read_private(path) == CONTENT
        destroy(path)
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_does_not_read_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _: CONTENT[:-1])
    with refused(tmp_path / "half"):
        write_private(tmp_path / "half", CONTENT)


def test_what_is_destroyed_was_overwritten_first(tmp_path: Path, watched: Watched) -> None:
    path, witness = tmp_path / "half", tmp_path / "witness"
    write_private(path, CONTENT)
    os.link(path, witness)  # a second name for the same blocks
    watched.calls.clear()
    destroy(path)
    assert watched.calls == [f"sync {path}", f"unlink {path}", f"sync {tmp_path}"]
    assert not path.exists()
    assert len(witness.read_bytes()) == len(CONTENT)
    assert witness.read_bytes() != CONTENT
    destroy(path)  # twice is no error


def test_what_a_killed_attempt_left_is_destroyed_too(tmp_path: Path, watched: Watched) -> None:
    """It may hold a half that another half-store got whole."""
    path, witness = tmp_path / "half", tmp_path / "witness"
    watched.kill_after(1)
    with pytest.raises(KeyboardInterrupt):
        write_private(path, CONTENT)
    watched.let_live()
    os.link(tmp_path / "half.new", witness)
    assert witness.read_bytes() == CONTENT
    destroy(path)
    assert witness.read_bytes() != CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["witness"]


def test_what_cannot_be_destroyed_says_so(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    with refused(tmp_path / "half"):
        destroy(tmp_path / "half")
