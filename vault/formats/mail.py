"""E-mail addresses: `local@domain`, as people have them and mail systems deliver them.

Taken: a dot-atom of at most 64 bytes, `@`, a host name with a dot in it; 254 bytes in all (RFC 5321,
4.1.2, 4.5.3.1; RFC 3696, erratum 1690). Not taken: quoted local parts, comments, address literals. Letters,
marks and digits of any script may stand on both sides (RFC 6531), with three limits that keep two
addresses from looking like one: no invisible or compatibility characters (full-width forms, ligatures,
zero-width and bidi marks), one script between two dots (`value_script`; the Japanese, Chinese and Korean
mixtures count as one, Unicode TS 39, 5.2), no mark without its letter.

Two spellings are one address if their domains agree without regard to case and form (`xn--...` or Unicode).
Case left of the `@` may mean something (RFC 5321, 2.4): fields that hold it does not say
`normalize = "lowercase"`.
"""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass
from typing import ClassVar, Final

from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_LOWER, ALPHANUMERIC, LOWER
from vault.formats.stored import Stored, no_domain, whole
from vault.formats.template import Domain, Shape, require_length, spell

SHORTEST: Final = 6  # characters: a@b.cd
LONGEST: Final = 254  # bytes, RFC 3696, erratum 1690
LONGEST_LOCAL: Final = 64  # bytes, RFC 5321, 4.5.3.1.1
LONGEST_LABEL: Final = 63  # bytes, RFC 1035, 2.3.4

ATEXT: Final = ALPHANUMERIC.characters + "!#$%&'*+-/=?^_`{|}~."  # RFC 5322, 3.2.3, and the dot between

_ASCII: Final = frozenset(ATEXT + "@")
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_ACE: Final = "xn--"  # RFC 5890, 2.3.2.1
_CATEGORIES: Final = frozenset(("Ll", "Lu", "Lt", "Lo", "Lm", "Mn", "Mc", "Nd"))
# Letters and marks that nobody sees: default ignorable code points (Unicode, DerivedCoreProperties)
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]",
)
_TOGETHER: Final = (
    frozenset(("CJK", "HIRAGANA", "KATAKANA", "LATIN")),
    frozenset(("CJK", "BOPOMOFO", "LATIN")),
    frozenset(("CJK", "HANGUL", "LATIN")),
)
_SCRIPT_OF: Final = {"IDEOGRAPHIC": "CJK", "EXTENDED": "ARABIC", "MODIFIER": ""}  # names that begin otherwise
_FOLDED: Final = {
    "ß": "ß",
    "ẞ": "ß",
    "ς": "ς",
}  # against full case folding, which makes other letters of them
_SAMPLES: Final = (
    "anna.example",
    "o'brien+tag",
    "m\u00fcller",
    "\u0438\u0432\u0430\u043d",
    "\u738b\u5c0f\u660e",
)
_SAMPLE_DOMAINS: Final = ("example.org", "Mail.Example.COM", "b\u00fccher.example", "xn--bcher-kva.example")


@dataclass(frozen=True, slots=True)
class Email(Stored):
    """An address. FF1 cannot transform it; its tokens are opaque or the field's surrogates."""

    parts: ClassVar[frozenset[str]] = frozenset(("local", "domain"))

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("email")

    def parse(self, value: str) -> Shape:
        """Takes a value as it is. See `Template.parse`; mixed scripts are `value_script`."""
        require_length(value, SHORTEST, LONGEST)
        _require_characters(value)
        parts = value.split("@")
        if len(parts) != 2:
            raise ValueRefused("value_format")
        local, domain = _nfc(parts[0]), parts[1]
        for atom in local.split("."):
            _require_atom(atom)
        if len(local.encode()) > LONGEST_LOCAL:
            raise ValueRefused("value_length", maximum=LONGEST_LOCAL)
        host = _host(domain)
        if len(local.encode()) + 1 + len(host) > LONGEST:
            raise ValueRefused("value_length", maximum=LONGEST)
        return whole(value)

    def canonical(self, value: str) -> str:
        """NFC, the domain in lower case and in its ASCII form."""
        local, _, domain = value.rpartition("@")
        return f"{_nfc(local)}@{_host(domain)}"

    def domain(self, length: int | None = None) -> Domain:
        """Size 0: there is none that FF1 could use."""
        count = LONGEST if length is None else length
        if not SHORTEST <= count <= LONGEST:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        return no_domain(count, "no fixed alphabet; format-preserving encryption has no use for it")

    def smallest(self) -> Domain:
        """Size 0, as all of them."""
        return self.domain(SHORTEST)

    def sample(self, rng: random.Random) -> str:
        """Local parts and domains of several scripts, also spelled in upper case."""
        local = rng.choice(_SAMPLES)
        if local.isascii():
            local += "".join(rng.choices(ALNUM_LOWER.characters, k=rng.randint(0, 12)))
        domain = rng.choice(_SAMPLE_DOMAINS)
        if rng.random() < 0.5:
            domain = "".join(rng.choices(LOWER.characters, k=rng.randint(1, 12))) + "." + domain
        return f"{local.upper() if rng.random() < 0.1 else local}@{domain}"


def _require_characters(value: str) -> None:
    """Every character is one that an address can have somewhere.

    Raises:
        ValueRefused: `value_alphabet`, with the position of the first that is none.
    """
    for position, character in enumerate(value):
        if character not in _ASCII and not _is_written(character):
            raise ValueRefused("value_alphabet", position=position)


def _is_written(character: str) -> bool:
    """Whether a character beyond ASCII is a letter, mark or digit that is seen and looks like no other."""
    return (
        character > "\x7f"
        and unicodedata.category(character) in _CATEGORIES
        and _INVISIBLE.match(character) is None
        and unicodedata.normalize("NFKC", character) == _nfc(character)
    )


def _require_atom(atom: str) -> None:
    """What stands between two dots: not nothing, no mark first, one script.

    Raises:
        ValueRefused: `value_format`, `value_script`.
    """
    if not atom or unicodedata.category(atom[0])[0] == "M":
        raise ValueRefused("value_format")
    if atom.isascii():
        return
    scripts = {script for script in map(_script, atom) if script}
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        raise ValueRefused("value_script")


def _script(character: str) -> str:
    """The script of a letter or digit, by its name; none for marks and for what all scripts share."""
    if unicodedata.category(character)[0] == "M" or not (character.isalpha() or character > "\x7f"):
        return ""
    word = re.split("[ -]", unicodedata.name(character, ""), maxsplit=1)[0]
    return _SCRIPT_OF.get(word, word)


def _host(domain: str) -> str:
    """A domain in lower case and in its ASCII form.

    Raises:
        ValueRefused: `value_format`, `value_length`, `value_script`.
    """
    labels = [_label(label) for label in domain.split(".")]
    if len(labels) < 2 or len(labels[-1]) < 2 or labels[-1].isdigit():
        raise ValueRefused("value_format")
    return ".".join(labels)


def _label(written: str) -> str:
    """A label of a domain, in lower case and in its ASCII form. Source: RFC 5891, 4.2 to 4.4.

    Raises:
        ValueRefused: `value_format`, `value_length`, `value_script`.
    """
    label = _fold(written)
    if label.isascii() and label.startswith(_ACE):
        unicode = _decoded(label)
    elif label.isascii():
        unicode = label
    else:
        unicode, label = label, _ACE + label.encode("punycode").decode("ascii")
    _require_atom(unicode)
    if unicode[0] == "-" or unicode[-1] == "-" or _HOST.fullmatch(label) is None:
        raise ValueRefused("value_format")
    if len(label) > LONGEST_LABEL:
        raise ValueRefused("value_length", maximum=LONGEST_LABEL)
    return label


def _decoded(label: str) -> str:
    """The Unicode form of an `xn--` label that encodes back to the same.

    Raises:
        ValueRefused: `value_format`.
    """
    try:
        unicode = label[len(_ACE) :].encode().decode("punycode")
    except UnicodeError:
        raise ValueRefused("value_format") from None
    right = (
        not unicode.isascii()
        and all(character in _ASCII or _is_written(character) for character in unicode)
        and _fold(unicode) == unicode
        and _ACE + unicode.encode("punycode").decode("ascii") == label
    )
    if not right:
        raise ValueRefused("value_format")
    return unicode


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _fold(text: str) -> str:
    """What two spellings of a label have in common, in NFC: case is folded, but ß and ς mean themselves.

    Source: Unicode TS 46, 4 (mapping, not transitional); RFC 5894, 7.2.
    """
    if text.isascii():
        return text.lower()
    return _nfc("".join(_FOLDED.get(character) or character.casefold() for character in _nfc(text)))
