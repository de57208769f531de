"""template list | explain | try: the catalogue, without a cell or a service; `explain --field` asks one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from vault.cli.doors import Door, command, read_lines
from vault.errors import BadInput
from vault.formats.catalog import CATALOG, parse_template
from vault.schema.refusals import is_label
from vault.services import explain as service
from vault.services.explain import TemplateQuestion, explained
from vault.services.trial import try_values


@click.group("template")
def group() -> None:
    """List, explain and try what values can look like."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "list")
def list_(door: Door) -> None:
    """List the catalogue: what values look like, how many look alike, and the protection that fits."""
    rows = []
    for name, entry in CATALOG.items():
        found = explained(name, TemplateQuestion())
        size = found.domain.size if found.domain is not None else 0
        rows.append(
            {
                "name": name,
                "domain": size,
                "advice": _advice(asdict(found.advice)),
                "parameters": [parameter.name for parameter in entry.parameters],
                "description": entry.description,
            }
        )
    if not door.output.json:
        rows = [row | {"domain": f"{row['domain']:,}" if row["domain"] else "-"} for row in rows]
    door.output.table(rows, ("name", "domain", "advice", "parameters"))


@command(group, "explain", "remote", "host", "tenant")
@click.argument("spelling", required=False)
@click.option("--field", help="A field of the schema in force, in place of a spelling.")
@click.option("--protection", help="vaultless, vaulted or encrypted; without it the one advised.")
@click.option("--surrogate", help="What vaulted tokens would look like: a spelling.")
@click.option("--max-rows", type=click.IntRange(min=1), help="How many of them there would be.")
@click.option("--per-day", type=click.IntRange(min=1), help="A budget of values a day.")
def explain(door: Door, spelling: str | None, field: str | None, **asked: Any) -> None:
    """Explain a spelling such as "card(keep_first=6)": domain, chances of a guess, what shows, advice.

    A spelling needs neither a cell nor a service; `--field` asks one.
    """
    if (spelling is None) == (field is None):
        raise BadInput("usage", reason="name a spelling or a --field, one of them")
    if field is not None:
        if any(item is not None for item in asked.values()):
            raise BadInput("usage", reason="a field has its own protection and budget")
        answer = _of_field(door, field)
    else:
        answer = asdict(explained(spelling or "", TemplateQuestion(**asked)))
    if door.output.json:
        door.output.data(answer)
    else:
        door.output.record(_readable(answer))


@command(group, "try")
@click.argument("spelling")
@click.option("--in", "source", type=click.Path(), help="A file in place of standard input.")
def try_(door: Door, spelling: str, source: str | None) -> None:
    """Try values, one a line: taken or why not, what a token keeps, and what one could look like.

    Nothing is stored or sent. The tokens are made under a key that is forgotten: they open nowhere.
    """
    parse_template(spelling)  # before anything is read
    rows = [
        {"line": number, **asdict(trial)}
        for number, trial in enumerate(try_values(spelling, read_lines(source)), 1)
    ]
    if not door.output.json:
        rows = [row | {"among": None if row["among"] is None else f"{row['among']:,}"} for row in rows]
    door.output.table(rows, ("line", "result", "among", "kept", "token"))


def _of_field(door: Door, field: str) -> dict[str, Any]:
    if door.remote:
        named = field if is_label(field) else "-"  # no field is called so
        return dict(door.call("GET", f"fields/{named}/explain"))
    return dict(door.verb(service.explain_field, field))


def _advice(advice: dict[str, Any]) -> str:
    """The protection in few words."""
    words = [advice["protection"]]
    if advice["surrogate"]:
        words.append(f"with surrogate {advice['surrogate']}")
    if advice["small"]:
        words.append(f"with small = {advice['small']}")
    return " ".join(words)


def _readable(answer: dict[str, Any]) -> dict[str, Any]:
    """An explanation as lines."""
    guess, dictionary, advice = answer["guess"], answer["dictionary"], answer["advice"]
    lines: dict[str, Any] = {"template": answer["template"], "protection": answer["protection"]}
    for name in ("domain", "smallest"):
        size = answer[name]
        if size is not None:
            lines[name] = f"{size['size']:,} ({size['note']})" if size["size"] else size["note"]
    if answer["refused"]:
        lines["smallest"] += "; too few for format-preserving encryption"
        lines["small"] = answer["small"]
    if guess is not None:
        lines["made-up token"] = f"{guess['one']['text']} to be one certain token"
        lines["of 1,000,000"] = f"{guess['million']['text']} to be one of 1,000,000 in use"
        if guess["rows"] is not None:
            lines["of all rows"] = f"{guess['rows']['text']} to be anybody's, when the field is full"
    lines["equality"] = answer["equality"]
    lines["tokens show"] = "; ".join(answer["shown"]) or "nothing of the value"
    if dictionary is not None:
        lines["dictionary"] = f"all {dictionary['values']:,} values: {dictionary['text']}"
    lines["advice"] = f"{_advice(advice)}: {advice['reason']}"
    return lines
