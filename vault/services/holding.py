"""Whether a legal hold stands in the way of removing something. Pure: decided on the holds in force."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vault.errors import Conflict
from vault.store.forgetting import HoldRow

SUBJECT: Final = "subject"
CLASS: Final = "class"
TENANT: Final = "tenant"


def holding(holds: Iterable[HoldRow], subject: bytes | None, classes: Iterable[str]) -> list[str]:
    """The holds in force that keep a person's values, the oldest first.

    Args:
        holds: all that are in force in the tenant.
        subject: the person's row; None: nobody is known.
        classes: the retention classes that values of the person are kept under.
    """
    kept = set(classes)
    return [
        hold.id
        for hold in holds
        if hold.kind == TENANT
        or (hold.kind == SUBJECT and subject is not None and hold.subject == subject)
        or (hold.kind == CLASS and hold.name in kept)
    ]


def check_holds(holds: Iterable[HoldRow], subject: bytes | None, classes: Iterable[str]) -> None:
    """Returns if nothing keeps a person's values.

    Raises:
        Conflict: `hold_active`, with the holds.
    """
    found = holding(holds, subject, classes)
    if found:
        raise Conflict("hold_active", held_by=found)
