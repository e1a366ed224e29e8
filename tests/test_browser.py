"""The page that reads drawn digits, in a Chromium that finds no network."""

import base64
import dataclasses
import json
import os
import shutil
import subprocess
import sys
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


# Chromium reads commands from 3, and answers to 4.
START = """
import os, sys
os.dup2(int(sys.argv[2]), 64), os.dup2(int(sys.argv[1]), 3), os.dup2(64, 4), os.close(64)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """Chromium, told by a pipe what to do: its own protocol, JSON texts that end with a NUL."""

    def __init__(self, profile):
        (commands, to), (of, answers) = os.pipe(), os.pipe()
        self._process = subprocess.Popen(
            [
                sys.executable, "-c", START, f"{commands}", f"{answers}", CHROMIUM, "--headless",
                "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1000,760",
                f"--user-data-dir={profile}",
            ],
            pass_fds=(commands, answers), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._to, self._of = os.fdopen(to, "wb"), os.fdopen(of, "rb")
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
        for room in ("Page", "Runtime", "Log", "Network"):
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

    def close(self):
        self.ask("Browser.close")
        self._process.wait(timeout=60)
        self._to.close()
        self._of.close()


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.open((folder / "index.html").as_uri())
    yield browser
    browser.close()


@pytest.fixture
def page(browser):
    """The page, with nothing drawn."""
    browser.run("document.getElementById('clear').click()")
    return browser


def shown(page):
    """What is drawn, as the network takes it, and its probabilities; and what the page says."""
    found = page.run("update().then((of) => ({ ...of, pixels: of.pixels && [...of.pixels] }))")
    values = "[...document.querySelectorAll('.value')].map((value) => value.textContent)"
    return found["pixels"], found["probabilities"], page.run(values), page.run("answer.textContent")


def corner_of(page):
    return page.run("(({ x, y, width }) => [x, y, width])(paper.getBoundingClientRect())")


SEVEN = [
    (0.3, 0.25),
    (0.45, 0.25),
    (0.6, 0.25),
    (0.7, 0.26),
    (0.62, 0.45),
    (0.54, 0.62),
    (0.48, 0.8),
]


@needs_digits
@needs_browser
class TestPage:
    def test_a_drawn_digit_has_the_probabilities_of_the_classifier(self, page, result):
        x, y, width = corner_of(page)

        def send(kind, point, **options):
            place = {"x": x + point[0] * width, "y": y + point[1] * width}
            page.ask("Input.dispatchMouseEvent", type=kind, button="left", **place, **options)

        send("mousePressed", SEVEN[0], clickCount=1, buttons=1)
        for point in SEVEN[1:]:
            send("mouseMoved", point, buttons=1)
        send("mouseReleased", SEVEN[-1], clickCount=1)
        pixels, probabilities, values, answer = shown(page)
        image = np.float32(pixels).reshape(28, 28)
        rows, columns = np.nonzero(image)
        assert np.ptp(rows) == 19  # the box of 20 pixels, of which this is the height
        mass = np.array([rows @ image[rows, columns], columns @ image[rows, columns]])
        assert np.abs(mass / image.sum() - 14).max() <= 0.5
        expected = result.classifier.probabilities(image.reshape(1, -1))[0]
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
        assert answer.startswith("7")
        assert values == [f"{100 * share:.1f}%" for share in probabilities]

    def test_a_finger_and_the_keyboard_draw_and_clear(self, page):
        assert shown(page)[:2] == (None, None)
        x, y, width = corner_of(page)
        page.ask("Emulation.setTouchEmulationEnabled", enabled=True)
        for kind, point in (("touchStart", 0.2), ("touchMove", 0.5), ("touchMove", 0.8)):
            points = [{"x": x + width / 2, "y": y + point * width}]
            page.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        page.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        page.ask("Emulation.setTouchEmulationEnabled", enabled=False)
        by_touch = shown(page)
        assert by_touch[3].startswith("1")
        page.run("document.getElementById('clear').click()")
        assert shown(page)[:2] == (None, None)
        page.run("paper.focus()")

        def press(key):
            for kind in ("keyDown", "keyUp"):
                page.ask("Input.dispatchKeyEvent", type=kind, key=key)

        for key in (" ", *["ArrowDown"] * 20, " ", *["ArrowRight"] * 5):
            press(key)
        by_keyboard = shown(page)
        assert by_keyboard[3].startswith("1")
        assert np.count_nonzero(by_keyboard[0]) > 30
        press("Escape")
        assert shown(page)[:2] == (None, None)

    def test_test_digits_are_read_as_by_the_classifier(self, page, result):
        count = 300
        images = np.round(255 * result.test.inputs[:count]).astype(np.uint8)
        page.run(f"images = atob('{base64.b64encode(images.tobytes()).decode()}')")
        # Larger and off the center, as one draws them: each pixel is 5 × 5, on paper of 200 × 200.
        found = page.run(
            f"""(async () => {{
                const found = [];
                for (let image = 0; image < {count}; image++) {{
                    const ink = new Float32Array(200 * 200);
                    for (let y = 0; y < 140; y++) for (let x = 0; x < 140; x++) {{
                        const place = 784 * image + 28 * Math.floor(y / 5) + Math.floor(x / 5);
                        ink[(y + 13) * 200 + x + 41] = images.charCodeAt(place) / 255;
                    }}
                    const pixels = prepare(ink, 200);
                    found.push([[...pixels], await read(pixels)]);
                }}
                return found;
            }})()"""
        )
        pixels, probabilities = (np.float32([each[part] for each in found]) for part in (0, 1))
        expected = result.classifier.probabilities(pixels)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
        same = np.abs(pixels - images / np.float32(255)).max(axis=1) < 1e-6
        assert same.mean() > 0.95  # the others have another box
        labels = result.test.labels[:count]
        ours = np.mean(probabilities.argmax(axis=1) == labels)
        assert abs(ours - result.classifier.accuracy(result.test.inputs[:count], labels)) < 0.02
        assert ours > 0.85

    def test_nothing_is_asked_of_a_network_and_nothing_fails(self, page):
        shown(page)
        kinds = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
        assert [event for event in page.events if event["method"] in kinds] == []
        asked = [
            event["params"]["request"]["url"].partition(":")[0]
            for event in page.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        assert set(asked) <= {"file", "blob", "data"}

    @pytest.mark.parametrize("width", [320, 390, 1400])
    def test_it_fits_screens_of_any_width(self, page, width):
        page.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=740, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        assert page.run("document.documentElement.scrollWidth") <= width
        assert corner_of(page)[2] >= 240
        page.ask("Emulation.clearDeviceMetricsOverride")


@needs_digits
@needs_browser
def test_the_network_is_beside_the_page(folder, result):
    loaded = ls.export.onnx.load(folder / "model.onnx")
    rows = result.test.inputs[:10]
    np.testing.assert_array_equal(loaded.probabilities(rows), result.classifier.probabilities(rows))
    assert len((folder / "index.html").read_bytes()) < 8e6


RUNTIME = {"runtime": b"let ort;\n//# sourceMappingURL=a.map", "glue": b"glue", "wasm": b"wasm"}


def test_what_would_end_a_script_is_refused():
    page = build.page_of("<1%>", RUNTIME, b"model")
    assert "<footer>&lt;1%&gt;</footer>" in page
    assert "sourceMappingURL" not in page
    assert "{{" not in page
    with pytest.raises(ValueError, match="expected a script that can stand in a page"):
        build.page_of("", RUNTIME | {"glue": b"'</SCRIPT>'"}, b"model")


def test_without_npm_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(keeping.RefusedError, match=r"^npm: expected it on the path, got none"):
        build.runtime_files()


@pytest.mark.parametrize(
    "change", [{"hidden": (0,)}, {"epochs": 0}, {"images": 60_001}, {"learning_rate": 0.0}]
)
def test_settings_that_train_nothing_are_refused(change):
    with pytest.raises(keeping.RefusedError, match=f"^{next(iter(change))}: expected"):
        build.require_config(dataclasses.replace(TINY, **change))
