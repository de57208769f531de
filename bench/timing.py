"""Whether the time of a look-up tells how wrong a credential was: `python -m bench timing`.

Two classes of wrong credentials of one id take turns in an order drawn by lot: those that are right up to
the last four characters, and those that are wrong from the first on. Each class has many members, made in
turns: two texts alone differ in where they lie in memory, and that shows. Welch's t of their times must stay
below 4.5 in magnitude, the threshold of TVLA (ISO/IEC 17825); the times are cropped at several percentiles
first, as dudect does (Reparaz et al. 2017), since what is seldom and slow is the machine's. Measured at
`Identities`, without HTTP: there would be more noise to hide in. Whether an id exists is not hidden: ids are
no secrets.

What is signed (access tokens, proofs, blocks) has no place here: it is verified with a public key, in a time
that differs with the signature and tells nothing that its sender could not work out alone (RFC 8032, section
8.1: only signing deals in secrets).

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
from vault.authn.identities import Credential, parse_authorization
from vault.crypto.randomness import credential_secret
from vault.errors import Unauthenticated

MOST: Final = 4.5
PERCENTILES: Final = (50, 75, 90, 95, 99, 100)
MEMBERS: Final = 256
BATCH: Final = 8  # look-ups of one measurement, so that the clock's step does not matter


def welch(first: np.ndarray, second: np.ndarray) -> float:
    """Welch's t."""
    spread = first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second)
    return float((first.mean() - second.mean()) / np.sqrt(spread))


def wrong(start: str, secret: str) -> tuple[list[str], list[str]]:
    """Credentials with `start` and not quite `secret`, and with nothing of it from its first character on."""
    near: list[str] = []
    far: list[str] = []
    while len(far) < MEMBERS:
        drawn = credential_secret()
        if drawn[0] != secret[0] and drawn[-4] != secret[-4]:
            near.append(start + secret[:-4] + drawn[-4:])
            far.append(start + drawn)
    return near, far


def worst(look: Callable[[str], object], near: list[str], far: list[str], rounds: int) -> float:
    """The t of largest magnitude, over all crops."""
    order = np.array([secrets.randbelow(2) for _ in range(rounds)])
    times = np.empty(rounds)
    inputs = (near, far)
    for at in range(-200, rounds):
        text = inputs[order[at]][secrets.randbelow(MEMBERS)]
        begun = time.perf_counter_ns()
        for _ in range(BATCH):
            look(text)
        if at >= 0:  # those before warm everything up
            times[at] = time.perf_counter_ns() - begun
    found = []
    for percentile in PERCENTILES:
        kept = times <= np.percentile(times, percentile)
        ones, others = times[kept & (order == 0)], times[kept & (order == 1)]
        found.append(
            welch(ones, others) if min(len(ones), len(others)) > 1 else np.inf
        )  # inf: one class is slow
    return max(found, key=abs)


def refused(find: Callable[[Credential], object]) -> Callable[[str], None]:
    """The look-up, whose refusal is what is timed too."""

    def looked(text: str) -> None:
        try:
            find(parse_authorization(f"Bearer {text}"))
        except Unauthenticated:
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
        cases: dict[str, tuple[Callable[[Credential], object], str]] = {
            "service key": (identities.caller, built.service),
            "bearer grant": (identities.holder, built.grant(SSN)),
        }
        met = True
        for kind, (find, credential) in cases.items():
            t = worst(refused(find), *wrong(credential[:-43], credential[-43:]), rounds)
            met = met and abs(t) < MOST
            print(f"{kind:14} |t| = {abs(t):6.2f}  {'below' if abs(t) < MOST else 'NOT BELOW'} {MOST}")
        secret = built.service[-43:]
        t = worst(leaky(secret.encode()), *wrong("", secret), rounds)
        print(f"{'control':14} |t| = {abs(t):6.2f}  {'found' if abs(t) > MOST else 'NOT FOUND'}")
    return met and abs(t) > MOST


if __name__ == "__main__":
    raise SystemExit(not main())
