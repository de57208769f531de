"""The service under load: `python -m bench.service` (needs wrk).

The floor is "hello": 20 bytes of JSON without authentication, from a handler inside Litestar on the same
server with the same settings, under the same load generator. Every request of ours is checked, charged
where a grant is used, audited and durable (SQLite, synchronous FULL) before it is answered.

hello and ours take turns; the figure is the median of the turns' ratios (requests a second, ours / hello).
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

import uvicorn
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send

CLIENTS = (1, 16, 64)
HELLO = b'{"hello":"everyone"}'  # 20 bytes
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
FIELDS = ("customer.name", "customer.ssn")


@asgi("/hello", copy_scope=False)
async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(HELLO)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": HELLO, "more_body": False})


def serve_hello(port: int) -> None:
    app = Litestar([hello], openapi_config=None, logging_config=None)
    settings = {"loop": "uvloop", "http": "httptools", "log_config": None, "access_log": False}
    uvicorn.run(app, host="127.0.0.1", port=port, server_header=False, **settings)  # type: ignore[arg-type]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def process(command: list[str], url: str) -> Iterator[None]:
    """A server, from its first answer on."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"nothing answers at {url}")
        yield
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


def set_up(folder: Path, port: int) -> str:
    """A cell with one service, one agent and the benchmark's schema; the service's key."""
    (folder / "coatcheck.toml").write_text(CONFIG.format(port=port), encoding="utf-8")
    (folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
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


def load(url: str, clients: int, seconds: float, lua: Path | None) -> float:
    """Requests a second. Any answer but 2xx ends the benchmark."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", *(["-s", str(lua)] if lua else []), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"not every answer was a success:\n{done.stdout}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None:
        raise SystemExit(f"wrk said nothing of use:\n{done.stdout}")
    return float(found[1])


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark loads the service with wrk, which is not installed")
    small = os.environ.get("BENCH_SIZE") == "small"
    turns, seconds = (2, 1.0) if small else (5, 3.0)
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        port, hello_port = free_port(), free_port()
        key = set_up(folder, port)
        base, floor = f"http://127.0.0.1:{port}/v1/eu/", f"http://127.0.0.1:{hello_port}/hello"
        python = [sys.executable, "-m"]
        stack.enter_context(process([*python, "vault", "serve", "--config", made], f"{base[:-7]}/livez"))
        stack.enter_context(process([*python, "bench.service", "hello", str(hello_port)], floor))
        requests = prepare(folder, base, key)
        print("requests a second; ratio = ours / hello, median of turns")
        for clients in CLIENTS:
            rates: dict[str, list[tuple[float, float]]] = {name: [] for name in requests}
            for _ in range(turns):
                for name, (path, lua) in requests.items():
                    ours = load(base + path, clients, seconds, lua)
                    rates[name].append((ours, load(floor, clients, seconds, None)))
            for name, pairs in rates.items():
                ours, theirs = (median(column) for column in zip(*pairs, strict=True))
                print(f"  {clients:3} clients  {name:18} {ours:8.0f}   hello {theirs:8.0f}")
                print(f"ratio {name}_{clients}_vs_hello {median(a / b for a, b in pairs):.3f}")


def prepare(folder: Path, base: str, key: str) -> dict[str, tuple[str, Path]]:
    """The four kinds of request: (path, script) by name."""
    ssn = {"field": "customer.ssn", "values": ["123-45-6789"]}
    name = {"field": "customer.name", "values": ["Ada Lovelace"]}
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
    if sys.argv[1:2] == ["hello"]:
        serve_hello(int(sys.argv[2]))
    else:
        main()
