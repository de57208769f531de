from __future__ import annotations

import hashlib

import pytest

from vault.errors import ValueRefused
from vault.formats.alphabet import ALPHANUMERIC, DIGITS
from vault.formats.catalog import parse_template
from vault.formats.template import MAX_KEPT_BYTES, Shape, require_domain, spell


def shape(text: str, *kept: tuple[int, str]) -> Shape:
    return Shape(DIGITS, text, kept, len(text) + len(kept))


@pytest.mark.parametrize(
    ("taken", "text", "whole"),
    [
        (shape("123"), "789", "789"),
        (shape("123456789", (3, "-"), (6, "-")), "987654321", "987-65-4321"),
        (shape("23", (0, "1"), (3, "4")), "99", "1994"),
        (shape("", (0, "1"), (1, "2")), "", "12"),
        (shape("34", (0, "1"), (1, "2")), "77", "1277"),
    ],
)
def test_fill(taken: Shape, text: str, whole: str) -> None:
    assert taken.fill(text) == whole


@pytest.mark.parametrize("text", ["", "12", "1234"])
def test_fill_refuses_another_length(text: str) -> None:
    for taken in (shape("123"), shape("123", (0, "-"))):
        with pytest.raises(ValueError, match="does not fit"):
            taken.fill(text)


def test_kept_bytes_are_a_form_byte_and_positions_with_characters() -> None:
    assert shape("123").kept_bytes() == b""
    assert shape("12", (2, "7"), (3, "8")).kept_bytes() == b"\0\0\x027\0\x038"


def test_separators_are_layout_and_leave_no_trace() -> None:
    bare = shape("12", (2, "7"), (3, "8"))
    spaced = shape("12", (1, "-"), (3, " "), (4, "7"), (5, "-"), (6, "8"))
    assert bare.fill("12") == "1278"
    assert spaced.fill("12") == "1-2 7-8"
    assert spaced.kept_bytes() == bare.kept_bytes()
    assert shape("123456789", (3, "-"), (6, "-")).kept_bytes() == b""


def test_kept_bytes_differ_wherever_characters_or_positions_do() -> None:
    shapes = [
        shape("12", (2, "7"), (3, "8")),
        shape("12", (2, "8"), (3, "7")),
        shape("12", (0, "7"), (3, "8")),
        shape("12", (2, "7")),
        shape("12", (2, "é")),
        shape("12"),
        shape("1" * 20, *((20 + place, "7") for place in range(12))),
        shape("1" * 20, *((20 + place, "8") for place in range(12))),
    ]
    assert len({one.kept_bytes() for one in shapes}) == len(shapes)


def test_kept_bytes_are_bounded() -> None:
    for count in range(200):
        kept = tuple((place, "z") for place in range(count))
        encoded = Shape(ALPHANUMERIC, "", kept, count).kept_bytes()
        assert len(encoded) <= MAX_KEPT_BYTES
    listed = b"".join(place.to_bytes(2, "big") + b"z" for place in range(199))
    assert encoded == b"\1" + hashlib.sha256(listed).digest()


def test_a_shape_shows_no_plaintext() -> None:
    taken = parse_template("card").parse("4111111111111111")
    for text in (repr(taken), str(taken), f"{taken}", f"{[taken]}"):
        assert "1111" not in text


def test_small_shapes_are_refused() -> None:
    require_domain(shape("123456"))
    for text in ("", "1", "12345"):
        with pytest.raises(ValueRefused) as caught:
            require_domain(shape(text))
        assert (caught.value.code, caught.value.facts) == ("domain_too_small", {"minimum": 1_000_000})


def test_spelling() -> None:
    assert spell("ssn", strict=None) == "ssn"
    assert spell("ssn", strict=True) == "ssn(strict=true)"
    assert spell("x", a=1, b=False, c="word") == "x(a=1, b=false, c='word')"
