"""Rules put in force while others ask: what begins after that was answered is bound by them, at once (P8)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.scenario.test_schema_races import at_once, two
from tests.support.cells import HOST, NAME, BuiltCell
from vault.errors import CoatcheckError
from vault.policy.attribute_rules import DEFAULT
from vault.services.audit import verify
from vault.services.identities import list_principals
from vault.services.listing import Page
from vault.services.policies import PolicyBody, apply_policy, list_policies, plan_policy

ROUNDS: Final = 100 if os.environ.get("COATCHECK_FULL") else 6
PATIENCE_S: Final = 30
STOP: Final = DEFAULT + (
    '@id("stop") forbid (principal, action, resource) when {'
    ' [Action::"reveal", Action::"tokenize", Action::"principal:list"].contains(action) };'
)


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[BuiltCell, BuiltCell]]:
    with two(request.param, tmp_path) as (one, other):
        yield one, other
        verify(one.cell.store)


def put(built: BuiltCell, text: str) -> int:
    digest = built.run(plan_policy, PolicyBody(text), by=HOST).digest
    return built.run(apply_policy, PolicyBody(text, digest), by=HOST).version


class Hot:
    """Threads that ask over and over, until they are refused after the rules were put in force."""

    def __init__(self, acts: dict[str, Callable[[], object]]) -> None:
        self._acts = acts
        self._put = threading.Event()
        self._served = [threading.Event() for _ in acts]
        self.late: list[str] = []
        self.odd: list[str] = []

    def _work(self, name: str, act: Callable[[], object], served: threading.Event) -> None:
        while True:
            began_after = self._put.is_set()
            try:
                act()
            except CoatcheckError as refusal:
                if refusal.code != "policy_denied":
                    self.odd.append(refusal.code)
                    return
                if began_after:
                    return
                continue
            served.set()
            if began_after:
                self.late.append(name)
                return

    def run(self, change: Callable[[], object]) -> None:
        threads = [
            threading.Thread(target=self._work, args=(name, act, served))
            for (name, act), served in zip(self._acts.items(), self._served, strict=True)
        ]
        for thread in threads:
            thread.start()
        for served in self._served:
            assert served.wait(PATIENCE_S)
        change()
        self._put.set()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_nothing_that_begins_afterwards_is_served(pair: tuple[BuiltCell, BuiltCell]) -> None:
    """One process asks; the other puts rules in force that refuse it, and lifts them again."""
    asks, applies = pair
    token = asks.token(NAME, "Ada")
    for _ in range(ROUNDS):
        grant = asks.grant(NAME, uses=100_000, purpose="files", batch=1)
        hot = Hot(
            {
                "a use": lambda grant=grant: asks.reveal(grant, NAME, token, purpose="files"),  # type: ignore[misc]
                "values": lambda: asks.token(NAME, "Eve"),
                "a list": lambda: asks.run(list_principals, Page(), by=asks.admin),
            }
        )
        hot.run(lambda: put(applies, STOP))
        assert (hot.late, hot.odd) == ([], [])
        put(applies, DEFAULT)
        # And what they refused goes on at once where they are gone.
        assert asks.reveal(grant, NAME, token, purpose="files") == ["Ada"]
        assert asks.token(NAME, "Bob")
        asks.run(list_principals, Page(), by=asks.admin)


def test_of_two_that_were_planned_beside_one_another_one_is_applied(
    pair: tuple[BuiltCell, BuiltCell],
) -> None:
    one, other = pair
    for number in range(ROUNDS):
        texts = [DEFAULT + f"// {number} {name}\n" for name in ("one", "other")]
        bodies = [
            PolicyBody(text, built.run(plan_policy, PolicyBody(text), by=HOST).digest)
            for built, text in zip(pair, texts, strict=True)
        ]
        outcomes = at_once(
            lambda body=bodies[0]: one.run(apply_policy, body, by=HOST),  # type: ignore[misc]
            lambda body=bodies[1]: other.run(apply_policy, body, by=HOST),  # type: ignore[misc]
        )
        assert sorted(outcomes) == ["done", "plan_changed"]
        versions = one.run(list_policies, Page(), by=HOST).items
        assert [row.version for row in versions] == list(range(number + 1, 0, -1))
