"""Random keys and credentials, from the operating system."""

from __future__ import annotations

import os
import secrets
import string
from typing import Final

from vault.secret import Secret

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BASE32: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O, U
RECOVERY_CHARACTERS: Final = 24
CREDENTIAL_CHARACTERS: Final = 43  # 43 * log2(62) = 256 bits


def new_key() -> Secret:
    """32 random bytes."""
    return Secret(os.urandom(32))


def credential_secret() -> str:
    """The random part of a credential: 43 base62 characters."""
    return "".join(secrets.choice(_BASE62) for _ in range(CREDENTIAL_CHARACTERS))


def recovery_code() -> str:
    """A code that is used once in place of a device: 24 characters of Crockford base32, in six groups.

    120 bits, so that SHA-256 suffices at rest (SP 800-63B-4, 3.1.2.2: from 112 bits on).
    """
    drawn = "".join(secrets.choice(_BASE32) for _ in range(RECOVERY_CHARACTERS))
    return "-".join(drawn[at : at + 4] for at in range(0, RECOVERY_CHARACTERS, 4))


def below(bound: int) -> int:
    """A whole number from 0 to `bound` - 1, each as likely as any other."""
    return secrets.randbelow(bound)


def token_id() -> str:
    """What an access token is called: 22 base62 characters, more than 128 bits."""
    return "".join(secrets.choice(_BASE62) for _ in range(22))
