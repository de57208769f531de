"""verify: whether a candidate is the value of a token, and nothing more; each can be tried a few times."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from vault.ledger.command import Verb
from vault.policy.grant import VERIFY
from vault.services.asked import Asked, Asking
from vault.services.batch import FAIL
from vault.services.cell import Cell, TenantSchema
from vault.services.comparing import count_tries
from vault.services.detokenize import DetokenizeItem, prepare_tokens
from vault.services.gate import Request, holder
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.use_grant import GrantUse, use_grant


class VerifyBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A token, and what its value may be."""

    purpose: str
    field: str
    token: str
    candidate: str
    subject: str | None = None
    key_version: int | None = None
    conversation: str | None = None
    task: str | None = None


class VerifyAnswer(Replayable, frozen=True, omit_defaults=True):
    """Whether the candidate is the token's value, as the field compares its values.

    Attributes:
        attempts_left: how often this token can be tried again under the grant. A replayed answer has neither.
    """

    decision: str
    match: bool | UnsetType | None = UNSET
    attempts_left: int | UnsetType = UNSET
    grant: GrantUse | UnsetType = UNSET


def verify(cell: Cell, request: Request, body: VerifyBody) -> Verb[VerifyAnswer]:
    """Compares a candidate with the value of a token, under a grant that says so.

    Raises:
        Unauthenticated, Denied: the grant is not valid or does not allow it, or the token has no tries left.
        BatchRefused: the token does not open; charged, on the record.
    """
    who = holder(cell, request)
    asking = Asking("verify", VERIFY, None, "plain", body.purpose, FAIL, None, body.conversation, body.task)
    found = once(cell, request, who, "verify", VerifyAnswer, body)
    if found.replay is not None:
        return found.replay

    def prepare(schema: TenantSchema) -> list[Asked]:
        item = DetokenizeItem(body.field, body.token, body.subject, body.key_version)
        asked = prepare_tokens(cell, who.tenant, schema, [item])
        for one in asked:
            one.candidate = body.candidate
            count_tries(cell, who.credential.id, one)
        return asked

    shown = yield from use_grant(
        asking, cell, request, who, prepare, found, lambda decision: VerifyAnswer(decision, match=None)
    )
    left = UNSET if shown.attempts_left is None else shown.attempts_left
    return VerifyAnswer(shown.decision, shown.values[0] is True, left, shown.grant)
