"""What the reference says of a setting."""

from __future__ import annotations

from msgspec import Meta


def means(description: str, lowest: int | None = None, highest: int | None = None) -> Meta:
    """What the reference says of a setting, and its bounds."""
    return Meta(description=description, ge=lowest, le=highest)
