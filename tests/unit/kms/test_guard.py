"""The guard: deadlines, retries, one flight for one question, the breaker, and what is counted of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from vault.errors import CoatcheckError, IntegrityError, Misconfigured, Unavailable
from vault.kms.breaker import Breaker, BreakerState
from vault.kms.guard import PASSING, TROUBLE, Guard, GuardLimits
from vault.kms.provider import CAUSES, Destruction, away
from vault.secret import Secret

QUICK = GuardLimits(deadline_s=0.5, attempts=3, failures=4, open_s=0.3, probe_s=0.05)
HALF = bytes(range(32))


class Scripted:
    """A provider that does as told; `script` gives what the next calls do, then they go well."""

    destroy_means = "nothing is destroyed"
    remote = True

    def __init__(self, *script: Callable[[], None]) -> None:
        self.script = list(script)
        self.calls = 0
        self.closed = False

    def _act(self) -> None:
        self.calls += 1
        if self.script:
            self.script.pop(0)()

    def create_root(self, version: int) -> None:
        self._act()

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        self._act()
        return b"wrapped"

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        self._act()
        return Secret(HALF)

    def destroy_root(self, version: int) -> Destruction:
        self._act()
        return Destruction(version, "it")

    def probe(self, version: int) -> None:
        self._act()

    def close(self) -> None:
        self.closed = True


def fails(cause: str) -> Callable[[], None]:
    def act() -> None:
        raise away(cause)

    return act


def raises(problem: Exception) -> Callable[[], None]:
    def act() -> None:
        raise problem

    return act


def hang(gate: threading.Event) -> Callable[[], None]:
    def act() -> None:
        gate.wait(30)

    return act


def refusal(use: Callable[[], object]) -> CoatcheckError:
    began = time.monotonic()
    with pytest.raises(CoatcheckError) as refused:
        use()
    assert time.monotonic() - began < QUICK.deadline_s + 0.5
    return refused.value


def test_what_goes_well_is_passed_on() -> None:
    provider = Scripted()
    guard = Guard(provider, QUICK)
    guard.create_root(1)
    guard.probe(1)
    assert guard.wrap(1, Secret(HALF), b"") == b"wrapped"
    assert guard.unwrap(1, b"wrapped", b"").expose() == HALF
    assert guard.destroy_root(1) == Destruction(1, "it")
    assert (guard.destroy_means, guard.remote) == ("nothing is destroyed", True)
    assert provider.calls == 5
    guard.close()
    assert provider.closed


@pytest.mark.parametrize("cause", sorted(PASSING))
def test_what_may_pass_is_tried_again(cause: str) -> None:
    provider = Scripted(fails(cause), fails(cause))
    assert Guard(provider, QUICK).wrap(1, Secret(HALF), b"") == b"wrapped"
    assert provider.calls == 3


@pytest.mark.parametrize("cause", sorted(PASSING))
def test_attempts_are_few(cause: str) -> None:
    provider = Scripted(*[fails(cause)] * 9)
    problem = refusal(lambda: Guard(provider, QUICK).probe(1))
    assert (problem.code, problem.facts["cause"], problem.facts["retry_after"]) == (
        "key_unavailable",
        cause,
        1,
    )
    assert provider.calls == 3


@pytest.mark.parametrize("cause", sorted(set(CAUSES) - PASSING - {"open", "busy"}))
def test_what_does_not_pass_is_asked_once(cause: str) -> None:
    provider = Scripted(*[fails(cause)] * 9)
    assert refusal(lambda: Guard(provider, QUICK).probe(1)).facts["cause"] == cause
    assert provider.calls == 1


@pytest.mark.parametrize("problem", [IntegrityError("ciphertext_invalid"), Misconfigured("config_invalid")])
def test_an_answer_is_no_trouble(problem: CoatcheckError) -> None:
    provider = Scripted(*[raises(problem)] * 9)
    guard = Guard(provider, QUICK)
    for _ in range(9):
        assert refusal(lambda: guard.unwrap(1, b"", b"")).code == problem.code
    assert provider.calls == 9
    assert guard.standing().breaker is BreakerState.CLOSED


def test_a_call_that_hangs_ends_at_its_deadline() -> None:
    gate = threading.Event()
    guard = Guard(Scripted(hang(gate)), QUICK)
    began = time.monotonic()
    assert refusal(lambda: guard.probe(1)).facts["cause"] == "deadline"
    assert time.monotonic() - began >= QUICK.deadline_s
    guard.probe(1)  # the next one is not held up by it
    gate.set()


def test_attempts_and_pauses_share_one_deadline() -> None:
    limits = GuardLimits(deadline_s=0.5, attempts=9)

    class Slow(Scripted):
        def _act(self) -> None:
            self.calls += 1
            time.sleep(0.2)
            raise away("unreachable")

    slow = Slow()
    refusal(lambda: Guard(slow, limits).probe(1))
    assert 1 < slow.calls < 5


def test_too_many_that_hang_are_not_added_to() -> None:
    gate = threading.Event()
    guard = Guard(
        Scripted(*[hang(gate)] * 9), GuardLimits(deadline_s=0.05, attempts=1, failures=99, hanging=3)
    )
    causes = [refusal(lambda: guard.wrap(1, Secret(HALF), b"")).facts["cause"] for _ in range(5)]
    assert causes == ["deadline"] * 3 + ["busy"] * 2
    gate.set()
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            guard.probe(1)
        except Unavailable:
            time.sleep(0.01)
        else:
            break
    guard.probe(1)


def test_what_a_library_raises_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard(Scripted(*[raises(ValueError("hvs.secret"))] * 9), QUICK)
    problem = refusal(lambda: guard.probe(1))
    assert (problem.code, problem.facts["cause"]) == ("key_unavailable", "failed")
    assert "hvs.secret" not in f"{problem!r} {problem.facts} {caplog.text}"
    assert problem.__cause__ is None


def test_one_question_is_asked_once_however_many_ask_it() -> None:
    gate, provider = threading.Event(), Scripted()
    provider.script = [hang(gate)]
    guard = Guard(provider, GuardLimits(deadline_s=5))
    found: list[Secret] = []
    threads = [threading.Thread(target=lambda: found.append(guard.unwrap(1, b"w", b"c"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    gate.set()
    for thread in threads:
        thread.join()
    assert provider.calls == 1
    assert [half.expose() for half in found] == [HALF] * 8
    found[0].wipe()
    assert found[1].expose() == HALF  # each has its own
    guard.unwrap(1, b"w", b"another")
    assert provider.calls == 2


def test_those_who_share_a_flight_share_its_failure_and_not_its_traceback() -> None:
    gate, provider = threading.Event(), Scripted()

    def fail() -> None:
        gate.wait(5)
        raise away("denied")

    provider.script = [fail]
    guard = Guard(provider, GuardLimits(deadline_s=5))
    problems: list[CoatcheckError] = []

    def ask() -> None:
        try:
            guard.probe(1)
        except CoatcheckError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    gate.set()
    for thread in threads:
        thread.join()
    assert [problem.facts["cause"] for problem in problems] == ["denied"] * 4
    assert len({id(problem) for problem in problems}) == 4
    assert provider.calls == 1


def test_the_breaker_opens_lets_one_through_and_closes() -> None:
    provider = Scripted(*[fails("unreachable")] * 5)
    guard = Guard(provider, QUICK)
    for _ in range(2):
        refusal(lambda: guard.probe(1))
    assert provider.calls == 4  # the fourth opens it, in the second call's first attempt
    assert guard.standing().breaker is BreakerState.OPEN
    problem = refusal(lambda: guard.probe(1))
    assert (problem.facts["cause"], provider.calls) == ("open", 4)
    assert problem.facts["retry_after"] == 1
    time.sleep(QUICK.open_s)
    assert guard.standing().breaker is BreakerState.HALF_OPEN
    refusal(lambda: guard.probe(1))  # the one that is let through fails, and is not tried again
    assert (provider.calls, guard.standing().breaker) == (5, BreakerState.OPEN)
    time.sleep(QUICK.open_s)
    guard.probe(1)
    assert (guard.standing().cause, guard.standing().breaker) == ("", BreakerState.CLOSED)


def test_half_open_lets_one_through_at_a_time() -> None:
    now = [0.0]
    breaker = Breaker(2, 10, lambda: now[0])
    for _ in range(2):
        breaker.admit()
        breaker.failed()
    with pytest.raises(Unavailable):
        breaker.admit()
    assert breaker.retry_after() == 11
    now[0] = 10
    breaker.admit()
    with pytest.raises(Unavailable):
        breaker.admit()
    breaker.answered()
    breaker.admit()
    assert breaker.state is BreakerState.CLOSED


def test_causes_about_one_key_open_no_breaker() -> None:
    guard = Guard(Scripted(*[fails("missing"), fails("disabled"), fails("denied")] * 9), QUICK)
    for _ in range(27):
        refusal(lambda: guard.probe(1))
    assert guard.standing().breaker is BreakerState.CLOSED
    assert set(CAUSES) > TROUBLE > PASSING


def test_everything_is_counted() -> None:
    guard = Guard(Scripted(fails("throttled"), lambda: None, fails("denied")), QUICK)
    guard.wrap(1, Secret(HALF), b"")
    refusal(lambda: guard.wrap(1, Secret(HALF), b""))
    figures = guard.figures()
    assert figures.calls == {("wrap", "throttled"): 1, ("wrap", "ok"): 1, ("wrap", "denied"): 1}
    buckets, seconds = figures.times["wrap"]
    assert buckets[-1] == ("+Inf", 3)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert 0 < seconds < 5
    assert guard.standing().cause == "denied"


def test_it_is_looked_at_until_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    provider = Scripted(lambda: None, fails("denied"), fails("denied"))
    guard = Guard(provider, QUICK, "eu")
    told: list[str] = []
    guard.watch(lambda: [1], lambda standing: told.append(standing.cause))
    until = time.monotonic() + 10
    while len(told) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    guard.close()
    assert told[:4] == ["", "denied", "denied", ""]
    texts = [record.message for record in caplog.records]
    assert texts == ["the key store does not serve", "the key store serves again"]
    calls = provider.calls
    time.sleep(0.2)
    assert provider.calls == calls


def test_a_cause_must_be_known() -> None:
    with pytest.raises(LookupError):
        away("weather")
