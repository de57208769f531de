"""Sealing and opening one field in `ve1`, against bare AES-GCM, in one process: `python -m bench.ve1`.

Bare means what anybody would write first: one AESGCM object made once, a random 12-byte nonce a message,
no commitment and no key of its own for each message. The ratio is what these two cost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.context import EncryptionContext, Use
from vault.crypto.randomness import new_key
from vault.envelope.seal import SealingKey, open_message, seal
from vault.identifiers import KeyId, uuid7

FIELD_BYTES = 100


def seconds(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - start


def main() -> None:
    rounds, count = (5, 500) if os.environ.get("BENCH_SIZE") == "small" else (21, 5000)
    key = SealingKey(KeyId(uuid7()), 1, new_key())
    context = EncryptionContext(Use.CLAIM, "main", "eu", "customer.name", uuid7())
    value, encoded = os.urandom(FIELD_BYTES), context.encode()
    bare = AESGCM(os.urandom(32))
    sealed = seal(key, context, value)
    nonce = os.urandom(12)
    plain = bare.encrypt(nonce, value, encoded)

    def bare_seal() -> bytes:
        drawn = os.urandom(12)
        return drawn + bare.encrypt(drawn, value, encoded)

    times = [
        (
            seconds(lambda: seal(key, context, value), count),
            seconds(bare_seal, count),
            seconds(lambda: open_message(key, context, sealed), count),
            seconds(lambda: bare.decrypt(nonce, plain, encoded), count),
        )
        for _ in range(rounds)
    ]
    ours, theirs, opened, bare_opened = (median(column) / count * 1e6 for column in zip(*times, strict=True))
    print(f"ve1, {FIELD_BYTES}-byte field, microseconds a message, medians of rounds that take turns")
    print(f"  seal   {ours:6.2f}   bare AES-GCM {theirs:6.2f}")
    print(f"  open   {opened:6.2f}   bare AES-GCM {bare_opened:6.2f}")
    print(f"ratio ve1_seal_vs_bare {median(t[0] / t[1] for t in times):.2f}")
    print(f"ratio ve1_open_vs_bare {median(t[2] / t[3] for t in times):.2f}")


if __name__ == "__main__":
    main()
