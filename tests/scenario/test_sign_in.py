"""Operators over HTTP: in with a second factor, fresh for what is administrative, out at once everywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.doors import complaints
from tests.support.hosted import Hosted
from tests.support.operators import PASSWORD, STEP_S, Device
from tests.support.passkeys import Authenticator
from tests.support.servers import PostgreSQL, server
from tests.support.service import Answer, Service

NEW = "quartz meadow thimble"


class Served(Service):
    """A service, and the credential that requests are made with."""

    def ask(self, method: str, path: str, body: Any = None, key: str = "none") -> Answer:
        """The answer, after checking that nothing is wrong with its form."""
        answer = self.call(method, path, body, key=key)
        assert complaints(answer) == [], answer.body
        return answer

    def log_in(self, code: str | None = None, **more: Any) -> Answer:
        """An answer to who signs in."""
        body = {"name": "ada", "password": PASSWORD, **more}
        return self.ask("POST", "sessions", body if code is None else {**body, "code": code})


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    with server() as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "deployment"
    on_server = request.param == "postgresql"
    postgres = request.getfixturevalue("postgres") if on_server else None
    host = Hosted.new(folder, postgres.database("eu") if postgres else "sqlite:///eu.db")
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    for name in ("ada", "eve"):
        words = ("--role", "admin", "--role", "auditor", "--password-file", str(folder / "password"))
        done = host("operator", "create", name, *words)
        assert done is not None
    service = Served(folder)
    service.settings = {"COATCHECK_IDENTITIES__ADMIN": "operators"}
    if on_server:
        service.settings["COATCHECK_LISTEN__WORKERS"] = "2"  # what one process ends is over in the other
    try:
        service.start()
        yield service
    finally:
        service.kill()


def test_a_day_of_an_operator(served: Served) -> None:
    first = served.log_in()
    assert first.status == 201
    assert first.json()["enrol"] is True
    session = first.json()["credential"]
    refused = served.ask("POST", "principals", {"kind": "service", "name": "a"}, session)
    assert (refused.status, refused.code) == (401, "insufficient_user_authentication")
    challenge = refused.header("www-authenticate") or ""
    assert challenge.startswith('Bearer realm="coatcheck", error="insufficient_user_authentication"')
    assert 'max_age="900"' in challenge
    device = Device(served.ask("POST", "self/totp", key=session).json()["secret"])
    step = int(time.time()) // STEP_S
    confirmed = served.ask("POST", "self/totp/confirm", {"code": device.at(step - 1)}, session)
    assert confirmed.json() == {"totp": True, "passkeys": 0, "sessions_ended": False}
    made = served.ask("POST", "principals", {"kind": "service", "name": "a", "roles": ["admin"]}, session)
    assert made.status == 201
    # A service's key may be made, and has no use of what is administrative here.
    key = served.ask("POST", f"principals/{made.json()['id']}/keys", {}, session).json()["credential"]
    answer = served.ask("POST", "principals", {"kind": "service", "name": "b"}, key)
    assert (answer.status, answer.code) == (403, "permission_denied")
    assert served.ask("GET", "principals", key=key).status == 200
    codes = served.ask("POST", "self/recovery-codes", key=session).json()["codes"]
    for wrong in (served.log_in(), served.log_in(device.at(step - 1)), served.log_in(password=NEW)):
        assert (wrong.status, wrong.code) == (401, "login_refused")
        document = wrong.json()
        assert document.keys() == {"type", "code", "title", "status", "retry", "request"}
    second = served.log_in(device.at(step)).json()
    third = served.log_in(codes[0]).json()
    assert (second["mfa"], third["mfa"]) == ("totp", "recovery")
    listed = served.ask("GET", "sessions", key=session).json()["items"]
    assert {row["id"] for row in listed} >= {second["id"], third["id"]}
    assert not any("credential" in row for row in listed)
    assert served.ask("DELETE", f"sessions/{second['id']}", key=session).status == 200
    for _ in range(6):  # whichever process it is
        assert served.ask("GET", "whoami", key=second["credential"]).code == "credential_invalid"
    body = {"password": PASSWORD, "new_password": NEW}
    assert served.ask("POST", "self/password", body, session).json()["sessions_ended"] is True
    for _ in range(6):
        assert served.ask("GET", "whoami", key=third["credential"]).code == "credential_invalid"
    assert served.ask("GET", "whoami", key=session).json()["mfa"] == "totp"
    assert served.ask("DELETE", "sessions/current", key=session).status == 200
    for _ in range(6):
        assert served.ask("GET", "whoami", key=session).code == "credential_invalid"


def test_a_passkey_over_http(served: Served) -> None:
    session = served.log_in(name="eve").json()["credential"]
    made = Authenticator(origin=f"http://localhost:{served.port}")
    options = served.ask("POST", "self/passkeys/options", key=session).json()["options"]
    answer = served.ask("POST", "self/passkeys", {"answer": made.register(options)}, session)
    assert answer.status == 201
    options = served.ask("POST", "sessions/passkey/options").json()["options"]
    body = {"answer": made.sign(options)}
    signed = served.ask("POST", "sessions/passkey", body)
    assert signed.json()["mfa"] == "passkey"
    again = served.ask("POST", "sessions/passkey", body)
    assert (again.status, again.code) == (422, "passkey_invalid")
    options = served.ask("POST", "sessions/step-up/options", key=session).json()["options"]
    stepped = served.ask("POST", "sessions/step-up", {"answer": made.sign(options)}, session)
    assert stepped.json()["mfa"] == "passkey"
    [shown] = served.ask("GET", "self/passkeys", key=session).json()["items"]
    assert served.ask("DELETE", f"self/passkeys/{shown['id']}", key=session).status == 200
    options = served.ask("POST", "sessions/passkey/options").json()["options"]
    gone = served.ask("POST", "sessions/passkey", {"answer": made.sign(options)})
    assert (gone.status, gone.code) == (401, "login_refused")


def test_what_is_for_a_session_is_not_for_a_service(served: Served) -> None:
    key = served.credential("service_key")
    for method, path in (("GET", "sessions"), ("DELETE", "sessions/current"), ("POST", "self/totp")):
        answer = served.ask(method, path, key=key)
        assert (answer.status, answer.code) == (401, "credential_invalid")
        challenge = answer.header("www-authenticate") or ""
        assert challenge.startswith('Bearer realm="coatcheck", error="invalid_token", resource_metadata="')


def test_guessing_is_slowed_and_says_for_how_long(served: Served) -> None:
    answers = [served.log_in(name="nobody") for _ in range(12)]
    assert [answer.code for answer in answers[:5]] == ["login_refused"] * 5
    slowed = next(answer for answer in answers if answer.status == 429)
    assert slowed.code == "rate_limited"
    assert int(slowed.header("retry-after") or "0") >= 1


@pytest.mark.parametrize("size", [16 * 1024 + 1, 200_000])
def test_whoever_has_no_credential_sends_little(served: Served, size: int) -> None:
    answer = served.ask("POST", "sessions", {"name": "ada", "password": "x" * size})
    assert (answer.status, answer.code) == (413, "body_too_large")
