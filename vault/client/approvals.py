"""What a program is told of an approval: that its use waits for one, and what became of it."""

from __future__ import annotations

from typing import Any, Final

from vault.client.results import Result
from vault.errors import Denied

PENDING: Final = "pending"
APPROVED: Final = "approved"
GRANT_APPROVED: Final = "used"  # of a grant: it is active from then on


class ApprovalRequired(Denied):
    """`approval_required`: a person must approve this use, or the grant, before it is asked again.

    Attributes:
        id: the approval's, `apr_...`; None where the service names none.
        uri: where a person approves it.
        needed: how many must; have: how many have.
    """

    @property
    def _approval(self) -> dict[str, Any]:
        told = self.facts.get("approval")
        return told if isinstance(told, dict) else {}

    @property
    def id(self) -> str | None:
        """The approval's id."""
        told = self._approval.get("id")
        return told if isinstance(told, str) else None

    @property
    def uri(self) -> str:
        """Where a person approves it."""
        return str(self._approval.get("uri", ""))

    @property
    def needed(self) -> int:
        """How many people must approve."""
        return int(self._approval.get("needed", 1))

    @property
    def have(self) -> int:
        """How many have."""
        return int(self._approval.get("have", 0))


class Awaited(Result, frozen=True):
    """How an approval stands.

    Attributes:
        state: `pending` (it was not waited for longer), `approved`, `denied`, `used`, `expired`, `void`.
    """

    id: str
    state: str
    needed: int
    have: int

    @property
    def granted(self) -> bool:
        """Whether the use may be asked for now, once; of a grant: whether it was approved."""
        return self.state in (APPROVED, GRANT_APPROVED)
