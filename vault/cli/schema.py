"""schema init | plan | apply | show | history: over HTTP or on this host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vault.cli.doors import Door, command
from vault.cli.identities import confirm
from vault.cli.templates import STARTER_SCHEMA
from vault.errors import Misconfigured
from vault.services import schema as service
from vault.services.listing import Page
from vault.services.schema import SchemaBody


@click.group("schema")
def group() -> None:
    """Plan, apply and show what is protected and how."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "plan", "remote", "host", "tenant")
@click.argument("file", required=False, type=click.Path())
def plan(door: Door, file: str | None) -> None:
    """Show what applying a schema would change, and what is refused."""
    answer = _plan(door, SchemaBody(toml=_text(door, file)))
    _show(door, answer)


@command(group, "apply", "remote", "host", "tenant", "once")
@click.argument("file", required=False, type=click.Path())
@click.option("--digest", help="Of the plan that was reviewed; without it the plan is shown and asked for.")
def apply(door: Door, file: str | None, digest: str | None) -> None:
    """Apply a schema."""
    text = _text(door, file)
    if digest is None:
        answer = _plan(door, SchemaBody(toml=text))
        if answer["changes"] and not answer["refusals"] and not door.yes:
            _show(door, answer)
            confirm(door, "Apply?")
        digest = str(answer["digest"])
    body = SchemaBody(toml=text, digest=digest)
    applied = (
        door.call("POST", "schema/apply", body) if door.remote else door.verb(service.apply_schema, body)
    )
    if door.output.json:
        door.output.data(applied)
    else:
        door.output.record({"version": applied["version"], "changes": len(applied["changes"])})


@command(group, "show", "remote", "host", "tenant")
@click.option("--version", type=click.IntRange(min=1), help="This version, also one that is over.")
def show(door: Door, version: int | None) -> None:
    """Show the schema in force, or an earlier one, as JSON."""
    if version is not None:
        named = str(version)
        answer = (
            door.call("GET", f"schema/versions/{named}")
            if door.remote
            else door.verb(service.read_version, named)
        )
    else:
        answer = door.call("GET", "schema") if door.remote else door.verb(service.show_schema)
    door.output.data(answer)


@command(group, "history", "remote", "host", "tenant")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def history(door: Door, limit: int, cursor: str | None) -> None:
    """List the versions of the schema, newest first: who applied them, and when."""
    if door.remote:
        answer = door.call("GET", "schema/versions", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(service.list_versions, Page(limit, cursor))
    door.output.table(answer["items"], ("version", "applied_at", "applied_by", "digest"))
    if answer["next"]:
        door.output.note(f"more: --cursor {answer['next']}")


@command(group, "init", "host")
@click.argument("file", default="schema.toml", type=click.Path(path_type=Path))
def init(door: Door, file: Path) -> None:
    """Write a commented schema to start from, with a field of every kind."""
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(STARTER_SCHEMA)
    except FileExistsError:
        raise Misconfigured("config_invalid", setting=str(file), reason="is there already") from None
    except OSError:
        raise Misconfigured("host_permissions", path=str(file)) from None
    door.output.note(f"{file}: written. Next: coatcheck schema plan {file}")


def _plan(door: Door, body: SchemaBody) -> dict[str, Any]:
    answer: dict[str, Any] = (
        door.call("POST", "schema/plan", body) if door.remote else door.verb(service.plan_schema, body)
    )
    return answer


def _text(door: Door, file: str | None) -> str:
    """The document: the file named, or the one that the cell's configuration names."""
    path = Path(file) if file is not None else None
    if path is None and not door.remote and not door.names_tenant:
        config = door.config
        named = config.cell[door.region(config)].schema
        path = None if named is None else config.path(named)
    if path is None:
        raise Misconfigured("config_invalid", setting="schema", reason="name a file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured("host_permissions", path=str(path)) from None


def _show(door: Door, plan: dict[str, Any]) -> None:
    if door.output.json:
        door.output.data(plan)
        return
    rows = [{**change, "settings": change.get("settings", [])} for change in plan["changes"]]
    door.output.table(rows, ("action", "kind", "name", "settings"))
    for name, domain in plan["domains"].items():
        door.output.note(f"{name}: each value hides among {domain['size']:,} ({domain['note']})")
    for warning in plan["warnings"]:
        door.output.note(f"warning: {warning}")
    for refusal in plan["refusals"]:
        door.output.note(f"refused: {refusal}")
    door.output.record({"digest": plan["digest"]})
