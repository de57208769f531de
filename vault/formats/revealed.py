"""What a format-preserving token shows of its value: found out by taking samples apart, not by asking.

A template says of each value which characters are kept and which style is. What differs between samples and
stands in the token too is what somebody without the key learns. Samples cannot prove that nothing else is
shown; what `Shape` keeps and how long the text is are all that FF1 leaves untouched.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from vault.errors import CoatcheckError
from vault.formats.mask import Mask, place_of
from vault.formats.template import Shape, Template

SAMPLES: Final = 64


def revealed(template: Template) -> tuple[str, ...]:
    """What tokens of a template show, a phrase each; none where FF1 cannot transform its values.

    The same template gives the same phrases.
    """
    if not template.reversible_by_ff1:
        return ()
    rng = random.Random(template.spec)  # noqa: S311 - for samples
    values = [template.sample(rng) for _ in range(SAMPLES)]
    shapes = [template.parse(value) for value in values]
    return tuple(_phrases(template, values, shapes))


def _phrases(template: Template, values: Sequence[str], shapes: Sequence[Shape]) -> Iterator[str]:
    tokens = [_another(template, shape) for shape in shapes]
    for part in sorted(template.parts):
        mask = Mask.parse(place_of(part))
        pairs = [
            (mask.apply(value), token and mask.apply(token))
            for value, token in zip(values, tokens, strict=True)
        ]
        told = {shown for shown, _ in pairs if shown.strip("*")}
        if len(told) > 1 and all(token is None or token == shown for shown, token in pairs):
            yield f"the {part}"
    yield from _ends(shapes)
    lengths = {shape.length - _separators(shape) for shape in shapes}
    if len(lengths) > 1:
        yield f"how many letters and digits there are: {_span(lengths)} in samples"
    if len({_layout(shape) for shape in shapes}) > 1:
        yield "which separators there are, and where"
    styles = {shape.style for shape in shapes}
    if len(styles) > 1:
        yield f"how it is written: {len(styles)} styles in {SAMPLES} samples"
    if len({shape.ranks for shape in shapes}) > 1:
        yield "which of several kinds of value it is, by how many there are of each"


def _another(template: Template, shape: Shape) -> str | None:
    """A token that a value of this shape might have; None where the template makes none."""
    if shape.ranks:
        text = f"{(shape.rank + shape.ranks // 2) % shape.ranks:0{len(shape.text)}b}"
    else:
        alphabet = shape.alphabet
        text = "".join(alphabet.characters[(alphabet.index[one] + 1) % alphabet.radix] for one in shape.text)
    try:
        return template.render_token(shape, text)
    except CoatcheckError:
        return None


def _ends(shapes: Sequence[Shape]) -> Iterator[str]:
    """Letters and digits that are kept at the start, at the end and between, by how many they are."""
    first, middle, last = set(), set(), set()
    for shape in shapes:
        kept = {position for position, character in shape.kept if character.isalnum()}
        plain = {position for position, character in shape.kept if not character.isalnum()}
        places = [position for position in range(shape.length) if position not in plain]
        lead = next((n for n, place in enumerate(places) if place not in kept), len(places))
        tail = next((n for n, place in enumerate(reversed(places)) if place not in kept), len(places))
        tail = min(tail, len(places) - lead)
        first.add(lead)
        last.add(tail)
        middle.add(len(kept) - lead - tail)
    for where, counts in (("the first", first), ("in the middle", middle), ("the last", last)):
        if max(counts) > 0:
            yield f"{where} {_span(counts)} letters and digits, which are kept"


def _separators(shape: Shape) -> int:
    return sum(not character.isalnum() for _, character in shape.kept)


def _layout(shape: Shape) -> tuple[str, ...]:
    return tuple(character for _, character in shape.kept if not character.isalnum())


def _span(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
