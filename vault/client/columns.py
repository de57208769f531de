"""Columns of files through the service: batch by batch, each asked for under a key of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from vault.client.http import Client
from vault.files.job import Turned

BATCH: Final = 10_000  # values a request
BATCH_BYTES: Final = 4 * 1024 * 1024  # half of what the service takes by default


class Tokens:
    """Tokens of columns, by a service key.

    Args:
        client: of a region.
        batch: most values of a request.

    Attributes:
        key_versions: of the vaultless fields that were turned.
    """

    def __init__(self, client: Client, batch: int = BATCH) -> None:
        self._client = client
        self._batch = batch
        self._vaultless: dict[str, bool] = {}
        self.key_versions: dict[str, int] = {}

    def turn(
        self, field: str, values: Sequence[str | None], subjects: Sequence[str | None] | None, key: str
    ) -> Turned:
        """The tokens of some values; see `files.job.Transform`.

        Raises:
            CoatcheckError: as `Client.request`.
        """
        made: list[str | None] = []
        refused: dict[int, str] = {}
        vaultless = self._is_vaultless(field)
        for number, (start, some) in enumerate(batches(values, self._batch)):
            body: dict[str, Any] = {"field": field, "values": some, "on_error": "report"}
            if subjects is not None and not vaultless:
                body["subjects"] = list(subjects[start : start + len(some)])
            if some.count(None) == len(some):
                made += some
                continue
            # A vaultless token is the same whenever it is made; others are made once.
            once = None if vaultless else f"{key}-{number}"
            answer = self._client.request("POST", "tokenize", body, idempotency_key=once)
            if "key_version" in answer:
                self.key_versions[field] = answer["key_version"]
            for index, token in enumerate(answer["tokens"], start):
                if isinstance(token, dict):
                    refused[index] = str(token["error"]["code"])
                made.append(token if isinstance(token, str) else None)
        return Turned(made, refused)

    def _is_vaultless(self, field: str) -> bool:
        if field not in self._vaultless:
            answer = self._client.request("GET", f"fields/{field}")
            self._vaultless[field] = answer["protection"] == "vaultless"
        return self._vaultless[field]


def batches(values: Sequence[str | None], most: int) -> Iterator[tuple[int, list[str | None]]]:
    """(where it begins, values) of each batch, bounded in values and bytes."""
    first = size = 0
    for place, value in enumerate(values):
        own = 8 + (len(value.encode("utf-8", "surrogatepass")) if value is not None else 0)
        if place > first and (place - first == most or size + own > BATCH_BYTES):
            yield first, list(values[first:place])
            first, size = place, 0
        size += own
    if first < len(values):
        yield first, list(values[first:])
