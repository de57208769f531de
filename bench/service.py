"""The service under load: `python -m bench.service` (needs wrk).

One worker, 64 clients, everything on this machine. Each request of ours is authenticated, charged where a
grant is used, audited and durable (SQLite, synchronous FULL) before it is answered. It is put against three
floors, which answer 20 bytes of JSON and do nothing else, each in a server of its own with our settings:

- hello: a handler that Litestar calls with its own encoding, as services are written. The targets are stated
  against this one.
- asgi: an ASGI handler inside Litestar, which encodes nothing.
- raw: the same handler alone on uvicorn, without Litestar; our own requests take this way.

Ours and the floors take turns; figures are medians of the turns' ratios (requests a second, ours / floor).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import uvicorn
from litestar import Litestar, asgi, get
from litestar.types import Receive, Scope, Send

from bench.target import SMALL, Target, report

CLIENTS = 64
BATCH = 1_000
FLOORS = ("hello", "asgi", "raw")
ANSWER = b'{"hello":"everyone"}'  # 20 bytes
SCHEMA = """
[purposes.bench]
legal_basis = "contract"
bearer = { delivery = ["plain"], max_uses = 1000000000000, max_ttl = "P1D" }
[retention.key-lifetime]
keep = "key"
[retention.customer]
keep = "P2Y"
from = "creation"
[fields."customer.ssn"]
template = "ssn"
protection = "vaultless"
retention = "key-lifetime"
[fields."customer.account"]
template = "digits(min=10, max=10)"
protection = "vaultless"
retention = "key-lifetime"
[fields."customer.name"]
template = "text(max=200)"
protection = "vaulted"
retention = "customer"
"""
CONFIG = """
mode = "development"
[listen]
address = "127.0.0.1:{port}"
[cell.eu]
database = "sqlite:///eu.db"
kms = "local:keys/eu"
half_stores = ["keys/eu"]
key_file = "keys/eu/development.key"
schema = "schema.toml"
[log]
level = "error"
"""
FIELDS = ("customer.account", "customer.name", "customer.ssn")


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER, "more_body": False})


@get("/hello", sync_to_thread=False)
def hello() -> dict[str, str]:
    return {"hello": "everyone"}


def serve_floor(floor: str, port: int) -> None:
    """Runs one of the floors until it is stopped."""
    app: object = raw
    if floor != "raw":
        handler = hello if floor == "hello" else asgi("/hello", copy_scope=False)(raw)
        app = Litestar([handler], openapi_config=None, logging_config=None)
    settings = {"loop": "uvloop", "http": "httptools", "log_config": None, "access_log": False}
    lifespan = "off" if floor == "raw" else "auto"
    uvicorn.run(app, host="127.0.0.1", port=port, server_header=False, lifespan=lifespan, **settings)  # type: ignore[arg-type]


class Kind(NamedTuple):
    """A kind of request: how many values one asks for, and what is wanted of it, by the floor `hello`."""

    name: str
    values: int = 1
    rate: Target | None = None
    p99: Target | None = None


KINDS = (
    Kind("tokenize_vaultless", 1, Target("tokenize_vaultless_vs_hello", 0.38, at_most=False)),
    Kind(
        "reveal_vaulted",
        1,
        Target("reveal_vaulted_vs_hello", 0.33, at_most=False),
        Target("reveal_vaulted_p99_vs_hello", 8.0, at_most=True),
    ),
    # Values a second against hello's requests a second.
    Kind("tokenize_vaulted_bulk", BATCH, Target("tokenize_vaulted_bulk_vs_hello", 3.0, at_most=False)),
    Kind("tokenize_vaulted"),
    Kind("reveal_vaultless"),
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def process(command: list[str], url: str) -> Iterator[int]:
    """A server's process id, from its first answer on."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"nothing answers at {url}")
        yield running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def post(url: str, credential: str, body: object) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        decoded: dict[str, object] = json.load(answer)
        return decoded


def coatcheck(folder: Path, *arguments: str) -> dict[str, str]:
    command = [sys.executable, "-m", "vault", *arguments, "--config", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    decoded: dict[str, str] = json.loads(done.stdout)
    return decoded


def set_up(folder: Path, port: int, config: str = CONFIG, schema: str = SCHEMA) -> str:
    """A cell with one service, one agent and the benchmark's schema; the service's key."""
    (folder / "coatcheck.toml").write_text(config.format(port=port), encoding="utf-8")
    (folder / "schema.toml").write_text(schema, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "vault", "init", str(folder), "--quiet"], check=True)
    if not (folder / "dev-credentials.json").exists():
        raise SystemExit("init made no credentials")
    ceiling = {
        "fields": FIELDS,
        "operations": ["reveal"],
        "deliveries": ["plain"],
        "purposes": ["bench"],
        "agents": ["agent:demo"],
        "uses": 10**12,
        "ttl": "P1D",
    }
    permissions = ["grant:create:bench", *(f"tokenize:{name}" for name in FIELDS)]
    options = [part for name in permissions for part in ("--permission", name)]
    service = coatcheck(
        folder, "principal", "create", "service", "bench", *options, "--ceiling", json.dumps(ceiling)
    )
    return coatcheck(folder, "apikey", "create", service["id"])["credential"]


def script(folder: Path, name: str, credential: str, body: object) -> Path:
    """A request for wrk to repeat."""
    path = folder / f"{name}.lua"
    lines = [
        'wrk.method = "POST"',
        'wrk.headers["Content-Type"] = "application/json"',
        f'wrk.headers["Authorization"] = "Bearer {credential}"',
        f"wrk.body = [==[{json.dumps(body)}]==]",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def load(url: str, seconds: float, lua: Path | None = None, clients: int = CLIENTS) -> tuple[float, float]:
    """Requests a second, and the 99th percentile in milliseconds. Any answer but 2xx ends the benchmark."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--latency", "--timeout", "30s"]
    done = subprocess.run(
        [*command, *(["-s", str(lua)] if lua else []), url], capture_output=True, text=True, check=True
    )
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"not every answer was a success:\n{done.stdout}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if rate is None or p99 is None:
        raise SystemExit(f"wrk said nothing of use:\n{done.stdout}")
    return float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]


def show(kind: Kind, turns: list[dict[str, tuple[float, float]]]) -> list[tuple[Target, float]]:
    """Prints a kind's figures, medians of the turns; those that are held to a target are left to it."""
    rates = {name: median(turn[name][0] for turn in turns) for name in ("ours", *FLOORS)}
    print(f"{kind.name}: " + ", ".join(f"{name} {rate:.1f}/s" for name, rate in rates.items()))
    held = []
    for floor in FLOORS:
        ratio = median(turn["ours"][0] * kind.values / turn[floor][0] for turn in turns)
        if floor == "hello" and kind.rate is not None:
            held.append((kind.rate, ratio))
        else:
            print(f"  ratio {kind.name}_vs_{floor} {ratio:.2f}")
    p99 = median(turn["ours"][1] / turn["hello"][1] for turn in turns)
    slow = median(turn["ours"][1] for turn in turns)
    print(f"  p99 {slow:.0f} ms, hello's times {p99:.1f}")
    if kind.p99 is not None:
        held.append((kind.p99, p99))
    return held


def main() -> bool:
    """Whether all targets are held."""
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark loads the service with wrk, which is not installed")
    turns, seconds = (1, 1.0) if SMALL else (5, 3.0)
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        port = free_port()
        key = set_up(folder, port)
        base = f"http://127.0.0.1:{port}/v1/eu/"
        python = [sys.executable, "-m"]
        stack.enter_context(process([*python, "vault", "serve", "--config", made], f"{base[:-7]}/livez"))
        floors = {}
        for floor in FLOORS:
            own = free_port()
            floors[floor] = f"http://127.0.0.1:{own}/hello"
            stack.enter_context(process([*python, "bench.service", floor, str(own)], floors[floor]))
        requests = prepare(folder, base, key)
        busy = os.getloadavg()[0]
        print(
            f"{CLIENTS} clients, one worker, {turns} turns of {seconds:g} s; load before it began: {busy:.1f}"
        )
        held = []
        for kind in KINDS:
            path, lua = requests[kind.name]
            taken = []
            for _ in range(turns):
                # A large batch takes a while to come back for the first time.
                turn = {"ours": load(base + path, seconds if kind.values == 1 else 2 * seconds + 2, lua)}
                taken.append(turn | {floor: load(url, seconds) for floor, url in floors.items()})
            held += show(kind, taken)
        return report(held)


def prepare(folder: Path, base: str, key: str) -> dict[str, tuple[str, Path]]:
    """A request of each kind: (path, script) by name."""
    ssn = {"field": "customer.ssn", "values": ["123-45-6789"]}
    name = {"field": "customer.name", "values": ["Ada Lovelace"]}
    many = {"field": "customer.name", "values": [f"Ada Lovelace {number}" for number in range(BATCH)]}
    scope = [{"fields": FIELDS, "operations": ["reveal"], "delivery": ["plain"]}]
    body = {
        "agent": "agent:demo",
        "purpose": "bench",
        "scope": scope,
        "limits": {"uses": 10**12, "batch": 100},
    }
    grant = str(post(base + "grants", key, body)["credential"])
    tokens = {}
    for kind, asked in (("ssn", ssn), ("name", name)):
        made = post(base + "tokenize", key, asked)["tokens"]
        tokens[kind] = made[0] if isinstance(made, list) else None
    reveal_ssn = {"field": "customer.ssn", "token": tokens["ssn"], "key_version": 1}
    reveal_name = {"field": "customer.name", "token": tokens["name"]}
    return {
        "tokenize_vaultless": ("tokenize", script(folder, "t1", key, ssn)),
        "tokenize_vaulted": ("tokenize", script(folder, "t2", key, name)),
        "tokenize_vaulted_bulk": ("tokenize", script(folder, "t3", key, many)),
        "reveal_vaultless": (
            "detokenize",
            script(folder, "r1", grant, {"purpose": "bench", "items": [reveal_ssn]}),
        ),
        "reveal_vaulted": (
            "detokenize",
            script(folder, "r2", grant, {"purpose": "bench", "items": [reveal_name]}),
        ),
    }


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in FLOORS:
        serve_floor(sys.argv[1], int(sys.argv[2]))
    elif not main():
        raise SystemExit(1)
