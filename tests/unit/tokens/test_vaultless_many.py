"""Many values give what one at a time gives: tokens and refusals, whatever stands beside them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.crypto.ff1_batch import COLUMNS_FROM, SCALAR_BELOW
from vault.crypto.texts import Texts
from vault.errors import CoatcheckError
from vault.formats.catalog import CATALOG, parse_template
from vault.secret import Secret
from vault.tokens.lines import Lines
from vault.tokens.vaultless import Vaultless

SPECS = [name for name in CATALOG if parse_template(name).reversible_by_ff1]
SPECS += [
    "ssn(strict=true)",
    "card(luhn='break')",
    "card(luhn='mark')",
    "card(keep_first=6, keep_last=0, luhn='mark')",
    "card(keep_first=6)",
    "card(keep_first=6, keep_last=6)",
    "card(keep_last=0, luhn='break')",
    "imei(keep='tac')",
    "imsi(keep=6)",
    "vin(check='require')",
    "vin(check='require', keep='wmi')",
    "digits(min=10, max=10)",
    "alphanumeric(case='lower', min=20, max=20)",
]
DEFECTS = (
    "",
    "x",
    "é",
    "\n",
    "12345\n",
    "1" * 300,
    "1234567890123456",
    "+1",
    "-",
    "\0" * 9,
    "４" * 9,
    "\ud800",
)


def codec(spec: str) -> Vaultless:
    return Vaultless(Secret(bytes(range(32))), "main", "customer.field", parse_template(spec))


def one_by_one(turn: object, given: list[str | None]) -> tuple[list[str | None], dict[int, tuple[str, str]]]:
    made: list[str | None] = []
    refused = {}
    for place, one in enumerate(given):
        made.append(None)
        if one is not None:
            try:
                made[place] = turn(one)  # type: ignore[operator]
            except CoatcheckError as refusal:
                refused[place] = (refusal.code, str(refusal.facts))
    return made, refused


def agrees(spec: str, given: list[str | None]) -> None:
    tokens = codec(spec)
    for many, turn in (
        (tokens.tokenize_many, tokens.tokenize),
        (tokens.detokenize_many, tokens.detokenize),
    ):
        made, refused = many(given)
        named = {place: (refusal.code, str(refusal.facts)) for place, refusal in refused.items()}
        assert (made, named) == one_by_one(turn, given)


@pytest.mark.parametrize("size", [0, 1, SCALAR_BELOW, COLUMNS_FROM, 700])
@pytest.mark.parametrize("spec", SPECS)
def test_with_and_without_defects(spec: str, size: int) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    values: list[str | None] = [template.sample(chosen) for _ in range(size)]
    agrees(spec, values)
    tokens, refused = codec(spec).tokenize_many(values)
    back, _ = codec(spec).detokenize_many(tokens)
    assert [one for place, one in enumerate(back) if place not in refused] == [
        one for place, one in enumerate(values) if place not in refused
    ]
    for place in range(0, size, 5):
        values[place] = chosen.choice(
            (None, *DEFECTS, (values[place] or "") + "x", (values[place] or "")[1:])
        )
    agrees(spec, values)
    agrees(spec, values[::-1])


@pytest.mark.parametrize("spec", SPECS)
def test_values_of_one_length(spec: str) -> None:
    """Where a column is one matrix, a bad character in it is still that value's alone."""
    template, chosen = parse_template(spec), random.Random(spec)
    sample = template.sample(chosen)
    alike = [one for one in (template.sample(chosen) for _ in range(9_000)) if len(one) == len(sample)][:300]
    agrees(spec, [*alike])
    for _ in range(6):
        broken = [*alike]
        for place in chosen.sample(range(len(broken)), min(len(broken), chosen.choice((1, 20, 200)))):
            at = chosen.randrange(len(sample))
            broken[place] = broken[place][:at] + chosen.choice("x\n0é-+ AK") + broken[place][at + 1 :]
        agrees(spec, [*broken])


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_whatever_comes(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(SPECS))
    some = st.one_of(
        st.none(),
        st.text(max_size=20),
        st.text(alphabet=st.sampled_from("0123456789 -+\n"), max_size=20),
        st.integers(0, 10**16).map(lambda number: f"{number:016d}"),
    )
    agrees(spec, data.draw(st.lists(some, min_size=COLUMNS_FROM, max_size=120)))


LINES = st.lists(st.one_of(st.none(), st.text(alphabet=st.sampled_from("01\n\0é"), max_size=4)), max_size=30)


@given(LINES)
@settings(max_examples=500)
def test_lines_are_those_of_the_list(given: list[str | None]) -> None:
    lines = Lines.of(given)
    assert [given[place] for place in lines.others] == [
        one for one in given if one is not None and not one.isascii()
    ]
    data = lines.texts.data
    texts = [
        bytes(data[start : start + length]).decode()
        for start, length in zip(lines.texts.starts, lines.texts.lengths, strict=True)
    ]
    assert texts == [one for one in given if one is not None and one.isascii()]
    assert [given[place] for place in lines.in_list(np.arange(len(texts)))] == texts
    blank = lines.strings(lines.like())
    assert [None if one is None else len(one) for one in blank] == [
        None if one is None or not one.isascii() else len(one) for one in given
    ]


def test_texts_in_a_buffer_of_somebody_else() -> None:
    """JSON has quotes and commas between them; they are not touched."""
    values = [f"{number:010d}" for number in range(100)]
    body = np.frombuffer(('["' + '","'.join(values) + '"]').encode(), np.uint8)
    out = body.copy()
    tokens = codec("digits")
    left = tokens.tokenize_texts(Texts.on_grid(body, 2, 10, 13, 100), out)
    assert not len(left)
    assert out.tobytes() == ('["' + '","'.join(map(tokens.tokenize, values)) + '"]').encode()
    back = out.copy()
    assert not len(tokens.detokenize_texts(Texts.on_grid(out, 2, 10, 13, 100), back))
    assert (back == body).all()
