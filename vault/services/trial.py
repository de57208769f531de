"""Trying values on a template, without a cell: taken or not, what is kept, and a token for the look of it.

The tokens are made under a key that is forgotten at once. They open nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vault.crypto.block import BlockCipher
from vault.crypto.randomness import new_key
from vault.errors import CoatcheckError
from vault.formats.catalog import parse_template
from vault.formats.template import Shape, Template
from vault.identifiers import RowId, uuid7
from vault.tokens.vaulted import encode
from vault.tokens.vaultless import Vaultless

TAKEN: Final = "taken"
TRANSFORMED: Final = "#"  # in a picture of what is kept


@dataclass(frozen=True, slots=True, repr=False)
class Trial:
    """What came of one value.

    Attributes:
        result: `taken`, or the code that it is refused with. `domain_too_small`: the template takes it, FF1
            does not.
        among: how many values have its shape; None where values are not transformed.
        kept: the value with `#` for each character that is transformed.
        token: what a token could look like: format-preserving, or opaque where the template has none.
    """

    result: str
    among: int | None = None
    kept: str | None = None
    token: str | None = None


def try_values(spelling: str, values: Iterable[str]) -> list[Trial]:
    """What a template makes of values, in order.

    Raises:
        BadInput: `template_invalid`.
    """
    template = parse_template(spelling)
    if not template.reversible_by_ff1:
        cipher = BlockCipher(new_key())
        return [_stored(template, cipher, value) for value in values]
    tokens = Vaultless(new_key(), "trial", "trial", template)
    return [_transformed(template, tokens, value) for value in values]


def _stored(template: Template, cipher: BlockCipher, value: str) -> Trial:
    try:
        template.parse(value)
    except CoatcheckError as refusal:
        return Trial(refusal.code)
    return Trial(TAKEN, token=encode(cipher, RowId(uuid7())))


def _transformed(template: Template, tokens: Vaultless, value: str) -> Trial:
    try:
        shape = template.parse(value)
    except CoatcheckError as refusal:
        return Trial(refusal.code)
    try:
        return Trial(TAKEN, shape.size, _picture(shape), tokens.tokenize(value))
    except CoatcheckError as refusal:
        return Trial(refusal.code, shape.size, _picture(shape))


def _picture(shape: Shape) -> str:
    kept = dict(shape.kept)
    return "".join(kept.get(position, TRANSFORMED) for position in range(shape.length))
