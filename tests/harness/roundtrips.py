"""Made values of every template, all it accepts: tokens, and back. What is refused is printed as a share.

python -m tests.harness.roundtrips [--values 1000000] [SPELLING ...]

Ends with 1 if a value does not come back, two values have one token, or something but smallness is refused.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import click

from vault.formats.catalog import CATALOG, parse_template
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

SLICE: Final = 50_000  # values at once; bounds the memory
KEY: Final = Secret(bytes(range(32)))


@dataclass(slots=True)
class Found:
    """What a template did with values that it made itself."""

    spec: str
    values: int = 0
    wrong: int = 0
    collisions: int = 0
    seconds: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        return not self.wrong and not self.collisions and self.refused.keys() <= {"domain_too_small"}

    def __str__(self) -> str:
        shares = ", ".join(f"{code} {count / self.values:.2%}" for code, count in self.refused.items())
        each = self.seconds / max(1, self.values) * 1e6
        state = "ok" if self.good else f"WRONG {self.wrong}, one token for two values {self.collisions}"
        return f"{self.spec}: {self.values:,}, refused {shares or 'none'}, {each:.1f} us a value: {state}"


def specs() -> list[str]:
    """Every reversible spelling of the catalogue."""
    found = [spec for name, entry in CATALOG.items() for spec in (name, *entry.examples)]
    return [spec for spec in found if parse_template(spec).reversible_by_ff1]


def round_trips(spec: str, values: int) -> Found:
    """Tokens of many made values, and the values of these tokens."""
    template, chosen = parse_template(spec), random.Random(spec)
    codec = Vaultless(KEY, "main", "round.trip", template)
    found = Found(spec)
    while found.values < values:
        some: list[str | None] = [template.sample(chosen) for _ in range(min(SLICE, values - found.values))]
        start = time.perf_counter()
        tokens, refused = codec.tokenize_many(some)
        back, lost = codec.detokenize_many(tokens)
        found.seconds += (time.perf_counter() - start) / 2
        found.values += len(some)
        found.refused.update(refusal.code for refusal in refused.values())
        made: dict[str, str] = {}
        for value, token, again in zip(some, tokens, back, strict=True):
            if token is None or value is None:
                continue
            found.wrong += again != value
            found.collisions += made.setdefault(token, value) != value
        found.wrong += len(lost)
    return found


@click.command()
@click.option("--values", default=1_000_000, show_default=True, help="of each spelling")
@click.argument("chosen", nargs=-1)
def main(values: int, chosen: tuple[str, ...]) -> None:
    """Round trips of made values."""
    good = True
    for spec in chosen or specs():
        found = round_trips(spec, values)
        print(found, flush=True)
        good = good and found.good
    sys.exit(not good)


if __name__ == "__main__":
    main()
