"""Opaque vaulted tokens: `tok_` and the row's id under the field's row-id key. Spec: docs/spec/tokens.md.

Decoding gives the row id back, so no random index is needed and rows are inserted in time order. An
invented token decodes to an id that no row has; a token has exactly one spelling.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from vault.crypto.block import BlockCipher
from vault.errors import ValueRefused
from vault.identifiers import RowId

PREFIX: Final = "tok_"
_BODY: Final = re.compile(r"[a-z2-7]{26}")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, section 6, in lower case
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_HALVES: Final = struct.Struct(">QQ").iter_unpack
_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # as `int` reads base 32
_FILLED_BITS: Final = 2  # behind the 128 bits of a block in 26 characters of 5; zero
_IN_COLUMNS: Final = 32  # from so many tokens on, columns cost less than one after the other
_CHARACTERS: Final = np.frombuffer(_ALPHABET.encode("ascii"), np.uint8)
_WEIGHTS: Final = np.array([16, 8, 4, 2, 1], np.uint8)  # of a character's bits
_LINE: Final = np.frombuffer(f"{PREFIX}{'a' * 26}\n".encode("ascii"), np.uint8)


def encode(cipher: BlockCipher, row: RowId) -> str:
    """The token of a row: 30 characters."""
    return encode_many(cipher, (row,))[0]


def encode_many(cipher: BlockCipher, rows: Sequence[RowId]) -> list[str]:
    """The tokens of rows, in order."""
    images = cipher.encrypt_many(rows)
    if len(rows) >= _IN_COLUMNS:
        return _in_columns(images)
    pairs = _PAIRS
    return [
        f"{PREFIX}{pairs[high >> 54]}{pairs[high >> 44 & 1023]}{pairs[high >> 34 & 1023]}"
        f"{pairs[high >> 24 & 1023]}{pairs[high >> 14 & 1023]}{pairs[high >> 4 & 1023]}"
        f"{pairs[(high & 15) << 6 | low >> 58]}{pairs[low >> 48 & 1023]}{pairs[low >> 38 & 1023]}"
        f"{pairs[low >> 28 & 1023]}{pairs[low >> 18 & 1023]}{pairs[low >> 8 & 1023]}"
        f"{pairs[low << _FILLED_BITS & 1023]}"
        for high, low in _HALVES(images)
    ]


def _in_columns(images: bytes) -> list[str]:
    """The same of blocks one behind the other, as lines of one text."""
    bits = np.unpackbits(np.frombuffer(images, np.uint8).reshape(-1, 16), axis=1)
    filled = np.pad(bits, ((0, 0), (0, _FILLED_BITS)))
    lines = np.tile(_LINE, (len(bits), 1))
    lines[:, len(PREFIX) : -1] = _CHARACTERS[filled.reshape(len(bits), -1, 5) @ _WEIGHTS]
    return str(lines.data, "ascii").split("\n")[:-1]


def decode(cipher: BlockCipher, token: str) -> RowId:
    """The row that a token names, if it names one.

    Raises:
        ValueRefused: `token_unknown`: not the one spelling of any token.
    """
    body = token.removeprefix(PREFIX)
    if body == token or _BODY.fullmatch(body) is None:
        raise ValueRefused("token_unknown")
    number = int(body.translate(_DIGITS), 32)
    if number & (1 << _FILLED_BITS) - 1:
        raise ValueRefused("token_unknown")
    return RowId(cipher.decrypt((number >> _FILLED_BITS).to_bytes(16, "big")))
