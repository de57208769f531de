"""The error tree: every refusal has a stable code, a status, an exit class and a next step.

Codes stand in `vault.codes`.

No error holds a plaintext, a token, a candidate, a key or SQL, and none echoes what the caller sent.
Facts are numbers, flags and names that are ours (codes, field names the schema knows, positions).
"""

from __future__ import annotations

import secrets
from typing import Final

from vault.codes import CODES, Code, Exit

Fact = int | bool | str
"""What an error may state: numbers, flags and our own names; never caller input."""
Facts = Fact | list[dict[str, Fact]] | list[str] | dict[str, Fact]


class CoatcheckError(Exception):
    """Root of the tree: a code of `CODES` and the facts that go with it.

    Args:
        code: a key of `CODES`.
        facts: numbers, flags and names that are ours; never what a caller sent.

    Raises:
        LookupError: not a code; here rather than later, when the error is shown.
    """

    def __init__(self, code: str, /, **facts: Facts) -> None:
        if code not in CODES:
            raise LookupError("not a code of CODES")
        self.code = code
        self.facts = facts
        super().__init__(code)

    @property
    def row(self) -> Code:
        """The code's row: status, exit class, sentence, retry, hint."""
        return CODES[self.code]

    @property
    def agent_hint(self) -> str:
        """What a model may be told: the code and the next step. Fixed text, so none of the facts is in it."""
        return f"{self.code}: {self.row.hint or self.row.sentence}"

    def __str__(self) -> str:
        return f"{self.code}: {self.row.sentence}"


class BadInput(CoatcheckError):
    """What was sent cannot be taken (exit class 3)."""


class ValueRefused(BadInput):
    """One value or token cannot be taken: the code of an item, with its position at most."""


class Unauthenticated(CoatcheckError):
    """Nobody we know (exit class 4)."""


class Denied(CoatcheckError):
    """Known, and not allowed (exit class 5)."""


class Unknown(CoatcheckError):
    """Not here, or not for this caller: the two look alike (exit class 6)."""


class Conflict(CoatcheckError):
    """True a moment ago, or held by another (exit class 7)."""


class Unavailable(CoatcheckError):
    """Not now; nothing was done (exit class 9)."""


class IntegrityError(CoatcheckError):
    """Bytes are not what was written (exit class 10)."""


class Misconfigured(CoatcheckError):
    """The host's files or settings are not usable (exit class 11)."""


class Internal(CoatcheckError):
    """A defect of ours (exit class 70)."""


class Stale(Exception):
    """A command assumed what is no longer so; its verb prepares again. No effect, no event."""


MAX_TRIES: Final = 8
"""How often a verb is made while its commands come back stale; then it is `too_busy`."""


def pause_after(tries: int) -> float:
    """Seconds to wait before a stale verb is made again, after so many tries.

    None after the first: most that was stale is fresh now. Then a time of chance with a bound that doubles,
    so that requests which are in each other's way do not meet again.
    """
    return 0.0 if tries < 2 else secrets.randbelow(5_000 << tries) / 1_000_000


FAMILIES: Final[dict[Exit, type[CoatcheckError]]] = {
    Exit.USAGE: BadInput,
    Exit.BAD_INPUT: BadInput,
    Exit.NOT_AUTHENTICATED: Unauthenticated,
    Exit.DENIED: Denied,
    Exit.UNKNOWN: Unknown,
    Exit.CONFLICT: Conflict,
    Exit.UNAVAILABLE: Unavailable,
    Exit.INTEGRITY: IntegrityError,
    Exit.CONFIG: Misconfigured,
    Exit.INTERNAL: Internal,
}


def error(code: str, /, **facts: Facts) -> CoatcheckError:
    """The error of the family that `code` belongs to.

    Raises:
        LookupError: not a code.
    """
    row = CODES.get(code)
    if row is None:
        raise LookupError("not a code of CODES")
    return FAMILIES[row.exit](code, **facts)
