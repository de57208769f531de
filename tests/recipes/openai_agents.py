"""The recipe for the OpenAI Agents SDK, with traces, a session in a file, and a state to go on with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    Model,
    ModelResponse,
    RunContextWrapper,
    Runner,
    SQLiteSession,
    Tool,
    Usage,
    function_tool,
    set_trace_processors,
)
from agents.items import TResponseStreamEvent
from agents.tracing import TracingProcessor
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from tests.recipes.script import Held, Script, recipe


class Scripted(Model):
    """A model that follows a script."""

    def __init__(self, script: Script) -> None:
        self.script = script

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the interface's name
        model_settings: Any,
        tools: list[Tool],
        output_schema: Any,
        handoffs: Any,
        tracing: Any,
        **more: Any,
    ) -> ModelResponse:
        schemas = {one.name: getattr(one, "params_json_schema") for one in tools}  # noqa: B009 - of some kinds
        line = self.script.next(str(system_instructions), json.dumps(input), schemas)
        said: Any
        if isinstance(line, str):
            text = ResponseOutputText(text=line, type="output_text", annotations=[])
            said = ResponseOutputMessage(
                id=self.script.call_id, content=[text], role="assistant", status="completed", type="message"
            )
        else:
            said = ResponseFunctionToolCall(
                arguments=json.dumps(line.arguments),
                call_id=self.script.call_id,
                name=line.tool,
                type="function_call",
            )
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *given: Any, **more: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise NotImplementedError


class Traces(TracingProcessor):
    """What the SDK's exporter would send."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def on_trace_start(self, trace: Any) -> None:
        self.sent.append(json.dumps(trace.export(), default=repr))

    def on_trace_end(self, trace: Any) -> None:
        self.on_trace_start(trace)

    def on_span_start(self, span: Any) -> None:
        self.sent.append(json.dumps(span.export(), default=repr))

    def on_span_end(self, span: Any) -> None:
        self.on_span_start(span)

    def shutdown(self) -> None: ...

    def force_flush(self) -> None: ...


@function_tool
async def look_up(run: RunContextWrapper[Any], token: str) -> str:
    """Gives an address."""
    shown = await run.context.grant.reveal("customer.email", [token], purpose="support")
    return str(shown.values[0])


def drive(
    script: Script, held: Held, send: Callable[..., object], question: str, *, naive: bool, folder: Path
) -> dict[str, bytes]:
    """What it keeps: traces, the session's file, the state, and what it prints of a run."""
    page = recipe("with_openai_agents")
    traces, model = Traces(), Scripted(script)
    set_trace_processors([traces])  # in place of the one that sends them away

    async def run() -> dict[str, bytes]:
        agent = (
            Agent(name="desk", instructions="You are the desk.", tools=[look_up], model=model)
            if naive
            else page.build(model)
        )
        session = SQLiteSession("case-17", folder / "session.db")
        async with held.grant_of_a_loop() as grant:
            result = await Runner.run(agent, question, context=page.Case(grant, send), session=session)
        state = json.dumps(result.to_state().to_json())
        session.close()
        files = [path.read_bytes() for path in folder.glob("session.db*")]
        return {
            "traces": "\n".join(traces.sent).encode(),
            "session": b"\n".join(files),
            "state": state.encode(),
            "input": json.dumps(result.to_input_list()).encode(),
            "printed": f"{result}{result!r}".encode(),
        }

    try:
        return asyncio.run(run())
    finally:
        set_trace_processors([])
