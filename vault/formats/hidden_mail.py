"""E-mail addresses whose tokens tell nothing of the domain: `email(domain='mask')`.

The whole address is transformed, `@`, dots and all, as a text over every character that an ASCII address can
have. What FF1 makes of it is written in base 36, as an address under `masked.invalid`, which is nobody's and
never will be (RFC 2606, 2). A token shows how many characters its address has, and nothing else of it.

Written form: the text as a number of radix 83, most significant character first, in as few digits of base 36
as all texts of its length need; in runs of at most 63, which is what a label holds; the first run before the
`@`, each other one a label before `masked.invalid`. A character takes more than one digit, so texts of
different lengths take different numbers of digits, and the length of a token tells that of its address.

Hardly any text is an address, so a token that somebody made up is refused nearly always, where other
templates give a plausible value.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar, Final

from vault.crypto.numerals import numerals_of
from vault.errors import CoatcheckError, ValueRefused
from vault.formats.alphabet import ALNUM_LOWER, LOWER, Alphabet
from vault.formats.mail import ATEXT, LONGEST, LONGEST_LABEL, SHORTEST, Email
from vault.formats.template import Domain, Reversible, Shape, require_characters, require_length, spell

TYPICAL: Final = 20  # characters
NOBODY: Final = "masked.invalid"  # RFC 2606, 2: no name under .invalid is ever registered

_ADDRESS: Final = Email()
_WRITTEN: Final = Alphabet("characters of an address", f"{ATEXT}@")
_TEXTS: Final = numerals_of(_WRITTEN.characters)
_DIGITS: Final = numerals_of(ALNUM_LOWER.characters)


def _digits_for(length: int) -> int:
    """How many digits of base 36 all texts of a length take."""
    count = length
    while ALNUM_LOWER.radix**count < _WRITTEN.radix**length:
        count += 1
    return count


def _written(digits: str) -> str:
    runs = [digits[start : start + LONGEST_LABEL] for start in range(0, len(digits), LONGEST_LABEL)]
    return f"{runs[0]}@{'.'.join([*runs[1:], NOBODY])}"


_DIGITS_OF: Final = {
    length: count
    for length in range(SHORTEST, LONGEST)
    if len(_written("0" * (count := _digits_for(length)))) <= LONGEST
}
_LENGTH_OF: Final = {count: length for length, count in _DIGITS_OF.items()}
LONGEST_HIDDEN: Final = max(_DIGITS_OF)
"""Characters of an address whose token is still an address: 191."""


@dataclass(frozen=True, slots=True)
class HiddenMail(Reversible):
    """Transforms all of an address; tokens are addresses of nobody's."""

    parts: ClassVar[frozenset[str]] = Email.parts
    keeps_layout: ClassVar[bool] = False

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("email", domain="mask")

    def parse(self, value: str) -> Shape:
        """Takes an address as it is, its case included. See `Template.parse`; only ASCII."""
        require_length(value, SHORTEST, LONGEST_HIDDEN)
        require_characters(value, _WRITTEN)
        _ADDRESS.parse(value)
        return _shape(value)

    def parse_token(self, token: str) -> Shape:
        """Takes a token apart. One spelling only: small letters, full runs."""
        require_length(token, len(_written("0" * min(_LENGTH_OF))), LONGEST)
        digits = token.removesuffix(NOBODY).replace("@", "").replace(".", "")
        length = _LENGTH_OF.get(len(digits))
        if length is None or ALNUM_LOWER.foreign(digits) is not None or _written(digits) != token:
            raise ValueRefused("value_format")
        number = _DIGITS.number(digits)
        if number >= _WRITTEN.radix**length:
            raise ValueRefused("value_format")
        return _shape(_TEXTS.string(number, length))

    def render_token(self, shape: Shape, text: str) -> str:
        """The address under `masked.invalid` that stands for a text."""
        return _written(_DIGITS.string(_TEXTS.number(text), _DIGITS_OF[len(text)]))

    def render_value(self, shape: Shape, text: str) -> str:
        """The address.

        Raises:
            ValueRefused: `value_format`: it is none; the token is not one of this field and key version.
        """
        try:
            _ADDRESS.parse(text)
        except CoatcheckError:
            raise ValueRefused("value_format") from None
        return text

    def canonical(self, value: str) -> str:
        """The domain in lower case."""
        return _ADDRESS.canonical(value)

    def domain(self, length: int | None = None) -> Domain:
        """All texts of a length: tokens look alike whatever the address, if it is as long."""
        count = TYPICAL if length is None else length
        if not SHORTEST <= count <= LONGEST_HIDDEN:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST_HIDDEN)
        note = f"texts of {count} characters; addresses of people are far fewer"
        return Domain(_WRITTEN.radix, count, _WRITTEN.radix**count, note)

    def smallest(self) -> Domain:
        """That of the shortest address."""
        return self.domain(SHORTEST)

    def sample(self, rng: random.Random) -> str:
        """Names and tags at several domains, some in capitals, a few long."""
        local = rng.choice((".", "_", "+")).join(_word(rng) for _ in range(rng.randint(1, 3)))
        host = ".".join(_word(rng) for _ in range(rng.randint(1, 2 if rng.random() < 0.9 else 8)))
        address = f"{local}@{host}.{rng.choice(('com', 'org', 'example'))}"
        return address.upper() if rng.random() < 0.1 else address


def _shape(text: str) -> Shape:
    return Shape(_WRITTEN, text, (), len(text))


def _word(rng: random.Random) -> str:
    return "".join(rng.choices(LOWER.characters, k=rng.randint(2, 12)))
