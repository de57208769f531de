"""Every item of a decoded request is counted, hit or miss, and no more than the grant has is given."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cells import NAME, NOTE, PAN, SSN, BuiltCell, reveal
from tests.unit.services.asking import SSNS, ask, codes, left
from tests.unit.services.calls import grant_id, rows
from vault.errors import BadInput, CoatcheckError, Denied
from vault.ledger.command import Command
from vault.services.batch import BatchRefused
from vault.services.detokenize import DetokenizeBody, DetokenizeItem, detokenize
from vault.services.grant_views import read_grant


class Nothing(Command):
    """Asks for nothing: it is settled after all that were handed over before it."""

    alone = True

    def needs(self, needs: Any) -> None:
        pass

    def decide(self, state: Any, writes: Any) -> None:
        pass


def test_each_value_costs_one_and_nulls_nothing(built: BuiltCell) -> None:
    tokens = built.tokens(SSN, *SSNS)
    credential = built.grant(SSN, uses=10)
    assert built.reveal(credential, SSN, tokens[0], None, tokens[1]) == [SSNS[0], None, SSNS[1]]
    assert left(built, credential) == 8
    assert built.reveal(credential, SSN, None, None) == [None, None]
    assert left(built, credential) == 8
    assert built.reveal(credential, SSN, tokens[0], tokens[0]) == [SSNS[0]] * 2
    assert left(built, credential) == 6


def test_nulls_are_answered_when_nothing_is_left(built: BuiltCell) -> None:
    credential = built.grant(SSN, uses=1)
    built.reveal(credential, SSN, built.token(SSN, SSNS[0]))
    assert built.reveal(credential, SSN, None) == [None]


def test_hits_and_misses_cost_the_same(built: BuiltCell) -> None:
    good = built.token(NAME, "Ada")
    other = built.token(NOTE, "a note")
    credential = built.grant(NAME, uses=20)
    items = [good, "tok_" + "a" * 26, other, "nonsense", "", good.upper(), good]
    first = built.next_number
    with pytest.raises(BatchRefused) as refusal:
        built.reveal(credential, NAME, *items)
    assert codes(refusal.value) == dict.fromkeys(range(1, 6), "token_unknown")
    assert refusal.value.facts["uses_left"] == 13
    assert left(built, credential) == 13
    (event,) = built.events(first)
    assert (event["charged"], event["outcome"]) == (7, "failed")
    assert event["fields"] == [{"field": NAME, "items": 7, "failed": {"token_unknown": 5}}]
    assert refusal.value.facts["decision"] == event["decision"]


def test_nothing_is_shown_of_a_batch_with_a_bad_item(built: BuiltCell) -> None:
    credential = built.grant(NAME)
    with pytest.raises(BatchRefused) as refusal:
        built.reveal(credential, NAME, built.token(NAME, "Ada"), "nonsense")
    assert "Ada" not in f"{refusal.value.facts} {refusal.value!r}"


@pytest.mark.parametrize(
    "change", [{}, {"purpose": "files"}, {"operation": "mask", "mask": "last4"}, {"delivery": "plain"}]
)
def test_over_budget_one_learns_that_and_nothing_else(built: BuiltCell, change: dict[str, Any]) -> None:
    """Whatever else is wrong or right with the request."""
    credential = built.grant(NAME, uses=2, operations=["reveal"])
    known, unknown = built.token(NAME, "Ada"), "tok_" + "a" * 26
    for tokens in ([known] * 3, [unknown] * 3, [known, unknown, ""]):
        for field in (NAME, SSN, "no.such.field"):
            first = built.next_number
            with pytest.raises(Denied) as refusal:
                built.run(detokenize, reveal(field, list(tokens), **change), by=credential)
            assert refusal.value.code == "budget_exhausted"
            assert set(refusal.value.facts) == {"decision"}
            (event,) = built.events(first)
            assert (event["charged"], event["code"]) == (0, "budget_exhausted")
    assert left(built, credential) == 2


def test_the_last_use_is_given(built: BuiltCell) -> None:
    credential, token = built.grant(SSN, uses=2), built.token(SSN, SSNS[0])
    assert built.reveal(credential, SSN, token, token) == [SSNS[0]] * 2
    assert built.run(read_grant, grant_id(credential)).state == "exhausted"
    with pytest.raises(Denied, match="budget_exhausted"):
        built.reveal(credential, SSN, token)


def test_a_body_that_makes_no_sense_costs_nothing(built: BuiltCell) -> None:
    credential = built.grant(SSN, uses=1)
    item = DetokenizeItem(SSN, "123-45-6789", None, 1)
    bodies = [
        DetokenizeBody("support"),
        DetokenizeBody("support", items=[]),
        DetokenizeBody("support", field=SSN, tokens=[]),
        DetokenizeBody("support", items=[item], field=SSN),
        DetokenizeBody("support", items=[item], key_version=1),
        DetokenizeBody("support", field=SSN),
        DetokenizeBody("support", tokens=["x"]),
        DetokenizeBody("support", field=SSN, tokens=["x"], subjects=[]),
        DetokenizeBody("support", operation="derive", items=[item]),
        DetokenizeBody("support", operation="mask", items=[item]),
        DetokenizeBody("support", mask="last4", items=[item]),
        DetokenizeBody("support", delivery="sealed", items=[item]),
        DetokenizeBody("support", items=[item] * (built.cell.limits.items + 1)),
    ]
    before = rows(built)
    for body in bodies:
        with pytest.raises(BadInput):
            built.run(detokenize, body, by=credential)
    assert rows(built) == before


def test_one_of_three_requests_fails_alone(built: BuiltCell) -> None:
    """Three requests of one group on a grant of five uses: 2, 4 and 3 values."""
    token, credential = built.token(SSN, SSNS[0]), built.grant(SSN, uses=5)
    request = built.request(credential)
    verbs = [detokenize(built.cell, request, reveal(SSN, [token] * size)) for size in (2, 4, 3)]
    committer = built.cell.committer
    done: list[Any] = []
    pending = [committer.pending(next(verb), done.extend) for verb in verbs]
    groups = committer.groups
    committer.submit(pending)
    committer.execute(Nothing())
    assert committer.groups <= groups + 2
    answers: list[Any] = []
    for verb, one in zip(verbs, pending, strict=True):
        try:
            verb.send(one.outcome)  # type: ignore[arg-type]
        except StopIteration as end:
            answers.append(end.value.values)
        except Denied as refusal:
            answers.append(refusal.code)
    assert answers == [[SSNS[0]] * 2, "budget_exhausted", [SSNS[0]] * 3]
    assert left(built, credential) == 0
    assert [event["charged"] for event in built.events(kind="detokenize")] == [2, 0, 3]


def test_rows_of_several_fields(built: BuiltCell) -> None:
    items = [
        DetokenizeItem(SSN, built.token(SSN, SSNS[0]), None, 1),
        DetokenizeItem(NAME, built.token(NAME, "Ada", "c1"), "c1"),
        DetokenizeItem(NAME, None),
        DetokenizeItem(PAN, built.token(PAN, "4111111111111111"), None, 1),
    ]
    credential = built.grant(SSN, NAME, PAN)
    assert ask(built, credential, *items) == [SSNS[0], "Ada", None, "4111111111111111"]
    assert left(built, credential) == 7
    event = built.events(kind="detokenize")[-1]
    assert [(entry["field"], entry["items"]) for entry in event["fields"]] == [(SSN, 1), (NAME, 1), (PAN, 1)]


def test_no_event_holds_a_value_a_token_or_a_person(built: BuiltCell) -> None:
    token, ssn = built.token(NAME, "Ada Lovelace", "person-4711"), built.token(SSN, SSNS[0])
    credential = built.grant(NAME, subjects=["person-4711"])
    built.reveal(credential, NAME, token)
    built.reveal(built.grant(SSN), SSN, ssn)
    for wrong in (ssn, "nonsense-7f3a91", token.upper()):
        with pytest.raises(CoatcheckError):
            built.reveal(credential, NAME, wrong)
    with pytest.raises(CoatcheckError):
        built.reveal(credential, NAME, token, operation="mask", mask="mask-7f3a91")
    with pytest.raises(CoatcheckError):
        built.reveal(credential, "field-7f3a91", token, purpose="purpose-7f3a91")
    log = str(rows(built)["re_audit"]) + str(rows(built)["cu_audit_items"])
    for secret in ("Lovelace", "4711", SSNS[0], ssn, token, "7f3a91", credential):
        assert secret not in log
