"""A model that says what a script has it say, whatever framework asks; and a grant as a program holds it.

What a model is shown is written down, and so are the proofs that were sent and the private keys that were
made: `Held.found` looks for them, and for the planted values, in whatever a framework shows or keeps.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

import httpx

from tests.harness.canaries import Planted, Scanner
from vault.client.grants import AsyncKeyedGrant, KeyedGrant
from vault.client.keys import Holder, Worker
from vault.client.uses import Key

RECIPES: Final = Path(__file__).parents[2] / "docs" / "recipes"


def recipe(name: str) -> ModuleType:
    """A recipe, which lies outside every package."""
    spec = importlib.util.spec_from_file_location(f"{name}_recipe", RECIPES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Call:
    """What a model says to have a tool called."""

    tool: str
    arguments: dict[str, Any]


Line = Call | str


@dataclass
class Script:
    """What is said next by whom; and what each was shown before.

    Attributes:
        seen: what the model was shown, each time: instructions, messages, tools.
        tools: the parameters of each tool that it was shown, by name.
    """

    desk: list[Line]
    greeter: list[Line] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)
    tools: dict[str, set[str]] = field(default_factory=dict)

    def next(self, instructions: str, messages: str, tools: Mapping[str, Mapping[str, Any]]) -> Line:
        """The next line.

        Args:
            messages: all that the model is shown besides, as JSON.
            tools: the JSON Schema of each tool's parameters.
        """
        self.seen.append(f"{instructions}\n{messages}\n{json.dumps(tools)}".encode())
        self.tools |= {name: set(schema["properties"]) for name, schema in tools.items()}
        lines = self.greeter if "the greeter" in instructions else self.desk
        return lines.pop(0)

    @property
    def call_id(self) -> str:
        """An id for the call that is said next, as models make them."""
        return f"call_{len(self.seen)}"


@dataclass(repr=False)
class Held:
    """A keyed grant, over connections that write down the proofs.

    Attributes:
        secrets: private keys, raw.
    """

    url: str
    id: str
    holder: Holder
    worker: Worker
    delivery_key: Key
    planted: Planted
    secrets: list[bytes]
    proofs: list[str] = field(default_factory=list)

    def _sent(self, request: httpx.Request) -> None:
        self.proofs.append(request.headers["dpop"])

    async def _sent_later(self, request: httpx.Request) -> None:
        self._sent(request)

    @contextmanager
    def grant(self) -> Iterator[KeyedGrant]:
        """The grant, with connections of its own."""
        keys: dict[str, Any] = {"worker": self.worker, "delivery_keys": [self.delivery_key]}
        with httpx.Client(trust_env=False, event_hooks={"request": [self._sent]}) as http:
            yield KeyedGrant(self.url, "eu", self.id, self.holder, http=http, **keys)

    @asynccontextmanager
    async def grant_of_a_loop(self) -> AsyncIterator[AsyncKeyedGrant]:
        """The same for a program with an event loop."""
        keys: dict[str, Any] = {"worker": self.worker, "delivery_keys": [self.delivery_key]}
        async with httpx.AsyncClient(trust_env=False, event_hooks={"request": [self._sent_later]}) as http:
            yield AsyncKeyedGrant(self.url, "eu", self.id, self.holder, http=http, **keys)

    def found(self, data: bytes) -> list[str]:
        """What is found of what must not be there."""
        hits = Scanner(self.planted).hits(data)
        for proof in self.proofs:
            hits += ["a proof"] if proof.rpartition(".")[2].encode() in data else []
        for secret in self.secrets:
            hits += ["a private key"] if any(form in data for form in forms(secret)) else []
        return hits


def forms(secret: bytes) -> list[bytes]:
    """A key as it could lie somewhere."""
    plain = base64.b64encode(secret).rstrip(b"=")
    # PKCS #8 (RFC 8410, 7): 16 bytes before the key, so its base64 begins within a group of four.
    within = base64.b64encode(bytes(16) + secret)[24:-4]
    texts = [secret.hex(), secret.hex().upper(), repr(secret)[2:-1], str(list(secret))[1:-1]]
    return [secret, plain, plain.translate(bytes.maketrans(b"+/", b"-_")), within] + [
        text.encode() for text in texts
    ]


class Driver(Protocol):
    """A framework that runs its recipe, or an agent whose tool gives the value to the model (`naive`)."""

    def __call__(
        self,
        script: Script,
        held: Held,
        send: Callable[..., object],
        question: str,
        *,
        naive: bool,
        folder: Path,
    ) -> dict[str, bytes]:
        """What the framework keeps of the run, by where it keeps it."""
