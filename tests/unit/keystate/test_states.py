"""Key states: the table of transitions, pair by pair, and what a state allows."""

from __future__ import annotations

import itertools

import pytest

from vault.errors import Conflict
from vault.keystate.states import PROCESSES, PROTECTS, TRANSITIONS, KeyState, may_open, move

# From a row to a column. NIST SP 800-57 part 1 Rev. 5, section 7: a key never becomes usable again once it
# was deactivated or compromised, and nothing leads out of destroyed.
TABLE = """
             pre-active  active  suspended  deactivated  compromised  destroyed
pre-active       -         x         -           -            x           x
active           -         -         x           x            x           x
suspended        -         x         -           x            x           x
deactivated      -         -         -           -            x           x
compromised      -         -         -           -            -           x
destroyed        -         -         -           -            -           -
"""
PAIRS = list(itertools.product(KeyState, KeyState))


def table() -> dict[tuple[KeyState, KeyState], bool]:
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    return {
        (KeyState(row[0]), KeyState(to)): mark == "x"
        for row in rows
        for to, mark in zip(head, row[1:], strict=True)
    }


def test_the_table_is_complete() -> None:
    assert table().keys() == set(PAIRS)
    assert TRANSITIONS.keys() == set(KeyState)


@pytest.mark.parametrize(("now", "to"), PAIRS, ids=str)
def test_a_pair(now: KeyState, to: KeyState) -> None:
    if table()[now, to]:
        assert move(now, to) is to
        return
    with pytest.raises(Conflict) as refusal:
        move(now, to)
    assert (refusal.value.code, refusal.value.facts) == ("version_conflict", {"state": now.value})


def test_no_way_leads_back_to_use_and_every_way_ends_destroyed() -> None:
    reachable = {state: {state} for state in KeyState}
    for _ in KeyState:
        for state, found in reachable.items():
            reachable[state] = found.union(*(TRANSITIONS[other] for other in found))
    for retired in (KeyState.DEACTIVATED, KeyState.COMPROMISED, KeyState.DESTROYED):
        assert not reachable[retired] & PROTECTS
    assert not any(KeyState.PRE_ACTIVE in TRANSITIONS[state] for state in KeyState)
    assert all(KeyState.DESTROYED in found for found in reachable.values())
    assert reachable[KeyState.DESTROYED] == {KeyState.DESTROYED}


def test_what_a_state_allows() -> None:
    assert {KeyState.ACTIVE} == PROTECTS
    assert {KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED} == PROCESSES
    assert PROTECTS < PROCESSES


@pytest.mark.parametrize(("key", "period"), PAIRS, ids=str)
def test_a_key_opens_when_its_own_row_and_its_period_both_allow_it(key: KeyState, period: KeyState) -> None:
    usable = {"active", "deactivated", "compromised"}
    assert may_open(key, period) is (key.value in usable and period.value in usable)


def test_states_keep_their_spelling() -> None:
    """They stand in rows."""
    assert [state.value for state in KeyState] == TABLE.split("\n")[1].split()
    with pytest.raises(ValueError, match="Active"):
        KeyState("Active")
