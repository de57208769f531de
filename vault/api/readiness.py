"""Whether the service is ready: not draining, every cell's database answers, and its keys are held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vault.errors import CoatcheckError
from vault.services.cell import Cell


def readiness(cells: Mapping[str, Cell], *, draining: bool, in_detail: bool) -> tuple[int, bytes, bytes]:
    """Status, media type and document.

    Args:
        in_detail: whether each cell's state is told, by the code of what is wrong.
    """
    states = dict.fromkeys(cells, "ready")
    for region, cell in cells.items():
        try:
            cell.store.read(cell.store.record.head)
            cell.keyring.epoch(cell.keyring.write_epoch)
        except CoatcheckError as problem:
            states[region] = problem.code
    ready = all(state == "ready" for state in states.values())
    status = "draining" if draining else "ready" if ready else "not ready"
    document: dict[str, Any] = {"status": status, **({"cells": states} if in_detail else {})}
    if in_detail and (key_stores := _key_stores(cells)):
        document["key_stores"] = key_stores
    return 200 if status == "ready" else 503, b"application/json", msgspec.json.encode(document)


def _key_stores(cells: Mapping[str, Cell]) -> dict[str, dict[str, str]]:
    """How key stores outside this host stand. A cell goes on without, with the keys it holds."""
    found = {}
    for region, cell in cells.items():
        if cell.key_store is not None and cell.key_store.remote:
            standing = cell.key_store.standing()
            found[region] = {"state": standing.cause or "ready", "breaker": standing.breaker.value}
    return found
