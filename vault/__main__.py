"""The program `coatcheck`: the command line, and `serve`, the one place that knows all doors."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from vault.api.app import Api
from vault.api.log import configure
from vault.api.protocol import Protocol
from vault.cli.development import first_requests
from vault.cli.doors import Door, ask_passphrase, command
from vault.cli.main import cli
from vault.cli.main import run as run_command_line
from vault.config import Config
from vault.errors import Misconfigured, Unavailable
from vault.wiring import deploy

GRACE_S = 20
# The committer's thread comes back from each fsync wanting the interpreter's lock, which the event loop
# holds; with the default of 5 ms a commit would wait longer for the lock than for the disk.
SWITCH_INTERVAL_S = 0.0005


class Server(uvicorn.Server):
    """uvicorn, with a word when it listens, and draining from the first signal on."""

    def __init__(self, config: uvicorn.Config, api: Api, announcement: str) -> None:
        super().__init__(config)
        self._api = api
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts listening."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(self._announcement)
            sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain; unlike uvicorn's own, they are not raised again afterwards, so that
        the cells are closed in order."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._drain) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _drain(self, number: int, frame: object) -> None:
        self._api.draining = True
        self.handle_exit(number, None)


@command(cli, "serve", "host")
def serve(door: Door) -> None:
    """Serve the cells of the configuration over HTTP until SIGTERM or Ctrl-C."""
    config = door.config
    if not config.cell:
        raise Misconfigured("not_initialised", reason="no [cell.REGION] is configured")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    configure(config.log.format, config.log.level)
    listener = listen(*config.host_and_port())
    try:
        deployment = deploy(config, ask_passphrase)
        try:
            run(config, Api(deployment.cells, addresses(config), development=config.development), listener)
        finally:
            deployment.close()
    finally:
        listener.close()


def run(config: Config, api: Api, listener: socket.socket) -> None:
    """Runs the server on a bound socket until it is told to stop."""
    host, port = listener.getsockname()[:2]
    announcement = f"Coatcheck is listening on http://{host}:{port}\n"
    if config.development:
        announcement = first_requests(config) or announcement
    server = Server(
        uvicorn.Config(
            api.litestar(),
            loop="uvloop",
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
        ),
        api,
        announcement,
    )
    server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address.

    Raises:
        Unavailable: `address_in_use`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise Unavailable("address_in_use", address=f"{host}:{port}") from None
    return listener


def addresses(config: Config) -> dict[str, str]:
    """The addresses of regions that other services host."""
    return {region: settings.url for region, settings in config.region.items() if region not in config.cell}


def main() -> None:
    """The command `coatcheck`."""
    run_command_line()


if __name__ == "__main__":
    main()
