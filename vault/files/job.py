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
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

import msgspec

from vault.errors import BadInput, CoatcheckError, Conflict, Fact, Misconfigured
from vault.files.delimited import BLOCK, Block, Header, blocks, quoted, read_header

PART: Final = ".coatcheck-part"
CHECKPOINT: Final = ".coatcheck-job"
HEAD: Final = 64 * 1024  # bytes of the input that are looked at to know it again
MAX_TOLD: Final = 100  # refused values that an error tells of


class Turned(NamedTuple):
    """What a column's values turned into; None for nulls and for those that are refused, with their codes."""

    values: list[str | None]
    refused: dict[int, str]


class Transform(Protocol):
    """Where tokens come from."""

    def turn(
        self, field: str, values: Sequence[str | None], subjects: Sequence[str | None] | None, key: str
    ) -> Turned:
        """The tokens of some values of a field, or the other way round.

        Args:
            key: asked again under the same one, the same is answered and not done again.

        Raises:
            CoatcheckError: what is wrong with all of it.
        """


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        columns: (name of a column, field) of each that is turned.
        subject: the column that says whose a row's values are.
        rejects: where rows that are refused are told of, and left out of the output; None: the first of them
            ends the job.
    """

    source: Path
    target: Path
    columns: tuple[tuple[str, str], ...]
    subject: str | None = None
    rejects: Path | None = None
    delimiter: str = ","
    verb: str = "tokenize"


class Checkpoint(msgspec.Struct, forbid_unknown_fields=True):
    """How far a job is.

    Attributes:
        job: drawn at random; the keys of its requests begin with it.
        plan: SHA-256 of what was asked for, and of which input.
        read, written, told: bytes of the input that are done, of the output and of the rejects.
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


@dataclass(slots=True)
class Result:
    """What was done.

    Attributes:
        resumed: whether an earlier run had begun it.
        codes: how many values were refused, by column and code.
    """

    rows: int
    rejected: int
    resumed: bool
    codes: Counter[str] = field(default_factory=Counter)


class Refused(BadInput):
    """Values that cannot be turned: `errors` has row, column and code of the first, never a value."""


def run(plan: Plan, transform: Transform, progress: Callable[[int, int], None], block: int = BLOCK) -> Result:
    """Does a job, or goes on with one that was killed.

    Args:
        progress: told (bytes of the input that are done, of how many).

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
    def __init__(self, plan: Plan, transform: Transform, source: BinaryIO, block: int) -> None:
        self._plan = plan
        self._transform = transform
        self._source = source
        self._block = block
        self._header = read_header(source, plan.delimiter)
        self._columns = [(_place(self._header, name), name, field_) for name, field_ in plan.columns]
        self._subject = None if plan.subject is None else _place(self._header, plan.subject)
        self._size = os.fstat(source.fileno()).st_size
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
        self._source.seek(state.read)
        with self._part.open("r+b") as out, self._rejects(state) as told:
            out.truncate(state.written)
            out.seek(state.written)
            records = blocks(
                self._source,
                len(self._header.names),
                self._plan.delimiter,
                state.read,
                state.row,
                self._block,
            )
            for block in records:
                made, refusals = self._turn(block, state)
                out.write(made)
                _sync(out)
                if told is not None:
                    told.write(b"".join(b"%d,%b,%b\n" % _line(refusal) for refusal in refusals))
                    _sync(told)
                    state.told = told.tell()
                state.read, state.row = block.end, block.row + block.count
                state.written = out.tell()
                state.rejected += len({row for row, _, _ in refusals})
                for _, name, code in refusals:
                    state.codes[f"{name}: {code}"] = state.codes.get(f"{name}: {code}", 0) + 1
                self._keep(state)
                progress(state.read, self._size)

    def _end(self, state: Checkpoint, *, resumed: bool) -> Result:
        self._kept.unlink()
        return Result(state.row - 1, state.rejected, resumed, Counter(state.codes))

    def _turn(self, block: Block, state: Checkpoint) -> tuple[bytes, list[tuple[int, str, str]]]:
        """A block's records with tokens for values, and (row, column, code) of those that are refused."""
        subjects = None if self._subject is None else _values(block, self._subject)
        made: list[tuple[int, list[bytes]]] = []
        refusals: list[tuple[int, str, str]] = []
        for place, name, field_ in self._columns:
            values = _values(block, place)
            key = f"{state.job}-{block.start}-{place}"
            turned = self._transform.turn(field_, values, subjects, key)
            refusals += [(block.row + index, name, code) for index, code in turned.refused.items()]
            made.append((place, [quoted(text, self._plan.delimiter) for text in turned.values]))
        refusals.sort()
        if refusals and self._plan.rejects is None:
            self._give_up()
            listed: list[dict[str, Fact]] = [
                {"row": row, "column": name, "code": code} for row, name, code in refusals[:MAX_TOLD]
            ]
            raise Refused(refusals[0][2], errors=listed)
        drop = sorted({row - block.row for row, _, _ in refusals})
        return block.replaced([(block.column(place), texts) for place, texts in made], drop), refusals

    # What is kept between runs

    def _identity(self) -> str:
        """What was asked for, of which input: a digest, so that nothing of a value is kept."""
        self._source.seek(0)
        head = hashlib.sha256(self._source.read(HEAD)).hexdigest()
        plan = self._plan
        asked = [plan.verb, plan.columns, plan.subject, str(plan.rejects), plan.delimiter, self._block]
        return hashlib.sha256(msgspec.json.encode([asked, self._size, head])).hexdigest()

    def _begun(self) -> Checkpoint | None:
        """Where an earlier run of this job was, if there was one."""
        if not self._kept.exists():
            return None
        try:
            state = msgspec.json.decode(self._kept.read_bytes(), type=Checkpoint)
        except msgspec.MsgspecError:
            raise Conflict("job_differs", path=str(self._kept)) from None
        whole = state.read == self._size and not self._part.exists()  # it was killed behind the last step
        if state.plan != self._digest or not (whole or self._part.exists()):
            raise Conflict("job_differs", path=str(self._kept))
        return state

    def _begin(self) -> Checkpoint:
        raw = self._header.raw
        with _private(self._part) as out:
            out.write(raw)
            _sync(out)
        state = Checkpoint("j" + secrets.token_hex(8), self._digest, len(raw), len(raw), 0, 1)
        if self._plan.rejects is not None:
            with _private(self._plan.rejects) as told:
                told.write(b"row,column,code\n")
                _sync(told)
                state.told = told.tell()
        self._keep(state)
        return state

    def _rejects(self, state: Checkpoint) -> _Rejects:
        return _Rejects(self._plan.rejects, state.told)

    def _keep(self, state: Checkpoint) -> None:
        beside = self._kept.with_name(self._kept.name + "-new")
        with _private(beside) as file:
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


def _values(block: Block, place: int) -> list[str | None]:
    try:
        return block.column(place).values()
    except BadInput as refusal:
        index = refusal.facts.pop("index", 0)
        refusal.facts["row"] = block.row + (index if isinstance(index, int) else 0)
        raise


def _place(header: Header, name: str) -> int:
    try:
        return header.names.index(name)
    except ValueError:
        raise BadInput("usage", option="--column", reason="the file has no such column") from None


def _line(refusal: tuple[int, str, str]) -> tuple[int, bytes, bytes]:
    row, name, code = refusal
    return row, quoted(name), code.encode()


def _private(path: Path) -> BinaryIO:
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
