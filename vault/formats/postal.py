"""Postal codes, of countries that have at least 1,000,000 of the form.

Four and five digits (Germany, France, Spain, Italy and many others) are too few, and so are six that do not
begin with zero (India): those countries are no choice here. Of US codes nine digits (ZIP+4) can be
transformed; five are taken but too few. What is counted is the form, not which codes are in use, so tokens
are mostly codes of nobody.
Source: Universal Postal Union, postal addressing systems; for GB, BS 7666 and Royal Mail, PAF programmers'
guide; for CA, Canada Post, addressing guidelines; for IE, Eircode, product guide; for NL, PostNL.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import ClassVar, Final, Literal

import numpy as np

from vault.crypto.pairs import Pair
from vault.errors import ValueRefused
from vault.formats.column import CharRows, Column, Ranked, each, lengths_of
from vault.formats.layout import SMALL, Layout, WrittenRows, write
from vault.formats.numbering import Numbering, Step
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import (
    Domain,
    InColumns,
    Reversible,
    Shape,
    Template,
    bits_for,
    kept_form,
    ranked,
    require_length,
    spell,
)

_N: Final = "0123456789"
_FROM_1: Final = "123456789"
_A: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _any(place: int, state: Hashable, character: str) -> Hashable:
    return 0


def _nl(place: int, state: Hashable, character: str) -> Hashable | None:
    """No SA, SD, SS."""
    if place == 5 and state == "S" and character in "ADS":
        return None
    return character if place == 4 else 0


def _ie(place: int, state: Hashable, character: str) -> Hashable | None:
    """A letter and two digits, or D6W."""
    if place == 2 and character == "W":
        return 0 if state == "D6" else None
    return character if place == 0 else f"{state}{character}" if place == 1 else 0


# Of the part before the space: A a letter, 9 a digit from 1, 0 a zero, _ nothing
_GB_FORMS: Final = (
    *("A0__", "A9__", "A90_", "A99_", "AA0_", "AA9_", "AA90", "AA99"),
    *("A9A_", "AA9A"),
)
_GB_THIRD: Final = "ABCDEFGHJKPSTUW"
_GB_FOURTH: Final = "ABEHMNPRVWXY"
_GB_INWARD: Final = "ABDEFGHJLNPQRSTUWXYZ"
_GB_OUTWARD: Final = 4  # places, empty ones at the end
_GB_PLACES: Final = (
    "ABCDEFGHIJKLMNOPRSTUWYZ",
    _N + "ABCDEFGHKLMNOPQRSTUVWXY",
    _N + _GB_THIRD + "_",
    _N + _GB_FOURTH + "_",
    _N,
    _GB_INWARD,
    _GB_INWARD,
)


def _gb(place: int, state: Hashable, character: str) -> Hashable | None:
    if place >= _GB_OUTWARD:
        return 0
    kind = character if character in "0_" else "9" if character in _N else "A"
    form = f"{state}{kind}" if place else kind
    return form if any(one.startswith(form) for one in _GB_FORMS) else None


_CA_FIRST: Final = "ABCEGHJKLMNPRSTVXY"
_CA: Final = "ABCEGHJKLMNPRSTVWXYZ"
_IE_FIRST: Final = "ACDEFHKNPRTVWXY"
_IE: Final = _N + _IE_FIRST

# Country: its forms, the usual one first; where it is separated in writing, and by what.
_ROWS: Final[Mapping[str, tuple[tuple[tuple[str, ...], ...], Step, int, str]]] = {
    "us": (((_N,) * 9, (_N,) * 5), _any, 5, "-"),
    "ca": (((_CA_FIRST, _N, _CA, _N, _CA, _N),), _any, 3, " "),
    "gb": ((_GB_PLACES,), _gb, -3, " "),
    "nl": (((_FROM_1, _N, _N, _N, _A, _A),), _nl, 4, " "),
    "ie": (((_IE_FIRST, _N, _N + "W", _IE, _IE, _IE, _IE),), _ie, 3, " "),
    "br": (((_N,) * 8,), _any, 5, "-"),
    "jp": (((_N,) * 7,), _any, 3, "-"),
    "pt": (((_FROM_1, *(_N,) * 6),), _any, 4, "-"),
    "cn": (((_N,) * 6,), _any, 6, ""),
    "ru": (((_N,) * 6,), _any, 6, ""),
    "sg": (((_N,) * 6,), _any, 6, ""),
}


@cache
def _numberings(country: str) -> dict[int, Numbering]:
    """By length; the usual form first."""
    forms, step, _, _ = _ROWS[country]
    return {len(places): Numbering(places, step) for places in forms}


@dataclass(frozen=True, slots=True)
class Postal(Reversible):
    """Transforms all of a code; single spaces and hyphens, and the case of letters stay.

    Args:
        country: whose codes, as ISO 3166-1 has it, in small letters.
    """

    country: str = "us"

    in_columns: ClassVar[InColumns] = "ascii"

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("postal", country=self.country)

    @property
    def _layout(self) -> Layout:
        return _LAYOUTS[any(_A[2] in place for form in _ROWS[self.country][0] for place in form)]

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        numberings = _numberings(self.country)
        written = self._layout.read(value, min(numberings), max(numberings))
        numbering = numberings.get(len(written.plain))
        if numbering is None:
            raise ValueRefused("value_length", minimum=min(numberings), maximum=max(numberings))
        rank = numbering.rank(written.plain)
        if rank is None:
            raise ValueRefused("value_format")
        return ranked(rank, numbering.ranks, len(value), written.separators, written.style)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        numbering = _numberings(self.country)[shape.length - len(shape.kept)]
        return write(numbering.text(int(text, 2)), shape)

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """Codes of one length together, however they are written."""
        written = self._layout.read_rows(rows)
        length = lengths_of(written.plain)
        for count, numbering in _numberings(self.country).items():
            own = np.flatnonzero(length == count)
            if not len(own):
                continue
            rank, good = numbering.rank_rows(written.plain[own, :count])
            taken = written.some(own[good])
            if len(taken.at):
                write = partial(_write_rows, taken, numbering)
                yield Ranked(taken.at, Pair.of(rank[good]), numbering.ranks, taken.kept(), write)

    def canonical(self, value: str) -> str:
        """Capitals and digits."""
        return self._layout.bare(value)

    def domain(self, length: int | None = None) -> Domain:
        """How many codes have the form."""
        numberings = _numberings(self.country)
        numbering = numberings.get(next(iter(numberings)) if length is None else length)
        if numbering is None:
            raise ValueRefused("value_length", minimum=min(numberings), maximum=max(numberings))
        ranks = numbering.ranks
        return Domain(2, bits_for(ranks), ranks, f"{len(numbering.places)} characters of the form")

    def smallest(self) -> Domain:
        """That of the shortest form."""
        return self.domain(min(_numberings(self.country)))

    def sample(self, rng: random.Random) -> str:
        """A code, mostly as it is usually written."""
        _, _, after, separator = _ROWS[self.country]
        numbering = rng.choice(list(_numberings(self.country).values()))
        plain = numbering.text(rng.randrange(numbering.ranks)).replace("_", "")
        if rng.random() < 0.8 and len(plain) > after:
            plain = f"{plain[:after]}{separator}{plain[after:]}"
        return plain.lower() if self._layout.letters == "both" and rng.random() < 0.1 else plain


def _write_rows(taken: WrittenRows, numbering: Numbering, rank: Pair) -> CharRows:
    return taken.write(numbering.text_rows(rank.low.astype(np.int64)))


@dataclass(frozen=True, slots=True)
class British(Postal):
    """Codes of five to seven characters, which are transformed together: a token may have another length.

    Whether there is a space before the last three is style, since it stands elsewhere in the token.
    """

    country: str = "gb"

    keeps_layout: ClassVar[bool] = False

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        written = self._layout.read(value, 5, 7)
        if written.separators not in ((), ((len(value) - 4, " "),)):
            raise ValueRefused("value_format")
        plain = written.plain
        numbering = _numberings("gb")[7]
        rank = numbering.rank(f"{plain[:-3]:_<{_GB_OUTWARD}}{plain[-3:]}")
        if rank is None:
            raise ValueRefused("value_format")
        style = f"{written.style}{'' if written.separators else _JOINED}"
        return ranked(rank, numbering.ranks, len(value), (), style)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, with a space and in capitals as the value."""
        padded = _numberings("gb")[7].text(int(text, 2))
        space = "" if shape.style.endswith(_JOINED) else " "
        written = f"{padded[:_GB_OUTWARD].rstrip('_')}{space}{padded[_GB_OUTWARD:]}"
        return written.lower() if shape.style.startswith(SMALL) else written

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All codes together, whatever their length."""
        written = self._layout.read_rows(rows)
        plain, length = written.plain, lengths_of(written.plain)
        gaps = (written.rows > 0) & ~written.signs
        apart = np.count_nonzero(gaps, axis=1)
        spaced = gaps & (written.rows == ord(" ")) & (np.arange(rows.shape[1]) == (length - 3)[:, None])
        fits = (length >= 5) & (length <= 7) & (apart == np.count_nonzero(spaced, axis=1))
        written, plain, length, apart = written.some(fits), plain[fits], length[fits], apart[fits]
        if not len(plain):
            return
        padded = np.full((len(plain), 7), ord("_"), np.uint8)
        for count in (5, 6, 7):
            own = np.flatnonzero(length == count)
            if not len(own):
                continue
            padded[own, : count - 3] = plain[own, : count - 3]
            padded[own, _GB_OUTWARD:] = plain[own, count - 3 : count]
        numbering = _numberings("gb")[7]
        rank, good = numbering.rank_rows(padded)
        some = np.flatnonzero(good)
        if not len(some):
            return
        case = (written.small[some] * np.uint8(ord("a") - ord("A")))[:, None]
        between = np.where(apart[some] > 0, np.uint8(ord(" ")), np.uint8(0))[:, None]

        def keep(key: str) -> bytes:
            return kept_form(f"{SMALL if key[0] == 'a' else ''}{'' if key[1:] else _JOINED}".encode(), b"")

        def write(rank: Pair) -> CharRows:
            made = numbering.text_rows(rank.low.astype(np.int64))
            made = np.where(made == ord("_"), 0, made + (made >= ord("A")) * case).astype(np.uint8)
            return np.column_stack((made[:, :_GB_OUTWARD], between, made[:, _GB_OUTWARD:]))

        kept = each(np.column_stack((ord("A") + case, between)), keep)
        yield Ranked(written.at[some], Pair.of(rank[some]), numbering.ranks, kept, write)

    def domain(self, length: int | None = None) -> Domain:
        """All codes together, whatever their length."""
        if length is not None:
            require_length("?" * length, 5, 7)
        ranks = _numberings("gb")[7].ranks
        return Domain(2, bits_for(ranks), ranks, "5 to 7 characters of six forms, transformed together")

    def smallest(self) -> Domain:
        """The only one there is."""
        return self.domain()


_JOINED: Final = " joined"
_LETTERS: Final[Mapping[bool, Literal["none", "both"]]] = {False: "none", True: "both"}
_LAYOUTS: Final = {letters: Layout(" -", kind) for letters, kind in _LETTERS.items()}


def _build(given: Mapping[str, Value]) -> Postal:
    return British() if given["country"] == "gb" else Postal(str(given["country"]))


ENTRY: Final[Entry[Template]] = Entry(
    "postal",
    "Postal code of a country that has at least 1,000,000 of the form; those with four or five digits are "
    "too few and cannot be named here.",
    (Parameter("country", "us", "whose codes", tuple(_ROWS)),),
    _build,
    ("{first:3}***",),
    tuple(f"postal(country='{country}')" for country in _ROWS if country != "us"),
)
