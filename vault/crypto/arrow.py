"""Arrow arrays of strings as texts in a buffer, without a copy, and new arrays of the same lengths.

Source: Arrow columnar format 1.5, variable-size binary layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vault.crypto.texts import Bytes, Texts
from vault.errors import ValueRefused
from vault.extras import load

Rewrite = Callable[[Texts, Bytes], None]


def rewritten(array: Any, rewrite: Rewrite) -> Any:
    """An array whose texts have the same lengths, and other bytes.

    Args:
        array: pyarrow's `Array` or `ChunkedArray`, of `string` or `large_string`; nulls stay nulls.
        rewrite: gets the texts that are not null, and a buffer of zeros to write theirs into.

    Raises:
        ValueRefused: what `rewrite` raises, its `item` counting nulls too.
        ValueError: another array.
        Misconfigured: `extra_missing`, pyarrow is not installed.
    """
    pa = load("pyarrow", "arrow")
    if not isinstance(array, pa.ChunkedArray):
        return _chunk(array, rewrite, 0)
    made, before = [], 0
    for chunk in array.chunks:
        made.append(_chunk(chunk, rewrite, before))
        before += len(chunk)
    return pa.chunked_array(made, array.type)


class InPlace(NamedTuple):
    """An array as texts, and a buffer of zeros where others are written to the same places.

    Attributes:
        present: where in the array the texts are; None: all of it.
        finished: the new array, of what the buffer holds.
    """

    texts: Texts
    out: Bytes
    present: NDArray[np.int64] | None
    finished: Callable[[], Any]


def in_place(array: Any) -> InPlace:
    """The texts of one array that are not null.

    Raises:
        ValueError: another array.
        Misconfigured: `extra_missing`, pyarrow is not installed.
    """
    pa = load("pyarrow", "arrow")
    offsets, data = _buffers(pa, array)
    starts = offsets[:-1].astype(np.int64)
    lengths = np.diff(offsets).astype(np.int64)
    present = None
    if array.null_count:
        present = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))
        starts, lengths = starts[present], lengths[present]
    out = np.zeros_like(data)

    def finished() -> Any:
        validity = array.is_valid().buffers()[1] if array.null_count else None
        buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(out)]
        return pa.Array.from_buffers(array.type, len(array), buffers, array.null_count)

    return InPlace(Texts(data, starts, lengths), out, present, finished)


def is_strings(type_: Any) -> bool:
    """Whether arrays of a type are those that are taken here."""
    pa = load("pyarrow", "arrow")
    return type_ in (pa.string(), pa.large_string())


def _chunk(array: Any, rewrite: Rewrite, before: int) -> Any:
    """One array.

    Args:
        before: elements before it; a refusal's `item` counts them.
    """
    one = in_place(array)
    try:
        rewrite(one.texts, one.out)
    except ValueRefused as refusal:
        item = refusal.facts.get("item")
        if isinstance(item, int):
            refusal.facts["item"] = before + (item if one.present is None else int(one.present[item]))
        raise
    return one.finished()


def _buffers(pa: Any, array: Any) -> tuple[NDArray[Any], Bytes]:
    """Offsets from 0 on, and the bytes between the first and the last: views, but for the offsets of a slice.

    Raises:
        ValueError: not an array of strings.
    """
    if not isinstance(array, pa.Array) or not is_strings(array.type):
        raise ValueError("an Arrow array of strings: string or large_string")
    word = np.int32 if array.type == pa.string() else np.int64
    _, given, data = array.buffers()
    if given is None or not len(array):
        return np.zeros(len(array) + 1, word), np.zeros(0, np.uint8)
    offsets = np.frombuffer(given, word)[array.offset : array.offset + len(array) + 1]
    first = offsets[0]
    flat = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return offsets - first if first else offsets, flat[first : offsets[-1]]
