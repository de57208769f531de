"""A scheme of national numbers as a row, and the template that a row makes.

A number is a body and the check that it determines, at the end. Only the body is ranked. With
`check='keep'` tokens have the right check; with `check='break'` the last character of a token is the one
after the right one, among those that may be a check, so that a token is never a number of the scheme.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, Literal, cast

import numpy as np

from vault.crypto.pairs import Pair
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS
from vault.formats.column import CharRows, Column, Ranked, lengths_of, texts_of
from vault.formats.layout import Layout, Written, WrittenRows, write
from vault.formats.national.rules import free
from vault.formats.numbering import Numbering, Step
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import Domain, InColumns, Reversible, Shape, Template, bits_for, ranked, spell

Check = Literal["keep", "break"]


@dataclass(frozen=True, slots=True)
class Form:
    """The bodies of a scheme of one length, as they are ranked.

    Args:
        places: the characters of each place.
        step: the rule between them; it refuses a body that no check goes with.
        start: where it starts.
        calendar: the places of a day, with what says the century; a body that fails there has no such day.
        checked: whether a body that fails in its last place has no check.
    """

    places: tuple[str, ...]
    step: Step = free
    start: Hashable = 0
    calendar: Collection[int] = ()
    checked: bool = False


@dataclass(frozen=True)
class Scheme:
    """A row. Frozen, as tokens are: a change that moves a rank is a new scheme.

    Args:
        name: the country and what the number is called there.
        description: for the catalogue.
        forms: the usual one first; two of one length have no body in common.
        check: of a body, as it is ranked.
        layout: separators and case.
        usual: how it is written: `#` a character, anything else a separator. One for each form.
        checks: the characters that may be the last of a check.
        width: characters of the check.
        mask: a pattern that suits.
    """

    name: str
    description: str
    forms: tuple[Form, ...]
    check: Callable[[str], str]
    layout: Layout
    usual: tuple[str, ...]
    mask: str
    checks: str = DIGITS.characters
    width: int = 1

    @cached_property
    def numberings(self) -> tuple[Numbering, ...]:
        """One for each form; counted when first asked for."""
        return tuple(Numbering(form.places, form.step, form.start) for form in self.forms)

    @cached_property
    def lengths(self) -> tuple[int, int]:
        """Of the shortest and the longest number, with its check."""
        lengths = [len(form.places) + self.width for form in self.forms]
        return min(lengths), max(lengths)

    def wrong(self, check: str) -> str:
        """A check with the next character for its last one."""
        return check[:-1] + self.checks[(self.checks.index(check[-1]) + 1) % len(self.checks)]

    def read(self, value: str) -> Written:
        """Takes a number off its layout."""
        return self.layout.read(value, *self.lengths)

    def of_length(self, length: int | None) -> Form:
        """The first form of a length, counted with its check."""
        for form in self.forms:
            if length in (None, len(form.places) + self.width):
                return form
        raise ValueRefused("value_length", minimum=self.lengths[0], maximum=self.lengths[1])


@dataclass(frozen=True, slots=True)
class National(Reversible):
    """Transforms all of a number but its check; single separators and the case of letters stay.

    Args:
        check: whether tokens have a right check, or a wrong one.
    """

    scheme: Scheme
    check: Check = "keep"

    in_columns: ClassVar[InColumns] = "ascii"

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell(self.scheme.name, check=self.check)

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`.

        Raises:
            ValueRefused: as all; `value_calendar`, no such day; `value_checksum`, the check is another, or
                the number is one that has none.
        """
        return self._parse(value, broken=False)

    def parse_token(self, token: str) -> Shape:
        """Takes a token apart: its check is right or wrong exactly as this template makes it."""
        return self._parse(token, broken=self.check == "break")

    def _parse(self, value: str, *, broken: bool) -> Shape:
        scheme = self.scheme
        written = scheme.read(value)
        body, check = written.plain[: -scheme.width], written.plain[-scheme.width :]
        code = "value_length"
        for form, numbering in zip(scheme.forms, scheme.numberings, strict=True):
            if len(form.places) != len(body):
                continue
            rank = numbering.rank(body)
            if rank is None:
                if code == "value_length":
                    code = _why(form, numbering, body)
                continue
            right = scheme.check(body)
            if check == (scheme.wrong(right) if broken else right):
                return ranked(rank, numbering.ranks, len(value), written.separators, written.style)
            code = "value_checksum"
        if code == "value_length":
            minimum, maximum = scheme.lengths
            raise ValueRefused(code, minimum=minimum, maximum=maximum)
        raise ValueRefused(code)

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """Numbers of one form together, however they are written."""
        scheme, broken = self.scheme, self.check == "break"
        written = scheme.layout.read_rows(rows)
        length = lengths_of(written.plain)
        for form, numbering in zip(scheme.forms, scheme.numberings, strict=True):
            count = len(form.places)
            own = np.flatnonzero(length == count + scheme.width)
            if not len(own):
                continue
            rank, good = numbering.rank_rows(written.plain[own, :count])
            own, rank = own[good], rank[good]
            checks = self._checks(written.plain[own, :count], broken=token and broken)
            right = (checks == written.plain[own, count : count + scheme.width]).all(axis=1)
            taken = written.some(own[right])
            if len(taken.at):
                write = partial(self._write, taken, numbering, not token and broken)
                yield Ranked(taken.at, Pair.of(rank[right]), numbering.ranks, taken.kept(), write)

    def _write(self, taken: WrittenRows, numbering: Numbering, broken: bool, rank: Pair) -> CharRows:
        bodies = numbering.text_rows(rank.low.astype(np.int64))
        return taken.write(np.column_stack((bodies, self._checks(bodies, broken=broken))))

    def _checks(self, bodies: CharRows, *, broken: bool) -> CharRows:
        """The checks of bodies, one by one: what a scheme has is a rule for a text."""
        checks = map(self.scheme.check, texts_of(bodies))
        written = "".join(map(self.scheme.wrong, checks) if broken else checks)
        return np.frombuffer(written.encode(), np.uint8).reshape(len(bodies), self.scheme.width)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        return self._render(shape, text, broken=self.check == "break")

    def render_value(self, shape: Shape, text: str) -> str:
        """The value, in the layout of the token."""
        return self._render(shape, text, broken=False)

    def _render(self, shape: Shape, text: str, *, broken: bool) -> str:
        scheme = self.scheme
        length = shape.length - len(shape.kept) - scheme.width
        for form, numbering in zip(scheme.forms, scheme.numberings, strict=True):
            if len(form.places) == length and numbering.ranks == shape.ranks:
                body = numbering.text(int(text, 2))
                check = scheme.check(body)
                return write(body + (scheme.wrong(check) if broken else check), shape)
        raise ValueError("the shape is not one of this template")

    def canonical(self, value: str) -> str:
        """Capitals and digits."""
        return self.scheme.layout.bare(value)

    def domain(self, length: int | None = None) -> Domain:
        """How many numbers have the form, usually."""
        scheme = self.scheme
        return _domain(scheme.numberings[scheme.forms.index(scheme.of_length(length))])

    def smallest(self) -> Domain:
        """That of the smallest form."""
        return min(map(_domain, self.scheme.numberings), key=lambda domain: domain.size)

    def sample(self, rng: random.Random) -> str:
        """A number, mostly as it is usually written."""
        scheme = self.scheme
        at = rng.randrange(len(scheme.forms))
        numbering = scheme.numberings[at]
        body = numbering.text(rng.randrange(numbering.ranks))
        plain = body + scheme.check(body)
        if rng.random() < 0.8:
            characters = iter(plain)
            plain = "".join(next(characters) if one == "#" else one for one in scheme.usual[at])
        return plain.lower() if scheme.layout.letters == "both" and rng.random() < 0.1 else plain


def _domain(numbering: Numbering) -> Domain:
    return Domain(2, bits_for(numbering.ranks), numbering.ranks, "numbers of the rule, without their checks")


def _why(form: Form, numbering: Numbering, body: str) -> str:
    """The code for a body that has no rank."""
    for character, allowed in zip(body, form.places, strict=True):
        if character not in allowed:
            return "value_format"
    place = numbering.reach(body)
    if place in form.calendar:
        return "value_calendar"
    return "value_checksum" if form.checked and place == len(form.places) - 1 else "value_format"


def entry(scheme: Scheme) -> Entry[Template]:
    """The entry of the catalogue."""

    def build(given: Mapping[str, Value]) -> National:
        return National(scheme, cast("Check", given["check"]))

    return Entry(
        scheme.name,
        scheme.description,
        (
            Parameter(
                "check", "keep", "whether the check of a token is right, or always wrong", ("keep", "break")
            ),
        ),
        build,
        (scheme.mask,),
        (f"{scheme.name}(check='break')",),
    )
