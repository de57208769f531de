"""FF1 one value at a time, ours against libffx, in one process: `python -m bench.ff1`.

Each round takes both over the same values, one after the other, and gives one ratio of processor time; the
figure is the median over the rounds, which are short and many, so that what else the machine does hits few.
Both sides get an empty tweak, which suits libffx best: it works a longer one through in each of the ten
rounds. BENCH_SIZE=small makes it short and rough.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from statistics import median

import ffx

from bench.target import SMALL, Target, report
from vault.crypto.ff1 import FF1
from vault.formats.alphabet import ALNUM_UPPER, ALPHANUMERIC, DIGITS, Alphabet

# (alphabet, length): how many times faster than libffx ours must be
CASES = {
    (DIGITS, 9): Target("ff1_digits_9_vs_libffx", 3.2, at_most=False),
    (DIGITS, 10): Target("ff1_vs_libffx", 3.2, at_most=False),
    (DIGITS, 16): Target("ff1_digits_16_vs_libffx", 3.2, at_most=False),
    (ALNUM_UPPER, 10): Target("ff1_base36_10_vs_libffx", 2.2, at_most=False),
    (ALNUM_UPPER, 16): Target("ff1_base36_16_vs_libffx", 2.2, at_most=False),
    (ALPHANUMERIC, 16): Target("ff1_base62_16_vs_libffx", 2.0, at_most=False),
}


def seconds(call: Callable[[str], str], values: list[str]) -> float:
    start = time.thread_time()
    for value in values:
        call(value)
    return time.thread_time() - start


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


def main() -> bool:
    rounds, count = (21, 100) if SMALL else (301, 200)
    results = []
    print("FF1, AES-256, one value at a time: microseconds a value, medians of rounds that take turns")
    for (alphabet, length), target in CASES.items():
        ours, theirs, ratio = compare(alphabet, length, rounds, count)
        print(f"{length:3} {alphabet.name:<29} ours {ours:6.2f}   libffx {theirs:6.2f}")
        results.append((target, ratio))
    return report(results)


if __name__ == "__main__":
    sys.exit(not main())
