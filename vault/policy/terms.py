"""The terms of a grant beside its scope and budget: who may present it, from where, how fast, and how often.

The structs are what a body says and what the grant's row keeps, in one form. What is absent does not bind.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from vault.crypto.base64url import decode as decode_base64url
from vault.errors import BadInput
from vault.policy.approval import Approval
from vault.policy.networks import is_network
from vault.policy.rate import Rate
from vault.policy.windows import Window, check_windows

MAX_NETWORKS: Final = 100
MAX_PEOPLE: Final = 1_000  # that one grant may count apart
MAX_TRIES: Final = 100  # of one token
DEFAULT_TRIES: Final = 3
MAX_DEPTH: Final = 3  # of a delegation
MAX_LABEL: Final = 128  # characters of a conversation's or a task's name
MAX_RATE: Final = 10**9
KEY_BYTES: Final = 32
DEFAULT_BLOCK_TTL_S: Final = 300


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    pass


class Confirmation(_Strict, frozen=True):
    """How the holder proves that it is one (RFC 7800): by the thumbprint of its key (RFC 7638)."""

    jkt: str


class Bind(_Strict, frozen=True):
    """What a grant is bound to.

    Attributes:
        cnf: the holder's key; absent makes a bearer grant.
        networks: CIDRs from which it may be used; none: anywhere.
        conversation, task: names of the caller's; every use must name the same.
    """

    cnf: Confirmation | None = None
    networks: list[str] = []
    conversation: str | None = None
    task: str | None = None


class RateBody(_Strict, frozen=True):
    """How many values, in how many seconds; and how many at once, which is `count` if not said."""

    count: int
    per_s: int
    burst: int | None = None

    @property
    def most(self) -> int:
        """How many at once."""
        return self.count if self.burst is None else self.burst

    @property
    def gcra(self) -> Rate:
        """The rate as it is decided by."""
        return Rate(self.count, self.per_s, self.most)


class SealTo(_Strict, frozen=True):
    """A public X25519 key as a JWK (RFC 8037, section 2)."""

    kty: str
    crv: str
    x: str


class Delegation(_Strict, frozen=True):
    """How deep a grant may be handed on, and for how long each time."""

    depth: int
    ttl_max_s: int = DEFAULT_BLOCK_TTL_S


class Terms(_Strict, frozen=True):
    """All of them, as the grant's row keeps them.

    Attributes:
        max_distinct: how many different people its values may be of.
        verify_attempts: how often one token may be verified.
        seal_to: the public key that sealed answers are for, base64url.
        depth: how deep it may be delegated; 0: not.
        approval: who must agree to it, or to uses of it.
        break_glass: whether it was made past its creator's ceiling, to be looked at afterwards.
    """

    networks: list[str] = []
    conversation: str | None = None
    task: str | None = None
    windows: tuple[Window, ...] = ()
    rate: RateBody | None = None
    max_distinct: int | None = None
    verify_attempts: int | None = None
    seal_to: str | None = None
    depth: int = 0
    ttl_max_s: int = DEFAULT_BLOCK_TTL_S
    approval: Approval | None = None
    break_glass: bool = False


NONE: Final = Terms()
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


@lru_cache(maxsize=1024)
def decode_terms(text: str) -> Terms:
    """The terms from their column."""
    return NONE if text == "{}" else msgspec.json.decode(text, type=Terms)


def encode_terms(terms: Terms) -> str:
    """The terms as their column keeps them."""
    return _encode(terms).decode()


def check_terms(terms: Terms, batch: int) -> None:
    """Whether terms make sense.

    Args:
        batch: how many values one request may ask for.

    Raises:
        BadInput: `limit_invalid` with the member, `validity_invalid` of windows.
    """
    if len(terms.networks) > MAX_NETWORKS or not all(map(is_network, terms.networks)):
        raise BadInput("limit_invalid", member="networks", most=MAX_NETWORKS)
    for member in ("conversation", "task"):
        text = getattr(terms, member)
        if text is not None and not (1 <= len(text) <= MAX_LABEL and text.isprintable()):
            raise BadInput("limit_invalid", member=member, most=MAX_LABEL)
    if terms.windows:
        check_windows(terms.windows)
    _check_rate(terms.rate, batch)
    for member, most in (("max_distinct", MAX_PEOPLE), ("verify_attempts", MAX_TRIES)):
        number = getattr(terms, member)
        if number is not None and not 1 <= number <= most:
            raise BadInput("limit_invalid", member=member, most=most)
    if not 0 <= terms.depth <= MAX_DEPTH:
        raise BadInput("limit_invalid", member="delegation", most=MAX_DEPTH)
    if not 1 <= terms.ttl_max_s <= 86_400:
        raise BadInput("limit_invalid", member="ttl_max_s", most=86_400)


def _check_rate(body: RateBody | None, batch: int) -> None:
    if body is None:
        return
    try:
        rate = body.gcra
    except ValueError:
        raise BadInput("limit_invalid", member="rate", least=1) from None
    if max(rate.count, rate.per_s, rate.burst) > MAX_RATE:
        raise BadInput("limit_invalid", member="rate", most=MAX_RATE)
    if batch > rate.burst:
        raise BadInput("limit_invalid", member="rate", least=batch)  # such a batch could never pass


def public_key(jwk: SealTo) -> str:
    """The key that answers are sealed to, base64url.

    Raises:
        BadInput: `limit_invalid`: not an X25519 key.
    """
    if (jwk.kty, jwk.crv) == ("OKP", "X25519") and is_thumbprint(jwk.x):
        return jwk.x
    raise BadInput("limit_invalid", member="seal_to")


def is_thumbprint(text: str) -> bool:
    """Whether a text is 32 bytes in base64url, in their one spelling."""
    try:
        return len(decode_base64url(text)) == KEY_BYTES
    except ValueError:
        return False
