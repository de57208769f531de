"""init: creates the cells that a configuration names; with --dev, a whole deployment to try things on."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from pathlib import Path

import click

from vault.cli.development import seed
from vault.cli.doors import Door, ask_passphrase, command, host_request
from vault.cli.operators import first_operator
from vault.cli.templates import DEVELOPMENT, DEVELOPMENT_SCHEMA, PRODUCTION
from vault.config import FILE_NAME, Config, load
from vault.errors import Conflict, Misconfigured
from vault.identifiers import is_name
from vault.services.operators import OperatorBody, create_operator
from vault.wiring import Wiring, as_host, perform

_group = click.Group()


def register(cli: click.Group) -> None:
    """Adds the command."""
    cli.add_command(_group.commands["init"])


@command(_group, "init")
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--dev", is_flag=True, help="Two regions, a key file, a schema, credentials: to try things on.")
@click.option(
    "--passphrase-file", type=click.Path(), help="Written into a new coatcheck.toml; else init asks."
)
@click.option("--operator", "name", help="The first operator; else init asks, if there is a terminal.")
@click.option("--password-file", type=click.Path(path_type=Path), help="The operator's password: first line.")
def init(
    door: Door,
    folder: Path,
    dev: bool,
    passphrase_file: str | None,
    name: str | None,
    password_file: Path | None,
) -> None:
    """Create the cells of FOLDER/coatcheck.toml; write that file first if there is none.

    What exists is kept: running it again finishes what was interrupted, and changes nothing else.
    """
    path = folder / FILE_NAME
    named = door.named_region or "eu"
    if not is_name(named):
        raise Misconfigured("config_invalid", setting="--region")
    if dev:
        _write(path, DEVELOPMENT)
        _write(folder / "schema.toml", DEVELOPMENT_SCHEMA)
    else:
        secret = _passphrase_line(folder, passphrase_file)
        _write(path, PRODUCTION.format(region=named, passphrase=secret))
    config = load(path)
    if passphrase_file and not any(cell.passphrase_file for cell in config.cell.values()):
        # The file was there before, and init changes no file: the option would be forgotten in silence.
        reason = f"is not in the {FILE_NAME} that is there; add it"
        raise Misconfigured("config_invalid", setting="passphrase_file", reason=reason)
    operator = None if name is None else first_operator(name, password_file)
    created = create_cells(config)
    if config.development:
        seed(config, folder)
    elif created and operator is None:
        operator = first_operator(None, password_file)
    make_operators(config, operator)
    for region in config.cell:
        door.output.note(f"cell {region}: {'created' if region in created else 'already there, kept'}")
    if not config.development and created:
        first = "" if operator else "coatcheck operator create ada --role admin --role cell-admin; "
        door.output.note(
            f"Next: {first}write schema.toml and coatcheck schema apply; then coatcheck serve, "
            "and coatcheck login."
        )


def make_operators(config: Config, operator: OperatorBody | None) -> None:
    """Makes the first operator in every cell that has none of that name, if there is to be one."""
    if operator is None:
        return
    for region in config.cell:
        opened = Wiring(config, ask_passphrase).open(region)
        # If it is there, this is said a second time.
        with contextlib.closing(opened), contextlib.suppress(Conflict):
            perform(opened.cell, partial(create_operator, opened.cell, host_request(), operator))


def create_cells(config: Config) -> list[str]:
    """Creates what is missing; the regions that were created now."""
    wiring = Wiring(config, ask_passphrase)
    return [region for region in config.cell if wiring.create(region, as_host())]


def _passphrase_line(folder: Path, named: str | None) -> str:
    """The setting: relative to the deployment's folder if the file is there, else where the shell is."""
    if named is None:
        return ""
    path = Path(named)
    if not (folder / path).exists() and path.exists():
        path = path.resolve()
    return f"passphrase_file = {json.dumps(str(path), ensure_ascii=False)}\n"


def _write(path: Path, text: str) -> None:
    """Writes a file unless it is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None
