"""P2: `uses: K` yields at most K plaintexts, however many ask at once."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support.cells import NAME, SSN, BuiltCell, any_cell
from vault.errors import CoatcheckError
from vault.policy.decision import Decision, Standing, UseRequest
from vault.policy.grant import Grant
from vault.services import deciding as module
from vault.services.audit import verify
from vault.services.grant_views import read_grant

CONTENDERS: Final = 256
ROUNDS: Final = 200 if os.environ.get("COATCHECK_FULL") else 5
VALUE: Final = "123-45-6789"


def contend(built: BuiltCell, credential: str, ask: Callable[[], int]) -> Counter[str]:
    """Lets everybody ask at the same moment; how many values were given, and how often which refusal."""
    start = threading.Barrier(CONTENDERS)
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def contender() -> None:
        start.wait()
        try:
            given = {"values": ask(), "requests": 1}
        except CoatcheckError as refusal:
            given = {refusal.code: 1}
        with lock:
            outcomes.update(given)

    threads = [threading.Thread(target=contender) for _ in range(CONTENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def uses(built: BuiltCell, credential: str) -> tuple[int, int]:
    """A grant's counter: used, and left."""
    shown = built.run(read_grant, "gr_" + credential.split("_")[1])
    return shown.uses, shown.uses_left


def check(built: BuiltCell, credential: str, first: int, outcomes: Counter[str], size: int) -> None:
    """Counter, audit and answers say the same."""
    used, _ = uses(built, credential)
    grant = "gr_" + credential.split("_")[1]
    events = [e for e in built.events(first, "detokenize") if e["grant"] == grant]
    allowed = [event for event in events if event["outcome"] == "allowed"]
    assert used == outcomes["values"] == sum(event["charged"] for event in events)
    assert len(allowed) == outcomes["requests"]
    assert {event["charged"] for event in allowed} <= {size}
    refused = [event for event in events if event["outcome"] == "denied"]
    assert all((event["charged"], event["code"]) == (0, "budget_exhausted") for event in refused)
    assert outcomes["requests"] + outcomes["budget_exhausted"] == CONTENDERS == len(events)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_exactly_k_of_256_contenders_are_served(kind: str, tmp_path: Path) -> None:
    chance = random.Random(ROUNDS)
    with any_cell(kind, tmp_path) as built:
        tokens: dict[str, list[str | None]] = {
            SSN: [built.token(SSN, VALUE)],
            NAME: [built.token(NAME, "Ada", "c1")] * 3,
        }
        for round_ in range(ROUNDS):
            limit = chance.randint(1, CONTENDERS - 1)
            field, asked = ((SSN, tokens[SSN]), (NAME, tokens[NAME]))[round_ % 2]
            credential = built.grant(field, uses=limit, purpose="files")
            first = built.next_number

            def ask(field: str = field, asked: list[str | None] = asked, by: str = credential) -> int:
                return len(built.reveal(by, field, *asked, purpose="files") or [])

            outcomes = contend(built, credential, ask)
            assert outcomes["values"] == limit // len(asked) * len(asked)
            check(built, credential, first, outcomes, len(asked))
        verify(built.cell.store)


def test_nobody_is_refused_when_there_is_enough_for_all(tmp_path: Path) -> None:
    with any_cell("sqlite", tmp_path) as built:
        token = built.token(SSN, VALUE)
        credential = built.grant(SSN, uses=CONTENDERS, purpose="files")
        first = built.next_number

        def ask() -> int:
            assert built.reveal(credential, SSN, token, purpose="files") == [VALUE]
            return 1

        outcomes = contend(built, credential, ask)
        assert outcomes == {"values": CONTENDERS, "requests": CONTENDERS}
        check(built, credential, first, outcomes, 1)
        assert uses(built, credential) == (CONTENDERS, 0)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_database_itself_refuses_more_than_k(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the decision switched off, the row's own constraint still holds: nobody gets more than K."""

    def always(_grant: Grant, _uses: int, _now: int, request: UseRequest, _: Standing) -> Decision:
        return Decision(None, request.items)

    monkeypatch.setattr(module, "decide_use", always)
    with any_cell(kind, tmp_path) as built:
        token, limit = built.token(SSN, VALUE), 5
        credential = built.grant(SSN, uses=limit)
        answers: list[str] = []
        for _ in range(limit + 3):
            try:
                answers.append(str(built.reveal(credential, SSN, token)))
            except CoatcheckError as refusal:
                answers.append(refusal.code)
        assert answers == [f"['{VALUE}']"] * limit + ["too_busy"] * 3
        assert uses(built, credential) == (limit, 0)


def test_the_control_gives_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With decision and constraint off, 256 contenders get more than K: the test above can fail."""

    def always(_grant: Grant, _uses: int, _now: int, request: UseRequest, _: Standing) -> Decision:
        return Decision(None, request.items)

    monkeypatch.setattr(module, "decide_use", always)
    with any_cell("sqlite", tmp_path) as built:
        token, credential = built.token(SSN, VALUE), built.grant(SSN, uses=5)
        with built.cell.store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE re_grants SET max_uses = 1000000")
        outcomes = contend(built, credential, lambda: len(built.reveal(credential, SSN, token) or []))
        assert outcomes["values"] == CONTENDERS
