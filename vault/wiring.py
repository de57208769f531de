"""Puts a deployment together from its settings: cells, locks, limits. No globals."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vault.authn.identities import Caller, Identities
from vault.authn.oauth import OAuth
from vault.clock import parse_period
from vault.config import Config
from vault.config.identities import sign_in_of
from vault.config.limits import LimitSettings
from vault.config.notices import messenger_of
from vault.config.oauth import oauth_of
from vault.config.peers import peers_of
from vault.errors import CoatcheckError, Conflict, IntegrityError, Misconfigured, Stale
from vault.keyring.epoch import create_epoch, needed_epochs, open_epochs
from vault.keyring.ring import Keyring
from vault.kms.erased import ErasedLog
from vault.kms.registry import Standing, local
from vault.ledger.command import Answer, Verb
from vault.ledger.committer import Committer, drive
from vault.services import initialise
from vault.services.approving import drop_requests
from vault.services.break_glass import overdue
from vault.services.cell import Cell, Limits, Schemas, Working
from vault.services.enlisting import untold
from vault.services.gate import Request, host_caller
from vault.services.idempotency import drop_expired
from vault.services.key_terms import KeyTerms
from vault.services.limited import flush_failures, flush_refused
from vault.services.notices import drop_notices, given_up
from vault.services.pacing import Pacing
from vault.services.processes import Process, Steward
from vault.services.replacement import ending_keys, flush_uses
from vault.services.review_ends import unreviewed
from vault.services.sessions import flush_sessions
from vault.services.standing import drop_old_proofs
from vault.services.upkeep import Upkeep, check_writable
from vault.services.worker import WorkerThread
from vault.store import migrations
from vault.store.cell import Store
from vault.store.loads import check_complete, read_load
from vault.store.lock import CellLock, making
from vault.store.session import sqlite_url
from vault.stores import Prompt, Stores

FLUSH_EVERY_S = 60.0


@dataclass(slots=True)
class OpenCell:
    """A cell and the lock it is held under.

    Attributes:
        lock: None on a server, where others are at work too.
        steward: what follows the epochs beside them, once it is asked for (`attend`).
    """

    cell: Cell
    lock: CellLock | None
    steward: Steward | None = None

    def attend(self, kind: str) -> None:
        """Takes part in turns of the epoch, which wait for every process that they know of.

        Args:
            kind: what this process does: `serve`, `worker` or `host`.
        """
        process = Process(self.cell, kind)
        self.cell.attendant = process
        process.look()  # before anything else is done
        self.steward = Steward(process)

    def close(self) -> None:
        """Finishes, closes, and lets go."""
        if self.steward is not None:
            self.steward.close()
        self.cell.close()
        if self.lock is not None:
            self.lock.release()


class Wiring(Stores):
    """A deployment being put together: `Stores`, and what is opened of them.

    Args:
        config: its settings.
        prompt: asks for a cell's passphrase when neither file nor variable has it; None: never asks.
        clock: where the time comes from.
    """

    def create(self, region: str, caller: Caller) -> bool:
        """Creates a cell, or finishes creating it; whether anything was created now."""
        with self.vacant(region) as store:
            if read_load(store.engine) is not None:
                raise Conflict("cell_incomplete", region=region)
            migrations.upgrade(store.engine)
            if initialise.has_head(store):
                for row in needed_epochs(store):
                    self.halves(region).heal(row.number)
                ErasedLog(region, self.halves(region).folders).heal()
            else:
                key_file = self.settings(region).key_file
                if self.config.development and key_file is not None:
                    local.make_key_file(self.config.path(key_file))
                with contextlib.closing(self.provider(region)) as key_store:
                    epoch = create_epoch(region, 1, key_store, self.halves(region))
                initialise.write_epoch(store, region, epoch)
        opened = self._open(region, finished=False)
        try:
            return initialise.finish(opened.cell, caller)
        finally:
            opened.close()

    @contextlib.contextmanager
    def vacant(self, region: str) -> Iterator[Store]:
        """The database that a cell is made in, whatever is in it; a file is made. Nobody else makes it.

        Raises:
            Conflict: `cell_locked`.
            Misconfigured: `host_permissions`.
        """
        path = self.database_path(region)
        if path is not None:
            self.make_file(path)
        with contextlib.ExitStack() as stack:
            if path is not None:
                stack.enter_context(self._locked(path))
            store = self._store(region)
            stack.callback(store.close)
            if path is None:
                stack.enter_context(making(store.engine))
            yield store

    def open(self, region: str, *, loading: bool = False) -> OpenCell:
        """Opens a cell for this process.

        Args:
            loading: whether it is opened by what loads it: else it is refused until that has ended.

        Raises:
            Conflict: `cell_locked`, `cell_incomplete`.
            Misconfigured: `not_initialised`, `migration_required`, `config_invalid`.
            Unavailable: `key_unavailable`, `database_unavailable`.
            IntegrityError: `integrity_failed`: the keys are not this cell's.
        """
        return self._open(region, finished=True, loading=loading)

    def _open(self, region: str, *, finished: bool, loading: bool = False) -> OpenCell:
        path = self.existing(region)
        if path is None:
            return OpenCell(self._cell(region, finished, loading), None)
        lock = CellLock(path)
        lock.acquire()
        try:
            return OpenCell(self._cell(region, finished, loading), lock)
        except BaseException:
            lock.release()
            raise

    def watch(self, cell: Cell) -> None:
        """Looks at a cell's key store from time to time; lets go of its keys when that is away too long."""
        if cell.key_store is None or not cell.key_store.remote:
            return
        key_store, halves = cell.key_store, self.halves(cell.region)
        hold_s = self.settings(cell.region).kms_limits.hold_s

        def told(standing: Standing) -> None:
            if standing.cause:
                if hold_s and (standing.since_s is None or standing.since_s > hold_s):
                    cell.keyring.wipe()
            elif not cell.keyring.held:
                with contextlib.suppress(CoatcheckError):  # the next look tries again
                    cell.keyring.hold(open_epochs(cell.region, cell.store, key_store, halves))

        newest = cell.keyring.write_epoch
        key_store.watch(lambda: cell.keyring.held or (newest,), told)

    @contextlib.contextmanager
    def reader(self, region: str) -> Iterator[Store]:
        """A cell's database for reading only: no lock, no keys, beside a running service."""
        self.existing(region)
        store = self._store(region)
        try:
            migrations.check(store.engine)
            check_complete(store)
            if not initialise.has_head(store):  # a `create` or a load that was killed before its first row
                raise Misconfigured("not_initialised", region=region)
            yield store
        finally:
            store.close()

    @contextlib.contextmanager
    def upkeep(self, region: str) -> Iterator[Upkeep]:
        """A cell's database, whatever version it has: no lock, no keys."""
        path = self.existing(region)
        store = self._store(region)
        try:
            yield Upkeep(path, store)
        finally:
            store.close()

    def _cell(self, region: str, finished: bool, loading: bool) -> Cell:
        store = self._store(region)
        key_store = None
        try:
            migrations.check(store.engine)
            if not loading:
                check_complete(store)
            check_writable(store)
            rows = store.read(store.record.head)
            if not rows:
                raise Misconfigured("not_initialised", region=region)
            if rows[0][0] != region:
                reason = "is another region's database"
                raise Misconfigured("config_invalid", setting=f"cell.{region}.database", reason=reason)
            if finished and rows[0][1] == 0:  # `create` was interrupted before the first event
                raise Misconfigured("not_initialised", region=region)
            key_store = self.provider(region)
            epochs = open_epochs(region, store, key_store, self.halves(region))
            keyring = Keyring(region, epochs, store)
            if finished:
                _prove(keyring)
        except BaseException:
            store.close()
            if key_store is not None:
                key_store.close()
            raise
        limits, ledger = self.config.limits, self.config.ledger
        sign_in = sign_in_of(
            self.config.identities, self.config.host_and_port()[1], development=self.config.development
        )
        return Cell(
            region=region,
            store=store,
            committer=Committer(store, ledger.max_commands, ledger.queue),
            keyring=keyring,
            identities=Identities(store, store.clock, sign_in.idle),
            sign_in=sign_in,
            pacing=pacing_of(limits),
            oauth=self.oauth(region),
            schemas=Schemas(store, keyring),
            clock=store.clock,
            limits=Limits(limits.items, limits.body_kib * 1024, limits.batch_mib * 1024 * 1024),
            working=working_of(self.config, region),
            terms=terms_of(self.config),
            keys=lambda: (key_store, self.halves(region)),
            key_store=key_store,
            directory=self.directory(),
            regions=self.config.urls(),
            transfer_to=frozenset(self.config.cell[region].transfer_to),
            peers=peers_of(self.config, region),
            messenger=messenger_of(self.config.notices, Path(self.config.base), store.clock),
        )

    def oauth(self, region: str) -> OAuth:
        """The OAuth face of a region's cell."""
        config = self.config
        base = config.urls()[region]
        return oauth_of(config.oauth, config.identities.issuers, base, region, config.path("."))

    def _store(self, region: str) -> Store:
        path = self.database_path(region)
        return Store(self.server(region) if path is None else sqlite_url(path), self._clock)

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        lock = CellLock(path)
        lock.acquire()
        try:
            yield
        finally:
            lock.release()


def working_of(config: Config, region: str) -> Working:
    """How the jobs of a cell are done, as the settings say."""
    cell, worker = config.cell[region], config.worker
    return Working(
        batch=worker.batch,
        pause_s=worker.pause_ms / 1000,
        rotation=None if cell.rotation is None else parse_period(cell.rotation),
        references=None if cell.reference_rotation is None else parse_period(cell.reference_rotation),
        messages=None if cell.delivery_rotation is None else parse_period(cell.delivery_rotation),
        signing=None if config.oauth.rotation is None else parse_period(config.oauth.rotation),
        custody_backup=None if cell.custody_backup is None else config.path(cell.custody_backup),
        custody_backup_keep=parse_period(cell.custody_backup_keep),
        suppression_keep=parse_period(cell.suppression_keep),
    )


def terms_of(config: Config) -> KeyTerms:
    """How long service keys may be valid, as the settings say."""
    keys = config.keys
    longest = None if keys.longest is None else parse_period(keys.longest)
    return KeyTerms(longest, parse_period(keys.overlap), parse_period(keys.warning))


def pacing_of(limits: LimitSettings) -> Pacing:
    """How fast anybody may come, as the settings say."""
    principal, tenant = limits.principal, limits.tenant
    return Pacing(
        limits.network.rate(),
        None if principal is None else principal.rate(),
        None if tenant is None else tenant.rate(),
        limits.at_once,
    )


class Deployment:
    """All cells of a process, open, with the threads that flush their counts, follow epochs and do jobs.

    Args:
        kind: what the process does: `serve` or `worker`.
        jobs: whether it does jobs.
    """

    def __init__(
        self, config: Config, cells: dict[str, OpenCell], kind: str = "serve", *, jobs: bool = False
    ) -> None:
        self.config = config
        self.open_cells = cells
        self.cells = {region: opened.cell for region, opened in cells.items()}
        for region, cell in self.cells.items():
            cell.neighbours.update({name: other for name, other in self.cells.items() if name != region})
        self._workers: list[WorkerThread] = []
        for opened in cells.values():
            opened.attend(kind)
            if jobs:
                self._workers.append(WorkerThread(opened.cell))
        self._stop = threading.Event()
        self._flusher = threading.Thread(target=self._flush_loop, name="flusher", daemon=True)
        self._flusher.start()

    def close(self) -> None:
        """Flushes, finishes and closes everything."""
        self._stop.set()
        self._flusher.join()
        for worker in self._workers:  # before the stewards let go of the keys
            worker.close()
        for opened in self.open_cells.values():
            opened.close()

    def _flush_loop(self) -> None:
        last = False
        self._look()
        while not last:
            last = self._stop.wait(FLUSH_EVERY_S)
            for cell in self.cells.values():
                # What cannot be written now is counted again with the next minute's.
                with contextlib.suppress(CoatcheckError):
                    perform(cell, lambda cell=cell: flush_failures(cell))  # type: ignore[misc]
                with contextlib.suppress(CoatcheckError):
                    perform(cell, lambda cell=cell: flush_refused(cell))  # type: ignore[misc]
                with contextlib.suppress(CoatcheckError):
                    perform(cell, lambda cell=cell: drop_expired(cell))  # type: ignore[misc]
                with contextlib.suppress(CoatcheckError):
                    perform(cell, lambda cell=cell: drop_old_proofs(cell))  # type: ignore[misc]
                with contextlib.suppress(CoatcheckError):
                    perform(cell, lambda cell=cell: drop_requests(cell))  # type: ignore[misc]
                with contextlib.suppress(CoatcheckError):
                    perform(cell, lambda cell=cell: drop_notices(cell))  # type: ignore[misc]
                with contextlib.suppress(CoatcheckError):
                    perform(cell, lambda cell=cell: flush_uses(cell))  # type: ignore[misc]
                with contextlib.suppress(CoatcheckError):
                    perform(cell, lambda cell=cell: flush_sessions(cell))  # type: ignore[misc]
            self._look()

    def _look(self) -> None:
        """Looks, for whoever asks for metrics, what ends soon, how the directory lags, which reviews
        are late, and what people could not be told.
        """
        for cell in self.cells.values():
            if cell.directory is not None:
                with contextlib.suppress(CoatcheckError):
                    cell.untold = untold(cell.store)
            with contextlib.suppress(CoatcheckError):
                cell.overdue, cell.untellable = overdue(cell), given_up(cell)
            with contextlib.suppress(CoatcheckError):
                keys = ending_keys(cell.store, cell.terms, cell.clock.now())
                cell.ending = sum(not key.replaced for key in keys)
                cell.unreviewed = unreviewed(cell.store, cell.clock.now())


def _prove(keyring: Keyring) -> None:
    """Returns if keys sealed under the epoch open, before anything new is sealed under it.

    The halves of another cell are whole too, and make an epoch key; but not this cell's.

    Raises:
        IntegrityError: `integrity_failed`.
    """
    try:
        keyring.references(initialise.MAIN_TENANT)
    except (IntegrityError, Stale):
        raise IntegrityError("integrity_failed", epoch=keyring.write_epoch) from None


def deploy(
    config: Config, prompt: Prompt | None = None, kind: str = "serve", *, jobs: bool | None = None
) -> Deployment:
    """Opens every cell of a configuration; all or none.

    Args:
        kind: what the process does.
        jobs: whether it does jobs; None: as `worker.inside` says.

    Raises:
        CoatcheckError: what `Wiring.open` raises; the cells opened before it are closed again.
    """
    wiring = Wiring(config, prompt)
    opened: dict[str, OpenCell] = {}
    try:
        for region in config.cell:
            opened[region] = wiring.open(region)
            wiring.watch(opened[region].cell)
    except BaseException:
        for cell in opened.values():
            cell.close()
        raise
    return Deployment(config, opened, kind, jobs=config.worker.inside if jobs is None else jobs)


def perform(cell: Cell, start: Callable[[], Verb[Answer]]) -> Answer:
    """Runs a verb to its end in this thread."""
    return drive(cell.committer, start, cell.forget, cell.outdated)


def as_host(tenant: str = initialise.MAIN_TENANT) -> Caller:
    """The caller of host verbs: this process's user."""
    return host_caller(os.getuid(), tenant)


__all__ = ["Deployment", "OpenCell", "Prompt", "Request", "Wiring", "as_host", "deploy", "perform"]
