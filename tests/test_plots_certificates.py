"""Proofs as pictures: what is drawn is what the certificate says, sample for sample."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from matplotlib.colors import to_hex

import logistack as ls
from logistack import plots
from logistack.separability import CommonPoint, Line, Separator

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
LABELS = np.array([0, 1, 1, 0])
HALF = Fraction(1, 2)
CROSSED = CommonPoint((HALF, HALF), (HALF, HALF), (HALF, HALF), inputs=XOR, labels=LABELS)
# The line x₁ = 1, with two samples at its margin of 1 and one beyond on either side.
APART = Separator(
    (Fraction(1), Fraction(0)),
    Fraction(-1),
    Fraction(1),
    inputs=np.array([[-3.0, 0], [0, 0], [0, 1], [2, 0], [2, 2], [5, 1]]),
    labels=np.array([0, 0, 0, 1, 1, 1]),
)


def fractions(values):
    return tuple(map(Fraction, values))


def line(axes, label):
    (found,) = [part for part in axes.lines if part.get_label() == label]
    return np.stack(found.get_data(), axis=1)


def lines(axes):
    """What is drawn with a line from one place to another."""
    return [np.stack(part.get_data(), axis=1) for part in axes.lines if len(part.get_xdata()) == 2]


def digits(count, seed=0):
    """Samples of six features of two classes, one unit apart along the first."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    inputs = random.uniform(size=(count, 6))
    inputs[:, 0] = np.where(labels == 1, 1, -1) * (0.5 + random.uniform(size=count))
    inputs[0, 0], inputs[1, 0] = -0.5, 0.5
    certificate = Separator(
        fractions([1, 0, 0, 0, 0, 0]), Fraction(0), HALF, inputs=inputs, labels=labels
    )
    return inputs, labels, certificate


def mixed():
    """A common point of six features: 1/4, 3/4 of the positive samples, 1/2, 1/3, 1/6 of others."""
    random = np.random.default_rng(1)
    inputs, labels = random.uniform(size=(9, 6)), np.array([1, 0, 0, 1, 1, 0, 0, 1, 0])
    positive = fractions(["1/4", 0, "3/4", 0])
    negative = fractions(["1/6", 0, "1/2", "1/3", 0])
    point = fractions((0.25 * inputs[0] + 0.75 * inputs[4]).tolist())
    return CommonPoint(point, positive, negative, inputs=inputs, labels=labels)


class TestSeparatorOfTwoFeatures:
    def test_the_line_and_its_margin_are_where_they_are(self):
        (axes,) = plots.certificate(APART).axes
        np.testing.assert_allclose(line(axes, "separating line")[:, 0], 1)
        (band,) = [part for part in axes.patches if part.get_label() == "margin"]
        edges = band.get_xy()[:, 0]
        np.testing.assert_allclose(np.unique(edges.round(9)), (0, 2))
        assert axes.get_title() == "margin 1"

    def test_the_nearest_samples_are_ringed(self):
        (axes,) = plots.certificate(APART).axes
        ringed = line(axes, "nearest samples")
        np.testing.assert_array_equal(ringed, [[0, 0], [0, 1], [2, 0], [2, 2]])

    def test_samples_are_drawn_by_class(self):
        (axes,) = plots.certificate(APART).axes
        np.testing.assert_array_equal(line(axes, "class 0"), APART.inputs[:3])
        np.testing.assert_array_equal(line(axes, "class 1"), APART.inputs[3:])

    @pytest.mark.parametrize("swapped", [False, True])
    def test_each_side_has_the_tint_of_its_class(self, swapped):
        certificate = APART
        if swapped:  # class 0 is the positive one
            turned = {"weight": fractions([-1, 0]), "bias": Fraction(1), "positive": 0}
            certificate = dataclasses.replace(APART, **turned)
        (axes,) = plots.certificate(certificate).axes
        (sides,) = axes.collections
        where = {
            to_hex(color).upper(): path.vertices[:, 0]
            for color, path in zip(sides.get_facecolor(), sides.get_paths(), strict=True)
        }
        assert where[plots.TINTS[0]].max() == pytest.approx(1)
        assert where[plots.TINTS[1]].min() == pytest.approx(1)
        colors = {part.get_label(): part.get_color() for part in axes.lines}
        assert colors["class 0"] == plots.BLUE
        assert colors["class 1"] == plots.VERMILLION

    def test_one_class_alone_has_no_line(self):
        alone = Separator(fractions([0, 0]), Fraction(1), Fraction(1), inputs=XOR, labels=[1] * 4)
        (axes,) = plots.certificate(alone).axes
        assert axes.get_title() == "one side alone: every line will do"
        assert not lines(axes)

    def test_a_dollar_sign_in_a_label_begins_no_formula(self):
        labels = [
            {True: r"$\foo$", False: "$1 or $2"}[own == APART.positive] for own in APART.labels
        ]
        named = {"positive": r"$\foo$", "negative": "$1 or $2"}
        figure = plots.certificate(dataclasses.replace(APART, labels=labels, **named))
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert r"class \$\foo\$" in texts

    def test_samples_of_a_class_that_takes_no_part_are_left_out(self):
        labels = np.array(["a", "a", "c", "b", "b", "c"])
        certificate = dataclasses.replace(APART, labels=labels, positive="b", negative="a")
        (axes,) = plots.certificate(certificate).axes
        np.testing.assert_array_equal(line(axes, "class a"), APART.inputs[:2])
        np.testing.assert_array_equal(line(axes, "class b"), APART.inputs[3:5])

    def test_one_class_against_the_rest_says_so(self):
        certificate = dataclasses.replace(APART, labels=[0, 2, 2, 1, 1, 1])
        (axes,) = plots.certificate(certificate).axes
        np.testing.assert_array_equal(line(axes, "other classes"), APART.inputs[:3])


class TestCommonPointOfTwoFeatures:
    def test_xor_is_crossed_at_its_center(self):
        (axes,) = plots.certificate(CROSSED).axes
        np.testing.assert_array_equal(line(axes, "common point"), [[0.5, 0.5]])
        ends = sorted(tuple(part[1]) for part in lines(axes))
        assert ends == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert all((part[0] == 0.5).all() for part in lines(axes))
        assert {text.xy: text.get_text() for text in axes.texts} == dict.fromkeys(
            map(tuple, XOR.tolist()), "1/2"
        )

    def test_the_common_point_hides_no_sample(self):
        (axes,) = plots.certificate(CROSSED).axes
        (star,) = (each for each in axes.lines if each.get_label() == "common point")
        assert star.get_markerfacecolor() == "none"

    def test_axes_are_called_what_they_are(self):
        (axes,) = plots.certificate(CROSSED, axis_labels=("height", "weight")).axes
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("height", "weight")

    def test_a_marker_has_its_weight_for_an_area(self):
        inputs = np.array([[1.0, 0], [0, 0], [4, 0], [3, 3]])
        certificate = CommonPoint(
            fractions([1, 0]),
            fractions([1]),
            fractions(["3/4", "1/4", 0]),
            inputs=inputs,
            labels=[1, 0, 0, 0],
        )
        (axes,) = plots.certificate(certificate).axes
        others, positive = axes.collections
        np.testing.assert_array_equal(others.get_offsets(), [[0, 0], [4, 0]])
        np.testing.assert_array_equal(positive.get_offsets(), [[1, 0]])
        (heavy, light), (whole,) = others.get_sizes(), positive.get_sizes()
        np.testing.assert_allclose((whole - heavy) / (whole - light), 1 / 3)
        assert sorted(text.get_text() for text in axes.texts) == ["1", "1/4", "3/4"]
        faint = [np.stack(part.get_data(), axis=1).tolist() for part in axes.lines]
        assert [[3, 3]] in faint

    def test_the_weak_line_is_dashed(self):
        certificate = dataclasses.replace(
            CROSSED, weak_line=Line(fractions([2, -1]), Fraction(-1, 4))
        )
        (axes,) = plots.certificate(certificate).axes
        np.testing.assert_allclose(line(axes, "weak line") @ [2, -1] - 0.25, 0, atol=1e-9)
        (dashed,) = [part for part in axes.lines if part.get_label() == "weak line"]
        assert dashed.get_linestyle() == "--"

    def test_long_or_many_weights_are_not_written(self):
        long = dataclasses.replace(CROSSED, weights_positive=fractions(["1/12345", "12344/12345"]))
        assert not plots.certificate(long).axes[0].texts
        nine = np.concatenate([np.full(9, 1 / 2), np.full(9, 1 / 2)])
        many = CommonPoint(
            fractions([0.5, 0.5]),
            (Fraction(1, 9),) * 9,
            (Fraction(1, 9),) * 9,
            inputs=np.stack([nine, nine], axis=1),
            labels=np.repeat([0, 1], 9),
        )
        assert not plots.certificate(many).axes[0].texts


class TestSeparatorOfMoreFeatures:
    def test_few_samples_stand_at_their_distances(self):
        inputs, labels, certificate = digits(40)
        (axes,) = plots.certificate(certificate).axes
        for label in (0, 1):
            places = line(axes, f"class {label}")
            np.testing.assert_allclose(places[:, 0], inputs[labels == label, 0])
            np.testing.assert_array_equal(np.rint(places[:, 1]), label)
        (band,) = axes.patches
        assert (band.get_x(), band.get_x() + band.get_width()) == (-0.5, 0.5)
        assert axes.get_title() == "margin 0.5"

    @pytest.mark.parametrize("positive", [0, 1])
    def test_many_are_counted_in_bins_outside_the_margin(self, positive):
        inputs, labels, certificate = digits(1001)
        sign = 1 if positive else -1
        certificate = dataclasses.replace(
            certificate, weight=fractions([sign, 0, 0, 0, 0, 0]), positive=positive
        )
        (axes,) = plots.certificate(certificate).axes
        for label, bars in enumerate(axes.containers):
            assert bars.get_label() == f"class {label}"
            assert sum(bar.get_height() for bar in bars) == (labels == label).sum()
            distances = sign * inputs[labels == label, 0]
            for bar in bars:
                low, high = bar.get_x(), bar.get_x() + bar.get_width()
                assert min(abs(low), abs(high)) >= 0.5 - 1e-9
                # Samples at an edge of two bins may be in either.
                inside = ((distances > low + 1e-9) & (distances < high - 1e-9)).sum()
                assert abs(bar.get_height() - inside) <= 1

    def test_as_images_the_weight_stands_between_the_nearest(self):
        inputs, labels, certificate = digits(40)
        panels = plots.certificate(certificate, image_shape=(2, 3)).axes
        assert len(panels) == 7
        np.testing.assert_array_equal(panels[3].images[0].get_array(), [[1, 0, 0], [0, 0, 0]])
        assert panels[3].images[0].get_clim() == (-1, 1)
        for side, places in ((0, panels[2::-1]), (1, panels[4:])):
            rows = inputs[labels == side]
            nearest = rows[np.argsort(np.abs(rows[:, 0]))[:3]]
            for axes, image in zip(places, nearest, strict=True):
                np.testing.assert_array_equal(axes.images[0].get_array(), image.reshape(2, 3))
                assert axes.get_xlabel() == f"distance {abs(image[0]):.3g}"
                assert axes.get_title() == f"class {side}"


class TestCommonPointOfMoreFeatures:
    def test_bars_are_the_weights_the_heaviest_first(self):
        left, right = plots.certificate(mixed()).axes
        np.testing.assert_allclose(
            [bar.get_height() for bar in left.patches], [1 / 2, 1 / 3, 1 / 6]
        )
        np.testing.assert_allclose([bar.get_height() for bar in right.patches], [3 / 4, 1 / 4])
        assert left.get_title() == "class 0: 3 of 5 samples"
        assert right.get_title() == "class 1: 2 of 4 samples"
        assert left.get_ylim() == right.get_ylim()

    def test_as_images_the_point_stands_between_the_heaviest(self):
        certificate = mixed()
        panels = plots.certificate(certificate, image_shape=(3, 2)).axes
        shown = [axes.images[0].get_array() for axes in panels]
        order = [1, 6, 5, None, 4, 0]  # rows of the data, the heaviest next to the middle
        for image, row in zip(shown, order, strict=True):
            if row is not None:
                np.testing.assert_array_equal(image, certificate.inputs[row].reshape(3, 2))
        point = np.array(certificate.point, float).reshape(3, 2)
        np.testing.assert_array_equal(shown[3], point)
        captions = [axes.get_xlabel() for axes in panels]
        assert captions == [
            "weight 1/6", "weight 1/3", "weight 1/2", "of 5 samples", "weight 3/4", "weight 1/4",
        ]  # fmt: skip
        assert len({axes.images[0].get_clim() for axes in panels}) == 1


class TestData:
    def test_a_certificate_from_its_text_needs_its_data_again(self):
        bare = dataclasses.replace(CROSSED, inputs=None, labels=None)
        with pytest.raises(ValueError, match="inputs: a certificate read from its text has no"):
            plots.certificate(bare)
        (axes,) = plots.certificate(bare, XOR, LABELS).axes
        assert len(axes.texts) == 4

    def test_what_is_not_proven_says_so(self):
        figure = plots.certificate(dataclasses.replace(APART, numerical_only=True))
        assert figure.get_supxlabel() == "numerical only: not proven"
        assert not plots.certificate(APART).get_supxlabel()

    @pytest.mark.parametrize("labels", [LABELS, [0, 1, 0, 1], ["b", "a", "a", "b"]])
    @pytest.mark.parametrize("features", [1, 2, 3])
    def test_what_certify_proves_is_drawn(self, labels, features):
        inputs = np.concatenate([XOR[:, ::-1], XOR], axis=1)[:, :features]
        plots.certificate(ls.certify(inputs, labels))

    @pytest.mark.parametrize(
        ("draw", "error", "message"),
        [
            (lambda: plots.certificate("a proof"), TypeError, "certificate: expected .*, got str"),
            (
                lambda: plots.certificate(CROSSED, XOR),
                ValueError,
                "inputs, labels: expected both or neither",
            ),
            (
                lambda: plots.certificate(CROSSED, XOR[:, :1], LABELS),
                ValueError,
                r"inputs: expected shape \(n, 2\), got \(4, 1\)",
            ),
            (
                lambda: plots.certificate(CROSSED, XOR, [0, 1, 1, 1]),
                ValueError,
                "labels: expected 2 positive samples, as the certificate has, got 3",
            ),
            (
                lambda: plots.certificate(CROSSED, XOR[1:], LABELS[1:]),
                ValueError,
                "labels: expected 2 other samples, as the certificate has, got 1",
            ),
            (
                lambda: plots.certificate(mixed(), image_shape=(2, 2)),
                ValueError,
                r"image_shape: expected 6 pixels, got \(2, 2\)",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(self, draw, error, message):
        with pytest.raises(error, match=message):
            draw()
