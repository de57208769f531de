"""Sealed requests: values that gateways and logs on the way to the cell cannot read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from vault.crypto import hpke, intake
from vault.crypto.base64url import decode, encode
from vault.crypto.signing import thumbprint

MEDIA_TYPE: Final = "application/vnd.coatcheck.sealed+json"


def seal_body(key: Mapping[str, str], *, cell: str, path: str, principal: str, body: Any) -> bytes:
    """What is sent in place of a body of `tokenize` or `encrypt`, as `MEDIA_TYPE`.

    Args:
        key: the answer of `POST intake-key`, from a place that nobody in between can change: whoever
            changes it reads what is sealed to it.
        cell: the region that it is for.
        path: `tokenize` or `encrypt`.
        principal: the caller's own id, `pr_...`, as `GET whoami` tells it.
        body: the body as a mapping, or its bytes.

    Raises:
        ValueError: not such a key.
    """
    public = decode(key["x"])
    if key.get("suite", hpke.SUITE) != hpke.SUITE or key["kid"] != thumbprint(public, "X25519"):
        raise ValueError("not an intake key")
    plaintext = body if isinstance(body, bytes) else msgspec.json.encode(body)
    enc_ct = hpke.seal(public, intake.info(cell, path, principal), plaintext)
    return msgspec.json.encode({"suite": hpke.SUITE, "kid": key["kid"], "enc_ct": encode(enc_ct)})
