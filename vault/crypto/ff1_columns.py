"""The rounds of FF1 over columns of 64-bit words: what `ff1_batch` runs for many values at once.

Source: NIST SP 800-38G (March 2016), Algorithms 7 and 8, step 6. All that a round does not change of Q is
folded into one 16-byte state, as the scalar rounds have it, so that a round is one exclusive or, one AES call
over the whole column and one remainder. For radix^v <= 2^32 a remainder is a division by a constant, which
numpy does exactly; beyond, y has 96 bits: its quotient is estimated in floating point and set right
(see `_remainder_96`). Everything is exact while radix^v < 2^62.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vault.crypto.ff1 import FF1, chain_of

CHUNK: Final = 16_384  # values; their words and blocks stay in a core's cache
MAX_HALF: Final = 1 << 62  # radix^v: sums of two stay in a signed word
_ROUNDS: Final = 10
_BLOCK: Final = 16
_NARROW: Final = 8  # d, in bytes, where y is one word
_WIDE: Final = 12  # d, in bytes, elsewhere
_FACTOR: Final = 2.0**32 * (1 - 2.0**-51)

_U64 = np.uint64
_BIG = np.dtype(">u8")
Words = NDArray[np.uint64]
Rows = NDArray[np.uint8]  # (values, bytes): the tweaks of values, or what is left of them behind a prefix


class Plan(NamedTuple):
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
    """A thread's own columns, for all keys: they may not be shared while the GIL is given up."""

    def __init__(self) -> None:
        self.blocks = np.empty((CHUNK, 2), _U64)
        self.images = np.empty(CHUNK * _BLOCK + _BLOCK - 1, np.uint8)  # what `update_into` asks for
        self.words = [np.empty(CHUNK, _U64) for _ in range(3)]
        self.quotients = np.empty(CHUNK, np.float64)


_scratch: Final = _Scratch()


def plan_for(ff1: FF1, n: int, tweak: bytes) -> Plan:
    """The plan of n numerals under one tweak.

    Raises:
        ValueRefused, ValueError: as `FF1.encrypt`.
    """
    state = ff1.state(n, tweak)
    constants = [constant for pair in state.pairs for constant in pair]
    high = [constant >> 64 for constant in constants]
    low = [constant & (1 << 64) - 1 for constant in constants]
    return Plan(state.mod_u, state.mod_v, n // 2, high, low, _shift(state.mod_v), state.d)


def plan_for_each(ff1: FF1, n: int, prefix: bytes, rows: Rows) -> Plan:
    """The plan of a chunk whose values have tweaks of their own: `prefix` and their row.

    The CBC-MAC over the prefix's whole blocks is made once, the rest of it column by column.

    Raises:
        ValueRefused, ValueError: as `FF1.encrypt`.
    """
    count, width = rows.shape
    layout = ff1.layout(n, len(prefix) + width)
    shift = _shift(layout.mod_v)
    shared = len(prefix) & -_BLOCK
    rest = len(prefix) - shared
    size = rest + width + len(layout.zeros) + 1 + shift // 8
    padded = np.zeros((count, size), np.uint8)
    padded[:, :rest] = np.frombuffer(prefix[shared:], np.uint8)
    padded[:, rest : rest + width] = rows
    head = chain_of(ff1.encryptor.update, layout.head, prefix[:shared])
    blocks = padded[:, :_BLOCK] ^ np.frombuffer(head.to_bytes(_BLOCK), np.uint8)
    images = np.empty(count * _BLOCK + _BLOCK - 1, np.uint8)
    for at in range(_BLOCK, size, _BLOCK):
        ff1.encryptor.update_into(np.ascontiguousarray(blocks).reshape(-1).data, images.data)
        blocks = padded[:, at : at + _BLOCK] ^ images[: count * _BLOCK].reshape(count, _BLOCK)
    words = np.ascontiguousarray(blocks).view(_BIG)
    high, low = words[:, 0].astype(_U64), words[:, 1].astype(_U64)
    return Plan(layout.mod_u, layout.mod_v, n // 2, high, low, shift, layout.d)


def run(ff1: FF1, a: Words, b: Words, plan: Plan, *, decrypt: bool) -> None:
    """All ten rounds on the two halves of at most `CHUNK` values, in place."""
    count, mine = len(a), _scratch
    blocks, images = mine.blocks[:count], mine.images[: count * _BLOCK + _BLOCK - 1]
    given = blocks.reshape(-1).view(np.uint8)
    tops = np.ndarray(count, _BIG, images, 0, (_BLOCK,))
    ends = np.ndarray(count, _BIG, images, _WIDE - 8, (_BLOCK,))
    y, spare, third = (column[:count] for column in mine.words)
    first, second = blocks[:, 0].view(_BIG), blocks[:, 1].view(_BIG)
    each = isinstance(plan.high, np.ndarray)
    first[:] = plan.high if each else plan.high[0]
    encrypt = ff1.encryptor.update_into
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
        encrypt(given.data, images.data)
        y[:] = tops
        excess = 1  # y is to be under `excess` times m
        if plan.d == _NARROW:
            _remainder(y, modulus, spare)
        else:
            spare[:] = ends
            excess = _remainder_96(y, spare, modulus, third, mine.quotients[:count])
        if decrypt:
            np.subtract(half, y, out=half)
            np.add(half, _U64(excess * modulus), out=half)
        else:
            np.add(half, y, out=half)
        for _ in range(excess):  # what wraps around below zero is the larger
            np.subtract(half, _U64(modulus), out=spare)
            np.minimum(half, spare, out=half)


@lru_cache(maxsize=256)
def _shift(mod_v: int) -> int:
    """Where a round's number stands before NUM(B), in bits: 8b."""
    return ((mod_v - 1).bit_length() + 7) // 8 * 8


def _remainder(y: Words, modulus: int, spare: Words) -> None:
    """y mod m, in place. `np.remainder` takes seven times as long."""
    np.floor_divide(y, _U64(modulus), out=spare)
    np.multiply(spare, _U64(modulus), out=spare)
    np.subtract(y, spare, out=y)


def _remainder_96(y: Words, end: Words, modulus: int, spare: Words, quotients: NDArray[np.float64]) -> int:
    """A number of 96 bits, of which y is the upper and `end` the lower 64 bits, mod m < 2^62, in y.

    The upper word is reduced first where that keeps what follows small. For m < 2^32 all then fits a word.
    Else the quotient is y 2^32 / m in floating point, made smaller by 2^-51 of itself: three roundings to 53
    bits are less than that, so it is never too large. It is under 2^32, or under 2^96 / 2^46 = 2^50, so all
    this makes it less than 7/8 too small. What it does not count are the lower half of `end`, less than
    2^32 / m, and the last bit of an upper word that was not reduced, less than 2^-13. Products and
    differences may wrap: what is left fits.

    Returns:
        By how many times m the result is bounded: 1, 2, or 3.
    """
    m = _U64(modulus)
    if modulus < 1 << 46:
        _remainder(y, modulus, spare)
        np.left_shift(y, _U64(32), out=spare)
        np.bitwise_and(end, _U64(0xFFFF_FFFF), out=end)
        np.bitwise_or(spare, end, out=end)
        if modulus < 1 << 32:
            y[:] = end
            _remainder(y, modulus, spare)
            return 1
        factor = _FACTOR / modulus
    else:
        np.right_shift(y, _U64(1), out=y)  # converting signed words has no branch that is guessed wrong
        factor = 2 * _FACTOR / modulus
    np.multiply(y.view(np.int64), factor, out=quotients, casting="unsafe", dtype=np.float64)
    spare.view(np.int64)[:] = quotients
    np.multiply(spare, m, out=spare)
    np.subtract(end, spare, out=y)
    return 2 if modulus >= 1 << 33 else 3
