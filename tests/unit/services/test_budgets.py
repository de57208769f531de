"""Budgets of values a day, and batches whose bad items are reported in their places."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec import UnsetType

from tests.support.cells import CITY, NAME, SSN, BuiltCell, reveal
from tests.unit.services.asking import left
from vault.clock import DAY, FixedClock
from vault.errors import BadInput, Denied
from vault.services.batch import BatchRefused, ItemError
from vault.services.detokenize import DetokenizeBody, DetokenizeItem, detokenize
from vault.services.tokenize import ColumnAnswer, ItemsAnswer, TokenizeBody, TokenizeItem, tokenize

GOOD = "123-45-6789"


class TestBudgets:
    def test_repeats_count_and_the_day_ends(self, ticking: BuiltCell, clock: FixedClock) -> None:
        ticking.tokens(CITY, *["Paris"] * 999)
        assert ticking.token(CITY, "Paris")
        with pytest.raises(Denied, match="budget_exhausted") as refusal:
            ticking.token(CITY, "Paris")
        denied = ticking.events(kind="tokenize")[-1]
        assert (denied["outcome"], denied["code"]) == ("denied", "budget_exhausted")
        assert refusal.value.facts["decision"] == denied["decision"]
        assert refusal.value.facts["field"] == CITY
        clock.advance(DAY)
        ticking.token(CITY, "Paris")

    def test_a_batch_fits_or_is_refused_whole(self, built: BuiltCell) -> None:
        built.tokens(CITY, *["x"] * 990)
        rows = built.cell.store.read(built.cell.store.custody.issued, {"tenant": "main", "field": CITY})
        with pytest.raises(Denied, match="budget_exhausted"):
            built.tokens(CITY, *[f"new {number}" for number in range(11)])
        after = built.cell.store.read(built.cell.store.custody.issued, {"tenant": "main", "field": CITY})
        assert rows == after
        built.tokens(CITY, *["x"] * 10)

    def test_each_principal_has_its_own(self, built: BuiltCell) -> None:
        built.tokens(CITY, *["x"] * 1000)
        _, other = built.principal("service", "other", permissions=[f"tokenize:{CITY}"])
        built.run(tokenize, TokenizeBody(field=CITY, values=["x"]), by=other)

    def test_other_fields_have_none(self, built: BuiltCell) -> None:
        built.tokens(CITY, *["x"] * 1000)
        assert built.token(NAME, "x")

    def test_it_is_exact_when_many_ask_at_once(self, built: BuiltCell) -> None:
        built.tokens(CITY, *["x"] * 980)
        done: list[str] = []
        barrier = threading.Barrier(32)

        def ask() -> None:
            barrier.wait()
            try:
                done.append(built.token(CITY, "x"))
            except Denied as denied:
                done.append(denied.code)

        threads = [threading.Thread(target=ask) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done.count("budget_exhausted") == 12
        assert len(done) == 32


class TestErrorsInTheirPlaces:
    def test_of_tokenize_by_column(self, built: BuiltCell) -> None:
        body = TokenizeBody(field=SSN, values=[GOOD, "x", None, GOOD], on_error="report")
        answer = built.run(tokenize, body)
        assert isinstance(answer, ColumnAnswer)
        good, bad, null, again = answer.tokens
        assert isinstance(bad, ItemError)
        assert bad.error.code == "value_length"
        assert (null, again, answer.failed, answer.key_version) == (None, good, 1, 1)
        event = built.events(kind="tokenize")[-1]
        assert event["fields"] == [
            {
                "field": SSN,
                "failed": {"value_length": 1},
                "key_version": 1,
                "protection": "vaultless",
                "values": 2,
            }
        ]

    def test_of_tokenize_by_item(self, built: BuiltCell) -> None:
        items = [TokenizeItem(NAME, "Ada", "c1"), TokenizeItem(NAME, "", None), TokenizeItem(SSN, GOOD)]
        answer = built.run(tokenize, TokenizeBody(items=items, on_error="report"))
        assert isinstance(answer, ItemsAnswer)
        assert answer.failed == 1
        assert [getattr(item.error, "code", None) for item in answer.items] == [None, "value_empty", None]
        assert answer.items[1].token is not None
        assert isinstance(answer.items[1].token, UnsetType)

    def test_when_every_item_is_bad(self, built: BuiltCell) -> None:
        before = built.next_number
        answer = built.run(tokenize, TokenizeBody(field=SSN, values=["x", "y"], on_error="report"))
        assert answer.failed == 2
        assert built.next_number == before + 1

    def test_of_detokenize(self, built: BuiltCell) -> None:
        token = built.token(NAME, "Ada", "c1")
        grant = built.grant(NAME, SSN, uses=10)
        body = reveal(NAME, [token, "tok_" + "a" * 26, None, "x"], on_error="report")
        answer = built.run(detokenize, body, by=grant)
        shown = [getattr(getattr(one, "error", None), "code", one) for one in answer.values or []]
        assert shown == ["Ada", "token_unknown", None, "token_unknown"]
        assert (answer.failed, left(built, grant)) == (2, 7)
        items = [DetokenizeItem(SSN, GOOD), DetokenizeItem(SSN, GOOD, key_version=1)]
        rows = built.run(detokenize, DetokenizeBody("support", items=items, on_error="report"), by=grant)
        assert [getattr(item.error, "code", None) for item in rows.items or []] == [
            "key_version_required",
            None,
        ]
        assert left(built, grant) == 5

    def test_a_refused_grant_is_refused_whole(self, built: BuiltCell) -> None:
        grant = built.grant(NAME, uses=1)
        body = reveal(NAME, ["x", "y"], on_error="report")
        with pytest.raises(Denied, match="budget_exhausted"):
            built.run(detokenize, body, by=grant)

    @pytest.mark.parametrize("word", ["", "FAIL", "ignore"])
    def test_nothing_else_is_known(self, built: BuiltCell, word: str) -> None:
        bodies: list[tuple[Any, Any, str]] = [
            (tokenize, TokenizeBody(field=SSN, values=[GOOD], on_error=word), built.service),
            (detokenize, reveal(SSN, ["x"], on_error=word), built.grant(SSN)),
        ]
        for verb, body, by in bodies:
            with pytest.raises(BadInput, match="operation_unsupported"):
                built.run(verb, body, by=by)

    def test_fail_is_what_happens_otherwise(self, built: BuiltCell) -> None:
        for body in (
            TokenizeBody(field=SSN, values=[GOOD, "x"]),
            TokenizeBody(field=SSN, values=[GOOD, "x"], on_error="fail"),
        ):
            with pytest.raises(BatchRefused):
                built.run(tokenize, body)
