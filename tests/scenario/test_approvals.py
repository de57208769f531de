"""Approvals from end to end: an agent's program that waits, an officer at a shell, a webhook in between."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness.doors import Doors, add_operator, signed_in
from tests.harness.roomy import AGENT, NAME, ONE_CELL, PURPOSE, initialise_roomy
from tests.support.service import Service, coatcheck_here
from tests.unit.services.test_notices import hooked
from vault.client.approvals import ApprovalRequired
from vault.client.grants import KeyedGrant
from vault.client.keys import Holder

PERSON = "Ada Lovelace"
Came = list[tuple[dict[str, str], bytes]]


@pytest.fixture(scope="module")
def hook() -> Iterator[tuple[str, Came]]:
    with hooked() as made:
        yield made


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, hook: tuple[str, Came]) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("approvals") / "deployment"
    folder.mkdir()
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    (folder / "hook.secret").write_text(secret, encoding="utf-8")
    (folder / "hook.secret").chmod(0o600)
    notices = f'\n[notices]\nwebhook = "{hook[0]}"\nwebhook_secret_file = "hook.secret"\n'
    initialise_roomy(folder, ONE_CELL + notices)
    add_operator(folder, "watcher", "reviewer")
    service = Service(folder)
    try:
        service.start()
        yield Doors(service)
    finally:
        service.kill()


def shell(doors: Doors, key: str, *words: str, succeeds: bool = True) -> Any:
    done = coatcheck_here(
        *words, "--json", "--yes", more={
            "COATCHECK_URL": doors.service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": key,
        },
    )  # fmt: skip
    assert (done.returncode == 0) is succeeds, done.stderr
    return json.loads(done.stdout or done.stderr)


def told(came: Came, about: str) -> dict[str, Any]:
    """The webhook of an approval or a grant, once it has come."""
    waiting = threading.Event()
    for _ in range(600):
        for _, body in list(came):
            found: dict[str, Any] = json.loads(body)
            if found["data"]["about"] == about:
                return found
        waiting.wait(0.1)
    raise AssertionError("nobody was told")


def test_a_program_waits_and_somebody_approves_at_a_shell(doors: Doors, hook: tuple[str, Came]) -> None:
    holder = Holder.new()
    granted = shell(
        doors, doors.all_powerful, "grant", "create", "--agent", AGENT, "--purpose", PURPOSE, "--field", NAME,
        "--uses", "5", "--jkt", holder.thumbprint, "--approver", "role:approver",
        "--approve-operation", "reveal", "--approval-ttl", "PT30M",
    )  # fmt: skip
    named = {"field": NAME, "values": [PERSON], "subjects": ["c1"]}
    tokens = doors.service.call("POST", "tokenize", named, key=doors.all_powerful).json()["tokens"]
    paused: list[float] = []

    def pause(seconds: float) -> None:
        """In place of waiting: somebody approves it."""
        paused.append(seconds)
        shell(doors, doors.session, "grant", "approve", waiting.id or "", "--reason", "the customer asked")

    with KeyedGrant(doors.service.url, "eu", granted["id"], holder, pause=pause) as grant:
        with pytest.raises(ApprovalRequired) as refused:
            grant.reveal(NAME, tokens, purpose=PURPOSE)
        waiting = refused.value
        assert (waiting.needed, waiting.have) == (1, 0)
        assert waiting.uri.endswith(f"/approve#eu/{waiting.id}")
        notice = told(hook[1], waiting.id or "")
        assert notice["type"] == "approval.required"
        assert notice["data"]["uri"] == waiting.uri
        assert PERSON not in json.dumps(notice)
        assert tokens[0] not in json.dumps(notice)
        awaited = grant.wait_for(waiting.id or "", every_s=1.0)
        assert (awaited.state, awaited.granted, len(paused)) == ("approved", True, 1)
        assert grant.reveal(NAME, tokens, purpose=PURPOSE).values == (PERSON,)
        with pytest.raises(ApprovalRequired):
            grant.reveal(NAME, tokens, purpose=PURPOSE)
    [shown] = [
        row
        for row in shell(doors, doors.session, "approval", "list", "--state", "used")
        if row["id"] == waiting.id
    ]
    assert (shown["have"], shown["votes"][0]["by"]) == (1, "operator:watcher")


def test_a_grant_is_denied_at_a_shell(doors: Doors, hook: tuple[str, Came]) -> None:
    granted = shell(
        doors, doors.all_powerful, "grant", "create", "--agent", AGENT, "--purpose", PURPOSE, "--field", NAME,
        "--approver", "operator:watcher",
    )  # fmt: skip
    assert granted["state"] == "pending"
    about = granted["approval"]["id"]
    assert told(hook[1], about)["type"] == "grant.pending"
    seen = shell(doors, doors.session, "approval", "show", about)
    assert (seen["state"], seen["yours"]) == ("pending", True)
    shell(doors, doors.session, "grant", "deny", about, "--digest", seen["digest"])
    found = shell(doors, doors.all_powerful, "grant", "show", granted["id"])
    assert found["state"] == "revoked"
    problem = shell(doors, doors.session, "grant", "approve", about, "--digest", "A" * 43, succeeds=False)
    assert problem["code"] == "version_conflict"


def test_glass_is_broken_and_reviewed_at_a_shell(doors: Doors, hook: tuple[str, Came]) -> None:
    made = shell(
        doors, doors.session, "break-glass", "create", "--agent", AGENT, "--purpose", PURPOSE,
        "--field", NAME, "--reason", "incident 4711", "--review-by", in_an_hour(),
    )  # fmt: skip
    assert made["credential"].startswith("cg_")
    assert told(hook[1], made["id"])["type"] == "break-glass.created"
    problem = shell(
        doors, doors.session, "break-glass", "review", made["id"], "--verdict", "justified", succeeds=False
    )
    assert problem["code"] == "self_approval"
    other = signed_in(doors.service, "reviewer")
    shell(doors, other, "break-glass", "review", made["id"], "--verdict", "justified", "--note", "it was")
    [row] = shell(doors, doors.all_powerful, "break-glass", "list")
    assert (row["grant"], row["verdict"], row["note"]) == (made["id"], "justified", "it was")
    assert shell(doors, doors.all_powerful, "break-glass", "list", "--overdue") == []


def in_an_hour() -> str:

    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_how_it_is_said_and_not_who(doors: Doors) -> None:
    problem = shell(
        doors, doors.all_powerful, "grant", "create", "--agent", AGENT, "--purpose", PURPOSE, "--field", NAME,
        "--approvals", "2", succeeds=False,
    )  # fmt: skip
    assert problem["code"] == "usage"


def test_a_kill_between_the_approval_and_the_use_loses_nothing(doors: Doors) -> None:
    body = {
        "agent": AGENT, "purpose": PURPOSE, "limits": {"uses": 5},
        "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
        "approval": {"of": ["operator:watcher"], "when": {"fields": [NAME]}},
    }  # fmt: skip
    key = doors.service.call("POST", "grants", body, key=doors.all_powerful).json()["credential"]
    named = {"field": NAME, "values": [PERSON], "subjects": ["c1"]}
    tokens = doors.service.call("POST", "tokenize", named, key=doors.all_powerful).json()["tokens"]
    asked = {"purpose": PURPOSE, "field": NAME, "tokens": tokens}
    refused = doors.service.call("POST", "detokenize", asked, key=key)
    about = refused.json()["approval"]["id"]
    shell(doors, doors.session, "grant", "approve", about)
    doors.service.kill()
    doors.service.start()
    served = doors.service.call("POST", "detokenize", asked, key=key)
    assert (served.status, served.json()["values"]) == (200, [PERSON])
    doors.service.kill()
    doors.service.start()
    assert doors.service.call("POST", "detokenize", asked, key=key).code == "approval_required"
