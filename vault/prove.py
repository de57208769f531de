"""Shows that erasures hold: a cell of its own is filled, erased in, and attacked at each level.

The attacker has a copy of the whole database from before, the key store as it is, the index key, and at the
end a copy of the half-stores from before as well. At each level there is something that still succeeds (the
control): an attack that finds nothing because it does not work would show nothing.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from vault.attacker import Attacker, Ciphertext, Loot, steal
from vault.config import build
from vault.errors import IntegrityError, Unavailable
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.policy.grant import ScopeEntry
from vault.policy.principal import Ceiling, Kind
from vault.services import erasures, identities, schema, tokenize
from vault.services.batch import BatchRefused
from vault.services.cell import Origin
from vault.services.detokenize import DetokenizeBody, detokenize
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.gate import Request
from vault.services.grant_body import GrantBody, GrantLimits
from vault.services.grants import create_grant
from vault.services.jobs import DONE, read_job
from vault.services.levels import LEVELS
from vault.services.schema import SchemaBody
from vault.services.service_keys import KeyBody, create_key
from vault.services.turn import TurnBody, start_turn
from vault.services.turning import DROP
from vault.services.worker import Worker
from vault.wiring import Wiring, as_host, perform

REGION: Final = "proof"
NAME: Final = "person.name"
CODE: Final = "person.code"
NOTE: Final = "person.note"
TENANT: Final = "main"
STEM: Final = 96  # bytes of what is sealed, its nonce among them: of more, a file may have the rest elsewhere
SURVIVORS: Final = "survivors"
NOBODY: Final = "nobody: a grant, and the service"
PATIENCE_S: Final = 3_600.0
_SCHEMA: Final = f"""
[purposes.proof]
legal_basis = "consent"
bearer = {{ delivery = ["plain"], max_uses = 1000000, max_ttl = "P1D" }}

[retention.kept]
keep = "P10Y"
from = "creation"

[fields."{NAME}"]
template = "text(max=80)"
protection = "vaulted"
retention = "kept"

[fields."{CODE}"]
template = "text(max=12)"
protection = "vaulted"
deterministic = "field"
retention = "kept"

[fields."{NOTE}"]
protection = "encrypted"
retention = "kept"
"""
_LEVELS: Final = tuple(LEVELS)
Seen = Callable[[str, int, int], None]


class Finding(NamedTuple):
    """One attack.

    Attributes:
        level: that the erasures had reached.
        attacker: what the attacker has.
        recovered: erased values that were recovered, of `values`.
        expected: how many an attacker with that recovers, if erasing works as it is described.
    """

    level: str
    attacker: str
    recovered: int
    values: int
    expected: int

    @property
    def holds(self) -> bool:
        """Whether it came out as it should."""
        return self.recovered == self.expected


@dataclass(repr=False)
class _People:
    """What was entered: values by person, and what came back for each."""

    names: dict[str, tuple[str, str]] = field(default_factory=dict)  # token, value
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    notes: dict[str, tuple[str, str]] = field(default_factory=dict)  # ciphertext, value

    def of(self, people: list[str]) -> set[str]:
        """All values of some."""
        return {part[one][1] for part in (self.names, self.codes, self.notes) for one in people}


class Proof:
    """A cell of its own, and what is kept in it.

    Args:
        folder: empty; keys and, on SQLite, the database lie there.
        people: how many are erased; a quarter as many stay. Each has three values.
        domain: how many codes there can be: all of them are tried on the index.
        database: of an empty database; None: SQLite, in the folder.
        kms: the key store; None: a local one, in the folder.
        settings: of the cell, besides, such as `kms_auth`.
    """

    def __init__(
        self,
        folder: Path,
        people: int,
        domain: int,
        *,
        database: str | None = None,
        kms: str | None = None,
        settings: dict[str, Any] | None = None,
        seen: Seen | None = None,
    ) -> None:
        keys = {"key_file": f"keys/{REGION}/proof.key"} if kms is None else {}
        cell = {
            "database": database or f"sqlite:///{REGION}.db",
            "kms": kms or f"local:keys/{REGION}",
            "half_stores": [f"keys/{REGION}"],
            **keys,
            **(settings or {}),
        }
        self._folder = folder
        self._config = build({"mode": "development", "cell": {REGION: cell}}, {}, folder)
        self._wiring = Wiring(self._config)
        self._erased = [f"person-{number}" for number in range(people)]
        self._kept = [f"survivor-{number}" for number in range(-(-people // 4))]
        self._domain = [f"{number:07d}" for number in range(domain)]
        self._people = _People()
        self._seen = seen or (lambda _step, _done, _total: None)
        self.findings: list[Finding] = []

    def run(self) -> list[Finding]:
        """Fills, erases, and attacks at each level."""
        self._wiring.create(REGION, as_host())
        opened = self._wiring.open(REGION)
        try:
            self._cell = opened.cell
            self._run()
        finally:
            opened.close()
        return self.findings

    def _run(self) -> None:
        self._prepare()
        half = len(self._erased) // 2
        self._enter(self._erased[:half] + self._kept)
        self._turn()  # some keys lie in pages by then
        self._enter(self._erased[half:])
        before, halves = steal(self._cell.store, REGION), self._copy_halves()
        everything = self._people.of(self._erased)
        self._ask()
        now = steal(self._cell.store, REGION)
        self._attack(
            _LEVELS[0], "the living database, the key store, the half-stores (control)", now, None, everything
        )
        self._denied(_LEVELS[0])
        files = self._files()
        self._work()
        now = steal(self._cell.store, REGION)
        self._attack(_LEVELS[1], "the living database, the key store, the half-stores", now, None, set())
        self._remnants(files, set(before.sealed_keys().values()) - set(now.sealed_keys().values()))
        self._attack(_LEVELS[1], "a backup from before, besides (control)", before, None, everything)

        def closed() -> None:
            self._attack(
                _LEVELS[2], "a backup from before, the key store, the half-stores", before, None, set()
            )
            with_halves = "a copy of the half-stores from before, besides (control)"
            self._attack(_LEVELS[2], with_halves, before, halves, everything)

        self._turn(before_root=closed)
        self._attack(
            _LEVELS[3], "a backup and the half-stores from before, the key store", before, halves, set()
        )
        now = steal(self._cell.store, REGION)
        self._attack(_LEVELS[3], "the living database, the key store, the half-stores", now, None, set())
        self._guess(now, before, halves)
        self._survivors(now)

    def _prepare(self) -> None:
        """Schema, principals, and the credential that values are entered with."""
        cell, host = self._cell, self._host()
        plan = perform(cell, lambda: schema.plan_schema(cell, host, SchemaBody(toml=_SCHEMA)))
        perform(cell, lambda: schema.apply_schema(cell, host, SchemaBody(toml=_SCHEMA, digest=plan.digest)))
        perform(
            cell,
            lambda: identities.create_principal(
                cell, host, identities.PrincipalBody(Kind.AGENT, "agent:proof")
            ),
        )
        body = identities.PrincipalBody(
            Kind.SERVICE,
            "proof",
            permissions=["grant:create:proof", f"tokenize:{NAME}", f"tokenize:{CODE}", f"encrypt:{NOTE}"],
            ceiling=Ceiling(
                fields=[NAME, CODE, NOTE],
                operations=["reveal"],
                deliveries=["plain"],
                purposes=["proof"],
                agents=["agent:proof"],
                uses=1_000_000,
            ),
        )
        made = perform(cell, lambda: identities.create_principal(cell, host, body))
        key = perform(cell, lambda: create_key(cell, host, made.id, KeyBody()))
        self._service = Request(f"Bearer {key.credential}", Origin("proof", "req_proof"))

    def _host(self) -> Request:
        return Request(None, Origin("proof", "req_proof"), as_host())

    def _enter(self, people: list[str]) -> None:
        """Three values of each: a name, a code of a small domain, and a text that the caller keeps."""
        cell = self._cell
        drawn = secrets.SystemRandom().sample(self._domain, len(people) + len(self._people.codes))
        taken = {value for _, value in self._people.codes.values()}
        codes = [code for code in drawn if code not in taken]
        for place, one in enumerate(people):
            self._seen("enter", place, len(people))
            name, note = f"name {secrets.token_hex(8)}", f"note {secrets.token_hex(8)}"
            for into, field_, value in (
                (self._people.names, NAME, name), (self._people.codes, CODE, codes[place]),
            ):  # fmt: skip
                body = tokenize.TokenizeBody(field=field_, values=[value], subjects=[one])
                made: Any = perform(cell, lambda body=body: tokenize.tokenize(cell, self._service, body))  # type: ignore[misc]
                into[one] = (made.tokens[0], value)
            items = EncryptBody([EncryptItem(NOTE, note, one)])
            sealed = perform(cell, lambda items=items: encrypt(cell, self._service, items))  # type: ignore[misc]
            self._people.notes[one] = (str(sealed.items[0].ciphertext), note)

    def _ask(self) -> None:
        cell = self._cell
        for place, one in enumerate(self._erased):
            self._seen("erase", place, len(self._erased))
            body = erasures.ErasureBody(one, "consent_withdrawn")
            perform(cell, lambda body=body: erasures.request_erasure(cell, self._host(), body))  # type: ignore[misc]

    def _work(self) -> None:
        worker = Worker(self._cell)
        while worker.run_one():
            pass

    def _turn(self, before_root: Callable[[], None] | None = None) -> None:
        """A turn of the epoch.

        Args:
            before_root: called when the halves are gone, and the root key is not yet.
        """
        cell = self._cell
        provider, halves = self._wiring.provider(REGION), self._wiring.halves(REGION)
        asked: Any = provider if before_root is None else _Watched(provider, before_root)
        cell.keys = lambda: (asked, halves)
        job = perform(cell, lambda: start_turn(cell, self._host(), TurnBody(DROP))).id
        end = time.monotonic() + PATIENCE_S
        while perform(cell, lambda: read_job(cell, self._host(), job)).state != DONE:
            if time.monotonic() > end:
                raise Unavailable("too_busy")
            self._work()
            time.sleep(0.05)

    def _copy_halves(self) -> HalfStores:
        copy = self._folder / "stolen"
        shutil.copytree(self._folder / "keys" / REGION, copy)
        return HalfStores(REGION, [copy])

    def _attack(
        self, level: str, attacker: str, loot: Loot, halves: HalfStores | None, expected: set[str]
    ) -> None:
        """What of the erased values comes out of a copy of the database."""
        self._seen("attack", len(self.findings), 8)
        provider = self._wiring.provider(REGION)
        try:
            thief = Attacker(loot, provider, halves or self._wiring.halves(REGION))
            found = {value for values in thief.values().values() for value in values}
            sealed = [self._people.notes[one] for one in self._erased]
            texts = thief.texts(Ciphertext(TENANT, NOTE, text) for text, _ in sealed)
            found |= {text for text in texts if text is not None}
        finally:
            provider.close()
        erased = self._people.of(self._erased)
        self._note(level, attacker, len(found & erased), len(erased), len(expected))

    def _note(self, level: str, attacker: str, recovered: int, values: int, expected: int) -> None:
        self.findings.append(Finding(level, attacker, recovered, values, expected))

    def _files(self) -> bytes:
        """All bytes of the database's files: free pages and the write-ahead log too. On SQLite alone."""
        names = [f"{REGION}.db", f"{REGION}.db-wal"] if self._cell.store.is_file else []
        paths = [self._folder / name for name in names]
        return b"".join(path.read_bytes() for path in paths if path.exists())

    def _remnants(self, files: bytes, gone: set[bytes]) -> None:
        """Sealed bytes of the keys that were removed, and of the pages that they lay in, in the raw files."""
        if not self._cell.store.is_file:
            return
        for level, raw, expected in ((_LEVELS[0], files, len(gone)), (_LEVELS[1], self._files(), 0)):
            found = sum(sealed[:STEM] in raw for sealed in gone)
            what = "the raw files, sealed keys in them" + (" (control)" if expected else "")
            self._note(level, what, found, len(gone), expected)

    def _guess(self, now: Loot, before: Loot, halves: HalfStores) -> None:
        """All codes that there can be are tried on the index, with the living index key."""
        provider = self._wiring.provider(REGION)
        living = Attacker(now, provider, self._wiring.halves(REGION))
        stolen = Attacker(before, provider, halves)
        provider.close()
        key = living.index_key(TENANT, CODE)
        if key is None:
            raise IntegrityError("integrity_failed")
        codes = {one: code for one, (_, code) in self._people.codes.items()}
        erased = {codes[one] for one in self._erased}
        for loot, whose in ((living, "the living index"), (stolen, "the index of a backup from before")):
            self._seen("guess", 0, len(self._domain))
            hits = loot.guess(TENANT, CODE, key, self._domain) & erased
            attacker = f"{whose}, the index key, and {len(self._domain)} guesses"
            self._note(_LEVELS[3], attacker, len(hits), len(erased), 0)
        kept = {codes[one] for one in self._kept}
        hits = living.guess(TENANT, CODE, key, self._domain) & kept
        self._note(
            "survivors",
            "the living index, the index key, and guesses (control)",
            len(hits),
            len(kept),
            len(kept),
        )

    def _survivors(self, now: Loot) -> None:
        """Whoever was not erased is served as before; and the attacker can read what is alive."""
        provider = self._wiring.provider(REGION)
        thief = Attacker(now, provider, self._wiring.halves(REGION))
        provider.close()
        kept = self._people.of(self._kept)
        found = {value for values in thief.values().values() for value in values}
        notes = (self._people.notes[one][0] for one in self._kept)
        found |= {
            text for text in thief.texts(Ciphertext(TENANT, NOTE, one) for one in notes) if text is not None
        }
        attacker = "the living database, the key store, the half-stores (control)"
        self._note(SURVIVORS, attacker, len(found & kept), len(kept), len(kept))
        served = self._served(self._kept)
        self._note(SURVIVORS, NOBODY, served, 2 * len(self._kept), 2 * len(self._kept))

    def _denied(self, level: str) -> None:
        served = self._served(self._erased)
        self._note(level, NOBODY, served, 2 * len(self._erased), 0)

    def _served(self, people: list[str]) -> int:
        """How many names and codes the service shows under a grant."""
        cell, shown = self._cell, 0
        for part, field_ in ((self._people.names, NAME), (self._people.codes, CODE)):
            body = GrantBody(
                agent="agent:proof",
                purpose="proof",
                scope=[ScopeEntry([field_], ["reveal"], ["plain"])],
                limits=GrantLimits(len(people), 1),
            )
            grant = perform(cell, lambda body=body: create_grant(cell, self._service, body))  # type: ignore[misc]
            holder = Request(f"Bearer {grant.credential}", Origin("proof", "req_proof"))
            for one in people:
                asked = DetokenizeBody(purpose="proof", field=field_, tokens=[part[one][0]])
                try:
                    answer: Any = perform(cell, lambda by=holder, asked=asked: detokenize(cell, by, asked))  # type: ignore[misc]
                except BatchRefused:
                    continue
                shown += answer.values == [part[one][1]]
        return shown


class _Watched:
    """A key store that tells when a root key is about to be destroyed."""

    def __init__(self, provider: Provider, before: Callable[[], None]) -> None:
        self._provider = provider
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def destroy_root(self, version: int) -> Any:
        """Tells, and destroys it."""
        self._before()
        return self._provider.destroy_root(version)


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="coatcheck-proof-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
