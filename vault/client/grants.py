"""Keyed grants as programs use them: values of tokens, for whoever holds the key, sync and async.

with KeyedGrant("https://vault.example", "eu", "gr_...", holder, worker=worker, delivery_keys=[key]) as grant:
    shown = grant.reveal("customer.name", tokens, purpose="support")
    with grant.delegate(fields=["customer.name"], uses=3) as narrower:
        run_sub_agent(narrower)

Each request has a proof of its own. With a worker's key answers come sealed: they are checked to be the
cell's and of these tokens before anything is given. See docs/how-to/use-a-keyed-grant.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Generic, Self, TypeVar, Unpack, overload

import httpx

from vault.client.approvals import Awaited
from vault.client.exchange import Exchange, Outcome, Patience, Pause, Step, lost, received
from vault.client.http import DEFAULT_TIMEOUT_S, tls_context
from vault.client.keys import Holder, Worker
from vault.client.results import Shown, Verified
from vault.client.uses import (
    Context,
    Key,
    Narrower,
    Options,
    TokenOptions,
    Uses,
    base_url,
    check_chain,
    delivery_key,
)
from vault.clock import Clock, SystemClock
from vault.errors import BadInput
from vault.identifiers import parse_id

T = TypeVar("T")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)

PATIENCE: Final = Patience()
_FAILURES: Final = (httpx.HTTPError, httpx.InvalidURL)


class _Grant(Generic[Http]):
    """What both kinds are made of."""

    _http: Http

    def __init__(
        self,
        url: str,
        region: str,
        grant: str,
        holder: Holder,
        worker: Worker | None,
        delivery_keys: Sequence[Key],
        chain: str | None,
        patience: Patience,
        clock: Clock,
    ) -> None:
        keys = tuple(map(delivery_key, delivery_keys))
        if (worker is None) != (not keys):  # sealed answers of anybody's, or keys for nothing
            raise BadInput("parameter_invalid", parameter="delivery_keys")
        base = base_url(url, region)
        try:
            parse_id("gr", grant)
        except ValueError:
            raise BadInput("parameter_invalid", parameter="grant") from None
        known = check_chain(chain, holder)
        self._uses = Uses(base, region, grant, holder, worker, keys, known, clock, patience)
        self._owned = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @property
    def id(self) -> str:
        """The grant's id. No secret: without the key it is worth nothing."""
        return self._uses.grant

    @property
    def chain(self) -> str | None:
        """The delegations, where the grant was handed on. No secret either."""
        return self._uses.chain

    @property
    def holder(self) -> Holder:
        """The key that it is used by."""
        return self._uses.holder

    @overload
    def delegate(self, to: str, **narrower: Unpack[Narrower]) -> str: ...

    @overload
    def delegate(self, to: Holder | None = None, **narrower: Unpack[Narrower]) -> Self: ...

    def delegate(self, to: str | Holder | None = None, **narrower: Unpack[Narrower]) -> str | Self:
        """Hands the grant on, or less of it. Nothing is asked of the service.

        Args:
            to: the thumbprint of the delegate's key, for one elsewhere; or the key itself. None: a fresh one.
            narrower: what is left; what the grant did not give is refused when it is used.

        Returns:
            For a thumbprint the chain, which the delegate makes its own grant with. For a key that grant,
            over the same connections and with the same worker's key; leaving it as a context closes nothing.

        Raises:
            BadInput: `parameter_invalid`: a block cannot say that, or there are three already.
        """
        if isinstance(to, str):
            return self._uses.narrowed(to, narrower)
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._uses = self._uses.handed_on(Holder.new() if to is None else to, narrower)
        made._owned = False
        return made


class KeyedGrant(_Grant[httpx.Client]):
    """A keyed grant and the key that holds it. Use one for each thread.

    Args:
        url: the service's address.
        region: the region whose cell is meant.
        grant: its id.
        holder: the key that it is bound to, or that it was handed on to.
        worker: the key that its `seal_to` names, of whoever may see values; None: answers come plain.
        delivery_keys: the cell's public keys, as the answer that created the grant named its `delivery_key`;
            from there or from a configuration, never from an answer with values.
        chain: what `delegate` gave, for a delegate.
        timeout: seconds for one request.
        ca: a PEM file of the authorities that are trusted over https; None: those of this host.
        http: connections of the caller's own, who closes them; `timeout` and `ca` are its then.
        patience: how often a request is sent, and how long is waited in between.
        pause: waits.

    Raises:
        BadInput: `parameter_invalid`: an address, an id, a key or a chain that is none; a worker's key
            without a delivery key, or the other way round.
        Misconfigured: `host_permissions`, `config_invalid`: the file of authorities.
    """

    def __init__(
        self,
        url: str,
        region: str,
        grant: str,
        holder: Holder,
        *,
        worker: Worker | None = None,
        delivery_keys: Sequence[Key] = (),
        chain: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        ca: str | None = None,
        http: httpx.Client | None = None,
        patience: Patience = PATIENCE,
        pause: Callable[[float], None] = time.sleep,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            url, region, grant, holder, worker, delivery_keys, chain, patience, clock or SystemClock()
        )
        self._pause = pause
        self._owned = http is None
        if http is None:
            verify = tls_context(ca) if self._uses.base.startswith("https:") else False
            http = httpx.Client(timeout=timeout, trust_env=False, verify=verify)
        self._http = http

    def reveal(
        self, field: str, tokens: Sequence[str | None], *, purpose: str, **options: Unpack[TokenOptions]
    ) -> Shown[str | None]:
        """The values of tokens. One use for each token that is not null, hit or miss.

        Raises:
            CoatcheckError: the service's refusal, of the family of its code; `service_unreachable`.
            IntegrityError: `ciphertext_invalid`: a sealed answer that is not the cell's to this request.
            Conflict: `values_not_kept`: of a request that was sent again under its Idempotency-Key.
        """
        return self._run(self._uses.show("reveal", field, tokens, purpose, options))

    def mask(
        self,
        field: str,
        tokens: Sequence[str | None],
        mask: str,
        *,
        purpose: str,
        **options: Unpack[TokenOptions],
    ) -> Shown[str | None]:
        """What one of the field's masks shows of them; as `reveal`."""
        return self._run(self._uses.show("mask", field, tokens, purpose, options, mask=mask))

    def derive(
        self,
        field: str,
        tokens: Sequence[str | None],
        fn: str,
        arg: int | None = None,
        *,
        purpose: str,
        **options: Unpack[TokenOptions],
    ) -> Shown[str | bool | None]:
        """A part of each value, or whether it passes a test that the grant pins; as `reveal`."""
        derive = {"fn": fn} | ({} if arg is None else {"arg": arg})
        return self._run(self._uses.show("derive", field, tokens, purpose, options, derive=derive))

    def decrypt(
        self,
        field: str,
        ciphertexts: Sequence[str | None],
        *,
        purpose: str,
        records: Sequence[str | None] | None = None,
        mask: str | None = None,
        **options: Unpack[Options],
    ) -> Shown[str | None]:
        """The values of ciphertexts, or what a mask shows of them; as `reveal`.

        Args:
            records: what each was encrypted for, where it was for a record.
        """
        return self._run(self._uses.decrypt(field, ciphertexts, purpose, records, mask, options))

    def verify(
        self,
        field: str,
        token: str,
        candidate: str,
        *,
        purpose: str,
        subject: str | None = None,
        key_version: int | None = None,
        **context: Unpack[Context],
    ) -> Verified:
        """Whether a candidate is a token's value. Each token can be tried a few times.

        Raises:
            CoatcheckError: as `reveal`.
        """
        return self._run(self._uses.verify(field, token, candidate, purpose, subject, key_version, context))

    def wait_for(self, approval: str, *, every_s: float = 5.0, longest_s: float = 3_600.0) -> Awaited:
        """How an approval stands, once it does not wait any more: then the same use may be asked for again.

        Args:
            approval: its id, as `ApprovalRequired` names it.
            every_s: seconds between two looks; longest_s: for how long at most.

        Raises:
            CoatcheckError: as `reveal`.
        """
        return self._run(self._uses.wait(approval, every_s, longest_s))

    def close(self) -> None:
        """Closes the connections, if they are this grant's own."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Exchange[T]) -> T:
        try:
            step = next(steps)
            while True:
                step = steps.send(self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            self._pause(step.seconds)
            return None
        try:
            response = self._http.request(
                step.method, step.url, content=step.content, headers=step.headers, follow_redirects=False
            )
        except _FAILURES as problem:
            return lost(problem)
        return received(response)


class AsyncKeyedGrant(_Grant[httpx.AsyncClient]):
    """The same for programs with an event loop; arguments, results and errors as of `KeyedGrant`.

    Args:
        pause: waits; of another loop than asyncio's, its own.
    """

    def __init__(
        self,
        url: str,
        region: str,
        grant: str,
        holder: Holder,
        *,
        worker: Worker | None = None,
        delivery_keys: Sequence[Key] = (),
        chain: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        ca: str | None = None,
        http: httpx.AsyncClient | None = None,
        patience: Patience = PATIENCE,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            url, region, grant, holder, worker, delivery_keys, chain, patience, clock or SystemClock()
        )
        self._pause = pause
        self._owned = http is None
        if http is None:
            verify = tls_context(ca) if self._uses.base.startswith("https:") else False
            http = httpx.AsyncClient(timeout=timeout, trust_env=False, verify=verify)
        self._http = http

    async def reveal(
        self, field: str, tokens: Sequence[str | None], *, purpose: str, **options: Unpack[TokenOptions]
    ) -> Shown[str | None]:
        """See `KeyedGrant.reveal`."""
        return await self._run(self._uses.show("reveal", field, tokens, purpose, options))

    async def mask(
        self,
        field: str,
        tokens: Sequence[str | None],
        mask: str,
        *,
        purpose: str,
        **options: Unpack[TokenOptions],
    ) -> Shown[str | None]:
        """See `KeyedGrant.mask`."""
        return await self._run(self._uses.show("mask", field, tokens, purpose, options, mask=mask))

    async def derive(
        self,
        field: str,
        tokens: Sequence[str | None],
        fn: str,
        arg: int | None = None,
        *,
        purpose: str,
        **options: Unpack[TokenOptions],
    ) -> Shown[str | bool | None]:
        """See `KeyedGrant.derive`."""
        derive = {"fn": fn} | ({} if arg is None else {"arg": arg})
        return await self._run(self._uses.show("derive", field, tokens, purpose, options, derive=derive))

    async def decrypt(
        self,
        field: str,
        ciphertexts: Sequence[str | None],
        *,
        purpose: str,
        records: Sequence[str | None] | None = None,
        mask: str | None = None,
        **options: Unpack[Options],
    ) -> Shown[str | None]:
        """See `KeyedGrant.decrypt`."""
        return await self._run(self._uses.decrypt(field, ciphertexts, purpose, records, mask, options))

    async def verify(
        self,
        field: str,
        token: str,
        candidate: str,
        *,
        purpose: str,
        subject: str | None = None,
        key_version: int | None = None,
        **context: Unpack[Context],
    ) -> Verified:
        """See `KeyedGrant.verify`."""
        steps = self._uses.verify(field, token, candidate, purpose, subject, key_version, context)
        return await self._run(steps)

    async def wait_for(self, approval: str, *, every_s: float = 5.0, longest_s: float = 3_600.0) -> Awaited:
        """See `KeyedGrant.wait_for`."""
        return await self._run(self._uses.wait(approval, every_s, longest_s))

    async def aclose(self) -> None:
        """Closes the connections, if they are this grant's own."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, steps: Exchange[T]) -> T:
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            await self._pause(step.seconds)
            return None
        try:
            response = await self._http.request(
                step.method, step.url, content=step.content, headers=step.headers, follow_redirects=False
            )
        except _FAILURES as problem:
            return lost(problem)
        return received(response)
