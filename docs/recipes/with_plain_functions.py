"""An agent of plain functions: the grant is an argument of the program's, tokens are the model's.

with KeyedGrant(URL, "eu", made["id"], holder, worker=worker, delivery_keys=[made["delivery_key"]]) as grant:
    print(run(DESK, Case(grant, mail, model), f"Refund the customer whose address is {token}."))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vault.client.grants import KeyedGrant
from vault.errors import CoatcheckError

Message = dict[str, Any]
Model = Callable[[Sequence[Message], Sequence[str]], Message]
"""Messages and names of tools in, the next message out, as chat interfaces have it."""


@dataclass(frozen=True)
class Case:
    """What tools work with and no model sees."""

    grant: KeyedGrant
    send: Callable[..., object] = field(repr=False)
    model: Model = field(repr=False)


def send_refund_notice(case: Case, token: str) -> str:
    """The address goes to the mail, and a word about it to the model."""
    try:
        shown = case.grant.reveal("customer.email", [token], purpose="support")
        case.send(to=shown.values[0], text="Your refund is on its way.")
    except CoatcheckError as refusal:
        return refusal.agent_hint
    except Exception:  # noqa: BLE001 - whatever it says, the address may be in it
        return "It could not be sent."
    return "It was sent."


def initial(case: Case, token: str) -> str:
    """What the model may see of a name."""
    try:
        return str(case.grant.mask("customer.name", [token], "initial", purpose="support").values[0])
    except CoatcheckError as refusal:
        return refusal.agent_hint


def ask_greeter(case: Case, token: str) -> str:
    """The sub-agent has the same tools and less of a grant, for a minute."""
    with case.grant.delegate(fields=["customer.name"], operations=["mask"], uses=2, ttl_s=60) as narrower:
        return run(GREETER, replace(case, grant=narrower), f"Greet the customer called {token}.")


@dataclass(frozen=True)
class Agent:
    """Instructions, and the tools that a model may call by name."""

    instructions: str
    tools: dict[str, Callable[[Case, str], str]]


GREETER = Agent(
    "You are the greeter. Names are tokens.", {"initial": initial, "send_refund_notice": send_refund_notice}
)
DESK = Agent(
    "You are the refund desk. Names and addresses are tokens.",
    {"send_refund_notice": send_refund_notice, "ask_greeter": ask_greeter},
)


def run(agent: Agent, case: Case, question: str) -> str:
    """Asks the model until it calls no tool any more."""
    messages: list[Message] = [
        {"role": "system", "content": agent.instructions},
        {"role": "user", "content": question},
    ]
    while True:
        reply = case.model(messages, list(agent.tools))
        messages.append(reply)
        if not reply.get("tool_calls"):
            return str(reply["content"])
        for call in reply["tool_calls"]:
            answer = use(agent, case, call["function"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": answer})


def use(agent: Agent, case: Case, function: dict[str, str]) -> str:
    """Of what the model says, a tool's name and one token are taken, and nothing else."""
    try:
        tool, token = agent.tools[function["name"]], json.loads(function["arguments"])["token"]
    except (KeyError, TypeError, ValueError):
        return "There is no such tool, or it takes a token."
    return tool(case, token) if isinstance(token, str) else "A token is a string."
