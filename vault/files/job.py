"""A file's columns turned into tokens, or back: block by block, with a checkpoint after each.

The output grows beside its place and is moved there when it is whole. A checkpoint tells how far input and
output agree; it is written after both are on disk, so that a job that was killed goes on behind the last
block that is certain, and ends with the same bytes. Each block is asked for under a key of its own, so that
what was asked twice was done once.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from vault.errors import BadInput, CoatcheckError, Conflict, Fact, Misconfigured
from vault.files.delimited import Delimited
from vault.files.forms import BLOCK, Change, Form, Part, Places
from vault.files.jsonlines import JsonLines
from vault.files.parquet import ROWS, Parquet
from vault.files.plan import (
    JSON_LINES,
    PARQUET,
    REJECTS_HEAD,
    REKEY,
    Plan,
    Refusal,
    Refused,
    Result,
    Rewrites,
    Transform,
)

PART: Final = ".coatcheck-part"
CHECKPOINT: Final = ".coatcheck-job"
HEAD: Final = 64 * 1024  # bytes at either end of the input that are looked at to know it again
THREADS: Final = 2  # that rewrite parts
AHEAD: Final = 1  # parts that are under way while one is written
PAUSE_S: Final = 1.0  # between two checkpoints: each waits for the disk
MAX_TOLD: Final = 100  # refused values that an error tells of


class Checkpoint(msgspec.Struct, forbid_unknown_fields=True):
    """How far a job is.

    Attributes:
        job: drawn at random; the keys of its requests begin with it.
        plan: SHA-256 of what was asked for, and of which input.
        read: how much of the input is done, in what its form counts.
        written, told: bytes of the output and of the rejects.
        row: of the next record.
    """

    job: str
    plan: str
    read: int
    written: int
    told: int
    row: int
    rejected: int = 0
    codes: dict[str, int] = {}


def run(
    plan: Plan, transform: Transform, progress: Callable[[int, int], None], block: int | None = None
) -> Result:
    """Does a job, or goes on with one that was killed.

    Args:
        progress: told (how much of the input is done, of how much): bytes, or rows of Parquet.

    Raises:
        BadInput: `file_malformed`; `usage`: there is no such column; `Refused`.
        Conflict: `job_differs`: another job to the same output was begun and did not end.
        Misconfigured: `host_permissions`: a file that cannot be read or written.
    """
    try:
        with plan.source.open("rb") as source:
            return _Job(plan, transform, source, block).run(progress)
    except OSError as problem:
        raise Misconfigured("host_permissions", path=str(problem.filename or plan.target)) from None


class _Job:
    def __init__(self, plan: Plan, transform: Transform, source: BinaryIO, block: int | None) -> None:
        self._plan = plan
        self._transform = transform
        self._source = source
        self._block = block
        self._added = plan.added
        self._form = opened(plan, source, block)
        self._part = plan.target.with_name(plan.target.name + PART)
        self._kept = plan.target.with_name(plan.target.name + CHECKPOINT)
        self._digest = self._identity()

    def run(self, progress: Callable[[int, int], None]) -> Result:
        state = self._begun()
        resumed = state is not None
        if state is None:
            state = self._begin()
        if resumed and not self._part.exists():
            return self._end(state, resumed=True)
        try:
            self._go_on(state, progress)
        except CoatcheckError as problem:
            # What cannot be gone on with leaves nothing behind; an outage does, so that it can be.
            if problem.code == "file_malformed" or state.row == 1:
                self._give_up()
            raise
        self._part.replace(self._plan.target)
        _sync_folder(self._plan.target.parent)
        return self._end(state, resumed=resumed)

    def _go_on(self, state: Checkpoint, progress: Callable[[int, int], None]) -> None:
        """All blocks from the checkpoint on."""
        with self._part.open("r+b") as out, self._rejects(state) as told:
            out.truncate(state.written)
            out.seek(state.written)
            kept = time.monotonic()
            try:
                for part, places in self._ahead(self._form.parts(state.read, state.row)):
                    refusals: list[Refusal] = []
                    if places is not None:
                        places.write(out)
                    else:
                        change, refusals = self._turn(part, state)
                        part.write(out, change)
                    if told is not None:
                        told.write(b"".join(refusal.line() for refusal in refusals))
                    self._count(state, part, refusals)
                    progress(state.read, self._form.size)
                    if time.monotonic() - kept >= PAUSE_S:
                        self._keep(state, out, told)
                        kept = time.monotonic()
            except CoatcheckError:
                self._keep(state, out, told)  # what is done need not be done, or paid for, again
                raise
            written = out.tell()
            self._form.end(out)
            self._keep(state, out, told, written)

    def _ahead(self, parts: Iterator[Part]) -> Iterator[tuple[Part, Places | None]]:
        """The parts in order, rewritten in place where they can be, while the one before is written."""
        transform = self._transform
        if not isinstance(transform, Rewrites) or self._plan.versions:
            yield from ((part, None) for part in parts)
            return
        with ThreadPoolExecutor(THREADS, thread_name_prefix="rewrite") as thread:
            under_way: deque[tuple[Part, Future[Places | None]]] = deque()
            for part in parts:
                under_way.append((part, thread.submit(self._rewritten, transform, part)))
                if len(under_way) > AHEAD:
                    done, future = under_way.popleft()
                    yield done, future.result()
            for done, future in under_way:
                yield done, future.result()

    def _rewritten(self, transform: Rewrites, part: Part) -> Places | None:
        """A part's columns in place, turned; None if that cannot be."""
        fields = dict(self._plan.columns)
        places = part.in_place(list(fields))
        if places is None:
            return None
        columns = [(fields[name], *buffers) for name, buffers in places.columns.items()]
        return None if transform.rewrite(columns) is None else places

    def _count(self, state: Checkpoint, part: Part, refusals: list[Refusal]) -> None:
        state.read, state.row = part.end, part.row + part.count
        state.rejected += len({refusal.row for refusal in refusals})
        for refusal in refusals:
            what = f"{refusal.column}: {refusal.code}"
            state.codes[what] = state.codes.get(what, 0) + 1

    def _end(self, state: Checkpoint, *, resumed: bool) -> Result:
        self._kept.unlink()
        return Result(state.row - 1, state.rejected, resumed, Counter(state.codes))

    def _turn(self, part: Part, state: Checkpoint) -> tuple[Change, list[Refusal]]:
        """What becomes of a part, and (row, column, code) of what is refused."""
        plan = self._plan
        subjects = None if plan.subject is None else part.cells(plan.subject).values
        given = {} if self._added else dict(plan.versions)
        columns: dict[str, list[str | None]] = {}
        added: dict[str, dict[int, int]] = {}
        refusals: list[Refusal] = []
        for number, (name, field_) in enumerate(plan.columns):
            cells = part.cells(name)
            versions = part.versions(given[name]) if name in given else None
            key = f"{state.job}-{part.start}-{number}"
            turned = self._transform.turn(field_, cells.values, subjects, key, versions)
            columns[name] = turned.values
            if versions is not None and plan.verb == REKEY:
                new = turned.versions
                columns[given[name]] = [str(new[at]) if at in new else old for at, old in enumerate(versions)]
            if name in self._added:
                added[self._added[name]] = turned.versions
            told = {**cells.refused, **turned.refused}
            refusals += [Refusal(part.row + index, name, code) for index, code in told.items()]
        refusals.sort()
        if refusals and self._plan.rejects is None:
            self._give_up()
            raise refusal_of(refusals)
        drop = sorted({row - part.row for row, _, _ in refusals})
        return Change(columns, drop, added), refusals

    # What is kept between runs

    def _identity(self) -> str:
        """What was asked for, of which input: a digest, so that nothing of a value is kept."""
        self._source.seek(0)
        ends = hashlib.sha256(self._source.read(HEAD))
        size = self._source.seek(0, os.SEEK_END)
        self._source.seek(max(size - HEAD, 0))
        ends.update(self._source.read(HEAD))
        plan = self._plan
        asked = [plan.verb, plan.columns, plan.subject, plan.versions, str(plan.rejects)]
        file = [plan.form, plan.delimiter, self._block, size, ends.hexdigest()]
        return hashlib.sha256(msgspec.json.encode([asked, file])).hexdigest()

    def _begun(self) -> Checkpoint | None:
        """Where an earlier run of this job was, if there was one."""
        if not self._kept.exists():
            return None
        try:
            state = msgspec.json.decode(self._kept.read_bytes(), type=Checkpoint)
        except msgspec.MsgspecError:
            raise Conflict("job_differs", path=str(self._kept)) from None
        whole = (
            state.read == self._form.size and not self._part.exists()
        )  # it was killed behind the last step
        if state.plan != self._digest or not (whole or self._part.exists()):
            raise Conflict("job_differs", path=str(self._kept))
        return state

    def _begin(self) -> Checkpoint:
        with private(self._part) as out:
            self._form.begin(out)
            _sync(out)
            written = out.tell()
        state = Checkpoint("j" + secrets.token_hex(8), self._digest, 0, written, 0, 1)
        if self._plan.rejects is not None:
            with private(self._plan.rejects) as told:
                told.write(REJECTS_HEAD)
                _sync(told)
                state.told = told.tell()
        self._save(state)
        return state

    def _rejects(self, state: Checkpoint) -> _Rejects:
        return _Rejects(self._plan.rejects, state.told)

    def _keep(
        self, state: Checkpoint, out: BinaryIO, told: BinaryIO | None, written: int | None = None
    ) -> None:
        """Makes output and rejects certain, and then the checkpoint that says so.

        Args:
            written: where the last part ends, if something stands behind it.
        """
        _sync(out)
        state.written = out.tell() if written is None else written
        if told is not None:
            _sync(told)
            state.told = told.tell()
        self._save(state)

    def _save(self, state: Checkpoint) -> None:
        beside = self._kept.with_name(self._kept.name + "-new")
        with private(beside) as file:
            file.write(msgspec.json.encode(state))
            _sync(file)
        beside.replace(self._kept)
        _sync_folder(self._kept.parent)

    def _give_up(self) -> None:
        """Leaves nothing behind."""
        self._kept.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)
        if self._plan.rejects is not None:
            self._plan.rejects.unlink(missing_ok=True)


class _Rejects:
    """The file of rejects, cut to what is certain; None where there is none."""

    def __init__(self, path: Path | None, length: int) -> None:
        self._file: BinaryIO | None = None
        if path is not None:
            self._file = path.open("r+b")
            self._file.truncate(length)
            self._file.seek(length)

    def __enter__(self) -> BinaryIO | None:
        return self._file

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def opened(plan: Plan, source: BinaryIO, block: int | None = None) -> Form:
    """The input, by its form, with a look at its columns.

    Raises:
        BadInput: `file_malformed`; `usage`.
    """
    form: Form
    added = tuple(plan.added.values())
    if plan.form == PARQUET:
        form = Parquet(source, added, block or ROWS)
    elif plan.form == JSON_LINES:
        form = JsonLines(source, block or BLOCK)
    else:
        form = Delimited(source, plan.delimiter, added, block or BLOCK)
    read = () if added else tuple(name for _, name in plan.versions)
    subject = () if plan.subject is None else (plan.subject,)
    for name in (*(name for name, _ in plan.columns), *subject, *read):
        if form.has(name) is False:
            raise BadInput("usage", option="--column", reason="the file has no such column")
    if any(form.has(name) for name in added) or len(set(added)) != len(added):
        raise BadInput("usage", option="--key-version-column", reason="the file has that column already")
    return form


def refusal_of(refusals: Sequence[Refusal]) -> Refused:
    """The error that tells of the first ones."""
    errors: list[dict[str, Fact]] = [
        {"row": row, "column": name, "code": code} for row, name, code in refusals[:MAX_TOLD]
    ]
    return Refused(refusals[0].code, errors=errors)


def private(path: Path) -> BinaryIO:
    """A new file that only its owner reads."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
