"""Whether a key store does all that a cell will ask of it, tried on a root key that nothing lies under."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Final, NamedTuple

from vault.clock import format_time
from vault.crypto.randomness import new_key
from vault.errors import CoatcheckError, IntegrityError, Misconfigured, Unavailable
from vault.keyring.epoch import stored_epochs
from vault.kms.provider import Provider
from vault.wiring import Wiring

FIRST: Final = 1 << 31  # versions of trials; epochs count from 1, one a turn
_CONTEXT: Final = b"trial"


class Tried(NamedTuple):
    """A step that went well.

    Attributes:
        check: what was tried.
        detail: what came of it.
    """

    check: str
    detail: str


def check_key_store(wiring: Wiring, region: str, uri: str | None, *, tried: bool) -> Iterator[Tried]:
    """Looks at a cell's key store, or at one that a URI names, and tries it if that is asked for.

    Raises:
        CoatcheckError: what is in the way.
    """
    version = newest_epoch(wiring, region) if uri is None else None
    provider = wiring.provider(region, uri)
    try:
        yield from look(provider, version or 1, needed=version is not None)
        if tried:
            yield from trial(provider)
    finally:
        provider.close()


def newest_epoch(wiring: Wiring, region: str) -> int | None:
    """The newest epoch of a cell; None if there is no cell yet: a key store is looked at before."""
    try:
        with wiring.reader(region) as store:
            return max((row.number for row in stored_epochs(store)), default=None)
    except Misconfigured as problem:
        if problem.code != "not_initialised":
            raise
        return None


def look(provider: Provider, version: int, *, needed: bool) -> Iterator[Tried]:
    """Reaches a key store, signs in, and asks for a root version. Changes nothing.

    Args:
        needed: a cell lies under that version; else there need not be one yet.

    Raises:
        CoatcheckError: it does not serve, or the settings cannot work.
    """
    try:
        provider.probe(version)
    except Unavailable as away:
        if needed or away.facts.get("cause") != "missing":
            raise
        yield Tried("reached", "there is no root key yet")
    else:
        yield Tried("reached", f"root version {version} can be used")
    yield Tried("destroying", provider.destroy_means)


def trial(provider: Provider) -> Iterator[Tried]:
    """Makes a root version, wraps and opens with it, and destroys it.

    Raises:
        CoatcheckError: a step is refused or fails. The root version is destroyed, if that can be.
    """
    version = FIRST + secrets.randbelow(FIRST)
    try:
        provider.create_root(version)
        yield Tried("make a root key", f"version {version}")
        half = new_key()
        wrapped = provider.wrap(version, half, _CONTEXT)
        if not provider.unwrap(version, wrapped, _CONTEXT).matches(half):
            raise IntegrityError("integrity_failed")
        yield Tried("wrap and open", "what it wraps it opens again")
        _bound(provider, version, wrapped)
        yield Tried("bind the context", "it opens in no other context")
    except BaseException:
        _forget(provider, version)
        raise
    receipt = provider.destroy_root(version)
    final = "at once" if receipt.final_at is None else f"final at {format_time(receipt.final_at)}"
    yield Tried("destroy it", f"{receipt.what}, {final}")
    try:
        provider.unwrap(version, wrapped, _CONTEXT)
    except Unavailable as away:
        if away.facts.get("cause") not in ("missing", "pending_deletion", "disabled"):
            raise
        yield Tried("open no more", f"refused: {away.facts['cause']}")
    else:
        raise IntegrityError("integrity_failed")


def _bound(provider: Provider, version: int, wrapped: bytes) -> None:
    """Returns if what is wrapped does not open in another context.

    Raises:
        IntegrityError: `integrity_failed`: it does.
    """
    try:
        provider.unwrap(version, wrapped, _CONTEXT + b"2")
    except IntegrityError:
        return
    raise IntegrityError("integrity_failed")


def _forget(provider: Provider, version: int) -> None:
    """Destroys what a trial that failed has made; what cannot be is told by the failure already."""
    with contextlib.suppress(CoatcheckError):
        provider.destroy_root(version)
