"""Rows of the record, from their columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from vault.clock import Micros
from vault.identifiers import GrantId, PrincipalId
from vault.policy.grant import Grant, GrantState, ScopeEntry
from vault.policy.principal import Ceiling, Kind, Principal
from vault.policy.terms import decode_terms


class EpochsInUse(NamedTuple):
    """What the head row says of epochs: the one that is sealed under, and the one that is looked up in."""

    write: int
    read: int

    @property
    def each(self) -> tuple[int, ...]:
        """Those that index rows are written in; two while a turn is under way."""
        return (self.read,) if self.read == self.write else (self.read, self.write)


class ApiKeyRow(NamedTuple):
    """A service key's row, in the order of `RecordStatements.api_keys`."""

    id: str
    principal: str
    digest: bytes
    networks: str
    expires_at: Micros
    revoked_at: Micros
    warned_at: Micros = 0
    replaced_by: str | None = None


@dataclass(slots=True)
class GrantRow:
    """A locked grant with its counter as this group has it so far."""

    grant: Grant
    uses: int
    tat: Micros = 0  # of its rate: `vault.policy.rate`


@dataclass(slots=True)
class PrincipalRow:
    """A locked principal; `removed` may change within the group."""

    principal: Principal
    removed: bool


@lru_cache(maxsize=1024)
def decode_scope(text: str) -> tuple[ScopeEntry, ...]:
    """A grant's scope from its column."""
    return tuple(msgspec.json.decode(text, type=list[ScopeEntry]))


def decode_grant(row: Any, subjects: frozenset[bytes] | None) -> GrantRow:
    """A grant from its columns (`RecordStatements.grant_columns`)."""
    return GrantRow(
        Grant(
            id=GrantId(row[0]),
            tenant=row[1],
            agent=row[2],
            created_by=PrincipalId(row[3]),
            purpose=row[4],
            scope=decode_scope(row[5]),
            subjects=None if row[6] else subjects or frozenset(),
            max_uses=row[7],
            batch=row[8],
            valid_from=row[9],
            valid_until=row[10],
            state=GrantState(row[11]),
            version=row[12],
            digest=bytes(row[13]),
            jkt=row[15],
            terms=decode_terms(row[16]),
            on_behalf_of=row[18],
        ),
        row[14],
        row[17],
    )


@lru_cache(maxsize=1024)
def _principal(
    id_: str,
    tenant: str,
    kind: str,
    name: str,
    roles: str,
    permissions: str,
    ceiling: str | None,
    version: int,
) -> Principal:
    return Principal(
        id=PrincipalId(id_),
        tenant=tenant,
        kind=Kind(kind),
        name=name,
        roles=tuple(msgspec.json.decode(roles, type=list[str])),
        permissions=tuple(msgspec.json.decode(permissions, type=list[str])),
        ceiling=None if ceiling is None else msgspec.json.decode(ceiling, type=Ceiling),
        version=version,
    )


def decode_principal(row: Any) -> PrincipalRow:
    """A principal from its columns."""
    return PrincipalRow(_principal(*row[:8]), removed=row[8] != 0)
