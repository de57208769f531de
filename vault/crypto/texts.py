"""Many texts in one buffer of bytes, where Arrow arrays, JSON arrays and files have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

ASCII_END: Final = 0x80
TOGETHER: Final = 65_536  # texts that are brought together at once; bounds the memory this takes


WIDTHS: Final = (16, 32, 64, 128, 256)  # of matrices that texts of several lengths stand in together
CELLS: Final = 1 << 19  # of such a matrix; so that what is made of it stays in a cache


class Texts(NamedTuple):
    """Texts of bytes, each with its place in one buffer. They may not overlap.

    Attributes:
        data: the buffer, one byte an element; for `padded` also one code point.
        starts: where each text begins.
        lengths: how many bytes each has.
    """

    data: NDArray[Any]
    starts: Places
    lengths: Places

    @classmethod
    def on_grid(cls, data: Bytes, first: int, width: int, step: int, count: int) -> Texts:
        """`count` texts of `width` bytes, the first at `first`, one every `step` bytes."""
        return cls(data, np.arange(first, first + count * step, step, dtype=np.int64), np.full(count, width))

    def view(self, buffer: Bytes, at: Places | slice, width: int) -> Bytes | None:
        """Some texts of one length as a matrix, a text a row, in place; None where they lie irregularly.

        Args:
            buffer: `data`, or one like it.
        """
        starts = self.starts[at]
        step = _step(starts)
        return as_strided(buffer[starts[0] :], (len(starts), width), (step, 1)) if step else None

    def rows(self, at: Places | slice, width: int) -> Bytes:
        """Some texts of one length as a matrix: a view if that can be, else a copy."""
        view = self.view(self.data, at, width)
        return _copied(self.data, self.starts[at], width) if view is None else view

    def padded(self, at: Places, width: int) -> NDArray[Any]:
        """Some texts of at most `width` characters as a matrix, a text a row, zeros behind it. A copy."""
        starts, data = self.starts[at], self.data
        if len(starts) and int(starts.max()) + width > len(data):
            data = np.concatenate((data, np.zeros(width, data.dtype)))
        rows = _copied(data, starts, width)
        rows *= np.arange(width) < self.lengths[at][:, None]
        return rows

    def put(self, buffer: Bytes, at: Places | slice, rows: Bytes) -> None:
        """Writes a matrix to the places of those texts in a buffer like `data`."""
        if rows.size:
            whole = np.ascontiguousarray(rows)
            _windows(buffer, rows.shape[1])[self.starts[at]] = whole.view(f"V{whole.strides[0]}").reshape(-1)

    def put_characters(self, buffer: Bytes, at: Places, rows: NDArray[Any]) -> None:
        """Writes the characters of a matrix that are not zeros to the places of those texts in a buffer."""
        written = rows != 0
        places = self.starts[at][:, None] + np.arange(rows.shape[1])
        buffer[places[written]] = rows[written]

    def by_length(self, at: Places | None = None) -> Iterator[tuple[int, Places | slice]]:
        """(length, which texts) of each length, at most `TOGETHER` texts at once unless all have one length.

        Args:
            at: only these; None for all.
        """
        lengths = self.lengths if at is None else self.lengths[at]
        if not len(lengths):
            return
        if (lengths == lengths[0]).all():
            yield int(lengths[0]), slice(None) if at is None else at
            return
        order = np.argsort(lengths, kind="stable")
        found, first = np.unique(lengths[order], return_index=True)
        for length, start, end in zip(found, first, [*first[1:], len(order)], strict=True):
            for begin in range(start, end, TOGETHER):
                some = order[begin : min(begin + TOGETHER, end)]
                yield int(length), some if at is None else at[some]

    def by_width(self) -> Iterator[tuple[int, Places]]:
        """(width, which texts) for `padded`, of texts that are not long: at most `CELLS` characters each."""
        lengths = self.lengths
        if len(lengths) and 0 < lengths[0] <= WIDTHS[-1] and (lengths == lengths[0]).all():
            buckets = [(int(lengths[0]), np.arange(len(lengths)))]
        else:
            fits = np.searchsorted(WIDTHS, lengths)
            buckets = [
                (width, np.flatnonzero((fits == place) & (lengths > 0))) for place, width in enumerate(WIDTHS)
            ]
        for width, at in buckets:
            step = max(1, CELLS // width)
            for begin in range(0, len(at), step):
                yield width, at[begin : begin + step]


def _copied(data: NDArray[Any], starts: Places, width: int) -> NDArray[Any]:
    """The elements from some places of a buffer on: (places, width)."""
    if not len(starts) or not width:
        return np.empty((len(starts), width), data.dtype)
    rows: NDArray[Any] = _windows(data, width)[starts].view(data.dtype).reshape(-1, width)
    return rows


def _windows(data: NDArray[Any], width: int) -> NDArray[Any]:
    """So many elements from each place of a buffer on, all in the same memory.

    Each is one element of no type, which numpy copies three times as fast as a row of a matrix.
    """
    step = data.itemsize
    return np.ndarray((len(data) - width + 1,), f"V{width * step}", data, 0, (step,))


def _step(starts: Places) -> int:
    """The distance between neighbours, if it is the same for all and upwards; else 0."""
    if len(starts) == 1:
        return 1
    if not len(starts):
        return 0
    step = int(starts[1] - starts[0])
    return step if step > 0 and bool((np.diff(starts) == step).all()) else 0
