"""Argon2id (RFC 9106): a passphrase becomes a key, a person's password a hash.

About 0.1 s and 64 MiB a call: never on the event loop or the committer, and few at a time in a process.
"""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from argon2 import extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import ARGON2_VERSION, Type, hash_secret, hash_secret_raw, verify_secret

from vault.errors import BadInput, IntegrityError, Unauthenticated, Unavailable
from vault.secret import Secret

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
MIN_PASSWORD: Final = 12  # characters; SP 800-63B-4, 3.1.1.2, asks for 8 where a second factor is demanded
MAX_PASSWORD: Final = 256  # the same asks for at least 64
MIN_UNFORESEEN: Final = 8
_MAX_TYPED: Final = 4 * MAX_PASSWORD  # code points before they are composed
AT_ONCE: Final = 2  # hashes of a process, some 130 MiB
WAIT_S: Final = 5.0
_UNFIT: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # RFC 8264, 4.3: what FreeformClass leaves out
_FORESEEN: Final = (
    "coatcheck", "vault", "password", "passwort", "passphrase", "administrator", "operator", "admin",
    "welcome", "letmein", "changeme", "qwertzuiop", "qwertyuiop", "qwerty", "asdfghjkl", "iloveyou", "secret",
)  # fmt: skip
"""What everybody tries first: SP 800-63B-4, 3.1.1.2, has verifiers refuse the expected."""


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Cost: passes, memory in KiB, lanes."""

    time_cost: int
    memory_kib: int
    lanes: int

    def __post_init__(self) -> None:
        # A tampered file must not make us allocate without bound, nor weaken the derivation.
        if not (1 <= self.time_cost <= 16 and 8192 <= self.memory_kib <= 2**21 and 1 <= self.lanes <= 16):
            raise ValueError("Argon2id parameters out of bounds")


RFC9106_LOW_MEMORY: Final = Argon2Parameters(time_cost=3, memory_kib=65_536, lanes=4)  # RFC 9106, 4


def derive_key(passphrase: Secret, salt: bytes, parameters: Argon2Parameters) -> Secret:
    """A 32-byte key.

    Args:
        passphrase: any length from 1.
        salt: 16 random bytes, stored beside what the key protects.
        parameters: stored there too, so that they can grow.
    """
    return Secret(
        hash_secret_raw(
            secret=passphrase.expose(),
            salt=salt,
            time_cost=parameters.time_cost,
            memory_cost=parameters.memory_kib,
            parallelism=parameters.lanes,
            hash_len=32,
            type=Type.ID,
            version=ARGON2_VERSION,
        ),
    )


def prepare_password(text: str) -> Secret:
    """A password as it is hashed: OpaqueString (RFC 8265, 4.2), so that every keyboard gives the same bytes.

    Args:
        text: as it was typed. Capitals and spaces count; other spaces of Unicode become ASCII's.

    Raises:
        BadInput: `password_unfit`: too short, too long, or with characters that nobody types.
    """
    bounded = text if len(text) <= _MAX_TYPED else ""
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in bounded)
    composed = unicodedata.normalize("NFC", spaced)
    fits = MIN_PASSWORD <= len(composed) <= MAX_PASSWORD
    if not fits or any(unicodedata.category(char) in _UNFIT for char in composed):
        raise BadInput("password_unfit", least=MIN_PASSWORD, most=MAX_PASSWORD)
    return Secret(composed.encode())


def check_unforeseen(text: str, *names: str) -> None:
    """Returns if a password is more than names, the commonest words, repeats and rows of the alphabet.

    Args:
        names: of whom it is, and of what it is for.

    Raises:
        BadInput: `password_foreseen`.
    """
    left = text.casefold()
    for word in sorted({*_FORESEEN, *(name.casefold() for name in names if len(name) > 2)}, key=len)[::-1]:
        left = left.replace(word, "")
    left = left[: _period(left)]
    steps = [ord(after) - ord(before) for before, after in pairwise(left)]
    if len(left[:1]) + sum(step not in (-1, 0, 1) for step in steps) < MIN_UNFORESEEN:
        raise BadInput("password_foreseen")


def _period(text: str) -> int:
    """The length of the shortest text of which this one is a repetition, the last of them whole or begun."""
    return next((size for size in range(1, len(text)) if text.startswith(text[size:])), len(text))


def hash_password(password: Secret, parameters: Argon2Parameters = RFC9106_LOW_MEMORY) -> str:
    """A password's hash with its salt and cost, in the form that starts with `$argon2id$`.

    Raises:
        Unavailable: `too_busy`.
    """
    with _turn():
        return hash_secret(
            secret=password.expose(),
            salt=os.urandom(SALT_BYTES),
            time_cost=parameters.time_cost,
            memory_cost=parameters.memory_kib,
            parallelism=parameters.lanes,
            hash_len=HASH_BYTES,
            type=Type.ID,
            version=ARGON2_VERSION,
        ).decode()


def check_password(password: Secret, hashed: str) -> None:
    """Returns if the password is the one that was hashed.

    Raises:
        Unauthenticated: `login_refused`.
        Unavailable: `too_busy`.
        IntegrityError: `integrity_failed`: what is stored is no such hash, or one of a cost beyond bounds.
    """
    parameters_of(hashed)
    with _turn():
        try:
            verify_secret(hashed.encode(), password.expose(), Type.ID)
        except Argon2Error:
            raise Unauthenticated("login_refused") from None


def parameters_of(hashed: str) -> Argon2Parameters:
    """The cost that a hash was made at: one of a smaller cost than today's is made anew.

    Raises:
        IntegrityError: `integrity_failed`.
    """
    try:
        found = extract_parameters(hashed)
        if found.type is not Type.ID or found.hash_len != HASH_BYTES:
            raise ValueError("not our hash")
        return Argon2Parameters(found.time_cost, found.memory_cost, found.parallelism)
    except (InvalidHashError, ValueError):
        raise IntegrityError("integrity_failed") from None


_turns: Final = threading.BoundedSemaphore(AT_ONCE)


@contextmanager
def _turn() -> Iterator[None]:
    """One of the few places to hash in; whoever waits too long for one is told to come again."""
    if not _turns.acquire(timeout=WAIT_S):
        raise Unavailable("too_busy", retry_after=int(WAIT_S))
    try:
        yield
    finally:
        _turns.release()
