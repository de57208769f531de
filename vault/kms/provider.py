"""The seam to a key store: what every provider does, and the registry that finds it by URI.

A provider is one file. It holds root keys that never leave it, one version an epoch, and wraps and
unwraps 32-byte halves under them with the context bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from vault.errors import Misconfigured
from vault.secret import Secret


class Provider(Protocol):
    """A region's key store.

    Every method may raise `Unavailable("key_unavailable")`; `wrap` and `unwrap` do when there is no such
    root version, never made or destroyed. `unwrap` raises `IntegrityError("ciphertext_invalid")` when the
    wrapped bytes or their context are not what they were. What every provider must do stands in
    tests/contract/test_kms_provider.py.
    """

    destroy_means: str
    """What destroying a root version does here, and when it is final; shown by `doctor` and in proofs."""

    def create_root(self, version: int) -> None:
        """Makes the root key's version, if it does not exist."""

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        """The half, wrapped under a root version."""

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        """The half again."""

    def destroy_root(self, version: int) -> None:
        """Destroys a root version; afterwards nothing wrapped under it opens."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What the deployment's configuration says about a key store; nothing of it comes from a request.

    Attributes:
        region: the cell's region.
        base: relative paths are relative to this folder.
        passphrase: read from a file, a credential or a prompt; None without one.
        key_file: a key file in place of a passphrase, in development only.
    """

    region: str
    base: Path
    passphrase: Secret | None
    key_file: Path | None


Opener = Callable[[str, ProviderSettings], Provider]
_OPENERS: Final[dict[str, Opener]] = {}


def register(scheme: str, opener: Opener) -> None:
    """Makes a scheme known; each provider's module does this once."""
    _OPENERS[scheme] = opener


def open_provider(uri: str, settings: ProviderSettings) -> Provider:
    """The provider that a URI of the configuration names.

    Raises:
        Misconfigured: `config_invalid`: no such scheme here.
    """
    scheme, colon, rest = uri.partition(":")
    opener = _OPENERS.get(scheme) if colon else None
    if opener is None:
        raise Misconfigured("config_invalid", setting="kms", known=", ".join(sorted(_OPENERS)))
    return opener(rest, settings)
