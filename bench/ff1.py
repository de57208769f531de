"""FF1 one value at a time, ours against libffx, in one process: `python -m bench.ff1`.

Each round times both over the same values, one after the other, and gives one ratio; the figure is the
median over the rounds. Both sides get an empty tweak, which suits libffx best: it works a longer one
through in each of the ten rounds. BENCH_SIZE=small makes it short and rough.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from statistics import median

import ffx

from vault.crypto.ff1 import FF1
from vault.formats.alphabet import ALPHANUMERIC, DIGITS, Alphabet

CASES = ((DIGITS, 9), (DIGITS, 10), (DIGITS, 16), (ALPHANUMERIC, 16))
HEADLINE = (DIGITS, 10)


def seconds(call: Callable[[str], str], values: list[str]) -> float:
    start = time.perf_counter()
    for value in values:
        call(value)
    return time.perf_counter() - start


def compare(alphabet: Alphabet, length: int, rounds: int, count: int) -> tuple[float, float, float]:
    """Microseconds a value of ours and of libffx, and how many times faster ours is; medians."""
    chosen, key = random.Random(length), bytes(range(32))
    values = ["".join(chosen.choices(alphabet.characters, k=length)) for _ in range(count)]
    ours, theirs = FF1(key, alphabet.radix), ffx.FF1(key, alphabet=alphabet.characters)

    def encrypt(value: str) -> str:
        return ours.encrypt_str(value, alphabet.characters)

    def encrypt_theirs(value: str) -> str:
        token: str = theirs.encrypt(value)
        return token

    if any(encrypt(value) != encrypt_theirs(value) for value in values):
        raise SystemExit("the two disagree")
    times = [(seconds(encrypt, values), seconds(encrypt_theirs, values)) for _ in range(rounds)]
    return (
        median(ours for ours, _ in times) / count * 1e6,
        median(theirs for _, theirs in times) / count * 1e6,
        median(theirs / ours for ours, theirs in times),
    )


def main() -> None:
    rounds, count = (5, 400) if os.environ.get("BENCH_SIZE") == "small" else (15, 4000)
    headline = 0.0
    print("FF1, AES-256, one value at a time: microseconds a value, medians of rounds that take turns")
    for alphabet, length in CASES:
        ours, theirs, ratio = compare(alphabet, length, rounds, count)
        print(f"{length:3} {alphabet.name:<20} ours {ours:6.2f}   libffx {theirs:6.2f}   ratio {ratio:4.1f}")
        if (alphabet, length) == HEADLINE:
            headline = ratio
    print(f"ratio ff1_vs_libffx {headline:.1f}")


if __name__ == "__main__":
    main()
