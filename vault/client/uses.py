"""Uses of a keyed grant without I/O: requests made of what is asked, and what their answers say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypedDict, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from vault.client.answers import Asked, new_challenge, read_awaited, read_shown, read_verified
from vault.client.approvals import PENDING, Awaited
from vault.client.exchange import Exchange, Patience, Pause, Send, exchange
from vault.client.http import check_idempotency_key
from vault.client.keys import Holder, Worker
from vault.client.proofs import delegate, new_jti, proof_headers
from vault.client.results import Shown, Verified
from vault.clock import SECOND, Clock
from vault.crypto.base64url import decode
from vault.crypto.statements import BLOCK, JOINT, Narrowing
from vault.errors import BadInput
from vault.identifiers import parse_id

T = TypeVar("T")
Key = bytes | str | Mapping[str, str]
"""A public key: 32 bytes, their base64url, or a JWK, as a grant's `delivery_key` is one."""

_JSON: Final = "application/json"
_encode: Final = msgspec.json.Encoder().encode


class Context(TypedDict, total=False):
    """What a use is part of, where the grant is bound to it; and how it is sent again.

    Attributes:
        conversation, task: as the grant's `bind` names them.
        idempotency_key: for a request that may be sent again whatever happened, and is charged once. If its
            answer was lost, its values are not given again: `values_not_kept`. A later call for a sealed
            answer is another request, since its challenge is: `idempotency_conflict` if this one was done.
    """

    conversation: str
    task: str
    idempotency_key: str


class Options(Context, total=False):
    """What can be said of a batch.

    Attributes:
        subjects: whose each value is, of the same length as the tokens.
        sealed: whether the answer is sealed; by default it is if the grant has a worker's key.
        report: whether a token that cannot be shown is told of in its place, rather than refuse them all.
    """

    subjects: Sequence[str | None]
    sealed: bool
    report: bool


class TokenOptions(Options, total=False):
    """The same of tokens.

    Attributes:
        key_version: of vaultless tokens.
    """

    key_version: int


class Narrower(TypedDict, total=False):
    """What is left to a delegate; what is not named stays as it was. See docs/spec/delegation-block.md.

    Attributes:
        uses: the most, counted for the delegate beside the grant.
        ttl_s: seconds from now; without it, as long as the grant allows.
    """

    operations: Sequence[str]
    fields: Sequence[str]
    subjects: Sequence[str]
    destinations: Sequence[str]
    mask: str
    uses: int
    ttl_s: int


@dataclass(frozen=True, slots=True, repr=False)
class Uses:
    """A keyed grant as its holder, or a delegate, uses it.

    Attributes:
        base: `https://HOST/v1/REGION/`, as proofs name it.
        grant: its id.
        chain: the delegations, where it was handed on.
        delivery_keys: the cell's, pinned; several while it takes another.
    """

    base: str
    region: str
    grant: str
    holder: Holder
    worker: Worker | None
    delivery_keys: tuple[bytes, ...]
    chain: str | None
    clock: Clock
    patience: Patience

    def show(
        self,
        operation: str,
        field: str,
        tokens: Sequence[str | None],
        purpose: str,
        options: TokenOptions,
        **more: Any,
    ) -> Exchange[Shown[Any]]:
        """The values of tokens, or what else an operation shows of them."""
        asked = self._asked(field, tokens, options, tests=operation == "derive")
        body = {"field": field, "tokens": asked.texts, "operation": operation, **more}
        if asked.subjects is not None:
            body["subjects"] = asked.subjects
        if "key_version" in options:
            body["key_version"] = options["key_version"]
        return self._shown("detokenize", body, asked, purpose, options)

    def decrypt(
        self,
        field: str,
        ciphertexts: Sequence[str | None],
        purpose: str,
        records: Sequence[str | None] | None,
        mask: str | None,
        options: Options,
    ) -> Exchange[Shown[str | None]]:
        """The values of ciphertexts, or what a mask shows of them."""
        asked = self._asked(field, ciphertexts, options)
        items: list[dict[str, Any]] = [{"field": field, "ciphertext": text} for text in asked.texts]
        for member, column in (("subject", asked.subjects), ("record", records)):
            if column is not None and len(column) != len(items):
                raise BadInput("items_mismatch")
            for item, text in zip(items, column or (), strict=False):
                if text is not None:
                    item[member] = text
        body: dict[str, Any] = {"items": items}
        body |= {"operation": "reveal"} if mask is None else {"operation": "mask", "mask": mask}
        return self._shown("decrypt", body, asked, purpose, options)

    def verify(
        self,
        field: str,
        token: str,
        candidate: str,
        purpose: str,
        subject: str | None,
        key_version: int | None,
        context: Context,
    ) -> Exchange[Verified]:
        """Whether a candidate is a token's value."""
        body: dict[str, Any] = {"purpose": purpose, "field": field, "token": token, "candidate": candidate}
        body |= {} if subject is None else {"subject": subject}
        body |= {} if key_version is None else {"key_version": key_version}
        return self._ask("verify", body | _context(context), context, lambda answer, _: read_verified(answer))

    def wait(self, approval: str, every_s: float, longest_s: float) -> Exchange[Awaited]:
        """How an approval stands, once it does not wait any more, or was waited for long enough.

        Raises:
            BadInput: `parameter_invalid`: not an approval's id.
        """
        try:
            parse_id("apr", approval)
        except ValueError:
            raise BadInput("parameter_invalid", parameter="approval") from None
        ends = self.clock.now() + int(longest_s * SECOND)
        while True:
            _, answer = yield from exchange(
                lambda: self._send("GET", f"approvals/{approval}", b"", {"Accept": _JSON}),
                once=True,
                patience=self.patience,
            )
            found = read_awaited(answer)
            if found.state != PENDING or self.clock.now() + int(every_s * SECOND) > ends:
                return found
            yield Pause(every_s)

    def narrowed(self, to: str, narrower: Narrower) -> str:
        """The chain of a delegate, by the thumbprint of its key.

        Raises:
            BadInput: `parameter_invalid`: a block cannot say that, or there are three already.
        """
        now = self.clock.now()
        left: dict[str, Any] = {}
        for member, value in narrower.items():
            if member == "ttl_s":
                left["exp"] = now // SECOND + narrower["ttl_s"]
            elif member in ("mask", "uses"):
                left[member] = value
            elif isinstance(value, str) or not isinstance(
                value, Sequence
            ):  # of a text, Python would take the letters
                raise BadInput("parameter_invalid", parameter=member)
            else:
                left[member] = tuple(dict.fromkeys(value))  # named twice, the service refuses it
        return delegate(
            self.holder.signer,
            grant=self.grant,
            chain=self.chain,
            to=to,
            narrowing=Narrowing(**left),
            now=now,
        )

    def handed_on(self, to: Holder, narrower: Narrower) -> Uses:
        """The same grant as a delegate uses it whose key is at hand."""
        return replace(self, holder=to, chain=self.narrowed(to.thumbprint, narrower))

    def _asked(
        self, field: str, texts: Sequence[str | None], options: Options, *, tests: bool = False
    ) -> Asked:
        if isinstance(texts, str):
            raise BadInput("parameter_invalid", parameter="tokens")
        subjects = options.get("subjects")
        if subjects is not None and len(subjects) != len(texts):
            raise BadInput("items_mismatch")
        sealed = options.get("sealed", self.worker is not None)
        if sealed and self.worker is None:
            raise BadInput("parameter_invalid", parameter="sealed")
        challenge = new_challenge() if sealed else None
        people = None if subjects is None else tuple(subjects)
        return Asked(field, tuple(texts), people, challenge, report=options.get("report", False), tests=tests)

    def _shown(
        self, path: str, body: dict[str, Any], asked: Asked, purpose: str, options: Options
    ) -> Exchange[Shown[Any]]:
        body |= {"purpose": purpose, **_context(options)}
        if asked.report:
            body["on_error"] = "report"
        if asked.challenge is not None:
            body |= {"delivery": "sealed", "challenge": asked.challenge}
        return self._ask(path, body, options, lambda answer, send: read_shown(self, asked, send.jti, answer))

    def _ask(
        self, path: str, body: dict[str, Any], context: Context, read: Callable[[Any, Send], T]
    ) -> Exchange[T]:
        """A request, each time with a proof of its own, and what its answer says."""
        content = _encode(body)  # once: what has an Idempotency-Key must stay the same
        headers = {"Content-Type": _JSON, "Accept": _JSON}
        key = context.get("idempotency_key")
        if key is not None:
            headers["Idempotency-Key"] = check_idempotency_key(key)

        def make() -> Send:
            return self._send("POST", path, content, headers)

        send, answer = yield from exchange(make, once=key is not None, patience=self.patience)
        return read(answer, send)

    def _send(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Send:
        """A request with a new proof."""
        jti, url = new_jti(), self.base + path
        proof = proof_headers(
            self.holder.signer,
            method=method,
            url=url,
            grant=self.grant,
            body=content,
            chain=self.chain,
            now=self.clock.now(),
            jti=jti,
        )
        return Send(method, url, {**headers, **proof}, content, jti)


def _context(context: Context) -> dict[str, str]:
    return {name: context[name] for name in ("conversation", "task") if name in context}


def base_url(url: str, region: str) -> str:
    """Where a region is asked, written as a request's URL will be: capitals and default ports are gone.

    Raises:
        BadInput: `parameter_invalid`: not http or https, or with more than a path behind the host.
    """
    try:
        whole = httpx.URL(f"{url.rstrip('/')}/v1/{quote(region, safe='')}/")
        parts = urlsplit(str(httpx.URL(str(whole))))  # twice: it looks for default ports before capitals go
    except (httpx.InvalidURL, ValueError):
        raise BadInput("parameter_invalid", parameter="url") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise BadInput("parameter_invalid", parameter="url")
    if not {"@", "%"}.isdisjoint(
        parts.netloc
    ):  # a password would stand in every proof; hosts have no escapes
        raise BadInput("parameter_invalid", parameter="url")
    return parts.geturl()


def delivery_key(key: Key) -> bytes:
    """The 32 bytes of a cell's public key.

    Raises:
        BadInput: `parameter_invalid`: not such a key.
    """
    try:
        if isinstance(key, Mapping):
            if (key["kty"], key["crv"]) != ("OKP", "Ed25519"):
                raise ValueError("another kind of key")
            key = key["x"]
        raw = decode(key) if isinstance(key, str) else bytes(key)
    except (KeyError, TypeError, ValueError):
        raise BadInput("parameter_invalid", parameter="delivery_keys") from None
    if len(raw) != 32:
        raise BadInput("parameter_invalid", parameter="delivery_keys")
    return raw


def check_chain(chain: str | None, holder: Holder) -> str | None:
    """The chain, if it ends with a block for that holder.

    Raises:
        BadInput: `parameter_invalid`: it is none, or another's.
    """
    if chain is None:
        return None
    try:
        last = BLOCK.parse(chain.rpartition(JOINT)[2])
    except ValueError:
        raise BadInput("parameter_invalid", parameter="chain") from None
    if last.claims.cnf.jkt != holder.thumbprint:
        raise BadInput("parameter_invalid", parameter="chain")
    return chain
