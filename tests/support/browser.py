# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium, driven through a pipe by its DevTools protocol: no server, no driver."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_SECONDS = 30.0
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and writes answers to 4.
_LAUNCH = """
import os, sys
read, write = int(sys.argv[1]), int(sys.argv[2])
read, write = os.dup(read), os.dup(write)
read, write = [fd if fd > 4 else os.dup(os.dup(os.dup(fd))) for fd in (read, write)]
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    """Where Chromium is; None: nowhere."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class BrowserError(Exception):
    """Chromium does not do what it was told."""


class Browser:
    """A Chromium with a profile of its own, which is gone afterwards."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="sgxlens-chromium-")
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(
            [
                sys.executable, "-c", _LAUNCH, str(commands), str(answers), program, *OPTIONS,
                f"--user-data-dir={self._profile}", "about:blank",
            ],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._reader = os.fdopen(self._answers, "rb", buffering=0)
        self._rest = b""
        self._number = 0
        self.pages: dict[str, Page] = {}

    def close(self) -> None:
        """End it."""
        try:
            self.ask("Browser.close")
            self._process.wait(PATIENCE_SECONDS)
        except (BrowserError, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        self._reader.close()
        # Processes of it may still write there for a moment.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while Path(self._profile).exists() and time.monotonic() < deadline:
            shutil.rmtree(self._profile, ignore_errors=True)
            time.sleep(0.01)

    def open(
        self,
        path: Path,
        *,
        ready: str,
        width: int = 1280,
        height: int = 900,
        is_dark: bool = False,
        fragment: str = "",
    ) -> Page:
        """Open a file in a page of its own, and wait until it has what `ready` selects.

        With a `fragment`, as in ``#evidence``, it is opened there.
        """
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        self.pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme])
        page.ask("Page.navigate", url=path.resolve().as_uri() + fragment)
        while not page.is_loaded:
            self._read_event()
        page.wait_for(f"document.querySelector({json.dumps(ready)})")
        return page

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read_event()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read_event(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = self._reader.read(1 << 20)
            if not chunk:
                raise BrowserError("Chromium ended")
            self._rest += chunk
        text, _, self._rest = self._rest.partition(b"\0")
        event: dict[str, Any] = json.loads(text)
        page = self.pages.get(event.get("sessionId", ""))
        if page is not None and "method" in event:
            page.notice(event["method"], event["params"])
        return event


class Page:
    """One page: what it asked for, and what went wrong on it."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.is_loaded = False
        self.requests: list[str] = []
        self.problems: list[str] = []

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command about this page."""
        return self._browser.ask(method, self._session, **parameters)

    def notice(self, method: str, params: dict[str, Any]) -> None:
        """Take note of an event."""
        if method == "Page.loadEventFired":
            self.is_loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.problems.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.problems.append(str(params["args"]))

    def do(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until an expression is true."""
        self.do(
            f"new Promise((good, bad) => {{ const end = Date.now() + {PATIENCE_SECONDS * 1000};"
            f" const look = () => ({script}) ? good()"
            " : Date.now() > end ? bad('waited in vain') : setTimeout(look, 10); look() })"
        )

    def settle(self) -> None:
        """Wait until what was changed is drawn."""
        self.do("new Promise(r => requestAnimationFrame(() => setTimeout(r)))")

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, in CSS pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def click(self, selector: str) -> None:
        """Click on the first element that `selector` finds."""
        self.do(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.do(
            f"(e => {{ e.value = {json.dumps(text)};"
            " e.dispatchEvent(new Event('input', {bubbles: true}));"
            " e.dispatchEvent(new Event('change', {bubbles: true})) })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self.settle()

    def press(self, key: str, code: int) -> None:
        """Press a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)
        self.settle()

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page as PNG."""
        answer = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """Close it."""
        self._browser.ask("Target.closeTarget", targetId=self._target)
