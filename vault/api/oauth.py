"""The OAuth face: tokens, their keys, what they are worth and their end; clients without a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from vault.api.problems import problem_page
from vault.api.route import Route
from vault.authn.oauth import RESOURCE, SERVER
from vault.errors import CoatcheckError
from vault.services.cell import Cell
from vault.services.client_keys import ClientAnswer, ClientBody, create_client
from vault.services.introspection import AskForm, IntrospectionAnswer, RevocationAnswer, introspect, revoke
from vault.services.oauth_metadata import resource_metadata, server_metadata
from vault.services.signing_keys import JwksAnswer, jwks, read_jwks
from vault.services.token_endpoint import TokenAnswer, TokenForm
from vault.services.token_exchange import token

ROUTES = (
    Route(
        "POST",
        "principals/{id}/clients",
        "Registers a public key or a certificate, by which a service gets access tokens without a secret.",
        lambda call: create_client(call.cell, call.request, call.path["id"], call.body),
        ClientAnswer,
        status=201,
        body=ClientBody,
        permission="principal:write",
        codes=("not_found", "validity_invalid", "limit_invalid", "operation_unsupported"),
    ),
)
"""What is of our own: JSON bodies, and problem documents."""

FACE = (
    Route(
        "POST",
        "oauth/token",
        "An access token for a service key, or a grant for a token: RFC 6749, 4.4; RFC 8693.",
        lambda call: token(call.cell, call.request, call.body),
        TokenAnswer,
        body=TokenForm,
        form=True,
        who=(),
        slow=True,
        codes=(
            *(
                "credential_missing",
                "credential_invalid",
                "network_denied",
                "rate_limited",
                "permission_denied",
            ),
            *("proof_invalid", "proof_expired", "grant_type_unsupported", "scope_invalid", "target_invalid"),
            *("assertion_invalid", "details_invalid", "issuer_unavailable"),
        ),
        unrepeatable="a token is made anew each time",
    ),
    Route(
        "POST",
        "oauth/introspect",
        "What a token of the client's own is worth now: RFC 7662.",
        lambda call: introspect(call.cell, call.request, call.body),
        IntrospectionAnswer,
        body=AskForm,
        form=True,
        who=(),
        codes=("credential_missing", "credential_invalid", "network_denied", "rate_limited"),
        unrepeatable="it only looks",
    ),
    Route(
        "POST",
        "oauth/revoke",
        "Ends a token of the client's own: RFC 7009.",
        lambda call: revoke(call.cell, call.request, call.body),
        RevocationAnswer,
        body=AskForm,
        form=True,
        who=(),
        codes=("credential_missing", "credential_invalid", "network_denied", "rate_limited"),
        unrepeatable="a second time changes nothing",
    ),
    Route(
        "GET",
        "oauth/jwks",
        "The public keys that access tokens are signed with: a JWK Set (RFC 7517).",
        lambda call: read_jwks(call.cell),
        JwksAnswer,
        who=(),
    ),
)
"""What is as OAuth has it, and described by its metadata (RFC 8414) in place of the OpenAPI document."""

_encode = msgspec.json.Encoder().encode
Page = Callable[[], tuple[int, bytes, bytes]]


def well_known(cells: Mapping[str, Cell]) -> dict[str, Page]:
    """The documents outside `/v1`: of each cell behind its path (RFC 8414, 3.1; RFC 9728, 3.1), and of a
    process's only cell also without."""
    pages: dict[str, Page] = {}
    for cell in cells.values():
        for suffix in [cell.oauth.path] if len(cells) > 1 else [cell.oauth.path, ""]:
            for name, made in ((SERVER, server_metadata), (RESOURCE, resource_metadata), ("jwks.json", jwks)):
                pages[f"/.well-known/{name}{suffix}"] = _page(cell, made)
    return pages


def _page(cell: Cell, made: Callable[[Cell], object]) -> Page:
    def page() -> tuple[int, bytes, bytes]:
        try:
            return 200, b"application/json", _encode(made(cell))
        except CoatcheckError as refusal:  # the database, or the keys, are away
            return problem_page(refusal)

    return page
