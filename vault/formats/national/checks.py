"""What determines the checks of national numbers, and the rules between their other characters."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from vault.formats.checksum import luhn_digit_at
from vault.formats.national.rules import ALWAYS, last_day, total, year_month_day

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def luhn(body: str) -> str:
    """Luhn's digit."""
    return luhn_digit_at(body + "0", len(body))


# Brazil. Receita Federal: both checks modulo 11, 10 and 11 standing for 0. Since July 2026 a CNPJ may hold
# letters, which count as their code less 48 (Instrucao Normativa RFB 2.229/2024).


def _mod_11(body: str, weights: range) -> str:
    rest = sum((ord(one) - 48) * weight for one, weight in zip(body, weights, strict=True)) % 11
    return str(0 if rest < 2 else 11 - rest)


def cpf(body: str) -> str:
    """Two digits."""
    first = _mod_11(body, range(10, 1, -1))
    return first + _mod_11(body + first, range(11, 1, -1))


def cnpj(body: str) -> str:
    """Two digits."""
    check = ""
    for _ in range(2):
        whole = body + check
        weights = [(len(whole) - 1 - at) % 8 + 2 for at in range(len(whole))]
        rest = sum((ord(one) - 48) * weight for one, weight in zip(whole, weights, strict=True)) % 11
        check += str(0 if rest < 2 else 11 - rest)
    return check


def has_letter(place: int, state: Any, character: str) -> Hashable | None:
    """Twelve characters with a letter among them."""
    after = 1 if state or character > "9" else 0
    return None if place == 11 and not after else after


# Spain. Ministerio del Interior: the letter is the number modulo 23; X, Y, Z of a NIE count as 0, 1, 2.

DNI: Final = "TRWAGMYFPDXBNJZSQVHLCKE"


def dni(body: str) -> str:
    """A letter."""
    first = str("XYZ".index(body[0])) if body[0] in "XYZ" else body[0]
    return DNI[int(first + body[1:]) % 23]


# United Kingdom: NHS Data Dictionary, NHS NUMBER. Netherlands: the eleven test. Australia: ATO, TFN.


def nhs(body: str) -> str:
    """A digit."""
    return str((11 - total(body, range(10, 1, -1))) % 11)


def bsn(body: str) -> str:
    """A digit."""
    return str(total(body, range(9, 1, -1)) % 11)


TFN: Final = (1, 4, 3, 7, 5, 8, 6, 9)


def tfn(body: str) -> str:
    """A digit."""
    return str(total(body, TFN) % 11)


# Poland. PESEL, Dz.U. 2010 nr 217 poz. 1427: the century is added to the month.

_CENTURIES: Final = {8: 1800, 0: 1900, 2: 2000, 4: 2100, 6: 2200}


def _pesel_day(place: int, state: Any, character: str) -> Hashable | None:
    digit = int(character)
    if place == 0:
        return digit
    if place == 1:
        return (state * 10 + digit,)
    if place == 2:
        return state[0], digit
    if place == 3:
        year = _CENTURIES[state[1] // 2 * 2] + state[0]
        month = state[1] % 2 * 10 + digit
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return last_day(ALWAYS if leap else 0, month) if 1 <= month <= 12 else None
    return None


def pesel(place: int, state: Any, character: str) -> Hashable | None:
    """A day of birth whose month has the century in it, and four digits."""
    if place < 4:
        return _pesel_day(place, state, character)
    if place == 4:
        return state, int(character)
    if place == 5:
        return 0 if 1 <= state[1] * 10 + int(character) <= state[0] else None
    return 0


def pesel_check(body: str) -> str:
    """A digit."""
    return str(-total(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10)


# India. UIDAI: Verhoeff's check digit (J. Verhoeff, Error Detecting Decimal Codes, 1969, dihedral group D5).

_VERHOEFF_P: Final = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_VERHOEFF_INVERSE: Final = (0, 4, 3, 2, 1, 5, 6, 7, 8, 9)


def _d5(a: int, b: int) -> int:
    """The product in the dihedral group of ten elements, turns 0 to 4 and flips 5 to 9."""
    if a < 5:
        return (a + b) % 5 if b < 5 else (a + b - 5) % 5 + 5
    return (a - b) % 5 + 5 if b < 5 else (a - b) % 5


def verhoeff(body: str) -> str:
    """Verhoeff's digit."""
    check = 0
    for at, one in enumerate(reversed(body), 1):
        digit = int(one)
        for _ in range(at % 8):
            digit = _VERHOEFF_P[digit]
        check = _d5(check, digit)
    return str(_VERHOEFF_INVERSE[check])


# Italy. Decreto ministeriale 12 marzo 1974: odd places count by a table, even ones as they are; a day of a
# woman has 40 added. Codes that were changed because two persons had one (omocodia) are not taken.

MONTHS: Final = "ABCDEHLMPRST"
_ODD: Final = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def fiscale(body: str) -> str:
    """A letter."""
    numbers = (ord(one) - 48 if one.isdigit() else ord(one) - 65 for one in body)
    return LETTERS[sum(number if at % 2 else _ODD[number] for at, number in enumerate(numbers)) % 26]


def fiscale_day(place: int, state: Any, character: str) -> Hashable | None:
    """Letters, a day of birth, a place."""
    if place == 6:
        return int(character)
    if place == 7:
        return int(f"{state}{character}") % 4 == 0  # 00 may be 1900 or 2000
    if place == 8:
        return last_day(ALWAYS if state else 0, MONTHS.index(character) + 1)
    if place == 9:
        return state, int(character) % 4
    if place == 10:
        return 0 if 1 <= state[1] * 10 + int(character) <= state[0] else None
    return 0


# France. INSEE, NIR: sex, year, month (20 to 42 and 50 to 99 where it is not known), place, order; the key is
# 97 less the number modulo 97, 2A counting as 19 and 2B as 18.


def nir_key(body: str) -> str:
    """Two digits."""
    return f"{97 - int(body.replace('2A', '19').replace('2B', '18')) % 97:02d}"


def nir(place: int, state: Any, character: str) -> Hashable | None:
    """A month and a place there are."""
    if place == 3:
        return int(character)
    if place == 4:
        month = state * 10 + int(character)
        return 0 if 1 <= month <= 12 or 20 <= month <= 42 or month >= 50 else None
    if place == 5:
        return character
    if place == 6:
        wrong = (character.isalpha() and state != "2") or state + character == "00"
        return None if wrong else 0
    return 0


# Sweden. Skatteverket, SKV 707: the day of birth, three digits, Luhn over the ten.


def personnummer(body: str) -> str:
    """Luhn's digit of the last nine."""
    return luhn(body[-9:])


_CENTURY: Final = ("18", "19", "20")


def full_year(place: int, state: Any, character: str) -> Hashable | None:
    """A day of birth with four digits of the year."""
    if place == 0:
        return character
    if place == 1:
        century = str(state) + character
        return ALWAYS if century == "20" else 0 if century in _CENTURY else None
    return year_month_day(place - 2, state, character) if place < 8 else 0


# South Africa: DHA. Portugal: Decreto-Lei 14/2013. Turkey: NVI. Thailand: DOPA. Japan: MIC order 85 of 2014.
# Croatia: ISO 7064 MOD 11,10. Ireland: DSP, PPS Number. Switzerland: EAN-13 over the number with 756.


def nif(body: str) -> str:
    """A digit."""
    rest = total(body, range(9, 1, -1)) % 11
    return str(0 if rest < 2 else 11 - rest)


def ean(body: str) -> str:
    """A digit."""
    return str(-total(body, (1, 3) * 6) % 10)


def tckimlik(body: str) -> str:
    """Two digits."""
    digits = [int(one) for one in body]
    tenth = (7 * sum(digits[0::2]) - sum(digits[1::2])) % 10
    return f"{tenth}{(sum(digits) + tenth) % 10}"


def thai(body: str) -> str:
    """A digit."""
    return str((11 - total(body, range(13, 1, -1)) % 11) % 10)


def my_number(body: str) -> str:
    """A digit."""
    rest = total(body, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return str(0 if rest < 2 else 11 - rest)


def oib(body: str) -> str:
    """A digit."""
    product = 10
    for one in body:
        product = (int(one) + product) % 10 or 10
        product = product * 2 % 11
    return str((11 - product) % 10)


PPS: Final = "WABCDEFGHIJKLMNOPQRSTUV"


def pps(body: str) -> str:
    """A letter."""
    return PPS[total(body, range(8, 1, -1)) % 23]
