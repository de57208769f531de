"""Keys of repeatable requests: one each, from the epoch's key and the caller's Idempotency-Key.

The caller's key is in the derivation and nowhere else, so what is kept of a request says nothing to whoever
has only the database and the epoch; with a key that nobody can guess, not even what the request was.
Spec: docs/spec/key-hierarchy.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vault.context import TAG_CALLER, TAG_REQUEST, TAG_ROUTE, TAG_TENANT, EncryptionContext, Use, canonical
from vault.crypto.kdf import Label, expand
from vault.crypto.mac import mac, reference
from vault.envelope.seal import SealingKey, open_message, seal
from vault.identifiers import KeyId
from vault.keyring.hierarchy import Epoch
from vault.secret import Secret


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The key of one request.

    Attributes:
        epoch: the epoch that it is derived under.
        ref: 16 bytes that its row is found by.
    """

    epoch: int
    ref: bytes
    _tenant: str
    _region: str
    _key: Secret = field(repr=False)

    def fingerprint(self, asked: bytes) -> bytes:
        """What tells two requests under one Idempotency-Key apart; 32 bytes."""
        return mac(expand(self._key, Label.REQUEST_FINGERPRINT), asked)

    def seal(self, answer: bytes) -> bytes:
        """The answer, as it is kept."""
        return seal(self._sealing, self._context, answer)

    def open(self, sealed: bytes) -> bytes:
        """The answer that was kept.

        Raises:
            IntegrityError: `ciphertext_invalid`: altered, or moved from another row.
        """
        return open_message(self._sealing, self._context, sealed)

    @property
    def _sealing(self) -> SealingKey:
        return SealingKey(KeyId(self.ref), self.epoch, expand(self._key, Label.REQUEST_SEALING))

    @property
    def _context(self) -> EncryptionContext:
        return EncryptionContext(Use.REPLAY, self._tenant, self._region, record=self.ref)


def request_key(epoch: Epoch, tenant: str, caller: str, route: str, text: str) -> RequestKey:
    """The key of a request.

    Args:
        caller: the id of the principal or of the grant.
        route: what is asked for; one Idempotency-Key on two routes makes two requests.
        text: the Idempotency-Key.
    """
    parts = (
        (TAG_TENANT, tenant.encode()),
        (TAG_CALLER, caller.encode()),
        (TAG_ROUTE, route.encode()),
        (TAG_REQUEST, text.encode()),
    )
    key = expand(epoch.requests, Label.REQUEST, canonical(parts))
    found_by = reference(expand(key, Label.REQUEST_REFERENCE), b"")
    return RequestKey(epoch.number, found_by, tenant, epoch.region, key)
