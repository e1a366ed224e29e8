"""Pictures of what layers do to the plane: each line and sample is where the network takes it."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

import logistack as ls
from logistack import plots
from logistack.separability import CommonPoint, Line, Separator

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
LABELS = np.array([0, 1, 1, 0])
# Two units, each the corner of one ones-and-zeros point, and a third that takes either.
SOLVES = (
    ls.Layer(jnp.array([[6.0, -6.0], [-6.0, 6.0]]), jnp.array([-3.0, -3.0])),
    ls.Layer(jnp.array([[8.0, 8.0]]), jnp.array([-4.0])),
)


def network(*sizes, seed=0):
    return ls.init_params(jax.random.key(seed), sizes)


def cloud(count=40, features=2, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, features)), random.integers(0, 2, count)


def oracle(params, points):
    """The space before and after every layer, in NumPy's float64."""
    spaces = [np.asarray(points, np.float64)]
    for weight, bias in params:
        z = spaces[-1] @ np.asarray(weight, np.float64).T + np.asarray(bias, np.float64)
        spaces.append(1 / (1 + np.exp(-z)))
    return spaces


def drawn(axes, labels):
    """The samples of a panel, in the order of their labels: by class, as they were given."""
    names = [f"class {label}" for label in np.unique(labels)]
    lines = {line.get_label(): line for line in axes.lines}
    return np.concatenate([np.stack(lines[name].get_data(), axis=1) for name in names])


def by_class(points, labels):
    return points[np.argsort(labels, kind="stable")]


def line(axes, label):
    (found,) = [part for part in axes.lines if part.get_label() == label]
    return np.stack(found.get_data(), axis=1)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def separator(weight, bias, margin):
    parts = tuple(map(Fraction, np.asarray(weight, float).tolist()))
    return Separator(parts, Fraction(bias), Fraction(margin))


def common_point(point, weak_line=None):
    return CommonPoint(tuple(map(Fraction, point)), (Fraction(1),), (Fraction(1),), weak_line)


class TestDecisionRegions:
    def test_the_boundary_is_where_the_logit_is_0(self):
        axes = plots.decision_regions(SOLVES, XOR, LABELS).axes[0]
        border = np.concatenate([path.vertices for path in axes.collections[-1].get_paths()])
        assert len(border) > 50
        (legend,) = axes.figure.legends
        assert [text.get_text() for text in legend.get_texts()] == [
            "class 0",
            "class 1",
            "output ½",
        ]
        np.testing.assert_allclose(oracle(SOLVES, border)[-1], 0.5, atol=5e-3)

    def test_a_point_has_the_tint_of_its_side(self):
        axes, bar = plots.decision_regions(SOLVES, XOR, LABELS).axes
        shades = axes.collections[0]
        assert shades.get_clim() == (0, 1)
        low, high = shades.to_rgba([0.05, 0.95])
        reds = [np.array(tint) for tint in (low, high)]
        assert reds[0][2] > reds[0][0]  # bluish below ½
        assert reds[1][0] > reds[1][2]
        assert bar.get_ylabel() == "output"

    def test_several_outputs_part_the_plane_by_the_largest(self):
        params = network(2, 8, 4)
        inputs, _ = cloud()
        labels = np.arange(40) % 3
        axes = plots.decision_regions(params, inputs, labels, resolution=50).axes[0]
        (image,) = axes.images
        left, right, bottom, top = image.get_extent()
        columns = left + (np.arange(50) + 0.5) * (right - left) / 50
        rows = bottom + (np.arange(50) + 0.5) * (top - bottom) / 50
        np.testing.assert_allclose((columns[0], columns[-1]), axes.get_xlim())
        np.testing.assert_allclose((rows[0], rows[-1]), axes.get_ylim())
        grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        winners = oracle(params, grid)[-1].argmax(axis=1).reshape(50, 50)
        assert len(np.unique(winners)) > 1
        np.testing.assert_array_equal(image.get_array(), winners)
        colors = image.cmap(image.norm(np.arange(2)))
        assert [to_hex(color).upper() for color in colors] == list(plots.TINTS)

    def test_several_outputs_are_parted_where_two_are_largest(self):
        params = network(2, 8, 3)
        inputs, labels = cloud()
        axes = plots.decision_regions(params, inputs, labels).axes[0]
        assert axes.collections
        for border in axes.collections:
            for path in border.get_paths():
                outputs = np.sort(oracle(params, path.vertices)[-1], axis=1)
                np.testing.assert_allclose(outputs[:, -1], outputs[:, -2], atol=1e-2)

    @pytest.mark.parametrize("outputs", [1, 2])
    def test_samples_are_drawn_by_class_in_color_and_marker(self, outputs):
        axes = plots.decision_regions(network(2, 3, outputs), XOR, LABELS).axes[0]
        np.testing.assert_array_equal(drawn(axes, LABELS), by_class(XOR, LABELS))
        zeros, ones, *_ = axes.lines
        assert (zeros.get_color(), ones.get_color()) == (plots.BLUE, plots.VERMILLION)
        assert zeros.get_marker() != ones.get_marker()

    def test_a_single_class_keeps_its_color(self):
        axes = plots.decision_regions(SOLVES, XOR[1:3], LABELS[1:3]).axes[0]
        assert {line.get_color() for line in axes.lines if len(line.get_xdata())} == {
            plots.VERMILLION
        }

    def test_a_network_without_a_boundary_is_no_error(self):
        still = (ls.Layer(jnp.zeros((1, 2)), jnp.ones(1)),)
        figure = plots.decision_regions(still, XOR, LABELS)
        assert len(figure.legends[0].get_texts()) == 2
        plots.decision_regions((ls.Layer(jnp.zeros((3, 2)), jnp.arange(3.0)),), XOR, LABELS)

    def test_many_samples_are_drawn_small_and_as_pixels(self):
        few = plots.decision_regions(SOLVES, *cloud(50)).axes[0].lines[0]
        many = plots.decision_regions(SOLVES, *cloud(5000)).axes[0].lines[0]
        assert many.get_rasterized()
        assert not few.get_rasterized()
        assert many.get_markersize() < few.get_markersize() / 2

    def test_classes_that_share_a_color_differ_in_marker(self):
        labels = np.arange(14)
        axes = plots.decision_regions(network(2, 14), cloud(14)[0], labels).axes[0]
        looks = {(line.get_color(), line.get_marker()) for line in axes.lines}
        assert len(looks) == 14


class TestHiddenSpace:
    def test_two_units_are_shown_as_they_are(self):
        (axes,) = plots.hidden_space(SOLVES, XOR, LABELS, layer=1).axes
        want = by_class(oracle(SOLVES, XOR)[1], LABELS)
        np.testing.assert_allclose(drawn(axes, LABELS), want, atol=1e-6)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("$a_1$", "$a_2$")

    def test_layer_0_is_the_input(self):
        (axes,) = plots.hidden_space(SOLVES, XOR, LABELS, layer=0).axes
        np.testing.assert_array_equal(drawn(axes, LABELS), by_class(XOR, LABELS))
        assert axes.get_title() == "input"

    def test_one_unit_is_a_strip_with_a_lane_for_each_class(self):
        (axes,) = plots.hidden_space(SOLVES, XOR, LABELS, layer=2).axes
        places = drawn(axes, LABELS)
        want = by_class(oracle(SOLVES, XOR)[2], LABELS)
        np.testing.assert_allclose(places[:, :1], want, atol=1e-6)
        np.testing.assert_array_equal(np.rint(places[:, 1]), [0, 0, 1, 1])
        assert len(set(places[:2, 1].tolist())) == 2  # coinciding samples lie side by side
        assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "1"]

    def test_more_units_are_shown_by_their_two_principal_components(self):
        params = network(3, 6, 1)
        inputs, labels = cloud(features=3)
        (axes,) = plots.hidden_space(params, inputs, labels, layer=1).axes
        units = oracle(params, inputs)[1]
        singular = np.linalg.svd(units - units.mean(axis=0), compute_uv=False)
        places = drawn(axes, labels)
        np.testing.assert_allclose(np.linalg.norm(places, axis=0), singular[:2], rtol=1e-4)
        np.testing.assert_allclose(places[:, 0] @ places[:, 1], 0, atol=1e-4)
        share = singular**2 / (singular**2).sum()
        assert axes.get_xlabel() == f"principal component 1 ({share[0]:.0%})"
        assert axes.get_ylabel() == f"principal component 2 ({share[1]:.0%})"

    def test_a_separator_of_more_units_is_the_vertical_line_at_0(self):
        params = network(2, 6, 1)
        inputs, labels = cloud()
        weight = np.random.default_rng(1).normal(size=6)
        weight /= np.linalg.norm(weight)
        certificate = separator(weight, -0.25, 0.125)
        (axes,) = plots.hidden_space(params, inputs, labels, layer=1, certificate=certificate).axes
        units = oracle(params, inputs)[1]
        places = drawn(axes, labels)
        distances = by_class(units @ weight - 0.25, labels)
        np.testing.assert_allclose(places[:, 0], distances, atol=1e-6)
        # What is left of the samples has its largest spread along the second axis.
        rest = units - units.mean(axis=0)
        rest = rest - np.outer(rest @ weight, weight)
        spread = np.linalg.svd(rest, compute_uv=False)[0]
        np.testing.assert_allclose(np.linalg.norm(places[:, 1]), spread, rtol=1e-4)
        if abs(axes.get_xlim()[0]) > 0.125:
            (band,) = axes.patches
            edges = band.get_xy()[:, 0]
            np.testing.assert_allclose((edges.min(), edges.max()), (-0.125, 0.125), atol=1e-9)
        for end in line(axes, "separating line"):
            np.testing.assert_allclose(end[0], 0, atol=1e-9)
        assert axes.get_xlabel() == "signed distance from the line"

    def test_a_separator_of_two_units_is_drawn_where_it_is(self):
        certificate = separator([0.6, 0.8], -0.5, 0.1)
        (axes,) = plots.hidden_space(SOLVES, XOR, LABELS, layer=1, certificate=certificate).axes
        ends = line(axes, "separating line")
        np.testing.assert_allclose(ends @ [0.6, 0.8] - 0.5, 0, atol=1e-9)
        (band,) = axes.patches
        sides = band.get_xy() @ [0.6, 0.8] - 0.5
        np.testing.assert_allclose(np.abs(sides), 0.1, atol=1e-9)

    def test_a_separator_of_one_unit_stands_in_its_strip(self):
        certificate = separator([-1.0], 0.25, 0.1)
        (axes,) = plots.hidden_space(SOLVES, XOR, LABELS, layer=2, certificate=certificate).axes
        np.testing.assert_allclose(line(axes, "separating line")[:, 0], 0.25)

    def test_a_common_point_is_drawn_and_its_weak_line_dashed(self):
        weak = Line((Fraction(3), Fraction(4)), Fraction(-2))
        certificate = common_point((0.25, 0.5), weak)
        (axes,) = plots.hidden_space(SOLVES, XOR, LABELS, layer=1, certificate=certificate).axes
        np.testing.assert_array_equal(line(axes, "common point"), [[0.25, 0.5]])
        np.testing.assert_allclose(line(axes, "weak line") @ [3, 4] - 2, 0, atol=1e-9)
        (dashed,) = [part for part in axes.lines if part.get_label() == "weak line"]
        assert dashed.get_linestyle() == "--"
        assert not axes.patches

    def test_a_weak_line_beyond_floats_is_drawn_all_the_same(self):
        large = Fraction(10) ** 400
        weak = Line((3 * large, 4 * large), -2 * large)
        certificate = common_point((0.25, 0.5), weak)
        (axes,) = plots.hidden_space(SOLVES, XOR, LABELS, layer=1, certificate=certificate).axes
        np.testing.assert_allclose(line(axes, "weak line") @ [3, 4] - 2, 0, atol=1e-9)

    def test_a_common_point_of_more_units_lies_where_its_mixtures_are_seen(self):
        params = network(2, 6, 1)
        inputs, labels = cloud()
        units = oracle(params, inputs)[1]
        certificate = common_point(units[:2].mean(axis=0).tolist())
        (axes,) = plots.hidden_space(params, inputs, labels, layer=1, certificate=certificate).axes
        where = np.argsort(np.argsort(labels, kind="stable"))[:2]
        middle = drawn(axes, labels)[where].mean(axis=0)
        np.testing.assert_allclose(line(axes, "common point")[0], middle, atol=1e-6)

    def test_a_separator_of_one_class_alone_has_no_line(self):
        certificate = separator([0.0] * 6, 1, 1)
        figure = plots.hidden_space(network(2, 6, 1), XOR, LABELS, layer=1, certificate=certificate)
        assert all(part.get_label() != "separating line" for part in figure.axes[0].lines)

    def test_what_untangle_proves_fits(self):
        certificates = ls.untangle(SOLVES, XOR, LABELS)
        for layer, certificate in enumerate(certificates):
            plots.hidden_space(SOLVES, XOR, LABELS, layer=layer, certificate=certificate)

    def test_labels_may_be_words(self):
        words = np.array(["no", "yes", "yes", "no"])
        (axes,) = plots.hidden_space(SOLVES, XOR, words, layer=0).axes
        np.testing.assert_array_equal(drawn(axes, words), by_class(XOR, words))

    def test_a_stack_counts_as_its_layers(self):
        params = ls.stack(network(2, 3, 3, 3, 1))
        figure = plots.hidden_space(params, XOR, LABELS, layer=2)
        want = plots.hidden_space(ls.unstack(params), XOR, LABELS, layer=2)
        np.testing.assert_allclose(
            drawn(figure.axes[0], LABELS), drawn(want.axes[0], LABELS), atol=1e-6
        )


def grid_lines(axes):
    """The two families of lines of a panel."""
    first, second = (part for part in axes.collections if isinstance(part, LineCollection))
    return [np.array(part.get_segments()) for part in (first, second)]


class TestWarpedGrid:
    def test_the_input_has_a_square_grid_about_its_samples(self):
        axes = plots.warped_grid(SOLVES, XOR, LABELS, cells=8).axes[0]
        upright, level = grid_lines(axes)
        assert upright.shape[0] == level.shape[0] == 9
        assert (np.ptp(upright[..., 0], axis=1) == 0).all()
        assert (np.ptp(level[..., 1], axis=1) == 0).all()
        steps = np.diff(upright[:, 0, 0]), np.diff(level[:, 0, 1])
        np.testing.assert_allclose(steps, steps[0][0])
        assert upright[0, 0, 0] < 0
        assert upright[-1, 0, 0] > 1

    def test_cells_are_square_where_one_side_is_longer(self):
        inputs = XOR * [3.0, 1.0]
        upright, level = grid_lines(plots.warped_grid(SOLVES, inputs, LABELS, cells=12).axes[0])
        assert len(upright) == 13
        assert len(level) < 13
        np.testing.assert_allclose(
            np.diff(upright[:, 0, 0]).mean(), np.diff(level[:, 0, 1]).mean(), rtol=0.15
        )

    def test_inputs_are_called_what_they_are(self):
        params = network(2, 2, 1, seed=3)
        first, second, _ = plots.warped_grid(params, XOR, LABELS, axis_labels=("h", "w")).axes
        assert (first.get_xlabel(), first.get_ylabel()) == ("h", "w")
        assert second.get_xlabel() == "$a_1$"

    def test_every_layer_carries_the_grid_and_the_samples(self):
        params = network(2, 2, 2, 1, seed=3)
        figure = plots.warped_grid(params, XOR, LABELS)
        assert titles(figure) == ["input", "layer 1", "layer 2", "output"]
        families = grid_lines(figure.axes[0])
        for layer in (1, 2):
            axes = figure.axes[layer]
            for before, after in zip(families, grid_lines(axes), strict=True):
                want = oracle(params, before.reshape(-1, 2))[layer].reshape(before.shape)
                np.testing.assert_allclose(after, want, atol=1e-6)
            samples = by_class(oracle(params, XOR)[layer], LABELS)
            np.testing.assert_allclose(drawn(axes, LABELS), samples, atol=1e-6)

    def test_the_two_directions_keep_their_hues(self):
        figure = plots.warped_grid(network(2, 3, 2), XOR, LABELS)
        hues = [
            tuple(to_hex(part.get_color()[0]) for part in axes.collections) for axes in figure.axes
        ]
        assert len(set(hues)) == 1
        assert len(set(hues[0])) == 2

    def test_a_single_unit_is_a_strip_without_a_grid(self):
        axes = plots.warped_grid(SOLVES, XOR, LABELS).axes[-1]
        assert not axes.collections
        want = by_class(oracle(SOLVES, XOR)[2], LABELS)
        np.testing.assert_allclose(drawn(axes, LABELS)[:, :1], want, atol=1e-6)

    def test_a_wide_layer_is_seen_from_where_grid_and_samples_spread_most(self):
        params = network(2, 7, 1)
        axes = plots.warped_grid(params, XOR, LABELS).axes[1]
        upright, level = grid_lines(plots.warped_grid(params, XOR, LABELS).axes[0])
        points = np.concatenate([XOR, upright.reshape(-1, 2), level.reshape(-1, 2)])
        units = oracle(params, points)[1]
        singular = np.linalg.svd(units - units.mean(axis=0), compute_uv=False)
        seen = [part.reshape(-1, 2) for part in grid_lines(axes)]
        places = np.concatenate([drawn(axes, LABELS), *seen])
        np.testing.assert_allclose(np.linalg.norm(places, axis=0), singular[:2], rtol=1e-3)
        assert axes.get_title() == "layer 1 (7 units)"
        assert axes.get_xlabel().startswith("principal component 1 (")

    def test_a_certificate_is_drawn_in_the_panel_of_its_layer(self):
        certificates = [None, separator([0.6, 0.8], -0.5, 0.1), None]
        figure = plots.warped_grid(SOLVES, XOR, LABELS, certificates=certificates)
        shown = [
            any(part.get_label() == "separating line" for part in axes.lines)
            for axes in figure.axes
        ]
        assert shown == [False, True, False]

    def test_layers_can_be_chosen(self):
        params = network(2, *[3] * 9, 1)
        figure = plots.warped_grid(params, XOR, LABELS, layers=[0, 4, 10])
        assert titles(figure) == ["input", "layer 4 (3 units)", "output"]
        rows = plots.warped_grid(params, XOR, LABELS, cells=2)
        assert [axes.get_subplotspec().rowspan.start for axes in rows.axes] == [0] * 4 + [1] * 4 + [
            2
        ] * 3

    def test_features_of_two_scales_are_no_error(self):
        figure = plots.warped_grid(SOLVES, XOR * [1e4, 1e-3], LABELS)
        low, high = figure.axes[0].get_ylim()
        assert -1e-3 < low < 0 < 1e-3 < high < 2e-3


def unlike(**changes):
    whole = {"params": SOLVES, "inputs": XOR, "labels": LABELS}
    return whole | changes


@pytest.mark.parametrize(
    "draw",
    [
        plots.decision_regions,
        plots.warped_grid,
        lambda **given: plots.hidden_space(layer=1, **given),
    ],
)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"params": SOLVES[0]}, TypeError, "params: expected a tuple of Layer"),
        (
            {"params": (ls.Layer(jnp.full((1, 2), jnp.nan), jnp.zeros(1)),)},
            ValueError,
            r"params\[0\].weight: expected finite",
        ),
        ({"inputs": XOR[:, :1]}, ValueError, r"inputs: expected shape \(n, 2\), got \(4, 1\)"),
        ({"inputs": XOR[:0], "labels": LABELS[:0]}, ValueError, "inputs: expected shape"),
        ({"inputs": np.full((4, 2), np.inf)}, ValueError, "inputs: expected finite"),
        ({"inputs": [["a", "b"]] * 4}, TypeError, "inputs: expected an array of real numbers"),
        ({"labels": LABELS[:3]}, ValueError, r"labels: expected shape \(4,\), got \(3,\)"),
        ({"labels": np.full(4, np.nan)}, ValueError, "labels: expected finite"),
        ({"labels": [None] * 4}, TypeError, "labels: expected classes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(draw, changes, error, message):
    with pytest.raises(error, match=message):
        draw(**unlike(**changes))


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (
            lambda: plots.decision_regions(network(3, 1), np.ones((4, 3)), LABELS),
            ValueError,
            "params: expected a network of 2 inputs, got one of 3",
        ),
        (
            lambda: plots.warped_grid(network(3, 1), np.ones((4, 3)), LABELS),
            ValueError,
            "params: expected a network of 2 inputs, got one of 3",
        ),
        (
            lambda: plots.decision_regions(SOLVES, XOR, [0, 1, 2, 3]),
            ValueError,
            "labels: expected at most two classes for a network of one output, got 4",
        ),
        (
            lambda: plots.decision_regions(network(2, 3), XOR, [0, 1, 2, 3]),
            ValueError,
            "labels: expected classes from 0 to 2, got 0 to 3",
        ),
        (
            lambda: plots.decision_regions(network(2, 3), XOR, list("abca")),
            TypeError,
            "labels: expected integer classes for a network of 3 outputs",
        ),
        (
            lambda: plots.decision_regions(SOLVES, XOR, LABELS, resolution=1),
            ValueError,
            "resolution: expected at least 2",
        ),
        (
            lambda: plots.hidden_space(SOLVES, XOR, LABELS, layer=3),
            ValueError,
            "layer: expected 0 to 2, got 3",
        ),
        (
            lambda: plots.hidden_space(SOLVES, XOR, LABELS, layer=1.0),
            TypeError,
            "layer: expected an integer",
        ),
        (
            lambda: plots.hidden_space(SOLVES, XOR, LABELS, layer=1, certificate="line"),
            TypeError,
            "certificate: expected a Separator or a CommonPoint, got str",
        ),
        (
            lambda: plots.hidden_space(
                SOLVES, XOR, LABELS, layer=1, certificate=ls.certify(XOR, [0, 1, 2, 3])
            ),
            TypeError,
            r"certificate: expected .*, got ClassCertificates \(take one of its pairs",
        ),
        (
            lambda: plots.hidden_space(
                SOLVES, XOR, LABELS, layer=2, certificate=separator([1, 0], 0, 1)
            ),
            ValueError,
            "certificate: expected one in 1 dimensions, got one in 2",
        ),
        (
            lambda: plots.warped_grid(SOLVES, XOR, LABELS, certificates=[None]),
            ValueError,
            "certificates: expected 3, .* got 1",
        ),
        (
            lambda: plots.warped_grid(SOLVES, XOR, LABELS, certificates=[None, "line", None]),
            TypeError,
            r"certificates\[1\]: expected a Separator",
        ),
        (
            lambda: plots.warped_grid(SOLVES, XOR, LABELS, layers=[]),
            ValueError,
            "layers: expected at least one",
        ),
        (
            lambda: plots.warped_grid(SOLVES, XOR, LABELS, layers=[0, 3]),
            ValueError,
            r"layers\[1\]: expected 0 to 2, got 3",
        ),
        (
            lambda: plots.warped_grid(SOLVES, XOR, LABELS, cells=0),
            ValueError,
            "cells: expected at least 1",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
