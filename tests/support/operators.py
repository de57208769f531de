"""Operators who sign in, with a device that shows codes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.support.cells import HOST, BuiltCell
from tests.support.passkeys import ORIGIN, Authenticator
from vault.authn.passkeys import Party
from vault.clock import SECOND, SystemClock
from vault.crypto import passwords
from vault.services import proving
from vault.services.operators import OperatorBody, create_operator
from vault.services.passkeys import RegisterBody, register_options, register_passkey
from vault.services.second_factors import CodeBody, begin_totp, confirm_totp
from vault.services.sessions import LoginBody, SessionAnswer, sign_in
from vault.services.throttle import Throttle

PASSWORD = "walnut ferry lantern"
NAME = "ada"
STEP_S = 30
ROOM_S = 15  # for a test on a busy machine


@dataclass
class Device:
    """A TOTP device, by a second implementation of RFC 6238; it counts steps on, so that each code is new."""

    secret: str = field(repr=False)
    last: int = 0

    def code(self, built: BuiltCell) -> str:
        """A code that was not used yet, and is good for a while.

        It is of the step before this one, so that several can be had at once, unless that is about to end.
        """
        clock = built.cell.clock
        step, gone = divmod(clock.now() // SECOND, STEP_S)
        self.last = max(step - (gone < STEP_S - ROOM_S), self.last + 1)
        while isinstance(clock, SystemClock) and self.last > clock.now() // SECOND // STEP_S + 1:
            time.sleep(0.1)  # nobody takes it yet
        return self.at(self.last)

    def at(self, step: int) -> str:
        """The code of a step."""
        key = base64.b32decode(self.secret)
        digest = hmac.digest(key, struct.pack(">Q", step), hashlib.sha1)
        at = digest[-1] & 15
        number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
        return f"{number % 1_000_000:06d}"


def cheapen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes passwords at the least cost in this process, for tests that make many."""
    least = passwords.Argon2Parameters(1, 8192, 1)
    monkeypatch.setattr(passwords.hash_password, "__defaults__", (least,))
    monkeypatch.setattr(proving, "RFC9106_LOW_MEMORY", least)
    proving._nobodys_hash.cache_clear()


def create(built: BuiltCell, name: str = NAME, **more: Any) -> str:
    """A new operator's id; by default an admin and an auditor."""
    more.setdefault("roles", ["admin", "auditor"])
    return built.run(create_operator, OperatorBody(name, PASSWORD, **more), by=HOST).id


def log_in(built: BuiltCell, name: str = NAME, code: str | None = None, **more: Any) -> SessionAnswer:
    """A new session."""
    address = more.pop("address", "192.0.2.7")
    body = LoginBody(**{"name": name, "password": PASSWORD, "code": code, **more})
    return built.run(sign_in, body, by="", address=address)


def enrol(built: BuiltCell, session: str) -> Device:
    """A device, confirmed in a session."""
    device = Device(built.run(begin_totp, by=session).secret)
    built.run(confirm_totp, CodeBody(device.code(built)), by=session)
    return device


def operator(built: BuiltCell, name: str = NAME, **more: Any) -> tuple[str, Device]:
    """A new operator's session in which a device was just enrolled, and the device."""
    create(built, name, **more)
    session = log_in(built, name).credential or ""
    return session, enrol(built, session)


def with_passkeys(built: BuiltCell) -> None:
    """Says whom passkeys are for, as wiring does in development."""
    built.cell.sign_in = replace(built.cell.sign_in, party=Party("localhost", (ORIGIN,)))


def passkey(built: BuiltCell, session: str, **more: Any) -> Authenticator:
    """A passkey, registered in a session."""
    with_passkeys(built)
    made = Authenticator(**more)
    answer = made.register(built.run(register_options, by=session).options)
    built.run(register_passkey, RegisterBody(answer, "laptop"), by=session)
    return made


def unhurried(built: BuiltCell) -> None:
    """Forgets who tried what."""
    built.cell.throttle = Throttle()
