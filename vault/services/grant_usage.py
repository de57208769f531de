"""What a grant was used for, by day and field: counted from the audit log, so that no use pays for it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec

from vault.clock import parse_time
from vault.errors import Unknown
from vault.ledger.command import Verb
from vault.services.audit import SCAN_ROWS, number_at
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.grant_views import GrantAnswer, visible
from vault.services.hidden import Hidden

KINDS: Final = ("decrypt", "detokenize", "verify")
MAX_EVENTS: Final = 200_000
"""Events that one request looks through: some seconds. Then it says that it did not see all."""


class FieldUse(Hidden, frozen=True, omit_defaults=True):
    """What was asked for of a field on a day.

    Attributes:
        day: in UTC, `YYYY-MM-DD`.
        items: values asked for in uses that were decided, hit or miss.
        failed: those of them that were not told, by code.
        denied: values of requests that were refused whole.
    """

    day: str
    field: str
    operation: str
    requests: int
    items: int
    denied: int = 0
    failed: dict[str, int] | None = None


class GrantUsage(Hidden, frozen=True, omit_defaults=True):
    """What a grant was used for.

    Attributes:
        people: different data subjects whose values were told, as far as the log still names them.
        refused: requests that were refused whole, by code.
        complete: whether the log was looked through to the grant's beginning, or only from `since` on.
    """

    id: str
    uses: int
    uses_left: int
    fields: list[FieldUse]
    people: int
    refused: dict[str, int]
    complete: bool
    since: str


class _Line:
    """The counts of a day, field and operation."""

    def __init__(self) -> None:
        self.requests = self.items = self.denied = 0
        self.failed: Counter[str] = Counter()


class _Counted:
    """The counts of a grant."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str, str], _Line] = {}
        self.refused: Counter[str] = Counter()
        self.people: set[str] = set()

    def add(self, event: dict[str, Any], items: bytes | None) -> None:
        """Counts an event of the grant's."""
        denied = event["outcome"] == "denied"
        if denied:
            self.refused[event["code"]] += 1
        for entry in event["fields"]:
            key = event["at"][:10], entry["field"], event["operation"]
            line = self.lines.setdefault(key, _Line())
            line.requests += 1
            if denied:
                line.denied += entry["items"]
            else:
                line.items += entry["items"]
                line.failed.update(entry.get("failed", {}))
        if items is not None and not denied and event.get("told") != 0:
            named = msgspec.json.decode(items, type=dict[str, Any]).get("subjects", {})
            self.people.update(named.get("ids", ()))


def read_usage(cell: Cell, request: Request, grant: str) -> Verb[GrantUsage]:
    """What a grant was used for: for its creator, and whoever holds `grant:list` or `grant:revoke`.

    Raises:
        Unknown: `not_found`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "grant.usage")
    shown = visible(cell, caller, grant)
    if shown is None:
        raise Unknown("not_found")
    return _usage(cell, shown)


def _usage(cell: Cell, shown: GrantAnswer) -> GrantUsage:
    first = number_at(cell.store, parse_time(shown.valid_from))  # nothing is used before
    end, seen, counted = 2**62, 0, _Counted()
    since, complete = shown.valid_from, False
    of = shown.id.encode()
    while seen < MAX_EVENTS:
        rows = cell.store.read(cell.store.record.audit_page, {"first": first, "end": end, "most": SCAN_ROWS})
        for number, _, body, _, items in rows:
            end = number
            if of not in bytes(body):  # most are of others: they are not decoded
                continue
            event = msgspec.json.decode(body, type=dict[str, Any])
            if event["kind"] in KINDS and event.get("grant") == shown.id:
                counted.add(event, items)
        seen += len(rows)
        if len(rows) < SCAN_ROWS:
            complete = True
            break
        since = msgspec.json.decode(rows[-1][2], type=dict[str, Any])["at"]
    fields = [
        FieldUse(*key, line.requests, line.items, line.denied, dict(sorted(line.failed.items())) or None)
        for key, line in sorted(counted.lines.items())
    ]
    return GrantUsage(
        shown.id,
        shown.uses,
        shown.uses_left,
        fields,
        len(counted.people),
        dict(sorted(counted.refused.items())),
        complete,
        shown.valid_from if complete else since,
    )
