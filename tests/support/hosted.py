"""A deployment of one cell on this host: told what to do by `coatcheck`, and opened to hold values.

host = Hosted.new(tmp_path / "one", "sqlite:///eu.db")
with host.opened() as built:
    token = built.token(NAME, "Ada", "cust-1")
host("cell", "backup", tmp_path / "backups")
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.cells import REGION, BuiltCell
from tests.support.servers import write_deployment
from tests.support.service import coatcheck_here, initialise
from vault.config import load
from vault.services.batch import BatchRefused
from vault.services.remove_keys import Removed, remove_keys
from vault.services.subjects import find
from vault.wiring import Wiring, as_host, perform


class Hosted:
    """A deployment.

    Attributes:
        folder: holds coatcheck.toml, keys, and a SQLite cell's database.
        key: the credential of `service:demo`.
    """

    def __init__(self, folder: Path, key: str = "") -> None:
        self.folder = folder
        self.key = key

    @classmethod
    def new(cls, folder: Path, database: str) -> Hosted:
        """A development deployment on a database that is empty, or a file that is not there."""
        write_deployment(folder, database)
        initialise(folder)
        document = json.loads((folder / "dev-credentials.json").read_bytes())
        return cls(folder, document["regions"][REGION]["service_key"])

    def moved_to(self, folder: Path, database: str) -> Hosted:
        """The same deployment elsewhere, with the same keys and another database that is empty."""
        write_deployment(folder, database)
        shutil.copytree(self.folder / "keys", folder / "keys")
        shutil.copy(self.folder / "schema.toml", folder / "schema.toml")
        return Hosted(folder, self.key)

    def settings(self, text: str) -> None:
        """Adds settings to the cell."""
        path = self.folder / "coatcheck.toml"
        path.write_text(path.read_text().replace("[cell.eu]\n", f"[cell.eu]\n{text}\n"), encoding="utf-8")

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs `coatcheck` on this host."""
        return coatcheck_here(*words, "--config", self.folder, "--region", REGION, "--json")

    def answer(self, *words: str | Path) -> Any:
        """What it prints, when it succeeds."""
        done = self(*words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refusal(self, *words: str | Path) -> dict[str, Any]:
        """The problem that it prints, when it is refused."""
        done = self(*words)
        assert done.returncode != 0, done.stdout
        return dict(json.loads(done.stderr.strip().splitlines()[-1]))

    @contextmanager
    def opened(self) -> Iterator[BuiltCell]:
        """The cell, with what the service may do."""
        config = load(self.folder / "coatcheck.toml")
        opened = Wiring(config).open(REGION)
        try:
            yield BuiltCell(opened.cell, config, opened.close, service=self.key)
        finally:
            opened.close()

    def new_key(self) -> None:
        """A new service key: the way in that the operator of the host has."""
        listed = self.answer("principal", "list")
        [principal] = [one["id"] for one in listed if one["name"] == "service:demo"]
        self.key = self.answer("apikey", "create", principal)["credential"]

    def reveal(self, field: str, *tokens: str) -> list[str | None]:
        """The value of each token; None of one that does not open."""
        with self.opened() as built:
            credential = built.grant(field, uses=len(tokens))
            return [shown(built, credential, field, token) for token in tokens]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind."""
        with self.opened() as built:
            return built.events(kind=kind)


def shown(built: BuiltCell, credential: str, field: str, token: str) -> str | None:
    """The value of a token, or None."""
    try:
        values = built.reveal(credential, field, token)
    except BatchRefused:
        return None
    return None if values is None else values[0]


def keys_of(built: BuiltCell, *subjects: str) -> list[bytes]:
    """The data keys of people, those of their identifiers too."""
    people = find(built.cell, "main", subjects)
    t = built.cell.store.tables.data_keys
    rows = built.cell.store.read(t.select().where(t.c.subject.in_(list(people.values()))))
    return [bytes(row[0]) for row in rows]


def remove(built: BuiltCell, ids: list[bytes]) -> Removed:
    """Removes data keys, as an erasure does."""
    return perform(built.cell, lambda: remove_keys(built.cell, as_host().actor, ids))


__all__ = ["Hosted", "keys_of", "remove", "shown"]
