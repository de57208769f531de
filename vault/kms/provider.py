"""The seam to a key store: what every provider does, and the registry that finds it by URI.

A provider is one file. It holds root keys that never leave it, one version an epoch, and wraps and
unwraps 32-byte halves under them with the context bound. What holds for all of them when the store is
slow, ill or away stands in `guard`, not in a provider.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from vault.clock import Micros
from vault.context import EncryptionContext, Use
from vault.errors import Misconfigured, Unavailable
from vault.kms.credentials import Credentials
from vault.secret import Secret

DEADLINE_S: Final = 2.0  # long for one call, short for whoever waits for a start


@dataclass(frozen=True, slots=True)
class Destruction:
    """What came of destroying a root version: the receipt.

    Attributes:
        version: the root version.
        what: what it was to the key store: a name or an id that its operator finds in its own log.
        final_at: from when on nobody can bring it back by the key store's own means; None: already.
    """

    version: int
    what: str
    final_at: Micros | None = None


class Provider(Protocol):
    """A region's key store.

    Every method may raise `Unavailable("key_unavailable")`, with one of `CAUSES`; `wrap`, `unwrap` and
    `probe` do when there is no such root version, never made or destroyed. `unwrap` raises
    `IntegrityError("ciphertext_invalid")` when the wrapped bytes or their context are not what they were.
    Settings that cannot work raise `Misconfigured`. What every provider must do stands in
    tests/contract/test_kms_provider.py.
    """

    @property
    def destroy_means(self) -> str:
        """What destroying a root version does here, and when it is final; shown by `doctor`."""

    @property
    def remote(self) -> bool:
        """Whether it lies beyond this process and its disks, so that it may be away while we are not."""

    def create_root(self, version: int) -> None:
        """Makes the root key's version, if it does not exist. May be called again after any crash."""

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        """The half, wrapped under a root version."""

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        """The half again."""

    def destroy_root(self, version: int) -> Destruction:
        """Destroys a root version; afterwards nothing wrapped under it opens. Again: the same receipt."""

    def probe(self, version: int) -> None:
        """Returns if a root version could be used now. Changes nothing, and opens nothing."""

    def close(self) -> None:
        """Lets go of connections and sessions; whoever calls again gets new ones."""


CAUSES: Final = {
    "unreachable": "no connection, or one that broke",
    "deadline": "no answer in time",
    "throttled": "too many calls, says the key store",
    "failed": "an error of the key store's own",
    "malformed": "an answer that is none",
    "sealed": "the key store is sealed or not ready",
    "tls": "no connection that can be trusted",
    "denied": "the credentials are refused, or do not suffice",
    "session": "the session with the token was lost",
    "missing": "no such root key, never made or destroyed",
    "disabled": "the root key is disabled",
    "pending_deletion": "the root key is about to be deleted",
    "open": "not asked: the last calls failed, and the next attempt is not due yet",
    "busy": "not asked: too many calls hang",
}
"""Why a key store does not serve: the fact `cause` of `key_unavailable`."""


def away(cause: str, version: int | None = None) -> Unavailable:
    """The error of a key store that does not serve now.

    Args:
        cause: one of `CAUSES`.
        version: the root version, where it is about one.

    Raises:
        LookupError: not one of `CAUSES`.
    """
    if cause not in CAUSES:
        raise LookupError("not one of CAUSES")
    if version is None:
        return Unavailable("key_unavailable", cause=cause)
    return Unavailable("key_unavailable", cause=cause, root=version)


def refused(reason: str, setting: str = "kms") -> Misconfigured:
    """The error of settings that cannot work. The reason is ours, and repeats no value."""
    return Misconfigured("config_invalid", setting=setting, reason=reason)


def bound(region: str, version: int, context: bytes) -> bytes:
    """What a key store binds to a wrapped half, in canonical form: region, root version, context."""
    record = version.to_bytes(4, "big") + context
    return EncryptionContext(Use.KMS_HALF, tenant="", region=region, record=record).encode()


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What the deployment's configuration says about a key store; nothing of it comes from a request.

    Attributes:
        region: the cell's region.
        base: relative paths are relative to this folder.
        passphrase: read from a file, a credential or a prompt; None without one.
        key_file: a key file in place of a passphrase, in development only.
        credentials: what the key store asks for beyond its URI.
        deadline_s: how long one call may take.
    """

    region: str
    base: Path
    passphrase: Secret | None
    key_file: Path | None
    credentials: Credentials = field(default_factory=Credentials)
    deadline_s: float = DEADLINE_S


Opener = Callable[[str, ProviderSettings], Provider]
Checker = Callable[[str, Collection[str]], None]


@dataclass(frozen=True, slots=True)
class _Scheme:
    opener: Opener
    checker: Checker | None


_OPENERS: Final[dict[str, _Scheme]] = {}


def register(scheme: str, opener: Opener, checker: Checker | None = None) -> None:
    """Makes a scheme known; each provider's module does this once.

    Args:
        opener: makes the provider of what stands behind the scheme; asks nothing of it yet.
        checker: raises `Misconfigured` for a URI, or names of credentials, that it does not take.
    """
    _OPENERS[scheme] = _Scheme(opener, checker)


def open_provider(uri: str, settings: ProviderSettings) -> Provider:
    """The provider that a URI of the configuration names.

    Raises:
        Misconfigured: `config_invalid`: no such scheme here; `extra_missing`.
    """
    scheme, rest = _split(uri)
    return scheme.opener(rest, settings)


def check_uri(uri: str, credentials: Collection[str]) -> None:
    """Returns if a URI could be opened with credentials of these names. Loads and connects to nothing.

    Raises:
        Misconfigured: `config_invalid`, with the reason.
    """
    scheme, rest = _split(uri)
    if scheme.checker is not None:
        scheme.checker(rest, credentials)
    elif credentials:
        raise refused("this key store takes none of them", "kms_auth")


def _split(uri: str) -> tuple[_Scheme, str]:
    scheme, colon, rest = uri.partition(":")
    found = _OPENERS.get(scheme) if colon else None
    if found is None:
        raise Misconfigured("config_invalid", setting="kms", known=", ".join(sorted(_OPENERS)))
    return found, rest
