"""Argon2id (RFC 9106): a passphrase becomes a key. About 0.1 s a call: never on a request's path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw

from vault.secret import Secret

SALT_BYTES: Final = 16


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
