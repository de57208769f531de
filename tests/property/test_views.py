"""What masks compute tells no more than it says: ages by their bands, hashes nothing of the characters."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from vault.formats.mask import Mask, View
from vault.secret import Secret
from vault.tokens.masked import MaskHash

DAYS = st.dates(datetime.date(1, 1, 1), datetime.date(2100, 12, 31))


@given(born=DAYS, today=DAYS, band=st.sampled_from([5, 10, 20]))
def test_an_age_lies_in_its_band(born: datetime.date, today: datetime.date, band: int) -> None:
    shown = Mask.parse(f"{{age:{band}}}").apply(born.isoformat(), View(today))
    if born > today:
        assert shown == "*****"
        return
    ordered = [day.year * 10_000 + day.month * 100 + day.day for day in (born, today)]
    age = (ordered[1] - ordered[0]) // 10_000
    if age >= 90:
        assert shown == "90+"
        return
    low, high = map(int, shown.split("-"))
    assert low <= age <= high
    assert low % band == 0
    assert high - low + 1 == min(band, 90 - low)


@given(value=st.text(max_size=40), other=st.text(max_size=40), count=st.integers(4, 16))
def test_a_hash_depends_on_key_tenant_field_and_value(value: str, other: str, count: int) -> None:
    makers = [
        MaskHash(Secret(bytes(32)), "main", "a"),
        MaskHash(Secret(bytes(32)), "main", "b"),
        MaskHash(Secret(bytes(32)), "other", "a"),
        MaskHash(Secret(bytes([1]) * 32), "main", "a"),
    ]
    assert len({made.of(value) for made in makers}) == len(makers)
    assert (makers[0].of(value) == makers[0].of(other)) == (value == other)
    if any(character.isalnum() for character in value):
        shown = Mask.parse(f"{{hash:{count}}}").apply(value, View(digest=makers[0].of))
        assert shown == makers[0].of(value)[:count]
