"""A look at a whole file: which of its values would be refused. Nothing is made, and no output is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from vault.errors import Misconfigured
from vault.files.job import opened, private
from vault.files.plan import REJECTS_HEAD, Plan, Refusal, Result


class Check(Protocol):
    """Where values are looked at."""

    def check(
        self, field: str, values: Sequence[str | None], subjects: Sequence[str | None] | None
    ) -> dict[int, str]:
        """The codes of those that would be refused, by their place.

        Raises:
            CoatcheckError: what is wrong with all of it.
        """


def rehearse(plan: Plan, check: Check, progress: Callable[[int, int], None]) -> Result:
    """Looks at every row; the file of rejects, where one is wanted, is the one that the job would write.

    Raises:
        BadInput: `file_malformed`; `usage`: there is no such column.
        Misconfigured: `host_permissions`: a file that cannot be read or written.
    """
    rows = rejected = 0
    codes: Counter[str] = Counter()
    try:
        with plan.source.open("rb") as source, _rejects(plan.rejects) as told:
            form = opened(plan, source)
            for part in form.parts(0, 1):
                subjects = None if plan.subject is None else part.cells(plan.subject).values
                refusals: list[Refusal] = []
                for name, field in plan.columns:
                    cells = part.cells(name)
                    found = {**cells.refused, **check.check(field, cells.values, subjects)}
                    refusals += [Refusal(part.row + index, name, code) for index, code in found.items()]
                refusals.sort()
                rows += part.count
                rejected += len({refusal.row for refusal in refusals})
                codes.update(f"{refusal.column}: {refusal.code}" for refusal in refusals)
                told(b"".join(refusal.line() for refusal in refusals))
                progress(part.end, form.size)
    except OSError as problem:
        raise Misconfigured("host_permissions", path=str(problem.filename or plan.source)) from None
    return Result(rows, rejected, resumed=False, codes=codes)


@contextmanager
def _rejects(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    if path is None:
        yield lambda _: None
        return
    with private(path) as file:
        file.write(REJECTS_HEAD)
        yield file.write
