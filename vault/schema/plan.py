"""What applying a document changes, and which changes are refused.

A plan has a digest over the schema that stands and the one that is proposed. Applying takes the digest,
so that nobody applies another change than the one that was shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vault.schema.document import Determinism, FieldRule, Protection, Schema

# What a field may change while values live under it; everything else decides how a token is made or
# when it dies.
_FREE: Final = frozenset({"masks", "classification", "subject", "tokenize_budget", "rotation"})


# What a setting means where it is left out: writing that down changes nothing.
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "purpose": {"description": "", "activity": "", "disclosure_class": "internal", "bearer": {}},
    "retention": {"from": "creation", "period": "month"},
    "field": {
        "small": "refuse",
        "deterministic": "none",
        "normalize": "none",
        "subject": "optional",
        "classification": "",
        "masks": {},
    },
}


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan: `add`, `change` or `remove` of a named thing, with the settings touched."""

    action: str
    kind: str
    name: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in reading order, and reasons why they cannot be applied."""

    changes: tuple[Change, ...]
    refusals: tuple[str, ...]
    digest: str


def make_plan(now: Schema, then: Schema) -> Plan:
    """The plan from the schema that stands to the one proposed."""
    changes: list[Change] = []
    refusals: list[str] = []
    _compare("purpose", _sources(now, "purposes"), _sources(then, "purposes"), changes)
    _compare("retention", _sources(now, "retention"), _sources(then, "retention"), changes)
    _compare("field", _sources(now, "fields"), _sources(then, "fields"), changes)
    for change in changes:
        refusals += _refusals(change)
    refusals += _mask_refusals(_sources(now, "fields"), _sources(then, "fields"))
    digest = hashlib.sha256(f"{now.digest}\n{then.digest}".encode()).hexdigest()
    return Plan(tuple(changes), tuple(refusals), digest)


def _sources(schema: Schema, kind: str) -> Mapping[str, Mapping[str, Any]]:
    """The tables of a kind, as written."""
    tables: Mapping[str, Mapping[str, Any]] = msgspec.json.decode(schema.body).get(kind, {})
    return tables


def _compare(
    kind: str,
    now: Mapping[str, Mapping[str, Any]],
    then: Mapping[str, Mapping[str, Any]],
    changes: list[Change],
) -> None:
    for name in sorted(now.keys() | then.keys()):
        if name not in now:
            changes.append(Change("add", kind, name))
        elif name not in then:
            changes.append(Change("remove", kind, name))
        elif now[name] != then[name]:
            old, new = ({**_DEFAULTS[kind], **tables[name]} for tables in (now, then))
            keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            if keys:
                changes.append(Change("change", kind, name, tuple(keys)))


def _refusals(change: Change) -> list[str]:
    place = f"{change.kind} {change.name}"
    if change.action == "remove":
        reason = "grants may be for it" if change.kind == "purpose" else "values may live under it"
        return [f"{place}: removing it is not built yet in this version ({reason})"]
    if change.action == "change" and change.kind == "retention":
        return [f"{place}: changing it is not built yet in this version (keys are filed under its periods)"]
    if change.action == "change" and change.kind == "field":
        fixed = [setting for setting in change.settings if setting not in _FREE]
        return [
            f"{place}: changing {s} is not built yet in this version (values may live under it)"
            for s in fixed
        ]
    return []


def _mask_refusals(now: Mapping[str, Mapping[str, Any]], then: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A mask that a living grant may name shows what it showed when the grant was created."""
    return [
        f"field {name}: changing mask {mask} is not built yet in this version (grants may be for it)"
        for name in sorted(now.keys() & then.keys())
        for mask, pattern in sorted(now[name].get("masks", {}).items())
        if then[name].get("masks", {}).get(mask) != pattern
    ]


def new_key_purposes(rule: FieldRule) -> tuple[str, ...]:
    """The field keys that a new field needs: one purpose each."""
    purposes = []
    if rule.protection is Protection.VAULTLESS:
        purposes.append("ff1")
    if rule.protection is Protection.VAULTED and rule.surrogate is None:
        purposes.append("row-id")
    if rule.deterministic is not Determinism.NONE:
        purposes.append("blind-index")
    return tuple(purposes)
