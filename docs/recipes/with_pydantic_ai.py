"""An agent of Pydantic AI: the grant is in the dependencies, which are for tools alone.

await build("openai:gpt-5").run(question, deps=Case(grant, send=mail))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pydantic_ai import Agent, RunContext
from pydantic_ai.models import Model

from vault.client.grants import AsyncKeyedGrant
from vault.errors import CoatcheckError


@dataclass(frozen=True)
class Case:
    """What tools work with and no model sees."""

    grant: AsyncKeyedGrant
    send: Callable[..., object] = field(repr=False)


async def send_refund_notice(run: RunContext[Case], token: str) -> str:
    """Tells the customer with this address (a token) that the refund is on its way."""
    try:
        shown = await run.deps.grant.reveal("customer.email", [token], purpose="support")
        run.deps.send(to=shown.values[0], text="Your refund is on its way.")
    except CoatcheckError as refusal:
        return refusal.agent_hint
    except Exception:  # noqa: BLE001 - whatever it says, the address may be in it
        return "It could not be sent."
    return "It was sent."


async def initial(run: RunContext[Case], token: str) -> str:
    """Gives the initial of this name (a token)."""
    try:
        shown = await run.deps.grant.mask("customer.name", [token], "initial", purpose="support")
    except CoatcheckError as refusal:
        return refusal.agent_hint
    return str(shown.values[0])


def build(model: str | Model) -> Agent[Case, str]:
    """The refund desk, and its greeter, who has the same tools and less of a grant, for a minute."""
    greeter = Agent(
        model,
        deps_type=Case,
        instructions="You are the greeter. Names are tokens.",
        tools=[initial, send_refund_notice],
    )

    async def ask_greeter(run: RunContext[Case], token: str) -> str:
        """Has the customer with this name (a token) greeted."""
        async with run.deps.grant.delegate(
            fields=["customer.name"], operations=["mask"], uses=2, ttl_s=60
        ) as narrower:
            question = f"Greet the customer called {token}."
            said = await greeter.run(question, deps=replace(run.deps, grant=narrower), usage=run.usage)
        return said.output

    return Agent(
        model,
        deps_type=Case,
        instructions="You are the refund desk. Names and addresses are tokens.",
        tools=[send_refund_notice, ask_greeter],
    )
