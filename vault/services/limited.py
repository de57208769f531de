"""Once a minute on the record: who came too fast, and how often nobody proved to be anybody."""

from __future__ import annotations

from collections import Counter
from typing import Final

from vault.audit.event import Event
from vault.ledger.command import Command, Needs, State, Verb, Writes
from vault.services.cell import Cell

MOST_NAMED: Final = 20


class RefusalsCounted(Command):
    """Puts on the record who was refused for coming too fast, over a minute."""

    def __init__(self, refused: dict[tuple[str, str, str], int]) -> None:
        by_tenant: dict[str, dict[str, Counter[str]]] = {}
        for (what, tenant, name), count in refused.items():
            counts = by_tenant.setdefault(tenant, {}).setdefault(what, Counter())
            counts[name] += count
        self._facts = {
            tenant: {
                "counts": {what: counts.total() for what, counts in bounds.items()},
                "most": {what: dict(counts.most_common(MOST_NAMED)) for what, counts in bounds.items()},
            }
            for tenant, bounds in sorted(by_tenant.items())
        }

    def needs(self, needs: Needs) -> None:
        """Touches no row but the head."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes an event for each tenant, and one for the networks."""
        for tenant, facts in self._facts.items():
            writes.event(Event("limited", tenant, "nobody", facts))


def flush_refused(cell: Cell) -> Verb[None]:
    """Puts the counts of who came too fast on the record, if there are any."""
    refused = cell.pacing.take_refused()
    if refused:
        try:
            yield RefusalsCounted(refused)
        except BaseException:
            cell.pacing.give_back(refused)
            raise


class FailuresCounted(Command):
    """Puts a minute's count of unauthenticated failures on the record."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def needs(self, needs: Needs) -> None:
        """Touches no row but the head."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the event."""
        writes.event(Event("unauthenticated", "", "nobody", {"counts": self._counts}))


def flush_failures(cell: Cell) -> Verb[None]:
    """Puts the counts of unauthenticated failures on the record, if there are any."""
    counts = cell.failures.take()
    if counts:
        try:
            yield FailuresCounted(counts)
        except BaseException:
            cell.failures.add(counts)
            raise
