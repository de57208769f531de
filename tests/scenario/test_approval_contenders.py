"""Approvals are exact: one request has one, it is spent once, and nothing overtakes what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.test_keyed_contenders import contend
from tests.support.cells import NAME, BuiltCell, any_cell
from tests.support.holders import Holding
from tests.support.operators import cheapen
from tests.unit.services.test_approvals import ask, decide, holding, officer, shown, wanted
from vault.errors import CoatcheckError, Denied
from vault.policy.approval import Approval, When
from vault.policy.terms import Delegation
from vault.services.approvals import DecideBody, approve, deny
from vault.services.audit import verify
from vault.services.grant_changes import ChangeBody, NarrowBody, narrow_grant, revoke_grant
from vault.services.grant_views import read_grant
from vault.services.kills import KillBody, lift_kill, set_kill

CONTENDERS = 32


@pytest.fixture(params=["sqlite", "postgresql"])
def built(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BuiltCell]:
    cheapen(monkeypatch)
    with any_cell(request.param, tmp_path) as cell:
        yield cell
        verify(cell.cell.store)


def rows(built: BuiltCell) -> list[Any]:
    return built.cell.store.read(built.cell.store.tables.approvals.select())


def use(built: BuiltCell, held: Holding, token: str) -> Callable[[], object]:
    return lambda: ask(built, held, token)


def decision(built: BuiltCell, verb: Any, need: dict[str, Any], by: str, digest: str) -> Callable[[], object]:
    return lambda: built.run(verb, need["id"], DecideBody(digest), by=by)


def test_the_same_request_asks_once_and_is_served_once(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built, uses=1_000)
    assert contend([use(built, held, token)] * CONTENDERS) == {"approval_required": CONTENDERS}
    assert len(rows(built)) == 1
    need = wanted(built, held, token)
    decide(built, approve, need["id"], olga)
    outcomes = contend([use(built, held, token)] * CONTENDERS)
    assert outcomes == {"served": 1, "approval_required": CONTENDERS - 1}
    assert built.run(read_grant, held.grant).uses == 1
    assert len(rows(built)) == 2


def test_two_at_once_are_two(built: BuiltCell) -> None:
    people, token = [officer(built, name) for name in ("olga", "oscar")], built.token(NAME, "Ada", "c1")
    held = holding(built, approval=Approval(["role:privacy-officer"], 2, When(op="reveal")))
    need = wanted(built, held, token)
    digest = str(shown(built, need["id"], people[0]).digest)
    asks = [decision(built, approve, need, who, digest) for who in people for _ in range(4)]
    assert contend(asks) == {"served": 8}  # the same person again changes nothing
    found = shown(built, need["id"], people[0])
    assert (found.state, found.have) == ("approved", 2)
    assert len(built.events(0, "approval.approve")) == 2


def test_one_approves_and_another_denies(built: BuiltCell) -> None:
    olga, oscar, token = officer(built), officer(built, "oscar"), built.token(NAME, "Ada", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    digest = str(shown(built, need["id"], olga).digest)
    asks = [decision(built, approve, need, olga, digest), decision(built, deny, need, oscar, digest)]
    assert contend(asks) == {"served": 1, "version_conflict": 1}
    state = shown(built, need["id"], olga).state
    if state == "approved":
        assert ask(built, held, token) == ["Ada"]
    else:
        with pytest.raises(Denied, match="approval_denied"):
            ask(built, held, token)


@pytest.mark.parametrize("how", ["revoke", "narrow"])
def test_nothing_is_served_after_what_ends_it_returned(built: BuiltCell, how: str) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    for _ in range(6):
        held = holding(built)
        need = wanted(built, held, token)
        digest = str(shown(built, need["id"], olga).digest)
        ended = threading.Event()
        late: list[str] = []

        def end(held: Holding = held, ended: threading.Event = ended) -> None:
            if how == "revoke":
                built.run(revoke_grant, held.grant, ChangeBody())
            else:
                built.run(narrow_grant, held.grant, NarrowBody(1, uses=5))
            ended.set()

        def try_it(held: Holding = held, ended: threading.Event = ended, late: list[str] = late) -> None:
            while True:
                began_after = ended.is_set()
                try:
                    ask(built, held, token)
                except CoatcheckError as refusal:
                    if refusal.code == "approval_required" and not began_after:
                        continue
                    return
                if began_after:
                    late.append("served")
                return

        asks = [end, try_it, decision(built, approve, need, olga, digest)]
        contend(asks)
        assert late == []
        assert shown(built, need["id"], olga).state in ("void", "used")


def test_a_kill_switch_between_approval_and_use(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    decide(built, approve, need["id"], olga)
    kill = built.run(set_kill, KillBody(agent="demo"), by=built.admin)
    with pytest.raises(CoatcheckError, match="grant_suspended"):
        ask(built, held, token)
    built.run(lift_kill, kill.id, by=built.admin)
    assert ask(built, held, token) == ["Ada"]  # it was not spent


def test_a_delegate_needs_its_own(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built, delegation=Delegation(1, 300))
    need = wanted(built, held, token)
    decide(built, approve, need["id"], olga)
    delegate = held.hand_on(built.cell.clock.now(), uses=2)
    assert wanted(built, delegate, token)["id"] != need["id"]
    assert ask(built, held, token) == ["Ada"]


def test_a_restart_forgets_nothing(built: BuiltCell) -> None:
    """What a process remembers of a grant, a key or a session is no part of it."""
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    built.cell.forget()
    assert wanted(built, held, token)["id"] == need["id"]
    decide(built, approve, need["id"], olga)
    built.cell.forget()
    assert ask(built, held, token) == ["Ada"]
