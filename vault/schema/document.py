"""The schema: purposes, retention classes and fields, as `schema.toml` states them.

What cannot be kept is refused here, with every reason at once; what is not built is refused by name.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from vault.clock import Period
from vault.errors import BadInput, CoatcheckError
from vault.formats.catalog import parse_template
from vault.formats.mask import Mask
from vault.formats.template import Template
from vault.schema.refusals import Refusals, is_label, shown

DEFAULT_MAX_USES: Final = 50  # what a bearer credential may do unless a purpose says more
DEFAULT_MAX_TTL: Final = "PT15M"
MAX_TTL_S: Final = 366 * 86_400  # seconds; as long as a ceiling's
MAX_KEEP_S: Final = 200 * 366 * 86_400  # seconds
MAX_NAMES: Final = 1000
MAX_TOML: Final = 256 * 1024  # characters
MAX_DOTS: Final = 32  # in a line; the parser's memory grows with the square of a dotted key's parts

# GDPR, article 6(1)(a) to (f)
LEGAL_BASES: Final = (
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_task",
    "legitimate_interests",
)
DISCLOSURE_CLASSES: Final = ("internal", "tpo", "non_tpo")  # HIPAA, 45 CFR 164.528(a)(1)(i)


class Protection(StrEnum):
    """How a field's surrogate is made."""

    VAULTLESS = "vaultless"
    VAULTED = "vaulted"


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why plaintext may be wanted, and the caps of bearer grants for it."""

    name: str
    description: str
    legal_basis: str
    activity: str
    disclosure_class: str
    deliveries: frozenset[str]
    max_uses: int
    max_ttl_s: int


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """A retention class as written: kept for `keep` from creation, due by day or month."""

    name: str
    keep: Period | None  # None: as long as the field key
    period: str


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A named kind of value."""

    name: str
    template: Template
    protection: Protection
    retention: str
    classification: str
    subject_required: bool
    masks: Mapping[str, Mask]
    source: Mapping[str, Any]  # as written, for comparison


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of a tenant's schema.

    Attributes:
        digest: SHA-256 (hex) of the document in canonical JSON; documents that say the same agree.
        body: the canonical JSON, as stored.
    """

    purposes: Mapping[str, Purpose]
    retention: Mapping[str, RetentionRule]
    fields: Mapping[str, FieldRule]
    digest: str
    body: str = field(repr=False)


EMPTY: Final = Schema({}, {}, {}, hashlib.sha256(b"{}").hexdigest(), "{}")


def parse_toml(text: str) -> Schema:
    """The schema of a TOML document.

    Raises:
        BadInput: `schema_refused` with `refusals`, one line a reason.
    """
    if len(text) > MAX_TOML or any(map(_is_deep, text.split("\n"))):
        raise BadInput("schema_refused", refusals=["the document is too large, or a line has too many dots"])
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        raise BadInput("schema_refused", refusals=["the document is not TOML"]) from None
    return parse_document(document)


def _is_deep(line: str) -> bool:
    """Whether a line of TOML might hold a key of very many parts; comments may have as many dots as any."""
    return line.count(".") > MAX_DOTS and not line.lstrip(" \t").startswith("#")


def parse_document(document: Mapping[str, Any]) -> Schema:
    """The schema of a decoded document (from TOML or JSON).

    Raises:
        BadInput: `schema_refused` with `refusals`, one line a reason.
    """
    refusals = Refusals()
    top = refusals.table("schema", document, ("purposes", "retention", "fields"), ("templates",))
    purposes = {n: _purpose(refusals, p, n, t) for n, p, t in _entries(refusals, top, "purposes")}
    retention = {n: _retention(refusals, p, n, t) for n, p, t in _entries(refusals, top, "retention")}
    fields = {n: _field(refusals, p, n, t, retention) for n, p, t in _entries(refusals, top, "fields")}
    refusals.settle()
    try:
        body = msgspec.json.encode(document, order="deterministic")
    except (TypeError, ValueError, RecursionError):
        raise BadInput("schema_refused", refusals=["the document holds more than JSON can say"]) from None
    return Schema(
        purposes=purposes,
        retention=retention,
        fields={name: rule for name, rule in fields.items() if rule is not None},
        digest=hashlib.sha256(body).hexdigest(),
        body=body.decode(),
    )


def _entries(refusals: Refusals, top: Mapping[str, Any], kind: str) -> list[tuple[str, str, Any]]:
    """(name, place, table) of each entry of a top-level table, names checked."""
    tables = top.get(kind, {})
    if not isinstance(tables, Mapping):
        refusals.add(kind, "is not a table")
        return []
    if len(tables) > MAX_NAMES:
        refusals.add(kind, f"has more than {MAX_NAMES} entries")
        return []
    entries = []
    for name, table in tables.items():
        place = f"{kind}.{shown(name)}"
        if not is_label(name):
            refusals.add(place, "a name is a-z, 0-9, '_', '.', '-', at most 64 characters")
        elif not isinstance(table, Mapping):
            refusals.add(place, "is not a table")
        else:
            entries.append((name, place, table))
    return entries


def _purpose(refusals: Refusals, place: str, name: str, value: object) -> Purpose:
    known = ("description", "legal_basis", "activity", "disclosure_class", "bearer")
    table = refusals.table(place, value, known)
    bearer = refusals.table(f"{place}.bearer", table.get("bearer", {}), ("delivery", "max_uses", "max_ttl"))
    deliveries = bearer.get("delivery", [])
    if not isinstance(deliveries, list) or not all(item == "plain" for item in deliveries):
        refusals.add(f"{place}.bearer.delivery", "is not a list; only plain is built in this version")
        deliveries = []
    ttl = refusals.period(f"{place}.bearer", bearer, "max_ttl", DEFAULT_MAX_TTL)
    if not 0 < ttl.shortest_seconds <= MAX_TTL_S:
        refusals.add(f"{place}.bearer.max_ttl", "is more than nothing and at most a year")
    return Purpose(
        name=name,
        description=refusals.text(place, table, "description"),
        legal_basis=refusals.choice(place, table, "legal_basis", LEGAL_BASES),
        activity=refusals.text(place, table, "activity"),
        disclosure_class=refusals.choice(
            place, table, "disclosure_class", DISCLOSURE_CLASSES, default="internal"
        ),
        deliveries=frozenset(deliveries),
        max_uses=refusals.number(f"{place}.bearer", bearer, "max_uses", DEFAULT_MAX_USES, 1, 10**12),
        max_ttl_s=ttl.shortest_seconds,
    )


def _retention(refusals: Refusals, place: str, name: str, value: object) -> RetentionRule:
    table = refusals.table(place, value, ("keep", "from", "period"), ("max",))
    if table.get("keep") == "key":
        for key in ("from", "period"):
            if key in table:
                refusals.add(f"{place}.{key}", "goes with a period, not with keep = 'key'")
        return RetentionRule(name, None, "month")
    if "keep" not in table:
        refusals.add(f"{place}.keep", "is missing: an ISO 8601 duration, or 'key'")
    start = table.get("from", "creation")
    if start != "creation":
        refusals.add(f"{place}.from", "only creation is built in this version")
    keep = refusals.period(place, table, "keep", "P1Y")
    if keep.seconds % 86_400:
        refusals.add(f"{place}.keep", "is a whole number of days, months or years")
    if not 0 < keep.shortest_seconds <= MAX_KEEP_S:
        refusals.add(f"{place}.keep", "is more than nothing and at most 200 years")
    period = refusals.choice(place, table, "period", ("month", "day"), default="month")
    return RetentionRule(name, keep, period)


def _field(
    refusals: Refusals, place: str, name: str, value: object, retention: Mapping[str, RetentionRule]
) -> FieldRule | None:
    table = refusals.table(
        place,
        value,
        (
            "template",
            "protection",
            "retention",
            "classification",
            "subject",
            "masks",
            "deterministic",
            "small",
        ),
        ("surrogate", "max_rows", "normalize", "rotation", "tokenize_budget", "max_bytes"),
    )
    protection = _protection(refusals, place, table)
    refusals.choice(place, table, "deterministic", ("none",), default="none", not_built=("field", "subject"))
    refusals.choice(place, table, "small", ("refuse",), default="refuse", not_built=("vaulted", "pass"))
    subject = refusals.choice(place, table, "subject", ("optional", "required"), default="optional")
    if protection is Protection.VAULTLESS and subject == "required":
        refusals.add(f"{place}.subject", "cannot be required: nothing ties a vaultless token to a person")
    template = _template(refusals, place, table) if protection or "template" in table else None
    if template is not None and protection is Protection.VAULTLESS and not template.reversible_by_ff1:
        refusals.add(f"{place}.template", "has no fixed alphabet, so it cannot be vaultless")
    _retention_of(refusals, place, table, protection, retention)
    classification = refusals.text(place, table, "classification", limit=64)
    masks = _masks(refusals, place, table)
    if template is None or protection is None:
        return None
    return FieldRule(
        name=name,
        template=template,
        protection=protection,
        retention=str(table.get("retention", "")),
        classification=classification,
        subject_required=subject == "required",
        masks=masks,
        source=table,
    )


def _protection(refusals: Refusals, place: str, table: Mapping[str, Any]) -> Protection | None:
    """The field's protection; None after a refusal, so that no reason is given that rests on a guess."""
    built = [item.value for item in Protection]
    word = refusals.choice(place, table, "protection", built, not_built=("encrypted", "vaultless-subject"))
    return Protection(word) if table.get("protection") == word else None


def _template(refusals: Refusals, place: str, table: Mapping[str, Any]) -> Template | None:
    spec = table.get("template")
    try:
        return parse_template(spec if isinstance(spec, str) else "")
    except CoatcheckError:
        refusals.add(f"{place}.template", "is not a template; docs/reference/templates.md lists them")
        return None


def _retention_of(
    refusals: Refusals,
    place: str,
    table: Mapping[str, Any],
    protection: Protection | None,
    retention: Mapping[str, RetentionRule],
) -> None:
    """A promise of erasure that the protection cannot keep is refused (`retention_unkeepable`)."""
    name = table.get("retention")
    if not isinstance(name, str) or name not in retention:
        refusals.add(f"{place}.retention", "does not name a class of [retention]")
    elif protection is Protection.VAULTLESS and retention[name].keep is not None:
        refusals.add(
            f"{place}.retention",
            "retention_unkeepable: a vaultless token has no row; only its field key's end erases it",
        )
    elif protection is Protection.VAULTED and retention[name].keep is None:
        refusals.add(
            f"{place}.retention", "retention_unkeepable: a vaulted value needs a class with a period"
        )


def _masks(refusals: Refusals, place: str, table: Mapping[str, Any]) -> dict[str, Mask]:
    patterns = table.get("masks", {})
    if not isinstance(patterns, Mapping):
        refusals.add(f"{place}.masks", "is not a table")
        return {}
    masks = {}
    for name, pattern in patterns.items():
        try:
            if not is_label(name) or not isinstance(pattern, str):
                raise BadInput("template_invalid")
            masks[name] = Mask.parse(pattern)
        except CoatcheckError:
            refusals.add(f"{place}.masks.{shown(name)}", "is not a mask such as '***-**-{last:4}'")
    return masks
