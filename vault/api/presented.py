"""What a request shows besides a grant's id or a token: proof, chain, certificate, and what they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from litestar.types import Scope

from vault.errors import BadInput
from vault.services.cell import Cell
from vault.services.presented import Presented

CERTIFICATE: Final = "coatcheck.certificate"
"""Where a scope has the certificate of the client, as DER."""

PROOF: Final = b"dpop"
CHAIN: Final = b"coatcheck-chain"


def presented_of(cell: Cell, scope: Scope, headers: Mapping[bytes, bytes]) -> Presented:
    """What came with the grant's id.

    Raises:
        BadInput: `parameter_invalid`: two proofs or two chains, of which neither is believed.
    """
    names = [name for name, _ in scope["headers"]]
    for name in (PROOF, CHAIN):
        if names.count(name) > 1:
            raise BadInput("parameter_invalid", parameter=name.decode())
    path = scope["raw_path"].decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    urls = [f"{scope['scheme']}://{host}{path}"]
    configured = cell.regions.get(cell.region)
    if configured is not None:
        urls.append(f"{configured.rstrip('/')}{path}")
    return Presented(
        _text(headers.get(PROOF)),
        _text(headers.get(CHAIN)),
        str(scope.get("method", "")),
        tuple(urls),
        body=None,
        certificate=scope.get(CERTIFICATE),  # type: ignore[arg-type]
    )


def authorization_of(headers: Mapping[bytes, bytes]) -> str | None:
    """The Authorization header."""
    return _text(headers.get(b"authorization") or None)


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")
