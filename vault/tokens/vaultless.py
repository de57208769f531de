"""Vaultless tokens: FF1 of the value under a field key, nothing stored.

The token looks like the value and turns back into it with the same key, tenant, field and template.
There is no integrity: a token made up, or presented with another key version, turns into a plausible
value and nobody can tell. See docs/explanation/fpe-limits.md.
"""

from __future__ import annotations

from typing import Final

from vault.context import TAG_FIELD, TAG_KEPT, TAG_TEMPLATE, TAG_TENANT, canonical
from vault.crypto.ff1 import FF1
from vault.formats.template import MAX_SPEC, Shape, Template, require_domain
from vault.secret import Secret

# With these and MAX_SPEC, MAX_KEPT_BYTES the widest tweak is
# 1 + 4 * 5 + 63 + 64 + (64 + 2) + 33 = 247 bytes, under FF1's bound of 256.
MAX_TENANT: Final = 63  # bytes
MAX_FIELD: Final = 64  # bytes


class Vaultless:
    """Tokenizes the values of one field under one key version. Safe to share between threads.

    Args:
        key: the field key, 16, 24 or 32 bytes.
        tenant: the tenant's name, at most 63 bytes of UTF-8.
        field: the field's name, at most 64 bytes of UTF-8.
        template: what values of the field look like; one that FF1 can reverse.

    Raises:
        ValueError: a name is empty or too long, the template is not for FF1, or the key is not for AES.
    """

    __slots__ = ("_bare", "_ff1", "_head", "_template")

    def __init__(self, key: Secret, tenant: str, field: str, template: Template) -> None:
        if not template.reversible_by_ff1:
            raise ValueError("the template is not one that FF1 can reverse")
        if not 0 < len(tenant.encode()) <= MAX_TENANT or not 0 < len(field.encode()) <= MAX_FIELD:
            raise ValueError("a tenant has 1 to 63 bytes, a field 1 to 64")
        if len(template.spec) > MAX_SPEC:
            raise ValueError("a template's spelling has at most 64 characters")
        self._template = template
        self._ff1 = FF1(key, template.domain().radix)
        self._head = canonical(
            (
                (TAG_TENANT, tenant.encode()),
                (TAG_FIELD, field.encode()),
                (TAG_TEMPLATE, template.spec.encode() + template.version.to_bytes(2, "big")),
            ),
        )
        self._bare = self._head + _kept_part(b"")

    def tokenize(self, value: str) -> str:
        """The token of a value: the same for the same value, always.

        Raises:
            ValueRefused: what the template refuses; `domain_too_small`, there are fewer than 1,000,000
                values of this shape.
        """
        shape = self._template.parse(value)
        require_domain(shape)
        text = self._ff1.encrypt_str(shape.text, shape.alphabet.characters, self._tweak(shape))
        return self._template.render_token(shape, text)

    def detokenize(self, token: str) -> str:
        """The value of a token; a plausible one if the token is not of this field and key version.

        Raises:
            ValueRefused: as `tokenize`, by the template's rule for tokens.
        """
        shape = self._template.parse_token(token)
        require_domain(shape)
        text = self._ff1.decrypt_str(shape.text, shape.alphabet.characters, self._tweak(shape))
        return self._template.render_value(shape, text)

    def _tweak(self, shape: Shape) -> bytes:
        """The canonical encoding of tenant, field, template and kept characters; at most 256 bytes.

        Of what a caller sends only characters that the token shows anyway get in, by position.
        """
        kept = shape.kept_bytes()
        return self._head + _kept_part(kept) if kept else self._bare


def _kept_part(kept: bytes) -> bytes:
    """TAG_KEPT as it continues `_head`: its tag is the last, so the encoding is one after the other."""
    return canonical(((TAG_KEPT, kept),))[1:]
