"""Tenants, keys and safe retries from the shell, over HTTP and on the host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import Service, coatcheck_here, initialise, running
from vault.codes import CODES

NAME = "customer.name"
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("everyday") / "deployment") as service:
        yield service


def remote(service: Service, key: str, *arguments: str | Path, given: str = "") -> Done:
    variables = {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": key}
    done = coatcheck_here(*arguments, given=given, more=variables)
    assert "Traceback" not in done.stderr
    return done


def admin(service: Service, *arguments: str | Path, **more: Any) -> Done:
    return remote(service, service.credential("admin_key"), *arguments, **more)


def document(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: Done, code: str) -> None:
    assert done.returncode == CODES[code].exit, done.stderr
    assert done.stderr.splitlines()[0].startswith(f"coatcheck: {code}: ")


def test_a_tenant_is_made_and_works(service: Service) -> None:
    made = document(admin(service, "tenant", "create", "acme", "--json"))
    first = made["credential"]
    assert made["admin"]["name"] == "operator:admin"
    schema = service.folder / "schema.toml"
    document(remote(service, first, "schema", "apply", schema, "--yes", "--json"))
    permission = f"tokenize:{NAME}"
    principal = document(
        remote(service, first, "principal", "create", "service", "s", "--permission", permission, "--json")
    )
    key = document(remote(service, first, "apikey", "create", principal["id"], "--json"))["credential"]
    assert remote(service, key, "tokenize", NAME, given="Ada\n").stdout.startswith("tok_")
    listed = document(admin(service, "tenant", "list", "--json"))
    assert [row["name"] for row in listed] == ["acme", "main"]
    refused(remote(service, first, "tenant", "create", "more"), "permission_denied")
    refused(remote(service, first, "tenant", "list"), "permission_denied")
    refused(admin(service, "tenant", "create", "acme"), "name_taken")
    refused(admin(service, "tenant", "create", "No"), "name_invalid")


def test_a_page_of_a_list_says_how_to_go_on(service: Service) -> None:
    done = admin(service, "tenant", "list", "--limit", "1")
    assert len(done.stdout.splitlines()) == 2
    cursor = done.stderr.split("--cursor ")[1].strip()
    assert cursor.startswith("tn_")
    document(admin(service, "tenant", "list", "--cursor", cursor, "--json"))


def test_keys_are_listed_and_shown(service: Service) -> None:
    rows = document(admin(service, "key", "list", "--kind", "ff1", "--json"))
    assert {row["kind"] for row in rows} == {"ff1"}
    shown = document(admin(service, "key", "show", rows[0]["id"], "--json"))
    assert shown == rows[0]
    assert document(admin(service, "key", "list", "--state", "destroyed", "--json")) == []
    refused(admin(service, "key", "show", "key_01M84HD64DFW18BYTQYF0BJRJQ"), "not_found")
    refused(remote(service, service.credential(), "key", "list"), "permission_denied")
    refused(admin(service, "key", "list", "--kind", "x"), "parameter_invalid")


def test_said_twice_with_one_key_it_is_done_once(service: Service) -> None:
    say = ("principal", "create", "service", "retried", "--idempotency-key", "signup 1", "--json")
    first, second = document(admin(service, *say)), document(admin(service, *say))
    assert second == first | {"replayed": True}
    key = ("apikey", "create", first["id"], "--idempotency-key", "key-1", "--json")
    made, again = document(admin(service, *key)), document(admin(service, *key))
    assert made["credential"]
    assert again == made | {"credential": None, "replayed": True}
    other = ("principal", "create", "service", "other", "--idempotency-key", "signup 1")
    refused(admin(service, *other), "idempotency_conflict")


def test_values_said_twice_with_one_key_are_shown_once(service: Service) -> None:
    service_key = service.credential()
    once = ("--idempotency-key", "values-1")
    first, again = (remote(service, service_key, "tokenize", NAME, *once, given="Ada\n") for _ in range(2))
    assert first.stdout == again.stdout
    words = ("grant", "create", "--agent", "agent:demo", "--purpose", "support", "--field", NAME, "--json")
    grant = document(remote(service, service_key, *words))["credential"]
    reveal = ("detokenize", NAME, "--purpose", "support", *once)
    shown, replayed = (remote(service, grant, *reveal, given=first.stdout) for _ in range(2))
    assert (shown.stdout, shown.stderr) == ("Ada\n", "uses left 0\n")
    assert (replayed.returncode, replayed.stdout) == (0, "")
    assert "nothing was charged" in replayed.stderr


@pytest.mark.parametrize("key", ["", " ", "a" * 129, "ä", "a\nb", " a"])
def test_an_idempotency_key_that_is_none(service: Service, key: str) -> None:
    done = admin(service, "principal", "create", "service", "x", "--idempotency-key", key)
    refused(done, "parameter_invalid")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host") / "deployment"
    initialise(folder)
    return folder


def here(folder: Path, *arguments: str | Path) -> Done:
    done = coatcheck_here(*arguments, "--config", folder, "--region", "eu")
    assert "Traceback" not in done.stderr
    return done


def test_a_tenant_is_made_and_meant(folder: Path) -> None:
    made = document(here(folder, "tenant", "create", "acme", "--json"))
    assert made["credential"].startswith("ck_")
    schema = folder / "schema.toml"
    of = ("--tenant", "acme")
    document(here(folder, "schema", "apply", schema, "--yes", "--json", *of))
    rows = document(here(folder, "principal", "list", "--json", *of))
    assert [row["name"] for row in rows] == ["operator:admin"]
    made = document(here(folder, "principal", "create", "agent", "agent:a", "--json", *of))
    mains = document(here(folder, "principal", "list", "--json"))
    assert made["id"] not in {row["id"] for row in mains}
    events = document(here(folder, "audit", "tail", "--json", "--count", "500", *of))
    assert {event["event"]["tenant"] for event in events} == {"acme"}
    assert [event["event"]["kind"] for event in events] == ["schema.apply", "principal.create"]
    everybody = document(here(folder, "audit", "tail", "--json", "--count", "500"))
    assert {event["event"]["tenant"] for event in everybody} == {"acme", "main"}
    assert [row["name"] for row in document(here(folder, "tenant", "list", "--json"))] == [
        "acme",
        "main",
    ]


def test_a_tenant_that_is_none(folder: Path) -> None:
    for words in (("principal", "list"), ("schema", "show"), ("audit", "tail")):
        refused(here(folder, *words, "--tenant", "nobody"), "not_found")


def test_another_tenant_s_schema_is_named(folder: Path) -> None:
    """The file of the configuration is main's."""
    refused(here(folder, "schema", "plan", "--tenant", "main2"), "config_invalid")


def test_a_key_that_nothing_keeps_is_refused(folder: Path) -> None:
    done = here(folder, "principal", "create", "service", "x", "--idempotency-key", "a")
    refused(done, "usage")


def test_over_http_the_tenant_is_the_credential_s(service: Service) -> None:
    refused(admin(service, "principal", "list", "--tenant", "acme"), "usage")
