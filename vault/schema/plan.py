"""What applying a document changes, and which changes are refused for what lives under the schema.

A plan has a digest over the schema that stands and the one that is proposed. Applying takes the digest,
so that nobody applies another change than the one that was shown.

Settings are compared by what they mean, so writing a default down, or `P12M` for `P1Y`, changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vault.schema.document import Schema
from vault.schema.rules import Determinism, FieldRule, Protection, Purpose, RetentionRule, Small
from vault.schema.templates import Own

Setting = Callable[[Any], object]

_PURPOSE: Final[Mapping[str, Callable[[Purpose], object]]] = {
    "description": lambda rule: rule.description,
    "legal_basis": lambda rule: rule.legal_basis,
    "activity": lambda rule: rule.activity,
    "disclosure_class": lambda rule: rule.disclosure_class,
    "bearer": lambda rule: (rule.deliveries, rule.max_uses, rule.max_ttl_s),
}
_CLASS: Final[Mapping[str, Callable[[RetentionRule], object]]] = {
    "keep": lambda rule: rule.keep,
    "from": lambda rule: (rule.start, rule.event),
    "max": lambda rule: rule.max,
    "period": lambda rule: rule.period,
}
_TEMPLATE: Final[Mapping[str, Callable[[Own], object]]] = {
    "pattern": lambda template: template.pattern,
    "alphabet": lambda template: template.alphabet,
    "encode": lambda template: template.encode,
}
_FIELD: Final[Mapping[str, Callable[[FieldRule], object]]] = {
    "template": lambda rule: None if rule.template is None else rule.template.spec,
    "protection": lambda rule: rule.protection,
    "retention": lambda rule: rule.retention,
    "classification": lambda rule: rule.classification,
    "subject": lambda rule: rule.subject_required,
    "masks": lambda rule: rule.masks,
    "deterministic": lambda rule: rule.deterministic,
    "normalize": lambda rule: rule.normalize,
    "surrogate": lambda rule: rule.surrogate,
    "max_rows": lambda rule: rule.max_rows,
    "max_bytes": lambda rule: rule.max_bytes,
    "tokenize_budget": lambda rule: rule.budget_per_day,
    "rotation": lambda rule: rule.rotation,
    "transfer_to": lambda rule: rule.transfer_to,
    "small": lambda rule: rule.small,
    "small_retention": lambda rule: rule.small_retention,
}

# What a field may change while values live under it; everything else decides how a token is made, what it
# is compared with, or when it dies. Bounds may be raised; masks are the grants' matter.
_FREE: Final = frozenset({"classification", "subject", "masks", "tokenize_budget", "rotation", "transfer_to"})
_MAY_RISE: Final = frozenset({"max_rows", "max_bytes"})
# What only values that are too few for FF1 depend on, which are counted by themselves.
_OF_SMALL: Final = frozenset({"small", "small_retention"})

_LIVES: Final[Mapping[Protection, str]] = {
    Protection.VAULTLESS: "tokens of it are with callers",
    Protection.VAULTED: "values live under it",
    Protection.ENCRYPTED: "ciphertexts of it are with callers",
}
ACCOUNTED: Final = "non_tpo"
"""The disclosure class whose disclosures must be accounted for, by person (45 CFR 164.528)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan: `add`, `change` or `remove` of a named thing, with the settings touched."""

    action: str
    kind: str
    name: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LivingGrant:
    """What a grant that may still be used is for.

    Attributes:
        masks: (field, mask) that it may show; an empty name stands for any mask of the field.
    """

    purpose: str
    fields: frozenset[str]
    masks: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Living:
    """What lives under the schema that stands, as far as a plan must know it.

    Attributes:
        values: by field: tokens whose values are here, or surrogates that callers keep.
        small: of those, by vaultless field: values too few for FF1, vaulted ones that open or passed ones.
        keys: by retention class: data keys.
        grants: those that may still be used.
    """

    values: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)
    grants: tuple[LivingGrant, ...] = ()
    small: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bound:
    """What has to be counted before a plan can be made: only what the changes touch.

    Attributes:
        fields: whose values are counted.
        classes: whose keys are counted.
        grants: whether it matters which grants live.
    """

    fields: frozenset[str]
    classes: frozenset[str]
    grants: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in reading order, and reasons why they cannot be applied."""

    changes: tuple[Change, ...]
    refusals: tuple[str, ...]
    digest: str


def make_plan(now: Schema, then: Schema, living: Living) -> Plan:
    """The plan from the schema that stands to the one proposed.

    Args:
        now: the schema that stands.
        then: the one proposed.
        living: what lives, at least as far as `bound` asks.
    """
    changes = _changes(now, then)
    refusals = [reason for change in changes for reason in _refusals(now, then, change, living)]
    digest = hashlib.sha256(f"{now.digest}\n{then.digest}".encode()).hexdigest()
    return Plan(changes, tuple(refusals), digest)


def bound(now: Schema, then: Schema) -> Bound:
    """What has to be counted to plan from one schema to the other."""
    fields: set[str] = set()
    classes: set[str] = set()
    grants = False
    for change in _changes(now, then):
        if change.action == "add" or change.kind == "template":
            continue
        if change.kind == "retention":
            classes.add(change.name)
            # Where no key of the class lives, no value does; the first one is seen by its field's number.
            fields |= {
                name
                for name, rule in now.fields.items()
                if change.name in (rule.retention, rule.small_retention)
            }
        elif change.kind == "purpose":
            grants |= change.action == "remove" or _becomes_accounted(then, change)
        else:
            if change.action == "remove" or _held(now, then, change):
                fields.add(change.name)
            grants |= change.action == "remove" or "protection" in change.settings
            grants |= bool(_lost_masks(now, then, change))
    return Bound(frozenset(fields), frozenset(classes), grants)


def new_key_purposes(rule: FieldRule) -> tuple[str, ...]:
    """The field keys that a field needs: one purpose each."""
    return tuple(_key_uses(rule))


def key_changes(now: Schema, then: Schema) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
    """The field keys, as (field, purpose), that need a new version, and those whose versions end."""
    new: set[tuple[str, str]] = set()
    ended: set[tuple[str, str]] = set()
    for name in now.fields.keys() | then.fields.keys():
        had = _key_uses(now.fields.get(name))
        needs = _key_uses(then.fields.get(name))
        new.update((name, purpose) for purpose in needs if had.get(purpose) != needs[purpose])
        ended.update((name, purpose) for purpose in had if had[purpose] != needs.get(purpose))
    return frozenset(new), frozenset(ended)


def _key_uses(rule: FieldRule | None) -> dict[str, object]:
    """What a field's keys are used on, by purpose; a key is used on one thing in its life."""
    uses: dict[str, object] = {}
    if rule is None:
        return uses
    template = _FIELD["template"](rule)
    if rule.protection is Protection.VAULTLESS:
        uses["ff1"] = (template,)
    if rule.small is Small.VAULTED or (rule.protection is Protection.VAULTED and rule.surrogate is None):
        uses["row-id"] = ()
    if rule.deterministic is not Determinism.NONE:
        uses["blind-index"] = (rule.deterministic, rule.normalize, template)
    if any(mask.hashes for mask in rule.masks.values()):
        uses["mask"] = (template,)
    return uses


def _changes(now: Schema, then: Schema) -> tuple[Change, ...]:
    return (
        *_compare("purpose", now.purposes, then.purposes, _PURPOSE),
        *_compare("retention", now.retention, then.retention, _CLASS),
        *_compare("template", now.templates, then.templates, _TEMPLATE),
        *_compare("field", now.fields, then.fields, _FIELD),
    )


def _compare(
    kind: str, now: Mapping[str, Any], then: Mapping[str, Any], settings: Mapping[str, Setting]
) -> list[Change]:
    changes: list[Change] = []
    for name in sorted(now.keys() | then.keys()):
        if name not in now:
            changes.append(Change("add", kind, name))
        elif name not in then:
            changes.append(Change("remove", kind, name))
        else:
            old, new = now[name], then[name]
            touched = sorted(key for key, meaning in settings.items() if meaning(old) != meaning(new))
            if touched:
                changes.append(Change("change", kind, name, tuple(touched)))
    return changes


def _refusals(now: Schema, then: Schema, change: Change, living: Living) -> list[str]:
    """Why a change cannot be applied: what lives under it, with its count."""
    if change.action == "add" or change.kind == "template":
        return []  # a template's change is one of each field that names it
    if change.kind == "purpose":
        counted = _of_purpose(then, change, living)
    elif change.kind == "retention":
        counted = [(_verb(change), "keys live under it", living.keys.get(change.name, 0))]
    else:
        counted = _of_field(now, then, change, living)
    place = f"{change.kind} {change.name}"
    return [f"{place}: cannot {verb} while {what}: {count:,}" for verb, what, count in counted if count]


Counted = tuple[str, str, int]


def _of_purpose(then: Schema, change: Change, living: Living) -> list[Counted]:
    mine = [grant for grant in living.grants if grant.purpose == change.name]
    if change.action == "remove":
        return [("be removed", "grants for it live", len(mine))]
    if not _becomes_accounted(then, change):
        return []
    vaultless = {n for n, rule in then.fields.items() if rule.protection is Protection.VAULTLESS}
    return [
        (
            f"become {ACCOUNTED}",
            "grants for it live over vaultless fields",
            sum(bool(grant.fields & vaultless) for grant in mine),
        )
    ]


def _of_field(now: Schema, then: Schema, change: Change, living: Living) -> list[Counted]:
    name = change.name
    lives = _LIVES[now.fields[name].protection]
    values = living.values.get(name, 0)
    naming = sum(name in grant.fields for grant in living.grants)
    if change.action == "remove":
        return [("be removed", lives, values), ("be removed", "grants that name it live", naming)]
    small = living.small.get(name, 0)
    counted = [
        (f"change {setting}", "small values of it live", small)
        if setting in _OF_SMALL
        else (f"change {setting}", lives, values)
        for setting in _held(now, then, change)
    ]
    if "protection" in change.settings:
        counted.append(("change protection", "grants that name it live", naming))
    for mask in _lost_masks(now, then, change):
        shows = {(name, mask), (name, "")}
        showing = sum(bool(grant.masks & shows) for grant in living.grants)
        counted.append((f"change mask {mask}", "grants that may show it live", showing))
    return counted


def _verb(change: Change) -> str:
    return "be removed" if change.action == "remove" else f"change {', '.join(change.settings)}"


def _becomes_accounted(then: Schema, change: Change) -> bool:
    accounted = "disclosure_class" in change.settings
    return accounted and then.purposes[change.name].disclosure_class == ACCOUNTED


def _held(now: Schema, then: Schema, change: Change) -> list[str]:
    """The settings of a changed field that may not change while values live under it."""
    if change.action != "change":
        return []
    old, new = now.fields[change.name], then.fields[change.name]
    held = [setting for setting in change.settings if setting not in _FREE]
    return [setting for setting in held if setting not in _MAY_RISE or not _rises(setting, old, new)]


def _rises(setting: str, old: FieldRule, new: FieldRule) -> bool:
    was, is_ = _FIELD[setting](old), _FIELD[setting](new)
    return isinstance(was, int) and isinstance(is_, int) and is_ > was


def _lost_masks(now: Schema, then: Schema, change: Change) -> list[str]:
    """The masks that are gone, or show something else. New ones take nothing from anybody."""
    if change.action != "change":
        return []
    old, new = now.fields[change.name].masks, then.fields[change.name].masks
    return sorted(mask for mask in old if new.get(mask) != old[mask])
