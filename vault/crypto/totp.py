"""Time-based one-time passwords (RFC 6238), by pyotp: SHA-1, six digits, 30 s, as all devices take them."""

from __future__ import annotations

import base64
import os
from typing import Final

import pyotp

from vault.errors import Unauthenticated
from vault.secret import Secret

SECRET_BYTES: Final = 20  # RFC 4226, 4, R6: 160 bits are recommended
STEP_S: Final = 30  # RFC 6238, 5.2
DIGITS: Final = 6
DRIFT: Final = 1  # steps before and after this one: RFC 6238, 5.2, advises at most one for delay
_SECOND: Final = 1_000_000


def new_totp() -> Secret:
    """The secret of a new device."""
    return Secret(os.urandom(SECRET_BYTES))


def spelled(secret: Secret) -> str:
    """A device's secret in base32, for whoever types it in. Shown once and kept nowhere."""
    return base64.b32encode(secret.expose()).decode()


def provisioning_uri(secret: Secret, account: str, issuer: str) -> str:
    """The `otpauth://totp/...` URI that devices read from a picture."""
    return pyotp.TOTP(base64.b32encode(secret.expose()).decode()).provisioning_uri(
        name=account, issuer_name=issuer
    )


def step_of(secret: Secret, code: str, at: int, after: int) -> int:
    """The time step that a code is of.

    All candidates are computed and compared in constant time, whichever it is.

    Args:
        code: six digits.
        at: microseconds.
        after: the newest step whose code was taken: neither that one nor an older one is taken again.

    Raises:
        Unauthenticated: `login_refused`: it is no code of this moment, or was used.
    """
    now = at // _SECOND // STEP_S
    found = -1
    for step in range(now - DRIFT, now + DRIFT + 1):
        same = pyotp.utils.strings_equal(_code(secret, step), code)
        found = step if same else found
    if found <= after:
        raise Unauthenticated("login_refused")
    return found


def _code(secret: Secret, step: int) -> str:
    return pyotp.HOTP(base64.b32encode(secret.expose()).decode()).at(max(step, 0))


def is_code(text: str) -> bool:
    """Whether a text looks like a code."""
    return len(text) == DIGITS and text.isascii() and text.isdigit()
