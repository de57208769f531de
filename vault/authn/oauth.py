"""What the OAuth face of a cell is set to: who issues tokens, for how long, and whose tokens are taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from vault.authn.certificates import Authorities
from vault.authn.issuers import Issuer
from vault.clock import SECOND, Micros

SERVER: Final = "oauth-authorization-server"
RESOURCE: Final = "oauth-protected-resource"
DEFAULT_LIFETIME: Final[Micros] = 300 * SECOND
LONGEST_LIFETIME: Final[Micros] = 900 * SECOND
"""Of any access token, and so how long a key that signs no more is still looked at."""


@dataclass(frozen=True, slots=True, repr=False)
class OAuth:
    """The OAuth face of one cell.

    Attributes:
        issuer: the cell as it is named in tokens (RFC 8414, 2), which is also their audience (RFC 9728, 2).
        lifetime: of access tokens.
        issuers: whose tokens are taken in an exchange, by `iss`.
        authorities: of certificates that clients authenticate with by name.
    """

    issuer: str = "http://localhost"
    lifetime: Micros = DEFAULT_LIFETIME
    issuers: Mapping[str, Issuer] = field(default_factory=dict)
    authorities: Authorities = field(default_factory=Authorities)

    @property
    def base(self) -> str:
        """Scheme and host of the issuer."""
        return "/".join(self.issuer.split("/", 3)[:3])

    @property
    def path(self) -> str:
        """What stands behind them: the path, from its first slash on."""
        return self.issuer[len(self.base) :]

    def well_known(self, name: str) -> str:
        """Where a document about the cell is (RFC 8414, 3.1; RFC 9728, 3.1): its path comes behind."""
        return f"{self.base}/.well-known/{name}{self.path}"

    @property
    def resource(self) -> str:
        """Where the cell says how its credentials are to be had (RFC 9728)."""
        return self.well_known(RESOURCE)

    def endpoint(self, name: str) -> str:
        """Where an endpoint is."""
        return f"{self.issuer}/oauth/{name}"


@dataclass(slots=True, repr=False)
class Once:
    """Something that is taken once: a proof, or an assertion. It lives as long as the request it came with.

    Attributes:
        digest: what it is remembered by in the ledger.
        expires_at: after when nobody takes it any more, so that it need not be remembered.
        code: of the refusal, when it comes again.
        spent: whether this request has had it written down.
    """

    digest: bytes
    expires_at: Micros
    code: str
    spent: bool = False
