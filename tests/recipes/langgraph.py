"""The recipe for LangGraph, with a checkpointer, a tracer and every stream that there is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolRuntime
from langsmith._internal._serde import dumps_json

from tests.recipes.script import Held, Script, recipe

STREAMS = ["values", "updates", "messages", "checkpoints", "tasks", "debug", "custom"]


class Scripted(BaseChatModel):
    """A chat model that follows a script."""

    script: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **more: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(one) for one in tools])

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **more: Any
    ) -> ChatResult:
        shown = json.dumps([message.model_dump(mode="json") for message in messages])
        tools = {one["function"]["name"]: one["function"]["parameters"] for one in more["tools"]}
        line = self.script.next(str(messages[0].text), shown, tools)
        if isinstance(line, str):
            said = AIMessage(content=line)
        else:
            call = {"name": line.tool, "args": line.arguments, "id": self.script.call_id}
            said = AIMessage(content="", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=said)])


class Traces(BaseTracer):
    """What LangSmith's tracer would send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def _persist_run(self, run: Run) -> None:
        self.sent.append(dumps_json(run.model_dump()))


def parts(kept: Any) -> Iterator[bytes]:
    """All bytes and texts of a checkpointer's dictionaries."""
    if isinstance(kept, bytes):
        yield kept
    elif isinstance(kept, dict):
        yield from parts([*kept, *kept.values()])
    elif isinstance(kept, list | tuple):
        for one in kept:
            yield from parts(one)
    else:
        yield str(kept).encode()


def drive(
    script: Script, held: Held, send: Callable[..., object], question: str, *, naive: bool, folder: Path
) -> dict[str, bytes]:
    """What it keeps: checkpoints as they are serialized, its history, its traces, and what it streams."""
    page = recipe("with_langgraph")

    @tool
    async def look_up(token: str, runtime: ToolRuntime[Any, Any]) -> str:
        """Gives an address."""
        shown = await runtime.context.grant.reveal("customer.email", [token], purpose="support")
        return str(shown.values[0])

    async def run() -> dict[str, bytes]:
        saver, traces, streamed = InMemorySaver(), Traces(), []
        model = Scripted(script=script)
        graph = (
            page.agent(model, "You are the desk.", [look_up], saver) if naive else page.build(model, saver)
        )
        config = {"configurable": {"thread_id": "case-17"}, "callbacks": [traces]}
        async with held.grant_of_a_loop() as grant:
            asked = {"messages": [("user", question)]}
            case = page.Case(grant, send)
            async for part in graph.astream(asked, config, context=case, stream_mode=STREAMS, subgraphs=True):
                streamed.append(repr(part))
        kept = [saver.storage, saver.writes, saver.blobs]
        history = [repr(state) async for state in graph.aget_state_history(config)]
        return {
            "checkpoints": b"\n".join(parts(kept)),
            "history": "\n".join(history).encode(),
            "traces": b"\n".join(traces.sent),
            "streams": "\n".join(streamed).encode(),
        }

    return asyncio.run(run())
