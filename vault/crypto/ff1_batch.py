"""FF1 of many values at once: the same results as `ff1.FF1`, one at a time, for a fraction of the price.

Source: NIST SP 800-38G (March 2016), Algorithms 7 and 8. Three ways, and one face that picks among them:

- scalar, for a few values and for those that are too long for the others;
- together, for some dozens: Python integers, and one AES call a round for all of them;
- columns, from there on: numpy over 64-bit words, while radix^v < 2^62 (`ff1_columns`).

Values are lists of text, matrices of characters, or texts in a buffer (Arrow arrays among them).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from vault.crypto.arrow import rewritten
from vault.crypto.columns import Columns, Words, columns_of
from vault.crypto.ff1 import FF1
from vault.crypto.ff1_columns import CHUNK, MAX_HALF, Plan, Rows, plan_for, plan_for_each, run
from vault.crypto.texts import TOGETHER, Bytes, Texts
from vault.errors import ValueRefused
from vault.secret import Secret

if TYPE_CHECKING:
    import pyarrow as pa

SCALAR_BELOW: Final = 20  # values; measured, as the next two (`python -m bench.ff1_batch`)
COLUMNS_FROM: Final = 48
THREADS_FROM = 2 * CHUNK  # a benchmark of one core sets it higher
_ROUNDS: Final = 10
_BLOCK: Final = 16

Matrix = NDArray[Any]  # (values, characters), the characters' code points: u1 or u4
Fixed = TypeVar("Fixed", int, bytes)
Made = TypeVar("Made")

_helper: Final = ThreadPoolExecutor(1, thread_name_prefix="ff1")


_here: Final = threading.local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Batches within take this thread only: for callers that have a thread for each core already."""
    _here.alone = True
    try:
        yield
    finally:
        _here.alone = False


def _is_alone() -> bool:
    return getattr(_here, "alone", False)


class FF1Batch:
    """FF1 under one key over one alphabet. Safe to share between threads; shows nothing of its key.

    A tweak is one for all values, or one for each. Tweaks of values that begin alike are given as that
    `prefix` and their rests, which spares most of their price.

    Args:
        key: 16, 24 or 32 bytes (AES-128, AES-192, AES-256).
        alphabet: 2 to 65,536 distinct characters, the numeral of each being its place.

    Raises:
        ValueError: not such a key or alphabet.
    """

    __slots__ = ("_alphabet", "_columns", "_ff1")

    def __init__(self, key: bytes | Secret, alphabet: str) -> None:
        self._columns: Columns = columns_of(alphabet)
        self._alphabet = alphabet
        self._ff1 = FF1(key, len(alphabet))

    @property
    def one(self) -> FF1:
        """The same for one value at a time."""
        return self._ff1

    def encrypt(
        self, values: Sequence[str], tweak: bytes | Sequence[bytes] = b"", prefix: bytes = b""
    ) -> list[str]:
        """FF1.Encrypt(K, T, X), Algorithm 7, of each value, in order.

        Args:
            values: over the alphabet, of any lengths.
            tweak: one for all, or one for each.
            prefix: what all tweaks begin with; at most 256 bytes with what follows.

        Raises:
            ValueRefused: as `FF1.encrypt_str`, with `item`, the value's index. All values or none.
            ValueError: as `FF1.encrypt_str`, or not as many tweaks as values.
        """
        return self._strings(values, tweak, prefix, decrypt=False)

    def decrypt(
        self, values: Sequence[str], tweak: bytes | Sequence[bytes] = b"", prefix: bytes = b""
    ) -> list[str]:
        """FF1.Decrypt(K, T, X), Algorithm 8, of each value: the inverse of `encrypt`, with its errors."""
        return self._strings(values, tweak, prefix, decrypt=True)

    def encrypt_matrix(self, matrix: Matrix, tweak: bytes | Rows = b"", prefix: bytes = b"") -> Matrix:
        """The same for values of one length, as their characters' code points.

        Args:
            matrix: N rows of n characters, uint8 or uint32; not changed.
            tweak: one for all, or N rows of t bytes.
            prefix: what all tweaks begin with.

        Returns:
            A new matrix of the same shape and type.

        Raises:
            ValueRefused, ValueError: as `encrypt`; or the alphabet has characters that the type cannot hold.
        """
        return self._matrix(matrix, tweak, prefix, decrypt=False)

    def decrypt_matrix(self, matrix: Matrix, tweak: bytes | Rows = b"", prefix: bytes = b"") -> Matrix:
        """The inverse of `encrypt_matrix`, with the same errors."""
        return self._matrix(matrix, tweak, prefix, decrypt=True)

    def turn_halves(
        self, a: Words, b: Words, n: int, tweak: bytes | Rows, prefix: bytes = b"", *, decrypt: bool
    ) -> None:
        """The same for values that are numbers already, in place.

        Args:
            a: NUM_radix of the first n // 2 numerals of each.
            b: of the others; there radix^v < 2^62.
            tweak: one for all, or N rows of t bytes.

        Raises:
            ValueRefused, ValueError: as `encrypt`.
        """
        if not self._is_short(n):
            raise ValueError("the halves do not fit words")
        if isinstance(tweak, bytes):
            tweak, prefix = prefix + tweak, b""
        plan = plan_for(self._ff1, n, tweak) if isinstance(tweak, bytes) else None
        for at in range(0, len(a), CHUNK):
            end = at + CHUNK
            some = plan or plan_for_each(self._ff1, n, prefix, np.asarray(tweak)[at:end])
            run(self._ff1, a[at:end], b[at:end], some, decrypt=decrypt)

    def encrypt_array(self, array: pa.Array | pa.ChunkedArray, tweak: bytes = b"") -> Any:
        """The same for an Arrow array of strings; nulls stay nulls.

        The characters are read where they are and written once, into the buffer of the array that is
        returned; for an array that is no slice, even the offsets are the same.

        Args:
            array: `string` or `large_string`, or chunks of it.
            tweak: one for all.

        Raises:
            ValueRefused, ValueError: as `encrypt`; or the alphabet is not of ASCII, or not such an array.
            Misconfigured: `extra_missing`, pyarrow is not installed (`coatcheck[arrow]`).
        """
        return self._array(array, tweak, decrypt=False)

    def decrypt_array(self, array: pa.Array | pa.ChunkedArray, tweak: bytes = b"") -> Any:
        """The inverse of `encrypt_array`, with the same errors."""
        return self._array(array, tweak, decrypt=True)

    # Lists of str

    def _strings(
        self, values: Sequence[str], tweak: bytes | Sequence[bytes], prefix: bytes, *, decrypt: bool
    ) -> list[str]:
        if isinstance(tweak, bytes):
            tweak, prefix = prefix + tweak, b""
        elif len(tweak) != len(values):
            raise ValueError("there are as many tweaks as values, or one")
        if len(values) < SCALAR_BELOW:
            return self._one_by_one(values, tweak, prefix, decrypt=decrypt)

        def go(start: int, stop: int) -> list[str]:
            made: list[str] = []
            for at in range(start, stop, TOGETHER):
                end = min(at + TOGETHER, stop)
                with _counting_from(at):
                    own = tweak if isinstance(tweak, bytes) else tweak[at:end]
                    alike = isinstance(own, bytes) and end - at >= COLUMNS_FROM
                    if not alike or not self._in_columns(made, values, range(at, end), own, decrypt=decrypt):
                        made += self._some(values[at:end], own, prefix, decrypt=decrypt)
            return made

        if len(values) < THREADS_FROM or _is_alone():
            return go(0, len(values))
        first, second = _in_halves(len(values), go)
        return first + second

    def _some(
        self, values: Sequence[str], tweak: bytes | Sequence[bytes], prefix: bytes, *, decrypt: bool
    ) -> list[str]:
        """Values of any lengths, a bounded number of them; those of one length together."""
        groups: dict[tuple[int, int | None], list[int]] = defaultdict(list)
        for index, value in enumerate(values):
            groups[len(value), None if isinstance(tweak, bytes) else len(tweak[index])].append(index)
        made = [""] * len(values)
        for places in groups.values():
            some = [values[place] for place in places]
            own = tweak if isinstance(tweak, bytes) else _one_if_alike([tweak[place] for place in places])
            try:
                done = self._of_one_length(some, own, prefix, decrypt=decrypt)
            except ValueRefused as refusal:
                refusal.facts["item"] = places[_item(refusal)]
                raise
            for place, text in zip(places, done, strict=True):
                made[place] = text
        return made

    def _of_one_length(
        self, values: Sequence[str], tweak: bytes | list[bytes], prefix: bytes, *, decrypt: bool
    ) -> list[str]:
        """Values of one length, and tweaks of one length, by the way that suits how many there are."""
        if len(values) >= COLUMNS_FROM:
            done: list[str] = []
            if self._in_columns(done, values, range(len(values)), tweak, prefix, decrypt=decrypt):
                return done
        if len(values) >= SCALAR_BELOW and isinstance(tweak, bytes) and self._is_short(len(values[0])):
            return self._together(values, prefix + tweak, decrypt=decrypt)
        return self._one_by_one(values, tweak, prefix, decrypt=decrypt)

    def _in_columns(
        self,
        made: list[str],
        values: Sequence[str],
        which: range,
        tweak: bytes | Sequence[bytes],
        prefix: bytes = b"",
        *,
        decrypt: bool,
    ) -> bool:
        """Adds what some of the values turn into, which have one length; whether it could.

        It adds none if they have several lengths, none, or one that is too long for columns. In slices, so
        that all that is done to a value finds it in the cache; handing texts on later would fetch them again.
        """
        n, before = len(values[which.start]), len(made)
        if not self._is_short(n):
            return False
        for at in range(0, len(which), CHUNK):
            with _counting_from(at):
                some = which[at : at + CHUNK]
                matrix = self._columns.matrix(values[some.start : some.stop])
                if matrix is None or matrix.shape[1] != n:
                    del made[before:]
                    return False
                out = self._columns.like(matrix)
                own = tweak if isinstance(tweak, bytes) else _rows(tweak[at : at + CHUNK])
                self._fill(matrix, out, own, prefix, decrypt=decrypt)
                made += self._columns.strings(out)
        return True

    def _one_by_one(
        self, values: Sequence[str], tweak: bytes | Sequence[bytes], prefix: bytes, *, decrypt: bool
    ) -> list[str]:
        call = self._ff1.decrypt_str if decrypt else self._ff1.encrypt_str
        made: list[str] = []
        alphabet = self._alphabet
        try:
            if isinstance(tweak, bytes):
                tweak = prefix + tweak
                for value in values:
                    made.append(call(value, alphabet, tweak))
            else:
                for value, own in zip(values, tweak, strict=True):
                    made.append(call(value, alphabet, prefix + own))
        except ValueRefused as refusal:
            refusal.facts["item"] = len(made)
            raise
        return made

    def _together(self, values: Sequence[str], tweak: bytes, *, decrypt: bool) -> list[str]:
        """Some dozens of values of one length: a round is one AES call for all of them."""
        n = len(values[0])
        state = _first_refused(self._ff1.state, n, tweak)
        numerals = self._ff1.numerals(self._alphabet)
        numbers: list[int] = []
        try:
            numbers.extend(map(numerals.number, values))
        except ValueRefused as refusal:
            refusal.facts["item"] = len(numbers)
            raise
        halves = [divmod(number, state.mod_v) for number in numbers]
        a, b = [half[0] for half in halves], [half[1] for half in halves]
        update, d = self._ff1.encryptor.update, state.d
        constants = [constant for pair in state.pairs for constant in pair]

        def prf(constant: int, fed: list[int]) -> list[int]:
            images = update(b"".join([(constant ^ x).to_bytes(_BLOCK) for x in fed]))
            return [int.from_bytes(images[at : at + d]) for at in range(0, len(images), _BLOCK)]

        if decrypt:
            for i in range(_ROUNDS - 1, -1, -2):
                b = [(x - y) % state.mod_v for x, y in zip(b, prf(constants[i], a), strict=True)]
                a = [(x - y) % state.mod_u for x, y in zip(a, prf(constants[i - 1], b), strict=True)]
        else:
            for i in range(0, _ROUNDS, 2):
                a = [(x + y) % state.mod_u for x, y in zip(a, prf(constants[i], b), strict=True)]
                b = [(x + y) % state.mod_v for x, y in zip(b, prf(constants[i + 1], a), strict=True)]
        string, mod_v = numerals.string, state.mod_v
        return [string(x * mod_v + y, n) for x, y in zip(a, b, strict=True)]

    # Matrices

    def _is_short(self, n: int) -> bool:
        """Whether values of n characters go into columns."""
        return bool(self._ff1.radix ** (n - n // 2) < MAX_HALF)

    def _matrix(self, matrix: Matrix, tweak: bytes | Rows, prefix: bytes, *, decrypt: bool) -> Matrix:
        if matrix.ndim != 2 or matrix.dtype not in (np.uint8, np.uint32):
            raise ValueError("a matrix has N rows of n code points, uint8 or uint32")
        if matrix.dtype == np.uint8 and not self._columns.is_narrow:
            raise ValueError("the alphabet has characters beyond uint8")
        made = np.empty_like(matrix, order="C")
        self._fill(matrix, made, tweak, prefix, decrypt=decrypt)
        return made

    def _fill(
        self, matrix: Matrix, made: Matrix, tweak: bytes | Rows, prefix: bytes, *, decrypt: bool
    ) -> None:
        """Writes what a matrix turns into, to another one of its shape, which may be a view."""
        if isinstance(tweak, bytes):
            tweak, prefix = prefix + tweak, b""
        elif tweak.ndim != 2 or len(tweak) != len(matrix):
            raise ValueError("there are as many tweaks as values, or one")
        count, n = matrix.shape
        if not count:
            return
        t = len(tweak) if isinstance(tweak, bytes) else len(prefix) + tweak.shape[1]
        _first_refused(self._ff1.layout, n, t)
        if not self._is_short(n):
            self._columns.digits(matrix)  # refuses what is not of the alphabet; `strings` does not look
            own = tweak if isinstance(tweak, bytes) else [bytes(row) for row in tweak]
            copy = self._columns.like(matrix)
            copy[:] = matrix
            values = self._columns.strings(copy)
            done = self._columns.matrix(self._one_by_one(values, own, prefix, decrypt=decrypt))
            made[:] = done
            return
        plan = plan_for(self._ff1, n, tweak) if isinstance(tweak, bytes) else None

        def go(start: int, stop: int) -> None:
            for at in range(start, stop, CHUNK):
                end = min(at + CHUNK, stop)
                some = plan or plan_for_each(self._ff1, n, prefix, np.asarray(tweak)[at:end])
                with _counting_from(at):
                    self._chunk(matrix[at:end], made[at:end], some, decrypt=decrypt)

        if count < THREADS_FROM or _is_alone():
            go(0, count)
        else:
            _in_halves(count, go)

    def _chunk(self, matrix: Matrix, made: Matrix, plan: Plan, *, decrypt: bool) -> None:
        columns = self._columns
        digits = columns.digits(matrix)
        a, b = columns.numbers(digits[: plan.u]), columns.numbers(digits[plan.u :])
        run(self._ff1, a, b, plan, decrypt=decrypt)
        columns.fill(made, a, b, plan.u)

    # Texts in a buffer

    def _texts(self, texts: Texts, out: Bytes, tweak: bytes, *, decrypt: bool) -> None:
        """Writes what texts turn into, to the same places of another buffer."""
        for width, at in texts.by_length():
            rows, made = texts.rows(at, width), texts.view(out, at, width)
            done = np.empty_like(rows) if made is None else made
            try:
                self._fill(rows, done, tweak, b"", decrypt=decrypt)
            except ValueRefused as refusal:
                item = _item(refusal)
                refusal.facts["item"] = item if isinstance(at, slice) else int(at[item])
                raise
            if made is None:
                texts.put(out, at, done)

    def _array(self, array: Any, tweak: bytes, *, decrypt: bool) -> Any:
        if not self._alphabet.isascii():
            raise ValueError("Arrow arrays are for alphabets of ASCII")
        return rewritten(array, lambda texts, out: self._texts(texts, out, tweak, decrypt=decrypt))


def _one_if_alike(tweaks: list[bytes]) -> bytes | list[bytes]:
    """One tweak for all, where all have the same."""
    first = tweaks[0]
    return first if all(own == first for own in tweaks) else tweaks


def _in_halves(count: int, go: Callable[[int, int], Made]) -> tuple[Made, Made]:
    """What `go` makes of the first half and of the second, on two threads; errors of the first come first."""
    middle = count // 2 // CHUNK * CHUNK
    other = _helper.submit(go, middle, count)
    try:
        first = go(0, middle)
    finally:
        failed = other.exception()
    if failed is not None:
        raise failed
    return first, other.result()


@contextmanager
def _counting_from(at: int) -> Iterator[None]:
    """Makes the items that refusals name count from a place in the whole."""
    try:
        yield
    except ValueRefused as refusal:
        refusal.facts["item"] = at + _item(refusal)
        raise


def _rows(tweak: Sequence[bytes]) -> Rows:
    """Tweaks of one length as a matrix."""
    return np.frombuffer(b"".join(tweak), np.uint8).reshape(len(tweak), -1)


def _item(refusal: ValueRefused) -> int:
    """Which value of those it was told of; the first, where all are alike."""
    item = refusal.facts.get("item", 0)
    return item if isinstance(item, int) else 0


def _first_refused(make: Callable[[int, Fixed], Made], n: int, fixed: Fixed) -> Made:
    """What a length and a tweak fix; where they are refused, all values are, and the first is named."""
    try:
        return make(n, fixed)
    except ValueRefused as refusal:
        refusal.facts["item"] = 0
        raise
