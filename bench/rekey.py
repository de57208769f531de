"""rekey against tokenize, of the same values, through the verbs: `python -m bench rekey`.

Columns of 10,000 as they lie in a body, authenticated, audited and on disk, in one process and thread, in
turns; figures are medians. Rekeying is two transformations, so half of the speed is all that there is.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.target import SMALL, Target, report
from tests.support.cells import BuiltCell, development_cell
from vault.formats.catalog import parse_template
from vault.services.field_keys import ReasonBody, rotate_key
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page
from vault.services.rekey import RekeyBody, rekey
from vault.services.tokenize import TokenizeBody, tokenize
from vault.tokens.written import Written

COUNT = 10_000
TURNS = 3 if SMALL else 100
TARGET = Target("rekey_vs_tokenize", 0.45, at_most=False)


def main() -> bool:
    with tempfile.TemporaryDirectory() as folder, development_cell(Path(folder)) as built:
        return measure(built)


def measure(built: BuiltCell) -> bool:
    chosen, template = random.Random(1), parse_template("digits(min=10, max=10)")
    toml = built.schema + (
        '\n[fields."bench.phone"]\ntemplate = "digits(min=10, max=10)"\nprotection = "vaultless"\n'
        'retention = "key-lifetime"\n'
    )
    built.apply(toml)
    permissions = ["tokenize:bench.phone", "rekey:bench.phone"]
    _, key = built.principal("service", "bench", permissions=permissions)
    values = column([template.sample(chosen) for _ in range(COUNT)])
    made = built.run(tokenize, TokenizeBody(field="bench.phone", values=[]), values, by=key)
    old = column(json.loads(bytes(made.tokens)))  # type: ignore[union-attr,arg-type]
    rows = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind="ff1"), by=built.admin).items
    first = next(row.id for row in rows if row.field == "bench.phone")
    built.run(rotate_key, first, ReasonBody(), by=built.admin)
    turns = []
    for _ in range(TURNS):
        start = time.perf_counter()
        built.run(tokenize, TokenizeBody(field="bench.phone", values=[]), values, by=key)
        between = time.perf_counter()
        built.run(rekey, RekeyBody("bench.phone", [], 1), old, by=key)
        turns.append((between - start, time.perf_counter() - between))
    floor, ours = (median(turn[side] for turn in turns) for side in (0, 1))
    print(f"  tokenize {COUNT / floor:11,.0f} values/s   rekey {COUNT / ours:11,.0f} tokens/s")
    return report([(TARGET, median(one / other for one, other in turns))])


def column(texts: list[str]) -> Written:
    """Texts as they lie in a body."""
    written = Written.of(json.dumps(texts).encode()[1:-1], COUNT)
    if written is None:
        raise SystemExit("texts that cannot be taken in place")
    return written


if __name__ == "__main__":
    sys.exit(not main())
