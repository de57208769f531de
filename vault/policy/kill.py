"""Kill switches: what stops grants at once, whoever holds them."""

from __future__ import annotations

from enum import StrEnum


class KillKind(StrEnum):
    """What a switch is set for."""

    AGENT = "agent"
    CONVERSATION = "conversation"
    HOLDER = "holder"  # a key, by its thumbprint
    PURPOSE = "purpose"
    TENANT = "tenant"
