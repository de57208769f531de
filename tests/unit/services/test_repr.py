"""P13, the part about repr: nothing that can hold a value, a token, a person or a credential shows it.

Verbs are stopped half-way, so that everything they hold is alive, and every object of this package that
can be reached is asked for its repr. What is planted is looked for in all of them.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import inspect
import pkgutil
from typing import Any

import msgspec
import pytest

import vault
from tests.support.cells import NAME, SSN, BuiltCell, reveal
from tests.support.operators import PASSWORD, Device, create
from vault.errors import CoatcheckError
from vault.policy.principal import Ceiling
from vault.services.audit import AuditQuery, read_audit
from vault.services.detokenize import DetokenizeBody, DetokenizeItem, detokenize
from vault.services.grant_body import GrantBody
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import GrantFilter, list_grants, read_grant
from vault.services.grants import create_grant
from vault.services.hidden import Hidden
from vault.services.identities import (
    PrincipalBody,
    create_principal,
    list_principals,
    whoami,
)
from vault.services.listing import Page
from vault.services.operators import OperatorBody, create_operator, reset_mfa
from vault.services.second_factors import (
    CodeBody,
    PasswordBody,
    begin_totp,
    change_password,
    confirm_totp,
    new_recovery_codes,
)
from vault.services.service_keys import (
    KeyBody,
    create_key,
)
from vault.services.sessions import LoginBody, StepUpBody, sign_in, step_up_session
from vault.services.tokenize import TokenizeBody, TokenizeItem, tokenize

CANARY = "canary-7f3a91"
DIGITS = "219-09-9999"


def package_objects() -> list[Any]:
    """Everything alive whose class is this package's; also what the collector need not track."""
    gc.collect()
    alive: dict[int, Any] = {}
    for container in gc.get_objects():
        for thing in (container, *gc.get_referents(container)):
            if str(getattr(type(thing), "__module__", "")).partition(".")[0] == "vault":
                alive[id(thing)] = thing
    return list(alive.values())


def shown(secrets: list[str]) -> dict[str, str]:
    """What shows one of the secrets, by the name of its class."""
    leaks = {}
    for thing in package_objects():
        for text in (repr(thing), str(thing), f"{thing}"):
            if any(secret in text for secret in secrets):
                leaks[f"{type(thing).__module__}.{type(thing).__qualname__}"] = text
    return leaks


class Stopped:
    """Verbs that were begun and not ended, with what they have answered so far."""

    def __init__(self, built: BuiltCell) -> None:
        self.built = built
        self.kept: list[Any] = []

    def begin(self, verb: Any, *arguments: Any, by: str) -> Any:
        """Runs a verb up to its first command."""
        started = verb(self.built.cell, self.built.request(by), *arguments)
        command = next(started)
        self.kept += [started, command, *arguments]
        return command

    def end(self, verb: Any, *arguments: Any, by: str) -> Any:
        """Runs a verb to its end and keeps its answer and every command on the way."""
        started = verb(self.built.cell, self.built.request(by), *arguments)
        self.kept += [started, *arguments]
        try:
            command = next(started)
            while True:
                done = self.built.cell.committer.execute(command)
                self.kept += [command, done, done.value]
                command = started.send(done)
        except StopIteration as answer:
            self.kept.append(answer.value)
            return answer.value
        except CoatcheckError as refusal:
            self.kept.append(refusal)
            return refusal


def test_nothing_alive_shows_what_it_holds(built: BuiltCell) -> None:
    stopped = Stopped(built)
    rows = [TokenizeItem(NAME, CANARY, f"{CANARY}-person"), TokenizeItem(SSN, DIGITS)]
    made = stopped.end(tokenize, TokenizeBody(items=rows), by=built.service)
    column = stopped.end(tokenize, TokenizeBody(field=SSN, values=[DIGITS]), by=built.service)
    tokens = [item.token for item in made.items]
    stopped.begin(tokenize, TokenizeBody(field=NAME, values=[CANARY]), by=built.service)
    body = built.grant_body(NAME, SSN, reason=CANARY, on_behalf_of=CANARY)
    grant = stopped.end(create_grant, body, by=built.service)
    limited = built.grant_body(NAME, subjects=[f"{CANARY}-person"])
    stopped.end(create_grant, limited, by=built.service)
    stopped.begin(create_grant, limited, by=built.service)
    asked = DetokenizeBody(
        "support",
        items=[
            DetokenizeItem(NAME, tokens[0], f"{CANARY}-person"),
            DetokenizeItem(SSN, tokens[1], None, 1),
            DetokenizeItem(NAME, CANARY),
        ],
    )
    stopped.end(detokenize, asked, by=grant.credential)
    values = stopped.end(detokenize, reveal(NAME, [tokens[0]]), by=grant.credential)
    assert values.values == [CANARY]
    stopped.begin(detokenize, asked, by=grant.credential)
    ceiling = Ceiling(fields=[NAME], subjects=[f"{CANARY}-person"])
    person = stopped.end(create_principal, PrincipalBody("service", "seen", ceiling=ceiling), by=built.admin)
    key = stopped.end(create_key, person.id, KeyBody(), by=built.admin)
    del ceiling
    for verb, arguments, by in (
        (read_grant, (grant.id,), grant.credential),
        (list_grants, (Page(), GrantFilter()), built.admin),
        (list_principals, (Page(),), built.admin),
        (whoami, (), key.credential),
        (read_audit, (AuditQuery(),), built.admin),
        (revoke_grant, (grant.id, ChangeBody(CANARY)), built.service),
    ):
        stopped.end(verb, *arguments, by=by)
    secrets = [CANARY, DIGITS, column.tokens[0], *[token for token in tokens if token]]
    secrets += [credential.rpartition("_")[2] for credential in (grant.credential, key.credential)]
    secrets += [built.service.rpartition("_")[2], built.admin.rpartition("_")[2]]
    leaks = shown(secrets)
    leaks.pop("vault.policy.principal.Ceiling", None)  # what a caller names, before it is one of our ids
    assert leaks == {}


def test_nothing_alive_shows_what_an_operator_proves_itself_by(built: BuiltCell) -> None:
    stopped, new = Stopped(built), "quartz meadow thimble"
    create(built)
    first = stopped.end(sign_in, LoginBody("ada", PASSWORD), by="").credential
    secret = stopped.end(begin_totp, by=first).secret
    device = Device(secret)
    stopped.end(confirm_totp, CodeBody(device.code(built)), by=first)
    codes = stopped.end(new_recovery_codes, by=first).codes
    stopped.begin(sign_in, LoginBody("ada", PASSWORD, codes[0]), by="")
    refused = stopped.end(sign_in, LoginBody("ada", f"{CANARY}-{PASSWORD}", CANARY), by="")
    assert refused.code == "login_refused"
    stopped.begin(step_up_session, StepUpBody(code=codes[1]), by=first)
    stopped.begin(change_password, PasswordBody(PASSWORD, new), by=first)
    stopped.begin(create_operator, OperatorBody("eve", new), by=built.admin)
    stopped.begin(reset_mfa, "ada", new, by=built.admin)
    secrets = [PASSWORD, new, CANARY, secret, first.rpartition("_")[2], *codes]
    device.secret = ""
    assert shown(secrets) == {}


def test_the_search_finds_what_is_not_hidden() -> None:
    """The control: a struct of ours that shows its members is found."""
    planted = [Page(cursor=CANARY)]
    assert "vault.services.listing.Page" in shown([CANARY])
    assert planted


def structs() -> list[type[Any]]:
    """Every Struct, dataclass and named tuple of `vault.services`."""
    found = []
    for info in pkgutil.iter_modules(vault.__path__, "vault."):
        if info.name != "vault.services":
            continue
        for inner in pkgutil.iter_modules(importlib.import_module(info.name).__path__, "vault.services."):
            for thing in vars(importlib.import_module(inner.name)).values():
                if not inspect.isclass(thing) or thing.__module__ != inner.name:
                    continue
                named_tuple = issubclass(thing, tuple) and hasattr(thing, "_fields")
                if issubclass(thing, msgspec.Struct) or dataclasses.is_dataclass(thing) or named_tuple:
                    found.append(thing)
    return found


# Holds no text of a caller: names of the schema, numbers, states, our own ids. (A TextColumn hides itself.)
OPEN = {
    "Kind",
    "Reached",
    "Selection",
    "AccessClaims",
    "Confirmation",
    "ApprovalFilter",
    "Arrived",
    "AuditQuery",
    "BackupFile",
    "CaseAnswer",
    "Cell",
    "ChangeAnswer",
    "CheckAnswer",
    "Counted",
    "Coverage",
    "DomainAnswer",
    "Due",
    "FieldAnswer",
    "Found",
    "GrantFilter",
    "GrantLimits",
    "GrantUse",
    "Index",
    "IndexRow",
    "ItemsRefused",
    "KeyBody",
    "KeyFilter",
    "KeyTerms",
    "Limits",
    "Move",
    "NewSubject",
    "Origin",
    "Page",
    "Person",
    "PlanAnswer",
    "PolicyRow",
    "PolicyTestAnswer",
    "PublicKey",
    "RefusedValue",
    "Removed",
    "ReplaceBody",
    "Request",
    "Ruled",
    "SchemaAnswer",
    "SchemaBody",
    "ServerStanding",
    "SimulateAnswer",
    "Standing",
    "SurrogateAnswer",
    "TenantSchema",
    "TextColumn",
    "Turn",
    "Validity",
    "Verified",
    "VersionAnswer",
    "VersionRow",
}


def test_every_struct_is_hidden_or_known_to_hold_nothing() -> None:
    """A new one that is neither fails here, so that somebody decides."""
    shows = {
        thing.__name__
        for thing in structs()
        if not issubclass(thing, Hidden)
        and (issubclass(thing, msgspec.Struct | tuple) or "__repr__" in vars(thing))
    }
    assert shows == OPEN


def test_a_request_does_not_show_its_credential(built: BuiltCell) -> None:
    request = built.request(built.service)
    assert built.service not in repr(request)
    assert "192.0.2.7" in repr(request)


@pytest.mark.parametrize("thing", [ChangeBody("x"), GrantBody("agent:a", "p", []), TokenizeItem("f", "v")])
def test_hidden_is_hidden_in_every_form(thing: Any) -> None:
    expected = f"<{type(thing).__name__}>"
    assert (repr(thing), str(thing), f"{thing}", f"{[thing]}") == (
        expected,
        expected,
        expected,
        f"[{expected}]",
    )
    assert thing.__rich_repr__() == []
