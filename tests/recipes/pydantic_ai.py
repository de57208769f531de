"""The recipe for Pydantic AI, with its messages and its OpenTelemetry spans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings

from tests.recipes.script import Held, Script, recipe


async def look_up(run: RunContext[Any], token: str) -> str:
    """Gives an address."""
    shown = await run.deps.grant.reveal("customer.email", [token], purpose="support")
    return str(shown.values[0])


def drive(
    script: Script, held: Held, send: Callable[..., object], question: str, *, naive: bool, folder: Path
) -> dict[str, bytes]:
    """What it keeps: the messages, the spans, and what it prints of a run."""
    page = recipe("with_pydantic_ai")

    def say(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        shown = ModelMessagesTypeAdapter.dump_json(messages).decode()
        tools = {one.name: one.parameters_json_schema for one in info.function_tools}
        line = script.next(str(info.instructions), shown, tools)
        if isinstance(line, str):
            return ModelResponse(parts=[TextPart(line)])
        return ModelResponse(parts=[ToolCallPart(line.tool, line.arguments, script.call_id)])

    async def run() -> dict[str, bytes]:
        model = FunctionModel(say)
        agent = (
            Agent(model, instructions="You are the desk.", tools=[look_up]) if naive else page.build(model)
        )
        async with held.grant_of_a_loop() as grant:
            result = await agent.run(question, deps=page.Case(grant, send))
        return {
            "messages": result.all_messages_json(),
            "spans": "\n".join(span.to_json() for span in spans.get_finished_spans()).encode(),
            "printed": f"{result}{result!r}{result.all_messages()}".encode(),
        }

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))
    try:
        return asyncio.run(run())
    finally:
        Agent.instrument_all(False)
