"""What the processes of a service tell each other: a slot for each in memory that all of them have.

Made before they are forked. A process writes into its own slot only, by turns into one of two halves, so
that one that is killed while it writes leaves what it wrote before.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import Final

HALF_BYTES: Final = 128 * 1024
_HEAD: Final = struct.Struct("<QII")  # how often the slot was written, length, CRC-32


class Board:
    """Slots, numbered from 0.

    Args:
        slots: how many.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._memory = mmap.mmap(-1, 2 * slots * HALF_BYTES)

    def write(self, slot: int, text: bytes) -> None:
        """Puts a text into a slot; one that is too long is left out."""
        if len(text) > HALF_BYTES - _HEAD.size:
            return
        turn = self._newest(slot)[0] + 1
        at = (2 * slot + turn % 2) * HALF_BYTES
        start = at + _HEAD.size
        self._memory[start : start + len(text)] = text
        self._memory[at:start] = _HEAD.pack(turn, len(text), zlib.crc32(text, turn & 0xFFFFFFFF))

    def read(self, slot: int) -> bytes:
        """What was put into a slot last; empty if nothing was."""
        return self._newest(slot)[1]

    def _newest(self, slot: int) -> tuple[int, bytes]:
        found = (0, b"")
        for half in (0, 1):
            at = (2 * slot + half) * HALF_BYTES
            start = at + _HEAD.size
            turn, length, check = _HEAD.unpack(self._memory[at:start])
            text = self._memory[start : start + min(length, HALF_BYTES)]
            if turn > found[0] and zlib.crc32(text, turn & 0xFFFFFFFF) == check:
                found = (turn, text)
        return found
