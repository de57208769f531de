"""FF1 is a permutation: over the whole smallest decimal domain, every token occurs exactly once."""

from __future__ import annotations

import os

import pytest

from vault.crypto.ff1 import FF1

DIGITS = "0123456789"
LENGTH = 6
SIZE = 10**LENGTH
STEP = 1 if os.environ.get("COATCHECK_FULL") == "1" else 101  # of the way back


def test_the_whole_domain() -> None:
    ff1 = FF1(bytes(range(32)), 10)
    encrypt, decrypt, tweak = ff1.encrypt_str, ff1.decrypt_str, b"permutation"
    seen = bytearray(SIZE)
    same = 0
    for number in range(SIZE):
        value = f"{number:06d}"
        token = encrypt(value, DIGITS, tweak)
        seen[int(token)] += 1
        same += token == value
        if number % STEP == 0:
            assert decrypt(token, DIGITS, tweak) == value
    assert seen == b"\1" * SIZE
    assert same < 12  # fixed points of a random permutation: one on average


@pytest.mark.parametrize(("radix", "length"), [(1000, 2), (100, 3), (16, 5)])
def test_part_of_other_small_domains(radix: int, length: int) -> None:
    ff1 = FF1(bytes(16), radix)
    tokens = set()
    for number in range(0, radix**length, 97):
        numerals = [number // radix**place % radix for place in range(length)]
        tokens.add(tuple(ff1.encrypt(numerals)))
    assert len(tokens) == len(range(0, radix**length, 97))
