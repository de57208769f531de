"""All benchmarks: `python -m bench [NAME ...]`; BENCH_SIZE=small for a quick look.

Ends with 1 if one of them misses its target; a short run is too rough for that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench import (
    erasure,
    ff1,
    ff1_batch,
    files,
    formats,
    grants,
    hot,
    keyed,
    postgresql,
    rekey,
    scaling,
    service,
    service_bulk,
    timing,
    turn,
    ve1,
)

ALL: dict[str, Callable[[], bool | None]] = {
    "erasure": erasure.main,
    "ff1": ff1.main,
    "ff1_batch": ff1_batch.main,
    "formats": formats.main,
    "files": files.main,
    "rekey": rekey.main,
    "turn": turn.main,
    "ve1": ve1.main,
    "grants": grants.main,
    "hot": hot.main,
    "keyed": keyed.main,
    "postgresql": postgresql.main,
    "service": service.main,
    "service_bulk": service_bulk.main,
    "scaling": scaling.main,
    "timing": timing.main,
}


def main() -> None:
    names = sys.argv[1:] or list(ALL)
    for name in names:
        if name not in ALL:
            raise SystemExit(f"no such benchmark; there are {', '.join(ALL)}")
    if False in [ALL[name]() for name in names]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
