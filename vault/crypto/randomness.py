"""Random keys and credentials, from the operating system."""

from __future__ import annotations

import os
import secrets
import string
from typing import Final

from vault.secret import Secret

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
CREDENTIAL_CHARACTERS: Final = 43  # 43 * log2(62) = 256 bits


def new_key() -> Secret:
    """32 random bytes."""
    return Secret(os.urandom(32))


def credential_secret() -> str:
    """The random part of a credential: 43 base62 characters."""
    return "".join(secrets.choice(_BASE62) for _ in range(CREDENTIAL_CHARACTERS))


def below(bound: int) -> int:
    """A whole number from 0 to `bound` - 1, each as likely as any other."""
    return secrets.randbelow(bound)
