"""FF1 of many values, a list of str in and out, ours against libffx and against our own scalar rounds, in one
process and one thread: `python -m bench.ff1_batch`.

For each batch size it prints nanoseconds a value and by how much the batch beats our scalar rounds, which it
must nowhere fall far behind; for large batches, by how much it beats libffx. Medians of rounds that take
turns. BENCH_SIZE=small makes it short and rough.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import ffx

from bench.target import SMALL, Target, report
from vault.crypto import ff1_batch
from vault.crypto.ff1 import FF1
from vault.crypto.ff1_batch import FF1Batch
from vault.formats.alphabet import ALNUM_UPPER, ALPHANUMERIC, DIGITS, Alphabet

# (alphabet, length): how many times faster than libffx a batch of 100,000 must be
CASES: Final = {
    (DIGITS, 10): Target("ff1_batch_digits_10_vs_libffx", 25, at_most=False),
    (DIGITS, 16): Target("ff1_batch_digits_16_vs_libffx", 25, at_most=False),
    (ALNUM_UPPER, 20): Target("ff1_batch_base36_20_vs_libffx", 15, at_most=False),
    (ALPHANUMERIC, 20): Target("ff1_batch_base62_20_vs_libffx", 20, at_most=False),
}
SIZES: Final = (1, 2, 4, 8, 19, 20, 32, 39, 40, 100, 1_000, 10_000, *(() if SMALL else (100_000, 1_000_000)))
LEAST: Final = 0.9  # of the scalar rounds' speed, at any size: the face itself costs a little
PEER_VALUES: Final = 200 if SMALL else 1_000
LARGE: Final = 10_000 if SMALL else 100_000


def a_value(call: Callable[[list[str]], list[str]], values: list[str]) -> float:
    """Seconds of this thread's processor time a value, over a thousand values at least."""
    times = max(1, 1_000 // len(values))
    start = time.thread_time()
    for _ in range(times):
        call(values)
    return (time.thread_time() - start) / times / len(values)


def compare(alphabet: Alphabet, length: int) -> tuple[list[tuple[int, float, float]], float]:
    """(size, ns a value of the batch, times the scalar rounds' speed) by size; times libffx's speed."""
    chosen, key = random.Random(length), bytes(range(32))
    pool = ["".join(chosen.choices(alphabet.characters, k=length)) for _ in range(max(SIZES))]
    batch, scalar = FF1Batch(key, alphabet.characters), FF1(key, alphabet.radix)
    theirs = ffx.FF1(key, alphabet=alphabet.characters)
    if batch.encrypt(pool[:100]) != [theirs.encrypt(value) for value in pool[:100]]:
        raise SystemExit("the two disagree")

    def one_by_one(values: list[str]) -> list[str]:
        return [scalar.encrypt_str(value, alphabet.characters) for value in values]

    rows = []
    for size in SIZES:
        rounds = []
        for _ in range(5 if SMALL else 21 if size <= 10_000 else 5):
            ours = a_value(batch.encrypt, pool[:size])
            rounds.append((ours, a_value(one_by_one, pool[: min(size, 1_000)]) / ours))
        rows.append((size, median(ours for ours, _ in rounds) * 1e9, median(ratio for _, ratio in rounds)))
    ratios = []
    for _ in range(3 if SMALL else 11):
        peer = a_value(lambda values: [theirs.encrypt(value) for value in values], pool[:PEER_VALUES])
        ratios.append(peer / a_value(batch.encrypt, pool[:LARGE]))
    return rows, median(ratios)


def main() -> bool:
    ff1_batch.THREADS_FROM = sys.maxsize  # one core against one core
    results = []
    print("FF1, AES-256, batches of str, one thread: ns a value, and times as fast as one value at a time")
    for (alphabet, length), target in CASES.items():
        rows, ratio = compare(alphabet, length)
        print(f"{length} {alphabet.name}")
        print("  " + ", ".join(f"{size}: {ns:.0f} ({faster:.2f})" for size, ns, faster in rows))
        name = target.name.removesuffix("_vs_libffx")
        slowest = min(faster for _, _, faster in rows)
        results += [(target, ratio), (Target(f"{name}_vs_scalar_at_worst", LEAST, at_most=False), slowest)]
    return report(results)


if __name__ == "__main__":
    sys.exit(not main())
