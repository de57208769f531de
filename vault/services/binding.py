"""What a verb prepares on, where its command binds that: the schema and the attribute rules."""

from __future__ import annotations

from vault.authn.identities import Caller
from vault.services.cell import Cell, TenantSchema
from vault.services.gate import Request


def bound_schema(cell: Cell, request: Request, caller: Caller) -> TenantSchema:
    """The schema and the rules for a verb whose command binds them; read anew where the verb may only give
    again what was answered before."""
    fresh = request.idempotency is not None and not cell.store.is_file
    return cell.schemas.of(caller.principal.tenant, fresh=fresh)
