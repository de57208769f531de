"""P2 of keyed grants: proofs, people, rates and delegations are exact, however many ask at once."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.cells import ADDRESS, NAME, SSN, BuiltCell, any_cell, reveal
from tests.support.holders import Holding, bound, new_signer
from tests.unit.services.calls import verifying
from vault.errors import CoatcheckError
from vault.policy.terms import Delegation, RateBody
from vault.services.audit import verify
from vault.services.detokenize import detokenize
from vault.services.grant_body import GrantBody, GrantLimits, Subjects
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import read_grant
from vault.services.grants import create_grant
from vault.services.kills import KillBody, lift_kill, set_kill
from vault.services.verify import VerifyBody
from vault.services.verify import verify as verify_token
from vault.wiring import perform

CONTENDERS: Final = 48
ROUNDS: Final = 50 if os.environ.get("COATCHECK_FULL") else 2
STOPS: Final = 1_000 if os.environ.get("COATCHECK_FULL") else 25


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as cell:
        yield cell
        verify(cell.cell.store)


def contend(asks: Sequence[Callable[[], object]]) -> Counter[str]:
    """Lets all ask at the same moment; how many were served, and how often which refusal."""
    start = threading.Barrier(len(asks))
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def contender(ask: Callable[[], object]) -> None:
        start.wait()
        try:
            ask()
            outcome = "served"
        except CoatcheckError as refusal:
            outcome = refusal.code
        with lock:
            outcomes[outcome] += 1

    threads = [threading.Thread(target=contender, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def keyed(built: BuiltCell, **more: object) -> Holding:
    """A grant over names with enough for everybody."""
    signer = new_signer()
    body = built.grant_body(NAME, bind=bound(signer))
    members: dict[str, Any] = {"limits": GrantLimits(10_000, 10), **more}
    made = built.run(create_grant, GrantBody(body.agent, "files", body.scope, bind=body.bind, **members))
    return Holding(made.id, signer)


def use(built: BuiltCell, holder: Holding, token: str | None) -> Callable[[], object]:
    """One use of a grant, to be made later."""
    return lambda: built.reveal(holder, NAME, token, purpose="files")


def test_one_proof_is_taken_once(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada")
    body = reveal(NAME, [token], purpose="files")
    for round_ in range(ROUNDS):
        holder = keyed(built)

        now = built.cell.clock.now()  # one proof is of one second

        def ask(holder: Holding = holder, jti: str = f"{round_:043}", now: int = now) -> object:
            request = holder.request(built, ADDRESS, None, jti=jti, at=now)
            return perform(built.cell, lambda: detokenize(built.cell, request, body))

        outcomes = contend([ask] * CONTENDERS)
        assert outcomes == {"served": 1, "proof_replayed": CONTENDERS - 1}
        assert built.run(read_grant, holder.grant).uses == 1


def test_no_more_people_than_k(built: BuiltCell) -> None:
    people = [f"cust-{number}" for number in range(CONTENDERS)]
    tokens = built.tokens(NAME, *people, subjects=[*people])
    for _ in range(ROUNDS):
        holder = keyed(built, subjects=Subjects(max_distinct=5))
        outcomes = contend([use(built, holder, token) for token in tokens])
        assert outcomes == {"served": 5, "budget_exhausted": CONTENDERS - 5}


def test_a_rate_holds_for_everybody_together(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada")
    for _ in range(ROUNDS):
        limits = GrantLimits(10_000, 1, RateBody(count=1, per_s=86_400, burst=7))
        holder = keyed(built, limits=limits)
        outcomes = contend([use(built, holder, token)] * CONTENDERS)
        assert outcomes == {"served": 7, "rate_limited": CONTENDERS - 7}


def test_a_delegation_counts_for_itself(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada")
    for _ in range(ROUNDS):
        holder = keyed(built, delegation=Delegation(2, 300))
        first = holder.hand_on(built.cell.clock.now(), uses=9)
        delegates = [first.hand_on(built.cell.clock.now(), uses=4) for _ in range(4)]
        outcomes = contend([use(built, delegates[number % 4], token) for number in range(CONTENDERS)])
        assert outcomes == {"served": 9, "budget_exhausted": CONTENDERS - 9}
        assert built.run(read_grant, holder.grant).uses == 9


def test_a_token_is_tried_no_more_often_than_k(built: BuiltCell) -> None:
    token = built.token(SSN, "123-45-6789")
    asked = VerifyBody("support", SSN, token, "123-45-6780", key_version=1)
    grant = verifying(built)  # five uses, and three tries of a token
    outcomes = contend([lambda: built.run(verify_token, asked, by=grant)] * CONTENDERS)
    assert outcomes == {"served": 3, "budget_exhausted": CONTENDERS - 3}


def work(
    once: Callable[[], object], returned: threading.Event, served: threading.Event, late: list[str]
) -> None:
    """Uses a grant until it is refused; notes what was served though it began after the stop had returned."""
    while True:
        began_after = returned.is_set()
        try:
            once()
        except CoatcheckError as refusal:
            if refusal.code not in ("grant_invalid", "grant_suspended"):
                late.append(refusal.code)
            return
        served.set()
        if began_after:
            late.append("served")
            return


@pytest.mark.parametrize("how", ["revoke", "kill"])
def test_nothing_starts_after_a_stop_returned(built: BuiltCell, how: str) -> None:
    """P8: hot workers; each use that began after the call had returned is refused."""
    token = built.token(NAME, "Ada")
    late: list[str] = []
    for _ in range(STOPS):
        holder = keyed(built)
        returned, served = threading.Event(), threading.Event()
        once = use(built, holder, token)
        workers = [threading.Thread(target=work, args=(once, returned, served, late)) for _ in range(3)]
        for worker in workers:
            worker.start()
        assert served.wait(30)
        kill = None
        if how == "revoke":
            built.run(revoke_grant, holder.grant, ChangeBody())
        else:
            kill = built.run(set_kill, KillBody(agent="demo"), by=built.admin)
        returned.set()
        for worker in workers:
            worker.join(30)
            assert not worker.is_alive()
        if kill is not None:
            built.run(lift_kill, kill.id, by=built.admin)
    assert late == []
