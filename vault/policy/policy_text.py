"""The text of attribute rules, looked at before Cedar reads it: its size, its nesting, and its names.

Cedar's parser goes down a level of its stack for every level of nesting, and a stack that runs out ends the
process, not the request. So the text is cut into tokens here, as Cedar's grammar does it, and counted.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from vault.schema.refusals import is_label

MAX_TEXT: Final = 64 * 1024  # bytes of UTF-8
MAX_POLICIES: Final = 200
MAX_TOKENS: Final = 2_000  # of one policy; 20,000 pass through 8 MiB of stack
MAX_DEPTH: Final = 24  # of brackets and `if`s; 512 pass through 8 MiB of stack, and 48 through 1 MiB

# Cedar's own lexer: white space, `//` comments, strings with escapes, names, numbers, single marks.
_TOKEN: Final = re.compile(
    r'\s+|//[^\n\r]*|"(?:\\.|[^"\\])*"|[A-Za-z_][A-Za-z_0-9]*|[0-9]+|[^\s"]', re.ASCII | re.DOTALL
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_OPEN: Final = frozenset("([{")
_CLOSE: Final = frozenset(")]}")


class Refusal(NamedTuple):
    """Why a text is not taken.

    Attributes:
        policy: the place of the policy, from 1; 0: the whole text.
        name: its own, where it has a name that is one.
        reason: a sentence of ours.
        detail: what Cedar says about it, which may repeat the text: for whoever sent it, never for the log.
    """

    policy: int
    name: str
    reason: str
    detail: str = ""

    @property
    def sentence(self) -> str:
        """Where and why, without what was sent."""
        if not self.policy:
            return self.reason
        named = f" ({self.name})" if self.name else ""
        return f"policy {self.policy}{named}: {self.reason}"


def check_text(text: str) -> Refusal | None:
    """Why a text is not given to Cedar; None: it may be."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return Refusal(0, "", "the text is not UTF-8")
    if size > MAX_TEXT:
        return Refusal(0, "", f"the text is longer than {MAX_TEXT} bytes")
    if _CONTROL.search(text):
        return Refusal(0, "", "the text has a control character")
    place, depth, tokens, at = 1, 0, 0, 0
    branches = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:  # a string that does not end
            return Refusal(place, "", "a string does not end")
        token, at = found[0], found.end()
        if token.isspace() or token.startswith("//"):
            continue
        tokens += 1
        branches += token == "if"
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth + branches > MAX_DEPTH:
            return Refusal(place, "", f"is nested more than {MAX_DEPTH} deep")
        if tokens > MAX_TOKENS:
            return Refusal(place, "", f"has more than {MAX_TOKENS} words and marks")
        if token == ";" and depth <= 0:
            place, depth, tokens, branches = place + 1, 0, 0, 0
            if place > MAX_POLICIES + 1:
                return Refusal(0, "", f"there are more than {MAX_POLICIES} policies")
    return None


def check_names(names: list[str | None]) -> list[Refusal]:
    """What is wrong with the names (`@id`) of policies, in their order."""
    refusals = []
    seen: set[str] = set()
    for place, name in enumerate(names, 1):
        if name is None:
            refusals.append(Refusal(place, "", 'has no name: begin it with @id("...")'))
        elif not is_label(name):
            refusals.append(
                Refusal(place, "", "its name is not of a-z, 0-9, '_', '.', '-', at most 64 characters")
            )
        elif name in seen:
            refusals.append(Refusal(place, name, "its name is another's too"))
        else:
            seen.add(name)
    return refusals
