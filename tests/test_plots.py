"""Figures: what they show is what they were given, and all of it can be read."""

import itertools
import os
import subprocess
import sys
import warnings

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from logistack import plots

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
LABELS = np.array([0, 1, 1, 0])
SIDE = np.linspace(-0.5, 1.5, 21)
ARTICLE = (
    (np.array([[1.0, -2.0], [-1.0, 1.0]]), np.array([1.0, 0.0])),
    (np.array([[2.0, -1.0], [-2.0, -1.0]]), np.array([0.0, 0.0])),
    (np.array([[3.0, -1.0], [-1.0, 4.0]]), np.array([-2.0, 2.0])),
)
ACTIVATIONS = ([1.0, -1.0], [0.98, 0.12], [0.86, 0.11], [0.62, 0.83])


def draw_network(sizes=(3, 4, 2, 1)):
    random = np.random.default_rng(0)
    params = [
        (random.normal(size=shape), random.normal(size=shape[0]))
        for shape in zip(sizes[1:], sizes[:-1], strict=True)
    ]
    return plots.network(params, [random.random(size) for size in sizes])


FIGURES = {
    "points": lambda: plots.planes(plots.Plane(XOR, LABELS)),
    "one point": lambda: plots.planes(plots.Plane(XOR[:1], LABELS[:1], annotations=["here"])),
    "line": lambda: plots.planes(
        plots.Plane(XOR, LABELS, units=([[1, 1]], [-1.5]), annotations="abcd")
    ),
    "line outside": lambda: plots.planes(plots.Plane(XOR, LABELS, units=([[1, 1]], [-99]))),
    "regions": lambda: plots.planes(
        plots.Plane(XOR, LABELS, outputs=(SIDE, SIDE, np.full((21, 21), 0.25))),
        plots.Plane(XOR, LABELS, units=(np.eye(2), np.full(2, -0.5)), annotations="abcd"),
    ),
    "article's network": lambda: plots.network(ARTICLE, ACTIVATIONS),
    "wider network": draw_network,
    "one unit": lambda: draw_network((1, 1)),
    "prediction": lambda: plots.prediction(np.eye(16), np.full(10, 0.1), np.eye(10)[3], 2.3),
    "curves": lambda: plots.training_curves(
        {
            "loss": {"SGD": np.geomspace(50, 1, 30), "Adam": np.geomspace(70, 0.5, 30)},
            "error (%)": {"SGD": np.linspace([90, 95], 1, 30).T},
        },
        log=["loss"],
    ),
    "long curves": lambda: plots.training_curves(
        {"loss": {"SGD": np.geomspace(1, 1e-9, 2000)}}, log=["loss"]
    ),
    "confusion": lambda: plots.confusion_matrix(np.arange(100).reshape(10, 10)),
    "images": lambda: plots.image_grid(np.ones((12, 16, 16)), ["4 → 9"] * 12),
    "weights": lambda: plots.weight_images(np.linspace(-1, 1, 12 * 64).reshape(12, 64), (8, 8)),
}


@pytest.fixture(params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def texts(figure):
    """Every text that a reader sees, and the box it takes in pixels."""
    figure.draw_without_rendering()
    found = figure.findobj(lambda part: isinstance(part, matplotlib.text.Text))
    shown = [text for text in found if text.get_visible() and text.get_text().strip()]
    axes = [(part, axis) for part in figure.axes for axis in (part.xaxis, part.yaxis)]
    ticks = {tick for _, axis in axes for tick in (*axis.majorTicks, *axis.minorTicks)}
    # Matplotlib makes ticks beyond an axis' limits too, and draws none of them.
    ticks -= {tick for part, axis in axes if part.axison for tick in axis._update_ticks()}
    hidden = {label for tick in ticks for label in (tick.label1, tick.label2)}
    return {text: text.get_window_extent() for text in shown if text not in hidden}


def data(line):
    return np.stack(line.get_data(), axis=1)


class TestEveryFigure:
    def test_saves_to_png_without_a_warning(self, figure, tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plots.save(figure, tmp_path / "new folder" / "figure.png")
        assert (tmp_path / "new folder" / "figure.png").read_bytes().startswith(b"\x89PNG\r\n")

    def test_clips_no_text_and_lets_none_overlap(self, figure):
        boxes = texts(figure)
        whole = figure.bbox.padded(1)
        for text, box in boxes.items():
            assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text
            assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, text
        for (one, here), (other, there) in itertools.combinations(boxes.items(), 2):
            assert not here.padded(-1).overlaps(there.padded(-1)), (one, other)

    def test_labels_its_axes(self, figure):
        for axes in figure.axes:
            if axes.axison:
                assert axes.get_xlabel() or axes.get_ylabel()

    def test_is_unknown_to_pyplot_and_keeps_its_style_to_itself(self, figure):
        assert matplotlib.rcParams["font.family"] == matplotlib.rcParamsDefault["font.family"]
        assert {text.get_fontfamily()[0] for text in texts(figure)} == {"STIXGeneral"}


class TestPlanes:
    def test_points_are_drawn_by_class_where_they_are(self):
        (axes,) = plots.planes(plots.Plane(jnp.asarray(XOR), LABELS)).axes
        zeros, ones = axes.lines
        np.testing.assert_array_equal(data(zeros), XOR[[0, 3]])
        np.testing.assert_array_equal(data(ones), XOR[[1, 2]])
        assert zeros.get_marker() != ones.get_marker()
        assert zeros.get_color() != ones.get_color()
        assert axes.get_xlabel() == "$x_1$"
        assert axes.get_ylabel() == "$x_2$"
        for low, high, column in (*axes.get_xlim(), XOR[:, 0]), (*axes.get_ylim(), XOR[:, 1]):
            assert low < column.min()
            assert high > column.max()

    @pytest.mark.parametrize(
        ("weight", "bias"),
        [((1, 1), -1.5), ((-2, 3), 0.1), ((0, 4), -1), ((5, 0), -1), ((1, 1), 0)],
    )
    def test_a_line_is_where_the_unit_is_undecided_from_side_to_side(self, weight, bias):
        (axes,) = plots.planes(plots.Plane(XOR, LABELS, units=([weight], [bias]))).axes
        ends = data(axes.lines[0])
        np.testing.assert_allclose(ends @ weight + bias, 0, atol=1e-6)
        assert not np.allclose(*ends)
        for end in ends:
            sides = zip(end, (axes.get_xlim(), axes.get_ylim()), strict=True)
            assert any(np.isclose(value, limits).any() for value, limits in sides)

    def test_a_line_elsewhere_is_not_drawn(self):
        (axes,) = plots.planes(plots.Plane(XOR, LABELS, units=([[1, 1]], [-9]))).axes
        assert data(axes.lines[0]).size == 0

    def test_the_positive_side_has_the_tint_of_class_1(self):
        (axes,) = plots.planes(plots.Plane(XOR, LABELS, units=([[1, 0]], [-0.5]))).axes
        (sides,) = axes.collections
        where = {
            to_hex(color): path.vertices[:, 0]
            for color, path in zip(sides.get_facecolor(), sides.get_paths(), strict=True)
        }
        assert where[plots.TINTS[1].lower()].min() == pytest.approx(0.5)
        assert where[plots.TINTS[0].lower()].max() == pytest.approx(0.5)

    def test_several_units_have_a_dashed_line_each(self):
        (axes,) = plots.planes(plots.Plane(XOR, LABELS, units=(np.eye(2), [-0.5, -0.25]))).axes
        first, second = axes.lines[:2]
        np.testing.assert_allclose(data(first)[:, 0], 0.5)
        np.testing.assert_allclose(data(second)[:, 1], 0.25)
        assert first.get_linestyle() == second.get_linestyle() == "--"
        assert not axes.collections

    def test_the_legend_explains_every_line(self):
        outputs = np.broadcast_to(np.linspace(0, 1, 21)[:, None], (21, 31))
        grid = np.linspace(-1, 2, 31), np.linspace(-0.5, 1.5, 21), outputs
        hidden, last = (np.eye(2), [-0.5, -0.25]), (np.ones((1, 2)), [-0.5])
        figure = plots.planes(
            plots.Plane(XOR, LABELS, units=hidden, outputs=grid),
            plots.Plane(XOR, LABELS, units=last),
        )
        handles = figure.legends[0].get_lines()
        told = {text.get_text(): line.get_linestyle()
                for text, line in zip(figure.legends[0].get_texts(), handles, strict=True)}  # fmt: skip
        assert told["line of each unit"] == "--"
        assert told["line of the unit"] == told["output ½"] == "-"

    def test_regions_part_where_the_output_is_a_half(self):
        outputs = np.broadcast_to(np.linspace(0, 1, 21)[:, None], (21, 31))  # of x₂ alone
        grid = np.linspace(-1, 2, 31), np.linspace(-0.5, 1.5, 21), outputs
        axes = plots.planes(plots.Plane(XOR, LABELS, outputs=grid)).axes[0]
        border = axes.collections[-1].get_paths()[0].vertices
        np.testing.assert_allclose(border[:, 1], 0.5)
        np.testing.assert_allclose(np.sort(border[:, 0])[[0, -1]], [-1, 2])
        assert axes.get_xlim() == (-1, 2)

    def test_points_that_coincide_share_one_annotation(self):
        points = np.array([[0, 0], [1, 1], [1, 1], [2, 0]])
        (axes,) = plots.planes(plots.Plane(points, LABELS, annotations="abcd")).axes
        places = {text.get_text(): text.xy for text in axes.texts}
        assert places == {"a": (0, 0), "b, c": (1, 1), "d": (2, 0)}

    def test_panels_stand_side_by_side_under_one_legend(self):
        figure = plots.planes(
            plots.Plane(XOR, LABELS), plots.Plane(2 * XOR, LABELS, axis_labels=("a", "b"))
        )
        left, right = figure.axes
        assert left.get_position().x1 < right.get_position().x0
        assert right.get_xlabel() == "a"
        np.testing.assert_array_equal(data(right.lines[1]), 2 * XOR[[1, 2]])
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["target 0", "target 1"]


class TestNetwork:
    def test_shows_every_weight_bias_and_activation(self):
        (axes,) = plots.network(ARTICLE, ACTIVATIONS).axes
        shown = sorted(text.get_text() for text in axes.texts)
        weights = ["1", "−2", "−1", "1", "2", "−1", "−2", "−1", "3", "−1", "−1", "4"]
        biases = [f"$b$ = {bias}" for bias in ("1", "0", "0", "0", "−2", "2")]
        activations = ["1", "−1", "0.98", "0.12", "0.86", "0.11", "0.62", "0.83"]
        headings = ["input", "layer 1", "layer 2", "output"]
        assert shown == sorted(weights + biases + activations + headings)

    def test_a_weight_stands_on_the_edge_between_its_units(self):
        weight = np.array([[1.0, 2.0, -3.0], [4.0, -5.0, 6.0]])
        inputs, outputs = np.array([0.1, 0.2, 0.3]), np.array([0.8, 0.9])
        (axes,) = plots.network([(weight, np.zeros(2))], [inputs, outputs]).axes
        at = {text.get_text(): np.array(text.get_position()) for text in axes.texts}
        for (out, source), value in np.ndenumerate(weight):
            start, end = at[f"{inputs[source]:g}"], at[f"{outputs[out]:g}"]
            label = at[f"{value:g}".replace("-", "−")]
            share = (label - start)[0] / (end - start)[0]
            assert 0.2 < share < 0.8
            np.testing.assert_allclose(label, start + share * (end - start), atol=1e-9)
            (edge,) = (
                line for line in axes.lines if np.allclose(data(line), [start, end], atol=1e-9)
            )
            assert edge.get_linestyle() == ("--" if value < 0 else "-")

    @pytest.mark.parametrize(
        ("value", "text"), [(0.984, "0.98"), (-0.001, "0"), (3.0, "3"), (-2.5, "−2.5"), (10, "10")]
    )
    def test_numbers_are_short(self, value, text):
        (axes,) = plots.network([([[1.0]], [0.0])], [[5.0], [value]]).axes
        assert text in [label.get_text() for label in axes.texts]


class TestPrediction:
    def test_shows_image_outputs_target_and_loss(self):
        image = np.arange(12.0).reshape(3, 4)
        outputs, target = np.array([0.1, 0.7, 0.3]), np.array([0.0, 1.0, 0.0])
        left, right = plots.prediction(image, outputs, target, 0.35667, classes="abc").axes
        np.testing.assert_array_equal(left.images[0].get_array(), image)
        assert left.get_xlabel() == "input: 3 × 4 = 12 pixels"
        wanted, *bars = right.patches
        assert [bar.get_height() for bar in bars] == outputs.tolist()
        assert wanted.get_height() == 1
        assert wanted.get_x() + wanted.get_width() / 2 == 1
        assert right.get_title().endswith("= 0.357")
        assert [label.get_text() for label in right.get_xticklabels()] == ["a", "b", "c"]


class TestTrainingCurves:
    def test_rows_are_training_and_test_and_names_keep_their_color(self):
        loss, error = np.array([[3.0, 2.0, 1.0], [4.0, 3.0, 2.0]]), np.array([9.0, 5.0])
        left, right = plots.training_curves(
            {"loss": {"Adam": loss, "SGD": loss[0]}, "error": {"SGD": error}}, log=["loss"]
        ).axes
        train, test, other = left.lines
        np.testing.assert_array_equal(data(train), np.stack([[1, 2, 3], loss[0]], axis=1))
        np.testing.assert_array_equal(data(test), np.stack([[1, 2, 3], loss[1]], axis=1))
        np.testing.assert_array_equal(data(right.lines[0]), [[1, 9], [2, 5]])
        assert [line.get_linestyle() for line in left.lines] == ["-", "--", "-"]
        assert train.get_color() == test.get_color() != other.get_color()
        assert other.get_color() == right.lines[0].get_color()
        assert [axes.get_yscale() for axes in (left, right)] == ["log", "linear"]
        assert [axes.get_ylabel() for axes in (left, right)] == ["loss", "error"]
        names = [text.get_text() for text in left.figure.legends[0].get_texts()]
        assert names == ["Adam, training", "Adam, test", "SGD"]

    def test_zeros_have_a_place_on_a_logarithmic_axis(self):
        errors = np.array([[40.0, 8.0, 0.5, 0.0, 0.0], [50.0, 9.0, 2.0, 2.0, 1.0]])
        (axes,) = plots.training_curves({"error (%)": {"a": errors}}, log=["error (%)"]).axes
        np.testing.assert_array_equal(data(axes.lines[0])[:, 1], errors[0])
        places = axes.transData.transform([(0, value) for value in (0, 0.5, 5, 50)])[:, 1]
        low, high = axes.bbox.y0, axes.bbox.y1
        assert low < places[0] < places[1] < places[2] < places[3] < high
        # A decade is as high as the next one, and 0 is a step of its own below the least.
        assert places[3] - places[2] == pytest.approx(places[2] - places[1])
        ticks = [text.get_text() for text in axes.get_yticklabels()]
        assert ticks == ["0", "0.5", "1", "2", "5", "10", "20", "50"]

    def test_nothing_but_zeros_is_no_error(self):
        (axes,) = plots.training_curves({"error": {"a": np.zeros(3)}}, log=["error"]).axes
        assert axes.get_yscale() == "linear"

    def test_a_single_curve_has_no_legend(self):
        assert not plots.training_curves({"loss": {"SGD": np.ones(3)}}).legends


class TestConfusionMatrix:
    def test_rows_are_true_classes(self):
        counts = np.array([[5, 1, 0], [0, 7, 2], [0, 0, 3]])
        (axes,) = plots.confusion_matrix(jnp.asarray(counts), classes=["a", "b", "c"]).axes
        shown = {text.get_position(): text.get_text() for text in axes.texts}
        assert shown == {(j, i): str(counts[i, j]) for i in range(3) for j in range(3)}
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
        shares = counts / counts.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(axes.images[0].get_array() ** 2, shares)

    def test_a_class_without_samples_is_no_error(self):
        plots.confusion_matrix(np.array([[3, 0], [0, 0]]))


class TestImages:
    def test_each_image_stands_over_its_caption(self):
        images = np.random.default_rng(0).random((5, 4, 3))
        axes = plots.image_grid(images, list("abcde"), columns=2).axes
        for panel, image, caption in zip(axes, images, "abcde", strict=True):
            np.testing.assert_array_equal(panel.images[0].get_array(), image)
            assert panel.get_xlabel() == caption
        assert len({round(panel.get_position().x0, 3) for panel in axes}) == 2

    def test_weights_share_one_scale_with_0_in_the_middle(self):
        weight = np.random.default_rng(0).normal(size=(3, 12))
        *panels, bar = plots.weight_images(weight, (4, 3)).axes
        for panel, row in zip(panels, weight, strict=True):
            np.testing.assert_array_equal(panel.images[0].get_array(), row.reshape(4, 3))
            limit = np.abs(weight).max()
            assert panel.images[0].get_clim() == (-limit, limit)
        assert bar.get_ylabel() == "weight"

    def test_weights_of_0_are_no_error(self):
        *_, bar = plots.weight_images(np.zeros((2, 4)), (2, 2)).axes
        assert bar.get_ylim() == (-1, 1)


class TestSave:
    def test_a_failure_leaves_the_old_file_and_no_other(self, tmp_path, monkeypatch):
        path = tmp_path / "figure.png"
        path.write_text("old")
        figure = FIGURES["points"]()

        def fail(*_):
            raise OSError("disk full")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            plots.save(figure, path)
        assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [
            ("figure.png", "old")
        ]

    @pytest.mark.parametrize("ending", ["pdf", "svg"])
    def test_the_ending_names_the_format(self, ending, tmp_path):
        plots.save(FIGURES["points"](), str(tmp_path / f"figure.{ending}"))
        assert {"pdf": b"%PDF", "svg": b"<?xml"}[ending] in (
            tmp_path / f"figure.{ending}"
        ).read_bytes()

    def test_the_resolution_is_in_pixels_an_inch(self, tmp_path):
        figure = FIGURES["points"]()
        plots.save(figure, tmp_path / "figure.png", dpi=50)
        height, width, _ = matplotlib.image.imread(tmp_path / "figure.png").shape
        np.testing.assert_allclose((width, height), 50 * figure.get_size_inches(), atol=1)

    def test_an_unknown_ending_is_refused(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"path: expected an extension of .*'png'.*, got 'a\.txt'"
        ):
            plots.save(FIGURES["points"](), tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.planes(), "panels: expected at least one"),
        (lambda: plots.planes(plots.Plane(XOR.T, LABELS)), r"points: expected shape \(n, 2\), got"),
        (lambda: plots.planes(plots.Plane(XOR[:0], LABELS[:0])), "points: expected"),
        (lambda: plots.planes(plots.Plane(XOR, LABELS[:3])), r"labels: expected shape \(4,\)"),
        (lambda: plots.planes(plots.Plane(XOR, LABELS, units=([1, 2], 3))), "units: expected"),
        (
            lambda: plots.planes(plots.Plane(XOR, LABELS, units=([[1, 2]], [1, 2]))),
            "units: expected",
        ),
        (
            lambda: plots.planes(plots.Plane(XOR, LABELS, outputs=(SIDE, SIDE[1:], np.eye(21)))),
            r"outputs: expected shape \(20, 21\), got \(21, 21\)",
        ),
        (
            lambda: plots.planes(plots.Plane(XOR, LABELS, annotations="abc")),
            "annotations: expected 4",
        ),
        (lambda: plots.network(ARTICLE, ACTIVATIONS[1:]), "activations: expected 4, .* got 3"),
        (
            lambda: plots.network(ARTICLE[:1], [[1, 2], [1]]),
            r"params\[0\].weight: expected .*\(1, 2",
        ),
        (
            lambda: plots.network([(np.eye(2), [1])], [[1, 2], [1, 2]]),
            r"params\[0\].bias: expected",
        ),
        (lambda: plots.network(ARTICLE[:1], [[1, 2], [[1, 2]]]), r"activations\[1\]: expected"),
        (lambda: plots.prediction(np.eye(4)[0], [1], [1], 0), "image: expected"),
        (lambda: plots.prediction(np.eye(4), [[1]], [1], 0), "outputs: expected"),
        (lambda: plots.prediction(np.eye(4), [1, 2], [1], 0), r"target: expected shape \(2,\)"),
        (
            lambda: plots.prediction(np.eye(4), [1, 2], [1, 2], 0, classes="abc"),
            "classes: expected 2 names, got 3",
        ),
        (lambda: plots.training_curves({}), "runs: expected"),
        (lambda: plots.training_curves({"loss": {}}), "runs: expected"),
        (
            lambda: plots.training_curves({"a": {"b": np.ones((3, 2))}}),
            r"runs\['a'\]\['b'\]: expected",
        ),
        (lambda: plots.training_curves({"a": {"b": 1.0}}), r"runs\['a'\]\['b'\]: expected"),
        (lambda: plots.training_curves({"a": {"b": []}}), r"runs\['a'\]\['b'\]: expected"),
        (lambda: plots.confusion_matrix(np.ones((2, 3))), r"counts: .*\(classes, classes\), got"),
        (lambda: plots.confusion_matrix(np.eye(2), classes=["a"]), "classes: expected 2 names"),
        (lambda: plots.image_grid(np.eye(4), ["a"]), "images: expected"),
        (lambda: plots.image_grid(np.ones((0, 4, 4)), []), "images: expected"),
        (lambda: plots.image_grid(np.ones((2, 4, 4)), ["a"]), "captions: expected 2, .*, got 1"),
        (lambda: plots.weight_images(np.ones((2, 15)), (4, 4)), r"weight: expected .*units, 16\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_labels_that_are_no_classes_are_refused():
    with pytest.raises(TypeError, match="labels: expected integer classes, got dtype float64"):
        plots.planes(plots.Plane(XOR, LABELS / 1))


def test_importing_and_drawing_leave_matplotlib_and_pyplot_alone():
    code = """
import sys, logistack, logistack.plots as plots
assert "matplotlib" not in sys.modules
plots.training_curves({"loss": {"a": [1.0, 2.0]}})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_without_matplotlib_the_error_says_what_to_install(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'logistack\[plots\]'"):
        draw()
