"""Bodies of the OAuth endpoints: forms (RFC 6749, appendix B), and errors as that standard has them (5.2)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from vault.api.problems import problem_response
from vault.api.route import Route
from vault.errors import BadInput, CoatcheckError, Denied, Unauthenticated
from vault.services.cell import Cell

FORM: Final = b"application/x-www-form-urlencoded"
MAX_FIELDS: Final = 64
BASIC: Final = b'Basic realm="coatcheck"'
_encode: Final = msgspec.json.Encoder().encode
_ERRORS: Final[dict[str, str]] = {
    "grant_type_unsupported": "unsupported_grant_type",
    "scope_invalid": "invalid_scope",
    "target_invalid": "invalid_target",  # RFC 8707, 2
    "proof_invalid": "invalid_dpop_proof",  # RFC 9449, 5
    "proof_expired": "invalid_dpop_proof",
    "permission_denied": "unauthorized_client",
    "network_denied": "unauthorized_client",
}
_REQUEST: Final = frozenset({"assertion_invalid", "method_not_allowed", "operation_unsupported", "not_found"})


def decode_form(type_: type[Any], raw: bytes, media_type: bytes) -> Any:
    """A form as a body. Empty parameters are left out, and unknown ones not looked at (RFC 6749, 3.2).

    Raises:
        BadInput: `media_type_unsupported`, `body_malformed`, `member_duplicate`.
    """
    if media_type.split(b";")[0].strip().lower() != FORM:
        raise BadInput("media_type_unsupported")
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise BadInput("body_malformed") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadInput("member_duplicate")
    known = type_.__struct_fields__
    return type_(**{name: value for name, value in found.items() if name in known and value})


def oauth_error(refusal: CoatcheckError) -> str:
    """What OAuth calls a refusal."""
    code = refusal.code
    if code in _ERRORS:
        return _ERRORS[code]
    status = refusal.row.status or 500
    if isinstance(refusal, Unauthenticated):
        return "invalid_client"
    if status == 503 or status == 429:
        return "temporarily_unavailable"
    if status >= 500:
        return "server_error"
    if code in _REQUEST or (status in (400, 405, 408, 413, 415, 421) and code != "details_invalid"):
        return "invalid_request"
    if isinstance(refusal, BadInput | Denied):
        return "invalid_authorization_details"  # RFC 9396, 5: what a grant is refused for
    return "invalid_request"


def refused(
    refusal: CoatcheckError, request: str, cell: Cell | None, route: Route | None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """A refusal as its route has them; without a credential, with where one is to be had (RFC 9728, 5.1)."""
    if route is not None and route.form:
        return form_refusal(refusal, request)
    return problem_response(refusal, request, "" if cell is None else cell.oauth.resource)


def form_refusal(refusal: CoatcheckError, request: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of an error's answer: 400, but for a client that is not known, and for ours.

    The body says our own code too, and its facts.
    """
    name = oauth_error(refusal)
    status = refusal.row.status or 500
    if name == "invalid_client":
        status = 401
    elif status < 500 and status not in (405, 408, 413, 415, 421, 429):
        status = 400
    headers = [(b"content-type", b"application/json"), (b"pragma", b"no-cache")]  # RFC 6749, 5.2
    if status == 401:
        headers.append((b"www-authenticate", BASIC))
    if status == 405:
        headers.append((b"allow", str(refusal.facts.get("allow", "")).encode()))
    if status in (429, 503):
        headers.append((b"retry-after", str(refusal.facts.get("retry_after", 1)).encode()))
    document = {
        "error": name,
        "error_description": refusal.row.sentence.replace("\\", "").replace('"', "'"),
        **{key: value for key, value in refusal.facts.items() if key not in ("error", "error_description")},
        "code": refusal.code,
        "request": request,
    }
    return status, headers, _encode(document)
