"""Transfers between services in processes of their own: killed on either side, nothing is lost or doubled.

A relay stands between the two and ends either process (SIGKILL) at a point of its choice: before a batch
arrives, and after the target has answered.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.harness import checks
from tests.support.service import HOST, PATIENCE_S, Service, free_port, initialise
from vault.cli.templates import DEVELOPMENT, DEVELOPMENT_SCHEMA

NAME = "customer.name"
COUNT = 200
SCHEMA = DEVELOPMENT_SCHEMA.replace('protection = "vaulted"', 'protection = "vaulted"\ntransfer_to = ["us"]')


class Fixed(Service):
    """A service that is found again where it was, after it was killed."""

    at = 0

    def spawn(self) -> Any:
        self.settings["COATCHECK_PORT"] = str(self.at)
        made = super().spawn()
        self.port = self.at
        return made


class Relay(ThreadingHTTPServer):
    """Passes requests on to the target, and does what is planned for each batch on the way."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), Passing)
        self.apart: Apart | None = None
        self.plan: list[str] = []
        self.seen: list[bytes] = []
        self.killed: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Passing(BaseHTTPRequestHandler):
    """One request."""

    server: Relay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        apart, plan = self.server.apart, self.server.plan
        assert apart is not None
        point = plan.pop(0) if self.path.endswith("arrivals") and plan else "pass"
        self.server.seen.append(body)
        who, _, when = point.partition("-")
        if when == "before":
            apart.kill(who)
            self.server.killed.append(point)
            if who == "us":
                self.close_connection = True
                return
        status, answer = self.passed(body)
        if point == "twice":
            status, answer = self.passed(body)
        if when == "after":
            apart.kill(who)
            self.server.killed.append(point)
            self.close_connection = True
            return
        with suppress(ConnectionError):  # whoever asked may have been killed
            self.answer(status, answer)

    def answer(self, status: int, answer: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def passed(self, body: bytes) -> tuple[int, bytes]:
        apart = self.server.apart
        assert apart is not None
        try:
            answer = apart.us.request("POST", self.path, body, {
                "authorization": self.headers["authorization"], "content-type": "application/json",
            })  # fmt: skip
        except (OSError, http.client.HTTPException):
            return 502, b"{}"
        return answer.status, answer.body

    def log_message(self, *args: Any, **more: Any) -> None:
        """Says nothing."""


@dataclass
class Apart:
    """Two services, and what is between them."""

    eu: Fixed
    us: Fixed
    relay: Relay
    officer: str = ""
    down: list[str] = field(default_factory=list)
    sides: ClassVar[tuple[str, ...]] = ("eu", "us")

    def kill(self, side: str) -> None:
        getattr(self, side).kill()
        self.down.append(side)

    def mend(self) -> None:
        """Starts what was killed; a lease that its worker had is over."""
        while self.down:
            side = self.down.pop()
            service: Fixed = getattr(self, side)
            with sqlite3.connect(service.folder / f"{side}.db") as database:
                database.execute("UPDATE re_jobs SET lease_until = 0, due_at = 0")
            service.start()

    def tokens(self, person: str, count: int) -> dict[str, str]:
        values = [f"{person} secret {one}" for one in range(count)]
        body = {"field": NAME, "values": values, "subjects": [person] * count}
        made = self.eu.call("POST", "tokenize", body)
        assert made.status == 200, made.body
        return dict(zip(made.json()["tokens"], values, strict=True))

    def begin(self, person: str, mode: str) -> Any:
        body = {"subject": person, "to": "us", "legal_basis": "contract", "fields": [NAME], "mode": mode}
        begun = self.eu.call("POST", "transfers", body, key=self.officer)
        assert begun.status == 202, begun.body
        return begun.json()["id"]

    def ended(self, transfer: str) -> Any:
        end = time.monotonic() + 2 * PATIENCE_S
        while time.monotonic() < end:
            self.mend()
            try:
                now = self.eu.call("GET", f"transfers/{transfer}", key=self.officer).json()
            except (OSError, http.client.HTTPException):
                continue
            if now["state"] in ("done", "failed"):
                return now
            time.sleep(0.1)
        raise AssertionError("the transfer does not end")

    def moved(self, transfer: str) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = []
        path = f"transfers/{transfer}/tokens?limit=70"
        more = ""
        while True:
            page = self.eu.call("GET", path + more, key=self.officer)
            assert page.status == 200, page.body
            rows += page.json()["items"]
            cursor = page.json().get("next")
            if cursor is None:
                return rows
            more = f"&cursor={cursor}"

    def shown(self, side: str, tokens: list[str]) -> list[str] | None:
        """What tokens open as; None if they do not."""
        service: Fixed = getattr(self, side)
        key = service.credential("service_key", side)
        scope = [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}]
        limits = {"uses": 50}
        body = {"agent": "agent:demo", "purpose": "support", "scope": scope, "limits": limits}
        opened: list[str] = []
        for begin in range(0, len(tokens), 50):  # each is a use of the grant
            made = service.call("POST", "grants", body, key=key, region=side)
            assert made.status in (200, 201), made.body
            asked = {"purpose": "support", "field": NAME, "tokens": tokens[begin : begin + 50]}
            answer = service.call("POST", "detokenize", asked, key=made.json()["credential"], region=side)
            if answer.status != 200:
                assert b"erased" in answer.body, answer.body
                return None
            opened += answer.json()["values"]
        return opened


def principal(service: Service, region: str, **body: Any) -> str:
    admin = service.credential("admin_key", region)
    made = service.call("POST", "principals", body, key=admin, region=region)
    path = f"principals/{made.json()['id']}/keys"
    return str(service.call("POST", path, {}, key=admin, region=region).json()["credential"])


def deployment(folder: Path, region: str, others: str) -> Fixed:
    folder.mkdir(parents=True)
    head, _, rest = DEVELOPMENT.partition("[cell.eu]\n")
    cell = rest.partition("[cell.us]\n")[0].replace("eu", region)
    text = f"{head}[cell.{region}]\n{cell}"
    (folder / "coatcheck.toml").write_text(text, encoding="utf-8")
    (folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
    initialise(folder)
    text = text.replace(f"[cell.{region}]\n", f"[cell.{region}]\n{others.partition('|')[0]}")
    (folder / "coatcheck.toml").write_text(text + others.partition("|")[2], encoding="utf-8")
    made = Fixed(folder)
    made.at = free_port()
    return made


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    folder, relay = tmp_path_factory.mktemp("apart"), Relay()
    to_eu = f'\n[region.eu]\nurl = "http://{HOST}:1"\n'
    to_us = f'\n[region.us]\nurl = "http://{HOST}:{relay.server_port}"\nkey_file = "us.key"\n'
    us = deployment(folder / "us", "us", "|" + to_eu)
    eu = deployment(folder / "eu", "eu", 'transfer_to = ["us"]\n|' + to_us)
    made = relay.apart = Apart(eu, us, relay)
    try:
        us.start()
        key = principal(us, "us", kind="service", name="from-eu", permissions=["transfer:receive"])
        (eu.folder / "us.key").write_text(key, encoding="utf-8")
        eu.start()
        made.officer = principal(eu, "eu", kind="operator", name="officer", roles=["privacy-officer"])
        yield made
    finally:
        relay.shutdown()
        relay.server_close()
        us.kill()
        eu.kill()


def events(service: Fixed, region: str, kind: str, transfer: str) -> list[dict[str, Any]]:
    """Events of a transfer, as the log has them."""
    log = checks.events(service.folder / f"{region}.db")
    return [event for event in log if event["kind"] == kind and transfer in json.dumps(event)]


@pytest.mark.parametrize("mode", ["copy", "move"])
@pytest.mark.parametrize(
    "plan",
    [[], ["us-before"], ["us-after"], ["eu-before"], ["eu-after"], ["us-after", "eu-after", "twice"]],
    ids=lambda plan: "+".join(plan) or "plain",
)
def test_killed_anywhere_everything_arrives_once(apart: Apart, plan: list[str], mode: str) -> None:
    person = f"{mode}-{'-'.join(plan)}-ada"
    made = apart.tokens(person, COUNT)
    apart.relay.killed.clear()
    apart.relay.plan[:] = plan
    transfer = apart.begin(person, mode)
    done = apart.ended(transfer)
    assert (done["state"], done.get("refused", {})) == ("done", {})
    assert done["moved"] == COUNT
    assert len(apart.relay.killed) == len([point for point in plan if "-" in point])
    rows = apart.moved(transfer)
    assert Counter(row["old"] for row in rows) == Counter(list(made))
    news = [row["new"] for row in rows]
    assert len(set(news)) == COUNT
    assert apart.shown("us", news) == [made[row["old"]] for row in rows]
    old = list(made)
    assert apart.shown("eu", old) == (None if mode == "move" else list(made.values()))
    assert len(events(apart.us, "us", "transfer.receive", transfer)) == 1


def test_nothing_on_the_way_or_in_a_log_is_open(apart: Apart) -> None:
    made = apart.tokens("eve", 3)
    apart.relay.seen.clear()
    apart.ended(apart.begin("eve", "copy"))
    assert apart.relay.seen
    sent = b"".join(apart.relay.seen) + (apart.eu.log() + apart.us.log()).encode()
    for hidden in (*made, *made.values(), "eve secret"):
        assert hidden.encode() not in sent


def test_a_key_that_is_refused_ends_the_job_with_its_code(apart: Apart) -> None:
    apart.tokens("mallory", 1)
    path = apart.eu.folder / "us.key"
    key = path.read_text(encoding="utf-8")
    try:
        path.write_text(apart.us.credential("service_key", "us"), encoding="utf-8")
        done = apart.ended(apart.begin("mallory", "move"))
        assert (done["state"], done["error"]) == ("failed", "permission_denied")
        path.write_text("cck_nobody", encoding="utf-8")
        done = apart.ended(apart.begin("mallory", "move"))
        assert (done["state"], done["error"]) == ("failed", "credential_invalid")
    finally:
        path.write_text(key, encoding="utf-8")
