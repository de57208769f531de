"""P5: no caller chooses a nonce, an algorithm, a key's route or a KMS address."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from vault.api import openapi
from vault.api.app import ROUTES

# What only the service, the key's record or the deployment's configuration may say.
FORBIDDEN = (
    "nonce", "iv", "salt", "alg", "algorithm", "cipher", "suite", "tweak", "radix", "aad", "kms", "endpoint",
    "url", "uri", "host", "address", "path", "file", "key_id", "keyid", "kid", "region", "tenant", "epoch",
)  # fmt: skip


def members(schema: Any, document: dict[str, Any]) -> set[str]:
    """All member names of a schema and of those it refers to."""
    found: set[str] = set()
    waiting, seen = [schema], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str) and reference not in seen:
                seen.add(reference)
                waiting.append(document["components"]["schemas"][reference.rpartition("/")[2]])
            found |= set(part.get("properties", {}))
            waiting += part.values()
    return found


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.body], ids=lambda r: f"{r.method} {r.path}"
)
def test_no_member_of_a_body_chooses_how_it_is_protected(route: Any) -> None:
    document = openapi.document(ROUTES)
    operation = document["paths"][f"/v1/{{region}}/{route.path}"][route.method.lower()]
    named = members(operation["requestBody"]["content"]["application/json"]["schema"], document)
    silent = not msgspec.structs.fields(route.body)
    assert named or silent, "a body without members would make this test pass for nothing"
    assert named.isdisjoint(FORBIDDEN)


def test_query_parameters_choose_nothing_either() -> None:
    assert {name for route in ROUTES for name in route.query}.isdisjoint(FORBIDDEN)


def test_the_look_finds_a_planted_member() -> None:
    planted = {
        "anyOf": [{"type": "object", "properties": {"items": {"items": {"properties": {"nonce": {}}}}}}]
    }
    assert "nonce" in members(planted, {"components": {"schemas": {}}})


def test_bodies_are_closed() -> None:
    schemas = openapi.document(ROUTES)["components"]["schemas"]
    bodies = {route.body.__name__ for route in ROUTES if route.body}
    assert bodies
    assert all(schemas[name]["additionalProperties"] is False for name in bodies)
