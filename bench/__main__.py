"""All benchmarks: `python -m bench [NAME ...]`; BENCH_SIZE=small for a quick look."""

from __future__ import annotations

import sys

from bench import ff1, service, ve1

ALL = {"ff1": ff1.main, "ve1": ve1.main, "service": service.main}


def main() -> None:
    names = sys.argv[1:] or list(ALL)
    for name in names:
        if name not in ALL:
            raise SystemExit(f"no such benchmark; there are {', '.join(ALL)}")
    for name in names:
        ALL[name]()


if __name__ == "__main__":
    main()
