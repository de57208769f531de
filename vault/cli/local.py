"""The data verbs of a cell on this host, asked as a service is asked: what jobs over files need of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from vault.client.columns import Rekeys, Tokens
from vault.identifiers import new_id
from vault.services.cell import Cell, Origin
from vault.services.detokenize import DetokenizeBody, detokenize
from vault.services.fields import read_field
from vault.services.gate import Request
from vault.services.rehearse import CheckBody, rehearse
from vault.services.rekey import RekeyBody, rekey, rekey_in_place
from vault.services.rewrite import TextColumn, rewrite
from vault.services.tokenize import TokenizeBody, tokenize
from vault.wiring import as_host, perform

_VERBS: Final[dict[str, tuple[Callable[..., Any], Any]]] = {
    "tokenize": (tokenize, TokenizeBody),
    "tokenize/check": (rehearse, CheckBody),
    "detokenize": (detokenize, DetokenizeBody),
    "rekey": (rekey, RekeyBody),
}


class LocalService:
    """A cell that this process holds, in place of a `Client`.

    Args:
        tenant: whose data it is about.
        credential: of a grant, to detokenize; without one, this process's user acts.
    """

    def __init__(self, cell: Cell, tenant: str, credential: str | None = None) -> None:
        self._cell = cell
        self._host = as_host(tenant)
        self._credential = credential

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, str | int] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """The answer, as `Client.request` has it.

        Raises:
            CoatcheckError: the refusal.
        """
        del query
        if method == "GET":
            name = path.removeprefix("fields/")
            answer = perform(self._cell, lambda: read_field(self._cell, self._request(), name))
        else:
            verb, kind = _VERBS[path]
            asked = msgspec.convert(body, kind)
            answer = perform(self._cell, lambda: verb(self._cell, self._request(idempotency_key), asked))
        return msgspec.to_builtins(answer)

    def rewrite(self, columns: Sequence[tuple[str, Any, Any]]) -> dict[str, int] | None:
        """Writes tokens to where columns of vaultless fields have their values, and tells their key versions.

        Returns:
            None if they have to be asked for as lists.
        """
        asked = [TextColumn(*column) for column in columns]
        done = perform(self._cell, lambda: rewrite(self._cell, self._request(), asked))
        return None if done is None else done.key_versions

    def rekey(self, columns: Sequence[tuple[str, Any, Any]], from_version: int) -> dict[str, int] | None:
        """The same for tokens of a key version, which become tokens of the newest."""
        asked = [TextColumn(*column) for column in columns]
        done = perform(self._cell, lambda: rekey_in_place(self._cell, self._request(), asked, from_version))
        return None if done is None else done.key_versions

    def _request(self, once: str | None = None) -> Request:
        origin = Origin(self._host.actor, new_id("req"))
        if self._credential is not None:
            return Request(f"Bearer {self._credential}", origin)
        return Request(None, origin, self._host, once)


class LocalTokens(Tokens):
    """Tokens of columns by such a cell, in place where they can be."""

    def __init__(self, service: LocalService, batch: int) -> None:
        super().__init__(service, batch)
        self._service = service

    def rewrite(self, columns: Sequence[tuple[str, Any, Any]]) -> dict[str, int] | None:
        """See `files.plan.Rewrites`."""
        versions = self._service.rewrite(columns)
        self.key_versions |= versions or {}
        return versions


class LocalRekeys(Rekeys):
    """Tokens of the newest key version by such a cell, in place where they can be."""

    def __init__(self, service: LocalService, key_version: int | None, batch: int) -> None:
        super().__init__(service, key_version, batch)
        self._service = service
        self._from = key_version

    def rewrite(self, columns: Sequence[tuple[str, Any, Any]]) -> dict[str, int] | None:
        """See `files.plan.Rewrites`."""
        if self._from is None:
            return None
        versions = self._service.rekey(columns, self._from)
        self.key_versions |= versions or {}
        return versions
