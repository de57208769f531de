"""The recipes for agent frameworks, each driven by a scripted model against a served cell.

What any model is shown, and what the framework keeps (checkpoints, traces, sessions, histories), is scanned
for the values, the keys, the proofs and the service's credential; a tool that gives the value to the model
shows that the scan finds it in each of those places. `make recipes` makes the environment that has the
frameworks; without them only the recipe of plain functions is run.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.harness.canaries import MARK, Planted
from tests.recipes.script import RECIPES, Call, Driver, Held, Line, Script, recipe
from tests.support.service import Service, running
from vault.client.http import Client
from vault.client.keys import Holder, Worker
from vault.crypto.randomness import new_key
from vault.errors import CoatcheckError
from vault.secret import Secret

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-from-an-agent-framework.md"
NEEDS = {
    "plain_functions": (),
    "langgraph": ("langgraph",),
    "openai_agents": ("agents",),
    "pydantic_ai": ("pydantic_ai", "opentelemetry.sdk"),
}
QUESTION = "Case 17: the refund was approved. Tell the customer."


def there(package: str) -> bool:
    """Whether a package is installed; looking for a part of one imports the whole."""
    return importlib.util.find_spec(package.partition(".")[0]) is not None


@pytest.fixture(params=NEEDS)
def drive(request: pytest.FixtureRequest) -> Driver:
    lacking = [name for name in NEEDS[request.param] if not there(name)]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not installed: `make recipes` runs this")
    driver: Driver = importlib.import_module(f"tests.recipes.{request.param}").drive
    return driver


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("recipes") / "deployment") as made:
        yield made


@pytest.fixture(autouse=True)
def _nobody_else_is_talked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        assert not isinstance(address, tuple) or address[0] == "127.0.0.1", "a recipe talks to somebody else"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)


@dataclass(repr=False)
class Desk:
    """A case at the refund desk: whose it is, the tokens, the grant, and the mail that was sent."""

    service: Service
    held: Held
    address: str
    tokens: dict[str, str]
    mail: list[tuple[str, str]] = field(default_factory=list)

    def send(self, *, to: str, text: str) -> None:
        """Sends a mail."""
        self.mail.append((to, text))

    def denials(self, code: str) -> int:
        """How many uses of the grant were refused for that, by the record."""
        audit = self.service.call("GET", "audit?limit=500", key=self.service.credential("admin_key")).json()
        return sum(self.held.id in str(event) and code in str(event) for event in audit["items"])


@pytest.fixture
def desk(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    planted = Planted(random.Random(17))
    secrets: list[bytes] = []

    def recorded() -> Secret:
        secret = new_key()
        secrets.append(bytes(secret.expose()))
        return secret

    monkeypatch.setattr("vault.client.keys.new_key", recorded)
    planted.credentials.add(service.credential())
    person, other = planted.word(), planted.word()
    addresses = [f"{planted.word()}@example.org" for _ in range(2)]
    values = {"customer.email": addresses, "customer.name": [planted.text() for _ in range(2)]}
    tokens = {}
    for name, texts in values.items():
        made = service.call("POST", "tokenize", {"field": name, "values": texts, "subjects": [person, other]})
        assert made.status == 200, made.body
        tokens[name], tokens[f"other {name}"] = made.json()["tokens"]
    holder, worker = Holder.new(), Worker.new()
    client = Client(service.url, "eu", service.credential())
    grant = recipe("grant_for_a_case").grant_for_a_case(client, holder, worker, person)
    client.close()
    held = Held(service.url, grant["id"], holder, worker, grant["delivery_key"], planted, secrets)
    yield Desk(service, held, addresses[0], tokens)
    assert MARK not in service.log()


def drive_all(drive: Driver, desk: Desk, script: Script, folder: Path, **more: Any) -> dict[str, list[str]]:
    """Runs a script to its end; what is found, by where it is."""
    send: Callable[..., object] = more.pop("send", desk.send)
    kept = drive(script, desk.held, send, QUESTION, naive=more.get("naive", False), folder=folder)
    assert (script.desk, script.greeter) == ([], [])
    kept["what the model is shown"] = b"\n".join(script.seen)
    assert all(kept.values()), "nothing is kept there"
    return {place: desk.held.found(data) for place, data in kept.items()}


def told(script: Script) -> str:
    """The last that a model was shown."""
    return script.seen[-1].decode()


def hint(code: str) -> str:
    """What a tool answers to a refusal."""
    return CoatcheckError(code).agent_hint


def nothing(found: dict[str, list[str]]) -> bool:
    """Whether nothing was found anywhere."""
    assert {place: hits for place, hits in found.items() if hits} == {}
    return True


def test_a_recipe(drive: Driver, desk: Desk, tmp_path: Path) -> None:
    name, address = desk.tokens["customer.name"], desk.tokens["customer.email"]
    script = Script(
        desk=[
            Call("send_refund_notice", {"token": address}),
            Call("ask_greeter", {"token": name}),
            "Done.",
        ],
        greeter=[Call("initial", {"token": name}), "Dear Z."],
    )
    assert nothing(drive_all(drive, desk, script, tmp_path))
    assert desk.mail == [(desk.address, "Your refund is on its way.")]
    assert "It was sent." in told(script)
    assert "Dear Z." in told(script)
    assert any("Z." in shown.decode() and "the greeter" in shown.decode() for shown in script.seen)
    assert any(address in shown.decode() for shown in script.seen)
    one_token = {"token"}
    assert script.tools == dict.fromkeys(("send_refund_notice", "ask_greeter", "initial"), one_token)
    assert len(desk.held.proofs) == 2
    assert len(desk.held.secrets) == 3  # the holder's, the worker's and the delegate's


def test_a_tool_that_gives_the_value_to_the_model_is_found(drive: Driver, desk: Desk, tmp_path: Path) -> None:
    script = Script(desk=[Call("look_up", {"token": desk.tokens["customer.email"]}), "Done."])
    found = drive_all(drive, desk, script, tmp_path, naive=True)
    silent = {"answer", "case"}  # of plain functions, which keep nothing else
    assert {place for place, hits in found.items() if not hits} <= silent


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("send_refund_notice", "other customer.email"), "token_unknown"),
        (("send_refund_notice", "customer.name"), "token_unknown"),
        (("send_refund_notice", "garbage"), "token_unknown"),
        (("greeter: send_refund_notice", "customer.email"), "scope_denied"),
        (("greeter: initial", "other customer.name"), "token_unknown"),
    ],
    ids=str,
)
def test_a_model_that_was_talked_into_it(
    drive: Driver, desk: Desk, tmp_path: Path, line: tuple[str, str], code: str
) -> None:
    tokens = desk.tokens | {"garbage": "tok_" + "a" * 26}
    name, token = line[0].removeprefix("greeter: "), tokens[line[1]]
    asked: list[Line] = [Call(name, {"token": token}), "Done."]
    if line[0].startswith("greeter"):
        script = Script(desk=[Call("ask_greeter", {"token": token}), "Done."], greeter=asked)
    else:
        script = Script(desk=asked)
    assert nothing(drive_all(drive, desk, script, tmp_path))
    shown = b"\n".join(script.seen).decode()
    assert hint(code) in shown
    assert not re.search(r"dec_[0-9A-Z]{26}|req_[0-9A-Z]{26}", shown)  # none of the facts
    assert desk.mail == []
    assert desk.denials(code) == 1


def test_what_else_a_model_says_changes_nothing(drive: Driver, desk: Desk, tmp_path: Path) -> None:
    name = desk.tokens["customer.name"]
    more = {"token": name, "operation": "reveal", "field": "customer.email", "purpose": "any", "mask": None}
    script = Script(
        desk=[Call("ask_greeter", {"token": name}), "Done."], greeter=[Call("initial", more), "Dear."]
    )
    assert nothing(drive_all(drive, desk, script, tmp_path))
    assert desk.denials("scope_denied") == 0


def test_a_sub_agent_has_a_budget_of_its_own(drive: Driver, desk: Desk, tmp_path: Path) -> None:
    name = desk.tokens["customer.name"]
    script = Script(
        desk=[Call("ask_greeter", {"token": name}), "Done."],
        greeter=[*[Call("initial", {"token": name})] * 3, "Dear."],
    )
    assert nothing(drive_all(drive, desk, script, tmp_path))
    assert hint("budget_exhausted") in b"\n".join(script.seen).decode()
    assert desk.denials("budget_exhausted") == 1


def test_a_side_effect_that_fails_tells_no_address(drive: Driver, desk: Desk, tmp_path: Path) -> None:
    def bounce(*, to: str, text: str) -> None:
        raise OSError(f"550 <{to}> is not known here")

    script = Script(desk=[Call("send_refund_notice", {"token": desk.tokens["customer.email"]}), "Done."])
    assert nothing(drive_all(drive, desk, script, tmp_path, send=bounce))
    assert "It could not be sent." in told(script)


def test_the_page_shows_the_recipes_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert sorted(shown) == sorted(path.read_text(encoding="utf-8") for path in RECIPES.glob("*.py"))
