"""Reading a purpose: why plaintext may be wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vault.schema.refusals import Refusals
from vault.schema.rules import Purpose

DEFAULT_MAX_USES: Final = 50  # what a bearer credential may do unless a purpose says more
DEFAULT_MAX_TTL: Final = "PT15M"
MAX_TTL_S: Final = 366 * 86_400  # seconds; as long as a ceiling's

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


def read_purpose(refusals: Refusals, place: str, name: str, value: object) -> Purpose:
    """The purpose of a table."""
    known = ("description", "legal_basis", "activity", "disclosure_class", "bearer", "keyed")
    table = refusals.table(place, value, known)
    bearer = refusals.table(f"{place}.bearer", table.get("bearer", {}), ("delivery", "max_uses", "max_ttl"))
    keyed = refusals.table(f"{place}.keyed", table.get("keyed", {}), ("delivery",))
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
        deliveries=_deliveries(refusals, f"{place}.bearer", bearer),
        max_uses=refusals.number(f"{place}.bearer", bearer, "max_uses", DEFAULT_MAX_USES, 1, 10**12),
        max_ttl_s=ttl.shortest_seconds,
        keyed_deliveries=_deliveries(refusals, f"{place}.keyed", keyed),
    )


def _deliveries(refusals: Refusals, place: str, table: Mapping[str, Any]) -> frozenset[str]:
    """How values may be delivered besides sealed, which is always allowed."""
    deliveries = table.get("delivery", [])
    if not isinstance(deliveries, list) or not all(item in ("plain", "sealed") for item in deliveries):
        refusals.add(f"{place}.delivery", "is a list of `plain` and `sealed`")
        return frozenset()
    return frozenset(deliveries)
