"""Documents that nobody wrote in good faith: `schema_refused` and nothing else, no echo, bounded work."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.schema.documents import GOOD, changed, refusals
from vault.errors import BadInput
from vault.schema.document import MAX_DOTS, MAX_TOML, Schema, parse_document, parse_toml

CANARY = "4111111111111111"
NASTY = [
    "",
    "\0",
    "a\0b",
    "\n",
    "\x7f",
    "\x1b[31m",
    "\ud800",
    "\u202e",
    "\u200b",
    "４",
    "A",
    "a" * 65,
    "é",
    " ",
]

scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.binary(max_size=8)
    | st.datetimes()
    | st.sampled_from(NASTY)
)
keys = st.text(st.characters(), max_size=8) | st.sampled_from(
    [*NASTY, "keep", "template", "masks", "bearer", "protection", "retention", "fields", "purposes"]
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def places(document: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every place of a document, tables and leaves."""
    found = []
    for key, value in document.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += places(value, (*path, key))
    return found


PLACES = ["/".join(path) for path in places(GOOD)]


def parse_or_refuse(document: Any) -> Schema | None:
    try:
        return parse_document(document)
    except BadInput as refusal:
        if refusal.code != "schema_refused" or set(refusal.facts) != {"refusals"}:
            raise
        return None


@given(values)
def test_anything_at_all_is_refused_or_taken(document: Any) -> None:
    parse_or_refuse(document)


@given(st.dictionaries(st.sampled_from(["purposes", "retention", "fields", "templates"]), values))
def test_anything_in_the_tables_is_refused_or_taken(document: Any) -> None:
    parse_or_refuse(document)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(PLACES), values, min_size=1, max_size=3))
def test_anything_at_any_place_of_a_good_document_is_refused_or_taken(changes: dict[str, Any]) -> None:
    document = GOOD
    for place, value in sorted(changes.items()):
        try:
            document = changed({place: value})
        except TypeError:  # a table above it is gone already
            continue
        taken = parse_or_refuse(document)
        assert taken is None or parse_document(json.loads(taken.body)).digest == taken.digest


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "wrong",
    [
        None,
        True,
        0,
        -1,
        2**70,
        1.5,
        float("nan"),
        float("inf"),
        b"x",
        [],
        [[]],
        {},
        {"x": {}},
        datetime.date(2026, 1, 1),
    ],
    ids=repr,
)
def test_a_wrong_type_at_any_place(place: str, wrong: Any) -> None:
    parse_or_refuse(changed({place: wrong}))


@pytest.mark.parametrize("kind", ["purposes", "retention", "fields"])
@pytest.mark.parametrize("name", [*NASTY, "a/b", "a b", "*", "_a", ".a", "-a", CANARY + "\n"])
def test_a_name_that_is_none_is_refused_and_not_shown(kind: str, name: str) -> None:
    entry = next(iter(GOOD[kind].values()))
    found = refusals({**GOOD, kind: {**GOOD[kind], name: entry}})
    assert f"{kind}.(unnamed): a name is a-z, 0-9, '_', '.', '-', at most 64 characters" in found
    assert all(line.isascii() and line.isprintable() for line in found)


@pytest.mark.parametrize("odd", [1, None, b"x", ("a",), 1.5, True])
def test_a_key_that_is_no_text_is_refused(odd: Any) -> None:
    assert refusals({odd: {}})
    assert refusals({"fields": {odd: {}}})
    assert refusals({"fields": {"a": {odd: 1}}})
    assert refusals(changed({"fields/customer.ssn/masks": {odd: "{last:4}"}}))


@pytest.mark.parametrize("place", PLACES)
def test_no_reason_shows_a_value(place: str) -> None:
    for planted in (CANARY, [CANARY], {CANARY + "\0": CANARY}, {"x": CANARY}):
        with contextlib.suppress(BadInput):  # a description may say anything
            parse_document(changed({place: planted}))
            continue
        assert CANARY not in "".join(refusals(changed({place: planted})))


def test_only_what_json_can_say_is_taken() -> None:
    assert refusals(MappingProxyType({})) == ["the document holds more than JSON can say"]


# text


def toml_refused(text: str) -> str:
    with pytest.raises(BadInput) as refusal:
        parse_toml(text)
    assert refusal.value.code == "schema_refused"
    assert refusal.value.__cause__ is None
    reasons = refusal.value.facts["refusals"]
    assert isinstance(reasons, list)
    return str(reasons[0])


NOT_TOML = "the document is not TOML"
TOO_MUCH = "the document is too large, or a line has too many dots"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not toml", NOT_TOML),
        ("a = ", NOT_TOML),
        ("\ufeffa = 1", NOT_TOML),
        ("a = 1\na = 2", NOT_TOML),
        ("[a]\n[a]", NOT_TOML),
        ("a = '\0'", NOT_TOML),
        ("a = '\x7f'", NOT_TOML),
        ('a = "\\ud800"', NOT_TOML),
        ("a = " + "[" * 100_000 + "]" * 100_000, NOT_TOML),
        ("a = " + "{a = " * 30_000 + "1" + "}" * 30_000, NOT_TOML),
        ("a = " + "9" * 100_000, NOT_TOML),
        ("a = 2026-02-30", NOT_TOML),
        ("a = '" + "\ud800" + "'", "schema.a: is unknown"),
        ("a = nan", "schema.a: is unknown"),
        ("#" * (MAX_TOML + 1), TOO_MUCH),
        ("a" * (MAX_TOML + 1), TOO_MUCH),
        ("a." * MAX_DOTS + "a.a = 1", TOO_MUCH),
        ("[" + "a." * 100_000 + "a]", TOO_MUCH),
        ("x = {" + "a." * 100_000 + "a = 1}", TOO_MUCH),
        # a quoted key may hold what other tools take for the end of a line, or for a comment
        ('"\u2028".' * 100_000 + "a = 1", TOO_MUCH),
        ('"#".' * 100_000 + "a = 1", TOO_MUCH),
        (" '#'" + ".a" * 100_000 + " = 1", TOO_MUCH),
        ("a.\ra." * 50_000 + "a = 1", TOO_MUCH),
        ("a." * (MAX_DOTS - 1) + "a.a = 1", "schema.a: is unknown"),
    ],
    ids=lambda part: repr(part[:20]),
)
def test_a_text_that_is_no_schema(text: str, reason: str) -> None:
    assert toml_refused(text) == reason


def test_deep_keys_within_the_bound_are_cheap() -> None:
    """As much as is let through of lines as deep as are let through; unbounded, one line took 40 GB."""
    line = "a." * (MAX_DOTS - 4) + "a"
    text = "".join(f"[t{number}]\n{line} = 1\n" for number in range(MAX_TOML // (len(line) + 13)))
    assert MAX_TOML * 0.9 < len(text) <= MAX_TOML
    assert toml_refused(text) == "schema.t0: is unknown"


def test_a_comment_may_have_as_many_dots_as_it_likes() -> None:
    assert parse_toml("# " + "." * 500 + "\n \t#" + "." * 500).fields == {}
