"""The cell's key over operators' authenticators: it seals TOTP secrets and authenticates challenges.

It is a field key of the cell's own, so a turn of the epoch carries it as it carries every field key, and
nothing that lies under it has to be touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vault.context import EncryptionContext, Use
from vault.crypto.kdf import Label, expand
from vault.envelope.seal import SealingKey, open_secret, seal
from vault.errors import IntegrityError
from vault.identifiers import NIL, KeyId
from vault.keyring.hierarchy import CELL, Purpose
from vault.keyring.ring import Keyring
from vault.secret import Secret


@dataclass(frozen=True, slots=True)
class Authenticators:
    """The keys for operators' authenticators.

    Attributes:
        challenges: the MAC key over challenges.
    """

    region: str
    sealing: SealingKey = field(repr=False)
    challenges: Secret = field(repr=False)

    def seal(self, principal: str, secret: Secret) -> bytes:
        """A TOTP secret, bound to whose it is."""
        return seal(self.sealing, self._context(principal), secret)

    def open(self, principal: str, sealed: bytes) -> Secret:
        """A TOTP secret.

        Raises:
            IntegrityError: `integrity_failed`: altered, or another operator's.
        """
        try:
            return open_secret(self.sealing, self._context(principal), sealed)
        except IntegrityError:
            raise IntegrityError("integrity_failed") from None

    def _context(self, principal: str) -> EncryptionContext:
        return EncryptionContext(Use.AUTHENTICATOR, CELL, self.region, record=principal.encode())


def authenticators_from(key: Secret, region: str) -> Authenticators:
    """What is derived of a key."""
    sealing = SealingKey(KeyId(NIL), 1, expand(key, Label.AUTHENTICATOR_SEALING))
    return Authenticators(region, sealing, expand(key, Label.AUTHENTICATOR_CHALLENGES))


def authenticators(keyring: Keyring) -> Authenticators:
    """The cell's.

    Raises:
        Unavailable: `key_unavailable`: there is none before the first operator has a password.
    """
    return authenticators_from(keyring.single(CELL, CELL, Purpose.AUTHENTICATORS), keyring.region)
