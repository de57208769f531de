"""Shaped tokens: drawn, registered, never issued twice, and worth nothing for another row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cells import HANDLE, PHONE, BuiltCell
from vault.errors import BadInput, CoatcheckError
from vault.formats.surrogate import Surrogate
from vault.services import vaulting
from vault.services.batch import BatchRefused


def execute(built: BuiltCell, sql: str, *parameters: Any) -> list[Any]:
    with built.cell.store.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        done = connection.exec_driver_sql(sql, parameters)
        return [tuple(row) for row in done] if done.returns_rows else []


def test_a_token_looks_like_its_template_and_opens(built: BuiltCell) -> None:
    token = built.token(PHONE, "call me", "c1")
    assert len(token) == 10
    assert token.isascii()
    assert token.isdigit()
    grant = built.grant(PHONE, uses=3)
    assert built.reveal(grant, PHONE, token) == ["call me"]
    assert built.token(PHONE, "call me", "c1") != token  # not deterministic


def test_a_deterministic_one_keeps_its_surrogate(built: BuiltCell) -> None:
    token = built.token(HANDLE, "ada", "c1")
    assert len(token) == 8
    assert built.tokens(HANDLE, "ada", "ada", subjects=["c1", "c2"]) == [token, token]
    assert built.reveal(built.grant(HANDLE), HANDLE, token, subjects=["c2"]) == ["ada"]


@pytest.mark.parametrize(
    "token", ["", "123", "12345678901", "１２３４５６７８９０", "0000000000", "tok_" + "a" * 26]
)
def test_what_was_never_issued_is_unknown(built: BuiltCell, token: str) -> None:
    built.token(PHONE, "x")
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(built.grant(PHONE), PHONE, token)


def test_none_is_issued_twice(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while its token lives, and not after it."""
    first = built.token(PHONE, "x", "c1")
    execute(built, "DELETE FROM va_claims")
    execute(built, "DELETE FROM cu_tokens")
    draws = iter([first, first, "4711471147"])
    monkeypatch.setattr(Surrogate, "draw", lambda _self, _below: next(draws))
    assert built.token(PHONE, "y", "c2") == "4711471147"
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(built.grant(PHONE), PHONE, first)


def test_a_draw_that_was_taken_meanwhile_is_drawn_again(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's insert decides, whatever was read before it."""
    first = built.token(PHONE, "x", "c1")
    draws = iter([first, "4711471147"])
    monkeypatch.setattr(Surrogate, "draw", lambda _self, _below: next(draws))
    family = built.cell.store.custody.surrogates
    real = built.cell.store.read_keys
    asked: list[int] = []

    def blind_once(of: Any, keys: list[Any], /, **more: Any) -> Any:
        if of is family:
            asked.append(len(keys))
            if len(asked) == 1:
                return []
        return real(of, keys, **more)

    monkeypatch.setattr(built.cell.store, "read_keys", blind_once)
    assert built.token(PHONE, "y", "c1") == "4711471147"
    assert len(asked) == 2


def test_a_batch_draws_each_one_once(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(["1111111111", "1111111111", "1111111111", "2222222222", "3333333333"])
    monkeypatch.setattr(Surrogate, "draw", lambda _self, _below: next(draws))
    assert sorted(built.tokens(PHONE, "a", "b", "c"), key=str) == ["1111111111", "2222222222", "3333333333"]


def test_chance_that_never_ends_is_refused(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Surrogate, "draw", lambda _self, _below: "1111111111")
    built.token(PHONE, "a")
    before = built.next_number
    with pytest.raises(CoatcheckError, match="too_busy"):
        built.token(PHONE, "b")
    assert built.next_number == before
    assert vaulting.DRAWS == 8


def test_the_space_ends_where_the_schema_says(built: BuiltCell) -> None:
    """An alert at half; no token beyond; and nothing is left of what was refused."""
    built.tokens(PHONE, *"abcdefghi")
    assert built.events(kind="alert") == []
    built.token(PHONE, "j")
    (alert,) = built.events(kind="alert")
    assert (alert["code"], alert["field"], alert["issued"], alert["most"]) == (
        "token_space_half",
        PHONE,
        10,
        20,
    )
    built.tokens(PHONE, *"abcdefghi")
    before = built.next_number, execute(built, "SELECT count(*) FROM cu_surrogates")
    with pytest.raises(BadInput, match="token_space_exhausted"):
        built.tokens(PHONE, "y", "z")
    assert (built.next_number, execute(built, "SELECT count(*) FROM cu_surrogates")) == before
    built.token(PHONE, "y")
    with pytest.raises(BadInput, match="token_space_exhausted"):
        built.token(PHONE, "z")
    assert len(built.events(kind="alert")) == 1


class TestAPlantedReissue:
    """P17: whoever writes in the database, a token does not open as another person's value."""

    def test_a_surrogate_that_is_made_to_name_another_row(self, built: BuiltCell) -> None:
        ours, theirs = built.token(PHONE, "ours", "c1"), built.token(PHONE, "theirs", "c2")
        rows = dict(execute(built, "SELECT surrogate, token FROM cu_surrogates"))
        execute(built, "UPDATE cu_surrogates SET token = ? WHERE surrogate = ?", rows[theirs], ours)
        grant = built.grant(PHONE, uses=5)
        with pytest.raises(BatchRefused, match="token_unknown"):
            built.reveal(grant, PHONE, ours)
        # ... and with the row's own surrogate changed too
        execute(built, "UPDATE cu_tokens SET surrogate = ? WHERE id = ?", ours, rows[theirs])
        with pytest.raises(CoatcheckError, match="integrity_failed"):
            built.reveal(grant, PHONE, ours)

    def test_a_claim_that_is_moved_to_another_row(self, built: BuiltCell) -> None:
        ours, theirs = built.token(PHONE, "ours", "c1"), built.token(PHONE, "theirs", "c2")
        rows = dict(execute(built, "SELECT surrogate, token FROM cu_surrogates"))
        execute(built, "DELETE FROM va_claims WHERE token = ?", rows[ours])
        execute(built, "UPDATE va_claims SET token = ? WHERE token = ?", rows[ours], rows[theirs])
        with pytest.raises(CoatcheckError, match="integrity_failed"):
            built.reveal(built.grant(PHONE), PHONE, ours)
