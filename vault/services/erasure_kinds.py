"""The kinds of erasures, and what each is aimed at. All of them select data keys; they differ in which."""

from __future__ import annotations

from typing import Any, Final

import msgspec

ERASURE: Final = "erasure"
"""The kind of the job."""

PERSON: Final = "subject"
PERIOD: Final = "period"
DATES: Final = "dates"
KINDS: Final = {
    PERSON: "all keys of a person",
    PERIOD: "the keys of a retention class that fall due in one period",
    DATES: "the keys of a retention class whose own date has come",
}

RETENTION: Final = "retention"
# GDPR, article 17(1)(a) to (f); the CCPA's request, and what a schema's retention would have done later.
GROUNDS: Final = {
    "no_longer_necessary": "GDPR art. 17(1)(a)",
    "consent_withdrawn": "GDPR art. 17(1)(b)",
    "objection": "GDPR art. 17(1)(c)",
    "unlawful": "GDPR art. 17(1)(d)",
    "legal_obligation": "GDPR art. 17(1)(e)",
    "child": "GDPR art. 17(1)(f)",
    "consumer_request": "CCPA, Cal. Civ. Code 1798.105",
    RETENTION: "the controller's own retention",
}

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def encode_target(target: dict[str, Any]) -> str:
    """A target, or counts, as a row holds them: canonical JSON."""
    return _encode(target).decode()


def decode_target(text: str) -> dict[str, Any]:
    """What a row is aimed at; nothing, of a person."""
    found: dict[str, Any] = msgspec.json.decode(text) if text else {}
    return found
