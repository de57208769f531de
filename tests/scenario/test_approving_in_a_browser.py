"""The approval page in Chromium: somebody with a passkey looks at what is asked, and approves or denies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.doors import Doors, add_operator
from tests.harness.roomy import AGENT, NAME, ONE_CELL, PURPOSE, initialise_roomy
from tests.support.browsers import Browser, chromium
from tests.support.operators import PASSWORD
from tests.support.service import Answer, Service, coatcheck_here

PERSON = "Ada Lovelace"


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("approving") / "deployment"
    initialise_roomy(folder, ONE_CELL)
    add_operator(folder)
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    done = coatcheck_here(
        "operator", "create", "olga", "--role", "privacy-officer", "--password-file", folder / "password",
        "--config", folder, "--region", "eu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    service = Service(folder)
    try:
        service.start()
        yield Doors(service)
    finally:
        service.kill()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path) as made:
        yield made


def waiting(doors: Doors, person: str) -> tuple[dict[str, Any], str]:
    """A request that waits for an approval, and the credential of its grant."""
    body = {
        "agent": AGENT, "purpose": PURPOSE, "limits": {"uses": 20},
        "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
        "approval": {"n": 1, "of": ["role:privacy-officer"], "when": {"op": "reveal"}},
    }  # fmt: skip
    made = doors.service.call("POST", "grants", body, key=doors.all_powerful)
    assert made.status == 201, made.body
    named = {"field": NAME, "values": [person], "subjects": [person]}
    token = doors.service.call("POST", "tokenize", named, key=doors.all_powerful).json()["tokens"][0]
    return {"purpose": PURPOSE, "field": NAME, "tokens": [token]}, str(made.json()["credential"])


def ask(doors: Doors, asked: dict[str, Any], credential: str) -> Answer:
    return doors.service.call("POST", "detokenize", asked, key=credential)


def here(doors: Doors, refused: Answer) -> str:
    """The link of a refusal, under the name that passkeys are for."""
    approval = refused.json()["approval"]
    assert approval["uri"].endswith(f"/approve#eu/{approval['id']}")
    return f"http://localhost:{doors.service.port}/approve#eu/{approval['id']}"


def shown(browser: Browser) -> str:
    return str(browser.run("return document.body.innerText"))


def test_a_person_with_a_passkey_approves_one_use_and_denies_another(browser: Browser, doors: Doors) -> None:
    browser.authenticator()
    browser.open(f"http://localhost:{doors.service.port}/sign-in")
    browser.type("#name", "olga")
    browser.type("#password", PASSWORD)
    browser.click("#password-form button")
    browser.says("operator:olga is signed in")
    browser.click("#register")
    browser.says("^The passkey is registered")

    asked, credential = waiting(doors, PERSON)
    refused = ask(doors, asked, credential)
    assert (refused.status, refused.code, refused.json()["retry"]) == (
        403, "approval_required", "after_approval",
    )  # fmt: skip
    browser.open(here(doors, refused))
    assert "What is asked" not in shown(browser)
    browser.click("#use")
    browser.says("^Waiting for you until ")
    page = shown(browser)
    assert "A." in page
    assert PERSON not in page
    assert asked["tokens"][0] not in page
    browser.click("#fresh")
    browser.says("^Waiting for you until ")
    browser.type("#reason", "the customer asked")
    browser.click("#approve")
    browser.says("^Recorded: this is approved, 1 of 1")
    served = ask(doors, asked, credential)
    assert (served.status, served.json()["values"]) == (200, [PERSON])
    again = ask(doors, asked, credential)
    assert (again.status, again.code) == (403, "approval_required")
    assert again.json()["approval"]["id"] != refused.json()["approval"]["id"]

    browser.open(here(doors, again))  # the same page under another id: the session is still there
    browser.click("#which button")
    browser.says("^Waiting for you until ")
    browser.click("#deny")
    browser.says("^Recorded: this is denied")
    assert ask(doors, asked, credential).code == "approval_denied"
    log = browser.ask("POST", "/se/log", {"type": "browser"})
    assert [entry for entry in log if "olicy" in entry["message"]] == []  # the page keeps its own


def test_a_name_that_is_markup_stays_text(browser: Browser, doors: Doors) -> None:
    browser.open(f"http://localhost:{doors.service.port}/approve#eu/<img src=x onerror=alert(1)>")
    assert browser.run("return document.getElementById('about').value") == ""
    assert browser.run("return document.images.length") == 0


def test_the_page_without_a_browser(doors: Doors) -> None:
    page, script = doors.service.get("/approve"), doors.service.get("/approve.js")
    assert (page.status, script.status) == (200, 200)
    policy = page.header("content-security-policy") or ""
    assert "default-src 'none'; script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.header("set-cookie") is None
    assert script.header("content-type") == "text/javascript; charset=utf-8"
