"""The sign-in page in Chromium, with a virtual authenticator (Web Authentication Level 3, 11; WebDriver)."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.operators import PASSWORD
from tests.support.service import PATIENCE_S, Service, coatcheck_here, free_port, initialise

DRIVER: Final = shutil.which("chromedriver")
BROWSER: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS: Final = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver, 12.1


class Browser:
    """A Chromium, driven by WebDriver."""

    def __init__(self, url: str, folder: Path) -> None:
        self._http = httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False)
        options = {"binary": BROWSER, "args": [*ARGUMENTS, f"--user-data-dir={folder}"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        made = self._http.post("/session", json={"capabilities": wanted}).json()["value"]
        self._session = f"/session/{made['sessionId']}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The value of a command's answer."""
        content = {} if body is None and method == "POST" else body
        answer = self._http.request(method, self._session + path, json=content)
        found = answer.json()["value"]
        assert answer.status_code == 200, found
        return found

    def open(self, url: str) -> None:
        self.ask("POST", "/url", {"url": url})

    def element(self, css: str) -> str:
        found = self.ask("POST", "/element", {"using": "css selector", "value": css})
        return f"/element/{found[ELEMENT]}"

    def type(self, css: str, text: str) -> None:
        self.ask("POST", self.element(css) + "/value", {"text": text})

    def click(self, css: str) -> None:
        self.ask("POST", self.element(css) + "/click")

    def run(self, script: str) -> Any:
        return self.ask("POST", "/execute/sync", {"script": script, "args": []})

    def says(self, pattern: str) -> str:
        """The page's status, once it matches."""
        end = time.monotonic() + PATIENCE_S
        while True:
            shown = str(self.run("return document.getElementById('status').textContent"))
            if re.search(pattern, shown):
                return shown
            assert time.monotonic() < end, shown
            time.sleep(0.05)

    def authenticator(self, **more: Any) -> str:
        """A new virtual authenticator that lies in the device and knows its owner."""
        body = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
            "hasUserVerification": True, "isUserConsenting": True, "isUserVerified": True, **more,
        }  # fmt: skip
        return str(self.ask("POST", "/webauthn/authenticator", body))

    def close(self) -> None:
        self._http.delete(self._session)
        self._http.close()


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
    if DRIVER is None or BROWSER is None:
        pytest.skip("there is no chromium with a chromedriver")
    port = free_port()
    nowhere = subprocess.DEVNULL
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=nowhere, stderr=nowhere)
    made: Browser | None = None
    try:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/status", trust_env=False).json()["value"]["ready"]:
                    break
            except httpx.HTTPError:
                pass
            assert time.monotonic() < end
            time.sleep(0.05)
        made = Browser(f"http://127.0.0.1:{port}", tmp_path / "profile")
        yield made
    finally:
        if made is not None:
            made.close()
        driver.terminate()
        driver.wait()


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
