"""What an error would show of what it was given."""

from __future__ import annotations

import traceback


def shown(error: BaseException) -> str:
    """All that can be read off an error, its causes included, in the forms a log might take."""
    parts = []
    seen: BaseException | None = error
    while seen is not None:
        parts += [str(seen), repr(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return "\n".join([*parts, *traceback.format_exception_only(error)])
