"""Columns of files through the service: batch by batch, each asked for under a key of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from vault.errors import CoatcheckError
from vault.files.plan import Turned

BATCH: Final = 10_000  # values a request
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
BATCH_BYTES: Final = 4 * 1024 * 1024  # half of what the service takes by default


class Service(Protocol):
    """What answers: a `Client`, or what does as one."""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, str | int] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """See `Client.request`."""


class Tokens:
    """Tokens of columns, by a service key.

    Args:
        client: of a region.
        batch: most values of a request.

    Attributes:
        key_versions: of the vaultless fields that were turned.
    """

    def __init__(self, client: Service, batch: int = BATCH) -> None:
        self._client = client
        self._batch = batch
        self._vaultless: dict[str, bool] = {}
        self.key_versions: dict[str, int] = {}

    def turn(
        self,
        field: str,
        values: Sequence[str | None],
        subjects: Sequence[str | None] | None,
        key: str,
        versions: Sequence[str | None] | None = None,
    ) -> Turned:
        """The tokens of some values; see `files.plan.Transform`.

        Raises:
            CoatcheckError: as `Client.request`.
        """
        made: list[str | None] = []
        refused: dict[int, str] = {}
        used: dict[int, int] = {}
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
                tokens = enumerate(answer["tokens"], start)
                used |= {index: answer["key_version"] for index, token in tokens if isinstance(token, str)}
            _add(made, refused, answer["tokens"])
        return Turned(made, refused, used)

    def check(
        self, field: str, values: Sequence[str | None], subjects: Sequence[str | None] | None
    ) -> dict[int, str]:
        """What would be refused; see `files.rehearsal.Check`.

        Raises:
            CoatcheckError: as `Client.request`.
        """
        refused: dict[int, str] = {}
        vaultless = self._is_vaultless(field)
        for start, some in batches(values, self._batch):
            body: dict[str, Any] = {"field": field, "values": some}
            if subjects is not None and not vaultless:
                body["subjects"] = list(subjects[start : start + len(some)])
            answer = self._client.request("POST", "tokenize/check", body)
            refused |= {start + told["index"]: told["code"] for told in answer["refused"]}
        return refused

    def _is_vaultless(self, field: str) -> bool:
        if field not in self._vaultless:
            answer = self._client.request("GET", f"fields/{field}")
            self._vaultless[field] = answer["protection"] == "vaultless"
        return self._vaultless[field]


class Rekeys:
    """Tokens of the newest key version for columns of older ones, by a service key.

    Args:
        client: of a region.
        key_version: of tokens whose key versions no column holds.
        batch: most tokens of a request.

    Attributes:
        key_versions: the newest of each field that was turned.
    """

    def __init__(self, client: Service, key_version: int | None = None, batch: int = BATCH) -> None:
        self._client = client
        self._key_version = key_version
        self._batch = batch
        self.key_versions: dict[str, int] = {}

    def turn(
        self,
        field: str,
        values: Sequence[str | None],
        subjects: Sequence[str | None] | None,
        key: str,
        versions: Sequence[str | None] | None = None,
    ) -> Turned:
        """The new tokens of some; see `files.plan.Transform`.

        Raises:
            CoatcheckError: as `Client.request`.
        """
        made: list[str | None] = [None] * len(values)
        refused: dict[int, str] = {}
        used: dict[int, int] = {}
        for version, places in by_version(values, versions, self._key_version, refused).items():
            if version is None:
                refused |= dict.fromkeys(places, "key_version_required")
                continue
            fixed = {"field": field, "from_version": version, "on_error": "report"}
            for start, some in batches([values[place] for place in places], self._batch):
                try:
                    answer = self._client.request("POST", "rekey", fixed | {"tokens": some})
                except CoatcheckError as refusal:
                    if refusal.code != "key_version_unknown" or versions is None:
                        raise
                    answer = {"tokens": [{"error": {"code": refusal.code}}] * len(some)}
                else:
                    self.key_versions[field] = answer["key_version"]
                for place, token in zip(places[start : start + len(some)], answer["tokens"], strict=True):
                    if isinstance(token, dict):
                        refused[place] = str(token["error"]["code"])
                    else:
                        made[place], used[place] = token, answer["key_version"]
        return Turned(made, refused, used)


class Values:
    """Values, or what a mask shows of them, of columns of tokens, by one grant's credential.

    Each batch is charged when it is asked for. No answer with values is kept to be given again, so a batch
    whose answer was lost is charged twice.

    Args:
        client: of a region, with the credential.
        purpose: the grant's.
        mask: the name of one of the fields' masks.
        key_version: of vaultless tokens whose key versions no column holds.
        batch: most tokens of a request; the grant takes as many.

    Attributes:
        uses_left: of the grant, once something was asked for.
    """

    def __init__(
        self,
        client: Service,
        purpose: str,
        mask: str | None = None,
        key_version: int | None = None,
        batch: int = BATCH,
    ) -> None:
        self._client = client
        self._fixed: dict[str, Any] = {"purpose": purpose, "on_error": "report"}
        if mask is not None:
            self._fixed |= {"operation": "mask", "mask": mask}
        self._key_version = key_version
        self._batch = batch
        self.uses_left: int | None = None

    def turn(
        self,
        field: str,
        values: Sequence[str | None],
        subjects: Sequence[str | None] | None,
        key: str,
        versions: Sequence[str | None] | None = None,
    ) -> Turned:
        """The values of some tokens; see `files.plan.Transform`.

        Raises:
            CoatcheckError: as `Client.request`; `budget_exhausted` and the other refusals of a grant.
        """
        made: list[str | None] = [None] * len(values)
        refused: dict[int, str] = {}
        for version, places in by_version(values, versions, self._key_version, refused).items():
            fixed: dict[str, Any] = {**self._fixed, "field": field}
            if version is not None:
                fixed["key_version"] = version
            for start, some in batches([values[place] for place in places], self._batch):
                here = places[start : start + len(some)]
                body = {**fixed, "tokens": some}
                if subjects is not None:
                    body["subjects"] = [subjects[place] for place in here]
                answer = self._client.request("POST", "detokenize", body)
                self.uses_left = answer["grant"]["uses_left"]
                for place, value in zip(here, answer["values"], strict=True):
                    if isinstance(value, dict):
                        refused[place] = str(value["error"]["code"])
                    else:
                        made[place] = value
        return Turned(made, refused)


def by_version(
    values: Sequence[str | None],
    versions: Sequence[str | None] | None,
    known: int | None,
    refused: dict[int, str],
) -> dict[int | None, list[int]]:
    """The places of tokens by their key version; none for nulls.

    Args:
        versions: where a column holds them, in digits; what is none is put into `refused`.
        known: of all others.
    """
    places: dict[int | None, list[int]] = {}
    for place, value in enumerate(values):
        if value is None:
            continue
        version, given = known, None if versions is None else versions[place]
        if given is not None:
            if not _VERSION.fullmatch(given):
                refused[place] = "key_version_unknown"
                continue
            version = int(given)
        places.setdefault(version, []).append(place)
    return places


def _add(made: list[str | None], refused: dict[int, str], answered: Sequence[Any]) -> None:
    """Adds what one batch was answered."""
    for index, one in enumerate(answered, len(made)):
        if isinstance(one, dict):
            refused[index] = str(one["error"]["code"])
        made.append(one if isinstance(one, str) else None)


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
