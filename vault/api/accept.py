"""Which form of an answer a client wants, by its Accept header (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from typing import Final

# In the order in which they are chosen where a client likes several as well: the first is the default.
_TYPES: Final = {"json": b"application/json", "csv": b"text/csv", "html": b"text/html"}
_MAX_RANGES: Final = 32
_WEIGHT: Final = re.compile(rb"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")  # RFC 9110, 12.4.2


def wanted(accept: bytes) -> str:
    """`json`, `csv` or `html`. A header that names none of them, or cannot be read, is as none (12.5.1)."""
    named: dict[bytes, float] = {}
    for part in accept.lower().split(b",")[:_MAX_RANGES]:
        name, *parameters = (piece.strip(b" \t") for piece in part.split(b";"))
        named[name] = _weight(parameters)
    liked = {form: _liking(type_, named) for form, type_ in _TYPES.items()}
    best = max(liked.values())
    return next(form for form, liking in liked.items() if liking == best)


def _liking(type_: bytes, named: dict[bytes, float]) -> float:
    """The weight of the range that names a type most closely; 0: none does."""
    group, _, _ = type_.partition(b"/")
    for name in (type_, group + b"/*", b"*/*"):
        if name in named:
            return named[name]
    return 0.0


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            return float(value) if _WEIGHT.fullmatch(value) else 0.0
    return 1.0
