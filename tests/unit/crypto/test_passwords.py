"""Argon2id against RFC 9106 and a second implementation, and bounds on its cost."""

from __future__ import annotations

from typing import Any

import nacl.pwhash.argon2id
import pytest
from argon2.low_level import ARGON2_VERSION, Type, core, ffi
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from vault.crypto import passwords
from vault.crypto.passwords import (
    AT_ONCE,
    MAX_PASSWORD,
    RFC9106_LOW_MEMORY,
    SALT_BYTES,
    Argon2Parameters,
    check_password,
    check_unforeseen,
    derive_key,
    hash_password,
    parameters_of,
    prepare_password,
)
from vault.errors import BadInput, IntegrityError, Unauthenticated, Unavailable
from vault.secret import Secret

SALT = bytes(range(SALT_BYTES))
CHEAP = Argon2Parameters(time_cost=1, memory_kib=8192, lanes=1)


def test_the_implementation_gives_the_published_value() -> None:
    """RFC 9106, section 5.3; its secret and associated data go through the library's own structure."""
    tag, parts = ffi.new("uint8_t[]", 32), []

    def part(value: bytes) -> Any:
        parts.append(ffi.new("uint8_t[]", value))
        return parts[-1]

    context = ffi.new(
        "argon2_context *",
        {
            "version": ARGON2_VERSION,
            "out": tag,
            "outlen": 32,
            "pwd": part(b"\x01" * 32),
            "pwdlen": 32,
            "salt": part(b"\x02" * 16),
            "saltlen": 16,
            "secret": part(b"\x03" * 8),
            "secretlen": 8,
            "ad": part(b"\x04" * 12),
            "adlen": 12,
            "t_cost": 3,
            "m_cost": 32,
            "lanes": 4,
            "threads": 1,
            "allocate_cbk": ffi.NULL,
            "free_cbk": ffi.NULL,
            "flags": 0,
        },
    )
    assert core(context, Type.ID.value) == 0
    published = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    assert bytes(ffi.buffer(tag)).hex() == published


@pytest.mark.parametrize("passphrase", [b"p", b"correct horse battery staple", bytes(range(256)), b"\0"])
def test_one_lane_agrees_with_libsodium(passphrase: bytes) -> None:
    ours = derive_key(Secret(passphrase), SALT, CHEAP)
    theirs = nacl.pwhash.argon2id.kdf(32, passphrase, SALT, opslimit=1, memlimit=8192 * 1024)
    assert ours.expose() == theirs


@pytest.mark.parametrize(
    "parameters", [CHEAP, Argon2Parameters(2, 9000, 3), Argon2Parameters(1, 8192, 16), RFC9106_LOW_MEMORY]
)
def test_all_lanes_agree_with_openssl(parameters: Argon2Parameters) -> None:
    ours = derive_key(Secret(b"passphrase"), SALT, parameters)
    theirs = Argon2id(
        salt=SALT,
        length=32,
        iterations=parameters.time_cost,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    )
    assert ours.expose() == theirs.derive(b"passphrase")


def test_passphrase_salt_and_every_cost_matter() -> None:
    keys = {
        derive_key(Secret(passphrase), salt, parameters).expose()
        for passphrase, salt, parameters in (
            (b"a", SALT, CHEAP),
            (b"b", SALT, CHEAP),
            (b"a", SALT[::-1], CHEAP),
            (b"a", SALT, Argon2Parameters(2, 8192, 1)),
            (b"a", SALT, Argon2Parameters(1, 8200, 1)),
            (b"a", SALT, Argon2Parameters(1, 8192, 2)),
        )
    }
    assert len(keys) == 6
    assert all(len(key) == 32 for key in keys)


def test_the_default_is_the_second_recommendation_of_the_rfc() -> None:
    """RFC 9106, section 4: 3 passes, 4 lanes, 64 MiB."""
    assert Argon2Parameters(3, 64 * 1024, 4) == RFC9106_LOW_MEMORY


@pytest.mark.parametrize(
    ("time_cost", "memory_kib", "lanes"),
    [
        (0, 65536, 4),
        (17, 65536, 4),
        (3, 8191, 4),
        (3, 2**21 + 1, 4),
        (3, 2**32 - 1, 4),
        (3, 65536, 0),
        (3, 65536, 17),
        (-1, 65536, 4),
    ],
)
def test_a_cost_that_would_starve_or_expose_us_is_refused(
    time_cost: int, memory_kib: int, lanes: int
) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        Argon2Parameters(time_cost, memory_kib, lanes)


WORDS = "walnut ferry lantern"


def test_a_password_opens_its_own_hash_and_no_other() -> None:
    one, other = (hash_password(Secret(b"walnut ferry"), CHEAP) for _ in range(2))
    assert one.startswith("$argon2id$v=19$m=8192,t=1,p=1$")
    assert one != other  # each has a salt of its own
    check_password(Secret(b"walnut ferry"), one)
    for wrong in (b"walnut ferrY", b"walnut ferry ", b"", b"\0"):
        with pytest.raises(Unauthenticated, match="login_refused"):
            check_password(Secret(wrong), one)


def test_a_hash_says_its_cost_so_that_it_can_grow() -> None:
    assert parameters_of(hash_password(Secret(b"p"), CHEAP)) == CHEAP
    assert parameters_of(hash_password(Secret(b"p"))) == RFC9106_LOW_MEMORY


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "walnut",
        "$argon2i$v=19$m=8192,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43,
        "$argon2id$v=19$m=8192,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAA",
        "$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43,
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43,
    ],
)
def test_a_stored_hash_that_was_tampered_with_costs_nothing(stored: str) -> None:
    with pytest.raises(IntegrityError):
        check_password(Secret(b"walnut ferry"), stored)


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        (WORDS, WORDS.encode()),
        ("e\u0301" * 12, "\u00e9".encode() * 12),  # RFC 8265, 4.2.2: NFC
        ("walnut\u00a0ferry\u3000on", b"walnut ferry on"),  # and other spaces become ASCII's
        ("Walnut Ferry", b"Walnut Ferry"),  # capitals are kept
        ("\U0001f9c0" * 12, "\U0001f9c0".encode() * 12),
        ("x" * MAX_PASSWORD, b"x" * MAX_PASSWORD),
        ("e\u0301" * MAX_PASSWORD, "\u00e9".encode() * MAX_PASSWORD),
    ],
)
def test_a_password_is_the_same_from_every_keyboard(typed: str, prepared: bytes) -> None:
    assert prepare_password(typed).expose() == prepared


@pytest.mark.parametrize(
    "typed",
    [
        "", "elevenchars", "e\u0301" * 11, "x" * (MAX_PASSWORD + 1), "x" * 1_000_000, "walnut ferry\0",
        "walnut ferry\n", "walnut ferry\ud800", "walnut ferry\u200b", "walnut ferry\u202e",
        "walnut ferry\ue000", "walnut ferry\uffff",
    ],
)  # fmt: skip
def test_what_is_no_password_is_refused_without_an_echo(typed: str) -> None:
    with pytest.raises(BadInput, match="password_unfit") as refusal:
        prepare_password(typed)
    assert refusal.value.facts == {"least": 12, "most": 256}


@pytest.mark.parametrize(
    "typed",
    [
        "aaaaaaaaaaaa", "abcdefghijklmnop", "123456789012", "abcabcabcabcabc", "coatcheck-coatcheck",
        "ada.lovelace1234", "Password1234", "ADA.LOVELACE ADA.LOVELACE", "fghxfghxfghx", "passwordpassword",
        "fgh-fgh-fgh-fg",
    ],
)  # fmt: skip
def test_what_is_tried_first_is_refused(typed: str) -> None:
    with pytest.raises(BadInput, match="password_foreseen"):
        check_unforeseen(typed, "ada.lovelace", "main")


@pytest.mark.parametrize("typed", [WORDS, "lxpq wdtz mkva", "ada.lovelace walnut ferry", "9z!kQ7#mP2x_"])
def test_what_is_more_than_that_passes(typed: str) -> None:
    check_unforeseen(typed, "ada.lovelace", "main")


def test_only_so_many_hash_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAIT_S", 0.01)
    taken = [passwords._turns.acquire(blocking=False) for _ in range(AT_ONCE)]
    try:
        assert all(taken)
        with pytest.raises(Unavailable, match="too_busy"):
            hash_password(Secret(b"walnut ferry"), CHEAP)
    finally:
        for _ in taken:
            passwords._turns.release()
    hash_password(Secret(b"walnut ferry"), CHEAP)
