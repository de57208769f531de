from __future__ import annotations

import pytest

from tests.unit.echo import shown
from vault.errors import BadInput
from vault.formats.mask import Mask


@pytest.mark.parametrize(
    ("pattern", "value", "masked"),
    [
        ("***-**-{last:4}", "123-45-6789", "***-**-6789"),
        ("***-**-{last:4}", "123456789", "***-**-6789"),
        ("{first:6}******{last:4}", "4111 1111 1111 1234", "411111******1234"),
        ("{last:4} of {first:2}", "DE89 3704 0044 0532 0130 00", "3000 of DE"),
        ("{first:1}.", "Zoë", "Z."),
        ("{first:1}***@***", "anna@example.org", "a***@***"),
        ("all hidden", "123-45-6789", "all hidden"),
        ("•••• {last:2}", "王小明", "•••• 小明"),
        ("{last:8}", "123456789", "23456789"),
    ],
)
def test_masks(pattern: str, value: str, masked: str) -> None:
    assert Mask.parse(pattern).apply(value) == masked


@pytest.mark.parametrize(
    ("pattern", "value", "masked"),
    [
        ("***-**-{last:4}", "6789", "***-**-****"),
        ("***-**-{last:4}", "789", "***-**-****"),
        ("{last:4}", "", "****"),
        ("{last:4}", "-- --", "****"),
        ("{first:1}", "A", "*"),
        ("{first:4}-{last:4}", "12345678", "****-****"),
        ("{first:4}-{last:4}", "1234567", "****-****"),
        ("{first:4}-{last:4}", "123456789", "1234-6789"),
    ],
)
def test_a_value_is_never_shown_whole(pattern: str, value: str, masked: str) -> None:
    assert Mask.parse(pattern).apply(value) == masked


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "{}",
        "{last}",
        "{last:}",
        "{last:0}",
        "{last:9}",
        "{last:10}",
        "{last:04}",
        "{last:４}",
        "{last: 4}",
        "{Last:4}",
        "{middle:4}",
        "{last:4",
        "last:4}",
        "{{last:4}}",
        "{last:4}{last:4}",
        "{first:1}{first:1}",
        "{last:{first:1}}",
        "***\0{last:4}",
        "***\n{last:4}",
        "\u202e{last:4}",
        "*" * 65,
        "*" * 63 + "{last:4}",
        "{last:4}" * 10**5,
    ],
)
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(BadInput) as caught:
        Mask.parse(pattern)
    assert caught.value.code == "template_invalid"
    assert len(shown(caught.value)) < 500


def test_the_parts_are_counted() -> None:
    mask = Mask.parse("{first:6}...{last:4}")
    assert (mask.first, mask.last, mask.pattern) == (6, 4, "{first:6}...{last:4}")
    assert Mask.parse("x").first == Mask.parse("x").last == 0
