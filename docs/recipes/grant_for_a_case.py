"""A grant for one case, as the program that takes the case creates it: no model and no prompt is near."""

from __future__ import annotations

from typing import Any

from vault.client.http import Client
from vault.client.keys import Holder, Worker


def grant_for_a_case(desk: Client, holder: Holder, worker: Worker, person: str) -> Any:
    """The answer of the service: the grant's `id`, and the `delivery_key` to pin; no credential.

    Raises:
        CoatcheckError: the service's refusal.
    """
    body = {
        "agent": "agent:demo",
        "purpose": "support",
        "scope": [
            {"fields": ["customer.email"], "operations": ["reveal"], "delivery": ["sealed"]},
            {"fields": ["customer.name"], "operations": ["mask"], "delivery": ["sealed"]},
        ],
        "subjects": {"in": [person]},
        "limits": {"uses": 10, "batch": 1},
        "bind": {"cnf": {"jkt": holder.thumbprint}},
        "seal_to": worker.jwk,
        "delegation": {"depth": 1, "ttl_max_s": 300},
    }
    return desk.request("POST", "grants", body)
