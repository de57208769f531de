"""init: creates the cells that a configuration names; with --dev, a whole deployment to try things on."""

from __future__ import annotations

from pathlib import Path

import click

from vault.cli.development import seed
from vault.cli.doors import Door, ask_passphrase, command
from vault.cli.templates import DEVELOPMENT, DEVELOPMENT_SCHEMA, PRODUCTION
from vault.config import FILE_NAME, Config, load
from vault.errors import Misconfigured
from vault.identifiers import is_name
from vault.wiring import Wiring, as_host

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
def init(door: Door, folder: Path, dev: bool, passphrase_file: str | None) -> None:
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
        secret = f'passphrase_file = "{passphrase_file}"\n' if passphrase_file else ""
        _write(path, PRODUCTION.format(region=named, passphrase=secret))
    config = load(path)
    created = create_cells(config)
    if config.development:
        seed(config, folder)
    for region in config.cell:
        door.output.note(f"cell {region}: {'created' if region in created else 'already there, kept'}")
    if not config.development and created:
        door.output.note(
            "Next: coatcheck principal create operator ada --role admin, then coatcheck apikey create ID; "
            "write schema.toml and coatcheck schema apply; then coatcheck serve."
        )


def create_cells(config: Config) -> list[str]:
    """Creates what is missing; the regions that were created now."""
    wiring = Wiring(config, ask_passphrase)
    return [region for region in config.cell if wiring.create(region, as_host())]


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
