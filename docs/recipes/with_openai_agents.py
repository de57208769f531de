"""An agent of the OpenAI Agents SDK: the grant is in the run's context, which is for tools alone.

await Runner.run(build("gpt-5"), question, context=Case(grant, send=mail))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agents import Agent, Model, RunContextWrapper, Runner, function_tool

from vault.client.grants import AsyncKeyedGrant
from vault.errors import CoatcheckError


@dataclass(frozen=True)
class Case:
    """What tools work with and no model sees."""

    grant: AsyncKeyedGrant
    send: Callable[..., object] = field(repr=False)


@function_tool
async def send_refund_notice(run: RunContextWrapper[Case], token: str) -> str:
    """Tells the customer with this address (a token) that the refund is on its way."""
    try:
        shown = await run.context.grant.reveal("customer.email", [token], purpose="support")
        run.context.send(to=shown.values[0], text="Your refund is on its way.")
    except CoatcheckError as refusal:
        return refusal.agent_hint
    except Exception:  # noqa: BLE001 - whatever it says, the address may be in it
        return "It could not be sent."
    return "It was sent."


@function_tool
async def initial(run: RunContextWrapper[Case], token: str) -> str:
    """Gives the initial of this name (a token)."""
    try:
        shown = await run.context.grant.mask("customer.name", [token], "initial", purpose="support")
    except CoatcheckError as refusal:
        return refusal.agent_hint
    return str(shown.values[0])


def build(model: str | Model) -> Agent[Case]:
    """The refund desk, and its greeter, who has the same tools and less of a grant, for a minute."""
    greeter = Agent[Case](
        name="greeter",
        instructions="You are the greeter. Names are tokens.",
        tools=[initial, send_refund_notice],
        model=model,
    )

    @function_tool
    async def ask_greeter(run: RunContextWrapper[Case], token: str) -> str:
        """Has the customer with this name (a token) greeted."""
        case = run.context
        async with case.grant.delegate(
            fields=["customer.name"], operations=["mask"], uses=2, ttl_s=60
        ) as narrower:
            question = f"Greet the customer called {token}."
            said = await Runner.run(greeter, question, context=replace(case, grant=narrower))
        return str(said.final_output)

    return Agent[Case](
        name="desk",
        instructions="You are the refund desk. Names and addresses are tokens.",
        tools=[send_refund_notice, ask_greeter],
        model=model,
    )
