"""Batches: order and length are kept, and every bad item is named by its place and code."""

from __future__ import annotations

from vault.errors import BadInput, CoatcheckError, Fact


class BatchRefused(BadInput):
    """A batch with bad items: nothing was made and nothing is shown.

    Its code is the first bad item's; `errors` lists all of them as `{"index", "code"}`.
    """

    def __init__(self, failures: dict[int, CoatcheckError | str], /, **facts: Fact) -> None:
        listed: list[dict[str, Fact]] = []
        for index in sorted(failures):
            failure = failures[index]
            listed.append({"index": index, "code": failure if isinstance(failure, str) else failure.code})
        self.first = str(listed[0]["code"])
        super().__init__(self.first, errors=listed, **facts)
