"""Values that must be found nowhere, and a scanner that finds them in the forms they could leak in.

Texts share a mark, numbers and tokens are looked for one by one. What is scanned is bytes: logs, answers,
database files.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

MARK: Final = "Uqzilcanary"  # in every text; letters that no id and no base32 token has
REASON: Final = "Uqzilreason"  # in texts that the record and the items of events may hold, and nothing else


def luhn(digits: str) -> str:
    """The digits with their check digit (ISO/IEC 7812-1, annex B)."""
    total = sum(
        sum(divmod(2 * int(digit), 10)) if place % 2 == 0 else int(digit)
        for place, digit in enumerate(reversed(digits))
    )
    return digits + str(-total % 10)


@dataclass
class Planted:
    """What was planted so far, by kind.

    Attributes:
        texts: names, notes, subjects, and whatever a hostile request was made of; each with the mark.
        reasons: texts that the record keeps.
        surrogates: shaped tokens, which custody keeps as they are.
        proofs: what operators prove themselves by: passwords, secrets of devices, recovery codes.
    """

    rng: random.Random
    ssns: set[str] = field(default_factory=set)
    cards: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    surrogates: set[str] = field(default_factory=set)
    credentials: set[str] = field(default_factory=set)
    proofs: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return sum(map(len, (self.ssns, self.cards, self.texts, self.reasons, self.tokens, self.credentials)))

    def ssn(self) -> str:
        """A new social security number."""
        made = f"{self.rng.randint(100, 665)}-{self.rng.randint(10, 99)}-{self.rng.randint(1000, 9999)}"
        self.ssns.add(made)
        return made

    def card(self) -> str:
        """A new card number."""
        made = luhn("4" + "".join(self.rng.choices("0123456789", k=14)))
        self.cards.add(made)
        return made

    def text(self) -> str:
        """A new text: words, accents and the mark."""
        letters = "".join(self.rng.choices("abcdefghijklmnopqrstuvwxyz", k=8))
        made = f"Zoë {MARK}{letters} Müller"
        self.texts.add(made)
        return made

    def word(self) -> str:
        """A new text of ASCII letters."""
        made = MARK + "".join(self.rng.choices("abcdefghijklmnopqrstuvwxyz", k=8))
        self.texts.add(made)
        return made

    def reason(self) -> str:
        """A new reason."""
        made = f"{REASON} {self.rng.randrange(10**9)}"
        self.reasons.add(made)
        return made


def _base64_cores(text: str) -> Iterator[bytes]:
    """What stays the same of a text in base64, wherever in a longer text it stands."""
    raw = text.encode()
    for shift in range(3):
        padded = base64.b64encode(b"\0" * shift + raw + b"\0" * (-(shift + len(raw)) % 3))
        core = padded[4 if shift else 0 : len(padded) - (4 if (shift + len(raw)) % 3 else 0)]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _marks(mark: str) -> dict[str, bytes]:
    forms = {
        "as it is": mark.encode(),
        "in capitals": mark.upper().encode(),
        "in small letters": mark.lower().encode(),
        "UTF-16": mark.encode("utf-16-le"),
        "UTF-32": mark.encode("utf-32-le"),
        "hex": mark.encode().hex().encode(),
        "HEX": mark.encode().hex().upper().encode(),
        "escaped": "".join(f"\\u{ord(char):04x}" for char in mark).encode(),
        "percent": "".join(f"%{ord(char):02x}" for char in mark).encode(),
        "backwards": mark[::-1].encode(),
    }
    return forms | {f"base64 {number}": core for number, core in enumerate(_base64_cores(mark))}


_WINDOWS: Final = {
    "ssn": rb"(?=([0-9]{3}-[0-9]{2}-[0-9]{4}))",
    "ssn, digits": rb"(?=([0-9]{9}))",
    "card": rb"(?=([0-9]{16}))",
    "card, in groups": rb"(?=([0-9]{4}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{4}))",
    "token": rb"(?=(tok_[a-z2-7]{26}))",
    "surrogate": rb"(?=([0-9a-z]{9}))",
    "secret": rb"(?=([0-9A-Za-z]{43}))",
}


class Scanner:
    """Looks for what was planted.

    Args:
        planted: all of it; what is planted later is not looked for.
        reasons: whether reasons and shaped tokens, which the database keeps, may not be there either.
    """

    def __init__(self, planted: Planted, *, reasons: bool = True) -> None:
        self._marks = _marks(MARK)
        if reasons:
            self._marks |= {f"reason {form}": pattern for form, pattern in _marks(REASON).items()}
        numbers = planted.ssns | {one for one in planted.tokens if re.fullmatch(r"\d{3}-\d\d-\d{4}", one)}
        cards = planted.cards | {one for one in planted.tokens if re.fullmatch(r"\d{16}", one)}
        self._sets = {
            "ssn": numbers,
            "ssn, digits": {number.replace("-", "") for number in numbers},
            "card": cards,
            "card, in groups": {" ".join(re.findall("....", card)) for card in cards}
            | {"-".join(re.findall("....", card)) for card in cards},
            "token": {token for token in planted.tokens if token.startswith("tok_")},
            "surrogate": planted.surrogates if reasons else set(),
            "secret": {credential.rpartition("_")[2] for credential in planted.credentials},
        }
        spellings = planted.proofs | {proof.replace("-", "") for proof in planted.proofs}
        self._proofs = {one.encode() for one in spellings}
        self._encoded = {kind: {one.encode() for one in those} for kind, those in self._sets.items()}

    def hits(self, data: bytes) -> list[str]:
        """The kinds and forms found, without the values."""
        found = [f"text, {form}" for form, pattern in self._marks.items() if pattern in data]
        for kind, pattern in _WINDOWS.items():
            count = len(self._encoded[kind].intersection(re.findall(pattern, data)))
            found += [f"{count} of kind {kind}"] if count else []
        return found + (["a proof"] if any(proof in data for proof in self._proofs) else [])


def forms(planted: Planted) -> Iterator[bytes]:
    """Everything planted, in every form that a scanner must know it by; to try the scanner with."""
    for number in planted.ssns:
        yield from (number.encode(), number.replace("-", "").encode())
    for card in planted.cards:
        groups = re.findall("....", card)
        yield from (card.encode(), " ".join(groups).encode(), "-".join(groups).encode())
    for text in planted.texts | planted.reasons:
        yield text.encode()
        yield text.encode("utf-16-le")
        yield text.encode("utf-32-le")
        yield text.encode().hex().encode()
        yield text.upper().encode()
        yield quote(text).encode()
        yield ascii(text).encode()
        yield "".join(f"\\u{ord(char):04x}" for char in text).encode()
        for before in range(3):
            yield base64.b64encode(b"x" * before + text.encode())
            yield base64.urlsafe_b64encode(b"x" * before + text.encode())
    for token in planted.tokens | planted.surrogates:
        yield token.encode()
    for proof in planted.proofs:
        yield proof.encode()
    for credential in planted.credentials:
        yield credential.encode()
        yield b"secret=" + credential.rpartition("_")[2].encode()
