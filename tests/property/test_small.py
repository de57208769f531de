"""With `small = "pass"`: a passed value and a token are told apart by their shape, for every template."""

from __future__ import annotations

import random

import pytest

from tests.property.test_formats import REVERSIBLE
from vault.formats.catalog import parse_template
from vault.schema.rules import FieldRule, Protection, Small
from vault.secret import Secret
from vault.services.small import is_passed
from vault.tokens.vaultless import Vaultless

VALUES = 500


@pytest.mark.parametrize("spec", REVERSIBLE)
def test_a_passed_value_is_never_taken_for_a_token_nor_a_token_for_one(spec: str) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    rule = FieldRule("f", template, Protection.VAULTLESS, "key", "", False, {}, {}, small=Small.PASS)
    tokens = Vaultless(Secret(bytes(32)), "main", "f", template)
    for _ in range(VALUES):
        value = template.sample(chosen)
        if template.parse(value).size < 1_000_000:
            assert is_passed(rule, value)
        else:
            assert not is_passed(rule, tokens.tokenize(value))
