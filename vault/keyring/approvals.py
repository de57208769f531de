"""The cell's key over requests that somebody must approve: it names them, and seals what is shown of them.

A request is named by a MAC and not by a hash: a token may be easy to guess. The key is a field key of the
cell's own, so that a turn of the epoch carries it, and nothing that lies under it has to be touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vault.context import TAG_RECORD, TAG_REQUEST, EncryptionContext, Use, canonical
from vault.crypto.kdf import Label, expand
from vault.crypto.mac import mac
from vault.envelope.seal import SealingKey, open_message, seal
from vault.errors import IntegrityError
from vault.identifiers import NIL, KeyId
from vault.keyring.hierarchy import CELL, Purpose
from vault.keyring.ring import Keyring
from vault.secret import Secret


@dataclass(frozen=True, slots=True)
class ApprovalKeys:
    """The keys over requests that somebody must approve.

    Attributes:
        requests: the MAC key.
    """

    region: str
    sealing: SealingKey = field(repr=False)
    requests: Secret = field(repr=False)

    def digest(self, grant: str, request: bytes) -> bytes:
        """What a request under a grant is known by, 32 bytes; of an empty request: the grant itself."""
        return mac(self.requests, canonical(((TAG_RECORD, grant.encode()), (TAG_REQUEST, request))))

    def seal(self, approval: str, request: bytes) -> bytes:
        """What is shown of a request, bound to its approval."""
        return seal(self.sealing, self._context(approval), request)

    def open(self, approval: str, sealed: bytes) -> bytes:
        """The same in the clear.

        Raises:
            IntegrityError: `integrity_failed`: altered, or another approval's.
        """
        try:
            return open_message(self.sealing, self._context(approval), sealed)
        except IntegrityError:
            raise IntegrityError("integrity_failed") from None

    def _context(self, approval: str) -> EncryptionContext:
        return EncryptionContext(Use.APPROVAL, CELL, self.region, record=approval.encode())


def approval_keys(keyring: Keyring) -> ApprovalKeys:
    """The cell's.

    Raises:
        Unavailable: `key_unavailable`: there is none before the first grant that needs an approval.
    """
    key = keyring.single(CELL, CELL, Purpose.APPROVALS)
    sealing = SealingKey(KeyId(NIL), 1, expand(key, Label.APPROVAL_SEALING))
    return ApprovalKeys(keyring.region, sealing, expand(key, Label.APPROVAL_REQUESTS))
