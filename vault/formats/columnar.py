"""Many values of one length, as a matrix of bytes, sorted by layout: which characters are transformed.

Values of one layout go through FF1 together. Which layout a value has is read off the classes of its
characters (digits are alike, each separator is itself), and a template may look closer (`Reversible.kinds`).
The shape of all values of a layout is that of one of them, by the template's own `parse`: a column can only
be taken as single values would be. Whatever does not fit is left to `parse`, which also says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vault.crypto.texts import Bytes, Places
from vault.errors import CoatcheckError
from vault.formats.column import hashes_of
from vault.formats.template import Reversible, Shape

_SAMPLES: Final = 8  # rows of a layout that are tried for one that is taken
_BEHIND: Final = 255  # the class of what stands behind a value
MAX_LAYOUTS: Final = 64  # that values of one length are sorted into; what is rarer goes one by one


def layouts(template: Reversible, rows: Bytes, fewest: int, *, token: bool) -> Iterator[tuple[Places, Shape]]:
    """(which rows, the shape of one of them) for each layout that at least `fewest` rows have.

    Rows that are in none of them are for `parse`.

    Args:
        token: whether the rows are tokens; else values.
    """
    parse = template.parse_token if token else template.parse
    for at in _alike(template, rows, fewest, token=token):
        if len(at) < fewest:
            continue
        for row in at[:_SAMPLES]:
            try:
                shape = parse(rows[row].tobytes().rstrip(b"\0").decode("ascii"))
            except (CoatcheckError, UnicodeDecodeError):
                continue  # it is told of each of them in its turn
            yield at, shape
            break


def kept_rows(rows: Bytes, shape: Shape) -> bytes | Bytes:
    """`Shape.kept_bytes` of each row of a layout: one for all where it is the same, else a matrix."""
    sample = shape.kept_bytes()
    places = [position for position, character in shape.kept if character.isalnum()]
    if not places:
        return sample
    kept = rows[:, places]
    if (kept == kept[0]).all():
        return sample
    if sample[0] == 0:  # listed: three bytes for each, the last of them the character
        listed = np.empty((len(rows), len(sample)), np.uint8)
        listed[:] = np.frombuffer(sample, np.uint8)
        listed[:, 3::3] = kept
        return listed
    digests: dict[bytes, bytes] = {}
    for row in (whole := [bytes(row) for row in kept]):
        if row not in digests:
            filled = dict(zip(places, row.decode("ascii"), strict=True))
            other = tuple((at, filled.get(at, character)) for at, character in shape.kept)
            digests[row] = shape._replace(kept=other).kept_bytes()
    return np.frombuffer(b"".join([digests[row] for row in whole]), np.uint8).reshape(len(rows), -1)


def text_columns(template: Reversible, shape: Shape) -> slice | Places:
    """The columns that are transformed, of values of a layout."""
    places = template.text_places(shape)
    first, last = places[0], places[-1]
    if last - first + 1 == len(places):
        return slice(first, last + 1)
    return np.array(places, np.int64)


def all_members(template: Reversible, shape: Shape, rows: Bytes) -> NDArray[np.bool_]:
    """Which rows have only characters of the alphabet in those columns."""
    members = np.zeros(256, bool)
    members[[ord(character) for character in shape.alphabet.characters if character.isascii()]] = True
    return np.asarray(members[rows[:, text_columns(template, shape)]].all(axis=1))


def digit_places(row: Bytes) -> Places:
    """The positions of digits in a value."""
    return np.flatnonzero((row >= ord("0")) & (row <= ord("9")))


def digit_values(rows: Bytes) -> Bytes:
    """The digits of values of one layout, as numbers: (digits, values)."""
    return np.ascontiguousarray(rows.T[digit_places(rows[0])]) - np.uint8(ord("0"))


def _alike(template: Reversible, rows: Bytes, fewest: int, *, token: bool) -> Iterator[Places]:
    """Rows of the same classes and kind."""
    for at in _same(template.classes or b"", rows, fewest):
        some = rows if len(at) == len(rows) else rows[at]
        kinds = template.kinds(some, token=token)
        if kinds is None:
            yield at
            continue
        for kind in np.unique(kinds):
            if kind >= 0:
                yield at[np.flatnonzero(kinds == kind)]


def _same(classes: bytes, rows: Bytes, fewest: int) -> Iterator[Places]:
    """Rows whose bytes have the same classes."""
    left = np.arange(len(rows))
    if not classes:
        yield left
        return
    signs = _table(classes)[rows]
    if (signs == signs[0]).all():
        yield left
        return
    hashes = hashes_of(signs)
    order = np.argsort(hashes, kind="stable")
    _, first, counts = np.unique(hashes[order], return_index=True, return_counts=True)
    for group in np.argsort(-counts, kind="stable")[:MAX_LAYOUTS].tolist():
        if counts[group] < fewest:
            return
        at = order[first[group] : first[group] + counts[group]]
        yield at[(signs[at] == signs[at[0]]).all(axis=1)]  # others have the same hash by chance


@lru_cache(maxsize=64)
def _table(classes: bytes) -> Bytes:
    table = np.frombuffer(classes, np.uint8).copy()
    table[0] = _BEHIND
    return table
