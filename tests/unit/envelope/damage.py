"""Every small damage that bytes can take."""

from __future__ import annotations

from collections.abc import Iterator


def flips(raw: bytes) -> Iterator[bytes]:
    """Each single bit flipped."""
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def truncations(raw: bytes) -> Iterator[bytes]:
    """Each shorter beginning, the empty one included."""
    return (raw[:size] for size in range(len(raw)))


def damaged(raw: bytes) -> Iterator[bytes]:
    """Every flip, every truncation, and one byte too many at either end."""
    yield from flips(raw)
    yield from truncations(raw)
    yield raw + b"\0"
    yield b"\0" + raw
