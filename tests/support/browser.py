"""Open a page in a headless Chromium, and report its messages and requests.

Chromium is spoken to in its DevTools protocol over a pair of pipes, which needs no package.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="neither chromium nor google-chrome is installed")

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync"),
    *("--remote-debugging-pipe", "--window-size=1300,900"),
)
# Chromium wants the pipes as file descriptors 3 and 4.
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_PATIENCE = 60  # seconds


class Page(NamedTuple):
    """What came of opening a page."""

    messages: list[str]  # what was written to the console, by the page and by the browser
    requests: list[str]  # addresses that it asked for, refused ones among them, without itself and data:
    text: str  # what a person reads on it
    screenshot: Path  # a PNG of all of it


def open_page(file: Path, screenshot: Path, query: str = "", expected: str = "") -> Page:
    """Open a file and wait until it is loaded.

    Args:
        file: the HTML.
        screenshot: where to write the image.
        query: what follows the question mark of the address.
        expected: text to wait for, ten seconds at most.
    """
    address = file.resolve().as_uri() + (f"?{query}" if query else "")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, _Chromium(profile) as chromium:
        target = chromium.do("Target.createTarget", url="about:blank")["targetId"]
        chromium.session = chromium.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            chromium.do(f"{domain}.enable")
        chromium.do("Page.navigate", url=address)
        chromium.wait_for("Page.loadEventFired")
        wait = f"""new Promise(done => {{
            const check = left => {{
                const text = document.body.innerText
                text.includes({json.dumps(expected)}) || left == 0 ? done(text) : setTimeout(check, 100, left - 1)
            }}
            setTimeout(check, 300, 100)  // for content that scripts add
        }})"""
        text = chromium.do("Runtime.evaluate", expression=wait, awaitPromise=True, returnByValue=True)
        size = chromium.do("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 10_000), "scale": 1}
        picture = chromium.do("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        screenshot.write_bytes(base64.b64decode(picture))
        events = chromium.events
    requests = [params["request"]["url"] for name, params in events if name == "Network.requestWillBeSent"]
    return Page(
        [message for name, params in events for message in _messages(name, params)],
        [url for url in requests if url != address and not url.startswith("data:")],
        text["result"]["value"],
        screenshot,
    )


def _messages(name, params):
    if name == "Runtime.consoleAPICalled":
        words = (str(arg.get("value", arg.get("description", ""))) for arg in params["args"])
        yield f"{params['type']}: {' '.join(words)}"
    elif name == "Runtime.exceptionThrown":
        details = params["exceptionDetails"]
        yield f"exception: {details.get('exception', {}).get('description', details['text'])}"
    elif name == "Log.entryAdded":
        yield f"{params['entry']['level']}: {params['entry']['text']}"


class _Chromium:
    """A browser that ends with the block."""

    def __init__(self, profile):
        self.session = None
        self.events = []
        self._profile = profile
        self._number = 0
        self._unread = b""

    def __enter__(self):
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        arguments = [CHROMIUM, *_OPTIONS, f"--user-data-dir={self._profile}"]
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", _LAUNCH, str(theirs_in), str(theirs_out), *arguments],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        return self

    def __exit__(self, *error):
        os.close(self._out)  # at which it ends
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def do(self, method, **params):
        """Sends a command, and waits for what it gives."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        number = self._number
        answer = self._read_until(lambda message: message.get("id") == number)
        assert "error" not in answer, f"Chromium: {method}: {answer['error']}"
        return answer["result"]

    def wait_for(self, event):
        """Waits for an event, unless it has been."""
        if all(name != event for name, _ in self.events):
            self._read_until(lambda message: message.get("method") == event)

    def _read_until(self, is_it):
        until = time.monotonic() + _PATIENCE
        while True:
            *messages, self._unread = self._unread.split(b"\0")
            found = None
            for message in map(json.loads, messages):
                if "method" in message:
                    self.events.append((message["method"], message["params"]))
                found = message if found is None and is_it(message) else found
            if found is not None:
                return found
            ready, _, _ = select.select([self._in], [], [], max(0, until - time.monotonic()))
            received = os.read(self._in, 1 << 20) if ready else b""
            assert received, "Chromium ended or does not answer"
            self._unread += received
