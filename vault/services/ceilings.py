"""Ceilings as they come: what a principal may be allowed to give away, and what the log keeps of it."""

from __future__ import annotations

from typing import Any

import msgspec

from vault.clock import parse_period
from vault.errors import BadInput
from vault.policy.principal import DELIVERIES, OPERATIONS, Ceiling, Kind, full_name
from vault.schema.refusals import is_label
from vault.services.subjects import MAX_SUBJECTS, check_subject

MAX_CEILING_NAMES = 1_000  # in one of its lists


def check_ceiling(ceiling: Ceiling) -> None:
    """Returns if a ceiling makes sense.

    Raises:
        BadInput: `limit_invalid`, `operation_unsupported`, `name_invalid`, `subject_invalid`.
    """
    try:
        ttl = parse_period(ceiling.ttl)
    except ValueError:
        raise BadInput("limit_invalid", member="ttl") from None
    in_bounds = 0 <= ceiling.uses <= 10**12 and (ceiling.uses_per_day is None or ceiling.uses_per_day >= 0)
    if not in_bounds or ttl.shortest_seconds > 366 * 86_400:
        raise BadInput("limit_invalid", member="ceiling")
    _check_names(ceiling)
    subjects = ceiling.subjects or []
    if len(subjects) > MAX_SUBJECTS:
        raise BadInput("limit_invalid", member="subjects", most=MAX_SUBJECTS)
    for subject in subjects:
        check_subject(subject)


def _check_names(ceiling: Ceiling) -> None:
    """A ceiling goes into the log for ever, so what it names are names, and few enough."""
    lists = (ceiling.fields, ceiling.operations, ceiling.deliveries, ceiling.purposes, ceiling.agents)
    if max(map(len, lists)) > MAX_CEILING_NAMES:
        raise BadInput("limit_invalid", member="ceiling", most=MAX_CEILING_NAMES)
    if not set(ceiling.operations) <= set(OPERATIONS) or not set(ceiling.deliveries) <= set(DELIVERIES):
        raise BadInput("operation_unsupported", member="ceiling")
    if not all(map(is_label, (*ceiling.fields, *ceiling.purposes))):
        raise BadInput("name_invalid", member="ceiling")
    try:
        agents = [full_name(Kind.AGENT, name) for name in ceiling.agents]
    except ValueError:
        raise BadInput("name_invalid", member="agents") from None
    if agents != ceiling.agents:
        raise BadInput("name_invalid", member="agents")


def leaf_of(ceiling: Ceiling | None) -> dict[str, Any] | None:
    """A ceiling as the log may keep it for ever: of the data subjects, only how many there are."""
    if ceiling is None:
        return None
    leaf: dict[str, Any] = msgspec.to_builtins(ceiling)
    if ceiling.subjects is not None:
        leaf["subjects"] = len(ceiling.subjects)
    return leaf
