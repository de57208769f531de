"""Operators sign in, prove more, and are out at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import ADDRESS, HOST, BuiltCell, any_cell
from tests.support.operators import NAME, PASSWORD, Device, create, enrol, log_in, operator, unhurried
from tests.unit.services.calls import rows
from vault.authn.sessions import DEFAULT_IDLE, SignIn
from vault.clock import SECOND, FixedClock, parse_time
from vault.crypto import passwords, totp
from vault.errors import BadInput, CoatcheckError, Conflict, Stale, Unauthenticated, Unavailable
from vault.keyring.authenticators import Authenticators
from vault.services import proving
from vault.services.audit import AuditQuery, read_audit
from vault.services.identities import PrincipalBody, create_principal, remove_principal, whoami
from vault.services.limited import flush_failures
from vault.services.listing import Page
from vault.services.operators import OperatorBody, create_operator, list_operators, reset_mfa
from vault.services.second_factors import (
    CodeBody,
    PasswordBody,
    begin_totp,
    change_password,
    confirm_totp,
    drop_totp,
    new_recovery_codes,
)
from vault.services.sessions import (
    LoginBody,
    StepUpBody,
    end_session,
    flush_sessions,
    list_sessions,
    sign_in,
    step_up_session,
)
from vault.services.throttle import FREE, Throttle
from vault.wiring import perform

NOW = parse_time("2026-11-23T12:00:00Z")
MINUTE = 60 * SECOND
FIRST = AuditQuery()
TOO_WEAK = "insufficient_user_authentication"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def code_of(act: Any) -> str:
    """The code of a refusal."""
    with pytest.raises(CoatcheckError) as refusal:
        act()
    return refusal.value.code


def a_service(name: str) -> PrincipalBody:
    return PrincipalBody("service", name)


def test_from_the_first_password_to_an_administrative_act(both: BuiltCell) -> None:
    built = both
    principal = create(built)
    first = log_in(built)
    session = first.credential or ""
    assert session.startswith("cs_")
    assert (first.enrol, first.mfa) == (True, None)
    # With a password alone one can get a second factor, and nothing else.
    assert built.run(whoami, by=session).principal == principal
    for act in (
        lambda: built.run(create_principal, a_service("a"), by=session),
        lambda: built.run(read_audit, FIRST, by=session),
    ):
        assert code_of(act) == "insufficient_user_authentication"
    device = enrol(built, session)
    assert built.run(create_principal, a_service("a"), by=session).name == "service:a"
    assert built.run(whoami, by=session).mfa == "totp"
    # From now on the code is asked for.
    assert code_of(lambda: log_in(built)) == "login_refused"
    again = log_in(built, code=device.code(built))
    assert (again.enrol, again.mfa) == (False, "totp")
    assert built.run(create_principal, a_service("b"), by=again.credential).name == "service:b"
    kinds = [event["kind"] for event in built.events() if event["kind"].startswith(("session", "operator"))]
    assert kinds == [
        "operator.password", "session.create", "operator.enrol", "operator.enrol", "session.create",
    ]  # fmt: skip
    assert {event["actor"] for event in built.events(kind="session.create")} == {"operator:ada"}


def test_a_code_works_once(both: BuiltCell) -> None:
    _, device = operator(both)
    code = device.code(both)
    log_in(both, code=code)
    unhurried(both)
    assert code_of(lambda: log_in(both, code=code)) == "login_refused"
    assert code_of(lambda: log_in(both, code=device.at(device.last - 1))) == "login_refused"  # an older one
    assert log_in(both, code=device.code(both)).mfa == "totp"


def test_two_at_once_with_one_code_get_one_session(both: BuiltCell) -> None:
    """Decided in the ledger, in whatever order: both commands were prepared on the same row."""
    _, device = operator(both)
    body = LoginBody(NAME, PASSWORD, device.code(both))
    verbs = [sign_in(both.cell, both.request(""), body) for _ in range(2)]
    commands = [next(verb) for verb in verbs]
    outcomes: list[Any] = []
    for command in commands:
        try:
            outcomes.append(both.cell.committer.execute(command))
        except CoatcheckError as refusal:
            outcomes.append(refusal.code)
    assert outcomes[1] == "login_refused"
    assert outcomes[0] != "login_refused"
    for verb in verbs:
        verb.close()


@pytest.mark.parametrize(
    "wrong", ["name", "password", "code", "no code", "tenant", "a service", "no password"]
)
def test_whatever_is_wrong_the_answer_is_one(built: BuiltCell, wrong: str) -> None:
    _, device = operator(built)
    code = device.code(built)
    asks: dict[str, dict[str, Any]] = {
        "name": {"name": "eve", "code": code},
        "password": {"password": "walnut ferry lanterN", "code": code},
        "code": {"code": f"{(int(code) + 1) % 1_000_000:06d}"},
        "no code": {"code": None},
        "tenant": {"name": "ada@acme", "code": code},
        "a service": {"name": "service:demo", "code": code},
        "no password": {"name": "admin", "code": code},
    }
    asked, before = asks[wrong], rows(built)
    with pytest.raises(Unauthenticated) as refusal:
        log_in(built, **asked)
    assert (refusal.value.code, refusal.value.facts) == ("login_refused", {})
    assert rows(built) == before  # whoever has no credential writes nothing


@pytest.mark.parametrize("who", ["nobody", "a wrong password", "a wrong code", "the operator"])
def test_the_same_work_is_done_for_whoever_it_is(
    built: BuiltCell, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: hashes, opened secrets, codes and reads."""
    _, device = operator(built)
    code = device.code(built)
    asked: dict[str, Any] = {
        "nobody": {"name": "eve", "code": code},
        "a wrong password": {"password": "walnut ferry lanterN", "code": code},
        "a wrong code": {"code": f"{(int(code) + 1) % 1_000_000:06d}"},
        "the operator": {"code": code},
    }[who]
    counted: dict[str, int] = {}

    def count(module: Any, name: str) -> None:
        inner = getattr(module, name)

        def counting(*args: Any, **more: Any) -> Any:
            counted[name] = counted.get(name, 0) + 1
            return inner(*args, **more)

        monkeypatch.setattr(module, name, counting)

    proving._nobodys_hash(), proving._nobodys_device()
    count(passwords, "verify_secret")
    count(passwords, "hash_secret")
    count(totp, "_code")
    count(Authenticators, "open")
    count(built.cell.store, "read")
    if who == "the operator":
        log_in(built, **asked)
    else:
        assert code_of(lambda: log_in(built, **asked)) == "login_refused"
    assert counted.pop("read") == 6
    assert counted == {"verify_secret": 1, "_code": 3, "open": 1}


def test_a_right_password_with_a_wrong_code_is_on_the_record(built: BuiltCell) -> None:
    """By the operator's id and only with the minute's counts: the one who tries cannot tell."""
    session, device = operator(built)
    wrong = f"{(int(device.code(built)) + 1) % 1_000_000:06d}"
    assert code_of(lambda: log_in(built, code=wrong)) == "login_refused"
    perform(built.cell, lambda: flush_failures(built.cell))
    principal = built.run(whoami, by=session).principal
    [event] = built.events(kind="unauthenticated")
    assert event["counts"] == {"login_refused": 1, f"second_factor_refused:{principal}": 1}


def test_a_session_ends_at_once(both: BuiltCell) -> None:
    session, device = operator(both)
    other = log_in(both, code=device.code(both)).credential or ""
    both.run(whoami, by=other)
    both.run(end_session, by=other)
    assert code_of(lambda: both.run(whoami, by=other)) == "credential_invalid"
    assert both.run(whoami, by=session).name == "operator:ada"
    third = log_in(both, code=device.code(both))
    both.run(end_session, third.id, by=session)
    assert code_of(lambda: both.run(create_principal, a_service("a"), by=third.credential)) == (
        "credential_invalid"
    )


def test_a_session_that_ended_meanwhile_commits_nothing(both: BuiltCell) -> None:
    """As with keys: what was found decides what is prepared, and the locked row what is done."""
    session, _ = operator(both)
    verb = create_principal(both.cell, both.request(session), a_service("late"))
    command = next(verb)
    both.run(end_session, by=session)
    with pytest.raises(Stale):
        both.cell.committer.execute(command)
    verb.close()


def test_nobody_ends_or_sees_anothers_session(built: BuiltCell) -> None:
    session, _ = operator(built)
    other, _ = operator(built, "eve")
    id_ = session.rpartition("_")[0]
    assert code_of(lambda: built.run(end_session, id_, by=other)) == "not_found"
    shown = built.run(list_sessions, Page(), by=other).items
    assert [(row.id, row.current) for row in shown] == [(other.rpartition("_")[0], True)]
    assert shown[0].network == "192.0.2.0/24"
    assert code_of(lambda: built.run(list_sessions, Page(), by=built.admin)) == "credential_invalid"


def test_a_session_ends_by_itself(ticking: BuiltCell, clock: FixedClock) -> None:
    built = ticking
    session, device = operator(built)
    for _ in range(3):
        clock.advance(DEFAULT_IDLE - 2 * MINUTE)
        built.run(whoami, by=session)
    clock.advance(DEFAULT_IDLE + MINUTE)
    assert code_of(lambda: built.run(whoami, by=session)) == "credential_invalid"
    device.last = 0
    busy = log_in(built, code=device.code(built)).credential or ""
    for _ in range(24):
        clock.advance(DEFAULT_IDLE - MINUTE)
        built.run(whoami, by=busy)
    clock.advance(DEFAULT_IDLE - MINUTE)
    assert code_of(lambda: built.run(whoami, by=busy)) == "credential_invalid"  # twelve hours at most


def test_another_process_knows_that_a_session_is_used(ticking: BuiltCell, clock: FixedClock) -> None:
    built = ticking
    session, _ = operator(built)
    clock.advance(20 * MINUTE)
    built.run(whoami, by=session)
    assert perform(built.cell, lambda: flush_sessions(built.cell)) == 1
    assert perform(built.cell, lambda: flush_sessions(built.cell)) == 0
    built.cell.identities.seen._seen.clear()  # what another process would not know
    clock.advance(20 * MINUTE)
    built.run(whoami, by=session)


def test_what_is_administrative_needs_a_fresh_proof(ticking: BuiltCell, clock: FixedClock) -> None:
    built = ticking
    session, device = operator(built)
    clock.advance(16 * MINUTE)
    first = built.next_number
    with pytest.raises(Unauthenticated) as refusal:
        built.run(create_principal, a_service("a"), by=session)
    assert refusal.value.code == "insufficient_user_authentication"
    assert refusal.value.facts["max_age"] == 900
    [event] = built.events(first)
    assert (event["kind"], event["code"]) == ("denied", "insufficient_user_authentication")
    assert event["decision"] == refusal.value.facts["decision"]
    built.run(read_audit, FIRST, by=session)  # to read is not administrative
    device.last = 0
    code = device.code(built)
    stepped = built.run(step_up_session, StepUpBody(code=code), by=session)
    assert (stepped.mfa, stepped.credential) == ("totp", None)
    built.run(create_principal, a_service("a"), by=session)
    unhurried(built)
    assert code_of(lambda: built.run(step_up_session, StepUpBody(code=code), by=session)) == "login_refused"
    assert [event["code"] for event in built.events(kind="denied")][-1] == "login_refused"


def administer(built: BuiltCell, session: str, name: str, address: str = ADDRESS) -> None:
    built.run(create_principal, a_service(name), by=session, address=address)


def test_a_proof_is_good_in_the_network_that_it_was_made_in(ticking: BuiltCell, clock: FixedClock) -> None:
    """A session that was carried off is good for nothing administrative elsewhere."""
    built = ticking
    session, device = operator(built)
    clock.advance(MINUTE)
    for address in ("198.51.100.1", "127.0.0.1", "2001:db8::1", "", "no address"):
        assert code_of(partial(administer, built, session, "a", address)) == TOO_WEAK
        assert built.run(whoami, by=session, address=address).name == f"operator:{NAME}"
    administer(built, session, "a", "192.0.2.250")
    body = StepUpBody(code=device.code(built))
    assert built.run(step_up_session, body, by=session, address="198.51.100.1").mfa == "totp"
    administer(built, session, "b", "198.51.100.200")
    assert code_of(partial(administer, built, session, "c")) == TOO_WEAK  # where it was before
    [shown] = built.run(list_sessions, by=session).items
    assert shown.network == "198.51.100.0/24"


def test_a_proof_is_good_for_so_many_acts(ticking: BuiltCell, clock: FixedClock) -> None:
    built = ticking
    built.cell.sign_in = SignIn(acts=3)
    session, device = operator(built)
    for name in "abc":
        administer(built, session, name)
    for _ in range(2):
        assert code_of(partial(administer, built, session, "d")) == TOO_WEAK
    built.run(read_audit, FIRST, by=session)  # to read is not administrative
    clock.advance(MINUTE)
    built.run(step_up_session, StepUpBody(code=device.code(built)), by=session)
    for name in "def":
        administer(built, session, name)
    assert code_of(partial(administer, built, session, "g")) == TOO_WEAK


def test_a_service_key_works_as_ever_or_not_at_all(built: BuiltCell) -> None:
    """`[identities] admin`: any, or operators."""
    service_id, service = built.principal("service", "ops", roles=["admin"])
    built.run(create_principal, a_service("a"), by=service)
    built.cell.sign_in = SignIn(admin="operators")
    assert code_of(lambda: built.run(create_principal, a_service("b"), by=service)) == "permission_denied"
    assert code_of(lambda: built.run(create_principal, a_service("b"), by=built.admin)) == (
        "insufficient_user_authentication"  # an operator's key: it could sign in
    )
    assert built.grant("customer.ssn")  # what services are for
    built.run(read_audit, FIRST, by=built.admin)
    session, _ = operator(built)
    built.run(create_principal, a_service("b"), by=session)
    assert service_id


def test_recovery_codes_stand_in_for_the_device_once_each(both: BuiltCell) -> None:
    session, _ = operator(both)
    codes = both.run(new_recovery_codes, by=session).codes
    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) == 24 for code in codes)
    assert log_in(both, code=codes[0]).mfa == "recovery"
    unhurried(both)
    assert code_of(lambda: log_in(both, code=codes[0])) == "login_refused"
    assert log_in(both, code=codes[1].lower().replace("-", " ")).mfa == "recovery"
    both.run(new_recovery_codes, by=session)
    assert code_of(lambda: log_in(both, code=codes[2])) == "login_refused"
    assert not any(code.replace("-", "") in repr(rows(both)) for code in codes)


def test_another_password_ends_the_other_sessions(both: BuiltCell) -> None:
    session, device = operator(both)
    other = log_in(both, code=device.code(both)).credential or ""
    new = "quartz meadow thimble"
    assert (
        code_of(lambda: both.run(change_password, PasswordBody("not the password", new), by=session))
        == "login_refused"
    )
    changed = both.run(change_password, PasswordBody(PASSWORD, new), by=session)
    assert (changed.totp, changed.sessions_ended) == (True, True)
    assert code_of(lambda: both.run(whoami, by=other)) == "credential_invalid"
    assert both.run(whoami, by=session).name == "operator:ada"
    code = device.code(both)
    assert code_of(lambda: log_in(both, code=code)) == "login_refused"
    assert log_in(both, code=code, password=new).mfa == "totp"


@pytest.mark.parametrize("new", ["short", "ada-ada-ada-ada", "passwordpassword"])
def test_a_bad_password_is_refused(built: BuiltCell, new: str) -> None:
    session, _ = operator(built)
    with pytest.raises(BadInput, match="password_"):
        built.run(change_password, PasswordBody(PASSWORD, new), by=session)
    with pytest.raises(BadInput, match="password_"):
        built.run(create_operator, OperatorBody("eve", new), by=HOST)


def test_a_device_that_is_not_confirmed_counts_for_nothing(built: BuiltCell) -> None:
    create(built)
    session = log_in(built).credential or ""
    assert code_of(lambda: built.run(confirm_totp, CodeBody("123456"), by=session)) == "version_conflict"
    begun = built.run(begin_totp, by=session)
    assert begun.uri.startswith("otpauth://totp/Coatcheck:ada%40main.eu?secret=" + begun.secret)
    device = Device(begun.secret)
    wrong = f"{(int(device.code(built)) + 1) % 1_000_000:06d}"
    assert code_of(lambda: built.run(confirm_totp, CodeBody(wrong), by=session)) == "code_invalid"
    assert log_in(built).enrol
    second = built.run(begin_totp, by=session)
    assert (
        code_of(lambda: built.run(confirm_totp, CodeBody(device.code(built)), by=session)) == "code_invalid"
    )
    built.run(confirm_totp, CodeBody(Device(second.secret).code(built)), by=session)
    assert code_of(lambda: log_in(built)) == "login_refused"


def test_a_second_factor_is_changed_by_one_that_is_fresh(ticking: BuiltCell, clock: FixedClock) -> None:
    built = ticking
    create(built)
    early = log_in(built).credential or ""  # by a password alone
    session = log_in(built).credential or ""
    enrol(built, session)
    for verb in (begin_totp, drop_totp, new_recovery_codes):
        assert code_of(lambda verb=verb: built.run(verb, by=early)) == "insufficient_user_authentication"
    clock.advance(16 * MINUTE)
    for verb in (begin_totp, drop_totp, new_recovery_codes):
        assert code_of(lambda verb=verb: built.run(verb, by=session)) == "insufficient_user_authentication"


def test_the_host_takes_second_factors_away(both: BuiltCell) -> None:
    session, _ = operator(both)
    both.run(new_recovery_codes, by=session)
    reset = both.run(reset_mfa, NAME, by=HOST)
    assert (reset.name, reset.password) == ("operator:ada", False)
    assert code_of(lambda: both.run(whoami, by=session)) == "credential_invalid"
    assert log_in(both).enrol
    [event] = both.events(kind="operator.reset-mfa")
    assert event["actor"].startswith("host:")
    both.run(reset_mfa, NAME, "quartz meadow thimble", by=HOST)
    assert code_of(lambda: log_in(both)) == "login_refused"
    assert log_in(both, password="quartz meadow thimble").enrol
    assert code_of(lambda: both.run(reset_mfa, "nobody", by=HOST)) == "not_found"
    [row] = [row for row in both.run(list_operators, by=HOST).items if row.name == "operator:ada"]
    assert (row.totp, row.passkeys, row.password is not None) == (False, False, True)


def test_an_operator_of_before_gets_its_password_once(built: BuiltCell) -> None:
    built.principal("operator", "grace", roles=["auditor"])
    with pytest.raises(Conflict, match="name_taken"):  # nobody holds more by this
        built.run(create_operator, OperatorBody("grace", PASSWORD, ["admin"]), by=HOST)
    made = built.run(create_operator, OperatorBody("grace", PASSWORD), by=HOST)
    assert made.roles == ["auditor"]
    assert log_in(built, "grace").enrol
    with pytest.raises(Conflict, match="name_taken"):
        built.run(create_operator, OperatorBody("grace", PASSWORD), by=HOST)


def test_who_is_removed_is_out(both: BuiltCell) -> None:
    session, device = operator(both)
    principal = both.run(whoami, by=session).principal
    both.run(remove_principal, principal, by=HOST)
    assert code_of(lambda: both.run(whoami, by=session)) == "credential_invalid"
    assert code_of(lambda: log_in(both, code=device.code(both))) == "login_refused"


def test_a_hash_of_a_smaller_cost_is_made_anew(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    create(built)
    larger = passwords.Argon2Parameters(2, 8192, 1)
    monkeypatch.setattr(proving, "RFC9106_LOW_MEMORY", larger)
    monkeypatch.setattr(passwords.hash_password, "__defaults__", (larger,))
    log_in(built)
    [row] = built.cell.store.read(built.cell.store.tables.passwords.select())
    assert "t=2" in row[1]
    log_in(built)
    assert built.cell.store.read(built.cell.store.tables.passwords.select()) == [row]


def test_whoever_guesses_waits_and_nobody_else(ticking: BuiltCell, clock: FixedClock) -> None:
    built, now = ticking, [0.0]
    built.cell.throttle = Throttle(lambda: now[0])
    _, device = operator(built)
    clock.advance(30 * SECOND)
    log_in(built, code=device.code(built), address="198.51.100.1")  # this network is known from now on
    guess = {"password": "not the password", "address": "203.0.113.9"}
    for _ in range(FREE):
        assert code_of(lambda: log_in(built, **guess)) == "login_refused"
    with pytest.raises(Unavailable) as refusal:
        log_in(built, **guess)
    assert (refusal.value.code, refusal.value.facts) == ("rate_limited", {"retry_after": 1})
    clock.advance(30 * SECOND)
    assert log_in(built, code=device.code(built), address="198.51.100.200").mfa == "totp"
    # From everywhere at once: the slow lane is full, and who is known goes past it.
    found = set()
    for number in range(60):
        guess["address"] = f"203.0.{number}.1"
        found.add(code_of(lambda: log_in(built, **guess)))
    assert found == {"login_refused", "rate_limited"}
    guess["address"] = "203.0.200.1"
    assert code_of(lambda: log_in(built, **guess)) == "rate_limited"
    clock.advance(30 * SECOND)
    assert log_in(built, code=device.code(built), address="198.51.100.77").mfa == "totp"
    now[0] += 61
    clock.advance(30 * SECOND)
    assert log_in(built, code=device.code(built), address="203.0.200.1").mfa == "totp"


def test_a_name_that_nobody_has_is_slowed_as_one_that_somebody_has(built: BuiltCell) -> None:
    for name in ("nobody", "x" * 200, "\ud800"):
        codes = [code_of(lambda name=name: log_in(built, name)) for _ in range(FREE + 1)]
        assert codes == ["login_refused"] * FREE + ["rate_limited"]


def test_an_operator_of_another_tenant_says_so_behind_its_name(built: BuiltCell) -> None:
    other = built.another_tenant("acme")
    create(built)
    create(other)
    here, there = log_in(built, "ada"), log_in(built, "ada@acme")
    assert [built.run(whoami, by=one.credential).tenant for one in (here, there)] == ["main", "acme"]
    assert log_in(built, "operator:ada@acme").principal == there.principal
    for name in ("ada@none", "ada@acme@acme", "ada@@acme", "@acme", "ada@ACME"):
        assert code_of(lambda name=name: log_in(built, name)) == "login_refused"
