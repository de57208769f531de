"""Optional dependencies: imported when something needs them, with an error that says what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vault.errors import Misconfigured


def load(module: str, extra: str) -> Any:
    """A module of an optional dependency.

    Args:
        extra: what brings it: `pip install 'coatcheck[EXTRA]'`.

    Raises:
        Misconfigured: `extra_missing`, naming the extra.
    """
    try:
        return import_module(module)
    except ImportError as problem:
        if (problem.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and something that it needs is not
        raise Misconfigured("extra_missing", extra=extra) from None
