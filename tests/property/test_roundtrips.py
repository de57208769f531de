"""Round trips of made values through the batch face, every spelling of the catalogue.

3,000 values a spelling; a million with `python -m tests.harness.roundtrips`.
"""

from __future__ import annotations

import pytest

from tests.harness.roundtrips import Found, round_trips, specs


@pytest.mark.parametrize("spec", specs())
def test_values_come_back_and_tokens_are_their_own(spec: str) -> None:
    found = round_trips(spec, 3_000)
    assert found.good, str(found)
    assert sum(found.refused.values()) < found.values


def test_what_is_wrong_is_told() -> None:
    for found in (Found("x", 10, wrong=1), Found("x", 10, collisions=1)):
        assert not found.good
        assert "WRONG" in str(found)
    refused = Found("x", 10)
    refused.refused["value_format"] = 1
    assert not refused.good
