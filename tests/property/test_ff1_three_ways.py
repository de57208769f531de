"""The batch face, the scalar face and libffx agree; the full size is python -m tests.harness.differential."""

from __future__ import annotations

import os
import random

import pytest

from tests.harness import differential
from vault.crypto.ff1_batch import FF1Batch

CASES = 1_000_000 if os.environ.get("COATCHECK_FULL") else 3_000


def differing(cases: int) -> list[str]:
    """The parameters of what differs among so many cases."""
    chosen, done, wrong = random.Random(7), 0, list[str]()
    while done < cases:
        kinds, more = differential.batch(chosen, cases - done)
        done += sum(kinds.values()) // 2
        wrong += more
    assert done == cases
    return wrong


def test_three_ways_agree() -> None:
    assert differing(CASES) == []


def test_one_wrong_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a batch whose last two tokens are exchanged differs from the other two ways."""
    encrypt = FF1Batch.encrypt

    def exchanged(self: FF1Batch, values: list[str], tweak: object) -> list[str]:
        tokens = encrypt(self, values, tweak)  # type: ignore[arg-type]
        return [*tokens[:-2], *tokens[:-3:-1]]

    monkeypatch.setattr(FF1Batch, "encrypt", exchanged)
    assert differing(500)
