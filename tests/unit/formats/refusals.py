"""What a template says to a value that it does not take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.echo import shown
from vault.errors import ValueRefused
from vault.formats.template import Shape


def refused(parse: Callable[[str], Shape], value: str) -> str:
    """The code of the refusal, once it is clear that it echoes nothing."""
    with pytest.raises(ValueRefused) as caught:
        parse(value)
    text = shown(caught.value)
    if len(value) > 3:
        assert value not in text
        assert repr(value)[1:-1] not in text
    assert all(isinstance(fact, int) for fact in caught.value.facts.values())
    return caught.value.code


# What every door meets, and what no template over digits takes: (value, how it differs from 123456789)
STRANGERS = [
    "12345678\0",
    "１２３４５６７８９",
    "12345678\u202e",
    "1234567\u200b8",
    "12345678\ud800",
    "12345678é",
    "12345678\n",
    "12345678²",
    "+12345678",
    "1234_5678",
    "12345678.",
]
