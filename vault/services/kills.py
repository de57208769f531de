"""Kill switches: stop every grant of an agent, a key, a conversation, a purpose or the whole tenant at once.

A switch binds every use that starts after it is committed, whoever holds the grants; it does not revoke
them, so that what it stopped goes on when it is lifted.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import format_time
from vault.errors import BadInput, Unknown
from vault.identifiers import new_id, parse_id
from vault.ledger.command import State, Verb, Writes
from vault.policy.kill import KillKind
from vault.policy.terms import MAX_LABEL
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.grant_body import check_text
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.listing import Listing, Page, check_page


class KillBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What a switch is set for: exactly one of these.

    Attributes:
        holder: a key, by its thumbprint.
        everything: of the caller's tenant.
    """

    agent: str | None = None
    conversation: str | None = None
    holder: str | None = None
    purpose: str | None = None
    everything: bool = False
    reason: str | None = None


class KillAnswer(Replayable, frozen=True, omit_defaults=True):
    """A switch: what it stops, and since when; and until when, once it is lifted."""

    id: str
    kind: str
    name: str
    created_by: str
    created_at: str
    reason: str | None = None
    lifted_at: str | None = None
    lifted_by: str | None = None
    decision: str | None = None


class SetKill(CallerCommand):
    """Sets a switch, and moves the fence: what is being decided is decided again."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, kind: KillKind, name: str, reason: str | None) -> None:
        super().__init__(caller)
        self.id = new_id("kill")
        self.decision = new_id("dec")
        self._origin = origin
        self._kind = kind
        self._name = name
        self._reason = reason

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts the switch."""
        self.check(state)
        tenant, actor = self.caller.principal.tenant, self.caller.actor
        writes.insert(
            "kill",
            id=self.id,
            tenant=tenant,
            kind=self._kind.value,
            name=self._name,
            reason=self._reason,
            created_by=actor,
            created_at=state.now,
            lifted_at=0,
            lifted_by=None,
        )
        writes.fence_by += 1
        facts: dict[str, Any] = {
            "kill": self.id,
            "of": self._kind.value,
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        texts = {} if self._reason is None else {"reason": self._reason}
        if self._kind is KillKind.CONVERSATION:
            texts["conversation"] = self._name  # a caller's text
        elif self._name:
            facts["name"] = self._name
        writes.event(Event("kill.set", tenant, actor, facts, texts, self.decision))


class LiftKill(CallerCommand):
    """Lifts a switch, and moves the fence. Lifting it twice changes nothing."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, kill: str) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._kill = kill

    def decide(self, state: State, writes: Writes) -> None:
        """Says until when it bound."""
        self.check(state)
        tenant, actor = self.caller.principal.tenant, self.caller.actor
        # If somebody else was first, this is stale, and finds it lifted.
        writes.change("lift_kill", [{"kill_id": self._kill, "at": state.now, "by": actor}])
        writes.fence_by += 1
        facts = {"kill": self._kill, "credential": self.caller.api_key, **trace(self._origin)}
        writes.event(Event("kill.lift", tenant, actor, facts, {}, self.decision))


def set_kill(cell: Cell, request: Request, body: KillBody) -> Verb[KillAnswer]:
    """Sets a switch.

    Raises:
        BadInput: `member_missing`: not exactly one thing is named; `limit_invalid`: a name that is none.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "kill.set", "kill:control")
    kind, name = _target(body)
    reason = check_text(body.reason)
    repeat = once(cell, request, caller, "kill.set", KillAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    command = SetKill(caller, request.origin, kind, name, reason)

    def answer(_: None, at: int) -> KillAnswer:
        set_at, decision = format_time(at), command.decision
        return KillAnswer(command.id, kind.value, name, caller.actor, set_at, reason, decision=decision)

    done = yield repeat.keep(command, answer)
    return answer(done.value, done.at)


def lift_kill(cell: Cell, request: Request, kill: str) -> Verb[KillAnswer]:
    """Lifts a switch: the grants that it stopped go on, if nothing else ended them."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "kill.lift", "kill:control")
    repeat = once(cell, request, caller, "kill.lift", KillAnswer, kill)
    if repeat.replay is not None:
        return repeat.replay
    found = _read(cell, caller, kill)
    if found.lifted_at is not None:
        return found
    command = LiftKill(caller, request.origin, kill)

    def answer(_: None, at: int) -> KillAnswer:
        lifted = {"lifted_at": format_time(at), "lifted_by": caller.actor, "decision": command.decision}
        return msgspec.structs.replace(found, **lifted)

    done = yield repeat.keep(command, answer)
    return answer(done.value, done.at)


def list_kills(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The tenant's switches, newest first, those that were lifted too."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "kill.list", "grant:list")
    below = check_page(page, "kill")
    params = {"tenant": caller.principal.tenant, "below": below, "most": page.limit + 1}
    rows = cell.store.read(cell.store.granting.kills_page, params)
    shown = [_shown(row) for row in rows[: page.limit]]
    return Listing(list(shown), shown[-1].id if len(rows) > page.limit else None)


def _target(body: KillBody) -> tuple[KillKind, str]:
    """What a switch is set for."""
    members = {
        KillKind.AGENT: body.agent,
        KillKind.CONVERSATION: body.conversation,
        KillKind.HOLDER: body.holder,
        KillKind.PURPOSE: body.purpose,
    }
    named = [(kind, name) for kind, name in members.items() if name]
    if len(named) + body.everything != 1:
        raise BadInput("member_missing", member="agent, conversation, holder, purpose or everything")
    if body.everything:
        return KillKind.TENANT, ""
    ((kind, name),) = named
    if len(name) > MAX_LABEL or not name.isprintable():
        raise BadInput("limit_invalid", member=kind.value, most=MAX_LABEL)
    if kind is KillKind.AGENT and not name.startswith("agent:"):
        name = f"agent:{name}"
    return kind, name


def _read(cell: Cell, caller: Caller, kill: str) -> KillAnswer:
    try:
        parse_id("kill", kill)
    except ValueError:
        raise Unknown("not_found") from None
    rows = cell.store.read(cell.store.granting.kill, {"kill_id": kill})
    if not rows or rows[0][1] != caller.principal.tenant:
        raise Unknown("not_found")
    return _shown(rows[0])


def _shown(row: Any) -> KillAnswer:
    id_, _, kind, name, reason, created_by, created_at, lifted_at, lifted_by = row
    lifted = format_time(lifted_at) if lifted_at else None
    return KillAnswer(id_, kind, name, created_by, format_time(created_at), reason, lifted, lifted_by)
