"""Films: what the page holds is what the network does, and a browser without a network shows it."""

import html
import json
import re
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logistack as ls
from logistack import plots

XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
LABELS = [0, 1, 1, 0]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def frames(sizes, count=3):
    return [ls.init_params(jax.random.key(seed), sizes) for seed in range(count)]


def read(path):
    """The data in a page."""
    page = path.read_text(encoding="utf-8")
    (text,) = re.findall(r'<script id="film" type="application/json">(.*?)</script>', page, re.S)
    return json.loads(text)


def outputs(params, points):
    """Of every layer, in float64."""
    found = [points]
    for weight, bias in params:
        z = found[-1] @ np.asarray(weight, np.float64).T + np.asarray(bias, np.float64)
        found.append(1 / (1 + np.exp(-z)))
    return found


def places(panel, frame, part, units):
    low, high = np.array(panel["low"]), np.array(panel["high"])
    return low + np.array(panel["frames"][frame][part]).reshape(-1, 2) / units * (high - low)


def room(panel, units):
    """Half a unit, and the rounding of float32."""
    return (np.array(panel["high"]) - np.array(panel["low"])).max() / units * 0.51 + 1e-6


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "new folder" / "film.html"
    plots.film(frames((2, 2, 1)), XOR, LABELS, path, captions=["a", "b", "c"], cells=4)
    return read(path)


class TestData:
    def test_samples_are_where_each_frame_s_layers_take_them(self, film):
        for frame, params in enumerate(frames((2, 2, 1))):
            carried = outputs(params, XOR)
            hidden, output = film["panels"][1:]
            got = places(hidden, frame, "samples", film["units"])
            np.testing.assert_allclose(got, carried[1], atol=room(hidden, film["units"]))
            got = places(output, frame, "samples", film["units"])[:, 0]
            np.testing.assert_allclose(got, carried[2][:, 0], atol=room(output, film["units"]))

    def test_the_input_does_not_move_and_is_kept_once(self, film):
        panel = film["panels"][0]
        assert len(panel["frames"]) == 1
        got = places(panel, 0, "samples", film["units"])
        np.testing.assert_allclose(got, XOR, atol=room(panel, film["units"]))

    def test_lines_of_the_grid_are_bent_as_the_samples_are(self, film):
        straight, hidden = film["panels"][:2]
        across = places(straight, 0, "lines", film["units"])
        lines = across.reshape(-1, straight["steps"], 2)
        first = straight["constant_first"]
        assert np.ptp(lines[:first, :, 0], axis=1).max() < 2e-3
        assert np.ptp(lines[first:, :, 1], axis=1).max() < 2e-3
        for frame, params in enumerate(frames((2, 2, 1))):
            got = places(hidden, frame, "lines", film["units"])
            # The grid itself was rounded to a ten-thousandth of its panel.
            np.testing.assert_allclose(got, outputs(params, across)[1], atol=1e-3)

    def test_a_single_unit_is_a_strip_with_a_lane_for_each_class(self, film):
        output = film["panels"][2]
        assert output["labels"] == ["a₁", "class"]
        heights = places(output, 0, "samples", film["units"])[:, 1]
        np.testing.assert_array_equal(heights.round(), LABELS)
        assert not output["frames"][0]["lines"]

    def test_inputs_are_called_what_they_are(self, tmp_path):
        path = tmp_path / "film.html"
        plots.film(frames((2, 2, 1), 1), XOR, LABELS, path, axis_labels=("h", "w"))
        first, second, _ = read(path)["panels"]
        assert first["labels"] == ["h", "w"]
        assert second["labels"] == ["a₁", "a₂"]

    def test_classes_captions_and_titles(self, film):
        assert film["captions"] == ["a", "b", "c"]
        assert [each["name"] for each in film["classes"]] == ["class 0", "class 1"]
        assert film["ranks"] == LABELS
        assert [panel["title"] for panel in film["panels"]] == ["input", "layer 1", "output"]

    def test_wide_layers_are_seen_by_the_last_frame_s_principal_components(self, tmp_path):
        snapshots = frames((2, 5, 1))
        plots.film(snapshots, XOR, LABELS, tmp_path / "film.html", layers=[1], cells=2)
        film = read(tmp_path / "film.html")
        (panel,) = film["panels"]
        assert panel["title"] == "layer 1 (5 units)"
        assert panel["labels"][0].startswith("principal component 1 (")
        units = film["units"]
        # A projection to two orthonormal axes, the same in all frames: differences say so.
        seen = [places(panel, frame, "samples", units) for frame in range(3)]
        carried = [outputs(params, XOR)[1] for params in snapshots]
        moved = np.concatenate([carried[f] - carried[2][:1] for f in range(3)])
        shown = np.concatenate([seen[f] - seen[2][:1] for f in range(3)])
        axes, *_ = np.linalg.lstsq(moved, shown, rcond=None)
        np.testing.assert_allclose(moved @ axes, shown, atol=1e-3)
        np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=0.02)

    def test_a_stack_has_a_panel_for_each_of_its_layers(self, tmp_path):
        flat = ls.init_params(jax.random.key(0), (2, 2, 2, 2, 1))
        for name, params in (("flat", flat), ("stack", ls.stack(flat))):
            plots.film([params], XOR, LABELS, tmp_path / f"{name}.html", title="same")
        assert read(tmp_path / "flat.html")["panels"] == read(tmp_path / "stack.html")["panels"]

    def test_many_frames_of_many_samples_stay_small(self, tmp_path):
        inputs = np.random.default_rng(0).normal(size=(200, 2))
        labels = (inputs[:, 0] > 0).astype(int)
        plots.film(frames((2, 2, 2, 1), 60), inputs, labels, tmp_path / "film.html")
        assert (tmp_path / "film.html").stat().st_size < 2.2e6


class TestPage:
    def test_it_loads_nothing(self, tmp_path):
        plots.film(frames((2, 2, 1)), XOR, LABELS, tmp_path / "film.html")
        page = (tmp_path / "film.html").read_text(encoding="utf-8")
        assert "default-src 'none'" in page
        addresses = set(re.findall(r"\w+://[^\s\"']+", page))
        assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place
        assert not re.search(r"\b(src|href)\s*=|@import|url\(|fetch\(|XMLHttp|import\(", page)

    def test_texts_cannot_become_code(self, tmp_path):
        evil = "</script><b>\"'&<!--"
        plots.film(
            frames((2, 2, 1), 1), XOR, list("abba"), tmp_path / "f.html",
            captions=[evil], title=evil,
        )  # fmt: skip
        page = (tmp_path / "f.html").read_text(encoding="utf-8")
        assert page.count("</script>") == 2
        assert f"<title>{html.escape(evil)}</title>" in page
        assert read(tmp_path / "f.html")["captions"] == [evil]

    def test_placeholders_in_texts_stay_as_they_are(self, tmp_path):
        plots.film(frames((2, 1), 1), XOR, LABELS, tmp_path / "f.html", captions=["{{title}}"])
        assert read(tmp_path / "f.html")["captions"] == ["{{title}}"]

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"frames": []}, ValueError, "frames: expected the params of at least one frame"),
            ({"frames": [1]}, TypeError, r"frames\[0\]"),
            (
                {"frames": frames((3, 1))},
                ValueError,
                r"frames\[0\]: expected a network of 2 inputs",
            ),
            (
                {"frames": [*frames((2, 2, 1), 1), *frames((2, 3, 1), 1)]},
                ValueError,
                r"frames\[0\]: expected weights",
            ),
            ({"captions": ["one"]}, ValueError, "captions: expected 3, one a frame, got 1"),
            ({"layers": [3]}, ValueError, r"layers\[0\]"),
            ({"cells": 0}, ValueError, "cells"),
            ({"frames_per_second": 0}, ValueError, "frames_per_second: expected more than 0"),
            ({"labels": [0, 1]}, ValueError, "labels"),
            ({"inputs": XOR[:, :1]}, ValueError, "inputs"),
        ],
    )
    def test_what_does_not_fit_is_refused_and_nothing_is_written(
        self, tmp_path, change, error, message
    ):
        path = tmp_path / "film.html"
        arguments = {"frames": frames((2, 2, 1)), "inputs": XOR, "labels": LABELS, "path": path}
        with pytest.raises(error, match=message):
            plots.film(**(arguments | change))
        assert not path.exists()

    def test_parameters_that_are_not_finite_are_refused(self, tmp_path):
        broken = (ls.Layer(jnp.full((1, 2), jnp.nan), jnp.zeros(1)),)
        with pytest.raises(ValueError, match=r"frames\[0\]\[0\].weight"):
            plots.film([broken], XOR, LABELS, tmp_path / "film.html")


WATCH = """
<pre id="seen"></pre>
<script>
(() => {
const errors = [];
window.addEventListener("error", (event) => errors.push(event.message));
const look = () => ({
  where: document.getElementById("where").textContent,
  caption: document.getElementById("caption").textContent,
  frames: document.getElementById("slider").max,
  panels: [...document.querySelectorAll("#panels svg")].map((svg) => ({
    title: svg.getAttribute("aria-label"),
    samples: [...svg.querySelectorAll(".samples")].map((path) => path.getAttribute("d")),
    lines: [...svg.querySelectorAll(".line")].map((path) => path.getAttribute("d")),
    box: (({ width, height }) => [width, height])(svg.getBoundingClientRect()),
  })),
});
const seen = { opened: look() };
const slider = document.getElementById("slider");
slider.value = 3;
slider.dispatchEvent(new Event("input"));
seen.slid = look();
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
press("Home");
seen.home = look();
press("ArrowRight");
seen.next = look();
press("End");
seen.end = look();
press(" ");
seen.playing = look();
setTimeout(() => {
  seen.played = look();
  seen.errors = errors;
  document.getElementById("seen").textContent = JSON.stringify(seen);
}, 3000);
})();
</script>
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a browser shows that finds no network, opened at the second of three frames."""
    folder = tmp_path_factory.mktemp("browser")
    path = folder / "film.html"
    plots.film(frames((2, 2, 1)), XOR, LABELS, path, captions=["one", "two <2>", "three"])
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace("</body>", WATCH + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=10000", f"{path.as_uri()}#frame=2",
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    (text,) = re.findall(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    return json.loads(html.unescape(text)), read(path)


@pytest.mark.skipif(CHROMIUM is None, reason="expected Chromium, got none on the path")
class TestBrowser:
    def test_it_opens_at_the_frame_that_the_address_names(self, seen):
        shown, film = seen
        assert not shown["errors"]
        assert shown["opened"]["frames"] == "3"
        assert (shown["opened"]["where"], shown["opened"]["caption"]) == ("2 of 3", "two <2>")
        titles = [panel["title"] for panel in shown["opened"]["panels"]]
        assert titles == [panel["title"] for panel in film["panels"]]
        assert all(min(panel["box"]) > 100 for panel in shown["opened"]["panels"])

    def test_the_slider_and_the_keys_choose_the_frame(self, seen):
        shown, _ = seen
        where = {name: shown[name]["where"] for name in ("slid", "home", "next", "end")}
        assert where == {"slid": "3 of 3", "home": "1 of 3", "next": "2 of 3", "end": "3 of 3"}
        assert shown["slid"]["panels"] == shown["end"]["panels"]
        assert shown["next"]["panels"] == shown["opened"]["panels"]

    def test_playing_at_the_end_starts_again_and_stops_at_the_end(self, seen):
        shown, _ = seen
        assert [shown[name]["where"] for name in ("playing", "played")] == ["1 of 3", "3 of 3"]

    def test_what_is_drawn_is_what_the_page_holds(self, seen):
        shown, film = seen
        for name, frame in (("home", 0), ("next", 1), ("end", 2)):
            for drawn, panel in zip(shown[name]["panels"], film["panels"], strict=True):
                data = panel["frames"][min(frame, len(panel["frames"]) - 1)]
                wanted = np.array(data["samples"]).reshape(-1, 2)
                for rank, path in enumerate(drawn["samples"]):
                    starts = np.array(re.findall(r"M(-?\d+) (-?\d+)", path), int)
                    here = np.array(film["ranks"]) == rank
                    np.testing.assert_array_equal(starts, wanted[here])
                numbers = " ".join(drawn["lines"]).replace("M", " ").split()
                assert list(map(int, numbers)) == data["lines"]
