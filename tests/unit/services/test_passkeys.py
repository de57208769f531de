"""Passkeys: registered by who may, good for one answer to one challenge from one page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import BuiltCell, any_cell
from tests.support.operators import create, enrol, log_in, operator, passkey, unhurried, with_passkeys
from tests.support.passkeys import Authenticator, raw, text
from tests.unit.services.calls import rows
from vault.clock import SECOND, FixedClock
from vault.errors import CoatcheckError
from vault.services.identities import PrincipalBody, create_principal, whoami
from vault.services.passkeys import (
    MAX_PASSKEYS,
    RegisterBody,
    list_passkeys,
    register_options,
    register_passkey,
    remove_passkey,
)
from vault.services.sessions import (
    PasskeyBody,
    StepUpBody,
    passkey_options,
    passkey_sign_in,
    step_up_options,
    step_up_session,
)

MINUTE = 60 * SECOND


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def code_of(act: Any) -> str:
    with pytest.raises(CoatcheckError) as refusal:
        act()
    return refusal.value.code


def sign_in(built: BuiltCell, made: Authenticator, **changed: Any) -> Any:
    options = built.run(passkey_options, by="").options
    return built.run(passkey_sign_in, PasskeyBody(made.sign(options, **changed)), by="")


def test_a_passkey_is_a_first_and_a_second_factor(both: BuiltCell) -> None:
    """From a password alone to a passkey; then by the passkey alone."""
    create(both)
    session = log_in(both).credential or ""
    made = passkey(both, session)
    assert both.run(whoami, by=session).mfa == "passkey"
    both.run(create_principal, PrincipalBody("service", "a"), by=session)
    again = sign_in(both, made)
    assert (again.name, again.mfa, again.enrol) == ("operator:ada", "passkey", False)
    both.run(create_principal, PrincipalBody("service", "b"), by=again.credential)
    assert code_of(lambda: log_in(both)) == "login_refused"  # the password alone is not enough any more
    [shown] = both.run(list_passkeys, by=session).items
    assert (shown.label, shown.transports, shown.used is not None) == ("laptop", ["internal"], True)


def test_options_name_nobody(built: BuiltCell) -> None:
    with_passkeys(built)
    before = rows(built)
    options = built.run(passkey_options, by="").options
    assert (options["rpId"], options["userVerification"]) == ("localhost", "required")
    assert options["allowCredentials"] == []
    assert rows(built) == before  # to ask writes nothing
    assert built.run(passkey_options, by="").options["challenge"] != options["challenge"]


def test_an_answer_is_taken_once(both: BuiltCell) -> None:
    made = passkey(both, operator(both)[0], counts=False)
    body = PasskeyBody(made.sign(both.run(passkey_options, by="").options))
    assert both.run(passkey_sign_in, body, by="").credential
    before = rows(both)
    assert code_of(lambda: both.run(passkey_sign_in, body, by="")) == "passkey_invalid"
    assert rows(both) == before


def test_two_at_once_with_one_answer_get_one_session(both: BuiltCell) -> None:
    made = passkey(both, operator(both)[0], counts=False)
    body = PasskeyBody(made.sign(both.run(passkey_options, by="").options))
    verbs = [passkey_sign_in(both.cell, both.request(""), body) for _ in range(2)]
    commands = [next(verb) for verb in verbs]
    both.cell.committer.execute(commands[0])
    assert code_of(lambda: both.cell.committer.execute(commands[1])) == "passkey_invalid"
    for verb in verbs:
        verb.close()


@pytest.mark.parametrize(
    ("made", "changed"),
    [
        ({"verifies": False}, {}),
        ({"origin": "https://evil.example"}, {}),
        ({"origin": "http://localhost"}, {}),
        ({}, {"type": "webauthn.create"}),
        ({}, {"challenge": text(bytes(56))}),
        ({}, {"challenge": "x"}),
        ({}, {"challenge": None}),
    ],
)
def test_an_answer_from_elsewhere_is_refused(
    built: BuiltCell, made: dict[str, Any], changed: dict[str, Any]
) -> None:
    one = passkey(built, operator(built)[0])
    for name, value in made.items():
        setattr(one, name, value)
    assert code_of(lambda: sign_in(built, one, **changed)) == "passkey_invalid"


def test_a_passkey_of_nobody_is_refused_as_a_wrong_password_is(built: BuiltCell) -> None:
    passkey(built, operator(built)[0])
    assert code_of(lambda: sign_in(built, Authenticator())) == "login_refused"


def test_a_signature_of_another_key_is_refused(built: BuiltCell) -> None:
    made = passkey(built, operator(built)[0])
    other = Authenticator(credential=made.credential)
    assert code_of(lambda: sign_in(built, other)) == "passkey_invalid"
    assert sign_in(built, made).mfa == "passkey"


def test_a_copy_is_found_by_its_count(built: BuiltCell) -> None:
    made = passkey(built, operator(built)[0])
    sign_in(built, made)
    made.signs -= 1
    assert code_of(lambda: sign_in(built, made)) == "passkey_invalid"


def test_a_challenge_is_for_one_use_one_session_and_five_minutes(
    ticking: BuiltCell, clock: FixedClock
) -> None:
    built = ticking
    session, _ = operator(built)
    made = passkey(built, session)
    other, _ = operator(built, "eve")
    other_made = passkey(built, other)
    for_sign_in = built.run(passkey_options, by="").options
    step = StepUpBody(answer=made.sign(for_sign_in))
    assert code_of(lambda: built.run(step_up_session, step, by=session)) == "passkey_invalid"
    for_step_up = built.run(step_up_options, by=session).options
    assert [raw(one["id"]) for one in for_step_up["allowCredentials"]] == [made.credential]
    assert code_of(lambda: built.run(passkey_sign_in, PasskeyBody(made.sign(for_step_up)), by="")) == (
        "passkey_invalid"
    )
    of_other = StepUpBody(answer=other_made.sign(for_step_up))
    assert code_of(lambda: built.run(step_up_session, of_other, by=other)) == "passkey_invalid"
    assert code_of(lambda: built.run(step_up_session, of_other, by=session)) == "login_refused"
    unhurried(built)
    clock.advance(5 * MINUTE)
    late = StepUpBody(answer=made.sign(for_step_up))
    assert code_of(lambda: built.run(step_up_session, late, by=session)) == "passkey_invalid"
    options = built.run(step_up_options, by=session).options
    assert built.run(step_up_session, StepUpBody(answer=made.sign(options)), by=session).mfa == "passkey"


@pytest.mark.parametrize("body", [StepUpBody(), StepUpBody("123456", {"a": 1})])
def test_to_step_up_takes_one_factor(built: BuiltCell, body: StepUpBody) -> None:
    session, _ = operator(built)
    assert code_of(lambda: built.run(step_up_session, body, by=session)) == "body_malformed"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"rawId": 1},
        {"response": {"clientDataJSON": "!"}},
        {"response": {"clientDataJSON": text(b"[]")}},
        {"response": {"clientDataJSON": text(b'{"challenge":1}')}},
        {"response": {"clientDataJSON": text(b"[" * 100_000)}},
        {"response": []},
        {"response": {"clientDataJSON": text(json.dumps({"challenge": "é"}).encode())}},
    ],
)
def test_what_is_no_answer_is_refused(built: BuiltCell, answer: dict[str, Any]) -> None:
    session, _ = operator(built)
    with_passkeys(built)
    for act in (
        lambda: built.run(passkey_sign_in, PasskeyBody(answer), by=""),
        lambda: built.run(register_passkey, RegisterBody(answer), by=session),
    ):
        assert code_of(act) == "passkey_invalid"


def test_a_passkey_is_registered_once_and_by_its_own_options(built: BuiltCell) -> None:
    session, _ = operator(built)
    made = passkey(built, session)
    again = built.run(register_options, by=session).options
    assert [raw(one["id"]) for one in again["excludeCredentials"]] == [made.credential]
    assert again["authenticatorSelection"]["userVerification"] == "required"
    assert code_of(lambda: built.run(register_passkey, RegisterBody(made.register(again)), by=session)) == (
        "passkey_invalid"
    )
    other, _ = operator(built, "eve")
    stolen = Authenticator().register(again)
    assert code_of(lambda: built.run(register_passkey, RegisterBody(stolen), by=other)) == "passkey_invalid"
    unverified = Authenticator(verifies=False).register(again)
    assert code_of(lambda: built.run(register_passkey, RegisterBody(unverified), by=session)) == (
        "passkey_invalid"
    )
    assert (
        code_of(lambda: built.run(register_passkey, RegisterBody(stolen, "a\u202eb"), by=session))
        == "name_invalid"
    )
    while len(built.run(list_passkeys, by=session).items) < MAX_PASSKEYS:
        passkey(built, session)
    assert code_of(lambda: built.run(register_options, by=session)) == "version_conflict"


def test_a_passkey_is_changed_by_what_is_fresh_and_by_its_owner(
    ticking: BuiltCell, clock: FixedClock
) -> None:
    built = ticking
    session, _ = operator(built)
    made = passkey(built, session)
    other, _ = operator(built, "eve")
    id_ = built.run(list_passkeys, by=session).items[0].id
    assert code_of(lambda: built.run(remove_passkey, id_, by=other)) == "not_found"
    clock.advance(16 * MINUTE)
    for act in (
        lambda: built.run(remove_passkey, id_, by=session),
        lambda: built.run(register_options, by=session),
    ):
        assert code_of(act) == "insufficient_user_authentication"
    fresh = sign_in(built, made).credential
    built.run(remove_passkey, id_, by=fresh)
    assert code_of(lambda: sign_in(built, made)) == "login_refused"


def test_without_a_domain_there_are_none(both: BuiltCell) -> None:
    create(both)
    session = log_in(both).credential or ""
    enrol(both, session)
    both.cell.sign_in = replace(both.cell.sign_in, party=None)
    for act in (
        lambda: both.run(passkey_options, by=""),
        lambda: both.run(passkey_sign_in, PasskeyBody({}), by=""),
        lambda: both.run(register_options, by=session),
        lambda: both.run(step_up_options, by=session),
    ):
        assert code_of(act) == "passkeys_unavailable"
