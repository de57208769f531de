"""A deployment for harnesses: caps that no run reaches, and a principal that may do everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.support.service import Service, initialise
from vault.cli.templates import DEVELOPMENT, DEVELOPMENT_SCHEMA

SSN: Final = "customer.ssn"
PAN: Final = "customer.pan"
NAME: Final = "customer.name"
NOTE: Final = "customer.note"
NUMBER: Final = "other.number"
WORD: Final = "other.word"
MASKED: Final = (SSN, PAN, NAME)
FIELDS: Final = (*MASKED, NOTE, NUMBER, WORD)
EMAIL: Final = "customer.email"  # deterministic: each value names its person
HANDLE: Final = "other.handle"  # shaped and deterministic
TEXT: Final = "conversation.text"  # encrypted
TOKENIZED: Final = (*FIELDS, EMAIL, HANDLE)
AGENT: Final = "agent:demo"
PURPOSE: Final = "support"
MANY: Final = 1_000_000

ONE_CELL: Final = DEVELOPMENT.partition("[cell.us]")[0] + '[log]\nformat = "json"\nlevel = "debug"\n'
SCHEMA: Final = (
    DEVELOPMENT_SCHEMA.replace("max_uses = 50", f"max_uses = {MANY}").replace("PT15M", "PT12H")
    + f"""
[fields."{NUMBER}"]
template = "digits(min=3, max=40)"
protection = "vaultless"
retention = "key-lifetime"

[fields."{WORD}"]
template = "alphanumeric(min=1, max=40)"
protection = "vaultless"
retention = "key-lifetime"

[fields."{HANDLE}"]
template = "text(max=40)"
protection = "vaulted"
surrogate = "alphanumeric(length=9, case='lower')"
max_rows = 1000000
deterministic = "field"
retention = "customer"
transfer_to = ["us"]
"""
)


def initialise_roomy(folder: Path, settings: str = ONE_CELL) -> None:
    """Makes a development deployment with the schema above, and only the region eu unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "coatcheck.toml").write_text(settings, encoding="utf-8")
    (folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
    initialise(folder)


def principal(name: str, **more: Any) -> dict[str, Any]:
    """The body of a service principal that may tokenize and encrypt every field and grant all it likes."""
    return {
        "kind": "service",
        "name": name,
        "permissions": [
            f"grant:create:{PURPOSE}",
            *(f"tokenize:{field}" for field in TOKENIZED),
            f"encrypt:{TEXT}",
            f"rekey:{SSN}",
        ],
        "ceiling": {
            "fields": [*TOKENIZED, TEXT],
            "operations": ["reveal", "mask", "derive", "verify"],
            "deliveries": ["plain", "sealed"],
            "purposes": [PURPOSE],
            "agents": [AGENT],
            "uses": MANY,
            "ttl": "PT12H",
        },
        **more,
    }


def add_principal(service: Service, name: str, **more: Any) -> tuple[str, str]:
    """Creates such a principal over HTTP; its id and a credential."""
    admin = service.credential("admin_key")
    made = service.call("POST", "principals", principal(name, **more), key=admin)
    assert made.status == 201, made.body
    id_ = made.json()["id"]
    key = service.call("POST", f"principals/{id_}/keys", {}, key=admin)
    assert key.status == 201, key.body
    return id_, key.json()["credential"]


def grant_body(fields: list[str], uses: int, subjects: list[str] | None = None) -> dict[str, Any]:
    """A grant for the agent to reveal."""
    scope = [{"fields": fields, "operations": ["reveal"], "delivery": ["plain"]}]
    body = {"agent": AGENT, "purpose": PURPOSE, "scope": scope, "limits": {"uses": uses}}
    return body if subjects is None else body | {"subjects": {"in": subjects}}
