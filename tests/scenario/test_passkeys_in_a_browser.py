"""The sign-in page in Chromium, with a virtual authenticator (Web Authentication Level 3, 11; WebDriver)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browsers import Browser, chromium
from tests.support.operators import PASSWORD
from tests.support.service import Service, coatcheck_here, initialise


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("page") / "deployment"
    folder.mkdir()
    initialise(folder)
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    for name in ("ada", "eve"):
        done = coatcheck_here(
            "operator", "create", name, "--role", "admin", "--password-file", folder / "password",
            "--config", folder, "--region", "eu",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    served = Service(folder)
    try:
        served.start()
        yield served
    finally:
        served.kill()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path) as made:
        yield made


def log_in(browser: Browser, service: Service, name: str) -> None:
    """By the password, at the page."""
    browser.open(f"http://localhost:{service.port}/sign-in")
    browser.type("#name", name)
    browser.type("#password", PASSWORD)
    browser.click("#password-form button")
    browser.says(f"operator:{name} is signed in")


def test_a_passkey_from_the_first_to_the_last(browser: Browser, service: Service) -> None:
    authenticator = browser.authenticator()
    log_in(browser, service, "ada")
    browser.type("#label", "laptop")
    browser.click("#register")
    browser.says("^The passkey is registered")
    [credential] = browser.ask("GET", f"/webauthn/authenticator/{authenticator}/credentials")
    assert credential["rpId"] == "localhost"
    assert credential["isResidentCredential"] is True
    browser.click("#fresh")
    browser.says("by passkey$")
    browser.click("#end")
    browser.says("^Signed out")
    # From now on without a name and a password.
    browser.click("#use")
    assert browser.says("by passkey$").startswith("operator:ada is signed in until ")
    [signed] = browser.ask("GET", f"/webauthn/authenticator/{authenticator}/credentials")
    assert signed["signCount"] > credential["signCount"]
    log = browser.ask("POST", "/se/log", {"type": "browser"})
    assert [entry for entry in log if "olicy" in entry["message"]] == []  # the page keeps its own


def test_without_its_owner_a_passkey_is_not_used(browser: Browser, service: Service) -> None:
    authenticator = browser.authenticator()
    log_in(browser, service, "eve")
    browser.click("#register")
    browser.says("^The passkey is registered")
    browser.ask("POST", f"/webauthn/authenticator/{authenticator}/uv", {"isUserVerified": False})
    browser.click("#use")
    assert "signed in" not in browser.says(".")


def test_a_page_elsewhere_gets_nothing(browser: Browser, service: Service) -> None:
    """The same page under another name: the browser refuses, as passkeys are for localhost."""
    browser.authenticator()
    browser.open(f"http://127.0.0.1:{service.port}/sign-in")
    browser.click("#use")
    assert "signed in" not in browser.says(".")


def test_no_other_script_runs_in_the_page(browser: Browser, service: Service) -> None:
    browser.open(f"http://localhost:{service.port}/sign-in")
    planted = """
    const script = document.createElement("script");
    try { script.textContent = "window.planted = 1"; document.body.append(script); } catch (refused) {}
    try { document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.planted = 2'>"); }
    catch (refused) {}
    return window.planted === undefined;
    """
    assert browser.run(planted) is True


def test_the_page_without_a_browser(service: Service) -> None:
    page, script = service.get("/sign-in"), service.get("/sign-in.js")
    assert (page.status, script.status) == (200, 200)
    assert page.header("content-type") == "text/html; charset=utf-8"
    assert script.header("content-type") == "text/javascript; charset=utf-8"
    policy = page.header("content-security-policy") or ""
    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe" not in policy
    text = page.body.decode()
    assert re.findall(r"<script[^>]*>", text) == ['<script src="/sign-in.js" defer>']
    assert not re.search(r"\son\w+=|style=|javascript:", text)
    assert ">eu</option>" in text
    for answer in (page, script):
        assert answer.header("cache-control") == "no-store"
        assert answer.header("x-content-type-options") == "nosniff"
