"""What templates share whose values FF1 cannot transform: only a protection that keeps a row holds them."""

from __future__ import annotations

from typing import ClassVar

from vault.errors import BadInput
from vault.formats.alphabet import ANY
from vault.formats.template import Domain, Shape


class Stored:
    """Takes a value whole and has no tokens of its own; a class of its own says what it takes."""

    __slots__ = ()

    version: ClassVar[int] = 1
    reversible_by_ff1: ClassVar[bool] = False
    parts: ClassVar[frozenset[str]] = frozenset()

    def parse_token(self, token: str) -> Shape:
        """Always refused: a token of this template is opaque, or of the field's surrogates.

        Raises:
            BadInput: `operation_unsupported`.
        """
        raise BadInput("operation_unsupported")

    def render_token(self, shape: Shape, text: str) -> str:
        """Always refused, as `parse_token`.

        Raises:
            BadInput: `operation_unsupported`.
        """
        raise BadInput("operation_unsupported")

    def render_value(self, shape: Shape, text: str) -> str:
        """The value itself."""
        return shape.fill(text)

    def canonical(self, value: str) -> str:
        """The value itself; a template with several spellings of one value says which is the one."""
        return value


def whole(value: str) -> Shape:
    """The shape of a value that nothing is kept of."""
    return Shape(ANY, value, (), len(value))


def no_domain(length: int, note: str) -> Domain:
    """Size 0: there is none that FF1 could use."""
    return Domain(ANY.radix, length, 0, note)
