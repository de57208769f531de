"""What a request shows besides its Authorization header, before anybody looks at it."""

from __future__ import annotations

from dataclasses import dataclass, field

from vault.authn.oauth import Once
from vault.policy.proof import Proof


@dataclass(slots=True, repr=False)
class Presented:
    """What a request shows besides the id of a keyed grant, or besides an access token.

    Attributes:
        proof: the `DPoP` header; chain: the `Coatcheck-Chain` header.
        method, urls: of the request, as its sender may see them: by the name it asked for, and by the one
            that is configured for the region.
        body: as it came; None where there is none. Its digest is made where large bodies are worked on.
        parsed: the proof of a keyed grant, once its signature was checked.
        certificate: of the client, as DER, if its handshake had one.
        once: what the request has that is taken once, by its digest: however often its verb is made again.
    """

    proof: str | None
    chain: str | None
    method: str
    urls: tuple[str, ...]
    body: bytes | None = field(default=None, repr=False)
    parsed: Proof | None = None
    certificate: bytes | None = field(default=None, repr=False)
    once: dict[bytes, Once] = field(default_factory=dict, repr=False)
