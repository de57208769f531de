"""config check | show: what is wrong or risky about the settings, and where each of them comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from vault.cli.doors import Door, command
from vault.codes import Exit
from vault.config import Settings, load_all
from vault.config.checking import risks
from vault.config.settings import Config, shown
from vault.errors import Misconfigured


@click.group("config")
def group() -> None:
    """Check coatcheck.toml, and show what is in force."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "check", "host")
def check(door: Door) -> None:
    """Say everything that is wrong or risky about the settings; exits 11 when something is wrong.

    Only the settings are looked at. `coatcheck doctor` looks at files, keys and databases too.
    """
    settings = load_all(door.config_path)
    rows = [{"result": "wrong", "setting": p.setting, "reason": p.reason} for p in settings.problems]
    if settings.config is not None and not rows:
        rows = [{"result": "risky", "setting": p.setting, "reason": p.reason} for p in risks(settings.config)]
    door.output.table(rows, ("result", "setting", "reason"))
    if settings.problems:
        sys.exit(int(Exit.CONFIG))
    door.output.note(f"{door.config_path} can be used.")


@command(group, "show", "host")
def show(door: Door) -> None:
    """Show the settings in force and where each comes from: the environment, the file, or the default."""
    settings = load_all(door.config_path)
    if settings.config is None or settings.problems:
        wrong = [f"{problem.setting} {problem.reason}" for problem in settings.problems]
        raise Misconfigured("config_invalid", problems=wrong)
    rows: list[dict[str, Any]] = [
        {"setting": name, "value": shown(name, value), "source": source_of(name, settings)}
        for name, value in in_force(settings.config)
    ]
    if door.output.json:
        door.output.data({"file": str(door.config_path), "named_by": door.config_source, "settings": rows})
        return
    door.output.table(rows, ("setting", "value", "source"))
    door.output.note(f"file: {door.config_path} (named by: {door.config_source})")


def in_force(config: Config) -> Iterator[tuple[str, Any]]:
    """Every setting and its value."""
    for item in msgspec.structs.fields(config):
        if item.name != "base":  # the file's own folder is not a setting
            yield from _below(item.name, getattr(config, item.name))


def _below(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, msgspec.Struct):
        for item in msgspec.structs.fields(value):
            yield from _below(f"{name}.{item.name}", getattr(value, item.name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _below(f"{name}.{key}", inner)
    else:
        yield name, value


def source_of(name: str, settings: Settings) -> str:
    """The variable that a setting comes from, `file`, or `default`."""
    if name in settings.sources:
        return settings.sources[name]
    table: Any = settings.document
    *above, last = _parts(name)
    for part in above:
        table = table.get(part, {})
    return "file" if last in table else "default"


def _parts(name: str) -> list[str]:
    """A setting's name in parts; a region's name may have dots of its own."""
    section, _, rest = name.partition(".")
    if section in ("cell", "region"):
        region, _, last = rest.rpartition(".")
        above, _, table = region.rpartition(".")
        if table in ("kms_auth", "kms_limits") and above:
            return [section, above, table, last]
        return [section, region, last]
    return name.split(".")
