"""The table of codes and the tree of errors agree, and an error says nothing of its own accord."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle

import pytest

from vault import codes
from vault.codes import CODES, Exit
from vault.errors import FAMILIES, BadInput, CoatcheckError, Stale, ValueRefused, error

STATUSES_OF_EXIT = {
    Exit.USAGE: {0},
    Exit.BAD_INPUT: {400, 405, 406, 408, 413, 415, 422},
    Exit.NOT_AUTHENTICATED: {401},
    Exit.DENIED: {403, 423},
    Exit.UNKNOWN: {404, 410},
    Exit.CONFLICT: {0, 409},
    Exit.UNAVAILABLE: {0, 421, 429, 503},
    Exit.INTEGRITY: {0, 422, 500},
    Exit.CONFIG: {0},
    Exit.INTERNAL: {500},
}
RETRIES = {"never", "after_seconds", "with_new_grant", "after_approval", "after_step_up", "elsewhere"}


@pytest.mark.parametrize("code", CODES)
def test_a_code_makes_an_error_of_its_family(code: str) -> None:
    made = error(code)
    row = CODES[code]
    assert type(made) is FAMILIES[row.exit]
    assert made.code == code
    assert made.row is row
    assert made.facts == {}
    assert str(made) == f"{code}: {row.sentence}"


@pytest.mark.parametrize("code", CODES)
def test_a_row_is_consistent(code: str) -> None:
    row = CODES[code]
    assert row.status in STATUSES_OF_EXIT[row.exit]
    assert row.retry in RETRIES
    if row.status in {429, 503}:
        assert row.retry == "after_seconds"


def test_no_code_is_given_twice() -> None:
    """Rows are merged into one dict, where a second row of the same code would win silently."""
    named = [
        keyword.arg
        for node in ast.walk(ast.parse(inspect.getsource(codes)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_rows"
        for keyword in node.keywords
        if keyword.arg != "retry"
    ]
    assert sorted(map(str, named)) == sorted(CODES)


def test_exit_classes_are_the_published_ones() -> None:
    assert {exit_.name: int(exit_) for exit_ in Exit} == {
        "OK": 0,
        "USAGE": 2,
        "BAD_INPUT": 3,
        "NOT_AUTHENTICATED": 4,
        "DENIED": 5,
        "UNKNOWN": 6,
        "CONFLICT": 7,
        "PARTIAL": 8,
        "UNAVAILABLE": 9,
        "INTEGRITY": 10,
        "CONFIG": 11,
        "INTERNAL": 70,
    }
    assert set(FAMILIES) == set(Exit) - {Exit.OK, Exit.PARTIAL}


def test_every_family_is_in_the_tree() -> None:
    for family in (*FAMILIES.values(), ValueRefused):
        assert issubclass(family, CoatcheckError)
        assert family.__doc__
    assert issubclass(ValueRefused, BadInput)


def test_facts_are_fields_and_stay_out_of_the_text() -> None:
    made = error("misdirected_region", region="us", url="https://us.vault.example", retry_after=3)
    assert made.facts == {"region": "us", "url": "https://us.vault.example", "retry_after": 3}
    assert "us.vault.example" not in str(made)
    assert "us.vault.example" not in repr(made)


def test_a_fact_may_have_any_name() -> None:
    assert error("internal", code="x", self="y").facts == {"code": "x", "self": "y"}


@pytest.mark.parametrize("make", [error, BadInput, CoatcheckError])
def test_an_unknown_code_is_refused_when_the_error_is_made(make: type[CoatcheckError]) -> None:
    with pytest.raises(LookupError) as refusal:
        make("123-45-6789")
    assert "123-45-6789" not in str(refusal.value)
    assert refusal.value.__context__ is None


def test_an_error_survives_pickle_and_copy() -> None:
    made = error("value_length", index=3)
    for twin in (pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert type(twin) is type(made)
        assert (twin.code, twin.facts, str(twin)) == (made.code, made.facts, str(made))


def test_a_hint_is_cut_from_its_sentence() -> None:
    row = CODES["not_initialised"]
    assert row.sentence == "There is no cell here yet."
    assert row.hint == "Run `coatcheck init` first."
    assert CODES["internal"].hint == ""


def test_stale_is_no_answer_to_a_caller() -> None:
    assert not issubclass(Stale, CoatcheckError)
