"""What a template, or a field, protects against: exact numbers, what stays visible, and advice.

Chances are exact fractions. They take all values of a shape for equally likely, which values of people hardly
ever are, so each is the least that a guess is worth: docs/explanation/fpe-limits.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from vault.crypto.ff1 import MIN_DOMAIN
from vault.formats.revealed import revealed
from vault.formats.surrogate import SURROGATES, Surrogate
from vault.formats.template import Domain, Template
from vault.schema.rules import Determinism, FieldRule, Protection, Small

KNOWN: Final = 1_000_000  # tokens: what the second chance counts against
ROOM: Final = 100  # made-up tokens for each that is somebody's, at least
PER_SECOND: Final = {  # tokens a core makes in batches, rounded up (docs/explanation/performance.md)
    Protection.VAULTLESS: 10_000_000,
    Protection.VAULTED: 100_000,
}
LONG: Final = 1_000  # characters; longer texts are read, not looked up
OPAQUE: Final = 2**128  # opaque tokens: one block under a cipher
DAY_S: Final = 86_400
UNREADABLE: Final = 10**16  # from here on numbers are told by their magnitude


@dataclass(frozen=True, slots=True)
class Chance:
    """A chance in lowest terms, and in words."""

    numerator: int
    denominator: int
    text: str

    @classmethod
    def of(cls, part: int, whole: int) -> Chance:
        """`part` in `whole`, one at most."""
        fraction = min(Fraction(1), Fraction(part, whole))
        return cls(fraction.numerator, fraction.denominator, _in_words(fraction))


@dataclass(frozen=True, slots=True)
class Size:
    """How many values look alike: what one value hides among.

    Attributes:
        length: transformed characters; bits where values are counted.
        size: after check digits and kept characters; 0: not known, FF1 has no use for the template.
    """

    length: int
    size: int
    note: str


@dataclass(frozen=True, slots=True)
class Guess:
    """How good a made-up token is.

    Attributes:
        space: how many tokens look alike: values of the typical shape, surrogates, or opaque ones.
        one: the chance that one made-up token is one certain token that was handed out. Where tokens are
            computed this is also the chance that one guess at the value behind a token is right.
        million: the chance that one made-up token is one of 1,000,000 that were handed out. Where tokens
            are computed every made-up token opens; this one opens to a value that is there.
        rows: shaped tokens: the chance that one is anybody's when the field is full (`max_rows`).
    """

    space: int
    one: Chance
    million: Chance
    rows: Chance | None = None


@dataclass(frozen=True, slots=True)
class Dictionary:
    """What who may tokenize needs to list every value of the typical shape with its token.

    Attributes:
        values: how many those are.
        per_day: the field's budget; null without one, then the seconds are what one core takes in batches:
            10,000,000 values a second of a vaultless field, 100,000 of a deterministic one.
        seconds: rounded up; whole days where a budget holds.
    """

    values: int
    per_day: int | None
    seconds: int
    text: str


@dataclass(frozen=True, slots=True)
class Advice:
    """The protection that fits the template, and why.

    Attributes:
        protection: `vaultless`, `vaulted` or `encrypted`.
        surrogate: with `vaulted`: surrogates that look like the template's values, as its tokens would have.
        small: with `vaultless`: the setting that takes values which are too few to hide one among.
    """

    protection: str
    reason: str
    surrogate: str | None = None
    small: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A template under a protection.

    Attributes:
        template: its canonical spelling; null for an encrypted field without one.
        protection: what is explained: the field's, or the one that is advised.
        domain: of the length that the template calls typical.
        smallest: of the smallest shape that a value can have.
        refused: whether FF1 refuses values of the smallest shape: under 1,000,000 look alike.
        small: what a vaultless field does with those: `refuse`, `vaulted` or `pass`.
        guess: null where tokens cannot be guessed by counting: ciphertexts.
        equality: what equal tokens tell.
        shown: what a token or ciphertext shows of its value.
        dictionary: null where tokenizing tells nobody what a value is, and where the values of the template
            are not counted: that does not say that they are many.
    """

    template: str | None
    protection: str
    domain: Size | None
    smallest: Size | None
    refused: bool
    small: str | None
    guess: Guess | None
    equality: str
    shown: tuple[str, ...]
    dictionary: Dictionary | None
    advice: Advice


def explain_template(
    template: Template,
    protection: Protection | None = None,
    surrogate: Surrogate | None = None,
    max_rows: int | None = None,
    per_day: int | None = None,
) -> Explanation:
    """A template under a protection: without one, vaulted if there is a surrogate, else the one advised.

    Args:
        protection: vaultless only where FF1 can transform the template's values.
        surrogate: what tokens look like, of a vaulted field.
        max_rows: how many of them there may be; at least 1.
        per_day: a budget of values a day; at least 1.

    Raises:
        ValueError: the protection does not go with the template or the surrogate.
    """
    advice = advise(template)
    if protection is None:
        protection = Protection(advice.protection) if surrogate is None else Protection.VAULTED
    if protection is Protection.VAULTLESS and not template.reversible_by_ff1:
        raise ValueError("FF1 cannot transform values of this template")
    if surrogate is not None and protection is not Protection.VAULTED:
        raise ValueError("only vaulted tokens are surrogates")
    return _explain(
        template, protection, Determinism.NONE, surrogate, max_rows, per_day, Small.REFUSE, advice
    )


def explain_field(rule: FieldRule) -> Explanation:
    """A field as the schema has it, beside what would be advised for its template."""
    advice = _FREE_FORM if rule.template is None else advise(rule.template)
    return _explain(
        rule.template,
        rule.protection,
        rule.deterministic,
        rule.surrogate,
        rule.max_rows,
        rule.budget_per_day,
        rule.small,
        advice,
    )


def advise(template: Template) -> Advice:
    """The protection that fits a template whose fields are not known.

    Vaultless needs 100,000,000 values of the typical shape, so that of a million tokens in use at most one
    made-up token in a hundred is somebody's; with less, tokens that must look like values are drawn.
    """
    typical, smallest = template.domain(), template.smallest()
    if not template.reversible_by_ff1:
        if typical.length > LONG:
            return _FREE_FORM
        alike = _alike(template)
        drawn = "" if alike is None else f"; tokens that must look like one are surrogates, `{alike}`"
        return Advice("vaulted", typical.note + drawn)
    if typical.size < ROOM * KNOWN:
        few = f"{typical.size:,} values look alike ({typical.note})"
        if typical.size < MIN_DOMAIN:
            few += f", and format-preserving encryption needs {MIN_DOMAIN:,}"
        else:
            few += f": with {KNOWN:,} in use, more than one made-up token in {ROOM} is somebody's"
        return Advice("vaulted", few, _alike(template))
    reason = f"{typical.size:,} values look alike ({typical.note}), and nothing has to be stored"
    if smallest.size >= MIN_DOMAIN:
        return Advice("vaultless", reason)
    reason += f"; of the smallest shape only {smallest.size:,} do ({smallest.note})"
    return Advice("vaultless", reason, small="vaulted")


_FREE_FORM: Final = Advice(
    "encrypted", "what is long or of no form is read and not looked up, so its ciphertext can lie beside it"
)

_JOINED: Final = (
    "who sees tokens sees which records belong together, and how often each value occurs; who may tokenize "
    "can test whether a value is the one behind a token"
)
_EQUALITY: Final = {
    (Protection.VAULTLESS, Determinism.NONE): (
        f"equal values have equal tokens under one key version: {_JOINED}"
    ),
    (Protection.VAULTED, Determinism.NONE): "nothing: a value has another token each time",
    (Protection.VAULTED, Determinism.SUBJECT): f"equal values of one person have equal tokens: {_JOINED}",
    (Protection.VAULTED, Determinism.FIELD): f"equal values have equal tokens, whoever's they are: {_JOINED}",
    (Protection.ENCRYPTED, Determinism.NONE): "nothing: every ciphertext is another",
}


def _explain(
    template: Template | None,
    protection: Protection,
    deterministic: Determinism,
    surrogate: Surrogate | None,
    max_rows: int | None,
    per_day: int | None,
    small: Small,
    advice: Advice,
) -> Explanation:
    domain = None if template is None else template.domain()
    smallest = None if template is None else template.smallest()
    reversible = template is not None and template.reversible_by_ff1
    return Explanation(
        template=None if template is None else template.spec,
        protection=protection.value,
        domain=_size(domain),
        smallest=_size(smallest),
        refused=reversible and smallest is not None and smallest.size < MIN_DOMAIN,
        small=small.value if protection is Protection.VAULTLESS else None,
        guess=_guess(protection, domain, surrogate, max_rows),
        equality=_EQUALITY[protection, deterministic],
        shown=_shown(template, protection, small),
        dictionary=_dictionary(protection, deterministic, domain, per_day),
        advice=advice,
    )


def _shown(template: Template | None, protection: Protection, small: Small) -> tuple[str, ...]:
    if protection is Protection.VAULTLESS and template is not None:
        passed = f"values of which fewer than {MIN_DOMAIN:,} look alike, whole: they are their own tokens"
        return (*([passed] if small is Small.PASS else []), *revealed(template))
    if protection is Protection.ENCRYPTED:
        return (
            "how long the value is, in bytes of UTF-8",
            "which key it is under: one for a person, a retention class and the time that it is due",
        )
    return ()


def _guess(
    protection: Protection, domain: Domain | None, surrogate: Surrogate | None, max_rows: int | None
) -> Guess | None:
    if protection is Protection.ENCRYPTED:
        return None
    if protection is Protection.VAULTED:
        space = OPAQUE if surrogate is None else surrogate.space
    else:
        space = 0 if domain is None else domain.size
    if not space:
        return None
    full = None if surrogate is None or max_rows is None else Chance.of(max_rows, space)
    return Guess(space, Chance.of(1, space), Chance.of(KNOWN, space), full)


def _dictionary(
    protection: Protection, deterministic: Determinism, domain: Domain | None, per_day: int | None
) -> Dictionary | None:
    joins = protection is Protection.VAULTLESS or deterministic is not Determinism.NONE
    if not joins or domain is None or not domain.size:
        return None
    if per_day is None:
        pace = PER_SECOND[protection]
        seconds = -(-domain.size // pace)
        text = f"{_span(seconds)} at {pace:,} values a second, and no budget stands against it"
    else:
        days = -(-domain.size // per_day)
        seconds = days * DAY_S
        text = f"{_span(seconds)} at {per_day:,} values a day"
    return Dictionary(domain.size, per_day, seconds, text)


def _alike(template: Template) -> str | None:
    """The surrogates of the template's name, if there are."""
    name = template.spec.partition("(")[0]
    return name if name in SURROGATES else None


def _size(domain: Domain | None) -> Size | None:
    return None if domain is None else Size(domain.length, domain.size, domain.note)


def _in_words(chance: Fraction) -> str:
    if chance == 1:
        return "certain"
    one_in = chance.denominator // chance.numerator
    if one_in >= UNREADABLE:
        return f"less than 1 in 10^{len(str(one_in)) - 1}"
    about = "" if chance.numerator == 1 else "about "
    return f"{about}1 in {one_in:,}"


def _span(seconds: int) -> str:
    """A time in the largest unit that it fills twice, rounded up."""
    for unit, name in ((365 * DAY_S, "years"), (DAY_S, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{-(-seconds // unit):,} {name}"
    return f"{seconds:,} second{'' if seconds == 1 else 's'}"
