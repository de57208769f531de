"""The HTTP client: one region of a service, one credential."""

from __future__ import annotations

import re
import ssl
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from vault.client.approvals import ApprovalRequired
from vault.codes import CODES
from vault.errors import FAMILIES, BadInput, CoatcheckError, Misconfigured, Unauthenticated, Unavailable

DEFAULT_TIMEOUT_S = 30.0
_SENDABLE: Final = re.compile(r"[!-~]+")
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")  # spaces at an end are lost on the way


class Client:
    """Talks to `{url}/v1/{region}`.

    Args:
        url: the service's address.
        region: the region whose cell is meant.
        credential: a service key, a session or a grant's credential; where access tokens come from; None: to
            sign in.
        timeout: seconds for one request.
        ca: a PEM file of the authorities that are trusted over https; None: those of this host.

    Raises:
        Unauthenticated: `credential_invalid`: no header can hold it.
        Misconfigured: `host_permissions`, `config_invalid`: the file of authorities.
    """

    def __init__(
        self,
        url: str,
        region: str,
        credential: str | httpx.Auth | None,
        timeout: float = DEFAULT_TIMEOUT_S,
        ca: str | None = None,
    ) -> None:
        headers = {"content-type": "application/json"}
        if isinstance(credential, str):
            if not _SENDABLE.fullmatch(credential):
                raise Unauthenticated("credential_invalid")
            headers["authorization"] = f"Bearer {credential}"
        self._base = f"{url.rstrip('/')}/v1/{quote(region, safe='')}/"
        self._http = httpx.Client(
            headers=headers,
            auth=credential if isinstance(credential, httpx.Auth) else None,
            timeout=timeout,
            trust_env=False,
            # Making a context costs more than most requests.
            verify=tls_context(ca) if url[:8].lower() == "https://" else False,
        )

    def __repr__(self) -> str:
        return "<Client>"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, str | int] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """The decoded answer.

        Args:
            idempotency_key: for a request that may be sent again, but must be done once.

        Raises:
            CoatcheckError: the service's refusal, of the family of its code; `service_unreachable`.
        """
        headers = {}
        if idempotency_key is not None:
            headers["idempotency-key"] = check_idempotency_key(idempotency_key)
        content = None if body is None else msgspec.json.encode(body)
        try:
            response = self._http.request(
                method, self._base + path, content=content, params=query, headers=headers
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise unreachable(problem) from None
        return answer_of(response.status_code, response.content)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()


def check_idempotency_key(key: str) -> str:
    """The key, if a header can hold it.

    Raises:
        BadInput: `parameter_invalid`.
    """
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise BadInput("parameter_invalid", parameter="Idempotency-Key")
    return key


def answer_of(status: int, body: bytes) -> Any:
    """The decoded answer.

    Raises:
        CoatcheckError: as `Client.request`.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unavailable("service_unreachable", status=status) from None
    if 200 <= status < 300:
        return answer
    raise _refusal(answer, status)


def tls_context(ca: str | None) -> ssl.SSLContext:
    """How the service proves who it is: TLS 1.3, its certificate, its name.

    Raises:
        Misconfigured: as `Client`.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        reason = "is no PEM file of certificates"
        raise Misconfigured("config_invalid", setting="--ca", reason=reason) from None
    except OSError:
        raise Misconfigured("host_permissions", path=str(ca)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def unreachable(problem: BaseException) -> Unavailable:
    """Says of TLS what is wrong with it; of the rest, that it is unreachable."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = "its certificate is not one that is trusted here for that name; --ca names the authority"
            return Unavailable("service_unreachable", reason=reason)
        if isinstance(cause, ssl.SSLError):
            return Unavailable("service_unreachable", reason="it does not speak TLS 1.3 there")
        cause = cause.__cause__ or cause.__context__
    return Unavailable("service_unreachable")


def _refusal(problem: Any, status: int) -> CoatcheckError:
    """The error that a problem document stands for."""
    known = {"type", "code", "title", "status", "retry", "hint"}
    code = problem.get("code") if isinstance(problem, dict) else None
    if not isinstance(code, str) or code not in CODES:
        return Unavailable("service_unreachable", status=status)
    facts = {name: value for name, value in problem.items() if name not in known}
    if code == "approval_required":
        return ApprovalRequired(code, **facts)
    return FAMILIES[CODES[code].exit](code, **facts)
