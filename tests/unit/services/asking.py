"""Ways to ask under a grant."""

from __future__ import annotations

from typing import Any

from tests.support.cells import BuiltCell
from tests.unit.services.calls import grant_id
from vault.services.batch import BatchRefused
from vault.services.detokenize import DetokenizeBody, DetokenizeItem, detokenize
from vault.services.grant_views import read_grant

SSNS = ["123-45-6789", "078-05-1120", "219-09-9999"]


def left(built: BuiltCell, credential: str) -> int:
    """The uses that a grant has left."""
    return built.run(read_grant, grant_id(credential)).uses_left


def ask(built: BuiltCell, credential: str, *items: DetokenizeItem, **more: Any) -> list[str | None]:
    """Values, row by row."""
    more.setdefault("purpose", "support")
    answer = built.run(detokenize, DetokenizeBody(items=list(items), **more), by=credential)
    assert isinstance(answer.items, list)
    values = [item.value for item in answer.items]
    return [value for value in values if value is None or isinstance(value, str)]


def codes(refusal: BatchRefused) -> dict[int, str]:
    """The code of each bad item, by its place."""
    listed: Any = refusal.facts["errors"]
    return {failure["index"]: failure["code"] for failure in listed}
