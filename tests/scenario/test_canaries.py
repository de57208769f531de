"""P13: 1,000 planted values go through every door, and are found in no output and no file.

A control shows that the scanner finds each of them, in each form it looks for.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness.campaign import Campaign
from tests.harness.canaries import Scanner, forms
from tests.harness.doors import BY_NAME, initialise_doors

NEVER_TAKEN = {  # with a body that holds canaries; what succeeds keeps what was sent, as it must
    "POST schema/plan", "POST schema/apply", "POST principals", "POST principals/{id}/keys", "POST tenants",
    "POST principals/{id}/clients",
    "POST epochs/turn", "POST jobs/{id}/cancel", "POST jobs/{id}/resume", "POST directory/lookup",
    "POST transfers", "POST arrivals", "POST sessions/passkey", "POST self/passkeys",
    "POST sessions/step-up/options", "POST events",
}  # fmt: skip
EXCEPTED = {"dev-credentials.json", "stdout", "stderr"}  # the two outputs are scanned on their own


@dataclass
class Outcome:
    """What a campaign left behind."""

    campaign: Campaign
    pages: dict[str, bytes]
    audit: list[dict[str, Any]]
    files: dict[str, bytes]  # while the service ran
    closed: dict[str, bytes]  # after it was stopped
    items: list[dict[str, Any]]
    log: bytes


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a deployment, as it lies there."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in EXCEPTED]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    service = initialise_doors(tmp_path_factory.mktemp("canaries") / "deployment")
    try:
        service.start()
        campaign = Campaign(service)
        tokens = campaign.tokenize(12)
        campaign.share()
        campaign.encrypt()
        campaign.verify()
        campaign.administer()
        campaign.replace_keys()
        campaign.sign_in()
        campaign.turn_keys()
        campaign.fail_to_tokenize()
        campaign.fail_at_the_door()
        campaign.fail_to_grant()
        campaign.detokenize(tokens)
        campaign.fail_to_write()
        campaign.fail_on_the_command_line()
        campaign.break_a_claim(tokens[0])
        pages, audit = campaign.pages(), campaign.audit()
        files = files_of(service.folder)
        with closing(sqlite3.connect(service.folder / "eu.db")) as database:
            items = [json.loads(row[0]) for row in database.execute('SELECT "items" FROM cu_audit_items')]
        assert service.stop() == 0
        closed = files_of(service.folder)
        campaign.fail_to_start(tmp_path_factory.mktemp("broken"))
        log = service.log().encode()
        yield Outcome(campaign, pages, audit, files, closed, items, log)
    finally:
        service.kill()


def test_enough_was_planted_and_refused_in_many_ways(outcome: Outcome) -> None:
    planted = outcome.campaign.planted
    assert len(planted) >= 1_000
    assert min(len(planted.ssns), len(planted.cards), len(planted.texts), len(planted.tokens)) >= 100
    assert len(planted.credentials) >= 8
    expected = {200, 201, 400, 401, 403, 404, 405, 413, 415, 421, 422, 500, 503}
    assert outcome.campaign.statuses.keys() >= expected
    codes = {match[1] for text in outcome.campaign.refused for match in re.finditer(rb'"code":"(\w+)"', text)}
    assert len(codes) >= 30


def test_every_route_with_a_body_met_canaries(outcome: Outcome) -> None:
    """A new route fails here until the campaign goes through it, taken and refused."""
    routes = outcome.campaign.routes
    for name, route in BY_NAME.items():
        if route.body is not None:
            assert any(status >= 400 for status in routes.get(name, ())), name
            assert name in NEVER_TAKEN or route.status in routes[name], name


def test_the_scanner_finds_what_is_planted(outcome: Outcome) -> None:
    scanner = Scanner(outcome.campaign.planted)
    count = 0
    for form in forms(outcome.campaign.planted):
        assert scanner.hits(b'{"a": "' + form + b'"}') != [], form
        count += 1
    assert count > 5 * len(outcome.campaign.planted.texts)
    assert scanner.hits(b"nothing of it") == []


def test_no_refusal_shows_anything(outcome: Outcome) -> None:
    scanner = Scanner(outcome.campaign.planted)
    assert [(text[:300], hits) for text in outcome.campaign.refused if (hits := scanner.hits(text))] == []


def test_the_log_shows_nothing(outcome: Outcome) -> None:
    scanner = Scanner(outcome.campaign.planted)
    assert [(line, hits) for line in outcome.log.splitlines() if (hits := scanner.hits(line))] == []
    assert b"Traceback" not in outcome.log


@pytest.mark.parametrize("page", ["metrics", "openapi.json", "docs", "readyz"])
def test_no_page_shows_anything(outcome: Outcome, page: str) -> None:
    assert len(outcome.pages[page]) > 10
    assert Scanner(outcome.campaign.planted).hits(outcome.pages[page]) == []


def test_the_audit_log_shows_nothing(outcome: Outcome) -> None:
    """The leaf holds nothing of a caller's; the items hold ids of ours, and reasons."""
    strict = Scanner(outcome.campaign.planted)
    lenient = Scanner(outcome.campaign.planted, reasons=False)
    assert len(outcome.audit) > 100
    for entry in outcome.audit:
        items = entry.pop("items", {})
        assert strict.hits(json.dumps(entry, ensure_ascii=False).encode()) == [], entry["event"]["kind"]
        assert lenient.hits(json.dumps(items, ensure_ascii=False).encode()) == [], entry["event"]["kind"]


def test_items_hold_ids_and_reasons_only(outcome: Outcome) -> None:
    ids = {
        "rows": re.compile(r"[0-9a-f]{32}"),
        "keys": re.compile(r"key_[0-7][0-9A-HJKMNP-TV-Z]{25}"),
        "subjects": re.compile(r"sub_[0-7][0-9A-HJKMNP-TV-Z]{25}"),
    }
    reasons = outcome.campaign.planted.reasons
    assert len(outcome.items) > 30
    for items in outcome.items:
        for name, value in items.items():
            if name in ("reason", "on_behalf_of", "by", "statement", "conversation", "task"):
                assert value in reasons
                continue
            assert value.keys() in ({"ids"}, {"count", "digest"})
            for id_ in value.get("ids", []):
                assert ids[name].fullmatch(id_)


@pytest.mark.parametrize("when", ["files", "closed"])
def test_no_file_holds_anything(outcome: Outcome, when: str) -> None:
    """Databases, write-ahead logs, locks, keys, settings: no value, token, subject or credential."""
    scanner = Scanner(outcome.campaign.planted, reasons=False)
    found = {name: hits for name, data in getattr(outcome, when).items() if (hits := scanner.hits(data))}
    assert found == {}
    names = getattr(outcome, when).keys()
    assert names >= {"eu.db", "keys/eu/half-000001", "keys/eu/root-000001", "schema.toml"}
    assert ("eu.db-wal" in names) is (when == "files")
