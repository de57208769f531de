"""A FAKE of the service, for the tests of programs that use keyed grants. It protects nothing.

vault = FakeVault({"customer.name": {"tok_1": "Ada Lovelace"}}, masks={"initial": lambda name: name[0] + "."})
with vault.grant(purpose="support", fields=["customer.name"], uses=2) as grant:
    assert grant.reveal("customer.name", ["tok_1"], purpose="support").values == ("Ada Lovelace",)

The grants that it gives are the real ones of `vault.client.grants`: their requests end in this process, at a
dictionary. Proofs, chains, narrowing, budgets, sealing and idempotency are as with a cell. There are no
persons, rates, windows, networks or conversations, no key versions, and no audit log; a delegation to persons
or destinations is a NotImplementedError here. Values lie in memory in the clear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx
import msgspec
from msgspec import UNSET

from vault.client.grants import AsyncKeyedGrant, KeyedGrant
from vault.client.keys import Holder, Worker
from vault.clock import SECOND, Clock, SystemClock
from vault.codes import CODES
from vault.crypto import hpke
from vault.crypto.base64url import digest, encode
from vault.crypto.delivery import info, signed_bytes
from vault.crypto.signing import Signer, keypair
from vault.crypto.statements import BLOCK, JOINT, PROOF, Narrowing, ProofClaims, first_link
from vault.errors import CoatcheckError, error
from vault.identifiers import new_id

URL: Final = "https://fake.invalid"  # RFC 6761, 6.4: nobody is ever there
REGION: Final = "eu"
MAX_AGE_S: Final = 60  # of a proof, as docs/spec/grant-proof.md has it
TTL_S: Final = 300  # of a delegation that names no end
_OK: Final = 200


@dataclass(frozen=True, slots=True, repr=False)
class _Bounds:
    """What a holder may do."""

    fields: frozenset[str]
    operations: frozenset[str]
    mask: str | None = None
    counters: tuple[str, ...] = ()


@dataclass(slots=True, repr=False)
class _Given:
    """A grant that was given, and what became of it."""

    holder: Holder
    worker: Worker | None
    purpose: str
    bounds: _Bounds
    depth: int
    left: dict[str, int]  # by what is counted: the grant, and each block with a count of its own
    proofs: set[str] = field(default_factory=set)
    kept: dict[tuple[str, str], tuple[str, dict[str, Any]]] = field(default_factory=dict)
    revoked: bool = False


class FakeVault:
    """A FAKE: a dictionary of tokens that answers as a service does.

    Args:
        values: of each token, or ciphertext, by field.
        masks: what each mask shows of a value, by its name.
        derived: functions of a value and an argument, by name.
        clock: which proofs and delegations are measured by.

    Attributes:
        asked: of each request that was decided, what it was for and its code; None where it was allowed. For
            assertions: it holds no value and no token.
        transport: for connections of a test's own.
    """

    def __init__(
        self,
        values: Mapping[str, Mapping[str, str]],
        *,
        masks: Mapping[str, Callable[[str], str]] | None = None,
        derived: Mapping[str, Callable[[str, int | None], str | bool]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._values = {name: dict(tokens) for name, tokens in values.items()}
        self._masks = dict(masks or {})
        self._derived = dict(derived or {})
        self._clock = clock or SystemClock()
        self._signer = Signer(keypair()[0])
        self._grants: dict[str, _Given] = {}
        self._refusals: list[CoatcheckError] = []
        self.asked: list[tuple[str, str | None]] = []
        self.transport = httpx.MockTransport(self._handle)

    def __repr__(self) -> str:
        return "<FakeVault>"

    @property
    def delivery_key(self) -> dict[str, str]:
        """What signs sealed answers, as a grant's `delivery_key` is told."""
        return {"kty": "OKP", "crv": "Ed25519", "x": encode(self._signer.public)}

    def grant(self, *, purpose: str, fields: Sequence[str], **more: Any) -> KeyedGrant:
        """A grant that this fake answers to.

        Args:
            more: `operations` (reveal), `uses` (10), `depth` of delegations (0), `holder` (a fresh one), and
                `worker`, to which answers are sealed then.
        """
        id_, given = self._give(purpose, fields, **more)
        http = httpx.Client(transport=self.transport)
        return KeyedGrant(URL, REGION, id_, given.holder, http=http, pause=_at_once, **self._sealing(given))

    def async_grant(self, *, purpose: str, fields: Sequence[str], **more: Any) -> AsyncKeyedGrant:
        """The same for programs with an event loop."""
        id_, given = self._give(purpose, fields, **more)
        http = httpx.AsyncClient(transport=self.transport)
        sealing = self._sealing(given)
        return AsyncKeyedGrant(URL, REGION, id_, given.holder, http=http, pause=_at_once_too, **sealing)

    def revoke(self, grant: str) -> None:
        """Ends a grant."""
        self._grants[grant].revoked = True

    def refuse_next(self, code: str, **facts: Any) -> None:
        """The next request is refused with a code, and nothing is charged. Several are refused in turn.

        Args:
            facts: such as `retry_after`, in seconds.
        """
        self._refusals.append(error(code, **facts))

    def _give(
        self,
        purpose: str,
        fields: Sequence[str],
        operations: Sequence[str] = ("reveal",),
        uses: int = 10,
        depth: int = 0,
        holder: Holder | None = None,
        worker: Worker | None = None,
    ) -> tuple[str, _Given]:
        id_ = str(new_id("gr"))
        bounds = _Bounds(frozenset(fields), frozenset(operations), counters=(id_,))
        given = _Given(holder or Holder.new(), worker, purpose, bounds, depth, {id_: uses})
        self._grants[id_] = given
        return id_, given

    def _sealing(self, given: _Given) -> dict[str, Any]:
        if given.worker is None:
            return {}
        return {"worker": given.worker, "delivery_keys": [self.delivery_key]}

    def _handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.rpartition("/")[2]
        try:
            answer = self._decide(request, path)
        except CoatcheckError as refusal:
            self.asked.append((path, refusal.code))
            return _problem(refusal)
        self.asked.append((path, None))
        return httpx.Response(_OK, json=answer)

    def _decide(self, request: httpx.Request, path: str) -> dict[str, Any]:
        if self._refusals:
            raise self._refusals.pop(0)
        if path not in ("detokenize", "decrypt", "verify"):
            raise error("not_found")
        id_ = request.headers.get("authorization", "").removeprefix("Grant ")
        given = self._grants.get(id_)
        if given is None or given.revoked:
            raise error("grant_invalid")
        proof, bounds = self._admit(request, id_, given)
        body = msgspec.json.decode(request.content)
        key, of_body = request.headers.get("idempotency-key"), digest(request.content)
        if key is not None and (path, key) in given.kept:
            known, answer = given.kept[path, key]
            if known != of_body:
                raise error("idempotency_conflict")
            return answer
        answer = self._use(path, body, id_, given, bounds, proof.jti)
        if key is not None:
            given.kept[path, key] = (of_body, {"decision": answer["decision"], "replayed": True})
        return answer

    def _admit(self, request: httpx.Request, id_: str, given: _Given) -> tuple[ProofClaims, _Bounds]:
        """The request's proof, and what its chain leaves."""
        chain = request.headers.get("coatcheck-chain")
        try:
            signed = PROOF.parse(request.headers.get("dpop", ""))
        except ValueError:
            raise error("proof_invalid") from None
        jkt, bounds = given.holder.thumbprint, given.bounds
        if chain is not None:
            jkt, bounds = self._narrowed(chain, id_, given)
        says = signed.claims
        wanted = (request.method, str(request.url), id_, digest(request.content), jkt)
        if (says.htm, says.htu, says.gid, says.bdh, signed.jkt) != wanted:
            raise error("proof_invalid")
        if says.cdh != (UNSET if chain is None else digest(chain.encode())):
            raise error("proof_invalid")
        if abs(self._clock.now() // SECOND - says.iat) > MAX_AGE_S:
            raise error("proof_expired")
        if says.jti in given.proofs:
            raise error("proof_replayed")
        given.proofs.add(says.jti)
        return says, bounds

    def _narrowed(self, chain: str, id_: str, given: _Given) -> tuple[str, _Bounds]:
        """The last holder of a chain, and what is left to it."""
        try:
            blocks = BLOCK.parse_all(chain.split(JOINT))
        except ValueError:
            raise error("delegation_denied") from None
        jkt, link, bounds = given.holder.thumbprint, first_link(id_), given.bounds
        if len(blocks) > given.depth:
            raise error("delegation_denied", member="depth")
        for block in blocks:
            says = block.claims
            if (block.jkt, says.gid, says.p) != (jkt, id_, link):
                raise error("delegation_denied")
            jkt, link = says.cnf.jkt, digest(block.signing_input)
            end = says.iat + TTL_S if says.n.exp is UNSET else says.n.exp
            if self._clock.now() // SECOND >= end:
                raise error("grant_invalid")
            bounds = _less(bounds, says.n)
            if says.n.uses is not UNSET:
                given.left.setdefault(link, says.n.uses)
                bounds = replace(bounds, counters=(*bounds.counters, link))
        return jkt, bounds

    def _use(
        self, path: str, body: dict[str, Any], id_: str, given: _Given, bounds: _Bounds, jti: str
    ) -> dict[str, Any]:
        """Charges for what is asked, and shows it."""
        items = _items(path, body)
        operation = "verify" if path == "verify" else body["operation"]
        charge = sum(text is not None for _, text, _ in items)
        if operation == "derive" and body["derive"]["fn"] == "equals":
            one_field = len({name for name, _, _ in items}) == 1
            if not (one_field and charge == len(items) == 2):
                raise error("pair_required")  # before the charge, as a service does
        if charge > min(given.left[counter] for counter in bounds.counters):
            raise error("budget_exhausted")
        for counter in bounds.counters:
            given.left[counter] -= charge
        sealed = body.get("delivery") == "sealed"
        if body["purpose"] != given.purpose:
            raise error("purpose_mismatch")
        if operation not in bounds.operations:
            raise error("scope_denied", member="operation")
        if not bounds.fields.issuperset(name for name, _, _ in items):
            raise error("scope_denied", member="field")
        if bounds.mask not in (None, body.get("mask")):
            raise error("scope_denied", member="mask")
        if sealed != (given.worker is not None) and path != "verify":
            raise error("scope_denied", member="delivery")
        shown, refused = self._shown(operation, body, items)
        left = given.left[id_]
        if refused and body.get("on_error") != "report":
            listed = [{"index": place, "code": code} for place, code in sorted(refused.items())]
            raise error(listed[0]["code"], errors=listed, uses_left=left)  # type: ignore[arg-type]
        answer: dict[str, Any] = {"decision": str(new_id("dec")), "grant": {"id": id_, "uses_left": left}}
        if path == "verify":
            return answer | {"match": shown[0], "attempts_left": 1}
        if sealed:
            return answer | self._sealed(id_, given, body, items, shown, refused, jti, answer["decision"])
        told = [
            {"error": {"code": refused[place]}} if place in refused else value
            for place, value in enumerate(shown)
        ]
        return answer | {"values": told}

    def _shown(
        self, operation: str, body: dict[str, Any], items: list[tuple[str, str | None, str | None]]
    ) -> tuple[list[str | bool | None], dict[int, str]]:
        """What an operation shows of each item, and which are refused."""
        shown: list[str | bool | None] = []
        refused: dict[int, str] = {}
        for place, (name, text, _) in enumerate(items):
            value = None if text is None else self._values.get(name, {}).get(text)
            if value is None:
                shown.append(None)
                if text is not None:
                    refused[place] = "token_unknown"
            elif operation == "mask":
                shown.append(_known(self._masks, body["mask"], "mask")(value))
            elif operation == "derive":
                if body["derive"]["fn"] == "equals":
                    shown.append(self._equal(items))
                    continue
                function = _known(self._derived, body["derive"]["fn"], "derive")
                shown.append(function(value, body["derive"].get("arg")))
            else:
                shown.append(value if operation == "reveal" else value == body["candidate"])
        return shown, refused

    def _equal(self, items: list[tuple[str, str | None, str | None]]) -> bool:
        """Whether the tokens of a pair stand for one value."""
        return len({self._values.get(name, {}).get(text or "") for name, text, _ in items}) == 1

    def _sealed(
        self,
        id_: str,
        given: _Given,
        body: dict[str, Any],
        items: list[tuple[str, str | None, str | None]],
        shown: list[str | bool | None],
        refused: dict[int, str],
        jti: str,
        decision: str,
    ) -> dict[str, Any]:
        """The same, sealed as docs/spec/sealed-delivery.md has it."""
        assert given.worker is not None  # noqa: S101 - looked at before anything was shown
        told, statuses = [], []
        for place, ((name, text, subject), value) in enumerate(zip(items, shown, strict=True)):
            item: dict[str, Any] = {"field": name, "of": text or ""}
            item |= {} if subject is None else {"subject": subject}
            told.append(item | ({"code": refused[place]} if place in refused else {"value": value}))
            statuses.append({"error": {"code": refused[place]}} if place in refused else {"status": "sealed"})
        plaintext = msgspec.json.encode({"decision": decision, "jti": jti, "items": told})
        kid = given.worker.thumbprint
        enc_ct = hpke.seal(given.worker.public, info(hpke.SUITE, id_, jti), plaintext)
        signed = signed_bytes(
            cell=REGION, grant=id_, challenge=body["challenge"], decision=decision, suite=hpke.SUITE, kid=kid,
            enc_ct=enc_ct,
        )  # fmt: skip
        sealed = {"suite": hpke.SUITE, "kid": kid, "enc_ct": encode(enc_ct)}
        return {"items": statuses, "sealed": {**sealed, "sig": encode(self._signer.sign(signed))}}


def _less(bounds: _Bounds, given: Narrowing) -> _Bounds:
    """What a block leaves of its giver's bounds."""
    if given.subjects is not UNSET or given.destinations is not UNSET:
        raise NotImplementedError("the fake knows neither persons nor destinations")
    fields = bounds.fields if given.fields is UNSET else frozenset(given.fields)
    operations = bounds.operations if given.operations is UNSET else frozenset(given.operations)
    if not fields <= bounds.fields:
        raise error("delegation_denied", member="fields")
    if not operations <= bounds.operations:
        raise error("delegation_denied", member="operations")
    if given.mask is UNSET:
        return replace(bounds, fields=fields, operations=operations)
    named = given.operations is not UNSET and "reveal" in given.operations
    left = operations - {"reveal"}
    if bounds.mask not in (None, given.mask) or named or not left:
        raise error("delegation_denied", member="mask")
    return replace(bounds, fields=fields, operations=left, mask=given.mask)


def _items(path: str, body: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """Field, token and person of each item of a body."""
    if path == "verify":
        return [(body["field"], body["token"], body.get("subject"))]
    if path == "decrypt":
        return [(item["field"], item["ciphertext"], item.get("subject")) for item in body["items"]]
    people = body.get("subjects") or [None] * len(body["tokens"])
    return [(body["field"], text, who) for text, who in zip(body["tokens"], people, strict=True)]


def _known(functions: Mapping[str, Any], name: str, member: str) -> Any:
    if name not in functions:
        raise error("operation_unsupported", member=member)
    return functions[name]


def _problem(refusal: CoatcheckError) -> httpx.Response:
    """A refusal as a service answers it."""
    row = CODES[refusal.code]
    status = 422 if "errors" in refusal.facts else row.status or 500
    document = {"code": refusal.code, "title": row.sentence, "status": status, "retry": row.retry}
    headers = {"content-type": "application/problem+json"}
    if status in (423, 429, 503):
        headers["retry-after"] = str(refusal.facts.get("retry_after", 1))
    return httpx.Response(status, headers=headers, json={**document, **refusal.facts})


def _at_once(seconds: float) -> None:
    """In place of a pause: tests do not wait."""


async def _at_once_too(seconds: float) -> None:
    """The same for an event loop."""
