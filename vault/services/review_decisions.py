"""Decisions on items of a review: what is confirmed stays; what is removed, or not confirmed in time, goes.

One transaction takes the access away, notes the decision in the item's row and writes the event. The row is
changed only while it is open, so that each item is decided once, whoever else is at it, and whenever a
process was killed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros
from vault.errors import Conflict, Stale
from vault.ledger.command import Needs, State, Writes
from vault.policy.grant import GrantState
from vault.policy.permissions import GIVING_DATA, effective, kind_of
from vault.policy.principal import Principal
from vault.services.cell import Origin
from vault.services.gate import CallerCommand, trace
from vault.services.review_items import (
    CEILING,
    CONFIRMED,
    EXPIRED,
    GRANT,
    KEPT,
    KEY,
    PERMISSION,
    REMOVED,
    ROLE,
)
from vault.store.oversight import ReviewItemRow

KEEPS_OPEN: Final = "principal:write"
"""Whoever holds it can give access again: of those who can sign in, one has to be left."""
_EVENTS: Final = {
    CONFIRMED: "review.confirm",
    REMOVED: "review.remove",
    EXPIRED: "review.expire",
    KEPT: "review.expire",
}


class SettleItem(CallerCommand):
    """Decides on one open item.

    Returns from `decide`: the state that the item has then, and the ledger's time.

    Args:
        due: when the review ends. A person decides before that, the schedule after.
        to: `confirmed`, `removed`, or `expired`.
        admins: ids of those who hold `principal:write`, as they were last seen.
    """

    alone = True

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        item: ReviewItemRow,
        due: Micros,
        to: str,
        reason: str | None,
        admins: Iterable[str],
    ) -> None:
        super().__init__(caller)
        self._origin = origin
        self._item = item
        self._due = due
        self._to = to
        self._reason = reason
        self._admins = frozenset(admins)

    def needs(self, needs: Needs) -> None:
        """The caller's rows, whose access it is, and all who could give access again."""
        super().needs(needs)
        if self._to == CONFIRMED:
            return
        item = self._item
        if item.kind == GRANT:
            needs.grants.add(item.target)
            return
        needs.principals |= self._admins | {item.principal}
        needs.dependents |= self._admins
        needs.operators |= self._admins
        if item.kind == KEY:
            needs.api_keys.add(item.target)

    def decide(self, state: State, writes: Writes) -> tuple[str, Micros]:
        """Takes away what is to go, and notes it.

        Raises:
            Conflict: `review_over`: too late for a person; `last_admin`: nobody would be left.
            Stale: too early for the schedule.
        """
        self.check(state)
        expires = self._to == EXPIRED
        if not expires and state.now >= self._due:
            raise Conflict("review_over")
        if expires and state.now < self._due:
            raise Stale
        to = self._to
        if to != CONFIRMED:
            if self._is_last(state):
                if not expires:
                    raise Conflict("last_admin")
                to = KEPT
            else:
                self._take_away(state, writes)
        item, actor = self._item, self.caller.actor
        row = {
            "of_review": item.review,
            "place": item.number,
            "to": to,
            "by": actor,
            "at": state.now,
            "why": self._reason,
        }
        writes.change("decide_review_item", [row])
        facts: dict[str, Any] = {
            "review": item.review,
            "item": item.number,
            "of": item.kind,
            "target": item.target,
            "what": item.what,
            "outcome": to,
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        texts = {} if self._reason is None else {"reason": self._reason}
        writes.event(Event(_EVENTS[to], self.caller.principal.tenant, actor, facts, texts))
        if to == KEPT:
            alert = {"of": "review.expire", "review": item.review, "item": item.number, "code": "last_admin"}
            writes.event(Event("alert", self.caller.principal.tenant, actor, alert))
        return to, state.now

    def _is_last(self, state: State) -> bool:
        """Whether nobody could give access again without this."""
        item = self._item
        row = state.principals.get(item.principal)
        if item.kind == GRANT or row is None or row.removed or KEEPS_OPEN not in row.principal.held:
            return False
        if item.kind == KEY:
            keys, _ = state.dependents.get(item.principal, (0, 0))
            key = state.api_keys.get(item.target)
            left = keys - (key is not None and not key.revoked_at)
            if left or item.principal in state.passwords:
                return False
        elif KEEPS_OPEN in effective(*_less(item, row.principal)):
            return False
        return not any(self._can_act(state, other) for other in self._admins - {item.principal})

    @staticmethod
    def _can_act(state: State, admin: str) -> bool:
        row = state.principals.get(admin)
        if row is None or row.removed or KEEPS_OPEN not in row.principal.held:
            return False
        return state.dependents.get(admin, (0, 0))[0] > 0 or admin in state.passwords

    def _take_away(self, state: State, writes: Writes) -> None:
        """Takes the access away, if it is there still."""
        item = self._item
        if item.kind == KEY:
            key = state.api_keys.get(item.target)
            if key is not None and not key.revoked_at:
                writes.update("revoke_api_key", api_key=item.target, at=state.now)
                writes.fence_by += 1
        elif item.kind == GRANT:
            grant = state.grants.get(item.target)
            if grant is not None and grant.grant.state is not GrantState.REVOKED:
                seen, to = grant.grant.version, GrantState.REVOKED
                writes.update("set_grant_state", grant_id=item.target, seen=seen, to=to.value)
                grant.grant = replace(grant.grant, state=to, version=seen + 1)
                writes.fence_by += 1
        else:
            row = state.principals.get(item.principal)
            if row is not None and not row.removed:
                self._lower(writes, row.principal, state.now)

    def _lower(self, writes: Writes, principal: Principal, now: Micros) -> None:
        """Leaves a principal without a role, a permission or its ceiling."""
        item = self._item
        roles, permissions = _less(item, principal)
        ceiling = None if item.kind == CEILING else principal.ceiling
        if (roles, permissions, ceiling) == (
            list(principal.roles),
            list(principal.permissions),
            principal.ceiling,
        ):
            return
        row = {
            "of_principal": principal.id,
            "seen": principal.version,
            "to_roles": msgspec.json.encode(roles).decode(),
            "to_permissions": msgspec.json.encode(permissions).decode(),
            "to_ceiling": None if ceiling is None else msgspec.json.encode(ceiling).decode(),
        }
        writes.change("set_access", [row])
        if item.kind == CEILING or kind_of(item.what) == GIVING_DATA:  # what it gave away goes too
            writes.update("revoke_grants_of", principal_id=principal.id, at=now)
        writes.fence_by += 1


def _less(item: ReviewItemRow, principal: Principal) -> tuple[list[str], list[str]]:
    """Roles and permissions without the item's."""
    roles = [role for role in principal.roles if item.kind != ROLE or role != item.what]
    permissions = [one for one in principal.permissions if item.kind != PERMISSION or one != item.what]
    return roles, permissions
