"""One process a SQLite cell."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vault.errors import Conflict, Misconfigured
from vault.store.lock import CellLock

HOLD = """
import sys
from pathlib import Path
from vault.store.lock import CellLock
CellLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_told_the_first_one_s_pid(tmp_path: Path) -> None:
    first, second = CellLock(tmp_path / "eu.db"), CellLock(tmp_path / "eu.db")
    first.acquire()
    with pytest.raises(Conflict) as refusal:
        second.acquire()
    assert (refusal.value.code, refusal.value.facts) == ("cell_locked", {"pid": os.getpid()})
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_another_process_holds_it_until_it_dies(tmp_path: Path) -> None:
    database = tmp_path / "eu.db"
    command = [sys.executable, "-c", HOLD, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Conflict) as refusal:
            CellLock(database).acquire()
        assert refusal.value.facts == {"pid": holder.pid}
        holder.kill()
        holder.wait()
        lock = CellLock(database)
        lock.acquire()
        assert lock.path.read_text() == str(os.getpid())
        lock.release()


def test_a_shorter_pid_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    lock = CellLock(tmp_path / "eu.db")
    lock.path.write_text("99999999999999")
    lock.acquire()
    assert lock.path.read_text() == str(os.getpid())
    lock.release()


def test_a_holder_that_left_no_pid_is_said_as_zero(tmp_path: Path) -> None:
    first = CellLock(tmp_path / "eu.db")
    first.acquire()
    first.path.write_text("not a pid")
    with pytest.raises(Conflict) as refusal:
        CellLock(tmp_path / "eu.db").acquire()
    assert refusal.value.facts == {"pid": 0}
    first.release()


def test_the_lock_is_a_file_of_its_own_that_others_cannot_read(tmp_path: Path) -> None:
    lock = CellLock(tmp_path / "eu.db")
    lock.acquire()
    assert lock.path == tmp_path / "eu.db.lock"
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
    lock.release()
    assert lock.path.exists()  # removing it would let two processes lock two different files


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="host_permissions"):
        CellLock(tmp_path / "no" / "eu.db").acquire()
