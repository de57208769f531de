"""Arrow arrays in and out: what lists give, in arrays of the same layout, in slices and chunks too."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vault.crypto.ff1_batch import FF1Batch
from vault.errors import CoatcheckError, ValueRefused
from vault.formats.alphabet import ALPHANUMERIC, DIGITS

KEY = bytes(range(32))
CHOSEN = random.Random(4)
TYPES = {"string": pa.string(), "large_string": pa.large_string()}


def value(alphabet: str = DIGITS.characters) -> str:
    return "".join(CHOSEN.choices(alphabet, k=CHOSEN.choice((7, 10, 16, 30, 36, 40))))


MIXED = [None if CHOSEN.random() < 0.1 else value() for _ in range(3_000)]
LAYOUTS = {
    "one length": [f"{CHOSEN.randrange(10**10):010d}" for _ in range(3_000)],
    "one length, some null": [None if place % 7 == 3 else f"{place:010d}" for place in range(3_000)],
    "many lengths": [value() for _ in range(3_000)],
    "many lengths, some null": MIXED,
    "one": ["1234567890"],
    "none": [],
    "nulls only": [None, None],
}


def taken(array: Any) -> dict[str, Any]:
    """An array whole, in slices and in chunks."""
    middle = len(array) // 2
    return {
        "whole": array,
        "end": array.slice(middle),
        "start": array.slice(0, middle),
        "chunks": pa.chunked_array([array.slice(0, middle), array.slice(middle)], array.type),
        "no chunks": pa.chunked_array([], array.type),
    }


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_as_lists(layout: str, kind: str) -> None:
    batch = FF1Batch(KEY, DIGITS.characters)
    for name, array in taken(pa.array(LAYOUTS[layout], TYPES[kind])).items():
        made = batch.encrypt_array(array, b"tweak")
        made.validate(full=True)
        assert made.type == array.type
        values = array.to_pylist()
        tokens = iter(batch.encrypt([one for one in values if one is not None], b"tweak"))
        wanted = [None if one is None else next(tokens) for one in values]
        assert made.to_pylist() == wanted, name
        assert batch.decrypt_array(made, b"tweak").to_pylist() == values, name


def test_a_null_may_cover_bytes() -> None:
    """Nulls need not be empty: what lies under them is nobody's value, and does not come out either."""
    data = pa.py_buffer(b"1234567890secretsecr0987654321")
    offsets = pa.py_buffer(np.array([0, 10, 20, 30], np.int32))
    valid = pa.py_buffer(bytes([0b101]))
    array = pa.Array.from_buffers(pa.string(), 3, [valid, offsets, data])
    made = FF1Batch(KEY, DIGITS.characters).encrypt_array(array)
    tokens = FF1Batch(KEY, DIGITS.characters).encrypt(["1234567890", "0987654321"])
    assert made.to_pylist() == [tokens[0], None, tokens[1]]
    assert b"secret" not in made.buffers()[2].to_pybytes()


def test_offsets_are_not_copied() -> None:
    array = pa.array(LAYOUTS["many lengths"])
    made = FF1Batch(KEY, DIGITS.characters).encrypt_array(array)
    assert made.buffers()[1].address == array.buffers()[1].address


@pytest.mark.parametrize("bad", ["12345x7890", "123456789é", "", "12345"])
def test_a_refusal_names_the_element(bad: str) -> None:
    for width in (10, None):
        values: list[str | None] = [f"{place:010d}" if width else value() for place in range(200)]
        values[3] = None
        values[120] = bad
        array = pa.array(values)
        for whole in (array, pa.chunked_array([array.slice(0, 100), array.slice(100)])):
            with pytest.raises(ValueRefused) as refused:
                FF1Batch(KEY, DIGITS.characters).encrypt_array(whole)
            assert refused.value.facts["item"] == 120


def test_what_is_no_array_of_strings() -> None:
    batch = FF1Batch(KEY, DIGITS.characters)
    for array in (
        pa.array([1, 2]),
        pa.array([b"12345678"]),
        pa.array(["12345678"]).dictionary_encode(),
        ["12345678"],
    ):
        with pytest.raises(ValueError, match="array of strings"):
            batch.encrypt_array(array)
    with pytest.raises(ValueError, match="ASCII"):
        FF1Batch(KEY, ALPHANUMERIC.characters + "é").encrypt_array(pa.array(["12345678"]))


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    array = pa.array(["12345678"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CoatcheckError) as missing:
        FF1Batch(KEY, DIGITS.characters).encrypt_array(array)
    assert (missing.value.code, missing.value.facts) == ("extra_missing", {"extra": "arrow"})
