"""The page that reads drawn digits, in a Chromium that finds no network."""

import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import logistack as ls
from experiments import keeping
from experiments.browser import build

CHROMIUM = shutil.which("chromium")
TINY = build.Config(hidden=(32,), epochs=3, images=6000, deform=False, progress=False)
MNIST = Path(os.environ.get("LOGISTACK_DATA", "nowhere"), "mnist")

needs_digits = pytest.mark.skipif(not MNIST.is_dir(), reason="LOGISTACK_DATA has no MNIST")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or shutil.which("npm") is None, reason="Chromium or npm is missing"
)


@pytest.fixture(scope="module")
def result():
    return build.run(TINY)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    try:
        build.build(folder, build.about(TINY, result), result.classifier)
    except keeping.RefusedError as error:
        pytest.skip(f"npm brings nothing: {error}")
    return folder


class Browser:
    """Chromium, told by a pipe what to do: its own protocol, as JSON that ends with a NUL."""

    def __init__(self, profile, *flags):
        own, theirs = os.pipe(), os.pipe()

        def connect():
            os.dup2(own[0], 3)
            os.dup2(theirs[1], 4)

        read, write = os.dup(own[0]), os.dup(theirs[1])  # beyond 4, where they are closed
        os.close(own[0]), os.close(theirs[1])
        own, theirs = (read, own[1]), (theirs[0], write)
        self.process = subprocess.Popen(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", *flags,
            ],
            pass_fds=(3, 4), preexec_fn=connect, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(own[0]), os.close(theirs[1])
        self._to, self._of = os.fdopen(own[1], "wb"), os.fdopen(theirs[0], "rb")
        self._count, self._rest, self._session = 0, b"", None
        self.events = []

    def ask(self, method, **params):
        self._count += 1
        asked = {"id": self._count, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        self._to.write(json.dumps(asked).encode() + b"\0")
        self._to.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        while b"\0" not in self._rest:
            read = self._of.read1(1 << 20)
            assert read, "Chromium has ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, address):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for room in ("Page", "Runtime", "Log"):
            self.ask(f"{room}.enable")
        self.ask("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script):
        done = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def screenshot(self, path):
        shot = self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.ask("Browser.close")
        self.process.wait(timeout=30)
        self._to.close()
        self._of.close()
