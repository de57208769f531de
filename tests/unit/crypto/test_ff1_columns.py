"""Remainders of 96-bit numbers, where floating point could be off by one: beside multiples of the modulus."""

from __future__ import annotations

import random

import numpy as np
import pytest

from vault.crypto.ff1_columns import _remainder_96

MODULI = [
    *(10**7, 2**32 - 5, 2**32, 2**32 + 15, 10**10, 2**33 - 9, 2**33, 2**33 + 17, 36**7, 36**8),
    *(2**46 - 21, 2**46, 2**46 + 15, 10**14, 36**9, 36**10, 62**10, 10**18, 2**61 - 1, 2**62 - 57),
]


@pytest.mark.parametrize("modulus", MODULI)
def test_remainders_of_96_bits(modulus: int) -> None:
    chosen = random.Random(modulus)
    most = (2**96 - 1) // modulus
    multiples = [chosen.randint(0, most) * modulus for _ in range(2000)] + [0, most * modulus]
    near = [multiple + by for multiple in multiples for by in (-2, -1, 0, 1, 2)]
    anywhere = [chosen.getrandbits(96) for _ in range(5000)]
    edges = [2**96 - 1, 2**95, 2**95 - 1, 2**64, 2**64 - 1, 2**63 << 32, (2**63 - 1) << 32, 2**32 - 1]
    given = [number for number in near + anywhere + edges if 0 <= number < 2**96]
    y = np.array([number >> 32 for number in given], np.uint64)
    end = np.array([number & 2**64 - 1 for number in given], np.uint64)
    times = _remainder_96(y, end, modulus, np.empty_like(y), np.empty(len(y)))
    assert times == (1 if modulus < 2**32 else 3 if modulus < 2**33 else 2)
    for number, left in zip(given, y.tolist(), strict=True):
        assert left < times * modulus
        assert left % modulus == number % modulus
