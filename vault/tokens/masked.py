"""The keyed hash that masks show: equal values of a field have equal ones, nobody else has any.

A plain hash would be plaintext to whoever tries all values. Spec: docs/spec/tokens.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from vault.context import TAG_FIELD, TAG_TENANT, TAG_VALUE, canonical
from vault.crypto.mac import mac
from vault.secret import Secret


@dataclass(frozen=True, slots=True)
class MaskHash:
    """Hashes values of one field.

    Attributes:
        key: the field's mask key, 32 bytes.
    """

    key: Secret
    tenant: str
    field: str

    def of(self, value: str) -> str:
        """64 hexadecimal digits.

        Args:
            value: in the template's normal form.
        """
        parts = (
            (TAG_TENANT, self.tenant.encode()),
            (TAG_FIELD, self.field.encode()),
            (TAG_VALUE, value.encode()),
        )
        return mac(self.key, canonical(parts)).hex()
