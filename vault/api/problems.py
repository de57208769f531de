"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.codes import CODES
from vault.errors import CoatcheckError
from vault.identifiers import new_id

TYPE_PREFIX: Final = "urn:coatcheck:error:"
MEDIA_TYPE: Final = b"application/problem+json"
# On every answer: nothing here may lie in a cache or be taken for another type.
COMMON_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
ALGS: Final = "Ed25519 EdDSA ES256 ES384"
_PROOF: Final = b'DPoP realm="coatcheck", error="invalid_dpop_proof", algs="%b"' % ALGS.encode()
_CHALLENGES: Final = {"proof_invalid": _PROOF, "proof_expired": _PROOF}  # RFC 9449, 7.1
_encode = msgspec.json.Encoder().encode


def status_of(error: CoatcheckError) -> int:
    """The HTTP status. A batch with bad items is 422 as a whole, whatever its items' codes."""
    if "errors" in error.facts:
        return 422
    return error.row.status or 500


def problem(error: CoatcheckError, request: str) -> dict[str, Any]:
    """The problem document of an error."""
    row = CODES[error.code]
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "code": error.code,
        "title": row.sentence,
        "status": status_of(error),
        "retry": row.retry,
        "request": request,
    }
    if row.hint:
        document["hint"] = row.hint
    document.update(error.facts)
    return document


def problem_response(
    error: CoatcheckError, request: str, metadata: str = ""
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, extra headers and body of an error's answer.

    Args:
        metadata: where it is said how credentials are to be had (RFC 9728, 5.1); empty: nowhere.
    """
    status = status_of(error)
    headers = [(b"content-type", MEDIA_TYPE)]
    if status == 401:
        asked = _CHALLENGES.get(error.code) or _challenge(error)
        headers.append((b"www-authenticate", asked + _where(metadata)))
    if status == 405:
        headers.append((b"allow", str(error.facts.get("allow", "")).encode()))
    if status in (423, 429, 503):
        headers.append((b"retry-after", str(error.facts.get("retry_after", 1)).encode()))
    return status, headers, _encode(problem(error, request))


def problem_page(error: CoatcheckError) -> tuple[int, bytes, bytes]:
    """Status, media type and body of an error's answer, for a page."""
    return status_of(error), MEDIA_TYPE, _encode(problem(error, new_id("req")))


def _challenge(error: CoatcheckError) -> bytes:
    """What a caller is asked for: a credential, or a fresh proof of a second factor (RFC 9470, 3)."""
    parts = ['Bearer realm="coatcheck"']
    if error.code == "insufficient_user_authentication":
        parts += [
            f'error="{error.code}"',
            f'error_description="{error.row.sentence}"',
            f'max_age="{error.facts.get("max_age", 0)}"',
        ]
    elif error.code == "credential_invalid":
        parts.append('error="invalid_token"')  # RFC 6750, 3.1
    return ", ".join(parts).encode("ascii")


def _where(metadata: str) -> bytes:
    return b', resource_metadata="%b"' % metadata.encode("ascii", "replace") if metadata else b""
