"""FF1 three ways over random cases: the batch face, the scalar face, and libffx, an implementation by others.

python -m tests.harness.differential [--cases 1000000] [--seed 0]

A case is a value with its key, radix, length and tweak; cases come in batches of one key, radix and length,
with a tweak for all or one for each. Ends with 1 if two of the three differ anywhere.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import Final

import click
import ffx

from vault.crypto.ff1 import FF1, KEY_SIZES, MAX_NUMERALS, MIN_DOMAIN
from vault.crypto.ff1_batch import FF1Batch

CHARACTERS: Final = "".join(chr(0x10000 + numeral) for numeral in range(65536))
RADICES: Final = (10, 10, 16, 26, 36, 62)  # those in use, decimals most; others are drawn
BATCHES: Final = (1, 2, 7, 30, 200, 1_000)
LONG: Final = 24  # most values are no longer


def shortest(radix: int) -> int:
    """The fewest numerals that FF1 takes."""
    n = 2
    while radix**n < MIN_DOMAIN:
        n += 1
    return n


def batch(chosen: random.Random, most: int) -> tuple[Counter[str], list[str]]:
    """Makes a batch and does it three ways.

    Returns:
        how many cases there were by kind, and the parameters of those that differ.
    """
    radix = chosen.choice((*RADICES, chosen.randint(2, 64), int(2 ** chosen.uniform(1, 12))))
    longest = MAX_NUMERALS if chosen.random() < 0.02 else max(LONG, shortest(radix))
    n = chosen.randint(shortest(radix), longest)
    count = min(most, chosen.choice(BATCHES) if n <= LONG else 3)
    key, alphabet = chosen.randbytes(chosen.choice(KEY_SIZES)), CHARACTERS[:radix]
    values = ["".join(chosen.choices(alphabet, k=n)) for _ in range(count)]
    values[0] = alphabet[chosen.choice((0, -1))] * n  # an edge
    one = chosen.random() < 0.5
    tweaks = [chosen.randbytes(chosen.choice((0, 8, chosen.randint(1, 40)))) for _ in values]
    tweaks = tweaks[:1] * count if one else tweaks
    many, single, other = FF1Batch(key, alphabet), FF1(key, radix), ffx.FF1(key, alphabet=alphabet)
    tokens = many.encrypt(values, tweaks[0] if one else tweaks)
    again = many.decrypt(tokens, tweaks[0] if one else tweaks)
    where = f"radix {radix}, n {n}, key {len(key)}, {count} values, {'one' if one else 'own'} tweak"
    wrong = [
        f"{where}, t {len(tweak)}"
        for value, token, back, tweak in zip(values, tokens, again, tweaks, strict=True)
        if {token} != {single.encrypt_str(value, alphabet, tweak), other.encrypt(value, tweak=tweak)}
        or {value, back} != {single.decrypt_str(token, alphabet, tweak), other.decrypt(token, tweak=tweak)}
    ]
    kind = "decimal" if radix == 10 else "up to 62" if radix <= 62 else "more"
    return Counter({f"radix {kind}": count, "one tweak" if one else "tweak each": count}), wrong


@click.command()
@click.option("--cases", default=1_000_000, show_default=True, help="values to try")
@click.option("--seed", default=0, show_default=True, help="of the cases")
def main(cases: int, seed: int) -> None:
    """Compares FF1 in batches, FF1 one by one, and libffx."""
    chosen = random.Random(seed)
    done, seen, wrong = 0, Counter[str](), list[str]()
    with click.progressbar(length=cases, label="cases", file=sys.stderr) as bar:
        while done < cases:
            kinds, differing = batch(chosen, cases - done)
            count = sum(kinds.values()) // 2
            done += count
            seen += kinds
            wrong += differing
            bar.update(count)
    print(f"{done:,} cases, {len(wrong):,} differ")
    for kind, count in sorted(seen.items()):
        print(f"  {kind}: {count:,}")
    for where in wrong[:10]:
        print(f"  differs: {where}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
