"""One thing that `doctor` has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OK: Final = "ok"
RISKY: Final = "risky"
WRONG: Final = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `doctor`.

    Attributes:
        result: `ok`, `risky` or `wrong`.
        remedy: what to do about it; empty where nothing is to be done.
        code: of the error that was found, where there is one.
    """

    check: str
    result: str
    detail: str
    remedy: str = ""
    code: str = ""
