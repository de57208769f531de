"""Grants: created, shown, narrowed, suspended, revoked, asked about; and kill switches."""

from __future__ import annotations

from typing import Any

import click

from vault.cli.approvals import approval_body, approval_options, decision_verbs
from vault.cli.doors import Door, command, segment
from vault.errors import BadInput

_COLUMNS = ("id", "state", "agent", "purpose", "uses_left", "valid_until")


@click.group("grant")
def group() -> None:
    """Create, show, list, narrow, stop and revoke grants."""


@click.group("kill")
def kill_group() -> None:
    """Stop every grant of an agent, a key, a conversation, a purpose or the tenant, and lift that."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    decision_verbs(group)
    cli.add_command(group)
    cli.add_command(kill_group)


@command(group, "create", "remote", "once")
@click.option("--agent", required=True, help="Who may use it, e.g. agent:demo.")
@click.option("--purpose", envvar="COATCHECK_PURPOSE", required=True, help="What for.")
@click.option("--field", "fields", multiple=True, required=True, help="A field; repeat for more.")
@click.option(
    "--operation", "operations", multiple=True, default=("reveal",), help="reveal, mask, verify; repeat."
)
@click.option("--delivery", "deliveries", multiple=True, default=("plain",), help="plain, sealed; repeat.")
@click.option("--mask", help="The one mask it may use.")
@click.option("--uses", type=int, default=1, show_default=True, help="Values in all.")
@click.option("--batch", type=int, help="Values in one request.")
@click.option("--until", help="End of validity, RFC 3339; default: as long as the purpose allows.")
@click.option("--subject", "subjects", multiple=True, help="Only this person's values; repeat for more.")
@click.option("--max-distinct", type=int, help="Values of at most so many different people.")
@click.option("--rate", metavar="COUNT/SECONDS", help="So many values in so many seconds.")
@click.option("--jkt", help="Thumbprint of the holder's key: a keyed grant, without a credential.")
@click.option("--network", "networks", multiple=True, help="Only from this CIDR; repeat for more.")
@click.option("--conversation", help="Only in this conversation.")
@click.option("--task", help="Only for this task.")
@click.option("--seal-to", metavar="X", help="Public X25519 key that sealed answers are for, base64url.")
@click.option("--depth", type=int, help="How deep it may be delegated, 1 to 3.")
@click.option("--on-behalf-of", help="The user it serves.")
@click.option("--reason", help="Why.")
@approval_options
def create(
    door: Door,
    agent: str,
    purpose: str,
    fields: tuple[str, ...],
    operations: tuple[str, ...],
    deliveries: tuple[str, ...],
    mask: str | None,
    uses: int,
    batch: int | None,
    until: str | None,
    subjects: tuple[str, ...],
    max_distinct: int | None,
    rate: str | None,
    jkt: str | None,
    networks: tuple[str, ...],
    conversation: str | None,
    task: str | None,
    seal_to: str | None,
    depth: int | None,
    on_behalf_of: str | None,
    reason: str | None,
    **approval: Any,
) -> None:
    """Create a grant; a bearer grant's credential is shown once."""
    entry: dict[str, Any] = {"fields": fields, "operations": operations, "delivery": deliveries}
    limits: dict[str, Any] = {"uses": uses}
    body: dict[str, Any] = {"agent": agent, "purpose": purpose, "scope": [entry], "limits": limits}
    if mask is not None:
        entry["mask"] = mask
    if batch is not None:
        limits["batch"] = batch
    if until is not None:
        body["valid"] = {"until": until}
    if rate is not None:
        limits["rate"] = _rate(rate)
    members = {
        "subjects": _given(**{"in": subjects or None}, max_distinct=max_distinct),
        "bind": _given(
            cnf=None if jkt is None else {"jkt": jkt},
            networks=networks or None,
            conversation=conversation,
            task=task,
        ),
        "seal_to": None if seal_to is None else {"kty": "OKP", "crv": "X25519", "x": seal_to},
        "delegation": None if depth is None else {"depth": depth},
        "on_behalf_of": on_behalf_of,
        "reason": reason,
        "approval": approval_body(**approval),
    }
    body |= {name: value for name, value in members.items() if value}
    door.show_once(door.call("POST", "grants", body))


@command(group, "show", "remote")
@click.argument("grant")
def show(door: Door, grant: str) -> None:
    """Show one grant."""
    door.output.record(door.call("GET", f"grants/{segment(grant)}"))


@command(group, "usage", "remote")
@click.argument("grant")
def usage(door: Door, grant: str) -> None:
    """Show what a grant was used for, by day and field."""
    answer = door.call("GET", f"grants/{segment(grant)}/usage")
    rows = [{**line, "failed": sum((line.get("failed") or {}).values())} for line in answer.pop("fields")]
    if door.output.json:
        door.output.record({**answer, "fields": rows})
        return
    door.output.record(answer)
    door.output.table(rows, ("day", "field", "operation", "requests", "items", "failed", "denied"))


@command(group, "list", "remote")
@click.option("--agent", help="Only this agent's.")
@click.option("--purpose", help="Only for this purpose.")
@click.option("--state", help="Only in this state.")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(
    door: Door, agent: str | None, purpose: str | None, state: str | None, limit: int, cursor: str | None
) -> None:
    """List grants, newest first."""
    query = {"agent": agent, "purpose": purpose, "state": state, "limit": limit, "cursor": cursor}
    answer = door.call("GET", "grants", query=query)
    door.page(answer, _COLUMNS)


@command(group, "revoke", "remote", "once")
@click.argument("grant")
@click.option("--reason", help="Why.")
def revoke(door: Door, grant: str, reason: str | None) -> None:
    """Revoke a grant, at once and for good."""
    body = {} if reason is None else {"reason": reason}
    door.output.record(door.call("POST", f"grants/{segment(grant)}/revoke", body))


@command(group, "narrow", "remote", "once")
@click.argument("grant")
@click.option("--version", type=int, required=True, help="The grant's, as `grant show` gives it.")
@click.option("--uses", type=int, help="Values in all, those that were used among them.")
@click.option("--batch", type=int, help="Values in one request.")
@click.option("--until", help="End of validity, RFC 3339.")
@click.option("--subject", "subjects", multiple=True, help="Only this person's values; repeat for more.")
@click.option("--network", "networks", multiple=True, help="Only from this CIDR; repeat for more.")
@click.option("--conversation", help="Only in this conversation.")
@click.option("--reason", help="Why.")
def narrow(
    door: Door,
    grant: str,
    version: int,
    uses: int | None,
    batch: int | None,
    until: str | None,
    subjects: tuple[str, ...],
    networks: tuple[str, ...],
    conversation: str | None,
    reason: str | None,
) -> None:
    """Leave less of a grant; widening means a new one."""
    body = _given(
        version=version,
        uses=uses,
        batch=batch,
        until=until,
        subjects={"in": subjects} if subjects else None,
        networks=networks or None,
        conversation=conversation,
        reason=reason,
    )
    door.output.record(door.call("PATCH", f"grants/{segment(grant)}", body))


@command(group, "suspend", "remote", "once")
@click.argument("grant")
@click.option("--reason", help="Why.")
def suspend(door: Door, grant: str, reason: str | None) -> None:
    """Suspend a grant, at once, until somebody lets it go on."""
    door.output.record(door.call("POST", f"grants/{segment(grant)}/suspend", _given(reason=reason)))


@command(group, "resume", "remote", "once")
@click.argument("grant")
@click.option("--reason", help="Why.")
def resume(door: Door, grant: str, reason: str | None) -> None:
    """Let a suspended grant go on."""
    door.output.record(door.call("POST", f"grants/{segment(grant)}/resume", _given(reason=reason)))


@command(group, "revoke-block", "remote", "once")
@click.argument("grant")
@click.argument("block")
@click.option("--reason", help="Why.")
def revoke_block(door: Door, grant: str, block: str, reason: str | None) -> None:
    """Revoke one delegation of a grant, by its id, and all that were made of it."""
    path = f"grants/{segment(grant)}/blocks/{segment(block)}/revoke"
    door.output.record(door.call("POST", path, _given(reason=reason)))


@command(group, "simulate", "remote")
@click.argument("grant")
@click.option("--purpose", envvar="COATCHECK_PURPOSE", required=True, help="What for.")
@click.option("--field", "fields", multiple=True, required=True, help="A field; repeat for more.")
@click.option("--operation", default="reveal", show_default=True, help="reveal, mask, derive, verify.")
@click.option("--delivery", default="plain", show_default=True, help="plain, sealed.")
@click.option("--mask", help="The mask.")
@click.option("--items", type=int, default=1, show_default=True, help="How many values.")
@click.option("--source", help="The address that it would come from; default: this one.")
@click.option("--conversation", help="The conversation that it would be part of.")
def simulate(
    door: Door,
    grant: str,
    purpose: str,
    fields: tuple[str, ...],
    operation: str,
    delivery: str,
    mask: str | None,
    items: int,
    source: str | None,
    conversation: str | None,
) -> None:
    """Say what a use of a grant would be answered; nothing is charged or opened."""
    body = _given(
        grant=grant,
        purpose=purpose,
        fields=fields,
        operation=operation,
        delivery=delivery,
        mask=mask,
        items=items,
        source=source,
        conversation=conversation,
    )
    door.output.record(door.call("POST", "grants/simulate", body))


@command(kill_group, "set", "remote", "once")
@click.option("--agent", help="Every grant of this agent.")
@click.option("--conversation", help="Every use in this conversation.")
@click.option("--holder", help="Every use by this key (its thumbprint) and by its delegates.")
@click.option("--purpose", help="Every grant for this purpose.")
@click.option("--everything", is_flag=True, help="Every grant of the tenant.")
@click.option("--reason", help="Why.")
def kill_set(
    door: Door,
    agent: str | None,
    conversation: str | None,
    holder: str | None,
    purpose: str | None,
    everything: bool,
    reason: str | None,
) -> None:
    """Stop grants at once, until it is lifted."""
    named = {"agent": agent, "conversation": conversation, "holder": holder, "purpose": purpose}
    body = _given(**named, everything=everything or None, reason=reason)
    door.output.record(door.call("POST", "kill", body))


@command(kill_group, "list", "remote")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def kill_list(door: Door, limit: int, cursor: str | None) -> None:
    """List kill switches, newest first, those that were lifted too."""
    answer = door.call("GET", "kill", query={"limit": limit, "cursor": cursor})
    door.page(answer, ("id", "kind", "name", "created_by", "created_at", "lifted_at"))


@command(kill_group, "lift", "remote", "once")
@click.argument("kill")
def kill_lift(door: Door, kill: str) -> None:
    """Lift a kill switch; what it stopped goes on, if nothing else ended it."""
    door.output.record(door.call("DELETE", f"kill/{segment(kill)}"))


def _given(**members: Any) -> dict[str, Any]:
    """The members of a body that were given."""
    return {name: value for name, value in members.items() if value is not None}


def _rate(text: str) -> dict[str, int]:
    """So many values in so many seconds."""
    count, slash, seconds = text.partition("/")
    if not (slash and count.isascii() and count.isdigit() and seconds.isascii() and seconds.isdigit()):
        raise BadInput("usage", option="--rate")
    return {"count": int(count), "per_s": int(seconds)}
