"""Approvals: what waits, one looked at, approved or denied; and grants past a ceiling with their reviews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from vault.cli.doors import Door, command, segment
from vault.cli.identities import confirm
from vault.errors import BadInput

_COLUMNS = ("id", "state", "grant", "agent", "purpose", "operation", "have", "needed", "expires_at")
_REVIEWS = ("grant", "created_by", "created_at", "review_by", "overdue", "verdict", "reviewed_by")
F = TypeVar("F", bound=Callable[..., Any])


@click.group("approval")
def group() -> None:
    """List and show what waits for an approval."""


@click.group("break-glass")
def glass_group() -> None:
    """Create short grants past one's ceiling, list them, and review those of others."""


def register(cli: click.Group) -> None:
    """Adds the groups."""
    cli.add_command(group)
    cli.add_command(glass_group)


def approval_options(verb: F) -> F:
    """The options of a grant that needs an approval."""
    for option in (
        click.option("--approval-ttl", help="How long an approval is good for, ISO 8601; default: PT1H."),
        click.option("--approve-field", "approve_fields", multiple=True, help="Only uses of this field."),
        click.option("--approve-operation", help="Only uses of this operation; default: the grant itself."),
        click.option("--approvals", type=int, help="How many people must approve; default: 1."),
        click.option(
            "--approver", "approvers", multiple=True, help="Who may: role:ROLE or operator:NAME; repeat."
        ),
    ):
        verb = option(verb)
    return verb


def approval_body(
    *,
    approvers: tuple[str, ...],
    approvals: int | None,
    approve_operation: str | None,
    approve_fields: tuple[str, ...],
    approval_ttl: str | None,
) -> dict[str, Any] | None:
    """The member `approval` of a grant's body; None if nobody must approve it.

    Raises:
        BadInput: `usage`: it is said how, and not who.
    """
    if not approvers:
        if approvals or approve_operation or approve_fields or approval_ttl:
            raise BadInput("usage", missing="--approver")
        return None
    when = {"op": approve_operation, "fields": approve_fields or None}
    when = {name: value for name, value in when.items() if value is not None}
    body = {"of": approvers, "n": approvals, "when": when or None, "ttl": approval_ttl}
    return {name: value for name, value in body.items() if value is not None}


def decision_verbs(grants: click.Group) -> None:
    """Adds `approve` and `deny` to a group."""

    @command(grants, "approve", "remote", "once")
    @click.argument("approval")
    @click.option("--digest", help="As `approval show` gave it; default: it is looked at now, and asked for.")
    @click.option("--reason", help="Why.")
    def approve(door: Door, approval: str, digest: str | None, reason: str | None) -> None:
        """Approve what was asked: a use, once; or a grant. For a person, in a session."""
        _decide(door, approval, "approve", digest, reason)

    @command(grants, "deny", "remote", "once")
    @click.argument("approval")
    @click.option("--digest", help="As `approval show` gave it; default: it is looked at now, and asked for.")
    @click.option("--reason", help="Why.")
    def deny(door: Door, approval: str, digest: str | None, reason: str | None) -> None:
        """Deny what was asked. For a person, in a session."""
        _decide(door, approval, "deny", digest, reason)


def _decide(door: Door, approval: str, verdict: str, digest: str | None, reason: str | None) -> None:
    if digest is None:
        seen = door.call("GET", f"approvals/{segment(approval)}")
        if not door.yes:
            confirm(door, f"{_told(seen)}\n{verdict.capitalize()} it?")
        digest = str(seen.get("digest", ""))
    body = {"digest": digest} | ({} if reason is None else {"reason": reason})
    door.output.record(door.call("POST", f"approvals/{segment(approval)}/{verdict}", body))


def _told(seen: dict[str, Any]) -> str:
    """What somebody is to decide on, in lines."""
    names = (
        "agent",
        "purpose",
        "operation",
        "fields",
        "count",
        "on_behalf_of",
        "have",
        "needed",
        "expires_at",
    )
    lines = [f"{name}: {seen[name]}" for name in names if seen.get(name) is not None]
    lines += [
        f"{item['field']}: {item.get('shown') or item.get('code') or ''}"
        for item in seen.get("preview") or []
    ]
    return "\n".join(lines)


@command(group, "list", "remote")
@click.option("--state", help="Only in this state: pending, approved, denied, used, expired, void.")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, state: str | None, limit: int, cursor: str | None) -> None:
    """List approvals, newest first."""
    query = {"state": state, "limit": limit, "cursor": cursor}
    door.page(door.call("GET", "approvals", query=query), _COLUMNS)


@command(group, "show", "remote")
@click.argument("approval")
def show(door: Door, approval: str) -> None:
    """Show one approval; to who is asked, with what a mask shows of the values, which is on the record."""
    door.output.record(door.call("GET", f"approvals/{segment(approval)}"))


@command(glass_group, "create", "remote", "once")
@click.option("--agent", required=True, help="Who may use it, e.g. agent:demo.")
@click.option("--purpose", envvar="COATCHECK_PURPOSE", required=True, help="What for.")
@click.option("--field", "fields", multiple=True, required=True, help="A field; repeat for more.")
@click.option("--operation", "operations", multiple=True, default=("reveal",), help="reveal, mask; repeat.")
@click.option("--delivery", "deliveries", multiple=True, default=("plain",), help="plain, sealed; repeat.")
@click.option("--uses", type=int, default=1, show_default=True, help="Values in all; 100 at most.")
@click.option("--until", help="End of validity, RFC 3339; an hour at most.")
@click.option("--jkt", help="Thumbprint of the holder's key: a keyed grant, without a credential.")
@click.option("--subject", "subjects", multiple=True, help="Only this person's values; repeat for more.")
@click.option("--reason", required=True, help="Why the glass has to be broken.")
@click.option("--review-by", required=True, help="When somebody else must have reviewed it, RFC 3339.")
def glass_create(
    door: Door,
    agent: str,
    purpose: str,
    fields: tuple[str, ...],
    operations: tuple[str, ...],
    deliveries: tuple[str, ...],
    uses: int,
    until: str | None,
    jkt: str | None,
    subjects: tuple[str, ...],
    reason: str,
    review_by: str,
) -> None:
    """Create a grant past one's ceiling: active at once, short, marked wherever it is used."""
    body: dict[str, Any] = {
        "agent": agent,
        "purpose": purpose,
        "scope": [{"fields": fields, "operations": operations, "delivery": deliveries}],
        "limits": {"uses": uses},
        "reason": reason,
        "review_by": review_by,
    }
    if until is not None:
        body["valid"] = {"until": until}
    if jkt is not None:
        body["bind"] = {"cnf": {"jkt": jkt}}
    if subjects:
        body["subjects"] = {"in": subjects}
    door.show_once(door.call("POST", "break-glass", body))


@command(glass_group, "list", "remote")
@click.option("--overdue", is_flag=True, help="Only those whose review is late.")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def glass_list(door: Door, overdue: bool, limit: int, cursor: str | None) -> None:
    """List grants past a ceiling with their reviews, newest first."""
    query = {"overdue": "true" if overdue else None, "limit": limit, "cursor": cursor}
    door.page(door.call("GET", "break-glass", query=query), _REVIEWS)


@command(glass_group, "review", "remote", "once")
@click.argument("grant")
@click.option("--verdict", required=True, help="justified or unjustified.")
@click.option("--note", help="What was found.")
def glass_review(door: Door, grant: str, verdict: str, note: str | None) -> None:
    """Close the review of a grant that somebody else made."""
    body = {"verdict": verdict} | ({} if note is None else {"note": note})
    door.output.record(door.call("POST", f"break-glass/{segment(grant)}/review", body))
