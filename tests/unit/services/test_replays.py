"""Values under an Idempotency-Key: charged once, shown once, and nothing of them is kept in the clear."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import NAME, SSN, TEXT, BuiltCell, any_cell, reveal
from tests.unit.services.calls import grant_id, rows
from vault.clock import FixedClock, parse_time
from vault.errors import CoatcheckError, Conflict, Denied, Unauthenticated
from vault.services.audit import verify
from vault.services.batch import BatchRefused
from vault.services.decrypt import DecryptBody, DecryptItem, decrypt
from vault.services.detokenize import DetokenizeBody, DetokenizeItem, detokenize
from vault.services.gate import Request
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import read_grant
from vault.services.tokenize import ColumnAnswer, TokenizeBody, tokenize

KEY = "b9d5a7d1-c001-4f0e-a6c7-3f0a7e529d1c"
NOON = parse_time("2026-11-23T12:00:00Z")


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def left(built: BuiltCell, credential: str) -> int:
    return built.run(read_grant, grant_id(credential)).uses_left


def kept(built: BuiltCell) -> list[Any]:
    found = rows(built)
    return next(of for name, of in found.items() if name.endswith("idempotency"))


def test_a_reveal_is_charged_once_and_shown_once(built: BuiltCell) -> None:
    token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME, uses=1)
    first = built.run(detokenize, reveal(NAME, [token]), by=credential, once=KEY)
    assert first.values == ["Ada"]
    before = built.next_number
    for _ in range(2):  # the grant is used up, and still answers again
        again = built.run(detokenize, reveal(NAME, [token]), by=credential, once=KEY)
        assert (again.decision, again.values, again.replayed) == (first.decision, None, True)
    assert left(built, credential) == 0
    assert built.next_number == before
    with pytest.raises(Denied, match="budget_exhausted"):
        built.run(detokenize, reveal(NAME, [token]), by=credential)


def test_racing_reveals_cost_one_use_and_one_sees_the_value(built: BuiltCell) -> None:
    token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME, uses=5)
    start = threading.Barrier(8)
    answers: list[Any] = []

    def ask() -> None:
        start.wait()
        answers.append(built.run(detokenize, reveal(NAME, [token]), by=credential, once=KEY))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = sorted((answer.values for answer in answers), key=repr)
    assert shown == [None] * 7 + [["Ada"]] or shown == [["Ada"]] + [None] * 7
    assert len({answer.decision for answer in answers}) == 1
    assert left(built, credential) == 4
    assert len(built.events(kind="detokenize")) == 1
    verify(built.cell.store)


def test_bad_items_are_charged_once_and_refused_again_the_same(built: BuiltCell) -> None:
    credential = built.grant(NAME, uses=5)
    body = reveal(NAME, [built.token(NAME, "Ada"), "tok_" + "a" * 26])
    refusals = []
    for _ in range(2):
        with pytest.raises(CoatcheckError) as refusal:
            built.run(detokenize, body, by=credential, once=KEY)
        refusals.append(refusal.value)
    assert isinstance(refusals[0], BatchRefused)
    assert refusals[1].facts.pop("replayed") is True
    assert (refusals[1].code, refusals[1].facts) == (refusals[0].code, refusals[0].facts)
    assert left(built, credential) == 3


def test_what_does_not_open_is_refused_again_the_same(built: BuiltCell) -> None:
    """That it does not is found after the charge, when an answer is kept already."""
    credential = built.grant(TEXT, uses=5)
    item = DecryptItem(TEXT, built.ciphertext(TEXT, "hello", record="r1"), record="r2")
    body = DecryptBody("support", [item])
    refusals = []
    for _ in range(2):
        with pytest.raises(CoatcheckError) as refusal:
            built.run(decrypt, body, by=credential, once=KEY)
        refusals.append(refusal.value)
    assert refusals[1].facts.pop("replayed") is True
    assert [one.code for one in refusals] == ["ciphertext_invalid"] * 2
    assert refusals[1].facts == refusals[0].facts
    assert left(built, credential) == 4


def test_a_denial_that_cost_something_is_given_again(built: BuiltCell) -> None:
    token, credential = built.token(NAME, "Ada"), built.grant(NAME, uses=5)
    decisions = set()
    for _ in range(2):
        with pytest.raises(Denied, match="purpose_mismatch") as refusal:
            built.run(detokenize, reveal(NAME, [token], purpose="files"), by=credential, once=KEY)
        decisions.add(refusal.value.facts["decision"])
    assert len(decisions) == 1
    assert left(built, credential) == 4


def test_a_denial_that_cost_nothing_is_decided_again(built: BuiltCell) -> None:
    tokens: list[str | None] = [built.token(NAME, "Ada"), built.token(NAME, "Eve")]
    credential = built.grant(NAME, uses=1)
    decisions = set()
    for _ in range(2):
        with pytest.raises(Denied, match="budget_exhausted") as refusal:
            built.run(detokenize, reveal(NAME, tokens), by=credential, once=KEY)
        decisions.add(refusal.value.facts["decision"])
    assert len(decisions) == 2
    assert kept(built) == []


def test_a_revoked_grant_is_not_answered_again(built: BuiltCell) -> None:
    token, credential = built.token(NAME, "Ada"), built.grant(NAME, uses=5)
    built.run(detokenize, reveal(NAME, [token]), by=credential, once=KEY)
    built.run(revoke_grant, grant_id(credential), ChangeBody(), by=built.admin)
    with pytest.raises(Unauthenticated, match="grant_invalid"):
        built.run(detokenize, reveal(NAME, [token]), by=credential, once=KEY)


def test_nor_is_one_that_expired(tmp_path: Path) -> None:
    clock = FixedClock(NOON)
    with any_cell("sqlite", tmp_path, clock) as built:
        token, credential = built.token(NAME, "Ada"), built.grant(NAME, uses=5)
        built.run(detokenize, reveal(NAME, [token]), by=credential, once=KEY)
        clock.advance(16 * 60 * 1_000_000)
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            built.run(detokenize, reveal(NAME, [token]), by=credential, once=KEY)


def test_a_key_is_the_grant_s_own(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada")
    for _ in range(2):
        answer = built.run(detokenize, reveal(NAME, [token]), by=built.grant(NAME), once=KEY)
        assert answer.values == ["Ada"]


def test_other_tokens_or_another_form_are_another_request(built: BuiltCell) -> None:
    one, other = built.token(NAME, "Ada"), built.token(NAME, "Eve")
    credential = built.grant(NAME, uses=5)
    built.run(detokenize, reveal(NAME, [one]), by=credential, once=KEY)
    items = DetokenizeBody(purpose="support", items=[DetokenizeItem(NAME, one)])
    for body in (reveal(NAME, [other]), reveal(NAME, [one, None]), items):
        with pytest.raises(Conflict, match="idempotency_conflict"):
            built.run(detokenize, body, by=credential, once=KEY)
    assert left(built, credential) == 4


def test_tokens_are_the_same_again_and_made_once(built: BuiltCell) -> None:
    body = TokenizeBody(field=NAME, values=["Ada", None, "Eve"], subjects=["c1", None, None])
    first = built.run(tokenize, body, once=KEY)
    done = rows(built)
    again = built.run(tokenize, body, once=KEY)
    assert isinstance(again, ColumnAnswer)
    assert again.replayed
    assert (again.tokens, again.decision) == (first.tokens, first.decision)  # type: ignore[union-attr]
    assert rows(built) == done
    with pytest.raises(Conflict):
        built.run(tokenize, TokenizeBody(field=NAME, values=["Ada"]), once=KEY)


def test_a_large_batch_is_kept_whole(built: BuiltCell) -> None:
    body = TokenizeBody(field=SSN, values=[f"{number:03}-12-{number:04}" for number in range(1, 600)])
    first, again = (built.run(tokenize, body, once=KEY) for _ in range(2))
    assert again.tokens == first.tokens  # type: ignore[union-attr]
    assert len(again.tokens) == 599  # type: ignore[union-attr]


def test_no_value_and_no_token_is_kept_in_the_clear(built: BuiltCell) -> None:
    token = built.tokens(NAME, "canary-Ada-4711")[0]
    made = built.run(tokenize, TokenizeBody(field=NAME, values=["canary-Ada-4711"]), once=KEY)
    credential = built.grant(NAME, uses=5)
    built.run(detokenize, reveal(NAME, [token]), by=credential, once=KEY)
    assert len(kept(built)) == 2
    columns = b"".join(bytes(cell) for row in kept(built) for cell in row if not isinstance(cell, int))
    for text in ("canary-Ada-4711", str(token), str(made.tokens[0]), KEY, NAME, "support"):  # type: ignore[union-attr]
        assert text.encode() not in columns


def test_a_request_does_not_show_its_key() -> None:
    from tests.support.cells import ADDRESS
    from vault.services.cell import Origin

    assert KEY not in repr(Request("Bearer x", Origin(ADDRESS, "req"), idempotency=KEY))
