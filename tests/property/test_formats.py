"""Every template, over many accepted values: tokens keep their shape and turn back; masks never tell all.

2,000 values a template; 100,000 with COATCHECK_FULL=1.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.echo import shown
from vault.errors import BadInput, ValueRefused
from vault.formats.alphabet import ALPHANUMERIC
from vault.formats.card import Card
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.checksum import luhn_valid
from vault.formats.mask import Mask
from vault.formats.template import MAX_KEPT_BYTES, MAX_SPEC, Template
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

VALUES = 100_000 if os.environ.get("COATCHECK_FULL") == "1" else 2_000
REVERSIBLE = [
    "ssn",
    "ssn(strict=true)",
    "card",
    "card(luhn='break')",
    "card(keep_first=6, keep_last=4)",
    "card(keep_first=6, keep_last=4, luhn='break')",
    "card(keep_first=8, keep_last=4, luhn='break')",
    "card(keep_last=0)",
    "card(keep_first=5, keep_last=0, luhn='break')",
    "digits",
    "digits(min=1, max=24)",
    "alphanumeric",
    "alphanumeric(case='lower', min=1, max=30)",
    "alphanumeric(case='upper', min=4)",
]
TEXT = ["text", "text(max=20)"]
ANY_TEXT = st.text(alphabet=st.characters(), max_size=60)  # lone surrogates among them
LIKELY = st.text(alphabet=st.sampled_from("0123456789 -abzABZ４\0"), max_size=40)


def test_every_template_of_the_catalogue_is_here() -> None:
    assert {spec.partition("(")[0] for spec in REVERSIBLE + TEXT} == CATALOG.keys()


def keeps_its_shape(template: Template, value: str, token: str) -> None:
    taken, made = template.parse(value), template.parse_token(token)
    assert len(token) == len(value)
    assert made.kept == taken.kept
    assert made.kept_bytes() == taken.kept_bytes()
    assert taken.alphabet.foreign(made.text) is None
    for mine, theirs in zip(value, token, strict=True):
        assert (mine in ALPHANUMERIC) == (theirs in ALPHANUMERIC)
    if isinstance(template, Card):
        digits = token.replace(" ", "").replace("-", "")
        assert luhn_valid(digits) == (template.luhn == "keep")
        assert digits[: template.keep_first] == value.replace(" ", "").replace("-", "")[: template.keep_first]


@pytest.mark.parametrize("spec", REVERSIBLE)
def test_tokens_keep_their_shape_and_turn_back(spec: str) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    tokens = Vaultless(Secret(bytes(range(32))), "main", "customer.field", template)
    values: dict[str, str] = {}
    small = 0
    for _ in range(VALUES):
        value = template.sample(chosen)
        shape = template.parse(value)
        assert template.render_value(shape, shape.text) == value
        assert len(shape.kept_bytes()) <= MAX_KEPT_BYTES
        if shape.size < 1_000_000:
            with pytest.raises(ValueRefused, match="domain_too_small"):
                tokens.tokenize(value)
            small += 1
            continue
        token = tokens.tokenize(value)
        keeps_its_shape(template, value, token)
        assert tokens.detokenize(token) == value
        assert values.setdefault(token, value) == value  # no two values share a token
    assert len(values) > VALUES // 20
    assert (small > 0) == (template.smallest().size < 1_000_000)


@pytest.mark.parametrize("spec", TEXT)
def test_text_comes_back(spec: str) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    for _ in range(VALUES):
        value = template.sample(chosen)
        shape = template.parse(value)
        assert template.render_value(shape, shape.text) == value


@pytest.mark.parametrize("spec", REVERSIBLE)
def test_domains_say_what_shapes_are(spec: str) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    for _ in range(200):
        value = template.sample(chosen)
        shape = template.parse(value)
        domain = template.domain(sum(character in ALPHANUMERIC for character in value))
        assert (domain.radix, domain.length, domain.size) == (
            shape.alphabet.radix,
            len(shape.text),
            shape.size,
        )
        assert domain.size >= template.smallest().size


def echoes_nothing(error: BadInput) -> None:
    """All there is to an error is its code and facts, and the facts are ours."""
    ours = {*CATALOG} | {parameter.name for entry in CATALOG.values() for parameter in entry.parameters}
    assert all(isinstance(fact, int) or fact in ours for fact in error.facts.values())
    assert shown(error) == shown(type(error)(error.code, **error.facts))


@pytest.mark.parametrize("spec", REVERSIBLE + TEXT)
@given(value=st.one_of(ANY_TEXT, LIKELY))
@settings(deadline=None, max_examples=150)
def test_whatever_comes_is_taken_whole_or_refused(spec: str, value: str) -> None:
    template = parse_template(spec)
    for parse in (template.parse, template.parse_token):
        try:
            shape = parse(value)
        except ValueRefused as refused:
            echoes_nothing(refused)
            continue
        except BadInput as refused:
            assert (refused.code, spec in TEXT) == ("operation_unsupported", True)  # noqa: PT017
            continue
        assert shape.length == len(value)
        if parse == template.parse:
            assert template.render_value(shape, shape.text) == value
        else:
            assert template.render_token(shape, shape.text) == value


@given(spec=st.one_of(ANY_TEXT, st.from_regex(r"(ssn|card|digits|text)(\([a-z_]{0,10}=['a-z0-9]{0,8}\))?")))
@settings(deadline=None, max_examples=400)
def test_whatever_is_spelled_is_a_template_or_refused(spec: str) -> None:
    try:
        template = parse_template(spec)
    except BadInput as refused:
        assert refused.code == "template_invalid"  # noqa: PT017
        echoes_nothing(refused)
        return
    assert parse_template(template.spec) == template
    assert len(template.spec) <= MAX_SPEC


@given(value=ANY_TEXT, first=st.integers(0, 8), last=st.integers(0, 8))
@settings(deadline=None, max_examples=400)
def test_masks_never_show_more_than_they_say_nor_everything(value: str, first: int, last: int) -> None:
    pattern = (f"{{first:{first}}}" if first else "") + "*-*" + (f"{{last:{last}}}" if last else "")
    masked = Mask.parse(pattern).apply(value)
    whole = [character for character in value if character.isalnum()]
    shown_ones = [character for character in masked if character.isalnum()]
    assert len(shown_ones) in (0, first + last)
    assert not shown_ones or len(shown_ones) < len(whole)
    if shown_ones:
        assert shown_ones == whole[:first] + whole[len(whole) - last :]
    assert len(masked) == first + last + 3
