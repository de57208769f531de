"""An agent of LangGraph: the grant is in the runtime's context, which is neither shown nor kept.

graph = build(model, checkpointer)
await graph.ainvoke({"messages": [("user", question)]}, config, context=Case(grant, send=mail))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime, tools_condition

from vault.client.grants import AsyncKeyedGrant
from vault.errors import CoatcheckError


@dataclass(frozen=True)
class Case:
    """What tools work with and no model sees."""

    grant: AsyncKeyedGrant
    send: Callable[..., object] = field(repr=False)


@tool
async def send_refund_notice(token: str, runtime: ToolRuntime[Case, MessagesState]) -> str:
    """Tells the customer with this address (a token) that the refund is on its way."""
    try:
        shown = await runtime.context.grant.reveal("customer.email", [token], purpose="support")
        runtime.context.send(to=shown.values[0], text="Your refund is on its way.")
    except CoatcheckError as refusal:
        return refusal.agent_hint
    except Exception:  # noqa: BLE001 - whatever it says, the address may be in it
        return "It could not be sent."
    return "It was sent."


@tool
async def initial(token: str, runtime: ToolRuntime[Case, MessagesState]) -> str:
    """Gives the initial of this name (a token)."""
    try:
        shown = await runtime.context.grant.mask("customer.name", [token], "initial", purpose="support")
    except CoatcheckError as refusal:
        return refusal.agent_hint
    return str(shown.values[0])


def agent(
    model: BaseChatModel, instructions: str, tools: Sequence[BaseTool], checkpointer: Any = None
) -> Any:
    """A model that calls tools until it has an answer."""
    bound = model.bind_tools(tools)

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke([SystemMessage(instructions), *state["messages"]])]}

    graph = StateGraph(MessagesState, context_schema=Case)
    graph.add_node("model", think)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=checkpointer)


def build(model: BaseChatModel, checkpointer: Any = None) -> Any:
    """The refund desk, and its greeter, who has the same tools and less of a grant, for a minute."""
    greeter = agent(model, "You are the greeter. Names are tokens.", [initial, send_refund_notice])

    @tool
    async def ask_greeter(token: str, runtime: ToolRuntime[Case, MessagesState]) -> str:
        """Has the customer with this name (a token) greeted."""
        case = runtime.context
        less: dict[str, Any] = {"fields": ["customer.name"], "operations": ["mask"], "uses": 2, "ttl_s": 60}
        async with case.grant.delegate(**less) as narrower:
            question = {"messages": [("user", f"Greet the customer called {token}.")]}
            said = await greeter.ainvoke(question, context=replace(case, grant=narrower))
        return str(said["messages"][-1].text)

    instructions = "You are the refund desk. Names and addresses are tokens."
    return agent(model, instructions, [send_refund_notice, ask_greeter], checkpointer)
