"""The keys of messages: rotated by the schedule, so that whoever pinned or sealed to one is not cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import NAME, BuiltCell, any_cell, reveal
from tests.support.holders import sealing
from vault.client.intake import seal_body
from vault.client.sealed import Sealed, open_delivery
from vault.clock import DAY, FixedClock, SystemClock, parse_period
from vault.crypto.base64url import decode
from vault.errors import BadInput, IntegrityError
from vault.ledger.committer import drive
from vault.policy.grant import ScopeEntry
from vault.services.detokenize import detokenize
from vault.services.gate import recognise
from vault.services.grant_body import GrantBody, GrantLimits
from vault.services.grant_views import read_grant
from vault.services.grants import create_grant
from vault.services.intake import open_body, read_intake_key
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page
from vault.services.message_keys import NOTICE
from vault.services.rotation import rotate_due

CHALLENGE = "n" * 22


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(SystemClock().now())


@pytest.fixture
def built(tmp_path: Path, clock: FixedClock) -> Iterator[BuiltCell]:
    with any_cell("sqlite", tmp_path, clock=clock) as made:
        made.cell.working = replace(made.cell.working, messages=parse_period("P90D"))
        yield made


def rotate(built: BuiltCell) -> int:
    return drive(built.cell.committer, lambda: rotate_due(built.cell), built.cell.forget)


class Worker:
    """A bearer of a grant whose answers are sealed to its key."""

    def __init__(self, built: BuiltCell) -> None:
        self.built = built
        self.token = built.token(NAME, "Ada")
        self.private, seal_to = sealing()
        scope = [ScopeEntry([NAME], ["reveal"], ["sealed"])]
        limits = GrantLimits(50)
        body = GrantBody("agent:demo", "sealed", scope, limits=limits, seal_to=seal_to)
        self.made = built.run(create_grant, body)

    def keys(self) -> list[bytes]:
        """What the grant says is to be pinned."""
        shown = self.built.run(read_grant, self.made.id)
        return [decode(key.x) for key in (shown.delivery_key, shown.next_delivery_key) if key is not None]

    def opens(self, *pinned: bytes) -> bool:
        """Whether a fresh answer is one by a pinned key."""
        more: dict[str, Any] = {"purpose": "sealed", "delivery": "sealed", "challenge": CHALLENGE}
        asked = reveal(NAME, [self.token], **more)
        answer = self.built.run(detokenize, asked, by=self.made.credential)
        sealed = msgspec.convert(msgspec.to_builtins(answer.sealed), Sealed)
        named = {"cell": "eu", "grant": self.made.id, "jti": "", "challenge": CHALLENGE}
        for key in pinned:
            try:
                open_delivery(
                    sealed, private=self.private, delivery_key=key, decision=answer.decision, **named
                )
            except IntegrityError:
                continue
            return True
        return False


def test_a_key_that_signs_answers_is_announced_before_it_does(built: BuiltCell, clock: FixedClock) -> None:
    worker = Worker(built)
    [old] = worker.keys()
    assert worker.opens(old)
    assert rotate(built) == 0
    clock.advance(91 * DAY)
    worker = Worker(built)
    before = built.next_number
    assert rotate(built) == 1
    (event,) = built.events(before, "key.rotate")
    assert (event["actor"], event["purpose"], event["new_version"]) == ("schedule", "delivery", 2)
    first, new = worker.keys()
    assert (first, new != old) == (old, True)
    assert (worker.opens(old), worker.opens(new)) == (True, False)
    clock.advance(NOTICE - DAY)
    worker = Worker(built)  # a grant of that week names both too
    assert worker.keys() == [old, new]
    clock.advance(DAY)
    worker = Worker(built)
    assert worker.keys() == [new]
    assert (worker.opens(old), worker.opens(new)) == (False, True)
    assert rotate(built) == 0


def test_what_was_sealed_to_the_key_before_is_opened(built: BuiltCell, clock: FixedClock) -> None:
    def key() -> dict[str, str]:
        told = msgspec.to_builtins(built.run(read_intake_key))
        return {str(name): str(text) for name, text in told.items()}

    def taken(sealed_to: dict[str, str]) -> bool:
        body = {"field": NAME, "values": ["Ada"]}
        raw = seal_body(sealed_to, cell="eu", path="tokenize", principal=built.service_id, body=body)
        request = built.request(built.service)
        recognise(built.cell, request, ("key",))
        try:
            opened = open_body(built.cell, request, "tokenize", raw)
        except BadInput:
            return False
        return bool(msgspec.json.decode(opened) == body)

    keys = [key()]
    for _ in range(2):
        clock.advance(91 * DAY)
        assert rotate(built) == 1
        keys.append(key())
        assert keys[-1] != keys[-2]
        assert taken(keys[-1])
        assert taken(keys[-2])
    assert not taken(keys[0])


def test_their_ends_are_shown(built: BuiltCell) -> None:
    Worker(built)
    built.run(read_intake_key)
    listed = built.run(list_stored_keys, Page(), KeyFilter(), by=built.admin).items
    ends = {key.kind: key.period_end for key in listed if key.kind in ("delivery", "intake")}
    assert set(ends) == {"delivery", "intake"}
    assert None not in ends.values()
