"""Templates of a schema's own: what they take, that tokens match again, and why they are refused."""

from __future__ import annotations

import contextlib
import random

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.custom import NAMED, Custom, custom
from vault.formats.pattern import MAX_POSITIONS, PatternRefused, overlap, read_pattern, size, tidy
from vault.formats.template import MAX_SPEC, Domain
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

EMPLOYEE = custom("employee", r"EMP-(\d{8})")


def codec(template: Custom) -> Vaultless:
    return Vaultless(Secret(bytes(range(32))), "main", "customer.x", template)


GOOD: list[tuple[str, str]] = [
    (r"EMP-(\d{8})", ""),
    (r"^EMP-(\d{8})$", ""),
    (r"([1-9]\d{7})", ""),
    (r"(\d{4}-\d{4}-\d{4})", ""),
    (r"(\d{5})(?:-(\d{4}))?", ""),
    (r"([A-Z]{2,3})-(\d{4,6})", ""),
    (r"(?:EMP|ENGINEER)-(\d{7,9})", ""),
    (r"(\w+)-(\d+)", ""),
    (r"(?:A(\d{7})|B([a-f]{8})|C([0-9a-f]{6}))", ""),
    (r"(?P<head>[A-Z]\d)[ -]?(?<tail>[0-9A-HJ-NP-TV-Z]{7})", ""),
    (r"[^-]+-(\d{9})", ""),
    (r"(?:\d{2}\.)+ ([a-z]{6})", ""),
    (r"([^-]{6,12})", "abcdefgh"),
    (r"№(.{5,})", "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))),
    (r"([α-ω]{3}\x{3a9}\x41)([0-9]{4})", ""),
    (r"(\d{12})", "9876543210"),
    (r"\(([\]\-\^a-z]{5})\)", ""),
    (r"([]a-m-]{6,})", ""),
    (r"a{,2}(\d{6})", ""),
    (r"\d*(\d{8})", ""),
]


@pytest.mark.parametrize(("pattern", "alphabet"), GOOD)
def test_tokens_match_again_and_turn_back(pattern: str, alphabet: str) -> None:
    template, chosen = custom("x", pattern, alphabet), random.Random(pattern)
    tokens, compiled = codec(template), re2.compile(pattern)
    done: dict[str, str] = {}
    for _ in range(400):
        value = template.sample(chosen)
        shape = template.parse(value)
        assert template.render_value(shape, shape.text) == value
        assert template.domain(len(value)).size <= shape.size
        if shape.size < 1_000_000:
            with pytest.raises(ValueRefused, match="domain_too_small"):
                tokens.tokenize(value)
            continue
        token = tokens.tokenize(value)
        again = template.parse_token(token)
        assert (again.kept, again.style, again.ranks) == (shape.kept, shape.style, shape.ranks)
        assert again.kept_bytes() == shape.kept_bytes()
        was, now = compiled.fullmatch(value), compiled.fullmatch(token)
        for group in range(compiled.groups + 1):
            assert was.span(group) == now.span(group)
        assert tokens.detokenize(token) == value
        assert done.setdefault(token, value) == value
    assert len(done) > 20
    assert len(template.spec) <= MAX_SPEC


def test_many_go_as_one_by_one() -> None:
    template, chosen = custom("x", r"(?:A(\d{7})|B([a-f]{8})|C([0-9a-f]{6}))", ""), random.Random(1)
    tokens = codec(template)
    values: list[str | None] = [template.sample(chosen) for _ in range(200)]
    made, refused_ones = tokens.tokenize_many([*values, "nothing", None])
    assert made[:200] == [tokens.tokenize(value or "") for value in values]
    assert {place: refusal.code for place, refusal in refused_ones.items()} == {200: "value_alphabet"}
    assert tokens.detokenize_many(made)[0][:200] == values


def test_what_is_kept_and_what_is_transformed() -> None:
    shape = EMPLOYEE.parse("EMP-00001234")
    assert (shape.alphabet.characters, shape.text, shape.style) == ("0123456789", "00001234", "")
    assert shape.kept == ((0, "E"), (1, "M"), (2, "P"), (3, "-"))
    assert EMPLOYEE.render_token(shape, "98765432") == "EMP-98765432"
    assert EMPLOYEE.domain() == EMPLOYEE.domain(12) == EMPLOYEE.smallest()
    assert EMPLOYEE.domain() == Domain(2, 27, 10**8, "12 characters, kept ones among them")


def test_a_first_digit_that_is_never_zero_stays_so() -> None:
    template = custom("x", r"([1-9]\d{5,7})")
    tokens = codec(custom("y", r"([1-9]\d{6})"))
    assert template.parse("1000000").size == 9 * 10**6
    made = {tokens.tokenize(f"{number}")[0] for number in range(1_000_000, 1_000_400)}
    assert made == set("123456789")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("1" * 257, "value_length"),
        ("EMP-1234567", "value_format"),
        ("EMP-123456789", "value_format"),
        ("EMP12345678", "value_format"),
        ("MEP-12345678", "value_format"),
        ("emp-12345678", "value_alphabet"),
        ("EMP-1234567é", "value_alphabet"),
        ("EMP-1234567４", "value_alphabet"),
        ("EMP-12345678\n", "value_alphabet"),
        ("EMP-1234567\ud800", "value_alphabet"),
    ],
)
def test_refusals_of_values(value: str, code: str) -> None:
    assert refused(EMPLOYEE.parse, value) == code


def test_a_capture_outside_the_alphabet() -> None:
    template = custom("x", r"([a-z]{8})-[a-z]", "abcdefgh")
    with pytest.raises(ValueRefused) as caught:
        template.parse("abcdxbcd-x")
    assert (caught.value.code, caught.value.facts) == ("value_alphabet", {"position": 4})
    assert refused(template.parse, "abcdxbcd-\ud800") == "value_format"
    assert refused(template.parse, "abcd-") == "value_format"


@pytest.mark.parametrize(
    ("pattern", "alphabet", "reason"),
    [
        (r"(\d{8}", "", "is not RE2"),
        (r"(?=x)(\d{8})", "", "is not RE2"),
        (r"(\d{8})\1", "", "is not RE2"),
        (r"(?i)([a-z]{8})", "", "flags and look-around"),
        (r"EMP-\d{8}", "", "has no group"),
        (r"((\d{4})\d{4})", "", "a group stands within a group"),
        (r"(\d*)", "", "a group can be empty"),
        (r"(\d{4}|)", "", "a group can be empty"),
        (r"()x", "", "a group can be empty"),
        (r"(\d)+", "", "a group is repeated"),
        (r"(?:(\d{4})-){2}", "", "a group is repeated"),
        (r"(EMP)-\d", "", "leaves nothing to transform"),
        (r"(\d+)(\d+)", "", "can be read in two ways"),
        (r"(\d+)1(\d+)", "", "can be read in two ways"),
        (r"(?:A1(\d{7})|A(\d{8}))", "", "can be read in two ways"),
        (r"((?:[a-z]|[a-f0-9]){8})", "", "can be read in two ways"),
        (r"(.{8})", "", "more than 65,536"),
        (r"(\d{8})", "abc", "no character of the alphabet"),
        (r"(\d{8})", "0", "an alphabet has 2 to 65,536"),
        (r"(\d{8})", "00", "an alphabet has 2 to 65,536"),
        (r"(\pL{8})", "", "an escape is not taken"),
        (r"\b(\d{8})", "", "an escape is not taken"),
        (r"([[:alpha:]]{8})", "", "named classes are not taken"),
        (r"(\d+?)x", "", "a count stands behind a count"),
        (r"(\d{257})", "", "a count is from 1 to 256"),
        (r"x(?:^a)(\d{8})", "", "only at its ends"),
        (r"(\d{256})x", "", "has no value of at most 256"),
        (r"(?:\d{100}-){5}(\d{100})", "", f"more than {MAX_POSITIONS} positions"),
        ("(?:" * 30 + "x" + ")" * 30 + r"(\d{8})", "", "nested too deep"),
        ("x" * 257, "", "has 1 to 256 characters"),
    ],
)
def test_refusals_of_patterns(pattern: str, alphabet: str, reason: str) -> None:
    with pytest.raises(PatternRefused, match=reason):
        custom("x", pattern, alphabet)


def test_a_long_name_is_refused() -> None:
    with pytest.raises(PatternRefused, match="at most 40"):
        custom("x" * 41, r"(\d{8})")


def test_the_spelling_is_the_name_and_a_digest_of_the_definition() -> None:
    specs = {
        custom(name, pattern, alphabet).spec
        for name in ("a", "b" * 40)
        for pattern in (r"(\d{8})", r"([0-9]{8})")
        for alphabet in ("", "0123456789", "1234567890")
    }
    assert len(specs) == 12
    assert EMPLOYEE.spec == "custom(employee, 0947b66a9621)"
    assert codec(EMPLOYEE).tokenize("EMP-12345678") == "EMP-21517356"


# The reading of patterns, held to RE2

CLASSES = st.sampled_from(["a", "b", "0", "[ab]", "[0-9a]", r"\d", "[^a]", ".", "-", r"\.", r"\w", r"[\s-]"])


def patterns(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    counted = st.builds(
        "(?:{}){}".format, inner, st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{2,}"])
    )
    return st.one_of(
        counted,
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("{}{}".format, inner, inner),
    )


PARTS = st.recursive(CLASSES, patterns, max_leaves=5)
TEXTS = st.text(alphabet=st.sampled_from("ab0-. é"), max_size=8)


@given(PARTS, PARTS, PARTS, st.lists(TEXTS, max_size=15), st.integers(0, 2**32))
@settings(deadline=None, max_examples=600)
def test_patterns_are_read_as_re2_reads_them(
    before: str, inner: str, behind: str, texts: list[str], seed: int
) -> None:
    """What is taken matches, what matches is taken; whatever stands in a group may stand there again."""
    pattern = f"{before}({inner}){behind}"
    alphabet = "ab0-. é"
    try:
        template = custom("x", pattern, alphabet)
    except PatternRefused:
        return
    compiled, chosen = re2.compile(pattern), random.Random(seed)
    for text in [*texts, *(template.sample(chosen) for _ in range(5))]:
        match = compiled.fullmatch(text) if len(text) <= 256 else None
        try:
            shape = template.parse(text)
        except ValueRefused as refusal:
            group = match[1] if match else ""
            assert not match or not text or refusal.code == "value_length" or not set(group) <= set(alphabet)  # noqa: PT017
            continue
        assert match
        for _ in range(3):
            other = template.sample(chosen)
            again = template.parse(other)
            if (again.ranks, len(again.text), again.style) == (shape.ranks, len(shape.text), shape.style):
                token = template.render_token(shape, again.text)
                assert template.parse(token).text == again.text
                assert compiled.fullmatch(token).span(1) == match.span(1)


@given(st.text(alphabet=st.sampled_from("()[]{}|*+?^$\\.-,:<>Paxdw0129"), max_size=24))
@settings(max_examples=1500, deadline=None)
def test_whatever_is_written_is_a_pattern_or_refused(pattern: str) -> None:
    try:
        custom("x", pattern, "")
    except PatternRefused as refusal:
        assert str(refusal)  # noqa: PT017


@pytest.mark.parametrize(
    "pattern",
    [
        r"((?:(?:(?:a?b?){16}c?){8}d?){3}x)",
        r"(" + "|".join(["[a-z]{8}"] * 20) + ")",
        r"(?:\w?){250}(x\d)",
        r"(?:(?:a*b*)*c*)*(\d{8})",
        r"(.{200})",
    ],
)
def test_large_patterns_are_read_or_refused(pattern: str) -> None:
    with contextlib.suppress(PatternRefused):
        custom("x", pattern, "".join(map(chr, range(0x4E00, 0x4E00 + 65_536 // 4))) + "abcdefgh")


RANGES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda two: (min(two), max(two))), max_size=6
)


@given(RANGES, RANGES)
def test_ranges(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    points = [{point for low, high in some for point in range(low, high + 1)} for some in (one, other)]
    assert overlap(tidy(one), tidy(other)) == bool(points[0] & points[1])
    assert size(tidy(one)) == len(points[0])


def test_named_alphabets_are_those_of_the_catalogue() -> None:
    assert [len(place.characters) for place in NAMED.values()] == [10, 26, 26, 36, 36, 62]


def test_a_graph_has_its_groups() -> None:
    assert read_pattern(r"a(b)|c(d)").groups == 2
