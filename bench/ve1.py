"""Sealing and opening fields in `ve1`, against bare AES-GCM, in one process: `python -m bench.ve1`.

Bare means what anybody would write first: one AESGCM object made once, a random 12-byte nonce a message,
no commitment and no key of its own for each message. The ratio is what these two cost in processor time.
Each round times all of them, one after the other, and gives one ratio each; rounds are short and many, and
the figure is the median over them, so that what else the machine does hits few.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from statistics import median

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.target import SMALL, Target, report
from vault.context import EncryptionContext, Use
from vault.crypto.randomness import new_key
from vault.envelope.seal import SealingKey, open_many, open_message, seal, seal_many
from vault.identifiers import KeyId, uuid7

FIELD_BYTES = 100
BATCH = 100
TARGETS = {
    "seal": Target("ve1_seal_vs_bare", 6.0, at_most=True),
    "seal, of many": Target("ve1_seal_many_vs_bare", 5.0, at_most=True),
}


def seconds(call: Callable[[], object], count: int) -> float:
    """Of processor time that one call takes, over so many."""
    start = time.thread_time()
    for _ in range(count):
        call()
    return (time.thread_time() - start) / count


def main() -> bool:
    rounds = 51 if SMALL else 1001
    key = SealingKey(KeyId(uuid7()), 1, new_key())
    contexts = [EncryptionContext(Use.CLAIM, "main", "eu", "customer.name", uuid7()) for _ in range(BATCH)]
    values = [os.urandom(FIELD_BYTES) for _ in range(BATCH)]
    context, value, encoded = contexts[0], values[0], contexts[0].encode()
    bare, nonce = AESGCM(os.urandom(32)), os.urandom(12)
    sealed, many = seal(key, context, value), seal_many(key, contexts, values)
    plain = bare.encrypt(nonce, value, encoded)
    if open_many(key, contexts, many) != values or open_message(key, context, sealed) != value:
        raise SystemExit("what was sealed does not open")

    def bare_seal() -> bytes:
        drawn = os.urandom(12)
        return drawn + bare.encrypt(drawn, value, encoded)

    def turn() -> dict[str, tuple[float, float]]:
        """(ours, bare) of each, a message."""
        floor = seconds(bare_seal, BATCH)
        one = seconds(lambda: seal(key, context, value), BATCH)
        of_many = seconds(lambda: seal_many(key, contexts, values), 1) / BATCH
        floor_open = seconds(lambda: bare.decrypt(nonce, plain, encoded), BATCH)
        opened = seconds(lambda: open_message(key, context, sealed), BATCH)
        opened_of_many = seconds(lambda: open_many(key, contexts, many), 1) / BATCH
        return {
            "seal": (one, floor),
            "seal, of many": (of_many, floor),
            "open": (opened, floor_open),
            "open, of many": (opened_of_many, floor_open),
        }

    turns = [turn() for _ in range(rounds)]
    results = []
    print(f"ve1, {FIELD_BYTES}-byte field, microseconds a message, medians of rounds that take turns")
    for name in turns[0]:
        ours, theirs = (median(one[name][side] for one in turns) * 1e6 for side in (0, 1))
        ratio = median(one[name][0] / one[name][1] for one in turns)
        print(f"  {name:14} {ours:6.2f}   bare AES-GCM {theirs:6.2f}   ratio {ratio:5.2f}")
        if name in TARGETS:
            results.append((TARGETS[name], ratio))
    return report(results)


if __name__ == "__main__":
    sys.exit(not main())
