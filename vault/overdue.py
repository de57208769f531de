"""What has been in use for longer than it is meant to be: the epoch, field keys, data keys, service keys; and
what people should have looked at by now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vault.clock import SECOND, Micros, Period, format_time
from vault.config import Config
from vault.finding import OK, RISKY, WRONG, Finding
from vault.services import cryptoperiods, reindex
from vault.services.break_glass import overdue_in
from vault.services.cryptoperiods import due_rotations
from vault.services.jobs import CANCELLED, FAILED, shown_job
from vault.services.notices import given_up_in
from vault.services.replacement import ending_keys
from vault.services.review_ends import unreviewed
from vault.services.turn import overdue
from vault.services.turning import KIND
from vault.store.cell import Store
from vault.store.work import JobRow
from vault.wiring import terms_of, working_of

LONGEST_USE_S: Final = 2 * 366 * 86_400  # SP 800-57 part 1, 5.3.6: keys that encrypt data
LONGEST_MONTH_S: Final = 31 * 86_400
MAX_NAMED: Final = 10  # service keys


def rotation(config: Config, region: str, store: Store, now: Micros) -> Iterator[Finding]:
    """Whether the epoch is turned in time, and whether a turn needs a person."""
    name = f"cell {region} epoch"
    period = working_of(config, region).rotation
    for job in store.read(store.work.jobs_unended, {"kind": KIND}):
        shown = shown_job(JobRow(*job))
        if shown.state in (FAILED, CANCELLED):
            detail = f"its turn is {shown.state} at {shown.step} ({shown.error or 'by a person'})"
            yield Finding(name, WRONG, detail, f"coatcheck jobs resume {shown.id}", shown.error or "")
    if period is None:
        yield Finding(name, OK, "no cryptoperiod is set (cell.REGION.rotation); it turns when it is told")
    elif overdue(store, period, now):
        remedy = "see that a worker runs (worker.inside, or coatcheck worker); coatcheck epoch turn"
        yield Finding(name, RISKY, f"its cryptoperiod of {config.cell[region].rotation} is over", remedy)
    else:
        yield Finding(name, OK, f"inside its cryptoperiod of {config.cell[region].rotation}")


def periods(config: Config, region: str, store: Store, now: Micros) -> Iterator[Finding]:
    """Field keys and service keys that have been in use for longer than they are meant to be."""
    name = f"cell {region}"
    working = working_of(config, region)
    due = due_rotations(store, cryptoperiods.terms_of(store, working), now)
    for key in due:
        of = f"{key.field or 'references'} of tenant {key.tenant}" if key.tenant else "the cell"
        detail = f"the {key.purpose.value} key of {of} has been due since {format_time(key.end)[:10]}"
        remedy = "see that a worker runs (worker.inside, or coatcheck worker)"
        remedy += "; coatcheck key rotate" if key.tenant else ""
        yield Finding(f"{name} field keys", RISKY, detail, remedy)
    if not due:
        yield Finding(f"{name} field keys", OK, "inside their cryptoperiods")
    made_by = {"made_by": now - LONGEST_USE_S * SECOND}
    old = int(store.read(store.custody.old_data_keys, made_by)[0][0])
    if old:
        detail = f"{old} have taken values for more than two years: their classes have no due periods"
        remedy = "if you have to keep to two years: classes that count from creation (ADR 0035)"
        yield Finding(f"{name} data keys", RISKY, detail, remedy)
    else:
        yield Finding(f"{name} data keys", OK, "none has taken values for more than two years")
    for job in store.read(store.work.jobs_unended, {"kind": reindex.KIND}):
        shown = shown_job(JobRow(*job))
        if shown.state in (FAILED, CANCELLED):
            detail = f"a rotation is {shown.state} at {shown.step} ({shown.error or 'by a person'})"
            yield Finding(f"{name} field keys", WRONG, detail, f"coatcheck jobs resume {shown.id}")
    yield from _service_keys(config, name, store, now)
    open_items = unreviewed(store, now)
    if open_items:
        detail = f"{open_items} items of reviews that are due within a week, or were, are not decided"
        yield Finding(f"{name} reviews", RISKY, detail, "coatcheck review list; what nobody confirms goes")


def _service_keys(config: Config, name: str, store: Store, now: int) -> Iterator[Finding]:
    terms = terms_of(config)
    ending = [key for key in ending_keys(store, terms, now) if not key.replaced]
    for key in ending[:MAX_NAMED]:
        detail = f"{key.id} of {key.name}, tenant {key.tenant}, ends {format_time(key.expires_at)[:10]}"
        yield Finding(f"{name} service keys", RISKY, detail, f"coatcheck apikey rotate {key.id}")
    if len(ending) > MAX_NAMED:
        detail = f"{len(ending) - MAX_NAMED} more end within {config.keys.warning}"
        yield Finding(f"{name} service keys", RISKY, detail, "coatcheck key list --kind api")
    old = 0 if terms.longest is None else _older(store, terms.longest, now)
    if old:
        detail = f"{old} have been valid for longer than keys.longest ({config.keys.longest})"
        yield Finding(f"{name} service keys", RISKY, detail, "coatcheck key list --kind api; rotate them")
    if not ending and not old:
        yield Finding(f"{name} service keys", OK, f"none ends within {config.keys.warning}")


def _older(store: Store, longest: Period, now: int) -> int:
    """How many valid service keys were made longer ago than a key may be valid."""
    made_by = now - (longest.months * LONGEST_MONTH_S + longest.seconds) * SECOND
    return int(store.read(store.record.api_keys_older, {"made_by": made_by, "after": now})[0][0])


def approvals(region: str, store: Store, now: Micros) -> Iterator[Finding]:
    """Reviews of broken glass that are late, and notices that nobody took."""
    late, lost = overdue_in(store, now), given_up_in(store, now)
    if late:
        detail = f"{late} reviews of grants past a ceiling are late"
        yield Finding(f"cell {region} break-glass", RISKY, detail, "coatcheck break-glass list --overdue")
    if lost:
        detail = f"{lost} notices of the last week were given up after a day"
        yield Finding(f"cell {region} notices", RISKY, detail, "see that [notices] names servers that answer")
