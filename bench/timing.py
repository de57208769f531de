"""Whether the time of a look-up tells how wrong a credential was: `python -m bench timing`.

Two classes of wrong credentials of one id take turns in an order drawn by lot: one that is nearly right,
and one that is right nowhere. Welch's t of their times must stay below 4.5 in magnitude, the threshold
of TVLA (ISO/IEC 17825); the times are cropped at several percentiles first, as dudect does (Reparaz et
al. 2017), since what is seldom and slow is the machine's. Measured at `Identities` and at the reading of
tokens, without HTTP: there would be more noise to hide in. Whether an id exists is not hidden: ids are
no secrets.

The control compares byte by byte until two differ, as `==` may; what finds nothing there would find nothing.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from bench.target import SMALL
from tests.support.cells import SSN, development_cell
from vault.authn.identities import parse_authorization
from vault.errors import Unauthenticated
from vault.services.access_tokens import read_token
from vault.services.token_endpoint import TokenForm, issue_token

MOST: Final = 4.5
PERCENTILES: Final = (50, 75, 90, 95, 99, 100)
BATCH: Final = 8  # look-ups of one measurement, so that the clock's step does not matter


def welch(first: np.ndarray, second: np.ndarray) -> float:
    """Welch's t."""
    spread = first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second)
    return float((first.mean() - second.mean()) / np.sqrt(spread))


def worst(look: Callable[[str], object], near: str, far: str, rounds: int) -> float:
    """The t of largest magnitude, over all crops."""
    order = np.array([secrets.randbelow(2) for _ in range(rounds)])
    times = np.empty(rounds)
    inputs = (near, far)
    for at in range(-200, rounds):
        text = inputs[order[at]]
        begun = time.perf_counter_ns()
        for _ in range(BATCH):
            look(text)
        if at >= 0:  # those before warm everything up
            times[at] = time.perf_counter_ns() - begun
    found = []
    for percentile in PERCENTILES:
        kept = times <= np.percentile(times, percentile)
        found.append(welch(times[kept & (order == 0)], times[kept & (order == 1)]))
    return max(found, key=abs)


def other(character: str) -> str:
    return "A" if character != "A" else "B"


def refused(look: Callable[[str], object]) -> Callable[[str], None]:
    """The look-up, whose refusal is what is timed too."""

    def looked(text: str) -> None:
        try:
            look(text)
        except (Unauthenticated, ValueError):
            return
        raise AssertionError("a wrong credential was taken")

    return looked


def leaky(right: bytes) -> Callable[[str], None]:
    """What compares until two bytes differ."""

    def looked(text: str) -> None:
        for one, two in zip(right, text.encode(), strict=True):
            if one != two:
                return

    return looked


def main() -> bool:
    rounds = 3_000 if SMALL else 40_000
    with tempfile.TemporaryDirectory() as name, development_cell(Path(name)) as built:
        identities = built.cell.identities
        token = built.run(issue_token, TokenForm()).access_token
        head, signature = token[:-86], token[-86:]
        cases: dict[str, tuple[Callable[[str], object], str, str]] = {}
        for kind, credential in (("service key", built.service), ("bearer grant", built.grant(SSN))):
            start, secret = credential[:-43], credential[-43:]
            near = start + secret[:-1] + other(secret[-1])
            far = start + "".join(other(character) for character in secret)
            find = identities.caller if kind == "service key" else identities.holder

            def look(text: str, find: Callable[..., object] = find) -> object:
                return find(parse_authorization(f"Bearer {text}"))

            cases[kind] = (refused(look), near, far)
        cases["access token"] = (
            refused(lambda text: read_token(built.cell, text)),
            head + signature[:40] + other(signature[40]) + signature[41:],
            head + other(signature[0]) + signature[1:],
        )
        secret = built.service[-43:]
        control = leaky(secret.encode())
        met = True
        for kind, (timed, near, far) in cases.items():
            t = worst(timed, near, far, rounds)
            met = met and abs(t) < MOST
            print(f"{kind:14} |t| = {abs(t):6.2f}  {'below' if abs(t) < MOST else 'NOT BELOW'} {MOST}")
        t = worst(control, secret[:-1] + other(secret[-1]), other(secret[0]) + secret[1:], rounds)
        print(f"{'control':14} |t| = {abs(t):6.2f}  {'found' if abs(t) > MOST else 'NOT FOUND'}")
    return met and abs(t) > MOST


if __name__ == "__main__":
    raise SystemExit(not main())
