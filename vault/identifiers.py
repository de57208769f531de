"""Typed identifiers: a prefix that says of what, then 128 bits in Crockford base32.

Ids are UUIDs of version 7 (RFC 9562, section 5.7), so that they sort by the time they were made and
inserts stay together in an index. The text form has one spelling: 26 upper-case characters.
"""

from __future__ import annotations

import os
import re
import struct
import threading
import time
from typing import Final, NewType

TenantId = NewType("TenantId", str)
PrincipalId = NewType("PrincipalId", str)
ApiKeyId = NewType("ApiKeyId", str)
GrantId = NewType("GrantId", str)
DecisionId = NewType("DecisionId", str)
KeyId = NewType("KeyId", bytes)  # 16 bytes, as it stands in a `ve1` header
RowId = NewType("RowId", bytes)  # 16 bytes, a token's or a subject's row

NIL: Final = bytes(16)
"""The nil UUID (RFC 9562, section 5.9): stands for "no person" where a subject's row would."""

PREFIXES: Final = {
    "tn": "tenant",
    "pr": "principal",
    "ck": "service key",
    "cs": "session of an operator",
    "pk": "passkey of an operator",
    "gr": "grant",
    "cg": "credential of a bearer grant (with the grant's own number)",
    "dec": "decision",
    "apr": "approval",
    "ntc": "notice",
    "job": "job",
    "key": "cryptographic key",
    "kill": "kill switch",
    "req": "request",
    "rev": "review of access",
    "sub": "data subject",
    "xfer": "transfer into another region",
}

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base32: no I, L, O, U
_VALUES: Final = {char: index for index, char in enumerate(_ALPHABET)}
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_HALVES: Final = struct.Struct(">QQ").unpack
_HEAD: Final = struct.Struct(">QB").pack
_BOTH: Final = struct.Struct(">QQ").pack
_COUNT_BITS: Final = 12
_RANDOM: Final = (1 << 62) - 1
_BODY: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_SECRET: Final = re.compile(r"[0-9A-Za-z]{43}")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


_DRAW_BYTES: Final = 10
_DRAWS: Final = 64  # ids from one call of the system; an id is no secret


class _Sequence:
    """Makes UUIDs of version 7 that ascend within a process, also inside one millisecond.

    The 12 bits behind the milliseconds count up from a random start (RFC 9562, 6.2, method 1), so that
    rows made one after the other are listed and inserted in that order.
    """

    def __init__(self) -> None:
        self._milliseconds = 0
        self._count = 0
        self.forget()

    def forget(self) -> None:
        """Draws anew: a process and its fork must not use the same chance."""
        self._lock = threading.Lock()
        self._chance = b""
        self._used = 0

    def next(self) -> bytes:
        """The next one."""
        with self._lock:
            start = self._used
            if start + _DRAW_BYTES > len(self._chance):
                self._chance = os.urandom(_DRAW_BYTES * _DRAWS)
                start = 0
            self._used = start + _DRAW_BYTES
            return self._make(time.time_ns() // 1_000_000, self._chance[start : self._used])

    def several(self, count: int) -> list[bytes]:
        """The next ones, together."""
        if not count:
            return []
        chance = struct.unpack(f">{count}Q", os.urandom(8 * count))
        with self._lock:
            self._count_on(time.time_ns() // 1_000_000, os.urandom(2))
            first = self._milliseconds << _COUNT_BITS | self._count
            self._milliseconds, self._count = divmod(first + count - 1, 1 << _COUNT_BITS)
        return [
            _BOTH(at >> _COUNT_BITS << 16 | 0x7000 | at & 0xFFF, 2 << 62 | drawn & _RANDOM)
            for at, drawn in zip(range(first, first + count), chance, strict=True)
        ]

    def _make(self, now: int, drawn: bytes) -> bytes:
        self._count_on(now, drawn[8:])
        head = self._milliseconds << 16 | 0x7000 | self._count
        return _HEAD(head, 0x80 | drawn[0] & 0x3F) + drawn[1:8]

    def _count_on(self, now: int, drawn: bytes) -> None:
        if now > self._milliseconds:
            self._milliseconds = now
            self._count = (drawn[0] << 8 | drawn[1]) & 0x7FF  # room to count up
        elif self._count < 0xFFF:
            self._count += 1
        else:  # more than 2,048 in a millisecond: borrow from the next one
            self._milliseconds += 1
            self._count = 0


_sequence: Final = _Sequence()
os.register_at_fork(after_in_child=_sequence.forget)


def uuid7() -> bytes:
    """Sixteen bytes: 48 bits of milliseconds, version 7, a 12-bit count, variant 10, 62 random bits."""
    return _sequence.next()


def uuid7s(count: int) -> list[bytes]:
    """That many of them, ascending, for less than one by one."""
    return _sequence.several(count)


def format_id(prefix: str, raw: bytes) -> str:
    """The text form of 16 bytes, e.g. `gr_01JD8Q4M...` (26 characters behind the prefix).

    Raises:
        ValueError: not 16 bytes, so that no two inputs share a text.
    """
    if len(raw) != 16:
        raise ValueError("an id has 16 bytes")
    high, low = _HALVES(raw)
    head = high >> 1  # the first 13 characters: 3 bits and 12 times 5; the other 13 are the 65 bits left
    pairs = _PAIRS
    return (
        f"{prefix}_{_ALPHABET[head >> 60]}{pairs[head >> 50 & 1023]}{pairs[head >> 40 & 1023]}"
        f"{pairs[head >> 30 & 1023]}{pairs[head >> 20 & 1023]}{pairs[head >> 10 & 1023]}{pairs[head & 1023]}"
        f"{pairs[(high & 1) << 9 | low >> 55]}{pairs[low >> 45 & 1023]}{pairs[low >> 35 & 1023]}"
        f"{pairs[low >> 25 & 1023]}{pairs[low >> 15 & 1023]}{pairs[low >> 5 & 1023]}{_ALPHABET[low & 31]}"
    )


def parse_id(prefix: str, text: str) -> bytes:
    """The 16 bytes of an id; exactly one spelling is taken.

    Raises:
        ValueError: another prefix, length, case or character.
    """
    head, _, body = text.partition("_")
    if head != prefix or _BODY.fullmatch(body) is None:
        raise ValueError("not such an id")
    number = 0
    for char in body:
        number = number << 5 | _VALUES[char]
    return number.to_bytes(16, "big")


def new_id(prefix: str) -> str:
    """A fresh id of the given kind."""
    return format_id(prefix, uuid7())


def split_credential(text: str) -> tuple[str, str, str]:
    """The parts of `ck_<id>_<secret>`, `cg_...` or `cs_...`: kind, id body, secret.

    Raises:
        ValueError: not of that form.
    """
    kind, _, rest = text.partition("_")
    body, _, secret = rest.partition("_")
    if kind not in ("ck", "cg", "cs") or _BODY.fullmatch(body) is None or _SECRET.fullmatch(secret) is None:
        raise ValueError("not a credential")
    return kind, body, secret


def is_name(text: str) -> bool:
    """Whether a text may name a tenant, a principal or a region: `[a-z0-9][a-z0-9._-]{0,62}`."""
    return _NAME.fullmatch(text) is not None
