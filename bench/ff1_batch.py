"""FF1 of many values, a list of str in and out, ours against others' and against our own scalar rounds, each
in one thread: `python -m bench.ff1_batch`.

For each batch size it prints nanoseconds a value and by how much the batch beats our scalar rounds, which it
must nowhere fall far behind; for large batches, by how much it beats each of `bench.peers` that can run here,
and its target is stated against the fastest of them as they come. Medians of rounds that take turns.
BENCH_SIZE=small makes it short and rough. Then Arrow arrays against lists, and what memory a million values
take beside what is made of them. `python -m bench.ff1_batch FILE` also draws a plot (SVG).
"""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import pyarrow as pa

from bench import peers
from bench.peers import Peer, Task
from bench.plot import plot
from bench.target import SMALL, Target, report
from vault.crypto import ff1_batch
from vault.crypto.ff1 import FF1
from vault.crypto.ff1_batch import FF1Batch
from vault.formats.alphabet import ALNUM_UPPER, ALPHANUMERIC, DIGITS, Alphabet

# (alphabet, length): how many times faster than the fastest peer a batch of 100,000 must be
CASES: Final = {
    (DIGITS, 10): Target("ff1_batch_digits_10_vs_best_peer", 25, at_most=False),
    (DIGITS, 16): Target("ff1_batch_digits_16_vs_best_peer", 20, at_most=False),
    (ALNUM_UPPER, 20): Target("ff1_batch_base36_20_vs_best_peer", 15, at_most=False),
    (ALPHANUMERIC, 20): Target("ff1_batch_base62_20_vs_best_peer", 20, at_most=False),
}
SIZES: Final = (1, 2, 4, 8, 19, 20, 32, 47, 48, 100, 1_000, 10_000, *(() if SMALL else (100_000, 1_000_000)))
LEAST: Final = 0.9  # of the scalar rounds' speed, at any size: the face itself costs a little
ARROW: Final = 1.5  # times a list's speed
MEMORY: Final = 1.6  # of the result
LARGE: Final = 10_000 if SMALL else 100_000
PEER_VALUES: Final = 500 if SMALL else 20_000  # one at a time, so that more would only take longer
WARM_UP: Final = 0.5 if SMALL else 3.0  # seconds; Java's time a value stops falling within half a second


def a_value(call: Callable[[list[str]], list[str]], values: list[str]) -> float:
    """Seconds of this thread's processor time a value, over a thousand values at least."""
    times = max(1, 1_000 // len(values))
    start = time.thread_time()
    for _ in range(times):
        call(values)
    return (time.thread_time() - start) / times / len(values)


def arrow_against_lists(alphabet: Alphabet, key: bytes, pool: list[str]) -> float:
    """How many times as fast an Arrow array of strings is as a list of them."""
    batch = FF1Batch(key, alphabet.characters)
    values = pool[:LARGE]
    array = pa.array(values)
    if batch.encrypt_array(array).to_pylist() != batch.encrypt(values):
        raise SystemExit("arrays and lists disagree")
    turns = []
    for _ in range(3 if SMALL else 21):
        listed = a_value(batch.encrypt, values)
        start = time.thread_time()
        batch.encrypt_array(array)
        turns.append(listed / ((time.thread_time() - start) / len(values)))
    return median(turns)


def memory_beside(alphabet: Alphabet, key: bytes, pool: list[str]) -> float:
    """The most memory of a call, its result included, by the size of the result."""
    batch = FF1Batch(key, alphabet.characters)
    values = pool[: max(SIZES)]
    tracemalloc.start()
    made = batch.encrypt(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / (sys.getsizeof(made) + sum(map(sys.getsizeof, made)))


class Standing(NamedTuple):
    """A peer's seconds a value, and how many times as fast ours is; medians."""

    peer: str
    seconds: float
    ratio: float
    as_it_comes: bool


def by_size(alphabet: Alphabet, key: bytes, pool: list[str]) -> list[tuple[int, float, float]]:
    """(size, ns a value of the batch, times the scalar rounds' speed) by size."""
    batch, scalar = FF1Batch(key, alphabet.characters), FF1(key, alphabet.radix)

    def one_by_one(values: list[str]) -> list[str]:
        return [scalar.encrypt_str(value, alphabet.characters) for value in values]

    rows = []
    for size in SIZES:
        rounds = []
        for _ in range(2 if SMALL else 21 if size <= 10_000 else 5):
            ours = a_value(batch.encrypt, pool[:size])
            rounds.append((ours, a_value(one_by_one, pool[: min(size, 1_000)]) / ours))
        rows.append((size, median(ours for ours, _ in rounds) * 1e9, median(ratio for _, ratio in rounds)))
    return rows


def against(
    present: list[Peer], alphabet: Alphabet, key: bytes, pool: list[str]
) -> tuple[float, list[Standing]]:
    """Seconds a value of a large batch of ours, and where the peers stand, the fastest first."""
    batch = FF1Batch(key, alphabet.characters)
    task = Task(key, alphabet.characters, pool[:PEER_VALUES], WARM_UP)
    with ExitStack() as stack:
        works = {}
        for peer in present:
            work = stack.enter_context(peer.at_work(task))
            if work.tokens != batch.encrypt(pool[:PEER_VALUES])[: len(work.tokens)]:
                raise SystemExit(f"ours and {peer.name} disagree")
            works[peer] = work
        turns = []
        for _ in range(1 if SMALL else 11):
            # One list alone would pay for caches that went cold while the peers were at work.
            ours = median(a_value(batch.encrypt, pool[:LARGE]) for _ in range(5))
            turns.append((ours, {peer: work.a_value() for peer, work in works.items()}))
    standings = [
        Standing(
            f"{peer.name} ({work.version})",
            median(took[peer] for _, took in turns),
            median(took[peer] / ours for ours, took in turns),
            peer.as_it_comes,
        )
        for peer, work in works.items()
    ]
    return median(ours for ours, _ in turns), sorted(standings, key=lambda standing: standing.ratio)


def main(draw_to: Path | None = None) -> bool:
    ff1_batch.THREADS_FROM = sys.maxsize  # one core against one core
    results: list[tuple[Target, float]] = []
    lines: dict[str, list[tuple[int, float]]] = {}
    levels: dict[str, float] = {}
    present = peers.available()
    key = bytes(range(32))
    print("FF1, AES-256, batches of str, one thread: ns a value, and times as fast as one value at a time")
    for (alphabet, length), target in CASES.items():
        chosen = random.Random(length)
        pool = ["".join(chosen.choices(alphabet.characters, k=length)) for _ in range(max(SIZES))]
        rows = by_size(alphabet, key, pool)
        print(f"{length} {alphabet.name}")
        print("  " + ", ".join(f"{size}: {ns:.0f} ({faster:.2f})" for size, ns, faster in rows))
        ours, standings = against(present, alphabet, key, pool)
        print(f"  in turns with the peers, {LARGE}: {ours * 1e9:.0f}")
        best = next(standing for standing in standings if standing.as_it_comes)
        for one in standings:
            note = (
                ", the best as it comes" if one is best else "" if one.as_it_comes else ", with parts of ours"
            )
            print(f"    {one.peer}: {one.seconds * 1e9:.0f}, ours {one.ratio:.2f} times as fast{note}")
        name = target.name.removesuffix("_vs_best_peer")
        slowest = min(faster for _, _, faster in rows)
        lines[f"{length} {alphabet.name}"] = [(size, 1e9 / ns) for size, ns, _ in rows]
        if not levels:
            levels = {one.peer.partition(" (")[0]: 1 / one.seconds for one in standings}
        results.append((target, best.ratio))
        results.append((Target(f"{name}_vs_scalar_at_worst", LEAST, at_most=False), slowest))
        if alphabet is DIGITS:
            arrow = arrow_against_lists(alphabet, key, pool)
            results.append((Target(f"{name}_arrow_vs_list", ARROW, at_most=False), arrow))
            used = memory_beside(alphabet, key, pool)
            results.append((Target(f"{name}_memory_vs_result", MEMORY, at_most=True), used))
    if draw_to is not None:
        draw_to.write_text(plot("FF1 on one core: values a second", lines, levels), encoding="utf-8")
    return report(results)


if __name__ == "__main__":
    sys.exit(not main(Path(sys.argv[1]) if sys.argv[1:] else None))
