"""The keys that sign access tokens: made with the first, rotated by the schedule, taken for a while after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cells import BuiltCell, development_cell
from vault.clock import SECOND, FixedClock, SystemClock, parse_period
from vault.errors import Unauthenticated
from vault.ledger.committer import drive
from vault.services.access_tokens import access_caller
from vault.services.introspection import AskForm, introspect, revoke
from vault.services.rotation import rotate_due
from vault.services.signing_keys import OVERLAP, jwks, published
from vault.services.token_endpoint import TokenForm, issue_token


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(SystemClock().now())


@pytest.fixture
def built(tmp_path: Path, clock: FixedClock) -> Iterator[BuiltCell]:
    with development_cell(tmp_path, clock) as made:
        made.cell.oauth = replace(made.cell.oauth, lifetime=900 * SECOND)
        made.cell.working = replace(made.cell.working, signing=parse_period("P90D"))
        yield made


def token(built: BuiltCell) -> str:
    return built.run(issue_token, TokenForm()).access_token


def taken(built: BuiltCell, text: str) -> bool:
    try:
        access_caller(built.cell, f"Bearer {text}", None, fresh=True)
    except Unauthenticated:
        return False
    return True


def rotate(built: BuiltCell) -> int:
    return drive(built.cell.committer, lambda: rotate_due(built.cell), built.cell.forget)


def test_there_is_none_before_the_first_token(built: BuiltCell) -> None:
    assert jwks(built.cell) == {"keys": []}
    assert not taken(built, "eyJ.a.b")
    token(built)
    assert len(jwks(built.cell)["keys"]) == 1
    token(built)
    assert len(jwks(built.cell)["keys"]) == 1


def test_a_key_is_rotated_when_it_is_due_and_taken_until_nothing_that_it_signed_is_valid(
    built: BuiltCell, clock: FixedClock
) -> None:
    token(built)
    assert rotate(built) == 0
    [old] = published(built.cell)
    clock.advance(91 * 86_400 * SECOND)
    by_old = token(built)
    before = built.next_number
    assert rotate(built) == 1
    (event,) = built.events(before, "key.rotate")
    assert event["actor"] == "schedule"
    new, *rest = published(built.cell)
    assert (new != old, rest) == (True, [old])
    assert taken(built, by_old)
    by_new = token(built)
    assert taken(built, by_new)
    clock.advance(OVERLAP)
    assert list(published(built.cell)) == [new]
    assert rotate(built) == 0


def test_a_token_ends_at_its_second(built: BuiltCell, clock: FixedClock) -> None:
    text = token(built)
    clock.advance(899 * SECOND)
    assert taken(built, text)
    clock.advance(SECOND)
    assert not taken(built, text)
    assert not built.run(introspect, AskForm(token=text)).active


def test_a_revoked_token_is_known_to_whoever_remembers_it(built: BuiltCell) -> None:
    text = token(built)
    access_caller(built.cell, f"Bearer {text}", None, fresh=False)  # remembered
    built.run(revoke, AskForm(token=text))
    with pytest.raises(Unauthenticated):
        access_caller(built.cell, f"Bearer {text}", None, fresh=False)
    before = built.next_number
    built.run(revoke, AskForm(token=text))
    assert built.next_number == before
