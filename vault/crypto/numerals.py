"""Numeral strings and the integers they stand for, over any alphabet.

Source: NIST SP 800-38G, Algorithms 1 (NUM_radix) and 3 (STR_radix). Everything is an exact Python int.
Conversions of long strings are quadratic, so callers bound the length first (`ff1.MAX_NUMERALS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from vault.errors import ValueRefused

MAX_RADIX: Final = 65536  # SP 800-38G, section 5.1: radix in [2..2^16]

_MAX_INT_BASE: Final = 36  # the largest base that int() reads
_INT_CHARACTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_CACHED_ALPHABETS: Final = 16
_MAX_PAIRED: Final = 64  # ours: the largest radix whose pairs are tabled; 4,096 strings, about 250 KB


def check_alphabet(alphabet: str) -> str:
    """The alphabet, if it is one: 2 to 65,536 distinct characters.

    Raises:
        ValueError: it is not; the message does not quote it.
    """
    if not 2 <= len(alphabet) <= MAX_RADIX:
        raise ValueError("an alphabet has 2 to 65536 characters")
    if len(set(alphabet)) != len(alphabet):
        raise ValueError("the characters of an alphabet are distinct")
    return alphabet


class Numerals:
    """NUM and STR between text over one alphabet and integers.

    Args:
        alphabet: the characters, the numeral of each being its place.

    Raises:
        ValueError: not an alphabet.
    """

    __slots__ = ("_alphabet", "_index", "_members", "_pairs", "_to_int", "radix")

    def __init__(self, alphabet: str) -> None:
        self._alphabet = check_alphabet(alphabet)
        self.radix = len(alphabet)
        self._members = frozenset(alphabet)
        self._index = {character: numeral for numeral, character in enumerate(alphabet)}
        # None: int() reads the alphabet as it stands; the empty table: int() cannot read it at all
        self._to_int: dict[int, int] | None = {}
        if self.radix <= _MAX_INT_BASE:
            native = _INT_CHARACTERS[: self.radix]
            as_it_stands = alphabet.isascii() and alphabet.lower() == native  # int() reads capitals alike
            self._to_int = None if as_it_stands else str.maketrans(alphabet, native)
        # STR of every number under radix^2
        self._pairs = (
            [high + low for high in alphabet for low in alphabet] if self.radix <= _MAX_PAIRED else []
        )

    def number(self, text: str) -> int:
        """NUM_radix(X): the integer that a numeral string stands for, most significant first.

        Raises:
            ValueRefused: `value_alphabet`, with the position of the first foreign character.
        """
        # Before int(), which by itself would take signs, underscores, spaces and full-width digits.
        if not self._members.issuperset(text):
            position = next(place for place, char in enumerate(text) if char not in self._members)
            raise ValueRefused("value_alphabet", position=position)
        if self._to_int is None:
            return int(text, self.radix)
        if self._to_int:
            return int(text.translate(self._to_int), self.radix)
        index, radix, number = self._index, self.radix, 0
        for character in text:
            number = number * radix + index[character]
        return number

    def string(self, number: int, length: int) -> str:
        """STR_radix(number, length): the numeral string of `length` characters."""
        if self._alphabet == "0123456789":
            return str(number).zfill(length)
        alphabet, radix, pieces = self._alphabet, self.radix, []
        if self._pairs:
            pairs, second = self._pairs, radix * radix
            fourth = second * second
            eighth = fourth * fourth
            while length >= 8:  # by eights, fours and twos: few divisions, and small numbers
                number, low = divmod(number, eighth)
                high, low = divmod(low, fourth)
                upper = f"{pairs[high // second]}{pairs[high % second]}"
                pieces.append(f"{upper}{pairs[low // second]}{pairs[low % second]}")
                length -= 8
            while length >= 2:
                number, low = divmod(number, second)
                pieces.append(pairs[low])
                length -= 2
        for _ in range(length):
            number, numeral = divmod(number, radix)
            pieces.append(alphabet[numeral])
        pieces.reverse()
        return "".join(pieces)


@lru_cache(maxsize=_CACHED_ALPHABETS)
def numerals_of(alphabet: str) -> Numerals:
    """The `Numerals` of an alphabet; made once, since alphabets come from templates."""
    return Numerals(alphabet)


def number_of(numerals: Sequence[int], radix: int) -> int:
    """NUM_radix(X) of a list of numerals, most significant first.

    Raises:
        ValueError: a member is not an int (a bool is none either).
        ValueRefused: `value_alphabet`, with the position of the first numeral outside [0, radix).
    """
    number = 0
    for position, numeral in enumerate(numerals):
        if type(numeral) is not int:
            raise ValueError("numerals are ints")
        if not 0 <= numeral < radix:
            raise ValueRefused("value_alphabet", position=position)
        number = number * radix + numeral
    return number


def digits(number: int, radix: int, length: int) -> list[int]:
    """STR_radix(number, length) as a list of numerals, most significant first."""
    numerals = [0] * length
    for place in range(length - 1, -1, -1):
        number, numerals[place] = divmod(number, radix)
    return numerals
