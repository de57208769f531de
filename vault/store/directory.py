"""The directory's database: its keys' rows, the regions that report to it, and entries without names.

It is no cell's. An entry is a keyed reference and a region, and nothing of when it was made, so that whoever
has this database and a cell's does not find the rows of the two beside each other. Every write is a short
transaction of its own, under the fence of the one runner that a region has at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vault.clock import SECOND, Clock, Micros
from vault.errors import Unavailable
from vault.store.postgresql import Server
from vault.store.session import open_engine
from vault.store.tables import SQLITE

ACTIVE: Final = "active"
RETIRING: Final = "retiring"  # its entries are looked up until every region is listed under the newest
DESTROYED: Final = "destroyed"
LEASE_S: Final = 10  # each write renews it; the fence is what keeps two runners apart
Answer = TypeVar("Answer")


class DirectoryKeyRow(NamedTuple):
    """A key of the directory: one half, wrapped; the other lies in the half-stores."""

    version: int
    id: bytes
    state: str
    sealed_half: bytes  # empty: destroyed
    proof: bytes
    created_at: Micros


class RegionRow(NamedTuple):
    """A region that reports to the directory.

    Attributes:
        generation: what its people are to be listed in; one more whenever all are to be listed anew.
        through: the generation in which all of them are.
        fence: of the runner that listed last.
    """

    region: str
    generation: int
    through: int
    fence: int
    runner: bytes | None
    lease_until: Micros


class Overrun(Exception):
    """The region has another runner by now, or another generation: nothing was written."""


class DirectoryTables:
    """The tables, the same for each kind of database."""

    def __init__(self) -> None:
        self.metadata = MetaData()
        self.keys = Table(
            "directory_keys",
            self.metadata,
            Column("version", Integer, primary_key=True, autoincrement=False),
            Column("id", LargeBinary(16), nullable=False),
            Column("state", String(16), nullable=False),
            Column("sealed_half", LargeBinary, nullable=False),
            Column("proof", LargeBinary(32), nullable=False),
            Column("created_at", BigInteger, nullable=False),
        )
        self.regions = Table(
            "directory_regions",
            self.metadata,
            Column("region", String(64), primary_key=True),
            Column("generation", Integer, nullable=False),
            Column("through", Integer, nullable=False),
            Column("fence", BigInteger, nullable=False),
            Column("runner", LargeBinary(16)),
            Column("lease_until", BigInteger, nullable=False),
        )
        self.entries = Table(
            "directory_entries",
            self.metadata,
            Column("ref", LargeBinary(16), primary_key=True),
            Column("region", String(64), primary_key=True),
            Column("version", Integer, nullable=False),
            Column("generation", Integer, nullable=False),
            sqlite_with_rowid=False,
        )
        Index("ix_directory_entries_generation", self.entries.c.region, self.entries.c.generation)


class DirectoryStore:
    """The directory's database.

    Args:
        url: a server, or a SQLAlchemy database URL.
        clock: for leases; those of one region run on hosts whose clocks agree within a lease.

    Every method raises `Unavailable("directory_unavailable")` when the database cannot be reached.
    """

    def __init__(self, url: str | URL | Server, clock: Clock) -> None:
        self.engine: Engine = open_engine(url)
        self.tables = DirectoryTables()
        self._clock = clock
        self._upsert: Any = sqlite.insert if self.engine.dialect.name == SQLITE else postgresql.insert

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except (DBAPIError, PoolTimeout):
            raise Unavailable("directory_unavailable") from None

    def _read(self, ask: Callable[[Connection], Answer]) -> Answer:
        try:
            with self.engine.connect() as connection:
                return ask(connection)
        except (DBAPIError, PoolTimeout):
            raise Unavailable("directory_unavailable") from None

    def key_rows(self) -> list[DirectoryKeyRow]:
        """The rows of all keys, oldest first."""
        k = self.tables.keys
        rows = self._read(lambda c: c.execute(select(k).order_by(k.c.version)).all())
        return [
            DirectoryKeyRow(row[0], bytes(row[1]), row[2], bytes(row[3]), bytes(row[4]), row[5])
            for row in rows
        ]

    def turn(self, row: DirectoryKeyRow) -> None:
        """Enters a new key: what was active retires, and every region lists its people anew."""
        k, r = self.tables.keys, self.tables.regions
        with self._writing() as connection:
            connection.execute(update(k).where(k.c.state == ACTIVE).values(state=RETIRING))
            connection.execute(insert(k).values(row._replace(created_at=self._clock.now())._asdict()))
            connection.execute(update(r).values(generation=r.c.generation + 1))

    def retire(self, below: int) -> None:
        """Removes what is left of the keys below a version, once nothing is listed under them."""
        k, e = self.tables.keys, self.tables.entries
        with self._writing() as connection:
            connection.execute(delete(e).where(e.c.version < below))
            connection.execute(update(k).where(k.c.version < below).values(state=DESTROYED, sealed_half=b""))

    def regions(self) -> list[RegionRow]:
        """The regions, by name."""
        r = self.tables.regions
        return [
            RegionRow(*row) for row in self._read(lambda c: c.execute(select(r).order_by(r.c.region)).all())
        ]

    def counts(self) -> dict[tuple[str, int], int]:
        """How many entries a region has under each key's version."""
        e = self.tables.entries.c
        ask = select(e.region, e.version, func.count()).group_by(e.region, e.version)
        return {(row[0], row[1]): row[2] for row in self._read(lambda c: c.execute(ask).all())}

    def enter(self, region: str, generation: int) -> None:
        """Enters a region, unless it is there.

        Args:
            generation: above every one that the cell's people say they are listed in.
        """
        row = {"region": region, "generation": generation, "through": 0, "fence": 0, "runner": None}
        row["lease_until"] = 0
        with self._writing() as connection:
            connection.execute(self._upsert(self.tables.regions).values(row).on_conflict_do_nothing())

    def leave(self, region: str) -> int:
        """Removes a region and its entries; how many there were."""
        r, e = self.tables.regions.c, self.tables.entries.c
        with self._writing() as connection:
            connection.execute(delete(self.tables.regions).where(r.region == region))
            return connection.execute(delete(self.tables.entries).where(e.region == region)).rowcount

    def anew(self, region: str, least: int = 0) -> None:
        """Has a region list all its people anew: what is not listed then goes.

        Args:
            least: the least generation; the cell knows of those below it, as the directory was restored.
        """
        r = self.tables.regions
        following = case((r.c.generation + 1 > least, r.c.generation + 1), else_=least)
        with self._writing() as connection:
            connection.execute(update(r).where(r.c.region == region).values(generation=following))

    def take(self, region: str, runner: bytes) -> RegionRow | None:
        """Makes somebody the region's runner, or renews that; None while somebody else is.

        Whoever takes it over raises the fence, so that the one before writes nothing more.
        """
        r, now = self.tables.regions, self._clock.now()
        free = or_(r.c.runner.is_(None), r.c.runner == runner, r.c.lease_until < now)
        with self._writing() as connection:
            taken = connection.execute(
                update(r)
                .where(r.c.region == region, free)
                .values(runner=runner, lease_until=now + LEASE_S * SECOND, fence=r.c.fence + 1)
            )
            if taken.rowcount == 0:
                return None
            return RegionRow(*connection.execute(select(r).where(r.c.region == region)).one())

    def _fenced(self, connection: Connection, held: RegionRow, **then: Any) -> None:
        """Locks the region's row, if it is still the runner's.

        Raises:
            Overrun: it is not.
        """
        r = self.tables.regions
        until = self._clock.now() + LEASE_S * SECOND
        still = r.c.region == held.region, r.c.fence == held.fence, r.c.generation == held.generation
        if connection.execute(update(r).where(*still).values(lease_until=until, **then)).rowcount == 0:
            raise Overrun

    def put(self, held: RegionRow, version: int, refs: Sequence[bytes]) -> None:
        """Lists people in the runner's region and generation.

        Raises:
            Overrun: nothing was written.
        """
        with self._writing() as connection:
            self._fenced(connection, held)
            rows = [
                {"ref": ref, "region": held.region, "version": version, "generation": held.generation}
                for ref in sorted(set(refs))
            ]
            if rows:
                made = self._upsert(self.tables.entries)
                then = {"generation": made.excluded.generation}
                connection.execute(
                    made.on_conflict_do_update(index_elements=["ref", "region"], set_=then), rows
                )

    def drop(self, held: RegionRow, refs: Sequence[bytes]) -> None:
        """Removes entries of the runner's region; those that are not there are gone.

        Raises:
            Overrun: nothing was written.
        """
        e = self.tables.entries.c
        with self._writing() as connection:
            self._fenced(connection, held)
            of = delete(self.tables.entries).where(e.region == held.region, e.ref.in_(refs))
            connection.execute(of)

    def close_generation(self, held: RegionRow) -> int:
        """Says that all people are listed; what is not of this generation goes, and how much that was.

        Raises:
            Overrun: nothing was written.
        """
        e = self.tables.entries.c
        with self._writing() as connection:
            self._fenced(connection, held, through=held.generation)
            old = delete(self.tables.entries).where(e.region == held.region, e.generation < held.generation)
            return connection.execute(old).rowcount

    def find(self, refs: Sequence[bytes]) -> set[str]:
        """The regions in which any of the references is listed."""
        e = self.tables.entries.c
        rows = self._read(lambda c: c.execute(select(e.region).where(e.ref.in_(refs))).all())
        return {row[0] for row in rows}

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()
