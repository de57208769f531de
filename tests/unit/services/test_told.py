"""What is told of a value that is not shown: parts of it, tests that it passes, and comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import EMAIL, NAME, SCHEMA, SSN, BuiltCell, any_cell, reveal
from vault.clock import DAY, FixedClock, parse_time, utc_date
from vault.errors import CoatcheckError
from vault.policy.grant import Derived, ScopeEntry
from vault.policy.principal import Ceiling
from vault.services.detokenize import DetokenizeBody, DetokenizeItem, detokenize
from vault.services.grant_body import GrantBody, GrantLimits, Subjects
from vault.services.grant_changes import NarrowBody, narrow_grant
from vault.services.grants import create_grant
from vault.services.identities import PrincipalBody, create_principal
from vault.services.verify import VerifyBody, verify

BORN = "customer.birthdate"
DATES = (
    SCHEMA
    + """
[fields."customer.birthdate"]
template = "date"
protection = "vaulted"
retention = "customer"
"""
)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(parse_time("2026-11-23T14:00:00Z"))


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> Iterator[BuiltCell]:
    if request.param == "postgresql":
        with any_cell("postgresql", tmp_path) as cell:
            yield _with_dates(cell)
    else:
        with any_cell("sqlite", tmp_path, clock=clock) as cell:
            yield _with_dates(cell)


def _with_dates(built: BuiltCell) -> BuiltCell:
    """A cell with a field of dates, and a service that may give grants over it."""
    built.apply(DATES)
    ceiling = Ceiling(
        fields=[BORN, EMAIL, NAME, SSN],
        operations=["reveal", "mask", "derive", "verify"],
        deliveries=["plain"],
        purposes=["support"],
        agents=["agent:demo"],
        uses=1_000,
        ttl="P30D",
    )
    body = PrincipalBody(
        "service",
        "teller",
        permissions=["grant:create:support", *(f"tokenize:{name}" for name in ceiling.fields)],
        ceiling=ceiling,
    )
    made = built.run(create_principal, body, by=built.admin)
    built.service, built.service_id = built.key(made.id), made.id
    return built


def scoped(built: BuiltCell, *scope: ScopeEntry, **more: Any) -> str:
    made = built.run(create_grant, GrantBody("agent:demo", "support", list(scope), **more))
    assert made.credential is not None
    return made.credential


def derived(
    built: BuiltCell, credential: str, field: str, token: str, fn: str, arg: int | None = None
) -> Any:
    body = reveal(field, [token], operation="derive", derive=Derived(fn, arg))
    values = built.run(detokenize, body, by=credential).values
    assert isinstance(values, list)
    return values[0]


def code_of(work: Any) -> tuple[str, Any]:
    with pytest.raises(CoatcheckError) as found:
        work()
    return found.value.code, found.value.facts.get("member")


def entry(field: str, *functions: Derived) -> ScopeEntry:
    return ScopeEntry([field], ["derive"], ["plain"], derive=list(functions))


def test_an_age_is_told_and_no_birthday(built: BuiltCell) -> None:
    today = built.cell.clock.now()
    day = utc_date(today)
    grown, tomorrow = day.replace(year=day.year - 18), utc_date(today + DAY).replace(year=day.year - 18)
    tokens = [built.token(BORN, date.isoformat()) for date in (grown, tomorrow)]
    grant = scoped(built, entry(BORN, Derived("age_at_least", 18)), limits=GrantLimits(10))
    assert derived(built, grant, BORN, tokens[0], "age_at_least", 18) is True
    assert derived(built, grant, BORN, tokens[1], "age_at_least", 18) is False
    assert code_of(lambda: derived(built, grant, BORN, tokens[0], "age_at_least", 17)) == (
        "scope_denied",
        "field",
    )
    assert code_of(lambda: derived(built, grant, BORN, tokens[0], "year")) == ("scope_denied", "field")
    assert code_of(lambda: built.reveal(grant, BORN, tokens[0])) == ("scope_denied", "field")
    event = built.events(kind="detokenize")[0]
    assert (event["operation"], event["derive"]) == ("derive", "age_at_least")


def test_parts_are_told(built: BuiltCell) -> None:
    born, mail = built.token(BORN, "1988-02-29"), built.token(EMAIL, "ada@example.com", "cust-1")
    number = built.token(SSN, "123-45-6789")
    grant = scoped(
        built,
        entry(BORN, Derived("year")),
        entry(EMAIL, Derived("domain")),
        entry(SSN, Derived("last4")),
        limits=GrantLimits(10),
    )
    assert derived(built, grant, BORN, born, "year") == "1988"
    assert derived(built, grant, EMAIL, mail, "domain") == "example.com"
    assert derived(built, grant, SSN, number, "last4") == "6789"


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (entry(NAME, Derived("year")), ("operation_unsupported", "derive")),
        (entry(BORN, Derived("shoe_size")), ("operation_unsupported", "derive")),
        (entry(BORN, Derived("age_at_least")), ("limit_invalid", "arg")),
        (entry(BORN, Derived("year", 3)), ("limit_invalid", "arg")),
        (entry(BORN, Derived("age_at_least", 0)), ("limit_invalid", "arg")),
        (entry(BORN), ("member_missing", "derive")),
        (ScopeEntry([BORN], ["reveal"], ["plain"], derive=[Derived("year")]), ("member_missing", "derive")),
        (entry(BORN, *(Derived("age_at_least", age) for age in (16, 18, 21))), ("limit_invalid", "derive")),
    ],
)
def test_what_cannot_be_asked_is_refused_when_the_grant_is_made(
    built: BuiltCell, scope: ScopeEntry, code: tuple[str, str]
) -> None:
    assert code_of(lambda: scoped(built, scope)) == code


def check(built: BuiltCell, grant: str, field: str, token: str, candidate: str, **more: Any) -> Any:
    return built.run(verify, VerifyBody("support", field, token, candidate, **more), by=grant)


def test_a_candidate_is_compared_and_tries_run_out(built: BuiltCell) -> None:
    token, other = (built.token(EMAIL, f"{name}@example.com", name) for name in ("ada", "grace"))
    grant = scoped(built, ScopeEntry([EMAIL], ["verify"], []), limits=GrantLimits(20))
    wrong = check(built, grant, EMAIL, token, "grace@example.com")
    assert (wrong.match, wrong.attempts_left) == (False, 2)
    right = check(built, grant, EMAIL, token, "ada@example.com")
    assert (right.match, right.attempts_left) == (True, 1)
    assert check(built, grant, EMAIL, token, "no address at all").match is False
    assert code_of(lambda: check(built, grant, EMAIL, token, "ada@example.com")) == (
        "budget_exhausted",
        "verify_attempts",
    )
    assert check(built, grant, EMAIL, other, "grace@example.com").match is True
    another = scoped(built, ScopeEntry([EMAIL], ["verify"], []), limits=GrantLimits(5, verify_attempts=1))
    assert check(built, another, EMAIL, token, "ada@example.com").attempts_left == 0
    assert code_of(lambda: check(built, another, EMAIL, token, "ada@example.com"))[1] == "verify_attempts"
    assert code_of(lambda: built.reveal(grant, EMAIL, token)) == ("scope_denied", "field")
    assert "candidate" not in str(built.events(kind="verify"))


def test_vaultless_tokens_are_compared_too_and_an_unknown_one_costs_a_use(built: BuiltCell) -> None:
    token = built.token(SSN, "123-45-6789")
    grant = scoped(built, ScopeEntry([SSN, NAME], ["verify"], []), limits=GrantLimits(20))
    assert check(built, grant, SSN, token, "123-45-6789", key_version=1).match is True
    assert check(built, grant, SSN, token, "123-45-6780", key_version=1).match is False
    unknown = "tok_" + "a" * 26
    assert code_of(lambda: check(built, grant, NAME, unknown, "Ada"))[0] == "token_unknown"
    assert [event["charged"] for event in built.events(kind="verify")] == [1, 1, 1]


def test_all_spellings_of_a_token_share_its_tries(built: BuiltCell) -> None:
    token = built.token(SSN, "123-45-6789")
    grant = scoped(built, ScopeEntry([SSN], ["verify"], []), limits=GrantLimits(20))
    spelled = (token, token.replace("-", ""), token)
    left = [check(built, grant, SSN, one, "123-45-6780", key_version=1).attempts_left for one in spelled]
    assert left == [2, 1, 0]
    again = code_of(lambda: check(built, grant, SSN, spelled[1], "123-45-6789", key_version=1))
    assert again == ("budget_exhausted", "verify_attempts")


def test_a_grant_is_not_narrowed_to_another_function(built: BuiltCell) -> None:
    """Whoever could change the age that is asked for would find the birthday by halves."""
    scope = [entry(BORN, Derived("age_at_least", 18), Derived("year")), ScopeEntry([NAME], ["verify"], [])]
    made = built.run(create_grant, GrantBody("agent:demo", "support", scope))
    for other in ([Derived("age_at_least", 21)], [Derived("year"), Derived("month")]):
        body = NarrowBody(version=1, scope=[entry(BORN, *other)])
        assert code_of(lambda body=body: built.run(narrow_grant, made.id, body)) == (
            "widening_refused",
            "scope",
        )
    left = [entry(BORN, Derived("age_at_least", 18)), ScopeEntry([NAME], ["verify"], [])]
    assert built.run(narrow_grant, made.id, NarrowBody(version=1, scope=left)).scope == left


def test_verify_has_a_route_of_its_own(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada")
    grant = scoped(built, ScopeEntry([NAME], ["verify"], []), limits=GrantLimits(2))
    body = reveal(NAME, [token], operation="verify")
    assert code_of(lambda: built.run(detokenize, body, by=grant)) == ("operation_unsupported", "operation")
    assert code_of(lambda: check(built, built.grant(NAME), NAME, token, "Ada"))[0] in (
        "scope_denied",
        "delegation_denied",
    )


def compared(built: BuiltCell, credential: str, field: str, *tokens: str | None, **more: Any) -> Any:
    body = reveal(field, list(tokens), operation="derive", derive=Derived("equals"), **more)
    return built.run(detokenize, body, by=credential).values


def test_two_tokens_are_compared_and_nothing_is_shown(built: BuiltCell) -> None:
    """Random tokens of one value differ."""
    ada, again, grace = (
        built.token(NAME, name, person)
        for name, person in (("Ada", "cust-1"), ("Ada", "cust-2"), ("Grace", "cust-3"))
    )
    assert ada != again
    grant = scoped(built, entry(NAME, Derived("equals")), limits=GrantLimits(20, verify_attempts=9))
    assert compared(built, grant, NAME, ada, again) == [True, True]
    assert compared(built, grant, NAME, ada, grace) == [False, False]
    assert compared(built, grant, NAME, ada, ada) == [True, True]
    event = built.events(kind="detokenize")[-1]
    assert (event["derive"], event["charged"], event["outcome"]) == ("equals", 2, "allowed")
    assert code_of(lambda: built.reveal(grant, NAME, ada)) == ("scope_denied", "field")


def test_comparisons_are_tries_of_both_tokens(built: BuiltCell) -> None:
    """Else whoever can make tokens of guesses finds a value by comparing."""
    victim, *guesses = (built.token(SSN, f"123-45-678{digit}") for digit in range(5))
    grant = scoped(
        built,
        ScopeEntry([SSN], ["derive", "verify"], ["plain"], derive=[Derived("equals")]),
        limits=GrantLimits(40, verify_attempts=3),
    )
    assert compared(built, grant, SSN, guesses[0], victim) == [False, False]
    assert compared(built, grant, SSN, victim, guesses[1]) == [False, False]
    assert check(built, grant, SSN, victim, "123-45-6789", key_version=1).attempts_left == 0
    assert code_of(lambda: compared(built, grant, SSN, guesses[2], victim)) == (
        "budget_exhausted",
        "verify_attempts",
    )
    assert compared(built, grant, SSN, guesses[2], guesses[3]) == [False, False]


def test_without_both_values_nothing_is_told(built: BuiltCell) -> None:
    ada, mail = built.token(NAME, "Ada", "cust-1"), built.token(EMAIL, "ada@example.com", "cust-1")
    grant = scoped(built, entry(NAME, Derived("equals")), limits=GrantLimits(20))
    unknown = ada[:-1] + ("A" if ada[-1] != "A" else "E")
    for tokens in ([ada], [ada, None], [ada, ada, ada], []):
        found = code_of(lambda given=tokens: compared(built, grant, NAME, *given))
        assert found[0] in ("pair_required", "batch_empty", "member_missing"), found
    items = [DetokenizeItem(NAME, ada), DetokenizeItem(EMAIL, mail)]
    both = DetokenizeBody("support", "derive", derive=Derived("equals"), items=items)
    assert code_of(lambda: built.run(detokenize, both, by=grant))[0] == "pair_required"
    with pytest.raises(CoatcheckError):
        compared(built, grant, NAME, ada, unknown)
    told = compared(built, grant, NAME, ada, unknown, on_error="report")
    assert [one.error.code for one in told] == ["token_unknown", "token_unknown"]
    narrow = scoped(
        built, entry(NAME, Derived("equals")), subjects=Subjects(["cust-1"]), limits=GrantLimits(20)
    )
    other = built.token(NAME, "Ada", "cust-2")
    assert code_of(lambda: compared(built, narrow, NAME, ada, other))[0] == "token_unknown"
