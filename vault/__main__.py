"""The program `coatcheck`: the command line, and `serve`, the one place that knows all doors."""

from __future__ import annotations

from vault.cli.development import first_requests
from vault.cli.doors import Door, ask_passphrase, command
from vault.cli.main import cli
from vault.cli.main import run as run_command_line
from vault.config import Config
from vault.errors import Misconfigured
from vault.wiring import deploy


@command(cli, "serve", "host")
def serve(door: Door) -> None:
    """Serve the cells of the configuration over HTTP until SIGTERM or Ctrl-C."""
    # Only here: loading the HTTP door takes longer than most other commands run.
    from vault.api.app import Api
    from vault.api.log import configure
    from vault.api.server import bound, run

    config = door.config
    if not config.cell:
        raise Misconfigured("not_initialised", reason="no [cell.REGION] is configured")
    configure(config.log.format, config.log.level)
    with bound(config) as sockets:
        deployment = deploy(config, ask_passphrase)
        try:
            api = Api(deployment.cells, addresses(config), development=config.development)
            url = config.url(sockets.main.getsockname()[1])
            run(api, config, sockets, announcement(config, url))
        finally:
            deployment.close()


def announcement(config: Config, url: str) -> str:
    """What is printed once the service listens: in development, the first requests to paste."""
    requests = first_requests(config, url) if config.development else ""
    return requests or f"Coatcheck is listening on {url}\n"


def addresses(config: Config) -> dict[str, str]:
    """The addresses of regions that other services host."""
    return {region: settings.url for region, settings in config.region.items() if region not in config.cell}


def main() -> None:
    """The command `coatcheck`."""
    run_command_line()


if __name__ == "__main__":
    main()
