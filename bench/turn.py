"""The turn of an epoch: `python -m bench turn`.

Two things. How long the flip takes while six writers are busy, on SQLite and on PostgreSQL: ten turns of a
small cell. And a turn over many data keys in pages, with a reference each, against the plain time of the
database for the same pages and rows in transactions of the same size; and its key part (opening a page,
looking at what is in it, sealing it again) against unwrapping and rewrapping each key with AES-KW (RFC 3394).
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from sqlalchemy import insert, select

from bench.target import SMALL, Target, report
from tests.support.cells import NAME, BuiltCell, any_cell, development_cell
from tests.support.turns import begin, stop_at, turn, until
from vault.crypto.keypack import pack, pack_page, page_ids
from vault.errors import CoatcheckError
from vault.identifiers import uuid7s
from vault.keyring.hierarchy import PAGE_KEYS, open_page, seal_page, slot_owner
from vault.secret import Secret
from vault.services.cell import Working
from vault.services.turn_pieces import Flip
from vault.store.custody import Slot
from vault.store.turning import PageRow

KEYS = (
    25_600 if SMALL else int(os.environ.get("BENCH_KEYS", "256000"))
)  # BENCH_KEYS=1000000 for the whole of it
WRITERS = 6
FLIPS = 3 if SMALL else 10
BATCH = 4_096
TARGETS = {
    "flip": Target("turn_slowest_flip_vs_100ms", 1.0, at_most=True),
    "database": Target("turn_vs_plain_database", 1.5, at_most=True),
    "keys": Target("turn_keys_vs_aes_kw", 1.0, at_most=True),
}


def flips(kind: str) -> list[float]:
    """Seconds of each flip, from handing its command over to its commit, under six busy writers."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as folder, any_cell(kind, Path(folder)) as built:
        stop = threading.Event()

        def write(number: int) -> None:
            count = 0
            while not stop.is_set():
                count += 1
                try:
                    built.token(NAME, f"value {count}", f"writer-{number}")
                except CoatcheckError as refusal:
                    if refusal.code != "too_busy":
                        raise

        writers = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(WRITERS)]
        for thread in writers:
            thread.start()
        execute = built.cell.committer.execute

        def timed(command: Any) -> Any:
            began = time.perf_counter()
            outcome = execute(command)
            if isinstance(command, Flip):
                found.append(time.perf_counter() - began)
            return outcome

        built.cell.committer.execute = timed  # type: ignore[method-assign]
        for _ in range(FLIPS):
            turn(built)
        stop.set()
        for thread in writers:
            thread.join()
    return found


def fill(built: BuiltCell, keys: int, number: int = 1) -> None:
    """Data keys in full pages, and a reference each, written past the ledger: as after an earlier turn."""
    store, epoch = built.cell.store, built.cell.keyring.epoch(number)
    t = store.tables
    with store.engine.begin() as connection:
        period = {"tenant": "main", "class": "bench", "due": "2031-01", "state": "active"}
        if connection.execute(select(t.due_periods).filter_by(**period)).first() is None:
            connection.execute(insert(t.due_periods), period)
        for _ in range(0, keys, PAGE_KEYS):
            ids = uuid7s(PAGE_KEYS)
            page = PageRow(uuid7s(1)[0], "main", "bench", "2031-01", 1, number, 0, b"")
            slots = {id_: Slot("main", id_, "bench", "2031-01") for id_ in ids}
            packed = {id_: pack(Secret(os.urandom(32)), slot_owner(slot)) for id_, slot in slots.items()}
            sealed = seal_page(epoch, page, pack_page(packed), PAGE_KEYS)
            connection.execute(
                insert(t.key_pages).values(dict(zip(t.key_pages.c.keys(), sealed, strict=True)))
            )
            rows = [
                {
                    "id": id_, "tenant": "main", "subject": id_, "class": "bench", "due": "2031-01",
                    "state": "active", "epoch": 0, "sealed": b"", "created_at": 1, "page": page.id,
                }
                for id_ in ids
            ]  # fmt: skip
            connection.execute(insert(t.data_keys), rows)
            people = [
                {"id": id_, "tenant": "main", "key": id_, "sealed": b"s", "created_at": 1} for id_ in ids
            ]
            connection.execute(insert(t.subjects), people)
            refs = [{"epoch": number, "ref": os.urandom(16), "subject": id_} for id_ in ids]
            connection.execute(insert(t.subject_refs), refs)


def plain(path: Path, batch: int) -> float:
    """Seconds of the database alone: the same pages rewritten, the same rows written and removed again."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON",
                       "cache_size = -65536", "wal_autocheckpoint = 4000"):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")
        pages = connection.execute("SELECT id, length(sealed) FROM cu_key_pages").fetchall()
        refs = connection.execute("SELECT ref, subject FROM cu_subject_refs WHERE epoch = 1 ORDER BY ref")
        rows = [(os.urandom(16), subject) for _, subject in refs.fetchall()]
        new = [(os.urandom(size), id_) for id_, size in pages]
        began = time.perf_counter()
        for start in range(0, len(new), batch // PAGE_KEYS):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE cu_key_pages SET sealed = ?, epoch = 2, version = version + 1 WHERE id = ?",
                new[start : start + batch // PAGE_KEYS],
            )
            connection.execute("COMMIT")
        for start in range(0, len(rows), batch):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO cu_subject_refs (epoch, ref, subject) VALUES (2, ?, ?)",
                rows[start : start + batch],
            )
            connection.execute("COMMIT")
        left = len(rows)
        while left > 0:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "DELETE FROM cu_subject_refs WHERE (epoch, ref) IN "
                "(SELECT epoch, ref FROM cu_subject_refs WHERE epoch = 1 LIMIT 2000)"
            )
            connection.execute("COMMIT")
            left -= 2000
        return time.perf_counter() - began


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def key_part(built: BuiltCell) -> tuple[float, float]:
    """Seconds a key: of ours, over pages as they lie; of AES-KW, key by key."""
    epoch = built.cell.keyring.epoch(built.cell.keyring.write_epoch)
    rows = built.cell.store.read(built.cell.store.turning.pages_under, {"epoch": epoch.number, "most": 100})
    pages = [PageRow(*row[:8]) for row in rows]

    def ours() -> None:
        for page in pages:
            opened = open_page(epoch, page)
            ids = page_ids(opened)
            seal_page(epoch, page, pack_page({}, opened, frozenset(ids)), len(ids))

    old, new = os.urandom(32), os.urandom(32)
    wrapped = [aes_key_wrap(old, os.urandom(32)) for _ in range(2_000)]

    def theirs() -> None:
        for one in wrapped:
            aes_key_wrap(new, aes_key_unwrap(old, one))

    keys = sum(page.keys for page in pages)
    return min(timed(ours) for _ in range(5)) / keys, min(timed(theirs) for _ in range(5)) / len(wrapped)


def main() -> bool:
    """Runs all three."""
    results: list[tuple[Target, float]] = []
    for kind in ("sqlite", "postgresql"):
        found = flips(kind)
        shown = ", ".join(f"{1000 * one:.1f}" for one in sorted(found))
        print(f"flip under {WRITERS} writers, {kind}: ms {shown}")
        target = TARGETS["flip"]._replace(name=f"turn_slowest_flip_{kind}_vs_100ms")
        results.append((target, max(found) / 0.1))
    with tempfile.TemporaryDirectory() as name, development_cell(Path(name)) as built:
        fill(built, KEYS)
        copy = Path(name) / "plain.db"
        with closing(sqlite3.connect(Path(name) / "eu.db")) as live, closing(sqlite3.connect(copy)) as other:
            live.backup(other)
        built.cell.working = Working(batch=BATCH)
        id_ = begin(built)
        stop_at(built, id_, "reseal")
        resealing = timed(lambda: stop_at(built, id_, "carry"))
        carrying = timed(lambda: stop_at(built, id_, "count"))
        counting = timed(lambda: stop_at(built, id_, "sweep"))
        sweeping = timed(lambda: stop_at(built, id_, "prove"))
        ours = resealing + carrying + sweeping
        database = plain(copy, BATCH)
        assert until(built, id_).state == "done"
        print(
            f"turn over {KEYS:,} keys: {ours:.2f} s (reseal {resealing:.2f}, carry {carrying:.2f}, "
            f"sweep {sweeping:.2f}), and {counting:.2f} s to count, close and drop"
        )
        print(f"plain database, same pages and rows: {database:.2f} s")
        results.append((TARGETS["database"], ours / database))
        mine, theirs = key_part(built)
        print(f"key part: {1e6 * mine:.2f} us a key; AES-KW unwrap and rewrap: {1e6 * theirs:.2f} us a key")
        results.append((TARGETS["keys"], mine / theirs))
    return report(results)


if __name__ == "__main__":
    main()
