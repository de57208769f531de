"""tokenize, of columns of plain texts in place: what a file's job asks for on this host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vault.crypto.ff1_batch import one_thread
from vault.crypto.texts import Bytes, Texts
from vault.ledger.command import Verb
from vault.schema.rules import Protection
from vault.services.binding import bound_schema
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.issue import Count, Issue


class TextColumn(NamedTuple):
    """Texts of a field, ASCII; those without a character are nulls.

    Attributes:
        out: a buffer like that of the texts, where the tokens are written to the same places.
    """

    field: str
    texts: Texts
    out: Bytes

    def __repr__(self) -> str:
        return "<TextColumn>"


class Rewritten(Hidden, frozen=True):
    """The key version of each field's tokens."""

    key_versions: dict[str, int]


def rewrite(cell: Cell, request: Request, columns: Sequence[TextColumn]) -> Verb[Rewritten | None]:
    """Writes the tokens of vaultless columns; None if one of the texts has to go by `tokenize`.

    Nothing is on the record then, and the buffers hold nothing of use. There may be more texts than a request
    over HTTP has: they are in memory already.

    Raises:
        Unauthenticated, Denied: the caller may not, or its budget does not cover it.
    """
    caller = authenticate(cell, request)
    needed = sorted({f"tokenize:{column.field}" for column in columns})
    name = caller.principal.tenant
    tenant = bound_schema(cell, request, caller)
    yield from admit(cell, caller, request.origin, "tokenize", *needed, schema=tenant)
    counts: dict[str, Count] = {}
    for column in columns:
        rule = tenant.schema.fields.get(column.field)
        if rule is None or rule.protection is not Protection.VAULTLESS:
            return None
        version = cell.keyring.ff1_versions(name, rule.name).primary
        vaultless = cell.keyring.vaultless(name, rule.name, rule.shape, version)
        with one_thread():  # a job has several parts under way
            left = vaultless.tokenize_texts(column.texts, column.out)
        if column.texts.lengths[left].any():
            return None
        count = counts.setdefault(rule.name, Count(rule, 0, version))
        count.values += int(np.count_nonzero(column.texts.lengths))
    made = [count for count in counts.values() if count.values]
    if made:
        epochs = cell.keyring.in_use
        done = yield Issue(caller, request.origin, "tokenize", tenant, epochs, made)
        if done.value is not None:
            raise done.value
    return Rewritten({count.rule.name: count.key_version or 0 for count in made})
