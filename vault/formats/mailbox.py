"""E-mail addresses that FF1 transforms: what is before the `@`, and if asked the domain up to its last label.

What an address is says `mail`; letters and digits before the `@` are of ASCII here. Without capitals they are
one alphabet of 36, so a token does not tell which are digits. With capitals each character stays of its kind.
Dots, hyphens, `+` and the like stay in place: a tag behind `+` is transformed as the rest. A domain that is
kept goes into the tweak in lower case, since mail systems change its case.

`token` transforms the labels of the domain together with the local part, so two addresses of one domain have
tokens of two. The last label stays. Labels that begin with `xn--` or the like are refused, and tokens never
have any (RFC 5890, 2.3.1: third and fourth character). A token may be somebody's address in either case.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast

import numpy as np

from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_LOWER, ALPHANUMERIC, DIGITS, LOWER, UPPER, Alphabet
from vault.formats.column import CharRows, Column, alike, each, squeezed, texts_of
from vault.formats.hidden_mail import HiddenMail
from vault.formats.letters import Letters
from vault.formats.mail import ATEXT, LONGEST, LONGEST_LOCAL, Email
from vault.formats.mixed import at_least, shape_of, text_of
from vault.formats.spelling import Entry, Parameter
from vault.formats.template import Domain, InColumns, Reversible, Shape, Template, kept_form, spell

TYPICAL: Final = 10  # letters and digits

_ADDRESS: Final = Email()
_KINDS: Final = {"0": DIGITS, "a": LOWER, "A": UPPER}
_KIND: Final = {ord(character): kind for kind, place in _KINDS.items() for character in place.characters}
_LETTERS: Final = Letters([*_KINDS.values(), ALNUM_LOWER])
_CAPITAL: Final = 3  # of these
_MIXED: Final = 4
_SHOWN: Final = np.frombuffer(f"\0{''.join(_KINDS)} ".encode(), np.uint8)  # a space for no kind
_SMALL: Final = np.uint8(0x20)  # the difference of a small letter from its capital
_BEYOND: Final = np.uint8(0x80)  # ASCII
_TAKEN: Final = np.array([not byte or chr(byte) in ATEXT or byte == ord("@") for byte in range(_BEYOND + 1)])
_ANYBODY: Final = "a" * LONGEST_LOCAL  # beside a domain that goes with this, all others do
_SAMPLE_DOMAINS: Final = (
    "example.org",
    "Mail.Example.COM",
    "my-mail.example",
    "b.example",
    "b\u00fccher.example",
)


class _Shape(Shape):
    """A shape whose kept letters bind without regard to case: they are the domain's."""

    __slots__ = ()

    def kept_bytes(self) -> bytes:
        """See `Shape.kept_bytes`."""
        kept = tuple((at, one.lower() if one.isascii() else one) for at, one in self.kept)
        return Shape(*self)._replace(kept=kept).kept_bytes()


@dataclass(frozen=True, slots=True)
class Mailbox(Reversible):
    """Transforms letters and digits of an address.

    Args:
        of_domain: whether the domain is kept, or transformed but for its last label (`domain`).
    """

    of_domain: Literal["keep", "token"]

    parts: ClassVar[frozenset[str]] = Email.parts
    in_columns: ClassVar[InColumns] = "unicode"
    columns_from: ClassVar[int] = 300  # they are of many lengths

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("email", domain=self.of_domain)

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`; only a domain that is kept may be beyond ASCII."""
        _ADDRESS.parse(value)
        at = value.index("@")
        end = at if self.of_domain == "keep" else value.rindex(".")
        if not value[:end].isascii():
            raise ValueRefused("value_alphabet", position=[c > "\x7f" for c in value].index(True))
        if any(label[2:4] == "--" for label in value[at + 1 : end].split(".")):
            raise ValueRefused("value_format")
        free = [place for place in range(end) if value[place] in ALPHANUMERIC]
        gone = set(free)
        text = "".join([value[place] for place in free])
        kept = tuple([(place, character) for place, character in enumerate(value) if place not in gone])
        if text == text.lower():
            return _Shape(*shape_of([ALNUM_LOWER] * len(text), text, len(value), kept))
        style = text.translate(_KIND)
        return _Shape(*shape_of(_places(style), text, len(value), kept, style))

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        return shape.fill(text_of(_places(shape.style), shape, text))

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All together; domains are looked at once for equal ones."""
        if self.of_domain not in ("keep", "token"):
            return
        place = np.arange(rows.shape[1], dtype=np.int16)
        signs = rows == ord("@")
        before = signs.argmax(axis=1).astype(np.int16)  # the length of what is before the `@`
        dots = rows == ord(".")
        empty = (
            dots[:, 0]
            | (dots[:, 1:] & (dots | signs)[:, :-1]).any(axis=1)
            | (signs[:, 1:] & dots[:, :-1]).any(axis=1)
        )
        taken = _TAKEN[np.minimum(rows, _BEYOND)] | (place > before[:, None])
        good = (np.count_nonzero(signs, axis=1) == 1) & taken.all(axis=1) & ~empty
        good &= (before > 0) & (before <= LONGEST_LOCAL)
        at = np.flatnonzero(good)
        rows, before, dots = rows[at], before[at], dots[at]
        domains = squeezed(rows, place > before[:, None])
        if not domains.size:
            return
        firsts, which = alike(domains)
        are = np.array([self._takes(domain) for domain in texts_of(domains[firsts])])
        some = np.flatnonzero(are[which])
        at, rows, before, dots = at[some], rows[some], before[some], dots[some]
        end = before if self.of_domain == "keep" else rows.shape[1] - 1 - dots[:, ::-1].argmax(axis=1)
        kinds = _LETTERS.which[_LETTERS.find(rows)]
        shown, known = rows | (kinds == _CAPITAL) * _SMALL, (kinds > 0) | (rows >= _BEYOND)
        kinds *= place < end[:, None]
        free = kinds > 0
        small = ~(kinds == _CAPITAL).any(axis=1)
        kinds[small] = free[small] * _MIXED
        count = np.count_nonzero(free, axis=1).astype(rows.dtype)
        keys = squeezed(np.where(free, _SHOWN[kinds], shown), known)
        yield from _LETTERS.columns(at, rows, kinds, each(np.column_stack((count, keys)), _kept))

    def _takes(self, domain: str) -> bool:
        try:
            self.parse(f"{_ANYBODY}@{domain}")
        except ValueRefused:
            return False
        return True

    def canonical(self, value: str) -> str:
        """The domain in lower case and in its ASCII form."""
        return _ADDRESS.canonical(value)

    def domain(self, length: int | None = None) -> Domain:
        """36^length, of so many letters and digits that are transformed, none of them a capital."""
        count = TYPICAL if length is None else length
        longest = LONGEST_LOCAL if self.of_domain == "keep" else LONGEST
        if not 1 <= count <= longest:
            raise ValueRefused("value_length", minimum=1, maximum=longest)
        where = " before the @" if self.of_domain == "keep" else ""
        radix = ALNUM_LOWER.radix
        return at_least(radix, count, f"{count} letters and digits{where}, no capitals; fewer with capitals")

    def smallest(self) -> Domain:
        """That of one capital."""
        return at_least(UPPER.radix, 1, "1 capital")

    def sample(self, rng: random.Random) -> str:
        """Names, initials and tags at several domains, some with capitals."""
        words = [
            "".join(rng.choices(LOWER.characters, k=rng.randint(1, 8))) for _ in range(rng.randint(1, 2))
        ]
        local = rng.choice((".", "_", "")).join(words)
        if rng.random() < 0.4:
            local += rng.choice(("", "+", "-")) + "".join(rng.choices(ALNUM_LOWER.characters, k=4))
        domain = rng.choice(_SAMPLE_DOMAINS[:4] if self.of_domain == "token" else _SAMPLE_DOMAINS)
        local = rng.choice((local, local, local.title(), local.upper()))
        return f"{local}@{domain}"


def _kept(key: str) -> bytes:
    """What is kept, by how many letters and digits are transformed, their kinds, and those that are kept."""
    count, signs = ord(key[0]), key[1:]
    kept = "".join(filter(str.isalnum, signs[count:]))
    listed = b"".join([at.to_bytes(2) + one.encode() for at, one in enumerate(kept, count)])
    return kept_form(signs[:count].strip().encode(), listed)


def _places(style: str) -> list[Alphabet]:
    return [_KINDS[kind] for kind in style]


def _build(domain: str) -> Template:
    if domain == "stored":
        return Email()
    return HiddenMail() if domain == "mask" else Mailbox(cast("Literal['keep', 'token']", domain))


ENTRY: Final[Entry[Template]] = Entry(
    "email",
    "E-mail address: a dot-atom, `@`, a host name; letters of any script, one script between dots. With "
    "`domain` for `vaultless` fields too: letters and digits of ASCII before the `@`.",
    (
        Parameter(
            "domain",
            "stored",
            "`keep`: only what is before the `@` is transformed; `token`: the domain with it, but for its "
            "last label; `mask`: all of the address, in a token under `masked.invalid`; `stored`: nothing "
            "is, for protections that keep a row",
            ("stored", "keep", "token", "mask"),
        ),
    ),
    lambda given: _build(str(given["domain"])),
    ("{local:1}***@{domain}", "***@{domain}"),
    ("email(domain='keep')", "email(domain='token')", "email(domain='mask')"),
)
