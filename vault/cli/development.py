"""A development deployment: principals, schema, credentials, and the requests to paste."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from vault.cli.doors import host_request
from vault.config import Config
from vault.errors import Conflict, Misconfigured
from vault.policy.principal import Ceiling, Kind
from vault.schema.document import Protection
from vault.services import identities, schema
from vault.services.cell import Cell
from vault.services.identities import (
    PrincipalBody,
)
from vault.services.listing import MAX_LIMIT, Page
from vault.services.schema import SchemaBody
from vault.services.service_keys import KeyBody, create_key
from vault.wiring import Wiring, perform

CREDENTIALS = "dev-credentials.json"
AGENT = "agent:demo"
PURPOSE = "support"
ROLES: Final = ("admin", "auditor", "cell-admin", "cell-custodian", "key-custodian", "privacy-officer")
_VERBS: Final = {Protection.ENCRYPTED: "encrypt"}  # of other protections: tokenize


def seed(config: Config, folder: Path) -> None:
    """Applies the schema and makes principals and credentials in every cell, unless that was done.

    The address that the credentials go with follows the configuration (COATCHECK_PORT may have changed).
    """
    path = folder / CREDENTIALS
    url = config.url()
    if path.exists():
        document = read_credentials(folder)
        if document.get("url") != url:
            _write(path, {**document, "url": url})
        return
    regions = {}
    for region in config.cell:
        opened = Wiring(config).open(region)
        try:
            regions[region] = _seed_cell(opened.cell, config)
        finally:
            opened.close()
    _write(path, {"url": url, "regions": regions, "purpose": PURPOSE, "agent": AGENT})


def _write(path: Path, document: dict[str, Any]) -> None:
    """Writes the credentials, whole or not at all, for this user alone."""
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    temporary = path.with_suffix(".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text + b"\n")
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def _seed_cell(cell: Cell, config: Config) -> dict[str, str]:
    named = config.cell[cell.region].schema
    if named is not None and cell.schemas.of("main").version == 0:
        try:
            text = config.path(named).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise Misconfigured("host_permissions", path=str(config.path(named))) from None
        plan = perform(cell, lambda: schema.plan_schema(cell, host_request(), SchemaBody(toml=text)))
        body = SchemaBody(toml=text, digest=plan.digest)
        perform(cell, lambda: schema.apply_schema(cell, host_request(), body))
    rules = cell.schemas.of("main").schema.fields
    fields = sorted(rules)
    verbs = {name: _VERBS.get(rules[name].protection, "tokenize") for name in fields}
    service = PrincipalBody(
        Kind.SERVICE,
        "demo",
        permissions=[
            f"grant:create:{PURPOSE}",
            *(f"{verbs[name]}:{name}" for name in fields),
            *(f"rekey:{name}" for name in fields if rules[name].protection is Protection.VAULTLESS),
        ],
        ceiling=Ceiling(
            fields=fields,
            operations=["reveal", "mask"],
            deliveries=["plain", "sealed"],
            purposes=[PURPOSE],
            agents=[AGENT],
            uses=50,
        ),
    )
    _principal(cell, PrincipalBody(Kind.AGENT, AGENT))
    admin = _principal(cell, PrincipalBody(Kind.OPERATOR, "admin", roles=list(ROLES)))
    return {"admin_key": _key(cell, admin), "service_key": _key(cell, _principal(cell, service))}


def _principal(cell: Cell, body: PrincipalBody) -> str:
    """The principal's id; made if there is none of that name."""
    try:
        created = perform(cell, lambda: identities.create_principal(cell, host_request(), body))
        return str(created.id)
    except Conflict:
        page = perform(cell, lambda: identities.list_principals(cell, host_request(), Page(limit=MAX_LIMIT)))
        plain = body.name.rpartition(":")[2]
        return next(str(row.id) for row in page.items if row.name == f"{body.kind}:{plain}")


def _key(cell: Cell, principal: str) -> str:
    answer = perform(cell, lambda: create_key(cell, host_request(), principal, KeyBody()))
    return answer.credential or ""


def first_requests(config: Config, url: str) -> str:
    """What a newcomer pastes first: tokenize, grant, detokenize."""
    path = Path(config.base) / CREDENTIALS
    if not path.exists():
        return ""
    region = next(iter(config.cell))
    python = "python3" if shutil.which("python3") else sys.executable
    return (_CURL if shutil.which("curl") else _CLI).format(
        url=url, region=region, path=path, python=python, command=_command(), regions=", ".join(config.cell)
    )


def _command() -> str:
    """How this program was started, as a person would type it."""
    program = Path(sys.argv[0])
    try:
        return str(program.absolute().relative_to(Path.cwd()))
    except ValueError:
        return "coatcheck" if shutil.which("coatcheck") else str(program)


def read_credentials(folder: Path) -> dict[str, Any]:
    """The development credentials."""
    path = folder / CREDENTIALS
    try:
        document: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        raise Misconfigured("host_permissions", path=str(path), reason="cannot be read") from None
    return document


_CURL = """\
Coatcheck is listening on {url} (regions: {regions}; credentials: {path}).
Paste into another terminal, in this folder:

# 1. tokenize a social security number
KEY=$({python} -c "import json; print(json.load(open('{path}'))['regions']['{region}']['service_key'])")
TOKEN=$(curl -s {url}/v1/{region}/tokenize -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
  -d '{{"field":"customer.ssn","values":["123-45-6789"]}}' \\
  | tee /dev/stderr | {python} -c "import json,sys; print(json.load(sys.stdin)['tokens'][0])"); echo

# 2. grant agent:demo one use of it
GRANT=$(curl -s {url}/v1/{region}/grants -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
  -d '{{"agent":"agent:demo","purpose":"support","limits":{{"uses":1}},"scope":[{{"fields":["customer.ssn"],"operations":["reveal"],"delivery":["plain"]}}]}}' \\
  | tee /dev/stderr | {python} -c "import json,sys; print(json.load(sys.stdin)['credential'])"); echo

# 3. get the value back; a second time is refused
curl -s {url}/v1/{region}/detokenize -H "Authorization: Bearer $GRANT" -H 'Content-Type: application/json' \\
  -d '{{"purpose":"support","items":[{{"field":"customer.ssn","token":"'$TOKEN'","key_version":1}}]}}'; echo
"""  # noqa: E501 - lines to paste

_CLI = """\
Coatcheck is listening on {url} (regions: {regions}; credentials: {path}).
Paste into another terminal, in this folder:

# 1. tokenize a social security number
export COATCHECK_URL={url} COATCHECK_REGION={region} COATCHECK_PURPOSE=support
export COATCHECK_KEY=$({python} -c "import json; print(json.load(open('{path}'))['regions']['{region}']['service_key'])")
TOKEN=$(echo 123-45-6789 | {command} tokenize customer.ssn); echo $TOKEN

# 2. grant agent:demo one use
GRANT=$({command} grant create --agent agent:demo --field customer.ssn --json | {python} -c "import json,sys; print(json.load(sys.stdin)['credential'])"); echo $GRANT

# 3. get the value back, once
echo $TOKEN | COATCHECK_KEY=$GRANT {command} detokenize customer.ssn --key-version 1
"""  # noqa: E501 - lines to paste
