"""An operator's own passkeys: register, list, remove."""

from __future__ import annotations

from typing import Any

import msgspec

from vault.authn.identities import Caller
from vault.authn.passkeys import Party, Passkey, challenge_in, check_registration, registration_options
from vault.clock import format_time
from vault.errors import BadInput, Conflict, Unknown
from vault.identifiers import new_id, parse_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.challenges import Answered, check_challenge, new_challenge
from vault.services.gate import Request
from vault.services.hidden import Hidden
from vault.services.identities import check_id
from vault.services.listing import Listing
from vault.services.proving import PASSKEY
from vault.services.second_factors import OwnCommand, may_enrol, own
from vault.services.sessions import OptionsAnswer, in_session, step_up

REGISTER = "register"
MAX_PASSKEYS = 20  # of an operator
MAX_LABEL = 80


class RegisterBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A browser's answer to options, and what its owner calls the passkey."""

    answer: dict[str, Any]
    label: str = ""


class PasskeyAnswer(Hidden, frozen=True, omit_defaults=True):
    """A passkey as it is shown."""

    id: str
    label: str
    created: str | None = None
    used: str | None = None
    transports: list[str] = msgspec.field(default_factory=list)


class AddPasskey(OwnCommand):
    """Inserts a passkey. To make one is a proof, too."""

    def __init__(
        self, caller: Caller, origin: Origin, id_: str, passkey: Passkey, label: str, answered: Answered
    ) -> None:
        facts = {"principal": caller.principal.id, "factor": PASSKEY, "passkey": id_}
        super().__init__(caller, origin, "operator.enrol", **facts)
        self._answered = answered
        self._row = {
            "id": id_,
            "principal": caller.principal.id,
            "credential": passkey.credential,
            "public_key": passkey.public_key,
            "sign_count": passkey.sign_count,
            "transports": msgspec.json.encode(passkey.transports).decode(),
            "label": label,
        }

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the challenge's."""
        super().needs(needs)
        self._answered.needs(needs)

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts it."""
        self.check(state)
        self._answered.spend(state, writes)
        writes.insert("passkey", **self._row, created_at=state.now, used_at=0)
        step_up(self.caller, PASSKEY, self.network, state, writes)
        self.note(writes)


class RemovePasskey(OwnCommand):
    """Removes a passkey of the caller's own."""

    def __init__(self, caller: Caller, origin: Origin, passkey: str) -> None:
        facts = {"principal": caller.principal.id, "factor": PASSKEY, "passkey": passkey}
        super().__init__(caller, origin, "operator.unenrol", **facts)
        self._passkey = passkey

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the passkey's."""
        super().needs(needs)
        needs.passkeys.add(self._passkey)

    def decide(self, state: State, writes: Writes) -> None:
        """Removes it."""
        self.check(state)
        row = state.passkeys.pop(self._passkey, None)
        if row is None or row.principal != self.caller.principal.id:
            raise Unknown("not_found")
        writes.update("drop_passkey", passkey=self._passkey)
        self.note(writes)


def register_options(cell: Cell, request: Request) -> Verb[OptionsAnswer]:
    """What a browser makes a passkey of.

    Raises:
        BadInput: `passkeys_unavailable`.
        Conflict: `version_conflict`: the operator has as many as one may have.
    """
    caller = yield from in_session("operator.enrol", cell, request)
    operator, party = own(cell, caller), _party(cell)
    yield from may_enrol(cell, caller, request.origin, operator)
    if len(operator.passkeys) >= MAX_PASSKEYS:
        raise Conflict("version_conflict", most=MAX_PASSKEYS)
    there = [bytes(row.credential) for row in operator.passkeys]
    user, name = parse_id("pr", caller.principal.id), operator.principal.name.rpartition(":")[2]
    challenge = new_challenge(cell, REGISTER, caller.api_key)
    return OptionsAnswer(registration_options(party, user, name, challenge, there))


def register_passkey(cell: Cell, request: Request, body: RegisterBody) -> Verb[PasskeyAnswer]:
    """Takes a passkey that a browser made.

    Raises:
        BadInput: `passkey_invalid`, `passkeys_unavailable`, `name_invalid`.
    """
    caller = yield from in_session("operator.enrol", cell, request)
    operator, party = own(cell, caller), _party(cell)
    yield from may_enrol(cell, caller, request.origin, operator)
    if len(body.label) > MAX_LABEL or not body.label.isprintable():
        raise BadInput("name_invalid", member="label")
    challenge = challenge_in(body.answer)
    answered = check_challenge(cell, challenge, REGISTER, caller.api_key)
    passkey = check_registration(party, body.answer, challenge)
    if cell.store.read(cell.store.operators.passkey_named, {"named": passkey.credential}):
        raise BadInput("passkey_invalid")
    made = PasskeyAnswer(new_id("pk"), body.label, transports=list(passkey.transports))
    yield AddPasskey(caller, request.origin, made.id, passkey, body.label, answered)
    cell.identities.drop(caller.api_key)
    return made


def list_passkeys(cell: Cell, request: Request) -> Verb[Listing]:
    """The operator's own passkeys, newest first."""
    caller = yield from in_session("passkey.list", cell, request)
    shown = [
        PasskeyAnswer(
            row.id,
            row.label,
            format_time(row.created_at),
            format_time(row.used_at) if row.used_at else None,
            msgspec.json.decode(row.transports, type=list[str]),
        )
        for row in reversed(own(cell, caller).passkeys)
    ]
    return Listing(list(shown), None)


def remove_passkey(cell: Cell, request: Request, passkey: str) -> Verb[PasskeyAnswer]:
    """Removes a passkey of the operator's own."""
    caller = yield from in_session("operator.enrol", cell, request)
    check_id("pk", passkey)
    operator = own(cell, caller)
    yield from may_enrol(cell, caller, request.origin, operator)
    mine = next((row for row in operator.passkeys if row.id == passkey), None)
    if mine is None:
        raise Unknown("not_found")
    yield RemovePasskey(caller, request.origin, passkey)
    return PasskeyAnswer(mine.id, mine.label)


def _party(cell: Cell) -> Party:
    if cell.sign_in.party is None:
        raise BadInput("passkeys_unavailable")
    return cell.sign_in.party
