"""Lists of text as texts in one buffer, a line each, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from vault.crypto.texts import Bytes, Places, Texts
from vault.formats.column import CharRows

_END: Final = "\n"  # byte 10


@dataclass(frozen=True, slots=True, repr=False)
class Lines:
    """The ASCII texts of a list.

    Attributes:
        texts: a line each, without its end.
        count: how many the list has in all.
        places: which of the list they are; None: all.
        others: those that are not ASCII.
    """

    texts: Texts
    count: int
    places: list[int] | None
    others: list[int]

    @classmethod
    def of(cls, given: Sequence[str | None]) -> Lines:
        """Those of a list; None is none of them."""
        places: list[int] | None = None
        others: list[int] = []
        values = cast("Sequence[str]", given)
        try:
            text = _END.join(values)  # quicker than looking for None
        except TypeError:
            text = ""
        if not text or not text.isascii():
            places = [place for place, one in enumerate(given) if one is not None and one.isascii()]
            others = [place for place, one in enumerate(given) if one is not None and not one.isascii()]
            values = [one for one in given if one is not None and one.isascii()]
            text = _END.join(values)
        return cls(_texts(values, text), len(given), places, others)

    def like(self) -> Bytes:
        """A buffer for lines of the same lengths."""
        out = np.zeros(len(self.texts.data), np.uint8)
        out[self.texts.starts + self.texts.lengths] = ord(_END)
        return out

    def strings(self, out: Bytes) -> list[str | None]:
        """The list again, with the lines of a buffer in their places, and None in all others."""
        lines: list[str | None] = [*str(out[:-1].data, "ascii").split(_END)] if len(out) else []
        if self.places is None:
            return lines
        made: list[str | None] = [None] * self.count
        for place, line in zip(self.places, lines, strict=True):
            made[place] = line
        return made

    def in_list(self, lines: Places) -> list[int]:
        """Where in the list some lines stand."""
        which = lines.tolist()
        return which if self.places is None else [self.places[line] for line in which]


def wide_texts(values: Sequence[str]) -> Texts:
    """The code points of texts."""
    data = np.frombuffer("".join(values).encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    return Texts(data, np.cumsum(lengths) - lengths, lengths)


def strings_of(rows: CharRows) -> list[str]:
    """The texts that rows of characters spell, none of which is 1; zeros are no characters."""
    ended = np.empty((len(rows), rows.shape[1] + 1), rows.dtype)
    ended[:, :-1] = rows
    ended[:, -1] = 1
    flat = ended[ended != 0]
    if flat.itemsize == 1:
        text = str(flat.data, "latin-1")
    else:
        text = flat.astype("<u4", copy=False).tobytes().decode("utf-32-le", "surrogatepass")
    return text.split("\1")[:-1]


def _texts(values: Sequence[str], text: str) -> Texts:
    """The lines of a text that values were joined to."""
    count = len(values)
    if not count:
        return Texts.on_grid(np.zeros(0, np.uint8), 0, 0, 1, 0)
    data = np.frombuffer((text + _END).encode("ascii"), np.uint8)
    step = len(values[0]) + 1
    # Where no value has a line's end in it, the line's ends are where values end.
    if len(data) == count * step and text.count(_END) == count - 1 and (data[step - 1 :: step] == 10).all():
        return Texts.on_grid(data, 0, step - 1, step, count)
    lengths = np.fromiter(map(len, values), np.int64, count)
    return Texts(data, np.cumsum(lengths + 1) - lengths - 1, lengths)
