"""Two cells with a directory in one process: what a transfer and a look-up need.

with two_regions(tmp_path) as pair:
    token = pair.eu.token(NAME, "Ada", "person-1")
    pair.work()                                  # lists people, and does the jobs of both
    assert pair.lookup("person-1") == "eu"
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.cells import NOTE, SCHEMA, BuiltCell
from vault.clock import Clock
from vault.config import Config, build
from vault.services.listing import Page
from vault.services.regions import LookupBody, look_up
from vault.services.transfers import (
    MovedAnswer,
    TransferAnswer,
    TransferBody,
    list_moved,
    read_transfer,
    start_transfer,
)
from vault.services.worker import Worker
from vault.wiring import Deployment, Wiring, as_host

REGIONS: Final = ("eu", "us")
BASIS: Final = "standard_contractual_clauses"
_HEAD, _NOTE, _TAIL = SCHEMA.partition(f'[fields."{NOTE}"]')
_VAULTED: Final = 'protection = "vaulted"\n'


def permitted(text: str) -> str:
    """A schema whose vaulted fields may go into the other region."""
    text = text.replace('transfer_to = ["us"]\n', "")
    return text.replace(_VAULTED, _VAULTED + 'transfer_to = ["eu", "us"]\n')


# All but NOTE.
TRANSFERABLE: Final = (
    permitted(_HEAD)
    + _NOTE
    + _TAIL.partition("[fields.")[0]
    + permitted("".join(_TAIL.partition("[fields.")[1:]))
)


def two_settings(folder: Path, databases: dict[str, str] | None = None, **more: Any) -> Config:
    """The settings of two cells and a directory; `databases` by region, with `directory`."""

    def store(name: str) -> dict[str, Any]:
        found = (databases or {}).get(name, f"sqlite:///{name}.db")
        return {
            "database": found,
            "kms": f"local:keys/{name}",
            "half_stores": [f"keys/{name}"],
            "key_file": f"keys/{name}/development.key",
        }

    cells = {
        one: store(one) | {"transfer_to": [other for other in REGIONS if other != one]} for one in REGIONS
    }
    document = {"mode": "development", "cell": cells, "directory": store("directory"), **more}
    return build(document, {}, folder)


@dataclass
class Pair:
    """Two regions.

    Attributes:
        officer: the credential of `eu`'s privacy officer, which may look up too.
    """

    config: Config
    deployment: Deployment
    eu: BuiltCell
    us: BuiltCell
    officer: str = ""

    def work(self) -> None:
        """Lists whom the directory does not know, and does the jobs that are due, in both cells."""
        for built in (self.eu, self.us):
            worker = Worker(built.cell)
            for _ in range(3):  # the first looks enter the region, and compare
                worker.run_due()

    def lookup(self, subject: str, built: BuiltCell | None = None) -> str:
        """The region that a person is in."""
        answer = (built or self.eu).run(
            look_up, LookupBody(subject), by=self.officer if built is None else None
        )
        return str(answer.region)

    def transfer(self, subject: str, *fields: str, **more: Any) -> TransferAnswer:
        """Begins a transfer from eu to us."""
        body = TransferBody(
            subject, more.pop("to", "us"), more.pop("legal_basis", BASIS), list(fields), **more
        )
        made = self.eu.run(start_transfer, body, by=self.officer)
        assert isinstance(made, TransferAnswer)
        return made

    def read(self, transfer: str) -> TransferAnswer:
        """A transfer as it is now."""
        made = self.eu.run(read_transfer, transfer, by=self.officer)
        assert isinstance(made, TransferAnswer)
        return made

    def moved(self, transfer: str, limit: int = 500) -> list[MovedAnswer]:
        """What became of its tokens, by pages."""
        rows: list[MovedAnswer] = []
        cursor = None
        while True:
            page = self.eu.run(list_moved, transfer, Page(limit, cursor), by=self.officer)
            rows += page.items
            cursor = page.next
            if cursor is None:
                return rows


def make(config: Config, clock: Clock | None = None) -> None:
    """Makes cells and directory, empty."""
    wiring = Wiring(config, clock=clock)
    for region in config.cell:
        wiring.create(region, as_host())
    if config.directory is not None:
        wiring.create_directory()


@contextmanager
def opened(config: Config, clock: Clock | None = None) -> Iterator[Pair]:
    """Both cells, open in this process; nobody is in them yet."""
    wiring = Wiring(config, clock=clock)
    deployment = Deployment(config, {region: wiring.open(region) for region in config.cell})
    try:
        built = [
            BuiltCell(deployment.cells[one], config, lambda: None, schema=TRANSFERABLE) for one in REGIONS
        ]
        yield Pair(config, deployment, built[0], built[1])
    finally:
        deployment.close()


def populate(pair: Pair) -> None:
    """The schema and people in both, and a privacy officer in eu."""
    for built in (pair.eu, pair.us):
        built.populate()
    _, pair.officer = pair.eu.principal(
        "operator", "officer", roles=["privacy-officer"], permissions=["directory:lookup"]
    )


@contextmanager
def two_regions(folder: Path, **more: Any) -> Iterator[Pair]:
    """Two new cells with people in them, and a directory."""
    config = two_settings(folder, **more)
    make(config)
    with opened(config) as pair:
        populate(pair)
        yield pair
