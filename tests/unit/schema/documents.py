"""Schemas to start from: one that is taken, and ways to change a place in it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from vault.errors import BadInput
from vault.schema.document import Schema, parse_document

Document = dict[str, Any]
REMOVED = type("Removed", (), {"__repr__": lambda self: "removed"})()

GOOD: Document = {
    "purposes": {
        "support": {
            "description": "Answer a customer's question",
            "legal_basis": "contract",
            "activity": "RoPA-07",
            "disclosure_class": "internal",
            "bearer": {"delivery": ["plain"], "max_uses": 50, "max_ttl": "PT15M"},
        }
    },
    "retention": {
        "key-lifetime": {"keep": "key"},
        "customer": {"keep": "P2Y", "from": "creation", "period": "month"},
    },
    "fields": {
        "customer.ssn": {
            "template": "ssn",
            "protection": "vaultless",
            "retention": "key-lifetime",
            "classification": "national-id",
            "masks": {"last4": "***-**-{last:4}"},
        },
        "customer.name": {
            "template": "text(max=200)",
            "protection": "vaulted",
            "retention": "customer",
            "subject": "required",
        },
        "customer.text": {
            "protection": "encrypted",
            "retention": "customer",
            "masks": {"first": "{first:1}..."},
        },
    },
}


def changed(changes: Mapping[str, Any]) -> Document:
    """The good document with values set, or removed, at places written `fields/customer.ssn/template`."""
    document = copy.deepcopy(GOOD)
    for place, value in changes.items():
        *path, last = place.split("/")
        table = document
        for part in path:
            table = table.setdefault(part, {})
        if value is REMOVED:
            del table[last]
        else:
            table[last] = value
    return document


def schema(changes: Mapping[str, Any] = MappingProxyType({})) -> Schema:
    """The schema of the good document with changes."""
    return parse_document(changed(changes))


def refusals(document: Any) -> list[str]:
    """Why a document is refused; it must be, with `schema_refused` and nothing else."""
    with pytest.raises(BadInput) as refusal:
        parse_document(document)
    assert refusal.value.code == "schema_refused"
    assert set(refusal.value.facts) == {"refusals"}
    reasons = refusal.value.facts["refusals"]
    assert isinstance(reasons, list)
    assert 1 <= len(reasons) <= 100
    return [str(reason) for reason in reasons]
