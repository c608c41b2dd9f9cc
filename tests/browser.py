"""Chromium over its DevTools pipe: opens a page at a given width, light or dark, and tells what it drew, asked for, said and saved.

The pipe (file descriptors 3 and 4, JSON between NUL bytes) needs no port and no library. A window of a headless Chromium is never narrower
than 500 pixels; the emulated screen of a phone is.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)

PATIENCE_S = 90

_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe")

_DRAWN = """new Promise(done => {
  const drawn = () => [...document.querySelectorAll(".figure")].every(each => each.querySelector(".plot-container"));
  const look = () => drawn() ? done(true) : setTimeout(look, 50);
  look();
})"""

_SAVED = """(async () => {
  const blobs = [], saved = {};
  URL.createObjectURL = blob => { blobs.push(blob); return "#"; };
  for (const button of document.querySelectorAll("button.get")) {
    button.click();
    saved[button.dataset.figure ?? button.dataset.table] = await blobs.at(-1).text();
  }
  return saved;
})()"""


@dataclass(slots=True)
class Page:
    """A page that was opened and drawn. `asked`: addresses it asked for, itself among them; `said`: errors and console messages."""

    browser: Browser
    session: str
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def value(self, expression: str) -> Any:
        """Of JavaScript, a promise awaited. Raises AssertionError with what it threw."""
        params = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        found = self.browser.call("Runtime.evaluate", self.session, **params)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def saved(self) -> dict[str, str]:
        """What each button saves, by the name of its table or figure."""
        return dict(self.value(_SAVED))

    def picture(self, height: int, quality: int = 82) -> bytes:
        """WebP of the top of the page."""
        self.browser.call("Emulation.setDeviceMetricsOverride", self.session, **_screen(self.value("innerWidth"), height))
        self.value("new Promise(done => setTimeout(done, 300))")
        return base64.b64decode(self.browser.call("Page.captureScreenshot", self.session, format="webp", quality=quality)["data"])


class Browser:
    """One Chromium, for several pages."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self._process, self._commands, self._answers = process, commands, answers
        self._number, self._rest = 0, b""
        self._pages: dict[str, Page] = {}

    def open(self, file: Path, width: int = 1280, *, dark: bool = False) -> Page:
        """The page once everything is drawn."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        self.call("Emulation.setDeviceMetricsOverride", session, **_screen(width, 2000))
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", session, features=[scheme])
        self.call("Page.navigate", session, url=file.as_uri())
        page.value('document.readyState == "complete" || new Promise(done => addEventListener("load", () => done(true)))')
        page.value(_DRAWN)
        return page

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """The answer to a command; what happens meanwhile is noted down. Raises AssertionError for an error of Chromium."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (found := self._message()).get("id") != self._number:
            self._note(found)
        assert "error" not in found, found
        return dict(found["result"])

    def _message(self) -> dict[str, Any]:
        ends = time.monotonic() + PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, ends - time.monotonic()))
            assert ready, f"Chromium said nothing for {PATIENCE_S} s"
            read = os.read(self._answers, 1 << 20)
            assert read, "Chromium ended"
            self._rest += read
        first, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(first))

    def _note(self, event: dict[str, Any]) -> None:
        page, params = self._pages.get(event.get("sessionId", "")), event.get("params", {})
        if page is None:
            return
        if event["method"] == "Network.requestWillBeSent":
            page.asked.append(params["request"]["url"])
        elif event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            page.said.append(json.dumps(params))


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A Chromium of its own, which ends with the block."""
    assert BROWSER is not None
    (commands_out, commands_in), (answers_out, answers_in) = os.pipe(), os.pipe()
    start = f'exec "$@" 3<&{commands_out} 4>&{answers_in}'
    command = ["bash", "-c", start, "bash", BROWSER, *_FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(command, pass_fds=(commands_out, answers_in), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(commands_out)
    os.close(answers_in)
    browser = Browser(process, commands_in, answers_out)
    try:
        yield browser
        browser.call("Browser.close")
    finally:
        os.close(commands_in)
        os.close(answers_out)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _screen(width: int, height: int) -> dict[str, Any]:
    return {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
