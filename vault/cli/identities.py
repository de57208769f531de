"""principal create | list | remove; apikey create | register | list | rotate | revoke: over HTTP or here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from vault.cli.doors import Door, command, segment
from vault.errors import BadInput
from vault.policy.principal import Ceiling
from vault.services import client_keys, identities, replacement, service_keys
from vault.services.client_keys import ClientBody, PublicJwk
from vault.services.identities import (
    PrincipalBody,
)
from vault.services.listing import Page
from vault.services.service_keys import (
    KeyBody,
)

MAX_JWK: Final = 4096  # bytes
MAX_CERTIFICATE: Final = 32 * 1024  # bytes


@click.group("principal")
def principals() -> None:
    """Create, list and remove principals: operators, services, agents."""


@click.group("apikey")
def apikeys() -> None:
    """Create, register, list, rotate and revoke service keys."""


def register(cli: click.Group) -> None:
    """Adds the groups."""
    cli.add_command(principals)
    cli.add_command(apikeys)


@command(principals, "create", "remote", "host", "tenant", "once")
@click.argument("kind", type=click.Choice(["operator", "service", "agent"]))
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="admin, auditor, key-custodian, cell-admin; repeat.")
@click.option("--permission", "permissions", multiple=True, help="e.g. tokenize:customer.ssn; repeat.")
@click.option("--ceiling", help="The most it may grant, as JSON.")
def create_principal(
    door: Door,
    kind: str,
    name: str,
    roles: tuple[str, ...],
    permissions: tuple[str, ...],
    ceiling: str | None,
) -> None:
    """Create a principal."""
    limit = None
    if ceiling is not None:
        try:
            limit = msgspec.json.decode(ceiling, type=Ceiling)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise BadInput("usage", option="--ceiling") from None
    body = PrincipalBody(kind, name, list(roles), list(permissions), limit)
    if door.remote:
        answer = door.call("POST", "principals", body)
    else:
        answer = door.verb(identities.create_principal, body)
    door.output.record(answer)


@command(principals, "list", "remote", "host", "tenant")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_principals(door: Door, limit: int, cursor: str | None) -> None:
    """List principals, newest first."""
    if door.remote:
        answer = door.call("GET", "principals", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(identities.list_principals, Page(limit, cursor))
    door.page(answer, ("id", "name", "roles", "permissions"))


@command(principals, "remove", "remote", "host", "tenant", "once")
@click.argument("principal")
def remove_principal(door: Door, principal: str) -> None:
    """Remove a principal, its keys, the grants it created and those it holds."""
    confirm(door, f"Remove {principal} with its keys and grants?")
    if door.remote:
        answer = door.call("DELETE", f"principals/{segment(principal)}")
    else:
        answer = door.verb(identities.remove_principal, principal)
    door.output.record(answer)


@command(apikeys, "create", "remote", "host", "tenant", "once")
@click.argument("principal")
@click.option("--expires", help="RFC 3339; default: never.")
@click.option("--network", "networks", multiple=True, help="A CIDR it may be used from; repeat for more.")
def create_key(door: Door, principal: str, expires: str | None, networks: tuple[str, ...]) -> None:
    """Create a service key; its credential is shown once."""
    body = KeyBody(expires, list(networks))
    if door.remote:
        answer: Any = door.call("POST", f"principals/{segment(principal)}/keys", body)
    else:
        answer = door.verb(service_keys.create_key, principal, body)
    door.show_once(answer)


@command(apikeys, "register", "remote", "host", "tenant", "once")
@click.argument("principal")
@click.option("--key-in", help="File with the public key as a JWK; - is standard input.")
@click.option("--certificate-in", help="File with the certificate in PEM; - is standard input.")
@click.option("--certificate-name", help="A name in certificates: dns:NAME or uri:NAME.")
@click.option("--expires", help="RFC 3339; default: never.")
@click.option("--network", "networks", multiple=True, help="A CIDR it may be used from; repeat for more.")
def register_client(
    door: Door,
    principal: str,
    key_in: str | None,
    certificate_in: str | None,
    certificate_name: str | None,
    expires: str | None,
    networks: tuple[str, ...],
) -> None:
    """Register what a service authenticates by in place of a secret: a public key, or a certificate.

    The answer's `id` is the OAuth `client_id`. `apikey list` and `apikey revoke` take it as any service key.
    """
    if sum(one is not None for one in (key_in, certificate_in, certificate_name)) != 1:
        reason = "exactly one of --key-in, --certificate-in and --certificate-name"
        raise BadInput("usage", reason=reason)
    jwk = None
    if key_in is not None:
        try:
            jwk = msgspec.json.decode(read_small(key_in, "--key-in", MAX_JWK), type=PublicJwk)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            # A private key has a member `d`, which is refused as every unknown one is.
            raise BadInput("limit_invalid", member="jwk") from None
    certificate = None
    if certificate_in is not None:
        raw = read_small(certificate_in, "--certificate-in", MAX_CERTIFICATE)
        certificate = raw.decode("utf-8", "replace")
    body = ClientBody(
        jwk, certificate, certificate_name=certificate_name, expires=expires, networks=list(networks)
    )
    if door.remote:
        answer = door.call("POST", f"principals/{segment(principal)}/clients", body)
    else:
        answer = door.verb(client_keys.create_client, principal, body)
    door.output.record(answer)


def read_small(path: str, option: str, most: int) -> bytes:
    """A key or a certificate in a file, or on standard input: so many bytes of it at most.

    Raises:
        BadInput: `usage`.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read(most)
        with Path(path).open("rb") as file:
            return file.read(most)
    except OSError:
        raise BadInput("usage", option=option, reason="the file cannot be read") from None


@command(apikeys, "list", "remote", "host", "tenant")
@click.argument("principal")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_keys(door: Door, principal: str, limit: int, cursor: str | None) -> None:
    """List a principal's service keys, newest first, without their secrets."""
    if door.remote:
        query = {"limit": limit, "cursor": cursor}
        answer = door.call("GET", f"principals/{segment(principal)}/keys", query=query)
    else:
        answer = door.verb(service_keys.list_keys, principal, Page(limit, cursor))
    door.page(answer, ("id", "by", "expires", "ends_soon", "used", "networks", "revoked", "successor"))


@command(apikeys, "rotate", "remote", "host", "tenant", "once")
@click.argument("key_id", metavar="KEY")
@click.option("--overlap", help="How long KEY stays valid too, like P7D; a month at most.")
@click.option("--expires", help="When the new key ends, RFC 3339; default: as the settings say.")
@click.option("--network", "networks", multiple=True, help="A CIDR it may be used from; default: as KEY.")
def rotate_key(
    door: Door, key_id: str, overlap: str | None, expires: str | None, networks: tuple[str, ...]
) -> None:
    """Give a service key a successor; both are valid until the overlap ends.

    The new credential is shown once. `apikey list` says whether KEY is still used.
    """
    body = replacement.ReplaceBody(overlap, expires, list(networks) or None)
    if door.remote:
        answer: Any = door.call("POST", f"keys/{segment(key_id)}/replace", body)
    else:
        answer = door.verb(replacement.replace_key, key_id, body)
    door.show_once(answer)


@command(apikeys, "revoke", "remote", "host", "tenant", "once")
@click.argument("key_id", metavar="KEY")  # `key` is the shared option's
def revoke_key(door: Door, key_id: str) -> None:
    """Revoke a service key, at once and for good."""
    confirm(door, f"Revoke {key_id}?")
    answer = (
        door.call("DELETE", f"keys/{segment(key_id)}")
        if door.remote
        else door.verb(service_keys.revoke_key, key_id)
    )
    door.output.record(answer)


def confirm(door: Door, question: str) -> None:
    """Asks, unless told not to; no terminal means no."""
    if door.yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("usage", reason="it asks before it acts, and there is no terminal; say --yes")
    click.confirm(question, abort=True, err=True)
