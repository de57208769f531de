"""The recipe of plain functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.recipes.script import Held, Script, recipe

PARAMETERS = {"properties": {"token": {"type": "string"}}}


def drive(
    script: Script, held: Held, send: Callable[..., object], question: str, *, naive: bool, folder: Path
) -> dict[str, bytes]:
    """The program keeps nothing but the messages, which the model was shown."""
    page = recipe("with_plain_functions")

    def model(messages: Sequence[dict[str, Any]], tools: Sequence[str]) -> dict[str, Any]:
        shown = dict.fromkeys(tools, PARAMETERS)
        line = script.next(messages[0]["content"], json.dumps(messages), shown)
        if isinstance(line, str):
            return {"role": "assistant", "content": line}
        function = {"name": line.tool, "arguments": json.dumps(line.arguments)}
        call = {"id": script.call_id, "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    def look_up(case: Any, token: str) -> str:
        return str(case.grant.reveal("customer.email", [token], purpose="support").values[0])

    agent = page.Agent("You are the desk.", {"look_up": look_up}) if naive else page.DESK
    with held.grant() as grant:
        case = page.Case(grant, send, model)
        said = page.run(agent, case, question)
    return {"answer": said.encode(), "case": f"{case!r}{case}".encode()}
