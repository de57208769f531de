"""What the OAuth face says of itself: the authorization server (RFC 8414), and the resource (RFC 9728)."""

from __future__ import annotations

from typing import Any, Final

from vault.crypto.jose import ALGORITHMS, PROOF_ALGORITHMS
from vault.services.cell import Cell
from vault.services.client_keys import METHODS
from vault.services.token_endpoint import CLIENT_CREDENTIALS, EXCHANGE
from vault.services.token_exchange import DETAILS

AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", *METHODS.values())


def server_metadata(cell: Cell) -> dict[str, Any]:
    """The authorization server's (RFC 8414, 2; RFC 8705, 3.3; RFC 9396, 10; RFC 9449, 5.1)."""
    oauth = cell.oauth
    methods, algorithms = list(AUTH_METHODS), list(dict.fromkeys(ALGORITHMS))
    found: dict[str, Any] = {
        "issuer": oauth.issuer,
        "token_endpoint": oauth.endpoint("token"),
        "jwks_uri": oauth.endpoint("jwks"),
        "response_types_supported": [],
        "grant_types_supported": [CLIENT_CREDENTIALS, EXCHANGE],
        "authorization_details_types_supported": [DETAILS],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": True,
        "protected_resources": [oauth.issuer],
    }
    for name, place in (("token", "token"), ("introspection", "introspect"), ("revocation", "revoke")):
        found[f"{name}_endpoint"] = oauth.endpoint(place)
        found[f"{name}_endpoint_auth_methods_supported"] = methods
        found[f"{name}_endpoint_auth_signing_alg_values_supported"] = algorithms
    return found


def resource_metadata(cell: Cell) -> dict[str, Any]:
    """The protected resource's (RFC 9728, 2): the cell is both."""
    oauth = cell.oauth
    return {
        "resource": oauth.issuer,
        "authorization_servers": [oauth.issuer],
        "jwks_uri": oauth.endpoint("jwks"),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": True,
        "authorization_details_types_supported": [DETAILS],
    }
