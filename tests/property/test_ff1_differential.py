"""FF1 against libffx, an implementation by others, over random radix, length, tweak and key.

2,000 cases of each kind; 50,000 with COATCHECK_FULL=1. libffx works on strings only, so numerals are written
in a long alphabet of consecutive code points.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import ffx

from vault.crypto.ff1 import FF1, KEY_SIZES, MAX_NUMERALS, MAX_TWEAK, MIN_DOMAIN
from vault.formats.alphabet import ALNUM_LOWER, ALNUM_UPPER, ALPHANUMERIC, DIGITS, LOWER, UPPER

CASES = 50_000 if os.environ.get("COATCHECK_FULL") == "1" else 2_000
CHARACTERS = "".join(chr(0x10000 + numeral) for numeral in range(65536))


def shortest(radix: int) -> int:
    n = 2
    while radix**n < MIN_DOMAIN:
        n += 1
    return n


def rounds_of(radix: int, n: int) -> str:
    """Which kind of rounds the parameters take: by the width of S and of NUM(B), both in bytes."""
    b = -(-(radix ** (n - n // 2) - 1).bit_length() // 8)
    d = 4 * -(-b // 4) + 4
    return "narrow" if d == 8 else "one block" if d <= 16 and b < 16 else "multi-block S"


def compare(chosen: random.Random, radix: int, n: int) -> None:
    key, tweak = chosen.randbytes(chosen.choice(KEY_SIZES)), chosen.randbytes(tweak_length(chosen))
    edge = chosen.random() < 0.1
    numerals = [chosen.choice((0, radix - 1))] * n if edge else chosen.choices(range(radix), k=n)
    alphabet = CHARACTERS[:radix]
    text = "".join([alphabet[numeral] for numeral in numerals])
    token = ffx.FF1(key, alphabet=alphabet).encrypt(text, tweak=tweak)
    ff1 = FF1(key, radix)
    where = f"radix {radix}, n {n}, t {len(tweak)}, key {len(key)}"
    assert ff1.encrypt_str(text, alphabet, tweak) == token, where
    assert ff1.decrypt_str(token, alphabet, tweak) == text, where
    as_numerals = [ord(character) - 0x10000 for character in token]
    assert ff1.encrypt(numerals, tweak) == as_numerals, where
    assert ff1.decrypt(as_numerals, tweak) == numerals, where


def tweak_length(chosen: random.Random) -> int:
    return chosen.choice((0, chosen.randint(1, 40), chosen.randint(1, MAX_TWEAK), MAX_TWEAK))


def test_random_parameters() -> None:
    chosen = random.Random("ff1 differential")
    seen: Counter[str] = Counter()
    for _ in range(CASES):
        # mostly the radices in use; large ones are slow to set up for both sides
        radix = chosen.choice((10, 10, 26, 36, 62, chosen.randint(2, 64), int(2 ** chosen.uniform(1, 11))))
        n = shortest(radix) + int(chosen.choice((0, chosen.expovariate(1 / 12), chosen.uniform(0, 250))))
        n = min(n, MAX_NUMERALS)
        compare(chosen, radix, n)
        seen[rounds_of(radix, n)] += 1
    assert min(seen[kind] for kind in ("narrow", "one block", "multi-block S")) > CASES // 20, seen


def test_large_radices() -> None:
    chosen = random.Random("ff1 differential, large radices")
    for _ in range(CASES // 40):
        radix = chosen.choice((256, 257, 65535, 65536, chosen.randint(2048, 65536)))
        compare(
            chosen, radix, chosen.choice((shortest(radix), chosen.randint(shortest(radix), MAX_NUMERALS)))
        )


def test_the_alphabets_of_templates() -> None:
    """As they are in use: text of digits and letters goes other ways than lists and made-up alphabets."""
    chosen = random.Random("ff1 differential, alphabets")
    for _ in range(CASES):
        characters = chosen.choice((DIGITS, UPPER, LOWER, ALNUM_LOWER, ALNUM_UPPER, ALPHANUMERIC)).characters
        radix, key = len(characters), chosen.randbytes(chosen.choice(KEY_SIZES))
        text = "".join(chosen.choices(characters, k=chosen.randint(shortest(radix), 40)))
        tweak = chosen.randbytes(chosen.choice((0, chosen.randint(1, 40))))
        token = ffx.FF1(key, alphabet=characters).encrypt(text, tweak=tweak)
        ff1 = FF1(key, radix)
        assert ff1.encrypt_str(text, characters, tweak) == token, f"radix {radix}, n {len(text)}"
        assert ff1.decrypt_str(token, characters, tweak) == text, f"radix {radix}, n {len(text)}"


def test_every_power_of_two_and_its_neighbours() -> None:
    # b = ceil(ceil(v log2(radix)) / 8) goes wrong first at powers of two
    chosen = random.Random("ff1 differential, powers of two")
    for exponent in range(1, 13):
        for radix in {max(2, 2**exponent - 1), 2**exponent, 2**exponent + 1}:
            for n in {shortest(radix), *(2 * -(-bits // exponent) for bits in (32, 64, 96, 120, 128, 232))}:
                compare(chosen, radix, max(n, shortest(radix)))
