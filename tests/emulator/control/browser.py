"""A headless Chromium, driven over its own protocol through a pipe. No assertions."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["CHROMIUM", "Browser", "browser"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""Its path; None if this machine has no Chromium."""


@dataclass
class Browser:
    """One tab."""

    to: IO[bytes]
    from_: IO[bytes]
    session: str = ""
    sent: int = 0
    heard: list[str] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command to the browser, and wait for its answer."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.to.write(json.dumps(message).encode() + b"\0")
        self.to.flush()
        while (answer := json.loads(self._message())).get("id") != self.sent:
            self.heard.append(answer.get("method", ""))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def hears(self, event: str) -> None:
        """Wait for an event of the browser."""
        while event not in self.heard:
            self.heard.append(json.loads(self._message()).get("method", ""))

    def _message(self) -> bytes:
        read = bytearray()
        while (byte := self.from_.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has gone")
            read += byte
        return bytes(read)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; if it is a promise, the value that it resolves to."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def until(self, condition: str) -> Any:
        """Wait in the page until an expression is true, and return its value."""
        waiting = f"""new Promise((done, give_up) => {{
            setTimeout(() => give_up(new Error("not in a minute: " + document.body.innerText)), 60000);
            const check = () => {{ const value = {condition}; value ? done(value) : setTimeout(check, 20); }};
            check();
        }})"""
        return self.evaluate(waiting)

    def picture(self, path: Path, width: int, height: int) -> None:
        """Save a PNG of the page at this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(url: str, profile: Path) -> Iterator[Browser]:
    """Open a page in a new browser."""
    theirs_in, to = os.pipe()
    from_, theirs_out = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    # The browser takes file descriptors 3 and 4.
    script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(  # noqa: S603  a fixed command
        ["bash", "-c", script, str(CHROMIUM), *options, "about:blank"],  # noqa: S607
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(to, "wb") as writing, os.fdopen(from_, "rb") as reading:
            tab = Browser(writing, reading)
            target = tab.call("Target.createTarget", url="about:blank")["targetId"]
            tab.session = tab.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            tab.call("Page.enable")
            tab.call("Page.navigate", url=url)
            tab.hears("Page.loadEventFired")
            yield tab
    finally:
        process.kill()
        process.wait()
