"""The schemes, a row each; where their rules come from stands in `checks`.

What is ranked are bodies, without their checks. A check digit that would have to be 10 is one that no number
has (au_tfn, gb_nhs, nl_bsn): such bodies are left out. Rows are frozen, as tokens are.
"""

from __future__ import annotations

from typing import Final

from vault.formats.layout import Layout
from vault.formats.national import checks
from vault.formats.national.rules import ALWAYS, DATE, dated, without, year_month_day
from vault.formats.national.scheme import Form, Scheme, entry
from vault.formats.spelling import Entry
from vault.formats.template import Template

_D: Final = "0123456789"
_FIRST: Final = "123456789"
_PLAIN: Final = Layout(" -./")
_LAST_4: Final = "*****{last:4}"
_CALENDAR: Final = range(DATE)


def _places(*parts: str | tuple[str, int]) -> tuple[str, ...]:
    """The characters of each place: a part is one place, or a number of equal ones."""
    places: list[str] = []
    for part in parts:
        places += [part] if isinstance(part, str) else [part[0]] * part[1]
    return tuple(places)


def _digits(count: int, first: str = _D) -> Form:
    return Form(_places(first, (_D, count - 1)))


SCHEMES: Final = (
    Scheme(
        "au_tfn",
        "Tax file number of Australia: 9 digits, the last a check modulo 11.",
        (Form(_places((_D, 8)), without(10, checks.TFN), (0, False), checked=True),),
        checks.tfn,
        _PLAIN,
        ("### ### ###",),
        _LAST_4,
    ),
    Scheme(
        "br_cnpj",
        "Number of a firm in Brazil (CNPJ): 12 digits or capitals and two check digits.",
        (
            _digits(12),
            Form(_places((_D + checks.LETTERS, 12)), checks.has_letter),
        ),
        checks.cnpj,
        Layout(" -./", "upper"),
        ("##.###.###/####-##",) * 2,
        _LAST_4,
        width=2,
    ),
    Scheme(
        "br_cpf",
        "Number of a person in Brazil (CPF): 9 digits and two check digits.",
        (_digits(9),),
        checks.cpf,
        _PLAIN,
        ("###.###.###-##",),
        _LAST_4,
        width=2,
    ),
    Scheme(
        "ca_sin",
        "Social insurance number of Canada: 9 digits, the last by Luhn's rule, the first neither 0 nor 8.",
        (_digits(8, "12345679"),),
        checks.luhn,
        _PLAIN,
        ("### ### ###",),
        _LAST_4,
    ),
    Scheme(
        "ch_ahv",
        "AHV number of Switzerland: 756, 9 digits and a check digit. Tokens begin with 756 as all do.",
        (Form(_places("7", "5", "6", (_D, 9))),),
        checks.ean,
        _PLAIN,
        ("###.####.####.##",),
        _LAST_4,
    ),
    Scheme(
        "es_dni",
        "DNI or NIE of Spain: 8 digits, or X, Y or Z and 7, and a letter that checks them.",
        (Form(_places(_D + "XYZ", (_D, 7))),),
        checks.dni,
        Layout(" -./", "both"),
        ("########-#",),
        _LAST_4,
        checks=checks.DNI,
    ),
    Scheme(
        "fr_nir",
        "Social security number of France (NIR): 13 characters, 2A and 2B in Corsica, and a key of two.",
        (Form(_places("12", (_D, 5), _D + "AB", (_D, 6)), checks.nir, calendar=(3, 4)),),
        checks.nir_key,
        Layout(" -./", "upper"),
        ("# ## ## ## ### ### ##",),
        _LAST_4,
        width=2,
    ),
    Scheme(
        "gb_nhs",
        "NHS number of England, Wales and the Isle of Man: 10 digits, the last a check modulo 11.",
        (Form(_places((_D, 9)), without(1, range(10, 1, -1)), (0, True), checked=True),),
        checks.nhs,
        _PLAIN,
        ("### ### ####",),
        _LAST_4,
    ),
    Scheme(
        "hr_oib",
        "Personal identification number of Croatia (OIB): 10 digits and a check digit.",
        (_digits(10),),
        checks.oib,
        _PLAIN,
        ("###########",),
        _LAST_4,
    ),
    Scheme(
        "ie_pps",
        "Personal public service number of Ireland: 7 digits and a letter that checks them.",
        (_digits(7),),
        checks.pps,
        Layout(" -./", "both"),
        ("########",),
        _LAST_4,
        checks=checks.PPS,
    ),
    Scheme(
        "il_id",
        "Identity number of Israel: 9 digits, the last by Luhn's rule.",
        (_digits(8),),
        checks.luhn,
        _PLAIN,
        ("########-#",),
        _LAST_4,
    ),
    Scheme(
        "in_aadhaar",
        "Aadhaar of India: 12 digits, the first 2 to 9, the last by Verhoeff's rule.",
        (_digits(11, "23456789"),),
        checks.verhoeff,
        _PLAIN,
        ("#### #### ####",),
        _LAST_4,
    ),
    Scheme(
        "it_codice_fiscale",
        "Fiscal code of Italy: 16 characters with a day of birth and a place, the last checks the others.",
        (
            Form(
                _places((checks.LETTERS, 6), (_D, 2), checks.MONTHS, "01234567", _D, checks.LETTERS, (_D, 3)),
                checks.fiscale_day,
                calendar=range(6, 11),
            ),
        ),
        checks.fiscale,
        Layout(" -./", "both"),
        ("################",),
        _LAST_4,
        checks=checks.LETTERS,
    ),
    Scheme(
        "jp_my_number",
        "Individual number of Japan: 11 digits and a check digit.",
        (_digits(11),),
        checks.my_number,
        _PLAIN,
        ("#### #### ####",),
        _LAST_4,
    ),
    Scheme(
        "nl_bsn",
        "Citizen service number of the Netherlands: 9 digits that pass the eleven test.",
        (Form(_places((_D, 8)), without(10, range(9, 1, -1)), (0, False), checked=True),),
        checks.bsn,
        _PLAIN,
        ("#########",),
        _LAST_4,
    ),
    Scheme(
        "pl_pesel",
        "PESEL of Poland: a day of birth, four digits and a check digit.",
        (Form(_places((_D, 10)), checks.pesel, calendar=_CALENDAR),),
        checks.pesel_check,
        _PLAIN,
        ("###########",),
        _LAST_4,
    ),
    Scheme(
        "pt_nif",
        "Tax number of Portugal: 9 digits, the last a check modulo 11, the first not 0.",
        (_digits(8, _FIRST),),
        checks.nif,
        _PLAIN,
        ("### ### ###",),
        _LAST_4,
    ),
    Scheme(
        "se_personnummer",
        "Personal identity number of Sweden: a day of birth, of 6 or 8 digits, three digits and Luhn's.",
        (
            Form(_places((_D, 9)), dated(year_month_day), ALWAYS, calendar=_CALENDAR),
            Form(_places("12", (_D, 10)), checks.full_year, calendar=range(8)),
        ),
        checks.personnummer,
        Layout("-+"),
        ("######-####", "########-####"),
        _LAST_4,
    ),
    Scheme(
        "th_pin",
        "Identity number of Thailand: 12 digits, the first 1 to 8, and a check digit.",
        (_digits(12, "12345678"),),
        checks.thai,
        _PLAIN,
        ("# #### ##### ## #",),
        _LAST_4,
    ),
    Scheme(
        "tr_tckimlik",
        "Identity number of Turkey: 9 digits, the first not 0, and two check digits.",
        (_digits(9, _FIRST),),
        checks.tckimlik,
        _PLAIN,
        ("###########",),
        _LAST_4,
        width=2,
    ),
    Scheme(
        "za_id",
        "Identity number of South Africa: a day of birth, four digits, 0 or 1, a digit, and Luhn's.",
        (
            Form(
                _places((_D, 10), "01", _D),
                dated(year_month_day),
                ALWAYS,
                calendar=_CALENDAR,
            ),
        ),
        checks.luhn,
        _PLAIN,
        ("#############",),
        _LAST_4,
    ),
)

ENTRIES: Final[tuple[Entry[Template], ...]] = tuple(entry(scheme) for scheme in SCHEMES)
