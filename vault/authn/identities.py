"""From a credential to whoever presents it.

What is found here decides what a verb may prepare; what binds is the ledger, which locks the same rows
and calls the command stale if the principal or the key is no longer what was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from vault.authn.acts import Acts
from vault.authn.oauth import Once
from vault.authn.seen import Seen
from vault.authn.sessions import DEFAULT_IDLE, MINUTE, SESSION
from vault.clock import Clock, Micros
from vault.crypto.mac import same, secret_digest
from vault.errors import Unauthenticated
from vault.identifiers import split_credential
from vault.policy.approval import Approval
from vault.policy.block import Block, check_holder, parse_chain
from vault.policy.networks import inside
from vault.policy.principal import Principal
from vault.policy.proof import Proof
from vault.policy.terms import decode_terms
from vault.store.cache import BoundedCache
from vault.store.cell import Store
from vault.store.operators import SessionRow
from vault.store.rows import ApiKeyRow, decode_principal

SCHEME: Final = "bearer "
_MAX_HEADER: Final = 512


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential taken apart; the secret itself is already gone.

    Attributes:
        kind: `ck` (service key), `cs` (session), `cg` (bearer grant) or `gr` (keyed grant).
        id: the id it names, `ck_...`, `cs_...` or `gr_...`.
        digest: SHA-256 of the secret part; empty for a keyed grant, which has none.
    """

    kind: str
    id: str
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated principal and the key or session it came with.

    Attributes:
        api_key: the service key's id, or the session's; empty for the host.
        expires_at: of the key or session; 0 = never.
        networks: a JSON list of CIDRs from which the key may be used; empty list: anywhere.
        mfa_at: when a second factor was last proved in the session; 0: never.
        mfa_by: which.
        network: that the session was begun from, or where a second factor was last proved in it.
        token: what the access token that it came with is remembered by, once that is revoked; None: no token.
        proof: that whoever sent it holds its token's key; None: nothing to spend.
    """

    principal: Principal
    api_key: str
    expires_at: int
    networks: str = "[]"
    mfa_at: Micros = 0
    mfa_by: str = ""
    network: str = ""
    token: bytes | None = field(default=None, repr=False)
    proof: Once | None = field(default=None, repr=False)

    @property
    def in_session(self) -> bool:
        """Whether it is a person who signed in."""
        return self.api_key.startswith(SESSION)

    @property
    def actor(self) -> str:
        """Who acted, for the audit log."""
        return self.principal.name


def parse_authorization(header: str | None) -> Credential:
    """The credential of an Authorization header.

    Raises:
        Unauthenticated: `credential_missing`, `credential_invalid`.
    """
    if not header:
        raise Unauthenticated("credential_missing")
    if len(header) > _MAX_HEADER or header[: len(SCHEME)].lower() != SCHEME:
        raise Unauthenticated("credential_invalid")
    try:
        kind, body, secret = split_credential(header[len(SCHEME) :])
    except ValueError:
        raise Unauthenticated("credential_invalid") from None
    return Credential(kind, ("gr" if kind == "cg" else kind) + "_" + body, secret_digest(secret))


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever presents a grant's credential, or a proof of its key: the grant may be in any state.

    Attributes:
        agent, purpose: the grant's, which never change.
        for_user: whether the agent acts on somebody's behalf.
        proof: of a keyed grant; None for a bearer grant.
        chain: the delegations between the grant's own holder and this one.
        approval, seal_to: the grant's, which never change.
    """

    credential: Credential
    tenant: str
    agent: str
    purpose: str
    proof: Proof | None = None
    chain: tuple[Block, ...] = ()
    approval: Approval | None = None
    seal_to: str | None = None
    for_user: bool = False

    @property
    def keys(self) -> list[str]:
        """The thumbprints of everybody who holds the grant or handed it on, the grant's own holder first."""
        if self.proof is None:
            return []
        return [*(block.signer for block in self.chain), self.proof.jkt]


class _Known(NamedTuple):
    """What of a grant's row never changes."""

    digest: bytes
    tenant: str
    jkt: str | None
    agent: str
    purpose: str
    approval: Approval | None
    seal_to: str | None
    for_user: bool

    @property
    def named(self) -> tuple[str, str, str]:
        """Tenant, agent and purpose."""
        return self.tenant, self.agent, self.purpose


class Identities:
    """Finds callers and grants by credential; remembers them for at most a minute.

    Args:
        store: the cell's database.
        clock: for expiry.
        idle: how long a session may lie unused.

    Attributes:
        seen: when sessions were used.
        acts: how often they were used for what is administrative.
    """

    def __init__(self, store: Store, clock: Clock, idle: Micros = DEFAULT_IDLE) -> None:
        self._store = store
        self._clock = clock
        self._idle = idle
        self.seen = Seen(MINUTE)
        self.acts = Acts()
        self._keys: BoundedCache[str, tuple[bytes, Caller] | None] = BoundedCache()
        self._grants: BoundedCache[str, _Known | None] = BoundedCache()
        self._revoked: BoundedCache[bytes, bool] = BoundedCache()

    def caller(self, credential: Credential, *, fresh: bool = False) -> Caller:
        """Whoever presents a service key, or signed in.

        Args:
            fresh: whether to read the key and its principal now, whatever is remembered.

        Raises:
            Unauthenticated: `credential_invalid`: no such key or session, wrong secret, revoked or expired.
        """
        if credential.kind not in _READ:
            raise Unauthenticated("credential_invalid")
        if fresh:
            self._keys.drop(credential.id)
        found = self._keys.get(credential.id, lambda: _READ[credential.kind](self, credential.id))
        if found is None:
            self._keys.drop(credential.id)
            raise Unauthenticated("credential_invalid")
        digest, caller = found
        expired = 0 < caller.expires_at <= self._clock.now()
        if not same(digest, credential.digest) or expired:
            raise Unauthenticated("credential_invalid")
        if caller.in_session:
            self._check_used(caller.api_key)
        return caller

    def of_key(self, key: str, *, fresh: bool = False) -> Caller:
        """Whoever a living service key is of, for whom somebody else has looked that it is theirs.

        Args:
            fresh: as for `caller`.

        Raises:
            Unauthenticated: `credential_invalid`: no such key, or it is revoked or expired.
        """
        if fresh:
            self._keys.drop(key)
        found = self._keys.get(key, lambda: self._read_key(key))
        if found is None:
            self._keys.drop(key)
            raise Unauthenticated("credential_invalid")
        caller = found[1]
        if 0 < caller.expires_at <= self._clock.now():
            raise Unauthenticated("credential_invalid")
        return caller

    def is_spent(self, digest: bytes, *, fresh: bool = False) -> bool:
        """Whether something that may be used up, or revoked, was; as it is remembered, or as it stands."""
        if fresh:
            self._revoked.drop(digest)
        return self._revoked.get(
            digest, lambda: bool(self._store.read_keys(self._store.operators.challenges, [digest]))
        )

    def proved(self, session: str) -> tuple[Micros, str]:
        """When a second factor was last proved in a session, as it stands now, and where; 0: never."""
        rows = self._store.read_keys(self._store.operators.sessions, [session])
        if not rows:
            return 0, ""
        row = SessionRow(*rows[0])
        return row.mfa_at, row.network

    def drop(self, credential: str) -> None:
        """Forgets one key or session."""
        self._keys.drop(credential)

    def _check_used(self, session: str) -> None:
        """Returns if a session was used not long ago, here or by another process.

        Raises:
            Unauthenticated: `credential_invalid`.
        """
        now = self._clock.now()
        if self.seen.last(session) + self._idle <= now:
            rows = self._store.read_keys(self._store.operators.sessions, [session])
            if not rows or SessionRow(*rows[0]).seen_at + self._idle <= now:
                raise Unauthenticated("credential_invalid")
        self.seen.note(session, now)

    def holder(self, credential: Credential) -> Holder:
        """Whoever presents a grant's credential, in whatever state the grant is.

        Raises:
            Unauthenticated: `grant_invalid`: no such grant, or the wrong secret.
        """
        if credential.kind != "cg":
            raise Unauthenticated("grant_invalid")
        found = self._grant(credential.id)
        if not same(found.digest, credential.digest):
            raise Unauthenticated("grant_invalid")
        return Holder(
            credential,
            *found.named,
            approval=found.approval,
            seal_to=found.seal_to,
            for_user=found.for_user,
        )

    def keyed(self, grant: str, proof: Proof, chain: str | None) -> Holder:
        """Whoever proves to hold a grant's key, or one that the grant was handed on to.

        Args:
            proof: its signature is right; whether it is for this request is looked at elsewhere.
            chain: the `Coatcheck-Chain` header.

        Raises:
            Unauthenticated: `grant_invalid`: no such grant, or a bearer grant; `proof_invalid`: another
                key's.
            Denied: `delegation_denied`: no chain from the grant's holder.
        """
        found = self._grant(grant)
        if found.jkt is None:
            raise Unauthenticated("grant_invalid")
        blocks = () if chain is None else parse_chain(chain, grant, found.jkt)
        check_holder(blocks, found.jkt, proof.jkt)
        named = Credential("gr", grant, b"")
        return Holder(named, *found.named, proof, blocks, found.approval, found.seal_to, found.for_user)

    def _grant(self, grant: str) -> _Known:
        found = self._grants.get(grant, lambda: self._read_grant(grant))
        if found is None:
            self._grants.drop(grant)
            raise Unauthenticated("grant_invalid")
        return found

    def forget(self) -> None:
        """Drops everything remembered."""
        self._keys.clear()
        self._grants.clear()
        self._revoked.clear()

    def _read_key(self, api_key: str) -> tuple[bytes, Caller] | None:
        record = self._store.record
        rows = self._store.read_keys(record.api_keys, [api_key])
        if not rows:
            return None
        key = ApiKeyRow(*rows[0])
        owner = decode_principal(self._store.read_keys(record.principals, [key.principal])[0])
        if key.revoked_at or owner.removed:
            return None
        return bytes(key.digest), Caller(owner.principal, key.id, key.expires_at, key.networks)

    def _read_session(self, session: str) -> tuple[bytes, Caller] | None:
        rows = self._store.read_keys(self._store.operators.sessions, [session])
        if not rows:
            return None
        row = SessionRow(*rows[0])
        found = self._store.read_keys(self._store.record.principals, [row.principal])
        owner = decode_principal(found[0])
        if row.revoked_at or owner.removed:
            return None
        who = owner.principal
        caller = Caller(who, row.id, row.expires_at, "[]", row.mfa_at, row.mfa_by, row.network)
        return bytes(row.digest), caller

    def _read_grant(self, grant: str) -> _Known | None:
        rows = self._store.read(self._store.record.grant_holder, {"grant_id": grant})
        if not rows:
            return None
        digest, tenant, jkt, agent, purpose, terms, for_user = rows[0]
        found = decode_terms(terms)
        held = found.approval, found.seal_to, bool(for_user)
        return _Known(bytes(digest), tenant, jkt, agent, purpose, *held)


_READ: Final[dict[str, Callable[[Identities, str], tuple[bytes, Caller] | None]]] = {
    "ck": Identities._read_key,
    "cs": Identities._read_session,
}


def in_networks(networks: str, address: str) -> bool:
    """Whether an address lies in one of a key's networks (a JSON list of CIDRs); no networks: any."""
    return networks == "[]" or inside(msgspec.json.decode(networks, type=list[str]), address)
