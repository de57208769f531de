"""`init`, `serve` and `doctor` with root keys outside this host, as users meet them; servers are fakes."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.transit import FakeTransit
from tests.fakes.trouble import Trouble
from tests.support.cells import NAME
from tests.support.keystores import KeyStore, config_of, fake_kms, fake_transit, softhsm, toml_of
from tests.support.service import Service, coatcheck_here, initialise
from vault.errors import Unavailable
from vault.kms import awskms, local, pkcs11, transit
from vault.kms.provider import Provider
from vault.services.audit import verify
from vault.wiring import Wiring, as_host

PERSON = "Ada Lovelace"
STORES = {
    "transit": lambda folder: fake_transit(folder, "approle"),
    "awskms": fake_kms,
    "pkcs11": softhsm,
}


def deployed(store: KeyStore, folder: Path, **limits: int) -> Service:
    """A deployment with its keys there, initialised."""
    folder.mkdir()
    (folder / "coatcheck.toml").write_text(toml_of(store, **limits))
    initialise(folder)
    return Service(folder)


def works(service: Service) -> str:
    """Tokenizes and reveals over HTTP; the token."""
    made = service.call("POST", "tokenize", {"field": NAME, "values": [PERSON]})
    assert made.status == 200, made.body
    [token] = made.json()["tokens"]
    opens(service, str(token))
    return str(token)


def opens(service: Service, token: str) -> None:
    """Reveals over HTTP."""
    body = {
        "agent": "agent:demo", "purpose": "support", "limits": {"uses": 5},
        "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
    }  # fmt: skip
    grant = service.call("POST", "grants", body).json()["credential"]
    asked = {"purpose": "support", "field": NAME, "tokens": [token]}
    assert service.call("POST", "detokenize", asked, key=grant).json()["values"] == [PERSON]


def eventually(use: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not use():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStore]:
    folder = tmp_path / "credentials"
    folder.mkdir()
    with STORES[request.param](folder) as made:
        yield made


def test_init_serve_and_doctor(store: KeyStore, tmp_path: Path) -> None:
    service = deployed(store, tmp_path / "deployment")
    checked = coatcheck_here("config", "check", "--config", service.folder)
    assert checked.returncode == 0, checked.stderr
    try:
        service.start()
        works(service)
        detail = service.get("/readyz").json()
        assert detail["key_stores"] == {"eu": {"state": "ready", "breaker": "closed"}}
        shown = service.get("/metrics").body.decode()
        assert 'coatcheck_kms_calls_total{call="unwrap",region="eu",result="ok"} 1.0' in shown
        assert 'coatcheck_kms_serves{region="eu"} 1.0' in shown
        assert 'coatcheck_kms_breaker{region="eu",state="closed"} 1.0' in shown
        assert 'coatcheck_kms_call_seconds_count{call="unwrap",region="eu"} 1.0' in shown
        found = coatcheck_here("doctor", "--config", service.folder, "--json")
        lines = {line["check"]: line for line in json.loads(found.stdout)}
        assert lines["cell eu key store"]["result"] == "ok", found.stdout
        assert "root key's" in lines["cell eu keys"]["detail"]
        for secret in ("secret-id", "4711-8162", "hvs."):
            assert secret not in service.log() + found.stdout + shown
    finally:
        service.kill()
    again = coatcheck_here("init", "--dev", service.folder)
    assert again.returncode == 0, again.stderr
    assert "already there" in again.stderr


def test_a_key_store_can_be_checked_before_and_after(store: KeyStore, tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    folder.mkdir()
    (folder / "coatcheck.toml").write_text(toml_of(store))
    where = ("--config", folder, "--json")

    def check(*more: str) -> tuple[int, list[str], str]:
        ended = coatcheck_here("kms", "check", *more, *where)
        return ended.returncode, [line["detail"] for line in json.loads(ended.stdout)], ended.stderr

    assert check()[:2] == (0, ["there is no root key yet", store.open().destroy_means])
    code, details, _ = check("--trial", "--yes")
    assert (code, len(details)) == (0, 7)
    assert details[-1] == f"refused: {'pending_deletion' if store.uri.startswith('awskms:') else 'missing'}"
    initialise(folder)
    assert check()[1][0] == "root version 1 can be used"
    assert check(store.uri)[1][0] == "root version 1 can be used"  # one that is named has no cell yet
    store.open().destroy_root(1)
    code, _, told = check()
    assert (code, "key_unavailable" in told) == (9, True)


def test_a_turn_destroys_the_root_there_and_keeps_the_receipt(store: KeyStore, tmp_path: Path) -> None:
    service = deployed(store, tmp_path / "deployment")
    where = ("--config", service.folder, "--json")
    try:
        service.start()
        token = works(service)
        service.stop()
        turned = coatcheck_here("epoch", "turn", "--yes", *where)
        assert turned.returncode == 0, turned.stderr
        [new, old] = json.loads(coatcheck_here("epoch", "list", *where).stdout)
        assert (new["state"], old["state"]) == ("active", "destroyed")
        evidence = new["turn"]["evidence"]
        assert evidence["refused"] == "key_unavailable"
        gone = evidence["root_destroyed"]
        assert gone["version"] == 1
        assert gone["what"]
        # AWS keeps a key for a waiting time, in which its operator can bring it back.
        assert ("final_at" in gone) == store.uri.startswith("awskms:")
        with pytest.raises(Unavailable, match="key_unavailable"):
            store.open().probe(1)
        service.start()
        opens(service, token)
        works(service)
    finally:
        service.kill()


def test_a_service_whose_key_store_goes_away_serves_on_and_says_so(tmp_path: Path) -> None:
    with fake_transit(tmp_path, "approle") as store:
        trouble = Trouble(store.control.port)
        store.uri = store.uri.replace(f":{store.control.port}/", f":{trouble.port}/")
        service = deployed(store, tmp_path / "deployment", probe_s=1, deadline_ms=500)

        def state() -> str:
            return str(service.get("/readyz").json()["key_stores"]["eu"]["state"])

        try:
            service.start()
            trouble.begin("hang")
            eventually(lambda: state() == "deadline")
            assert service.get("/readyz").status == 200
            works(service)
            eventually(lambda: 'coatcheck_kms_breaker{region="eu",state="closed"} 0.0' in _metrics(service))
            found = coatcheck_here("doctor", "--config", service.folder, "--json")
            [line] = [line for line in json.loads(found.stdout) if line["check"] == "cell eu keys"]
            assert (line["result"], line["code"]) == ("wrong", "key_unavailable")
            assert "cause=deadline" in line["detail"]
            assert "reached" in line["remedy"]
            trouble.heal()
            eventually(lambda: state() == "ready", 5)
            service.stop()
            assert "the key store does not serve" in service.log()
            assert "the key store serves again" in service.log()
            assert "Traceback" not in service.log()
        finally:
            service.kill()
            trouble.close()


def test_a_start_without_the_key_store_is_refused_in_time_and_says_how_to_try_again(tmp_path: Path) -> None:
    with fake_transit(tmp_path, "approle") as store:
        service = deployed(store, tmp_path / "deployment")
        store.control.sealed = True
        began = time.monotonic()
        process = service.spawn()
        assert process.wait(30) == 9
        assert time.monotonic() - began < 20
        assert "key_unavailable" in service.log()
        assert "Traceback" not in service.log()
        store.control.heal()
        try:
            service.start()
            works(service)
        finally:
            service.kill()


def test_keys_that_may_be_held_for_so_long_are_let_go_of_then_and_taken_up_again(tmp_path: Path) -> None:
    """The key store as a switch: its operator seals it, and the cell stops within `hold_s`."""
    with fake_transit(tmp_path, "approle") as store:
        fake: FakeTransit = store.control
        service = deployed(store, tmp_path / "deployment", probe_s=1, hold_s=2)

        def asked() -> Any:
            return service.call("POST", "tokenize", {"field": NAME, "values": [PERSON]})

        try:
            service.start()
            works(service)
            fake.sealed = True
            time.sleep(1)
            assert asked().status == 200
            eventually(lambda: asked().status == 503)
            refused = asked()
            assert (refused.code, refused.header("retry-after")) == ("key_unavailable", "1")
            assert service.get("/livez").status == 200
            ready = service.get("/readyz")
            assert (ready.status, ready.json()["cells"]) == (503, {"eu": "key_unavailable"})
            fake.heal()
            eventually(lambda: bool(asked().status == 200), 5)
            assert service.get("/readyz").status == 200
            works(service)
            assert "Traceback" not in service.log()
        finally:
            service.kill()
    done = coatcheck_here("audit", "verify", "--config", service.folder, "--region", "eu")
    assert done.returncode == 0, done.stderr


def test_no_call_is_made_inside_a_transaction_nor_on_a_requests_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During each call another connection begins a write: were one open, the database would be locked."""
    path = tmp_path / "deployment" / "eu.db"
    calls: list[str] = []

    def watched(kind: type[Any], name: str) -> None:
        inner = getattr(kind, name)

        def call(self: Provider, *arguments: Any) -> Any:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                other.execute("ROLLBACK")
            calls.append(name)
            return inner(self, *arguments)

        monkeypatch.setattr(kind, name, call)

    for kind in (local.LocalProvider, transit.TransitProvider, awskms.AwsKmsProvider, pkcs11.Pkcs11Provider):
        for name in ("create_root", "wrap", "unwrap", "destroy_root", "probe"):
            watched(kind, name)
    with fake_transit(tmp_path, "approle") as store, ExitStack() as stack:
        config = config_of(store, path.parent)
        Wiring(config).create("eu", as_host())
        assert {"create_root", "wrap", "unwrap"} <= set(calls)
        opened = Wiring(config).open("eu")
        stack.callback(opened.close)
        from tests.support.cells import BuiltCell

        built = BuiltCell(opened.cell, config, opened.close)
        calls.clear()
        built.populate()
        token = built.token(NAME, PERSON)
        assert built.reveal(built.grant(NAME), NAME, token) == [PERSON]
        verify(built.cell.store)
        assert calls == []


def _metrics(service: Service) -> str:
    return service.get("/metrics").body.decode()
