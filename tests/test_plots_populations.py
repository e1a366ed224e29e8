"""Figures of populations: medians, means, intervals and words are where and what they were given."""

import matplotlib.patches
import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import stats

import logistack as ls
from logistack import metrics, plots
from tests import test_plots
from tests.test_plots import data

NAN = float("nan")
WIDTHS = np.repeat([1, 4, 16, 64], 5)
ERRORS = 1 / WIDTHS + 0.01 * np.tile(np.arange(5), 4)
RUNS = np.tile(np.arange(5), 4)
NAMED = {"width": WIDTHS}
GRID = {"scale": np.repeat([2.0, 0.5], 6), "learning rate": np.tile([0.01, 0.1, 1.0], 4)}


def decay(seed, rate, epochs=40, members=12):
    rows = np.exp(-rate * np.arange(epochs)) * np.ones((members, 1))
    return rows * np.random.default_rng(seed).lognormal(0, 0.3, (members, 1))


def lost(values, *places):
    values = np.array(values, float)
    values[list(places)] = NAN
    return values


def reliability(seed=0, bins=10):
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(3), 400)
    return metrics.reliability(shares, random.integers(0, 3, 400), bins=bins)


FIGURES = {
    "bands": lambda: plots.bands(
        {
            "loss": {"width 8": decay(0, 0.1), "width 16": decay(1, 0.2)},
            "error": {"width 8": decay(2, 0.1), "width 16": decay(3, 0.2)},
        },
        log=["loss"],
    ),
    "intervals": lambda: plots.intervals(
        ls.summarize(lost(ERRORS, 3), NAMED), quantity="error", log=["width", "error"]
    ),
    "intervals of two": lambda: plots.intervals(
        ls.summarize(
            [*ERRORS, *2 * ERRORS], {"width": [*WIDTHS] * 2, "depth": np.repeat([1, 3], 20)}
        )
    ),
    "intervals by name": lambda: plots.intervals(ls.summarize([1, 2, 3], ["SGD", "Adam", "NAG"])),
    "map": lambda: plots.heat_map(ls.summarize(lost(np.arange(12), 0), GRID), quantity="solved"),
    "large map": lambda: plots.heat_map(
        ls.summarize(
            np.arange(900.0),
            {"scale": np.repeat(np.geomspace(1e-2, 10, 30), 30), "rate": [*np.geomspace(1e-2, 10, 30)] * 30},
            resamples=1,
        )
    ),
    "differences": lambda: plots.differences(
        ls.compare(lost(ERRORS + 0.2 * np.sin(RUNS * WIDTHS), 2), NAMED, RUNS), quantity="error"
    ),
    "reliability": lambda: plots.reliability({"one": reliability(), "both": reliability(1)}),
    "one reliability": lambda: plots.reliability(reliability()),
}  # fmt: skip


@pytest.fixture(params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


class TestEveryFigure(test_plots.TestEveryFigure):
    """Rules that hold for all figures."""


def legend(figure):
    return [text.get_text() for own in figure.legends for text in own.get_texts()]


class TestBands:
    def test_are_the_median_and_the_middle_of_the_members(self):
        rows = np.random.default_rng(0).random((21, 6))
        (axes,) = plots.bands({"loss": {"a": rows}}, share=0.5).axes
        np.testing.assert_allclose(
            data(axes.lines[0]), np.stack([np.arange(1, 7), np.median(rows, axis=0)], axis=1)
        )
        corners = axes.collections[0].get_paths()[0].vertices
        for epoch in range(1, 7):
            own = corners[corners[:, 0] == epoch, 1]
            wanted = np.quantile(rows[:, epoch - 1], [0.25, 0.75])
            np.testing.assert_allclose([own.min(), own.max()], wanted)

    def test_members_that_ended_are_counted_and_the_rest_drawn(self):
        rows = np.array([[1.0, 1, 1, 1], [2, 2, NAN, NAN], [3, np.inf, NAN, NAN]])
        figure = plots.bands({"loss": {"a": rows, "b": rows[:1]}, "error": {"a": rows[:1]}})
        assert data(figure.axes[0].lines[0])[:, 1].tolist() == [2, 1.5, 1, 1]
        assert sorted(legend(figure)) == ["a (2 of 3 ended early)", "b"]

    def test_a_name_has_one_color_and_dash_of_its_own(self):
        rows = np.ones((2, 3))
        left, right = plots.bands({"x": {"a": rows, "b": rows}, "y": {"b": rows}}).axes
        first, second = left.lines
        assert first.get_color() != second.get_color() == right.lines[0].get_color()
        assert first.get_linestyle() != second.get_linestyle() == right.lines[0].get_linestyle()

    @pytest.mark.parametrize(
        ("runs", "words"),
        [
            ({}, "runs: expected members for each quantity, got"),
            ({"loss": {"a": np.ones(3)}}, r"runs\['loss'\]\['a'\]: expected shape \(members, epoc"),
            ({"loss": {"a": np.full((2, 3), NAN)}}, r"runs\['loss'\]\['a'\]: expected a finite"),
        ],
    )
    def test_refuse_what_cannot_be_drawn(self, runs, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            plots.bands(runs)


class TestIntervals:
    def test_are_where_they_were_found(self):
        order = np.random.default_rng(1).permutation(20)
        found = ls.summarize(ERRORS[order], {"width": WIDTHS[order]})
        (axes,) = plots.intervals(found, quantity="error", log=["width"]).axes
        rows = sorted(found.rows)
        points = data(axes.lines[0])
        np.testing.assert_allclose(points, [(*row.setting, row.mean) for row in rows])
        bars = axes.collections[0].get_segments()
        np.testing.assert_allclose(
            [bar[:, 1] for bar in bars], [(row.low, row.high) for row in rows]
        )
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == (
            "width",
            "error",
            "log",
        )

    def test_say_how_many_members_are_not_among_them(self):
        values = lost(ERRORS, 0, 5, 6, 7, 8, 9)  # all of the second width
        (axes,) = plots.intervals(ls.summarize(values, NAMED)).axes
        assert axes.get_title(loc="left") == "6 of 20 members not finite"
        assert data(axes.lines[0])[:, 0].tolist() == [1, 16, 64]

    def test_of_a_single_member_have_no_length(self):
        (axes,) = plots.intervals(ls.summarize([1.0, 2.0], {"width": [1, 2]})).axes
        assert [np.ptp(bar[:, 1]) for bar in axes.collections[0].get_segments()] == [0, 0]

    def test_other_labels_have_lines_of_their_own(self):
        figure = FIGURES["intervals of two"]()
        assert legend(figure) == ["depth 1", "depth 3"]
        first, second = (bars.lines[0] for bars in figure.axes[0].containers)
        np.testing.assert_allclose(2 * data(first)[:, 1], data(second)[:, 1])
        assert first.get_marker() != second.get_marker()

    def test_words_are_in_the_order_of_their_members_and_not_joined(self):
        (axes,) = FIGURES["intervals by name"]().axes
        assert [text.get_text() for text in axes.get_xticklabels()] == ["SGD", "Adam", "NAG"]
        assert axes.lines[0].get_linestyle() == "None"
        assert axes.lines[0].get_ydata().tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("values", "settings", "words"),
        [
            ([1.0], None, "summary: expected settings with a label"),
            ([NAN], ["a"], "summary: expected a setting with a mean, got none"),
        ],
    )
    def test_refuse_what_cannot_be_drawn(self, values, settings, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            plots.intervals(ls.summarize(values, settings))


class TestHeatMap:
    def test_has_each_mean_in_its_cell(self):
        figure = FIGURES["map"]()
        axes, bar = figure.axes
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
        assert [text.get_text() for text in axes.get_yticklabels()] == ["2", "0.5"]
        # Of scale 2 the members 0 … 5, of which each rate has two, and 0 has no value.
        wanted = np.array([[3, 2.5, 3.5], [7.5, 8.5, 9.5]])
        np.testing.assert_array_equal(axes.images[0].get_array(), wanted)
        shown = {text.get_position(): text.get_text() for text in axes.texts}
        assert shown[0, 0] == "3"
        assert shown[2, 1] == "9.5"
        assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == (
            "learning rate", "scale", "solved",
        )  # fmt: skip

    def test_hatches_what_had_no_value_and_leaves_out_what_is_no_setting(self):
        settings = {"a": [1, 1, 2], "b": [1, 2, 2]}
        figure = plots.heat_map(ls.summarize([1, 2, NAN], settings))
        cells = figure.axes[0].images[0].get_array()
        np.testing.assert_array_equal(cells.mask, [[True, True], [False, False]])
        (patch,) = figure.axes[0].patches
        assert isinstance(patch, matplotlib.patches.Rectangle)
        assert patch.get_xy() == (0.5, -0.5)  # a = 2, above, and b = 2, to the right
        assert legend(figure) == ["members not finite"]
        assert not plots.heat_map(ls.summarize(np.arange(12), GRID)).legends

    def test_refuses_settings_of_another_number_of_labels(self):
        with pytest.raises(ValueError, match=r"^summary: expected settings of two labels, got 1"):
            plots.heat_map(ls.summarize(ERRORS, NAMED))


class TestDifferences:
    def test_have_their_intervals_and_say_what_they_show(self):
        errors = ERRORS + 0.2 * np.sin(RUNS * WIDTHS)
        found = ls.compare(errors, NAMED, RUNS)
        (axes,) = plots.differences(found, quantity="error").axes
        assert {row.shown for row in found.rows} == {False, True}
        lines = axes.lines[1:]  # after that at 0
        for place, row in enumerate(found.rows):
            interval, point = lines[2 * place : 2 * place + 2]
            np.testing.assert_allclose(data(interval), [(row.low, place), (row.high, place)])
            np.testing.assert_allclose(data(point), [(row.difference, place)])
            assert (to_hex(point.get_markerfacecolor()) == "#ffffff") == (not row.shown)
            text = axes.texts[place].get_text()
            assert text == row.words
            assert (text == "no difference shown") == (row.low <= 0 <= row.high)
        labels = [text.get_text() for text in axes.get_yticklabels()]
        assert labels[0] == "1 and 4"
        assert "95% intervals" in axes.get_xlabel()

    def test_say_how_many_are_not_finite(self):
        (axes,) = FIGURES["differences"]().axes
        assert axes.get_title(loc="left") == "3 of 30 differences not finite"


class TestReliability:
    def test_is_what_was_found_with_intervals(self):
        found = reliability()
        above, below = plots.reliability(found).axes
        there = np.asarray(found.weight) > 0
        assert not there.all()
        points = np.stack([found.confidence, found.accuracy], axis=1)[there]
        np.testing.assert_allclose(data(above.lines[1]), points)
        np.testing.assert_allclose(
            below.lines[0].get_ydata(), np.asarray(found.weight)[there] / 400, rtol=1e-6
        )
        for bar, accuracy, weight in zip(
            above.collections[0].get_segments(), *(np.asarray(found[1:])[:, there]), strict=True
        ):
            counted = stats.binomtest(round(float(accuracy * weight)), int(weight))
            np.testing.assert_allclose(bar[:, 1], counted.proportion_ci(), atol=1e-6)

    def test_the_line_of_what_is_calibrated_is_told(self):
        figure = FIGURES["reliability"]()
        assert legend(figure) == ["calibrated", "one", "both"]
        line = figure.axes[0].lines[0]
        assert line.get_linestyle() == "--"
        np.testing.assert_array_equal(data(line), [(0, 0), (1, 1)])

    def test_refuses_nothing(self):
        with pytest.raises(ValueError, match=r"^found: expected a Reliability, got none"):
            plots.reliability({})
