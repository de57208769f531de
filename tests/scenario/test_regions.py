"""P10: two cells in two processes; nothing of the one is served, kept or openable in the other.

Values are planted in both. What reaches `us` goes through a relay that keeps every byte, and whoever `eu`
might turn to instead of answering is that relay too. Files are searched byte by byte. Each look has a control
that finds what was planted where it belongs, and the copy of rows that opens nothing in another region opens
everything in another copy of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.harness.canaries import Planted
from tests.harness.doors import TAKEN, complaints, path_of
from tests.harness.roomy import AGENT, EMAIL, HANDLE, NAME, PURPOSE, SCHEMA, SSN, TEXT
from tests.support import cells
from tests.support.cells import BuiltCell, create, settings
from tests.support.relays import Relay
from tests.support.service import Service, coatcheck_here, initialise
from vault.api.app import ROUTES
from vault.api.streams import STREAMS
from vault.cli.templates import DEVELOPMENT
from vault.codes import CODES
from vault.errors import CoatcheckError, IntegrityError
from vault.identifiers import RowId
from vault.keyring.ring import Keyring
from vault.services.decrypt import DecryptBody, DecryptItem, decrypt
from vault.tokens.vaulted import decode, encode
from vault.wiring import Wiring

REGIONS = ("eu", "us")


@dataclass
class Side:
    """One region: its service, and what was planted there.

    Attributes:
        texts: values and subjects in the clear; `made`: tokens and ciphertexts; `secrets`: bytes of its keys.
    """

    service: Service
    region: str
    key: str = ""
    grant: str = ""
    texts: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    tokens: tuple[str, ...] = ()
    ciphertext: str = ""

    @property
    def secrets(self) -> set[bytes]:
        """Parts of its key files that nobody else's have."""
        found: set[bytes] = set()
        for path in (self.service.folder / "keys" / self.region).iterdir():
            raw = path.read_bytes()
            found.add(raw[44:76] if path.name.startswith("half-") else raw[-32:])
        return found

    @property
    def rows(self) -> set[bytes]:
        """What only its database has: ids of keys, tokens and people, and what is sealed."""
        with closing(sqlite3.connect(self.service.folder / f"{self.region}.db")) as database:
            ask = database.execute
            found = [row for (row,) in ask("SELECT id FROM cu_data_keys UNION SELECT id FROM cu_field_keys")]
            found += [row for (row,) in ask("SELECT id FROM cu_tokens UNION SELECT id FROM cu_subjects")]
            found += [
                row for (row,) in ask("SELECT sealed FROM cu_data_keys UNION SELECT sealed FROM va_claims")
            ]
        return {bytes(row) for row in found}

    def files(self) -> bytes:
        """Every byte of its folder: database, log, keys, output."""
        return b"\n".join(
            path.read_bytes() for path in sorted(self.service.folder.rglob("*")) if path.is_file()
        )


def deployment(folder: Path, region: str, elsewhere: str) -> Service:
    """A service of one region, which knows where the other one is."""
    other = next(one for one in REGIONS if one != region)
    head, _, tail = DEVELOPMENT.partition("[cell.eu]")
    eu, _, us = tail.partition("[cell.us]")
    cell = f"[cell.eu]{eu}" if region == "eu" else f"[cell.us]{us.partition('[log]')[0]}"
    text = f'{head}{cell}\n[region.{other}]\nurl = "{elsewhere}"\n\n[log]\nformat = "json"\nlevel = "debug"\n'
    folder.mkdir(parents=True)
    (folder / "coatcheck.toml").write_text(text, encoding="utf-8")
    (folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
    initialise(folder)
    return Service(folder, anew=True)


def fill(side: Side, planted: Planted) -> None:
    """Plants values of every protection."""
    service, region = side.service, side.region
    admin = service.credential("admin_key", region)
    body = {
        "kind": "service", "name": "filler",
        "permissions": [f"tokenize:{one}" for one in (NAME, EMAIL, HANDLE, SSN)]
        + [f"encrypt:{TEXT}", f"grant:create:{PURPOSE}"],
        "ceiling": {"fields": [NAME, EMAIL, HANDLE, SSN, TEXT], "operations": ["reveal"],
                    "deliveries": ["plain"], "purposes": [PURPOSE], "agents": [AGENT], "uses": 1000,
                    "ttl": "PT12H"},
    }  # fmt: skip

    def call(path: str, asked: Any, key: str) -> Any:
        answer = service.call("POST", path, asked, key=key, region=region)
        assert answer.status in (200, 201), answer.body
        return answer.json()

    principal = call("principals", body, admin)
    side.key = call(f"principals/{principal['id']}/keys", {}, admin)["credential"]
    people = [planted.word() for _ in range(8)]
    names = [planted.word() for _ in people]
    mails = [f"{planted.word()}@example.org".lower() for _ in people]
    handles = [planted.word() for _ in people]
    tokens: list[str] = []
    for field, values in ((NAME, names), (EMAIL, mails), (HANDLE, handles)):
        made = call("tokenize", {"field": field, "values": values, "subjects": people}, side.key)["tokens"]
        tokens += made
        side.tokens = side.tokens or tuple(made)
    tokens += call("tokenize", {"field": SSN, "values": [planted.ssn() for _ in people]}, side.key)["tokens"]
    sealed = call("encrypt", {"items": [{"field": TEXT, "value": names[0], "subject": people[0]}]}, side.key)
    side.ciphertext = sealed["items"][0]["ciphertext"]
    scope = [{"fields": [NAME, EMAIL, HANDLE, SSN, TEXT], "operations": ["reveal"], "delivery": ["plain"]}]
    grant = {"agent": AGENT, "purpose": PURPOSE, "limits": {"uses": 500}, "scope": scope}
    side.grant = call("grants", grant, side.key)["credential"]
    side.texts = frozenset([*people, *names, *mails, *handles])
    side.made = frozenset([*tokens, side.ciphertext])


@dataclass
class World:
    """Both sides, and the relay before `us`."""

    eu: Side
    us: Side
    relay: Relay


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("regions")
    relay = Relay()
    eu = Side(deployment(folder / "eu", "eu", relay.url), "eu")
    us = Side(deployment(folder / "us", "us", "http://127.0.0.1:9"), "us")
    try:
        for side in (eu, us):
            side.service.start()
            fill(side, Planted(Random(side.region)))
        relay.port = us.service.port
        yield World(eu, us, relay)
    finally:
        eu.service.kill()
        us.service.kill()


def found(raw: bytes, *wanted: str | bytes) -> list[str | bytes]:
    """Which of them are in it."""
    return [one for one in wanted if (one.encode() if isinstance(one, str) else one) in raw]


def test_every_route_of_another_region_is_answered_421(world: World) -> None:
    routes = [(route.method, path_of(route), TAKEN.get(f"{route.method} {route.path}")) for route in ROUTES]
    routes += [("POST", stream.path, None) for stream in STREAMS]
    routes += [("POST", "no/such", None), ("PUT", "tokenize", None)]
    for method, path, bodies in routes:
        for key in (world.eu.key, world.us.key, world.eu.grant, world.us.grant):
            body = bodies[0] if bodies else None
            answer = world.eu.service.call(method, path, body, region="us", key=key)
            assert (answer.status, answer.code) == (421, "misdirected_region"), (method, path)
            assert (answer.json()["region"], answer.json()["url"]) == ("us", world.relay.url)
            assert answer.json()["retry"] == "elsewhere"
            assert complaints(answer) == []
    answer = world.us.service.call("GET", "whoami", region="eu", key=world.us.key)
    assert (answer.status, answer.json()["url"]) == (421, "http://127.0.0.1:9")


def test_what_is_sent_to_the_wrong_region_is_kept_nowhere_and_passed_to_nobody(world: World) -> None:
    before = world.relay.connections
    strays = [Planted(Random(f"stray {number}")).word() for number in range(20)]
    for stray in strays:
        body = {"field": NAME, "values": [stray], "subjects": [stray]}
        assert world.eu.service.call("POST", "tokenize", body, region="us", key=world.us.key).status == 421
    assert world.relay.connections == before
    for side in (world.eu, world.us):
        assert found(side.files(), *strays, world.us.key.rpartition("_")[2]) == []


def test_nothing_of_eu_passes_into_us(world: World) -> None:
    """The wire and the files of `us`, while both serve; and no file of `eu` is open in its process."""
    ask = {"purpose": PURPOSE, "field": NAME, "tokens": list(world.us.tokens)}
    there = replace(world.us.service, port=int(world.relay.url.rpartition(":")[2]))
    values = there.call("POST", "detokenize", ask, key=world.us.grant, region="us").json()["values"]
    mine = {"purpose": PURPOSE, "field": NAME, "tokens": list(world.eu.tokens)}
    assert world.eu.service.call("POST", "detokenize", mine, key=world.eu.grant).status == 200
    wire, files = bytes(world.relay.passed), world.us.files()
    eu = world.eu
    for raw in (wire, files):
        assert found(raw, *eu.texts, *eu.made, *eu.secrets, *eu.rows) == []
    # controls: the same looks find what is there
    assert found(wire, *values) == values
    assert found(wire, *world.us.tokens) == list(world.us.tokens)
    assert set(found(eu.files(), *eu.secrets)) == eu.secrets
    assert set(found(eu.files(), *eu.rows)) == eu.rows
    opened = [os.readlink(link) for link in Path(f"/proc/{world.us.service.pid}/fd").iterdir()]
    assert any(str(world.us.service.folder) in path for path in opened)
    assert [path for path in opened if str(eu.service.folder) in path] == []


def test_credentials_tokens_and_ciphertexts_of_eu_mean_nothing_in_us(world: World) -> None:
    eu, us = world.eu, world.us

    def ask(service: Service, region: str, path: str, body: Any, key: str) -> Any:
        answer = service.call("POST", path, body, key=key, region=region)
        return answer.status, answer.json()

    for key, code in ((eu.key, "credential_invalid"), (eu.grant, "credential_invalid")):
        status, answer = ask(us.service, "us", "tokenize", {"field": NAME, "values": ["x"]}, key)
        assert (status, answer["code"]) == (401, code)
    body = {"purpose": PURPOSE, "field": NAME, "tokens": list(eu.tokens), "on_error": "report"}
    status, answer = ask(us.service, "us", "detokenize", body, us.grant)
    assert (status, answer["failed"]) == (200, len(eu.tokens))
    assert {item["error"]["code"] for item in answer["values"]} == {"token_unknown"}
    item = {"field": TEXT, "ciphertext": eu.ciphertext}
    status, answer = ask(us.service, "us", "decrypt", {"purpose": PURPOSE, "items": [item]}, us.grant)
    assert (status, answer["errors"]) == (422, [{"index": 0, "code": "ciphertext_invalid"}])
    # control: at home they open
    assert ask(eu.service, "eu", "decrypt", {"purpose": PURPOSE, "items": [item]}, eu.grant)[0] == 200


TABLES = ("cu_due_periods", "cu_data_keys", "cu_subjects", "cu_subject_refs", "cu_tokens", "va_claims")


def copied(source: Path, target: Path) -> None:
    """Puts all values of a database with their keys into another one, as one who can write to both."""
    with closing(sqlite3.connect(target)) as database:
        database.execute("ATTACH ? AS other", (str(source),))
        for table in TABLES:
            database.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM other.{table}")
        database.commit()


def opened(folder: Path, region: str, built: BuiltCell) -> BuiltCell:
    """A cell of a folder that is there."""
    config = settings(folder, region)
    cell = Wiring(config).open(region)
    return replace(built, cell=cell.cell, config=config, close=cell.close)


def populated(folder: Path, region: str) -> BuiltCell:
    """A new cell with people in it, closed."""
    config = create(folder, region)
    cell = Wiring(config).open(region)
    built = BuiltCell(cell.cell, config, cell.close)
    built.populate()
    cell.close()
    return built


def test_a_row_that_is_copied_from_another_region_opens_nothing(tmp_path: Path) -> None:
    people = [f"person-{number}" for number in range(20)]
    eu, us = (populated(tmp_path / region, region) for region in REGIONS)
    twin = tmp_path / "twin"
    shutil.copytree(tmp_path / "eu", twin)  # the control: the same keys, and none of the values
    eu = opened(tmp_path / "eu", "eu", eu)
    tokens = eu.tokens(cells.NAME, *[f"value of {one}" for one in people], subjects=list(people))
    ciphertext = eu.ciphertext(cells.TEXT, "a text", subject=people[0])
    rows = [decode(eu.cell.keyring.row_ids("main", cells.NAME), token or "") for token in tokens]
    eu.close()
    for folder, region, built, opens in ((tmp_path / "us", "us", us, False), (twin, "eu", eu, True)):
        copied(tmp_path / "eu" / "eu.db", folder / f"{region}.db")
        there = opened(folder, region, built)
        try:
            grant = there.grant(cells.NAME, uses=1000, purpose="files")
            # Whoever copies rows has no token of theirs; with the field's key it would be this one.
            issued = [encode(there.cell.keyring.row_ids("main", cells.NAME), RowId(row)) for row in rows]
            for token, person in zip(issued, people, strict=True):
                assert revealed(there, grant, token) == (
                    f"value of {person}" if opens else "integrity_failed"
                )
            decrypted = decrypt_in(there, ciphertext)
            assert decrypted == ("a text" if opens else "integrity_failed")
        finally:
            there.close()


def revealed(built: BuiltCell, grant: str, token: str) -> str:
    """The value of a token, or the code that it is refused with."""
    try:
        shown = built.reveal(grant, cells.NAME, token, purpose="files")
    except CoatcheckError as refusal:
        return refusal.code
    return str(shown[0]) if shown else ""


def decrypt_in(built: BuiltCell, ciphertext: str) -> str:
    """The value of a ciphertext, or the code that it is refused with."""
    grant = built.grant(cells.TEXT, uses=1, operations=["reveal"])
    body = DecryptBody("support", [DecryptItem(cells.TEXT, ciphertext)])
    try:
        items = built.run(decrypt, body, by=grant).items
    except CoatcheckError as refusal:
        return refusal.code
    return str(items[0].value) if items else ""


def test_the_keys_of_eu_open_nothing_as_keys_of_us(tmp_path: Path) -> None:
    """Even a cell that is given the other one's epoch opens none of its keys: the region is bound."""
    built = populated(tmp_path, "eu")
    here = opened(tmp_path, "eu", built)
    try:
        here.token(cells.NAME, "Ada", "person-1")
        epoch = here.cell.keyring.epoch(1)
        held = {1: replace(epoch, region="us")}
        with pytest.raises(IntegrityError):
            Keyring("us", held, here.cell.store).references("main")
        Keyring("eu", {1: epoch}, here.cell.store).references("main")  # control
    finally:
        here.close()


def test_the_command_line_says_where_and_goes_nowhere(world: World) -> None:
    before = world.relay.connections
    variables = {
        "COATCHECK_URL": world.eu.service.url,
        "COATCHECK_REGION": "us",
        "COATCHECK_KEY": world.us.key,
    }
    for words in (["tokenize", NAME], ["grant", "list"], ["jobs", "list"]):
        done = coatcheck_here(*words, "--json", given="Ada\n", more=variables)
        assert done.returncode == CODES["misdirected_region"].exit
        told = json.loads(done.stderr)
        assert (told["code"], told["region"], told["url"]) == ("misdirected_region", "us", world.relay.url)
    done = coatcheck_here("tokenize", NAME, given="Ada\n", more=variables)
    assert f"url: {world.relay.url}" in done.stderr
    assert "hint: Ask the service at `url`" in done.stderr
    assert world.relay.connections == before


def test_a_verb_on_the_host_says_where_too(world: World) -> None:
    folder = world.eu.service.folder
    done = coatcheck_here("epoch", "list", "--config", folder, "--region", "us")
    assert done.returncode == CODES["misdirected_region"].exit
    assert f"url: {world.relay.url}" in done.stderr


def test_nobody_else_is_asked_about_an_unknown_region(world: World) -> None:
    answer = world.eu.service.call("GET", "whoami", region="mars", key=world.eu.key)
    assert (answer.status, answer.code) == (421, "misdirected_region")
    assert "url" not in answer.json()
