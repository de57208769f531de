"""A Chromium, driven by WebDriver, for the pages that people use."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.service import PATIENCE_S, free_port

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


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; the test is skipped where there is none."""
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
        made = Browser(f"http://127.0.0.1:{port}", folder / "profile")
        yield made
    finally:
        if made is not None:
            made.close()
        driver.terminate()
        driver.wait()
