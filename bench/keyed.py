"""A value under a keyed grant, over HTTP: `python -m bench keyed` (needs wrk).

One worker, 64 clients, SQLite, one grant each: the same reveal of one vaulted value under a bearer grant,
under a keyed grant in plain (each request with a proof of its own, which is checked, charged and kept in
mind), and under a keyed grant whose answers are sealed and signed. Proofs are made before each turn, as they
are the clients' work. The three take turns; figures are medians of the turns' ratios (requests a second).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.service import SCHEMA, coatcheck, free_port, load, post, process, script, set_up
from bench.target import SMALL, Target, report
from vault.client.proofs import make_proof
from vault.clock import SystemClock
from vault.crypto import hpke
from vault.crypto.base64url import encode
from vault.crypto.signing import Signer, keypair, thumbprint

TURNS = 2 if SMALL else 5
SECONDS = 1.0 if SMALL else 4.0
MOST = 6_000  # requests a second that proofs are made for
FIELD = "customer.name"
TARGETS = {
    "keyed": Target("keyed_reveal_vs_bearer", 0.7, at_most=False),
    "sealed": Target("sealed_reveal_vs_bearer", 0.5, at_most=False),
}
CEILING = {
    "fields": [FIELD],
    "operations": ["reveal"],
    "deliveries": ["plain", "sealed"],
    "purposes": ["bench"],
    "agents": ["agent:demo"],
    "uses": 10**12,
    "ttl": "P1D",
}


def grantor(folder: Path) -> str:
    """The key of a service that may create all three; made before the service has the cell."""
    options = ["--permission", "grant:create:bench", "--ceiling", json.dumps(CEILING)]
    maker = coatcheck(folder, "principal", "create", "service", "grantor", *options)
    return coatcheck(folder, "apikey", "create", maker["id"])["credential"]


def grants_of(key: str, url: str, signer: Signer) -> dict[str, dict[str, Any]]:
    """A bearer grant, a keyed one in plain, and a sealed one."""
    _, public = hpke.keypair()

    def create(delivery: str, **more: object) -> dict[str, Any]:
        scope = [{"fields": [FIELD], "operations": ["reveal"], "delivery": [delivery]}]
        body = {"agent": "agent:demo", "purpose": "bench", "scope": scope, "limits": {"uses": 10**12}}
        return post(f"{url}/v1/eu/grants", key, {**body, "valid": {}, **more})

    bind = {"cnf": {"jkt": thumbprint(signer.public)}}
    seal_to = {"kty": "OKP", "crv": "X25519", "x": encode(public)}
    return {
        "bearer": create("plain"),
        "keyed": create("plain", bind=bind),
        "sealed": create("sealed", bind=bind, seal_to=seal_to),
    }


def proofs(folder: Path, name: str, signer: Signer, url: str, grant: str, body: bytes) -> Path:
    """A request for wrk to repeat, each time with another proof."""
    now = SystemClock().now()
    of = {"method": "POST", "url": url, "grant": grant, "body": body, "chain": None, "now": now}
    lines = [make_proof(signer, **of) for _ in range(int(MOST * SECONDS))]  # type: ignore[arg-type]
    (folder / f"{name}.proofs").write_text("\n".join(lines), encoding="ascii")
    path = folder / f"{name}.lua"
    path.write_text(
        f"""
local proofs, last = {{}}, 0
for line in io.lines("{folder / name}.proofs") do proofs[#proofs + 1] = line end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Grant {grant}"
wrk.body = [==[{body.decode()}]==]
request = function()
  last = last + 1
  wrk.headers["DPoP"] = proofs[last]
  return wrk.format()
end
""",
        encoding="utf-8",
    )
    return path


def measure(folder: Path) -> dict[str, float]:
    """Requests a second of keyed and sealed, by those of bearer."""
    port = free_port()
    keyed_plain = '[purposes.bench]\nkeyed = { delivery = ["plain"] }\n'
    key = set_up(folder, port, schema=SCHEMA.replace("[purposes.bench]\n", keyed_plain))
    maker = grantor(folder)
    base = f"http://127.0.0.1:{port}"
    url = f"{base}/v1/eu/detokenize"
    serve = [sys.executable, "-m", "vault", "serve", "--config", str(folder)]
    seed, _ = keypair()
    signer = Signer(seed)
    with process(serve, f"{base}/livez"):
        made = grants_of(maker, base, signer)
        token = post(f"{base}/v1/eu/tokenize", key, {"field": FIELD, "values": ["Ada Lovelace"]})["tokens"]
        asked = {"purpose": "bench", "field": FIELD, "tokens": token}
        sealed = {**asked, "delivery": "sealed", "challenge": "c" * 22}
        bearer = script(folder, "bearer", made["bearer"]["credential"], asked)
        rates: dict[str, list[float]] = {"keyed": [], "sealed": []}
        load(url, 1, bearer)
        for _ in range(TURNS):
            floor, _ = load(url, SECONDS, bearer)
            for name, body in (("keyed", asked), ("sealed", sealed)):
                id_ = str(made[name]["id"])
                lua = proofs(folder, name, signer, url, id_, json.dumps(body).encode())
                rate, p99 = load(url, SECONDS, lua)
                print(f"{name}: {rate:.0f}/s, p99 {p99:.0f} ms; bearer {floor:.0f}/s")
                rates[name].append(rate / floor)
    return {name: median(found) for name, found in rates.items()}


def main() -> bool:
    """Prints the ratios; whether they meet their targets."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    return report([(TARGETS[name], ratio) for name, ratio in found.items()])
