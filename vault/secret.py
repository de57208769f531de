"""A secret is a type with one door.

Everything Python does to show, copy, compare or serialise an object is refused; `expose()` is called
only in `crypto/` and `kms/` (a rule of tests/rules). Wiping is best effort: CPython may have copied.
"""

from __future__ import annotations

import hmac
from typing import Any, NoReturn, SupportsIndex

_HIDDEN = "<Secret>"


class Secret:
    """Bytes that must not reach a log, an error, a repr, a metric or a trace.

    Args:
        value: the bytes; copied into a buffer that `wipe` overwrites.

    Raises:
        TypeError: not bytes. A number would otherwise become that many zero bytes.
    """

    __slots__ = ("__buffer", "__wiped")

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise TypeError("a Secret holds bytes")
        self.__buffer = bytearray(value)
        self.__wiped = False

    def expose(self) -> bytes:
        """The bytes themselves. Use them in an expression; bind them to no name.

        Raises:
            ValueError: wiped, perhaps by another thread; an empty or zero key is never handed out.
        """
        try:
            return bytes(self.__buffer)  # no local name, which a traceback with locals would print
        finally:
            if self.__wiped:  # looked at after the copy, as `wipe` sets it before it overwrites
                raise ValueError("the Secret is wiped")

    def matches(self, other: Secret) -> bool:
        """Whether both hold the same bytes, in constant time for equal lengths.

        Raises:
            ValueError: either is wiped.
        """
        return hmac.compare_digest(self.expose(), other.expose())

    def wipe(self) -> None:
        """Overwrites and empties the buffer. Best effort: earlier copies are out of reach."""
        self.__wiped = True
        self.__buffer[:] = bytes(len(self.__buffer))
        self.__buffer.clear()

    def __del__(self) -> None:
        # Runs when the last reference goes, so a key dropped from a cache is wiped once nobody uses it.
        buffer = getattr(self, "_Secret__buffer", None)
        if buffer is not None:
            buffer[:] = bytes(len(buffer))

    def __len__(self) -> int:
        return len(self.__buffer)

    def __bool__(self) -> bool:
        return bool(self.__buffer)

    def __repr__(self) -> str:
        return _HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _HIDDEN

    def __bytes__(self) -> NoReturn:
        raise TypeError("a Secret does not turn into bytes")

    def __iter__(self) -> NoReturn:
        raise TypeError("a Secret is not iterable")

    def __getitem__(self, key: Any) -> NoReturn:
        raise TypeError("a Secret is not indexable")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("compare Secrets with matches()")

    def __hash__(self) -> NoReturn:
        raise TypeError("a Secret is not hashable")

    def __copy__(self) -> NoReturn:
        raise TypeError("a Secret is not copied")

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        raise TypeError("a Secret is not copied")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is not pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret has no state to show")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Secret is final")
