"""The program `coatcheck`: the command line, and `serve`, the one place that knows all doors."""

from __future__ import annotations

import sys

from vault.cli.development import first_requests
from vault.cli.doors import Door, ask_passphrase, command
from vault.cli.main import cli
from vault.cli.main import run as run_command_line
from vault.config import Config
from vault.errors import Misconfigured
from vault.wiring import Prompt, Wiring, deploy


@command(cli, "serve", "host")
def serve(door: Door) -> None:
    """Serve the cells of the configuration over HTTP until SIGTERM or Ctrl-C."""
    # Only here: loading the HTTP door takes longer than most other commands run.
    from vault.api.app import Api
    from vault.api.board import Board
    from vault.api.log import configure
    from vault.api.metrics import Metrics
    from vault.api.server import bound, run
    from vault.api.supervisor import Supervisor

    config = door.config
    if not config.cell:
        raise Misconfigured("not_initialised", reason="no [cell.REGION] is configured")
    configure(config.log.format, config.log.level)
    with bound(config) as sockets:
        url = config.url(sockets.main.getsockname()[1])

        def announce() -> None:
            sys.stdout.write(announcement(config, url))
            sys.stdout.flush()

        workers = config.listen.workers
        prompt: Prompt = ask_passphrase
        board, slot, life = None, 0, None
        if workers > 1:
            board, prompt = Board(workers), asked_once(config)
            worker = Supervisor(workers, config.limits.drain_s, announce, sockets.close).run()
            if isinstance(worker, int):
                sys.exit(worker)
            slot, life, announce = worker.number, worker.life, worker.listening
        deployment = deploy(config, prompt)
        try:
            metrics = Metrics(deployment.cells, board, slot)
            api = Api(deployment.cells, addresses(config), metrics, development=config.development)
            run(api, config, sockets, announce, life)
        finally:
            deployment.close()


def asked_once(config: Config) -> Prompt:
    """Asks for the passphrases now, for all processes and whenever one is started again."""
    known = {region: ask_passphrase(region) for region in config.cell if Wiring(config).asks(region)}
    return known.__getitem__


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
