"""Templates in batches: microseconds a value, and times as fast as the same values one at a time.

python -m bench formats
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final
from uuid import UUID

from bench.target import SMALL, Target, report
from vault.formats.catalog import parse_template
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

BATCH: Final = 2_000 if SMALL else 10_000
SIZES: Final = (19, 20, 40, 100, 1_000)  # at none of them may a batch be slower
ALONE: Final = 100 if SMALL else 500  # values one at a time, so that more would only take longer
TURNS: Final = 1 if SMALL else 3
FASTER: Final = 5.0  # times, of ASCII in one length
LEAST: Final = 0.85  # times, at any size: short runs differ by as much from themselves

_FIRST: Final = ("Anna", "Maria", "James", "Lucia", "Oskar", "Amir", "Chen", "Fatima", "Juan", "Priya")
_LAST: Final = ("Weber", "Garcia", "Smith", "Novak", "Okafor", "Rossi", "Dubois", "Tanaka", "Silva", "Khan")
_CYRILLIC: Final = ("\u0410\u043d\u043d\u0430", "\u0418\u0432\u0430\u043d", "\u041c\u0430\u0440\u0438\u044f")
_CYRILLIC_LAST: Final = ("\u041f\u0435\u0442\u0440\u043e\u0432", "\u0421\u043c\u0438\u0440\u043d\u043e\u0432")
_ENDS: Final = ("", "\u0430")
_HOSTS: Final = ("example.com", "mail.example.org", "example.de", "post.example.net")

Make = Callable[[random.Random], str]


def _mail(chosen: random.Random) -> str:
    name = f"{chosen.choice(_FIRST)}.{chosen.choice(_LAST)}".lower()
    return f"{name}{chosen.randrange(1000)}@{chosen.choice(_HOSTS)}"


def _time(chosen: random.Random) -> str:
    day = f"20{chosen.randrange(10, 30)}-0{chosen.randint(1, 9)}-1{chosen.randrange(10)}"
    return f"{day}T12:30:{chosen.randrange(10, 60)}Z"


def _code(chosen: random.Random) -> str:
    letters = "".join(chosen.choices("ABCDEFGHJKLM", k=2))
    return f"{letters}-{chosen.randrange(10**6):06d}-{chosen.choice('xyz')}{chosen.randrange(10)}"


def _cyrillic(chosen: random.Random) -> str:
    return f"{chosen.choice(_CYRILLIC)} {chosen.choice(_CYRILLIC_LAST)}{chosen.choice(_ENDS)}"


def _german_iban(chosen: random.Random) -> str:
    template = parse_template("iban")
    body = f"{chosen.randrange(10**18):018d}"
    check = 98 - int(f"{body}131400") % 97
    value = f"DE{check:02d}{body}"
    template.parse(value)
    return value


# Spelling, values as people have them (None: its own samples), and whether these are of one length
CASES: Final[Sequence[tuple[str, Make | None, bool]]] = (
    ("ssn", None, True),
    ("date", None, True),
    (
        "timestamp",
        _time,
        True,
    ),
    ("integer", lambda one: str(one.randrange(10**8, 10**9)), True),
    ("decimal", lambda one: f"{one.randrange(1000, 10_000)}.{one.randrange(100):02d}", True),
    ("ipv4", None, False),
    (
        "mac",
        lambda one: f"00:1b:44:{one.randrange(256):02x}:{one.randrange(256):02x}:{one.randrange(256):02x}",
        True,
    ),
    ("uuid", lambda one: str(UUID(int=one.getrandbits(128), version=4)), True),
    ("iban", _german_iban, True),
    (
        "postal(country='nl')",
        lambda one: f"{one.randrange(1000, 10_000)} {one.choice('ABCD')}{one.choice('EFGH')}",
        True,
    ),
    ("br_cpf", None, False),
    ("code", _code, True),
    ("email(domain='keep')", _mail, False),
    ("email(domain='token')", _mail, False),
    ("name", lambda one: f"{one.choice(_FIRST)} {one.choice(_LAST)}", False),
    ("name(script='cyrillic')", _cyrillic, False),
)


def values_of(spec: str, make: Make | None, count: int, *, alike: bool) -> list[str | None]:
    """Made values; where they are to be alike, of the length that most samples have."""
    template, chosen = parse_template(spec), random.Random(spec)
    if make is not None:
        return [make(chosen) for _ in range(count)]
    pool = [template.sample(chosen) for _ in range(5 * count if alike else count)]
    if alike:
        lengths = [*map(len, pool)]
        usual = max(set(lengths), key=lengths.count)
        pool = [one for one in pool if len(one) == usual]
    return [*pool[:count]]


def ratio(codec: Vaultless, values: Sequence[str | None]) -> tuple[float, float]:
    """(microseconds a value of the batch, times as fast as one at a time), of processor time; medians."""
    alone = [one for one in values[:ALONE] if one is not None]
    times, turns = max(1, 500 // len(values)), []
    for _ in range(TURNS):
        start = time.thread_time()
        for _ in range(times):
            codec.tokenize_many(values)
        ours = (time.thread_time() - start) / times / len(values)
        start = time.thread_time()
        for _ in range(max(1, 250 // len(alone))):
            for one in alone:
                codec.tokenize(one)
        theirs = (time.thread_time() - start) / max(1, 250 // len(alone)) / len(alone)
        turns.append((ours * 1e6, theirs / ours))
    return median(ours for ours, _ in turns), median(faster for _, faster in turns)


def main() -> bool:
    print(f"Batches of {BATCH:,}, one thread: us a value, and times as fast as one at a time")
    fixed, slowest = [], []
    for spec, make, alike in CASES:
        codec = Vaultless(Secret(bytes(range(32))), "main", "bench.formats", parse_template(spec))
        values = values_of(spec, make, BATCH, alike=alike)
        tokens, refused = codec.tokenize_many(values)
        if refused or tokens[:100] != [codec.tokenize(one or "") for one in values[:100]]:
            raise SystemExit(f"{spec}: batch and value disagree")
        us, faster = ratio(codec, values)
        sizes = [(size, ratio(codec, values[:size])[1]) for size in SIZES]
        shown = ", ".join(f"{size}: {one:.2f}" for size, one in sizes)
        print(f"  {spec}: {us:.2f} us, {faster:.0f} times; at {shown}")
        slowest.append(min(faster, *(one for _, one in sizes)))
        if alike:
            fixed.append(faster)
    return report(
        [
            (Target("formats_fixed_ascii_vs_scalar_at_worst", FASTER, at_most=False), min(fixed)),
            (Target("formats_any_size_vs_scalar_at_worst", LEAST, at_most=False), min(slowest)),
        ]
    )


if __name__ == "__main__":
    sys.exit(not main())
