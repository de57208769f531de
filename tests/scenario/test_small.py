"""A column with short numbers through the doors: over HTTP and in the shell, and what a plan says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import Service, coatcheck_here, running
from vault.cli.templates import DEVELOPMENT_SCHEMA

SHORT, LONG = "+29012345", "+14155552671"
SCHEMA = (
    DEVELOPMENT_SCHEMA
    + """
[fields."few.rows"]
template = "e164"
protection = "vaultless"
retention = "key-lifetime"
small = "vaulted"
small_retention = "customer"

[fields."few.bare"]
template = "e164"
protection = "vaultless"
retention = "key-lifetime"
small = "pass"
"""
)
FIELDS = ["few.rows", "few.bare"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("small") / "deployment") as made:
        yield made


@pytest.fixture(scope="module")
def run(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A shell of a principal that may tokenize the two fields and grant them."""
    path: Path = tmp_path_factory.mktemp("schema") / "schema.toml"
    path.write_text(SCHEMA, encoding="utf-8")
    admin = service.credential("admin_key")

    def shell(*arguments: str, key: str = admin, given: str = "") -> Any:
        variables = {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": key}
        return coatcheck_here(*arguments, given=given, more=variables)

    planned = shell("schema", "plan", str(path))
    assert (
        "warning: field few.bare: values of which fewer than 1,000,000 look alike are handed"
        in planned.stderr
    )
    assert "warning: field few.rows" not in planned.stderr
    assert shell("schema", "apply", str(path), "--yes").returncode == 0
    ceiling = {
        "fields": FIELDS,
        "operations": ["reveal"],
        "deliveries": ["plain"],
        "purposes": ["support"],
        "agents": ["agent:demo"],
        "uses": 100,
        "ttl": "PT15M",
    }
    body = {
        "kind": "service",
        "name": "few",
        "permissions": [*(f"tokenize:{name}" for name in FIELDS), "grant:create:support"],
        "ceiling": ceiling,
    }
    made = service.call("POST", "principals", body, key=admin).json()
    key = service.call("POST", f"principals/{made['id']}/keys", {}, key=admin).json()["credential"]
    return lambda *arguments, given="", key=key: shell(*arguments, key=key, given=given), key


@pytest.mark.parametrize("field", FIELDS)
def test_a_column_with_short_numbers(service: Service, run: Any, field: str) -> None:
    shell, key = run
    values = [LONG, SHORT, None, LONG]
    made = service.call("POST", "tokenize", {"field": field, "values": values}, key=key).json()
    long, short, null, again = made["tokens"]
    assert (made["key_version"], null, again) == (1, None, long)
    assert short.startswith("tok_") if field == "few.rows" else short == SHORT
    scope = [{"fields": [field], "operations": ["reveal"], "delivery": ["plain"]}]
    grant = {"agent": "agent:demo", "purpose": "support", "scope": scope, "limits": {"uses": 20}}
    credential = service.call("POST", "grants", grant, key=key).json()["credential"]
    asked = {"purpose": "support", "field": field, "tokens": made["tokens"], "key_version": 1}
    opened = service.call("POST", "detokenize", asked, key=credential).json()
    assert opened["values"] == values
    alone = {"purpose": "support", "items": [{"field": field, "token": short}]}
    assert service.call("POST", "detokenize", alone, key=credential).json()["items"] == [{"value": SHORT}]
    lines = shell("tokenize", field, given=f"{SHORT}\n{LONG}\n").stdout
    back = shell(
        *("detokenize", field, "--purpose", "support", "--key-version", "1"), given=lines, key=credential
    )
    assert back.stdout == f"{SHORT}\n{LONG}\n"


def test_the_explanation_says_so(run: Any) -> None:
    shell, _ = run
    bare = shell("template", "explain", "--field", "few.bare").stdout
    assert "values of which fewer than 1,000,000 look alike, whole: they are their own tokens" in bare
    assert "small          pass" in bare
    assert "small          vaulted" in shell("template", "explain", "--field", "few.rows").stdout
