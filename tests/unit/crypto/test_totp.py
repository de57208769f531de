"""RFC 6238's own values, and what a code is good for."""

from __future__ import annotations

import base64

import pytest

from vault.crypto.totp import STEP_S, is_code, new_totp, provisioning_uri, spelled, step_of
from vault.errors import Unauthenticated
from vault.secret import Secret

SECRET = b"12345678901234567890"
SECOND = 1_000_000
# RFC 6238, appendix B, SHA-1: the last six of its eight digits.
PUBLISHED = [
    (59, "287082"),
    (1_111_111_109, "081804"),
    (1_111_111_111, "050471"),
    (1_234_567_890, "005924"),
    (2_000_000_000, "279037"),
    (20_000_000_000, "353130"),
]


@pytest.mark.parametrize(("at", "code"), PUBLISHED)
def test_the_published_values(at: int, code: str) -> None:
    assert step_of(Secret(SECRET), code, at * SECOND, -1) == at // STEP_S


@pytest.mark.parametrize("drift", [-1, 0, 1])
def test_a_code_of_the_step_before_or_after_is_taken(drift: int) -> None:
    at, code = PUBLISHED[3]
    assert step_of(Secret(SECRET), code, (at + drift * STEP_S) * SECOND, -1) == at // STEP_S


@pytest.mark.parametrize("drift", [-2, 2, 1_000])
def test_another_one_is_not(drift: int) -> None:
    at, code = PUBLISHED[3]
    with pytest.raises(Unauthenticated, match="login_refused"):
        step_of(Secret(SECRET), code, (at + drift * STEP_S) * SECOND, -1)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_step_is_used_once_and_none_before_it(after: int) -> None:
    at, code = PUBLISHED[3]
    step = at // STEP_S
    with pytest.raises(Unauthenticated):
        step_of(Secret(SECRET), code, at * SECOND, step + after)
    assert step_of(Secret(SECRET), code, at * SECOND, step - 1) == step


@pytest.mark.parametrize(
    "code", ["", "05924", "0005924", "005925", "\uff10\uff10\uff15\uff19\uff12\uff14", "a"]
)
def test_what_is_no_code_of_the_moment(code: str) -> None:
    with pytest.raises(Unauthenticated):
        step_of(Secret(SECRET), code if is_code(code) else "", PUBLISHED[3][0] * SECOND, -1)


def test_a_device_is_told_what_it_needs() -> None:
    secret = new_totp()
    assert len(secret) == 20
    assert base64.b32decode(spelled(secret)) == secret.expose()
    uri = provisioning_uri(secret, "ada@main.eu", "Coatcheck")
    assert uri == f"otpauth://totp/Coatcheck:ada%40main.eu?secret={spelled(secret)}&issuer=Coatcheck"
    assert spelled(new_totp()) != spelled(secret)
