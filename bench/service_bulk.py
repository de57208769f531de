"""Batches of 10,000 vaultless values over HTTP: `python -m bench.service_bulk` (needs wrk).

One worker, eight clients. Each request is authenticated, audited and durable before it is answered. It is put
against a Litestar handler that takes the same body as a typed struct and gives it back, in a server of its
own with our settings; and against Bouncy Castle, in a process that does nothing but encrypt the same
values, one thread, as it comes. They take turns; figures are medians of the turns' ratios.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import uvicorn
from litestar import Litestar, post

from bench.peers import PEERS, Task, Work, available
from bench.service import free_port, hello, load, process, script, set_up
from bench.target import SMALL, Target, report

CLIENTS: Final = 8
BATCH: Final = 10_000
FIELDS: Final = ("customer.account", "customer.ssn")
ECHO: Final = Target("tokenize_10000_vs_echo", 0.3, at_most=False)
PEER: Final = Target("tokenize_10000_vs_bouncy_castle", 10, at_most=False)


class Batch(msgspec.Struct):
    """A body, as a service would declare it."""

    field: str
    values: list[str | None]


@post("/echo", status_code=200)
async def echo(data: Batch) -> Batch:
    return data


def serve_echo(port: int) -> None:
    """Runs the floor until it is stopped."""
    app = Litestar([echo, hello], openapi_config=None, logging_config=None, request_max_body_size=2**24)
    settings = {"loop": "uvloop", "http": "httptools", "log_config": None, "access_log": False}
    uvicorn.run(app, host="127.0.0.1", port=port, server_header=False, **settings)  # type: ignore[arg-type]


@contextlib.contextmanager
def bouncy_castle(values: list[str]) -> Iterator[Work | None]:
    """Bouncy Castle at work on the values, if it can run here."""
    peer = next(peer for peer in PEERS if peer.name == "Bouncy Castle")
    if peer not in available():
        yield None
        return
    with peer.at_work(Task(bytes(32), "0123456789", values, 0.5 if SMALL else 3.0)) as work:
        yield work


def main() -> bool:
    """Whether all targets are held."""
    turns, seconds = (1, 1.0) if SMALL else (5, 3.0)
    chosen = random.Random(10)
    values = {
        name: [f"{chosen.randrange(10**n):0{n}d}" for _ in range(BATCH)]
        for name, n in zip(FIELDS, (10, 9), strict=True)
    }
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        port, own = free_port(), free_port()
        key = set_up(folder, port)
        python = [sys.executable, "-m"]
        base = f"http://127.0.0.1:{port}"
        stack.enter_context(process([*python, "vault", "serve", "--config", made], f"{base}/livez"))
        floor = f"http://127.0.0.1:{own}"
        stack.enter_context(process([*python, "bench.service_bulk", str(own)], f"{floor}/hello"))
        peer = stack.enter_context(bouncy_castle(values[FIELDS[0]]))
        print(f"batches of {BATCH} values, {CLIENTS} clients, one worker, {turns} turns of {seconds:g} s")
        held = []
        for name in FIELDS:
            lua = script(folder, name, key, {"field": name, "values": values[name]})
            taken = []
            for _ in range(turns):
                ours, p99 = load(f"{base}/v1/eu/tokenize", seconds, lua, CLIENTS)
                echoed, _ = load(f"{floor}/echo", seconds, lua, CLIENTS)
                taken.append((ours, p99, echoed, peer.a_value() if peer else 0.0))
            rate = median(ours for ours, *_ in taken)
            ratio = median(ours / echoed for ours, _, echoed, _ in taken)
            print(
                f"{name}: {rate:.1f} batches/s, {1e9 / rate / BATCH:.0f} ns a value, p99 "
                f"{median(p99 for _, p99, *_ in taken):.0f} ms; echo {median(e for *_, e, _ in taken):.1f}/s"
            )
            if name != FIELDS[0]:
                print(f"  ratio {ECHO.name}_{name} {ratio:.2f}")
                continue
            held.append((ECHO, ratio))
            if peer is not None:
                held.append((PEER, median(ours * BATCH * seconds_each for ours, *_, seconds_each in taken)))
        return report(held)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve_echo(int(sys.argv[1]))
    else:
        sys.exit(not main())
