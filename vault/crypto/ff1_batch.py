"""FF1 of many values at once: the same results as `ff1.FF1`, one at a time, for a fraction of the price.

Source: NIST SP 800-38G (March 2016), Algorithms 7 and 8. Three ways, and one face that picks among them:

- scalar, for a few values and for those that are too long for the others;
- together, for some dozens: Python integers, and one AES call a round for all of them;
- columns, from there on: numpy over 64-bit words, while radix^v < 2^62.

How the columns work: all that a round does not change of Q is folded into one 16-byte state, as the scalar
rounds have it, so that a round is one exclusive or, one AES call over the whole column and one remainder. The
halves of all values lie in two columns of words, and chunks are small enough for the cache. For radix^v <=
2^32 a remainder is a division by a constant, which numpy does exactly; beyond, y has 96 bits: its quotient is
estimated in floating point and set right twice (see `_remainder_96`).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from vault.crypto.columns import Columns, columns_of
from vault.crypto.ff1 import FF1, Layout
from vault.errors import ValueRefused
from vault.secret import Secret

CHUNK: Final = 8_192  # values; their words and blocks stay in a core's cache
SCALAR_BELOW: Final = 20  # values; measured, as the next two (`python -m bench.ff1_batch`)
COLUMNS_FROM: Final = 40
THREADS_FROM = 4 * CHUNK  # a benchmark of one core sets it higher
MAX_HALF: Final = 1 << 62  # radix^v: sums of two stay in a signed word
_ROUNDS: Final = 10
_BLOCK: Final = 16
_NARROW: Final = 8  # d, in bytes, where y is one word

_U64 = np.uint64
_BIG = np.dtype(">u8")
Made = TypeVar("Made")
Fixed = TypeVar("Fixed", int, bytes)
Words = NDArray[np.uint64]
Matrix = NDArray[Any]  # (values, characters), the characters' code points: u1 or u4

_helper: Final = ThreadPoolExecutor(1, thread_name_prefix="ff1")


class _Plan(NamedTuple):
    """What n numerals and one tweak, or tweaks of one length, fix for all values of a column.

    Attributes:
        high, low: the words of each round's constant; with a tweak a value, those of round 0, and columns.
        shift: of the round's number in a constant, in bits.
    """

    mod_u: int
    mod_v: int
    u: int
    high: Any
    low: Any
    shift: int
    d: int


class _Scratch(threading.local):
    """A thread's own cipher and columns: neither may be shared while the GIL is given up."""

    def __init__(self, cipher: Cipher[modes.ECB]) -> None:
        self.cipher: CipherContext = cipher.encryptor()
        self.blocks = np.empty((CHUNK, 2), _U64)
        self.images = np.empty(CHUNK * _BLOCK + _BLOCK - 1, np.uint8)  # what `update_into` asks for
        self.words = [np.empty(CHUNK, _U64) for _ in range(3)]
        self.quotients = np.empty(CHUNK, np.float64)


class FF1Batch:
    """FF1 under one key over one alphabet. Safe to share between threads; shows nothing of its key.

    Args:
        key: 16, 24 or 32 bytes (AES-128, AES-192, AES-256).
        alphabet: 2 to 65,536 distinct characters, the numeral of each being its place.

    Raises:
        ValueError: not such a key or alphabet.
    """

    __slots__ = ("_alphabet", "_columns", "_ff1", "_scratch")

    def __init__(self, key: bytes | Secret, alphabet: str) -> None:
        self._columns: Columns = columns_of(alphabet)
        self._alphabet = alphabet
        self._ff1 = FF1(key, len(alphabet))
        cipher = algorithms.AES(key.expose() if isinstance(key, Secret) else key)
        self._scratch = _Scratch(Cipher(cipher, modes.ECB()))  # noqa: S305 - the bare block cipher, as in ff1

    def encrypt(self, values: Sequence[str], tweak: bytes | Sequence[bytes] = b"") -> list[str]:
        """FF1.Encrypt(K, T, X), Algorithm 7, of each value, in order.

        Args:
            values: over the alphabet, of any lengths.
            tweak: one for all, or one for each; at most 256 bytes.

        Raises:
            ValueRefused: as `FF1.encrypt_str`, with `item`, the value's index. All values or none.
            ValueError: as `FF1.encrypt_str`, or not as many tweaks as values.
        """
        return self._strings(values, tweak, decrypt=False)

    def decrypt(self, values: Sequence[str], tweak: bytes | Sequence[bytes] = b"") -> list[str]:
        """FF1.Decrypt(K, T, X), Algorithm 8, of each value: the inverse of `encrypt`, with its errors."""
        return self._strings(values, tweak, decrypt=True)

    def encrypt_matrix(self, matrix: Matrix, tweak: bytes | NDArray[np.uint8] = b"") -> Matrix:
        """The same for values of one length, as their characters' code points.

        Args:
            matrix: N rows of n characters, uint8 or uint32; not changed.
            tweak: one for all, or N rows of t bytes.

        Returns:
            A new matrix of the same shape and type.

        Raises:
            ValueRefused, ValueError: as `encrypt`; or the alphabet has characters that the type cannot hold.
        """
        return self._matrix(matrix, tweak, decrypt=False)

    def decrypt_matrix(self, matrix: Matrix, tweak: bytes | NDArray[np.uint8] = b"") -> Matrix:
        """The inverse of `encrypt_matrix`, with the same errors."""
        return self._matrix(matrix, tweak, decrypt=True)

    # Lists of str

    def _strings(self, values: Sequence[str], tweak: bytes | Sequence[bytes], *, decrypt: bool) -> list[str]:
        if not isinstance(tweak, bytes) and len(tweak) != len(values):
            raise ValueError("there are as many tweaks as values, or one")
        if len(values) < SCALAR_BELOW:
            return self._one_by_one(values, tweak, decrypt=decrypt)
        if isinstance(tweak, bytes):
            whole = self._columns.matrix(values)
            if whole is not None:
                return self._of_one_length(values, whole, tweak, decrypt=decrypt)
        groups: dict[tuple[int, int | None], list[int]] = defaultdict(list)
        for index, value in enumerate(values):
            groups[len(value), None if isinstance(tweak, bytes) else len(tweak[index])].append(index)
        made = [""] * len(values)
        for places in groups.values():
            some = [values[place] for place in places]
            own = tweak if isinstance(tweak, bytes) else [tweak[place] for place in places]
            try:
                done = self._group(some, own, decrypt=decrypt)
            except ValueRefused as refusal:
                refusal.facts["item"] = places[_item(refusal)]
                raise
            for place, text in zip(places, done, strict=True):
                made[place] = text
        return made

    def _group(self, values: list[str], tweak: bytes | list[bytes], *, decrypt: bool) -> list[str]:
        """Values of one length, with tweaks of one length."""
        if len(values) < SCALAR_BELOW:
            return self._one_by_one(values, tweak, decrypt=decrypt)
        if not isinstance(tweak, bytes):
            if len(values) < COLUMNS_FROM:
                return self._one_by_one(values, tweak, decrypt=decrypt)
            same = all(one == tweak[0] for one in tweak)
            rows = tweak[0] if same else np.frombuffer(b"".join(tweak), np.uint8).reshape(len(tweak), -1)
        else:
            rows = tweak
        whole = self._columns.matrix(values)
        if whole is None:  # a length of 0, which is refused with its index
            return self._one_by_one(values, tweak, decrypt=decrypt)
        return self._of_one_length(values, whole, rows, decrypt=decrypt)

    def _of_one_length(
        self, values: Sequence[str], whole: Matrix, tweak: bytes | NDArray[np.uint8], *, decrypt: bool
    ) -> list[str]:
        n = whole.shape[1]
        if self._is_short(n) and (len(values) >= COLUMNS_FROM or not isinstance(tweak, bytes)):
            return self._columns.strings(self._matrix(whole, tweak, decrypt=decrypt))
        if isinstance(tweak, bytes) and self._is_short(n):
            return self._together(values, tweak, decrypt=decrypt)
        own = tweak if isinstance(tweak, bytes) else [bytes(row) for row in tweak]
        return self._one_by_one(values, own, decrypt=decrypt)

    def _one_by_one(
        self, values: Sequence[str], tweak: bytes | Sequence[bytes], *, decrypt: bool
    ) -> list[str]:
        run = self._ff1.decrypt_str if decrypt else self._ff1.encrypt_str
        made: list[str] = []
        alphabet = self._alphabet
        try:
            if isinstance(tweak, bytes):
                for value in values:
                    made.append(run(value, alphabet, tweak))
            else:
                for value, own in zip(values, tweak, strict=True):
                    made.append(run(value, alphabet, own))
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
        update, d = self._scratch.cipher.update, state.d
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

    def _matrix(self, matrix: Matrix, tweak: bytes | NDArray[np.uint8], *, decrypt: bool) -> Matrix:
        if matrix.ndim != 2 or matrix.dtype not in (np.uint8, np.uint32):
            raise ValueError("a matrix has N rows of n code points, uint8 or uint32")
        if matrix.dtype == np.uint8 and not self._columns.is_narrow:
            raise ValueError("the alphabet has characters beyond uint8")
        if not isinstance(tweak, bytes) and (tweak.ndim != 2 or len(tweak) != len(matrix)):
            raise ValueError("there are as many tweaks as values, or one")
        count, n = matrix.shape
        made = np.empty_like(matrix, order="C")
        if not count:
            return made
        t = len(tweak) if isinstance(tweak, bytes) else tweak.shape[1]
        layout = _first_refused(self._ff1.layout, n, t)
        if not self._is_short(n):
            self._columns.digits(matrix)  # refuses what is not of the alphabet; `strings` does not look
            own = tweak if isinstance(tweak, bytes) else [bytes(row) for row in tweak]
            done = self._columns.matrix(self._one_by_one(self._columns.strings(matrix), own, decrypt=decrypt))
            return made if done is None else done.astype(matrix.dtype)
        plan = self._plan(n, tweak) if isinstance(tweak, bytes) else None

        def run(start: int, stop: int) -> None:
            for at in range(start, stop, CHUNK):
                end = min(at + CHUNK, stop)
                some = plan or self._with_tweaks(layout, n, np.asarray(tweak)[at:end])
                try:
                    self._chunk(matrix[at:end], made[at:end], some, decrypt=decrypt)
                except ValueRefused as refusal:
                    refusal.facts["item"] = _item(refusal) + at
                    raise

        if count < THREADS_FROM:
            run(0, count)
            return made
        middle = count // 2 // CHUNK * CHUNK
        other = _helper.submit(run, middle, count)
        try:
            run(0, middle)
        finally:
            failed = other.exception()
        if failed is not None:
            raise failed
        return made

    def _chunk(self, matrix: Matrix, made: Matrix, plan: _Plan, *, decrypt: bool) -> None:
        columns = self._columns
        n = matrix.shape[1]
        digits = columns.digits(matrix)
        a, b = columns.numbers(digits[: plan.u]), columns.numbers(digits[plan.u :])
        self._rounds(a, b, plan, decrypt=decrypt)
        out = np.empty((n, len(matrix)), matrix.dtype)
        columns.write(a, out[: plan.u])
        columns.write(b, out[plan.u :])
        made[:] = out.T

    def _rounds(self, a: Words, b: Words, plan: _Plan, *, decrypt: bool) -> None:
        """All ten rounds, in place."""
        count, mine = len(a), self._scratch
        blocks, images = mine.blocks[:count], mine.images[: count * _BLOCK + _BLOCK - 1]
        given = blocks.reshape(-1).view(np.uint8)
        words = images[: count * _BLOCK].view(_BIG).reshape(count, 2)
        y, spare, third = (column[:count] for column in mine.words)
        first, second = blocks[:, 0].view(_BIG), blocks[:, 1].view(_BIG)
        each = isinstance(plan.high, np.ndarray)
        first[:] = plan.high if each else plan.high[0]
        for i in range(_ROUNDS - 1, -1, -1) if decrypt else range(_ROUNDS):
            half, fed, modulus = (b, a, plan.mod_v) if i % 2 else (a, b, plan.mod_u)
            if each:
                np.bitwise_xor(fed, plan.low, out=y)
                if plan.shift < 64:
                    np.bitwise_xor(y, _U64(i << plan.shift), out=y)
                else:
                    first[:] = plan.high ^ _U64(i << plan.shift - 64)
            else:
                np.bitwise_xor(fed, _U64(plan.low[i]), out=y)
                if plan.shift >= 64:
                    first[:] = plan.high[i]
            second[:] = y
            mine.cipher.update_into(given.data, images.data)
            y[:] = words[:, 0]
            if plan.d == _NARROW:
                _remainder(y, modulus, spare)
            else:
                spare[:] = words[:, 1]
                _remainder_96(y, spare, modulus, third, mine.quotients[:count])
            if decrypt:
                np.subtract(half, y, out=half)
                np.add(half, _U64(modulus), out=spare)
            else:
                np.add(half, y, out=half)
                np.subtract(half, _U64(modulus), out=spare)
            np.minimum(half, spare, out=half)  # what wrapped around is the larger

    # What n and the tweak fix

    def _plan(self, n: int, tweak: bytes) -> _Plan:
        state = self._ff1.state(n, tweak)
        constants = [constant for pair in state.pairs for constant in pair]
        high = [constant >> 64 for constant in constants]
        low = [constant & (1 << 64) - 1 for constant in constants]
        return _Plan(state.mod_u, state.mod_v, n // 2, high, low, _shift(state.mod_v), state.d)

    def _with_tweaks(self, layout: Layout, n: int, tweaks: NDArray[np.uint8]) -> _Plan:
        """The plan for a chunk's own tweaks: CBC-MAC over their whole blocks, column by column."""
        count, t = tweaks.shape
        shift = _shift(layout.mod_v)
        size = t + len(layout.zeros) + 1 + shift // 8
        padded = np.zeros((count, size), np.uint8)
        padded[:, :t] = tweaks
        chain = padded[:, :_BLOCK] ^ np.frombuffer(layout.head.to_bytes(_BLOCK), np.uint8)
        images = np.empty(count * _BLOCK + _BLOCK - 1, np.uint8)
        for at in range(_BLOCK, size, _BLOCK):
            self._scratch.cipher.update_into(np.ascontiguousarray(chain).reshape(-1).data, images.data)
            chain = padded[:, at : at + _BLOCK] ^ images[: count * _BLOCK].reshape(count, _BLOCK)
        words = np.ascontiguousarray(chain).view(_BIG)
        high, low = words[:, 0].astype(_U64), words[:, 1].astype(_U64)
        return _Plan(layout.mod_u, layout.mod_v, n // 2, high, low, shift, layout.d)


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


@lru_cache(maxsize=256)
def _shift(mod_v: int) -> int:
    """Where a round's number stands before NUM(B), in bits: 8b."""
    return ((mod_v - 1).bit_length() + 7) // 8 * 8


def _remainder(y: Words, modulus: int, spare: Words) -> None:
    """y mod m, in place. `np.remainder` takes seven times as long."""
    np.floor_divide(y, _U64(modulus), out=spare)
    np.multiply(spare, _U64(modulus), out=spare)
    np.subtract(y, spare, out=y)


def _remainder_96(y: Words, rest: Words, modulus: int, spare: Words, quotients: NDArray[np.float64]) -> None:
    """(y 2^32 + the upper half of `rest`) mod m, in y; m < 2^62.

    The high word is reduced first where that keeps what follows small. For m < 2^32 all then fits a word.
    Else the quotient is y 2^32 / m in floating point: at most 2^63 / 2^32 or 2^96 / 2^46, so under 2^51, and
    off by one at most; the remainder, in words that wrap, is then in [-m, 2m), and two corrections by the
    smaller of two bring it home, as what wrapped below zero is the larger.
    """
    m = _U64(modulus)
    np.right_shift(rest, _U64(32), out=rest)
    if modulus < 1 << 46:
        _remainder(y, modulus, spare)
    if modulus < 1 << 32:
        np.left_shift(y, _U64(32), out=y)
        np.bitwise_or(y, rest, out=y)
        _remainder(y, modulus, spare)
        return
    np.multiply(y, 4_294_967_296.0 / modulus, out=quotients, casting="unsafe", dtype=np.float64)
    np.left_shift(y, _U64(32), out=y)
    np.bitwise_or(y, rest, out=y)
    spare[:] = quotients
    np.multiply(spare, m, out=spare)
    np.subtract(y, spare, out=y)
    np.add(y, m, out=spare)
    np.minimum(y, spare, out=y)
    np.subtract(y, m, out=spare)
    np.minimum(y, spare, out=y)
