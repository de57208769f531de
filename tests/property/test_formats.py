"""Every template, over many accepted values: tokens keep their shape and turn back; masks never tell all;
spellings of one value have one normal form.

500 values a template, and 50 examples; 100,000 and 150 with COATCHECK_FULL=1.
"""

from __future__ import annotations

import os
import random
import unicodedata
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.echo import shown
from vault.errors import BadInput, ValueRefused
from vault.formats.alphabet import ALPHANUMERIC
from vault.formats.calling import LONGEST_CODE, country_code
from vault.formats.card import Card
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.checksum import luhn_valid
from vault.formats.mask import Mask
from vault.formats.national.scheme import Scheme
from vault.formats.national.schemes import SCHEMES
from vault.formats.normalize import Normalization, normalize
from vault.formats.spelling import Entry
from vault.formats.template import MAX_KEPT_BYTES, MAX_SPEC, Template
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

VALUES, EXAMPLES = (100_000, 150) if os.environ.get("COATCHECK_FULL") == "1" else (500, 50)
SPECS = [spec for name, entry in CATALOG.items() for spec in (name, *entry.examples)]
REVERSIBLE = [spec for spec in SPECS if parse_template(spec).reversible_by_ff1]
STORED = [spec for spec in SPECS if spec not in REVERSIBLE]
# Templates whose values of one length differ in how many others they have; they tell the fewest.
FLOORS = {"base64url", "br_cnpj", "code", "email", "iban", "mac", "name", "phone", "timestamp", "uuid"}
ANY_TEXT = st.text(alphabet=st.characters(), max_size=60)  # lone surrogates among them
LIKELY = st.text(alphabet=st.sampled_from("0123456789 -abzABZ４\0+.@\u0301\u200bяß"), max_size=40)


def keeps_its_shape(template: Template, value: str, token: str) -> None:
    taken, made = template.parse(value), template.parse_token(token)
    assert made.kept_bytes() == taken.kept_bytes()
    assert (made.style, made.ranks) == (taken.style, taken.ranks)
    assert taken.alphabet.foreign(made.text) is None
    assert made.takes(made.text)
    if not getattr(template, "keeps_layout", True):
        return
    assert len(token) == len(value)
    assert made.kept == taken.kept
    for mine, theirs in zip(value, token, strict=True):
        assert mine.isalnum() == theirs.isalnum()
    if isinstance(template, Card):
        digits = token.replace(" ", "").replace("-", "")
        if template.luhn == "mark":
            assert sum(character in "ABCDEFGHIJ" for character in digits) == 1
        else:
            assert luhn_valid(digits) == (template.luhn == "keep")
        assert digits[: template.keep_first] == value.replace(" ", "").replace("-", "")[: template.keep_first]


@pytest.mark.parametrize("spec", REVERSIBLE)
def test_tokens_keep_their_shape_and_turn_back(spec: str) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    tokens = Vaultless(Secret(bytes(range(32))), "main", "customer.field", template)
    values: dict[str, str] = {}
    small = 0
    for _ in range(VALUES):
        value = template.sample(chosen)
        shape = template.parse(value)
        assert template.render_value(shape, shape.text) == value
        assert len(shape.kept_bytes()) <= MAX_KEPT_BYTES
        if shape.size < 1_000_000:
            with pytest.raises(ValueRefused, match="domain_too_small"):
                tokens.tokenize(value)
            small += 1
            continue
        token = tokens.tokenize(value)
        keeps_its_shape(template, value, token)
        assert tokens.detokenize(token) == value
        assert values.setdefault(token, value) == value  # no two values share a token
    assert len(values) > VALUES // 20
    assert (small > 0) == (template.smallest().size < 1_000_000)


@pytest.mark.parametrize("spec", STORED)
def test_what_is_stored_comes_back(spec: str) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    for _ in range(VALUES):
        value = template.sample(chosen)
        shape = template.parse(value)
        assert template.render_value(shape, shape.text) == value


@pytest.mark.parametrize("spec", REVERSIBLE)
def test_domains_say_what_shapes_are(spec: str) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    for _ in range(200):
        value = template.sample(chosen)
        shape = template.parse(value)
        if spec.partition("(")[0] in FLOORS:
            assert template.smallest().size <= shape.size
            continue
        length = sum(character in ALPHANUMERIC for character in value)
        domain = template.domain(length if getattr(template, "keeps_layout", True) else None)
        assert domain.size >= template.smallest().size
        if spec == "e164":  # counts three digits for the country, whose code may be shorter
            more = LONGEST_CODE - len(country_code(template.canonical(value)[1:]))
            assert (domain.length + more, domain.size * 10**more) == (len(shape.text), shape.size)
            continue
        assert (domain.radix, domain.length, domain.size) == (
            shape.alphabet.radix,
            len(shape.text),
            shape.size,
        )


def echoes_nothing(error: BadInput) -> None:
    """All there is to an error is its code and facts, and the facts are ours."""
    ours = {*CATALOG} | {parameter.name for entry in CATALOG.values() for parameter in entry.parameters}
    assert all(isinstance(fact, int) or fact in ours for fact in error.facts.values())
    assert shown(error) == shown(type(error)(error.code, **error.facts))


@pytest.mark.parametrize("spec", REVERSIBLE + STORED)
@given(value=st.one_of(ANY_TEXT, LIKELY))
@settings(deadline=None, max_examples=EXAMPLES)
def test_whatever_comes_is_taken_whole_or_refused(spec: str, value: str) -> None:
    template = parse_template(spec)
    for parse in (template.parse, template.parse_token):
        try:
            shape = parse(value)
        except ValueRefused as refused:
            echoes_nothing(refused)
            continue
        except BadInput as refused:
            assert (refused.code, spec in STORED) == ("operation_unsupported", True)  # noqa: PT017
            continue
        assert shape.length == len(value)
        if parse == template.parse:
            assert template.render_value(shape, shape.text) == value
        else:
            assert template.render_token(shape, shape.text) == value


@given(spec=st.one_of(ANY_TEXT, st.from_regex(r"(ssn|card|digits|text)(\([a-z_]{0,10}=['a-z0-9]{0,8}\))?")))
@settings(deadline=None, max_examples=400)
def test_whatever_is_spelled_is_a_template_or_refused(spec: str) -> None:
    try:
        template = parse_template(spec)
    except BadInput as refused:
        assert refused.code == "template_invalid"  # noqa: PT017
        echoes_nothing(refused)
        return
    assert parse_template(template.spec) == template
    assert len(template.spec) <= MAX_SPEC


@given(value=ANY_TEXT, first=st.integers(0, 8), last=st.integers(0, 8))
@settings(deadline=None, max_examples=400)
def test_masks_never_show_more_than_they_say_nor_everything(value: str, first: int, last: int) -> None:
    pattern = (f"{{first:{first}}}" if first else "") + "*-*" + (f"{{last:{last}}}" if last else "")
    masked = Mask.parse(pattern).apply(value)
    whole = [character for character in value if character.isalnum()]
    shown_ones = [character for character in masked if character.isalnum()]
    assert len(shown_ones) in (0, first + last)
    assert not shown_ones or len(shown_ones) < len(whole)
    if shown_ones:
        assert shown_ones == whole[:first] + whole[len(whole) - last :]
    assert len(masked) == first + last + 3


PLACES = (
    "{{first:{0}}}",
    "{{last:{0}}}",
    "{{local:{0}}}",
    "{{domain}}",
    "{{country}}",
    "{{year}}",
    "{{month}}",
    "{{zip3}}",
    "{{network}}",
    "{{initials}}",
)
DISTINCT = st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789 -.@+"), max_size=30, unique=True)


@given(
    value=st.one_of(ANY_TEXT, DISTINCT.map("".join)),
    chosen=st.lists(
        st.tuples(st.sampled_from(PLACES), st.integers(1, 8)), max_size=4, unique_by=lambda one: one[0]
    ),
)
@settings(deadline=None, max_examples=400)
def test_no_mask_shows_all_whatever_its_places(value: str, chosen: list[tuple[str, int]]) -> None:
    masked = Mask.parse("|".join(place.format(count) for place, count in chosen) or "|").apply(value)
    whole = {character for character in value if character.isalnum()}
    shown_ones = {character for character in masked if character.isalnum()}
    assert shown_ones <= whole
    if len(whole) == sum(
        character.isalnum() for character in value
    ):  # each once, so none can be hidden twice
        assert not whole or shown_ones < whole


@pytest.mark.parametrize("entry", CATALOG.values(), ids=lambda entry: entry.name)
def test_the_masks_of_the_catalogue_hide_something_of_every_value(entry: Entry[Template]) -> None:
    template, chosen = parse_template(entry.name), random.Random(entry.name)
    for pattern in entry.masks:
        mask = Mask.parse(pattern)
        shown_ones = 0
        for _ in range(300):
            value = template.sample(chosen)
            masked = mask.apply(value)
            whole = [character for character in value if character.isalnum()]
            visible = [character for character in masked if character.isalnum()]
            assert not Counter(visible) - Counter(whole)
            assert len(visible) < len(whole) or not visible
            shown_ones += bool(visible)
        assert shown_ones > 200


# Spellings


def ssn_otherwise(plain: str, chosen: random.Random) -> str:
    return f"{plain[:3]}-{plain[3:5]}-{plain[5:]}" if chosen.random() < 0.5 else plain


def email_otherwise(plain: str, chosen: random.Random) -> str:
    local, _, domain = plain.rpartition("@")
    return f"{unicodedata.normalize(chosen.choice(('NFC', 'NFD')), local)}@{domain.upper()}"


def iban_otherwise(plain: str, chosen: random.Random) -> str:
    written = separated(" ", 1)(plain, chosen)
    return written.lower() if chosen.random() < 0.5 else written


def bic_otherwise(plain: str, chosen: random.Random) -> str:
    whole = plain + "XXX" if len(plain) == 8 and chosen.random() < 0.5 else plain
    written = separated(" ", 1)(whole, chosen)
    return written.lower() if chosen.random() < 0.5 else written


def timestamp_otherwise(plain: str, chosen: random.Random) -> str:
    written = plain[:10] + chosen.choice("T ") + plain[11:]
    return written[:-1] + chosen.choice(("Z", "+00:00", "+0000", "+00")) if plain[-1] == "Z" else written


def mac_otherwise(plain: str, chosen: random.Random) -> str:
    digits = plain.replace(":", "")
    fours = ".".join((digits[:4], digits[4:8], digits[8:]))
    written = chosen.choice((plain, plain.replace(":", "-"), fours, digits))
    return written.upper() if chosen.random() < 0.5 else written


def uuid_otherwise(plain: str, chosen: random.Random) -> str:
    written = plain.replace("-", "") if chosen.random() < 0.5 else plain
    return written.upper() if chosen.random() < 0.5 else written


def base64url_otherwise(plain: str, chosen: random.Random) -> str:
    return plain + "=" * (-len(plain) % 4) if chosen.random() < 0.5 else plain


def postal_otherwise(plain: str, chosen: random.Random) -> str:
    return f"{plain[:-3]} {plain[-3:]}".lower() if chosen.random() < 0.5 else plain


def separated(separators: str, start: int) -> Callable[[str, random.Random], str]:
    """With separators here and there, from a place on."""

    def write(plain: str, chosen: random.Random) -> str:
        parts = [plain[:start]]
        for character in plain[start:]:
            parts += (chosen.choice(separators) if chosen.random() < 0.3 else "", character)
        return "".join(parts)

    return write


def national_otherwise(scheme: Scheme) -> Callable[[str, random.Random], str]:
    """Separators that the scheme takes, and its letters small where it takes them so."""

    def write(plain: str, chosen: random.Random) -> str:
        written = separated(scheme.layout.separators, 1)(plain, chosen)
        small = scheme.layout.letters == "both" and chosen.random() < 0.5
        return written.lower() if small else written

    return write


# The same value as somebody else would write it, made of its canonical spelling. Templates that are not here
# have one spelling of each value.
OTHERWISE: dict[str, Callable[[str, random.Random], str]] = {
    "ssn": ssn_otherwise,
    "card": separated(" -", 1),
    "e164": separated(" -.", 2),
    "email": email_otherwise,
    "iban": iban_otherwise,
    "bic": bic_otherwise,
    "phone": separated(" -./", 1),
    "postal": postal_otherwise,
    "imei": separated(" -/.", 1),
    "imsi": separated(" -", 1),
    "timestamp": timestamp_otherwise,
    "mac": mac_otherwise,
    "uuid": uuid_otherwise,
    "base64url": base64url_otherwise,
    **{scheme.name: national_otherwise(scheme) for scheme in SCHEMES},
}


@pytest.mark.parametrize("spec", REVERSIBLE + STORED)
def test_spellings_of_one_value_have_one_normal_form(spec: str) -> None:
    template, chosen = parse_template(spec), random.Random(spec)
    otherwise = OTHERWISE.get(spec.partition("(")[0])
    several = 0
    for _ in range(VALUES // 10):
        value = template.sample(chosen)
        plain = template.canonical(value)
        other = plain if otherwise is None else otherwise(plain, chosen)
        template.parse(other)
        several += other != value
        assert template.canonical(other) == template.canonical(value)
        for how in Normalization:
            form = normal_form(template, how, value)
            assert normal_form(template, how, other) == form
            assert normal_form(template, how, template.canonical(value)) == form
    assert (several > 0) == (otherwise is not None)


def normal_form(template: Template, how: Normalization, value: str) -> str | None:
    """None where nothing is left to compare."""
    try:
        return normalize(template, how, value)
    except ValueRefused as refused:
        assert refused.code == "value_format"  # noqa: PT017
        return None


@pytest.mark.parametrize("spec", REVERSIBLE + STORED)
@given(value=st.one_of(ANY_TEXT, LIKELY), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=EXAMPLES)
def test_the_canonical_spelling_is_a_value_and_its_own(spec: str, value: str, seed: int) -> None:
    template = parse_template(spec)
    try:
        template.parse(value)
    except ValueRefused:
        value = template.sample(random.Random(seed))
    plain = template.canonical(value)
    template.parse(plain)
    assert template.canonical(plain) == plain
    assert normalize(template, Normalization.NONE, value) == plain


@given(value=st.one_of(ANY_TEXT, LIKELY))
@settings(deadline=None, max_examples=500)
def test_forms_are_fixed_points_and_get_looser(value: str) -> None:
    """What is equal in a form is equal in every looser one, and a form of a form is itself."""
    template = parse_template("text")
    forms = {how: normal_form(template, how, value) for how in Normalization}
    for how, form in forms.items():
        if form is not None:
            assert normal_form(template, how, form) == form
    chain = (Normalization.NONE, Normalization.NFC, Normalization.LOWERCASE, Normalization.CASEFOLD)
    for strict in chain:
        form = forms[strict]
        for loose in (*chain[chain.index(strict) :], Normalization.WORDS, Normalization.ALPHANUMERIC):
            assert form is None or normal_form(template, loose, form) == forms[loose]
