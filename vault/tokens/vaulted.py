"""Opaque vaulted tokens: `tok_` and the row's id under the field's row-id key. Spec: docs/spec/tokens.md.

Decoding gives the row id back, so no random index is needed and rows are inserted in time order. An
invented token decodes to an id that no row has; a token has exactly one spelling.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from vault.crypto.block import BlockCipher
from vault.errors import ValueRefused
from vault.identifiers import RowId

PREFIX: Final = "tok_"
_BODY: Final = re.compile(r"[a-z2-7]{26}")


def encode(cipher: BlockCipher, row: RowId) -> str:
    """The token of a row: 30 characters."""
    return PREFIX + base64.b32encode(cipher.encrypt(row)).decode().rstrip("=").lower()


def decode(cipher: BlockCipher, token: str) -> RowId:
    """The row that a token names, if it names one.

    Raises:
        ValueRefused: `token_unknown`: not the one spelling of any token.
    """
    body = token.removeprefix(PREFIX)
    if body == token or _BODY.fullmatch(body) is None:
        raise ValueRefused("token_unknown")
    try:
        block = base64.b32decode(body.upper() + "======")
    except binascii.Error:
        raise ValueRefused("token_unknown") from None
    row = RowId(cipher.decrypt(block))
    if encode(cipher, row) != token:
        raise ValueRefused("token_unknown")
    return row
