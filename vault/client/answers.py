"""Answers to uses of a grant: opened if they are sealed, and compared with what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from vault.client.approvals import Awaited
from vault.client.keys import Worker
from vault.client.results import Result, Shown, Verified
from vault.client.sealed import Sealed, open_delivery
from vault.codes import CODES
from vault.crypto.randomness import credential_secret
from vault.errors import Conflict, IntegrityError, Unavailable

Value = str | bool | None


class _Use(Result, frozen=True):
    uses_left: int


class _Code(Result, frozen=True):
    code: str


class _Item(Result, frozen=True):
    """One item of an open answer."""

    value: Value | UnsetType = UNSET
    error: _Code | UnsetType = UNSET
    status: str | UnsetType = UNSET


class _Failed(Result, frozen=True):
    error: _Code


class _Answer(Result, frozen=True):
    decision: str
    grant: _Use | UnsetType = UNSET
    values: list[str | bool | _Failed | None] | UnsetType | None = UNSET
    items: list[_Item] | UnsetType | None = UNSET
    sealed: Sealed | UnsetType = UNSET
    match: bool | UnsetType | None = UNSET
    attempts_left: int | UnsetType = UNSET
    replayed: bool = False


class _Told(Result, frozen=True):
    """One item of a sealed answer."""

    field: str
    of: str
    subject: str | UnsetType = UNSET
    value: Value | UnsetType = UNSET
    code: str | UnsetType = UNSET


class _Plaintext(Result, frozen=True):
    decision: str
    jti: str
    items: list[_Told]


_plaintext: Final = msgspec.json.Decoder(_Plaintext).decode


class Opener(Protocol):
    """Whose answers are opened: `vault.client.uses.Uses`."""

    @property
    def region(self) -> str:
        """The region asked."""

    @property
    def grant(self) -> str:
        """The grant's id."""

    @property
    def worker(self) -> Worker | None:
        """Whose key answers are sealed to."""

    @property
    def delivery_keys(self) -> tuple[bytes, ...]:
        """The cell's, pinned."""


@dataclass(frozen=True, slots=True, repr=False)
class Asked:
    """What one call asks for.

    Attributes:
        texts: tokens or ciphertexts.
        challenge: of a sealed answer; None asks for a plain one.
        tests: whether it may be answered by yes or no, as some functions of values are.
    """

    field: str
    texts: tuple[str | None, ...]
    subjects: tuple[str | None, ...] | None
    challenge: str | None
    report: bool
    tests: bool


def new_challenge() -> str:
    """A challenge that no answer of before was signed with: 256 bits at random."""
    return credential_secret()


def read_shown(opener: Opener, asked: Asked, jti: str, raw: Any) -> Shown[Any]:
    """What was shown, in the order that was asked.

    Raises:
        Conflict: `values_not_kept`.
        IntegrityError: `ciphertext_invalid`: a sealed answer was asked for, and this is none of the cell's to
            this request, or not of these tokens.
        Unavailable: `service_unreachable`: what answered is not a service of ours.
    """
    answer = _answer(raw)
    if answer.replayed:
        raise Conflict("values_not_kept", decision=answer.decision)
    if asked.challenge is not None:
        shown: Sequence[str | bool | _Failed | None] = _opened(opener, asked, jti, answer)
    elif answer.sealed is not UNSET:
        raise _strange()
    else:
        shown = _plain(answer)
    faithful = len(shown) == len(asked.texts) and all(
        _answers(text, one, asked) for text, one in zip(asked.texts, shown, strict=True)
    )
    if answer.grant is UNSET or not faithful:
        raise _strange() if asked.challenge is None else IntegrityError("ciphertext_invalid")
    refused = {place: one.error.code for place, one in enumerate(shown) if isinstance(one, _Failed)}
    values = tuple(None if isinstance(one, _Failed) else one for one in shown)
    return Shown(answer.decision, values, answer.grant.uses_left, refused, asked.challenge is not None)


def read_verified(raw: Any) -> Verified:
    """Whether the candidate is the value.

    Raises:
        Conflict: `values_not_kept`.
        Unavailable: as `read_shown`.
    """
    answer = _answer(raw)
    if answer.replayed:
        raise Conflict("values_not_kept", decision=answer.decision)
    if answer.grant is UNSET or not isinstance(answer.match, bool):
        raise _strange()
    left = None if answer.attempts_left is UNSET else answer.attempts_left
    return Verified(answer.decision, answer.match, answer.grant.uses_left, left)


def read_awaited(raw: Any) -> Awaited:
    """How an approval stands.

    Raises:
        Unavailable: as `read_shown`.
    """
    try:
        return msgspec.convert(raw, Awaited)
    except (msgspec.ValidationError, ValueError):
        raise _strange() from None


def _answer(raw: Any) -> _Answer:
    try:
        return msgspec.convert(raw, _Answer)
    except (msgspec.ValidationError, ValueError):
        raise _strange() from None


def _strange() -> Unavailable:
    return Unavailable("service_unreachable", reason="what answers there is no service of this kind")


def _answers(text: str | None, one: str | bool | _Failed | None, asked: Asked) -> bool:
    """Whether a place holds something for a token, of the kind that was asked for, and nothing for a null."""
    if isinstance(one, _Failed):
        return asked.report and one.error.code in CODES
    if isinstance(one, bool) and not asked.tests:
        return False
    return (one is None) == (text is None)


def _plain(answer: _Answer) -> Sequence[str | bool | _Failed | None]:
    if isinstance(answer.values, list):
        return answer.values
    if isinstance(answer.items, list):
        return [_one(item.value, item.error) for item in answer.items]
    raise _strange()


def _one(value: Value | UnsetType, error: _Code | UnsetType) -> str | bool | _Failed | None:
    """The value or the error of an item, which has one of the two.

    Raises:
        Unavailable: as `read_shown`.
    """
    if error is not UNSET and value is UNSET:
        return _Failed(error)
    if value is UNSET or error is not UNSET:
        raise _strange()
    return value


def _opened(opener: Opener, asked: Asked, jti: str, answer: _Answer) -> list[str | bool | _Failed | None]:
    """The values of a sealed answer, each of them of the token that was asked in its place.

    Raises:
        IntegrityError: as `read_shown`. A service that answers plainly is one that somebody stands before.
    """
    if answer.sealed is UNSET or isinstance(answer.values, list):
        raise IntegrityError("ciphertext_invalid")
    try:
        told = _plaintext(_open(opener, asked, jti, answer.sealed, answer.decision))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise IntegrityError("ciphertext_invalid") from None
    subjects = asked.subjects or (None,) * len(asked.texts)
    if (told.decision, told.jti, len(told.items)) != (answer.decision, jti, len(asked.texts)):
        raise IntegrityError("ciphertext_invalid")
    shown: list[str | bool | _Failed | None] = []
    for text, subject, item in zip(asked.texts, subjects, told.items, strict=True):
        named = None if item.subject is UNSET else item.subject
        if (item.field, item.of, named) != (asked.field, text or "", subject):
            raise IntegrityError("ciphertext_invalid")
        if (item.value is UNSET) == (item.code is UNSET):
            raise IntegrityError("ciphertext_invalid")
        shown.append(item.value if item.code is UNSET else _Failed(_Code(item.code)))  # type: ignore[arg-type]
    return shown


def _open(opener: Opener, asked: Asked, jti: str, sealed: Sealed, decision: str) -> bytes:
    """The plaintext, if one of the pinned keys signed it."""
    if opener.worker is None or asked.challenge is None:
        raise IntegrityError("ciphertext_invalid")
    for key in opener.delivery_keys:
        try:
            return open_delivery(
                sealed,
                private=opener.worker.private,
                delivery_key=key,
                cell=opener.region,
                grant=opener.grant,
                jti=jti,
                challenge=asked.challenge,
                decision=decision,
            )
        except IntegrityError:
            continue  # signed by another of them perhaps; nothing is opened that none of them signed
    raise IntegrityError("ciphertext_invalid")
