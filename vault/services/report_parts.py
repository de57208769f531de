"""What reports have in common: retention classes as the schema has them, holds in force, what was erased."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from vault.clock import Micros, format_time
from vault.schema.document import Schema
from vault.services.cell import Cell
from vault.services.erasure_kinds import decode_target
from vault.services.hidden import Hidden
from vault.services.levels import REQUESTED, Turn, reached, turns_of
from vault.services.selecting import holds_of
from vault.store.forgetting import REMOVED, ErasureRow
from vault.store.session import Row, Statement

MAX_HOLDS: Final = 500  # that a report names; it counts all
PART: Final = 4_000_000  # tokens whose values one statement counts: some seconds of the 30 that it has
MAX_GROUPS: Final = 50_000  # that a report is made of; beyond them it says that it is not complete


class ClassLine(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """A retention class, in the words of the schema.

    Attributes:
        keep: ISO 8601, or `key`: as long as the field key.
        from_: with what the time begins.
        max: how long a value is kept whose event never comes.
        period: how wide a due period is; absent of `key`.
    """

    class_: str = msgspec.field(name="class")
    keep: str
    from_: str | None = msgspec.field(default=None, name="from")
    max: str | None = None
    period: str | None = None


class HoldLine(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """A legal hold that is in force. Whom it names, if it names a person, is not said."""

    hold: str
    kind: str
    since: str
    confirmed: bool
    class_: str | None = msgspec.field(default=None, name="class")


class ErasedLine(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """Erasures of one kind and for one reason.

    Attributes:
        class_, period: of values that fell due; absent of people, whose values of all classes go.
        asked: all of them; `removed`: those whose keys are gone.
        keys: data keys that went.
    """

    kind: str
    class_: str | None = msgspec.field(default=None, name="class")
    period: str | None = None
    grounds: str
    asked: int
    removed: int
    keys: int


class LevelLine(Hidden, frozen=True):
    """How many erasures are at a level and at none above it."""

    level: str
    erasures: int


def counted(cell: Cell, statement: Statement, tenant: str) -> Iterator[list[Row]]:
    """What a statement counts of a tenant's values: a list of groups for each part of all tokens."""
    after, last = b"", b"\xff" * 16
    while after != last:
        rows = cell.store.read(cell.store.reporting.next_part, {"after": after, "step": PART})
        to = bytes(rows[0][0]) if rows else last
        yield cell.store.read(statement, {"tenant": tenant, "after": after, "to": to, "most": MAX_GROUPS})
        after = to


def class_lines(schema: Schema) -> list[ClassLine]:
    """The retention classes of a schema, by name."""
    written: dict[str, Any] = msgspec.json.decode(schema.body).get("retention", {})
    lines = []
    for name, rule in sorted(schema.retention.items()):
        table = written[name]
        if rule.keep is None:
            lines.append(ClassLine(class_=name, keep="key"))
            continue
        start = rule.start if rule.event is None else f"{rule.start}:{rule.event}"
        made = ClassLine(
            class_=name, keep=table["keep"], from_=start, max=table.get("max"), period=rule.period
        )
        lines.append(made)
    return lines


def hold_lines(cell: Cell, tenant: str) -> tuple[list[HoldLine], int]:
    """The oldest holds in force, and how many there are."""
    holds = holds_of(cell, tenant)
    lines = [
        HoldLine(
            hold=row.id,
            kind=row.kind,
            since=format_time(row.created_at),
            confirmed=row.confirmed_at > 0,
            class_=row.name or None,
        )
        for row in holds[:MAX_HOLDS]
    ]
    return lines, len(holds)


def erased_lines(cell: Cell, tenant: str, *, periods: bool = False) -> tuple[list[ErasedLine], bool]:
    """What was erased, by kind, class and reason; and whether that is all of it.

    Args:
        periods: whether by due period too.
    """
    asked: dict[tuple[str, str, str, str], list[int]] = {}
    params = {"tenant": tenant, "most": MAX_GROUPS}
    rows = cell.store.read(cell.store.reporting.erasures_by_grounds, params)
    for kind, target, grounds, state, count, keys in rows:
        aim = decode_target(target)
        period = aim.get("due", "") if periods else ""
        line = asked.setdefault((kind, aim.get("class", ""), period, grounds), [0, 0, 0])
        line[0] += count
        if state == REMOVED:
            line[1] += count
            line[2] += int(keys)
    lines = [
        ErasedLine(
            kind=kind,
            class_=class_ or None,
            period=period or None,
            grounds=grounds,
            asked=line[0],
            removed=line[1],
            keys=line[2],
        )
        for (kind, class_, period, grounds), line in sorted(asked.items())
    ]
    return lines, len(rows) < MAX_GROUPS


def level_lines(cell: Cell, tenant: str, erased: list[ErasedLine], now: Micros) -> list[LevelLine]:
    """How many erasures are at which level.

    Which one an erasure has reached depends on no more than the first turn that flipped behind it, so they
    are counted a turn at a time.
    """
    turns, levels = turns_of(cell.store), {REQUESTED: sum(line.asked - line.removed for line in erased)}
    flips = sorted({turn.flip for turn in turns if turn.flip is not None})
    for first, end in zip([0, *flips], [*flips, 2**62], strict=True):
        params = {"tenant": tenant, "first": first, "end": end}
        count = int(cell.store.read(cell.store.reporting.erasures_between, params)[0][0])
        if count:
            level = _level(turns, first, now)
            levels[level] = levels.get(level, 0) + count
    return [LevelLine(level, count) for level, count in levels.items() if count]


def _level(turns: list[Turn], events: int, now: Micros) -> str:
    """The level of an erasure that was through when the log had that many events."""
    through = ErasureRow(
        id="", tenant="", kind="", state=REMOVED, subject=None, target="", grounds="", job="", created_by="",
        created_at=0, keys=0, counts="{}", number=0, removed_at=1, events=events, fenced_until=0,
        reopened_at=0, reopened_by=None,
    )  # fmt: skip
    return reached(through, turns, now).level
