"""Templates that make columns of many values: every spelling, with damage, gives what one by one gives."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.tokens.test_vaultless_many import agrees, codec
from vault.crypto.texts import Texts
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.template import Reversible
from vault.tokens.lines import wide_texts

SPELLED = [spec for name, entry in CATALOG.items() for spec in (name, *entry.examples)]
SPECS = [
    spec
    for spec in SPELLED
    if isinstance(template := parse_template(spec), Reversible) and template.in_columns
]
TOO_LARGE = {"decimal(min=-999999999999999, max=999999999999999, scale=18)"}
COUNT = 320  # from 300 on, all of them take columns
SIGNS = "0123456789-:. /TZ+AaBbFfXxZz@_%,\u00e9\0\n\x01\u00df\u0141\u738b\u093f\u0663\uff14\U0001f600\ud800"


def damaged(value: str, chosen: random.Random) -> str:
    at, sign = chosen.randrange(len(value) + 1), chosen.choice(SIGNS)
    ways = (
        value[:at] + sign + value[at + 1 :],
        value[:at] + sign + value[at:],
        value[:at] + value[at + 1 :],
        value[:at] + value[at:].swapcase(),
        value[at:] + value[:at],
        value * 2,
    )
    return chosen.choice(ways)


def values_of(spec: str, chosen: random.Random, count: int = COUNT) -> list[str]:
    template = parse_template(spec)
    return [template.sample(chosen) for _ in range(count)]


@pytest.mark.parametrize("spec", SPECS)
def test_good_and_bad_rows_together(spec: str) -> None:
    chosen = random.Random(spec)
    values: list[str | None] = [*values_of(spec, chosen)]
    for place in range(0, COUNT, 3):
        values[place] = damaged(values[place] or "", chosen)
    values[7] = None
    agrees(spec, values)


@pytest.mark.parametrize("spec", SPECS)
def test_values_go_in_columns_and_come_back(spec: str) -> None:
    """The control of all others here: had the columns taken nothing, they would hold just as well."""
    template = parse_template(spec)
    assert isinstance(template, Reversible)
    values = values_of(spec, random.Random(spec), 1_000)
    texts = wide_texts([one for one in values if one.isascii() or template.in_columns == "unicode"])
    rows = texts.padded(np.arange(len(texts.starts)), int(texts.lengths.max()))
    if template.in_columns == "ascii":
        rows = rows.astype(np.uint8)
    taken = sum(len(column.at) for column in template.columns(rows, token=False))
    assert taken > len(rows) / 4 or spec in TOO_LARGE
    codec_of = codec(spec)
    tokens, refused = codec_of.tokenize_many([*values])
    back, _ = codec_of.detokenize_many(tokens)
    assert [one for place, one in enumerate(back) if place not in refused] == [
        one for place, one in enumerate(values) if place not in refused
    ]


@given(st.randoms(use_true_random=False), st.sampled_from(SPECS))
@settings(deadline=None, max_examples=40)
def test_damage_by_chance(chosen: random.Random, spec: str) -> None:
    values = values_of(spec, chosen, 40)
    pool = values + [damaged(value, chosen) for value in values for _ in range(2)]
    agrees(spec, [chosen.choice(pool) for _ in range(COUNT)])


@pytest.mark.parametrize("spec", SPECS)
def test_texts_in_a_buffer(spec: str) -> None:
    """What is written is the token; what is not is left, and nothing beside the texts is touched."""
    chosen = random.Random(spec)
    values = [one for one in values_of(spec, chosen) if one.isascii()]
    if len(values) < 64:
        return
    whole = "".join(f'"{one}",' for one in values).encode()
    lengths = np.array([*map(len, values)])
    texts = Texts(np.frombuffer(whole, np.uint8), np.cumsum(lengths + 3) - lengths - 2, lengths)
    out = np.frombuffer(whole, np.uint8).copy()
    tokens = codec(spec)
    left = {*tokens.tokenize_texts(texts, out).tolist()}
    for place, (start, length) in enumerate(zip(texts.starts, texts.lengths, strict=True)):
        if place not in left:
            assert bytes(out[start : start + length]).decode() == tokens.tokenize(values[place])
        out[start : start + length] = texts.data[start : start + length]
    assert out.tobytes() == whole
