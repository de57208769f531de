"""policy show | history | plan | apply | test | explain: over HTTP, on this host, or on files alone."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from vault.cli.doors import Door, command
from vault.cli.identities import confirm
from vault.errors import BadInput, Misconfigured, error
from vault.policy.attribute_rules import read_policies
from vault.policy.policy_cases import CaseContext, PolicyCase
from vault.schema.document import EMPTY, parse_toml
from vault.services import policies, policy_tests, reasons
from vault.services.initialise import MAIN_TENANT
from vault.services.listing import Page
from vault.services.policies import PolicyBody
from vault.services.policy_tests import PolicyTestBody
from vault.services.reasons import ExplainBody

MAX_FILE: Final = 1024 * 1024  # bytes
NOWHERE: Final = "local"  # the region of cases that are tried without a cell


@click.group("policy")
def group() -> None:
    """Show, plan, apply and try attribute rules, and ask why something was refused."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "show", "remote", "host", "tenant")
@click.option("--version", type=click.IntRange(min=1), help="This version, also one that is over.")
@click.option("--schema", "schema", is_flag=True, help="What rules may ask about, in place of the rules.")
def show(door: Door, version: int | None, schema: bool) -> None:
    """Show the attribute rules in force, or an earlier version."""
    if version is not None:
        path = f"policy/versions/{version}"
        answer = door.call("GET", path) if door.remote else door.verb(policies.read_policy, str(version))
    else:
        answer = door.call("GET", "policy") if door.remote else door.verb(policies.show_policy)
    if door.output.json:
        door.output.data(answer)
        return
    door.output.lines(str(answer["schema" if schema else "text"]).rstrip("\n").split("\n"), answer)
    door.output.note(f"version {answer['version']}, digest {answer['digest']}")


@command(group, "history", "remote", "host", "tenant")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def history(door: Door, limit: int, cursor: str | None) -> None:
    """List the versions of the rules, newest first: who applied them, and when."""
    if door.remote:
        answer = door.call("GET", "policy/versions", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(policies.list_policies, Page(limit, cursor))
    door.page(answer, ("version", "applied_at", "applied_by", "digest"))


@command(group, "plan", "remote", "host", "tenant")
@click.argument("file", type=click.Path())
def plan(door: Door, file: str) -> None:
    """Show what applying rules would change, and what is wrong with them."""
    _show(door, _plan(door, PolicyBody(_text(file))))


@command(group, "apply", "remote", "host", "tenant", "once")
@click.argument("file", type=click.Path())
@click.option("--digest", help="Of the plan that was reviewed; without it the plan is shown and asked for.")
def apply(door: Door, file: str, digest: str | None) -> None:
    """Put rules in force: they bind every request that begins afterwards."""
    text = _text(file)
    if digest is None:
        planned = _plan(door, PolicyBody(text))
        if planned["changes"] and not planned["refusals"] and not door.yes:
            _show(door, planned)
            confirm(door, "Apply?")
        digest = str(planned["digest"])
    body = PolicyBody(text, digest)
    applied = door.call("PUT", "policy", body) if door.remote else door.verb(policies.apply_policy, body)
    door.output.record(applied)


@command(group, "test", "remote", "host", "tenant")
@click.argument("cases", type=click.Path())
@click.option("--policy", type=click.Path(), help="A draft; without it, the rules in force.")
@click.option("--schema", type=click.Path(), help="With --policy: a schema, and no cell is opened.")
def test(door: Door, cases: str, policy: str | None, schema: str | None) -> None:
    """Try rules on a file of cases, and end with 7 if one is not as expected.

    Nothing is decided or charged. With --policy and --schema only files are read, as in a build.
    """
    asked = _cases(cases)
    draft = None if policy is None else _text(policy)
    answer: dict[str, Any]
    if schema is not None:
        if draft is None or door.remote:
            raise BadInput("usage", option="--schema", reason="goes with --policy, and without --url")
        read = read_policies(draft)
        known = EMPTY if not (text := _text(schema)) else parse_toml(text)
        tried = policy_tests.try_cases(read, asked, known, door.named_region or NOWHERE, MAIN_TENANT)
        answer = msgspec.to_builtins(tried)
    else:
        body = PolicyTestBody(asked, draft)
        if door.remote:
            answer = door.call("POST", "policy/test", body)
        else:
            answer = door.verb(policy_tests.run_policy_tests, body)
    _tell(door, asked, answer)


@command(group, "explain", "remote", "host", "tenant")
@click.argument("decision", required=False)
@click.option("--principal", help="What if: who, e.g. agent:demo.")
@click.option("--action", help="What if: an operation, or a kind of permission such as tokenize.")
@click.option("--field", help="What if: on which field.")
@click.option("--purpose", help="What if: for which purpose.")
@click.option("--hour", type=click.IntRange(0, 23), help="What if: at which hour (UTC).")
@click.option("--ip", help="What if: from which address.")
def explain(
    door: Door,
    decision: str | None,
    principal: str | None,
    action: str | None,
    field: str | None,
    purpose: str | None,
    hour: int | None,
    ip: str | None,
) -> None:
    """Say why something was decided as it was, by the id of the decision; or what rules would say."""
    case = None
    if principal is not None and action is not None:
        created = action == "grant:create"
        when: dict[str, Any] = {"ip": ip, "purpose": purpose if not created else None, "hour": hour}
        context = CaseContext(**{name: value for name, value in when.items() if value is not None})
        case = PolicyCase(principal, action, field, purpose if created else None, context=context)
    elif (principal, action) != (None, None):
        raise BadInput("usage", missing="--principal and --action")
    body = ExplainBody(decision, case)
    if door.remote:
        answer = door.call("POST", "policy/explain", body)
    else:
        answer = door.verb(reasons.explain_decision, body)
    door.output.record(answer)


def _plan(door: Door, body: PolicyBody) -> dict[str, Any]:
    remote = door.remote
    answer = door.call("POST", "policy/plan", body) if remote else door.verb(policies.plan_policy, body)
    return dict(answer)


def _show(door: Door, planned: dict[str, Any]) -> None:
    if door.output.json:
        door.output.data(planned)
        return
    rows = [{"change": change, "policy": name} for change in ("added", "removed") for name in planned[change]]
    door.output.table(rows, ("change", "policy"))
    for refusal in planned["refusals"]:
        named = f" ({refusal['name']})" if refusal.get("name") else ""
        place = f"policy {refusal['policy']}{named}: " if refusal["policy"] else ""
        door.output.note(f"refused: {place}{refusal['reason']}")
        if refusal.get("detail"):
            door.output.note(f"  {refusal['detail']}")
    door.output.record({"replaces": planned["replaces"], "digest": planned["digest"]})


def _tell(door: Door, cases: list[PolicyCase], answer: dict[str, Any]) -> None:
    rows = [
        {
            "case": place,
            "principal": case.principal,
            "action": case.action,
            "expected": case.expect or "",
            "is": told["decision"],
            "by": ", ".join(told["policies"]) or ("(a policy failed)" if told.get("broke") else "(nothing)"),
        }
        for place, (case, told) in enumerate(zip(cases, answer["cases"], strict=True), 1)
    ]
    if door.output.json:
        door.output.data(answer)
    else:
        door.output.table(rows, ("case", "principal", "action", "expected", "is", "by"))
    if answer["wrong"]:
        raise error("cases_wrong", wrong=answer["wrong"])


def _cases(file: str) -> list[PolicyCase]:
    """The cases of a TOML file.

    Raises:
        BadInput: `body_malformed`: it is none of cases.
    """
    try:
        document = tomllib.loads(_text(file))
        read: list[PolicyCase] = msgspec.convert(document, type=dict[str, list[PolicyCase]])["cases"]
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, KeyError, RecursionError, ValueError):
        raise BadInput("body_malformed") from None
    return read


def _text(file: str) -> str:
    path = Path(file)
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadInput("body_too_large")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured("host_permissions", path=str(path)) from None
