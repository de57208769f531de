"""The blind index of deterministic tokens: finds the token of a value without holding the value.

An entry is HMAC-SHA-256 of the normalised value under the field's index key, cut to one AES block, under
the index layer of the epoch. Without the layer an old backup would be plaintext to whoever gets the
index key: a billion values can be tried in minutes. Spec: docs/spec/tokens.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from vault.context import TAG_FIELD, TAG_SUBJECT, TAG_TENANT, TAG_VALUE, canonical
from vault.crypto.block import BlockCipher
from vault.crypto.mac import reference
from vault.secret import Secret


@dataclass(frozen=True, slots=True)
class BlindIndex:
    """Makes the index entries of one field.

    Attributes:
        key: the field's index key, 32 bytes.
        layer: the epoch's index layer.
    """

    key: Secret
    layer: BlockCipher
    tenant: str
    field: str

    def entry(self, value: str, subject: bytes | None) -> bytes:
        """The 16-byte entry of a value in its normal form.

        Args:
            subject: the row of the person inside whose values alone it is looked for; None for the field's.
        """
        parts = (
            (TAG_TENANT, self.tenant.encode()),
            (TAG_FIELD, self.field.encode()),
            (TAG_SUBJECT, subject),
            (TAG_VALUE, value.encode()),
        )
        return self.layer.encrypt(reference(self.key, canonical(parts)))
