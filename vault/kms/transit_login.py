"""A client of HashiCorp Vault or OpenBao with a token that is good: logged in, renewed, logged in again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from vault.errors import CoatcheckError, Unavailable
from vault.kms.credentials import Credentials
from vault.kms.provider import away, refused
from vault.secret import Secret

METHODS: Final[dict[str, tuple[str, ...]]] = {
    "token": ("token",),
    "approle": ("role_id", "secret_id", "mount"),
    "kubernetes": ("role", "jwt", "mount"),
}
"""The methods, and the settings of `kms_auth` that each reads."""
TLS_SETTINGS: Final = ("ca", "client_certificate", "client_key")
RENEW_BELOW: Final = 1 / 3  # of a token's time left; the server's own agent renews at two thirds, too


class Login:
    """Safe between threads; nothing is asked of the server before the first call.

    Args:
        url: the server's.
        query: `auth` and `namespace` of the provider's URI.
        credentials: what the method needs, and what TLS needs.
        seconds: for one request.
    """

    def __init__(self, url: str, query: Mapping[str, str], credentials: Credentials, seconds: float) -> None:
        self._url = url
        self._method = query.get("auth", "token")
        self._namespace = query.get("namespace")
        self._credentials = credentials
        self._seconds = seconds
        self._lock = threading.Lock()
        self._client: Any = None
        self._held: Secret | None = None  # the token of a file or a variable, to know a new one
        self._until: float | None = None  # when the token ends; None: never, as far as is known
        self._lasts = 0.0
        self._renewable = False
        self._generation = 0

    def ask(self, use: Callable[[Any], Any]) -> Any:
        """What `use` gives, with a client that is logged in; once more, with another token, after a 403.

        Raises:
            Unavailable: `key_unavailable`, with the cause; `refused` where the server takes the request for
                malformed (400).
            Misconfigured: the credentials cannot be read.
        """
        client, generation = self._ready()
        try:
            return _translated(lambda: use(client))
        except Unavailable as problem:
            if problem.facts.get("cause") != "denied":
                raise
        client, _ = self._ready(not_of=generation)
        return _translated(lambda: use(client))

    def close(self) -> None:
        """Closes connections and forgets the token."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                client.adapter.close()

    def _ready(self, not_of: int = -1) -> tuple[Any, int]:
        """A client whose token is good, as far as is known, and the login that it is of.

        Args:
            not_of: a login whose token was refused; whoever comes first logs in again.
        """
        if not self._lock.acquire(timeout=self._seconds):
            raise away("deadline")
        try:
            if self._client is None or self._generation == not_of:
                self._log_in()
            elif self._until is not None:
                left = self._until - time.monotonic()
                if left <= 0 or (left < self._lasts * RENEW_BELOW and not self._renewed()):
                    self._log_in()
            return self._client, self._generation
        finally:
            self._lock.release()

    def _log_in(self) -> None:
        client = self._new_client()
        try:
            if self._method == "token":
                self._held = self._credentials.secret("token")
                client.token = self._held.expose().decode("utf-8", "replace")
                self._keep(_translated(client.auth.token.lookup_self), "data", "ttl")
            elif self._method == "approle":
                mount = self._credentials.name("mount", "approle")
                role, secret = self._credentials.name("role_id"), self._credentials.secret("secret_id")
                answer = _logged_in(lambda: client.auth.approle.login(role, _text(secret), mount_point=mount))
                self._keep(answer, "auth", "lease_duration")
            else:
                mount = self._credentials.name("mount", "kubernetes")
                role, jwt = self._credentials.name("role"), self._credentials.secret("jwt")
                answer = _logged_in(lambda: client.auth.kubernetes.login(role, _text(jwt), mount_point=mount))
                self._keep(answer, "auth", "lease_duration")
        except BaseException:
            client.adapter.close()
            raise
        if self._client is not None:
            self._client.adapter.close()
        self._client = client
        self._generation += 1

    def _renewed(self) -> bool:
        """Whether the token lasts longer now. If not, there is another: from a login, or in the file."""
        if self._method == "token" and not self._credentials.secret("token").matches(
            self._held or Secret(b"")
        ):
            return False
        if not self._renewable:
            return self._method == "token"  # it is used to its end; nobody but its owner can replace it
        lasts = self._lasts
        try:
            self._keep(_translated(self._client.auth.token.renew_self), "auth", "lease_duration")
        except Unavailable as problem:
            if problem.facts.get("cause") in ("denied", "refused"):
                return False
            raise
        # Near its longest life a token is renewed for less and less.
        return self._method == "token" or self._lasts > lasts / 2

    def _keep(self, answer: Any, member: str, name: str) -> None:
        """Notes how long a token lasts."""
        found = answer.get(member) if isinstance(answer, dict) else None
        lasts = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, dict) or not isinstance(lasts, int):
            raise away("malformed")
        self._lasts = float(lasts)
        self._renewable = found.get("renewable") is True
        self._until = time.monotonic() + lasts if lasts else None  # 0: it does not expire

    def _new_client(self) -> Any:
        import hvac  # takes long to load, and only cells with such a key store need it

        from vault.kms.bounded import BoundedSession

        certificate, key = self._credentials.path("client_certificate"), self._credentials.path("client_key")
        if (certificate is None) != (key is None):
            raise refused("client_certificate and client_key go together", "kms_auth")
        session = BoundedSession(self._seconds)
        # On the session and in the client: the library takes a session's own over what it is given.
        session.verify = verify = self._credentials.path("ca") or True
        session.cert = pair = (certificate, key) if certificate and key else None
        return hvac.Client(
            url=self._url,
            token="",  # not that of a variable or of ~/.vault-token, which the library would take
            cert=pair or False,  # the same for certificates
            verify=verify,
            timeout=self._seconds,
            allow_redirects=False,
            session=session,
            namespace=self._namespace,
        )


def _text(secret: Secret) -> str:
    return secret.expose().decode("utf-8", "replace")


def _logged_in(use: Callable[[], Any]) -> Any:
    """A login's answer. The server says 400 for a secret that is wrong, and 404 for no such method."""
    try:
        return _translated(use)
    except Unavailable as problem:
        if problem.facts.get("cause") in ("refused", "missing"):
            raise away("denied") from None
        raise


def _translated(use: Callable[[], Any]) -> Any:
    """What `use` gives; an error of the library's as ours, without its text."""
    try:
        return use()
    except CoatcheckError:
        raise
    except Exception as problem:  # noqa: BLE001 - two libraries', and what they run into with answers that are none
        raise _cause(problem) from None


def _cause(problem: Exception) -> Unavailable:
    from hvac import exceptions as hv
    from requests import exceptions as rq

    match problem:
        case rq.SSLError():
            return away("tls")
        case rq.Timeout():
            return away("deadline")
        case rq.ContentDecodingError() | rq.JSONDecodeError():
            return away("malformed")
        case rq.RequestException() if not isinstance(problem, ValueError):  # which an address is that is none
            return away("unreachable")
        case hv.InvalidRequest():
            return Unavailable("key_unavailable", cause="refused")
        case hv.Unauthorized() | hv.Forbidden():
            return away("denied")
        case hv.InvalidPath():
            return away("missing")
        case hv.RateLimitExceeded():
            return away("throttled")
        case hv.VaultNotInitialized():
            return away("sealed")
        case hv.VaultDown() if "sealed" in str(problem.text or "").lower():
            return away("sealed")
        case hv.VaultError():
            return away("failed")
    return away("malformed")
