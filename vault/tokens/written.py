"""Texts as they stand in a JSON array, tokenized where they lie: no string of Python is made of any.

Source: RFC 8259, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from vault.crypto.texts import ASCII_END, Bytes, Texts

_QUOTE: Final = ord('"')
_COMMA: Final = ord(",")
_ESCAPE: Final = b"\\"
_SPACE: Final = 0x20  # what is below has to be escaped


@dataclass(frozen=True, slots=True, repr=False)
class Written:
    """The elements of an array whose texts are printable ASCII without escapes, and nothing else.

    Attributes:
        data: what stands between the brackets.
        texts: the elements, in order, without their quotes; one at least.
    """

    data: Bytes
    texts: Texts

    @classmethod
    def of(cls, inside: bytes, most: int) -> Written | None:
        """What stands between an array's brackets; None if it is written in another way, or wrong.

        Args:
            most: elements; more are told of by whoever decodes them, before they cost memory.
        """
        data = np.frombuffer(inside, np.uint8)
        if not _is_plain(data, inside) or np.count_nonzero(data == _QUOTE) > 2 * most:
            return None
        texts = _on_grid(data, inside) or _between_quotes(data)
        return None if texts is None else cls(data, texts)

    def __len__(self) -> int:
        """How many elements there are."""
        return len(self.texts.starts)

    def like(self) -> Written:
        """The same array in a buffer of its own, to be written into."""
        return Written(self.data.copy(), self.texts)

    def is_sound(self) -> bool:
        """Whether the elements, written anew, still need no escape."""
        quotes = 2 * len(self)
        return _is_plain(self.data, self.data.tobytes()) and np.count_nonzero(self.data == _QUOTE) == quotes

    def array(self) -> msgspec.Raw:
        """The array as JSON."""
        return msgspec.Raw(b"[" + self.data.tobytes() + b"]")

    def packed(self) -> msgspec.Raw:
        """The array as a list of its strings is encoded: without spaces. What is asked for is known by it."""
        spaces = len(self.data) - int(self.texts.lengths.sum()) - 3 * len(self) + 1
        return msgspec.Raw(msgspec.json.encode(self.strings())) if spaces else self.array()

    def strings(self) -> list[str | None]:
        """The elements."""
        strings: list[str | None] = msgspec.json.decode(self.array())
        return strings


def _is_plain(data: Bytes, text: bytes) -> bool:
    """Whether all bytes are printable ASCII and none is an escape."""
    if not len(data) or data.min() < _SPACE or data.max() >= ASCII_END:
        return False
    return _ESCAPE not in text


def _on_grid(data: Bytes, inside: bytes) -> Texts | None:
    """Elements of one length, each beginning as far from the last: the usual way."""
    end = inside.find(b'"', 1)
    if data[0] != _QUOTE or end < 1:
        return None
    first = inside.find(b'"', end + 1)
    step = first if first > 0 else end + 1
    count, left = divmod(len(data) + step - end - 1, step)
    if left or np.count_nonzero(data == _QUOTE) != 2 * count:
        return None
    gap = inside[end + 1 : step]
    if gap.strip(b" ") != (b"," if count > 1 else b""):
        return None
    for at in range(end, step):
        if (data[at::step] != data[at]).any():
            return None
    if (data[0::step] != _QUOTE).any():
        return None
    return Texts.on_grid(data, 1, end - 1, step, count)


def _between_quotes(data: Bytes) -> Texts | None:
    """Elements of any lengths, with a comma between two, or a comma and a space."""
    quotes = np.flatnonzero(data == _QUOTE)
    if not len(quotes) or len(quotes) % 2 or quotes[0] != 0 or quotes[-1] != len(data) - 1:
        return None
    starts, ends = quotes[::2] + 1, quotes[1::2]
    gaps = starts[1:] - ends[:-1] - 2
    if len(gaps):
        gap = int(gaps[0])
        if gap not in (1, 2) or (gaps != gap).any() or (data[ends[:-1] + 1] != _COMMA).any():
            return None
        if gap == 2 and (data[ends[:-1] + 2] != ord(" ")).any():
            return None
    return Texts(data, starts, ends - starts)
