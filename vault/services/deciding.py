"""The command that uses a grant: charges it, decides on every item, and writes the decision event.

Tokens and ciphertexts go the same way: prepared without an opinion, charged hit or miss, and decided on the
locked rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from vault.audit.event import Event, listed
from vault.authn.identities import Holder
from vault.crypto.mac import same
from vault.errors import Stale, Unauthenticated
from vault.identifiers import NIL, format_id, new_id
from vault.keystate.states import KeyState, may_open
from vault.ledger.command import ROWS_A_WEIGHT, Command, Needs, State, Writes
from vault.policy.block import Block
from vault.policy.decision import APPROVAL_REQUIRED, UseRequest, asks_for_approval, decide_use
from vault.policy.terms import DEFAULT_TRIES
from vault.schema.document import FieldRule, Protection
from vault.services.approving import Seeking
from vault.services.asked import NEVER_SEEN, Asked, Asking, Used
from vault.services.batch import REPORT
from vault.services.cell import Origin, TenantSchema
from vault.services.gate import trace
from vault.services.grant_body import MAX_KEY_VERSION
from vault.services.retention import due_after_use
from vault.services.ruling import Ruled
from vault.services.standing import Watched
from vault.services.uses import KeyUses, Version
from vault.store.custody import KeyRow
from vault.store.rows import EpochsInUse


class UseGrant(Command):
    """Charges a grant, decides on every item, and writes the decision event."""

    def __init__(
        self,
        holder: Holder,
        origin: Origin,
        schema: TenantSchema,
        asking: Asking,
        asked: list[Asked],
        uses: KeyUses,
        people: Mapping[str, bytes],
        *,
        epochs: EpochsInUse | None = None,
        with_rows: bool = True,
        seeking: Seeking | None = None,
        ruled: Ruled | None = None,
    ) -> None:
        self.prepared_on = epochs
        self.id = new_id("dec")
        self._uses = uses
        self._with_rows = with_rows
        self._ruled = ruled
        self.weight = 1 + len(asked) // ROWS_A_WEIGHT if with_rows else 1
        self._holder = holder
        self._watched = Watched(holder, asking.conversation)
        self._credential = holder.credential
        self._tenant = holder.tenant
        self._people = narrowed(holder.chain, people)
        self._seeking = seeking
        self._origin = origin
        self._schema = schema
        self._verb = asking.verb
        self._report = asking.on_error == REPORT
        self._use = use_request(asking, asked, origin)
        self._asked = asked

    def needs(self, needs: Needs) -> None:
        """The grant, and the token rows with their claims and keys."""
        needs.grants.add(self._credential.id)
        self._watched.add_needs(needs)
        if self._seeking is not None:
            self._seeking.add_needs(needs)
        if not self._with_rows:
            return
        for asked in self._asked:
            if asked.attempt is not None:
                needs.tries.add(asked.attempt)
            if asked.row is not None:
                needs.tokens.add(asked.row)
            elif asked.message is not None:
                needs.data_keys.add(asked.message.key_id)

    def decide(self, state: State, writes: Writes) -> Used:
        """Checks 5 to 11: charges, and picks the claim of each item."""
        row = state.grants.get(self._credential.id)
        if row is None or not same(row.grant.digest, self._credential.digest):
            raise Unauthenticated("grant_invalid")
        if row.grant.tenant != self._tenant or state.head.schema_version != self._schema.head:
            raise Stale
        grant = row.grant
        standing = self._watched.standing(state, row)
        decision = decide_use(grant, row.uses, state.now, self._use, standing)
        if decision.code is None and self._ruled is not None:
            decision = self._ruled.bind(decision, state.now)
        if self._seeking is not None:
            decision = self._seeking.decide(decision, grant, state, writes)
        elif decision.code is None and asks_for_approval(grant, self._use):
            decision = decision._replace(code=APPROVAL_REQUIRED, charged=0, check=10)  # nobody looked for one
        if decision.code is None and not self._with_rows:
            raise Stale
        used = Used(decision, grant, 0, {}, people=_both(grant.subjects, self._people))
        if decision.code is None:
            self.decide_items(state, used)
            opens = self._report or not used.failures  # else nothing is opened
            opens = opens and self._count_tries(state, used, writes)
            if opens and self._count_people(state, used, writes):
                due_after_use(self._schema.schema, self._keys_used(used), state, writes)
                self._uses.note(self.versions_used(used), state.now, writes)
        if decision.charged or decision.tat is not None:
            self._watched.charge(writes, grant.id, decision.charged, decision.tat)
        if not standing.replayed:
            self._watched.see(writes)
        used.uses_left = grant.max_uses - row.uses
        if standing.left is not None:  # a delegate is told of its own
            used.uses_left = min(used.uses_left, max(0, standing.left - decision.charged))
        writes.event(self._event(used))
        return used

    def decide_items(self, state: State, used: Used) -> None:
        """Check 9 of every item: picks its claim, key or version, or notes what is wrong with it."""
        for index, asked in enumerate(self._asked):
            if asked.given:
                self._decide_item(state, used, index, asked)

    def _decide_item(self, state: State, used: Used, index: int, asked: Asked) -> None:
        rule = asked.rule
        if asked.refusal is not None or rule is None:
            used.failures[index] = asked.refusal or "token_unknown"
        elif self._use.operation == "mask" and self._use.mask not in rule.masks:
            used.failures[index] = "operation_unsupported"
        elif rule.protection is Protection.VAULTLESS:
            self._decide_vaultless(state, used, index, asked, rule)
        elif rule.protection is Protection.VAULTED:
            self._decide_claim(state, used, index, asked)
        else:
            self._decide_key(state, used, index, asked)

    def _decide_vaultless(self, state: State, used: Used, index: int, asked: Asked, rule: FieldRule) -> None:
        """A token that FF1 made, one of a small value's row, or a value that was passed."""
        if asked.row is None and used.people is not None:
            used.failures[index] = "subjects_unenforceable"  # a delegation is for some people only
        elif asked.row is None and not asked.passed:
            self._decide_version(used, index, asked, rule)
        elif None not in self._pinned(used, rule):
            used.failures[index] = "token_unknown"  # the grant is for tokens of one key version
        elif asked.row is not None:
            self._decide_claim(state, used, index, asked)

    def _decide_version(self, used: Used, index: int, asked: Asked, rule: FieldRule) -> None:
        """The key version a vaultless token is opened under: the item's, or the one its scope pins."""
        pinned = self._pinned(used, rule)
        version = asked.key_version
        if version is None and len(pinned) == 1:
            (version,) = pinned
        if version is None:
            used.failures[index] = "key_version_required"
        elif pinned.isdisjoint((None, version)):
            used.failures[index] = "token_unknown"
        elif not 1 <= version <= MAX_KEY_VERSION:  # what the log may hold of a caller's number
            used.failures[index] = "key_version_unknown"
        else:
            used.versions[index] = version

    def _pinned(self, used: Used, rule: FieldRule) -> set[int | None]:
        """The key versions that the grant's scope names for a field; None for any."""
        use = self._use
        entries = used.grant.entries_for(rule.name, use.operation, use.delivery, use.mask, use.derive)
        return {entry.key_version for entry in entries}

    def _decide_claim(self, state: State, used: Used, index: int, asked: Asked) -> None:
        token = state.tokens.get(asked.row or b"")
        if token is None or (token.tenant, token.field, token.surrogate) != (
            self._tenant,
            asked.field,
            asked.surrogate,
        ):
            used.failures[index] = "token_unknown"
            return
        allowed = used.people
        living = [c for c in token.claims if may_open(KeyState(c.key.state), KeyState(c.key.period))]
        in_scope = [claim for claim in living if _within(claim.key, allowed, asked.subject)]
        if in_scope:
            used.claims[index] = in_scope[0]
        elif not living and allowed is None and asked.subject is None:
            used.failures[index] = "erased"
        else:
            used.failures[index] = "token_unknown"

    def _decide_key(self, state: State, used: Used, index: int, asked: Asked) -> None:
        """The data key of a ciphertext: of this tenant, of a person in scope, and one that may still open."""
        key = state.data_keys.get(asked.message.key_id) if asked.message is not None else None
        if key is None or key.tenant != self._tenant or not _within(key, used.people, asked.subject):
            used.failures[index] = "ciphertext_invalid"
        elif not may_open(KeyState(key.state), KeyState(key.period)):
            used.failures[index] = "erased"
        else:
            used.keys[index] = key

    def _count_tries(self, state: State, used: Used, writes: Writes) -> bool:
        """Whether the tokens that are verified have tries left; counts each, whatever comes of it."""
        most = used.grant.terms.verify_attempts or DEFAULT_TRIES  # none is refused when the grant is made
        for asked in self._asked:
            if asked.attempt is None:
                continue
            tries = state.tries.get(asked.attempt, 0)
            used.attempts_left = max(0, most - tries - 1)
            if tries >= most:
                used.decision = used.decision._replace(
                    code="budget_exhausted", check=11, member="verify_attempts"
                )
                return False
            writes.try_token(asked.attempt, used.grant.id)
        return True

    def _count_people(self, state: State, used: Used, writes: Writes) -> bool:
        """Whether the use shows values of no more people than its grant may; notes those that are new.

        What it would show is of nobody's business then, so that the whole use is refused.
        """
        most = used.grant.terms.max_distinct
        if most is None:
            return True
        people = {key.subject for key in self._keys_used(used)}
        known = state.people.get(used.grant.id, set())
        if NIL in people or len(known | people) > most:
            used.decision = used.decision._replace(code="budget_exhausted", check=11, member="max_distinct")
            used.failures, used.claims, used.keys, used.versions = {}, {}, {}, {}
            return False
        for person in sorted(people - known):
            writes.see_person(used.grant.id, person)
        return True

    @staticmethod
    def _keys_used(used: Used) -> list[KeyRow]:
        return [*(claim.key for claim in used.claims.values()), *used.keys.values()]

    def versions_used(self, used: Used) -> set[Version]:
        """The key versions under which vaultless tokens are opened."""
        return {
            (self._tenant, self._asked[index].field, version)
            for index, version in used.versions.items()
            if index not in used.failures
        }

    def _event(self, used: Used) -> Event:
        grant, decision = used.grant, used.decision
        purpose = self._schema.schema.purposes.get(grant.purpose)
        facts: dict[str, Any] = {
            "grant": grant.id,
            "grant_version": grant.version,
            "purpose": grant.purpose,
            "legal_basis": purpose.legal_basis if purpose else "",
            "disclosure_class": purpose.disclosure_class if purpose else "",
            "operation": self._use.operation,
            "delivery": self._use.delivery,
            "fields": self.field_entries(used),
            "charged": decision.charged,
            "outcome": "denied" if decision.code else "failed" if used.failures else "allowed",
            **trace(self._origin),
        }
        if used.failures and decision.code is None:
            facts["told"] = self._use.items - len(used.failures) if self._report else 0
        if self._holder.proof is not None:
            facts["holder"] = self._holder.proof.jkt
        if self._holder.chain:
            facts["chain"] = [block.id for block in self._holder.chain]
        if grant.terms.break_glass:
            facts["break_glass"] = 1
        if self._seeking is not None:
            facts |= self._seeking.facts()
        if decision.code is not None:
            facts |= {"code": decision.code, "check": decision.check}
            facts |= {"policies": list(decision.policies)} if decision.policies else {}
        if self._use.derive is not None and decision.code is None:
            facts["derive"] = self._use.derive.fn
        # A mask's name is the schema's only if a field of the request has it; else it is a caller's text.
        mask = self._use.mask
        if mask is not None and any(one.rule is not None and mask in one.rule.masks for one in self._asked):
            facts["mask"] = mask
        items = {**self._texts(), **self.rows_used(used)}
        return Event(self._verb, self._tenant, grant.agent, facts, items, self.id)

    def rows_used(self, used: Used) -> dict[str, Any]:
        """Our own ids of the rows, keys and people behind what is shown."""
        keys = self._keys_used(used)
        if not keys:
            return {}
        rows = [self._asked[index].row for index in used.claims]
        people = {key.subject for key in keys} - {NIL}
        return {
            "rows": listed([row.hex() for row in rows if row]),
            "keys": listed(sorted({format_id("key", key.id) for key in keys})),
            "subjects": listed(sorted(format_id("sub", person) for person in people)),
        }

    def _texts(self) -> dict[str, str]:
        """The names that the caller gave to what the use is part of."""
        use = self._use
        named = {"conversation": use.conversation, "task": use.task}
        return {name: text for name, text in named.items() if text is not None}

    def field_entries(self, used: Used) -> list[dict[str, Any]]:
        """An entry a field: how many items, how many of them failed and with which codes, key versions."""
        entries: dict[str, dict[str, Any]] = {}
        for index, asked in enumerate(self._asked):
            if not asked.given or asked.rule is None:
                continue
            entry = entries.setdefault(asked.rule.name, {"field": asked.rule.name, "items": 0})
            entry["items"] += 1
            if index in used.failures:
                failure = used.failures[index]
                code = failure if isinstance(failure, str) else failure.code
                entry["failed"] = dict(Counter(entry.get("failed", {})) + Counter([code]))
            elif asked.passed:
                entry["passed"] = entry.get("passed", 0) + 1
            if index in used.versions:
                entry["key_version"] = used.versions[index]
        return list(entries.values())


def people_named(chain: Iterable[Block]) -> set[str]:
    """The people that delegations are narrowed to, as their givers name them."""
    return {
        name for block in chain if block.narrowing.subjects is not UNSET for name in block.narrowing.subjects
    }


def narrowed(chain: Iterable[Block], people: Mapping[str, bytes]) -> frozenset[bytes] | None:
    """The rows of the people that every delegation names; None for any. Nobody knows who is not known."""
    left: frozenset[bytes] | None = None
    for block in chain:
        if block.narrowing.subjects is not UNSET:
            rows = frozenset(people.get(name, NEVER_SEEN) for name in block.narrowing.subjects)
            left = _both(left, rows)
    return left


def _both(one: frozenset[bytes] | None, other: frozenset[bytes] | None) -> frozenset[bytes] | None:
    """Who is among both; None is everybody."""
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _within(key: KeyRow, allowed: frozenset[bytes] | None, named: bytes | None) -> bool:
    """Whether a key's person is one the grant is for, and the one that the request names."""
    return (allowed is None or key.subject in allowed) and named in (None, key.subject)


def use_request(asking: Asking, asked: list[Asked], origin: Origin) -> UseRequest:
    """What is asked of the grant."""
    return UseRequest(
        operation=asking.operation,
        delivery=asking.delivery,
        purpose=asking.purpose,
        mask=asking.mask,
        fields=tuple(dict.fromkeys(one.field for one in asked)),
        items=sum(one.given for one in asked),
        address=origin.address,
        conversation=asking.conversation,
        task=asking.task,
        derive=asking.derive,
    )
