"""Certificates against brute force, against cases worked by hand, and against scikit-learn."""

import dataclasses
import fractions
import itertools
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import logistack as ls
from logistack.separability import (
    Certificate,
    ClassCertificates,
    CommonPoint,
    Line,
    MultinomialCommonPoint,
    MultinomialSeparator,
    NothingToSeparate,
    Separator,
    Untangling,
    alternative,
    certificate_from_json,
    certify,
    questions,
    rational,
    untangle,
)
from logistack.separability.alternative import Answer, Clock, Matrix, OutOfTimeError

Fraction = fractions.Fraction
XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
HALF = Fraction(1, 2)


def dependency(rows):
    """The one way in which rows of integers add up to zero, or None if there is none or more."""
    rows = [list(row) for row in rows]
    ways = [[int(i == j) for j in range(len(rows))] for i in range(len(rows))]
    left = list(range(len(rows)))
    for column in range(len(rows[0])):
        pivot = next((i for i in left if rows[i][column]), None)
        if pivot is None:
            continue
        left.remove(pivot)
        for i in left:
            here, there = rows[i][column], rows[pivot][column]
            rows[i] = [there * a - here * b for a, b in zip(rows[i], rows[pivot], strict=True)]
            ways[i] = [there * a - here * b for a, b in zip(ways[i], ways[pivot], strict=True)]
    return ways[left[0]] if len(left) == 1 else None


def balanced(rows):
    """By brute force: the rows that any combination Σ λ a = 0 with λ ≥ 0 can have weight on.

    They are those of the circuits, the smallest dependent sets, whose dependency has one sign.
    A direction v with a · v ≥ 0 for all rows has 0 there, and some v has > 0 on all others.
    """
    found, circuits = set(), []
    for size in range(1, len(rows[0]) + 2):
        for chosen in itertools.combinations(range(len(rows)), size):
            if any(circuit <= set(chosen) for circuit in circuits):
                continue
            way = dependency([rows[i] for i in chosen])
            if way is not None:
                circuits.append(set(chosen))
                if min(way) > 0 or max(way) < 0:
                    found |= set(chosen)
    return found


def exactly(inputs):
    """Integers: every column times what clears its denominators, and a one."""
    rows = [[Fraction(value) for value in row] for row in np.asarray(inputs).tolist()]
    columns = [
        [int(value * math.lcm(*(v.denominator for v in column))) for value in column]
        for column in zip(*rows, strict=True)
    ]
    return [[*row, 1] for row in zip(*columns, strict=True)]


def signed(inputs, labels):
    return [
        row if label else [-value for value in row]
        for row, label in zip(exactly(inputs), labels, strict=True)
    ]


def against(inputs, labels):
    """Every sample's own score less another's, by the weights and bias of each class."""
    classes = sorted(set(labels))
    rows = []
    for row, label in zip(exactly(inputs), labels, strict=True):
        for other in classes:
            if other != label:
                blocks = {label: row, other: [-value for value in row]}
                zeros = [0] * len(row)
                rows.append([v for c in classes for v in blocks.get(c, zeros)])
    return rows


@st.composite
def small_sets(draw, values, classes=2, most=7, features=3):
    count = draw(st.integers(1, most))
    width = draw(st.integers(1, features))
    cells = st.lists(values, min_size=width, max_size=width)
    inputs = draw(st.lists(cells, min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    return np.array(inputs), labels


INTEGERS = st.integers(-2, 2)
EXTREME = (5e-324, 1e-300, 1e300, -1e300, 1.7e308)
CLOSE = (0.0, 1.0, -1.0, 0.1, 0.2, 0.3, 0.1 + 0.2, 1 / 3, 1e-12, -1e-12, 1 + 2**-52)
FLOATS = st.sampled_from(CLOSE + EXTREME)
CONGRUENT = (0.0, 1.0, -1.0, 2.0**61, -(2.0**61), 2.0**61 - 2.0**9, 2.0**122, 2.0**183, 2.0**-61)
"""Modulo 2 ** 61 - 1 a power of 2 ** 61 is 1."""


def check_two_classes(inputs, labels):
    """`certify` is right, says so, and survives its text; it may be asked by label, too."""
    found = certify(inputs, labels)
    bearing = balanced(signed(inputs, labels))
    assert isinstance(found, CommonPoint if bearing else Separator)
    assert not found.numerical_only
    assert found.verify()
    if bearing:
        touching = len(bearing) < len(labels)
        assert (found.weak_line is not None) == touching
    read = certificate_from_json(found.to_json())
    assert read == found
    assert read.verify(inputs, labels)


class TestAgainstBruteForce:
    @settings(max_examples=1500)
    @given(small_sets(INTEGERS))
    @example((XOR, [0, 1, 1, 0]))
    def test_small_integers_where_much_coincides(self, data):
        check_two_classes(*data)

    @settings(max_examples=700)
    @given(small_sets(FLOATS, most=6))
    def test_floats_of_any_scale(self, data):
        check_two_classes(*data)

    @settings(max_examples=300)
    @given(small_sets(st.floats(allow_nan=False, allow_infinity=False), most=5, features=2))
    def test_any_finite_floats(self, data):
        check_two_classes(*data)

    @settings(max_examples=400)
    @given(small_sets(st.sampled_from(CONGRUENT), most=6))
    @example((np.array([[1.0], [2.0**61], [2.0**122]]), [0, 1, 0]))
    @example((np.array([[1.0], [1.0], [2.0**61], [2.0**61]]), [0, 1, 0, 1]))
    def test_numbers_that_the_prime_of_ranks_makes_equal(self, data):
        check_two_classes(*data)

    @settings(max_examples=100)
    @given(small_sets(st.sampled_from(CONGRUENT), classes=3, most=6, features=2))
    def test_more_classes_of_such_numbers(self, data):
        inputs, labels = data
        found = certify(inputs, labels)
        assert found.verify()
        if len(set(labels)) == 3:
            enough = not balanced(against(inputs, labels))
            assert isinstance(found.multinomial, MultinomialSeparator) == enough

    @settings(max_examples=250)
    @given(small_sets(INTEGERS, classes=3, most=6, features=2))
    def test_more_classes(self, data):
        inputs, labels = data
        found = certify(inputs, labels)
        assert found.verify()
        assert certificate_from_json(found.to_json()) == found
        if len(set(labels)) < 3:
            assert not isinstance(found, ClassCertificates)
            return
        enough = not balanced(against(inputs, labels))
        kind = MultinomialSeparator if enough else MultinomialCommonPoint
        assert isinstance(found.multinomial, kind)
        numbers = np.array(labels)
        for (a, b), part in found.pairs.items():
            here = (numbers == a) | (numbers == b)
            assert part == certify(inputs[here], numbers[here], positive=b, negative=a)
        for label, part in found.rest.items():
            bearing = balanced(signed(inputs, numbers == label))
            assert isinstance(part, CommonPoint if bearing else Separator)

    @settings(max_examples=500)
    @given(small_sets(INTEGERS), st.booleans())
    def test_the_exact_simplex_method_alone(self, data, started):
        """Whatever the floating-point solver says, even nothing."""
        rows = np.array(signed(*data), object)
        bearing = balanced(rows.tolist())
        support = list(range(len(rows)))[::2] if started else []
        answer = alternative._simplex(Matrix(rows), support, Clock.of(60))
        assert answer.proven
        if bearing:
            assert set(answer.weights) <= bearing
            assert sum(answer.weights.values()) == 1
            assert min(answer.weights.values()) > 0
            total = sum(weight * rows[row] for row, weight in answer.weights.items())
            assert not total.any()
        else:
            assert (rows @ answer.direction > 0).all()

    @settings(max_examples=200)
    @given(small_sets(INTEGERS))
    def test_where_the_solver_gives_up(self, data):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(alternative, "_linear_program", lambda *_: None)
            check_two_classes(*data)

    @settings(max_examples=200)
    @given(small_sets(INTEGERS), st.randoms(use_true_random=False))
    def test_where_the_solver_is_wrong(self, data, random):
        """Any direction and any weights lead to the right answer in the end."""

        def nonsense(rows, _):
            weights = np.array([random.choice([0.0, 0.5, 1.0]) for _ in rows])
            weights[random.randrange(len(rows))] = 1.0
            direction = np.array([random.uniform(-1, 1) for _ in rows[0]])
            return weights, direction, random.choice([0.0, 0.1])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(alternative, "_linear_program", nonsense)
            check_two_classes(*data)


class TestWorkedByHand:
    def test_xor_is_mixed_at_its_center(self):
        found = certify(XOR, [0, 1, 1, 0])
        assert found == CommonPoint((HALF, HALF), (HALF, HALF), (HALF, HALF))
        assert found.verify()

    @pytest.mark.parametrize(
        ("labels", "weight", "bias"),
        [
            ([0, 0, 0, 1], (1, 1), -1.5),
            ([0, 1, 1, 1], (1, 1), -0.5),
            ([1, 1, 1, 0], (-1, -1), 1.5),
        ],
        ids=["and", "or", "nand"],
    )
    def test_the_widest_line_of_a_gate(self, labels, weight, bias):
        found = certify(XOR, labels)
        assert found.verify()
        line = [float(value) for value in (*found.weight, found.bias)]
        np.testing.assert_allclose(line, np.array([*weight, bias]) / math.sqrt(2), rtol=1e-12)
        assert float(found.margin) == pytest.approx(math.sqrt(2) / 4, rel=1e-12)

    def test_hulls_that_touch_have_a_weak_line(self):
        found = certify([[0], [1], [1], [2]], [0, 0, 1, 1])
        assert found.point == (1,)
        assert (found.weights_positive, found.weights_negative) == ((1, 0), (0, 1))
        weight, bias = found.weak_line
        assert weight[0] > 0
        assert -bias / weight[0] == 1
        assert str(found).endswith("; their hulls only touch")
        # A corner on an edge, at a third of it.
        corner = certify([[0, 0], [3, 3], [1, 1], [5, 0]], [0, 0, 1, 1])
        assert corner.point == (1, 1)
        assert corner.weights_negative == (Fraction(2, 3), Fraction(1, 3))
        assert corner.weak_line is not None
        assert corner.verify()

    def test_what_was_not_looked_for_is_said(self, monkeypatch):
        def end(*_):
            raise OutOfTimeError

        monkeypatch.setattr(questions, "partition", end)
        found = certify([[0], [1], [1], [2]], [0, 0, 1, 1])
        assert found.verify()
        assert (found.weak_line, found.undecided) == (None, True)
        assert str(found).endswith("; whether their hulls only touch is undecided")
        assert "undecided" in found.describe([0, 0, 1, 1])
        assert certificate_from_json(found.to_json()).undecided
        # Samples that span everything leave no room for a weak line.
        assert not certify(XOR, [0, 1, 1, 0]).undecided

    def test_a_sample_with_both_labels(self):
        found = certify([[7.5, 0], [7.5, 0], [9, 9]], [0, 1, 1])
        assert found.point == (7.5, 0)
        assert found.weights_positive == (1, 0)
        assert found.weights_negative == (1,)
        assert found.weak_line is not None
        assert found.verify()
        same = certify([[3], [3]], [0, 1])
        assert same.weak_line is None
        assert same.verify()

    def test_points_on_a_line_that_alternate(self):
        found = certify([[0, 0], [1, 1], [2, 2]], [1, 0, 1])
        assert found.point == (1, 1)
        assert found.weights_positive == (HALF, HALF)
        assert found.weights_negative == (1,)
        assert found.weak_line is None
        assert found.verify()

    def test_a_tenth_and_two_are_not_three(self):
        found = certify([[0.1 + 0.2], [0.3]], [1, 0])
        assert found.margin == (Fraction(0.1 + 0.2) - Fraction(0.3)) / 2
        assert found.verify()
        assert isinstance(certify(np.float32([[0.1 + 0.2], [0.3]]), [1, 0]), CommonPoint)

    @pytest.mark.parametrize("start", [1.0, 1e-300, 5e-324, -1e300, 2.0**52])
    def test_neighboring_floats_are_apart(self, start):
        after = math.nextafter(start, math.inf)
        found = certify([[start, 3.0], [after, 3.0]], [0, 1])
        assert found.margin == (Fraction(after) - Fraction(start)) / 2
        assert found.verify()

    @pytest.mark.parametrize(
        ("low", "dtype"), [(2**53, np.int64), (-(2**63), np.int64), (2**64 - 2, np.uint64)]
    )
    def test_neighboring_integers_beyond_floats_are_apart(self, low, dtype):
        found = certify(np.array([[low], [low + 1]], dtype), [0, 1])
        assert found.margin == HALF
        assert found.verify()

    @pytest.mark.parametrize("label", [1, 0, -3, "a", 2.5])
    def test_one_label_alone_is_nothing_to_separate(self, label):
        found = certify([[0, 1], [2, 3]], [label, label])
        assert isinstance(found, NothingToSeparate)
        assert isinstance(found, Separator)
        assert found == certify([[0, 1], [2, 3]], [label, label], positive=label)
        assert (found.positive, found.weight, found.bias, found.margin) == (label, (0, 0), 1, 1)
        assert str(found) == f"nothing to separate: every sample has the label {label!r}"
        assert found.verify()
        assert found.verify([[5, 5]], [label])
        read = certificate_from_json(found.to_json())
        assert isinstance(read, NothingToSeparate)
        assert read == found
        assert read.verify([[0, 1], [2, 3]], [label, label])

    def test_one_sample(self):
        assert certify([[4.0]], [1]).verify()

    def test_a_constant_feature_changes_nothing(self):
        found = certify(np.hstack([XOR, np.full((4, 1), 0.1)]), [0, 1, 1, 0])
        assert found.point == (HALF, HALF, Fraction(0.1))
        line = certify(np.hstack([XOR, np.full((4, 1), 1e9)]), [0, 0, 0, 1])
        assert float(line.margin) == pytest.approx(math.sqrt(2) / 4, rel=1e-9)

    def test_many_copies_of_the_same_samples(self):
        inputs, labels = np.tile(XOR, (500, 1)), np.tile([0, 1, 1, 0], 500)
        found = certify(inputs, labels)
        assert found.point == (HALF, HALF)
        assert found.verify()

    def test_features_of_very_different_scale(self):
        scales = np.array([1e-300, 1e300])
        assert certify(XOR * scales, [0, 1, 1, 0]).point == tuple(
            Fraction(scale) / 2 for scale in scales.tolist()
        )
        assert certify(XOR * scales, [0, 0, 0, 1]).verify()

    def test_the_largest_floats_keep_their_margin(self):
        found = certify([[1e308, 7], [-1e308, 7]], [1, 0])
        assert found.margin == Fraction(1e308)
        assert found.verify()

    @pytest.mark.parametrize("margin", [1e-6, 1e-12, 1e-15])
    @pytest.mark.parametrize(("samples", "features"), [(40, 3), (300, 40)])
    def test_a_thin_gap_is_found_or_disproved(self, margin, samples, features):
        """To floats of such coordinates 1e-15 is a few roundings: either answer, but a proof."""
        rng = np.random.default_rng(0)
        inputs = rng.normal(size=(samples, features))
        weight = rng.normal(size=features)
        weight /= np.linalg.norm(weight)
        labels = inputs @ weight > 0
        inputs += np.outer(np.where(labels, margin, -margin) - inputs @ weight, weight)
        found = certify(inputs, labels)
        assert found.verify()
        if margin >= 1e-12:
            assert isinstance(found, Separator)
            assert float(found.margin) == pytest.approx(margin, rel=0.01)

    def test_a_thin_overlap_is_proven(self):
        """Two hulls that share a sliver 1e-12 wide."""
        inputs = np.array([[0, 0], [0, 1], [1e-12, 0.5], [-1e-12, 0.25], [-1, 0.5], [1, 0.5]])
        found = certify(inputs, [0, 0, 0, 1, 0, 1])
        assert isinstance(found, CommonPoint)
        assert found.verify()
        inputs[3, 0] = 2e-12
        found = certify(inputs, [0, 0, 0, 1, 0, 1])
        assert isinstance(found, Separator)
        assert found.verify()


class TestMargin:
    @pytest.mark.parametrize("seed", range(12))
    def test_it_is_that_of_a_hard_margin_machine(self, seed):
        """Bounded by the distance of two points of the hulls, which the machine's dual names."""
        from sklearn.svm import SVC

        rng = np.random.default_rng(seed)
        samples, features = int(rng.integers(6, 120)), int(rng.integers(1, 12))
        inputs = rng.normal(size=(samples, features)) * rng.uniform(0.1, 10, features)
        inputs += rng.normal(size=features) * 10 ** rng.uniform(-1, 1)
        scores = (inputs - inputs.mean(axis=0)) @ rng.normal(size=features)
        labels = scores > np.median(scores)
        inputs[labels] += 0.05 * np.sign(inputs[labels].mean(axis=0) - inputs[~labels].mean(axis=0))
        found = certify(inputs, labels)
        if not isinstance(found, Separator):  # the push may have mixed them
            pytest.fail("the planted line is gone: choose another push")
        assert found.verify()
        machine = SVC(kernel="linear", C=1e12, tol=1e-10).fit(inputs, labels)
        shares = np.zeros(samples)
        shares[machine.support_] = np.abs(machine.dual_coef_[0])
        nearest = [shares[side] @ inputs[side] / shares[side].sum() for side in (labels, ~labels)]
        bound = np.linalg.norm(nearest[0] - nearest[1]) / 2
        distances = inputs @ machine.coef_[0] / np.linalg.norm(machine.coef_)
        reached = (distances[labels].min() - distances[~labels].max()) / 2
        # No line beats the bound, and the machine stops a little below the widest line.
        assert reached * (1 - 1e-9) <= float(found.margin) <= bound * (1 + 1e-9)
        assert float(found.margin) >= bound * (1 - 1e-3)

    def test_real_flowers(self):
        """Setosa from versicolor: a quadratic program of 100 samples, on the data as published."""
        from sklearn.datasets import load_iris
        from sklearn.svm import SVC

        iris = load_iris()
        found = certify(iris.data, iris.target)
        assert [isinstance(part, Separator) for part in found.pairs.values()] == [True, True, False]
        assert [isinstance(part, Separator) for part in found.rest.values()] == [True, False, False]
        assert isinstance(found.multinomial, MultinomialCommonPoint)
        assert found.verify()
        here = iris.target < 2
        machine = SVC(kernel="linear", C=1e9, tol=1e-9).fit(iris.data[here], iris.target[here])
        own = 1 / np.linalg.norm(machine.coef_)
        assert float(found.pairs[0, 1].margin) == pytest.approx(own, rel=1e-6)


class TestInvariance:
    @settings(max_examples=150)
    @given(small_sets(INTEGERS), st.randoms(use_true_random=False))
    def test_order_units_and_names_do_not_matter(self, data, random):
        inputs, labels = data
        found = certify(inputs, labels)
        order = list(range(len(labels)))
        random.shuffle(order)
        power, shift = random.randrange(-9, 9), random.randrange(-5, 6)
        names = ["no", "yes"]
        moved = inputs[order][:, ::-1] * 2.0**power + shift * 2.0**power
        other = certify(moved, [names[labels[i]] for i in order])
        assert type(other) is type(found)
        assert other.verify()
        if isinstance(found, Separator) and len(set(labels)) == 2:
            wanted = float(found.margin) * 2.0**power
            assert float(other.margin) == pytest.approx(wanted, rel=1e-9)
        if isinstance(found, CommonPoint):
            assert (other.weak_line is None) == (found.weak_line is None)

    @settings(max_examples=100)
    @given(small_sets(INTEGERS))
    def test_swapped_labels_turn_the_proof_around(self, data):
        inputs, labels = data
        found, turned = certify(inputs, labels), certify(inputs, [1 - label for label in labels])
        assert type(found) is type(turned)
        if isinstance(found, Separator):
            assert float(turned.margin) == pytest.approx(float(found.margin), rel=1e-9)

    @pytest.mark.parametrize(
        "dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, bool, jnp.bfloat16]
    )
    def test_every_dtype_is_taken_at_its_word(self, dtype):
        for inputs in (XOR.astype(dtype), jnp.asarray(XOR.astype(dtype))):
            found = certify(inputs, [0, 1, 1, 0])
            assert found.point == (HALF, HALF)
            assert found.verify()

    def test_real_data_at_full_scale_of_the_suite(self):
        """2,000 × 256, either answer."""
        rng = np.random.default_rng(0)
        inputs = rng.normal(size=(2000, 256))
        found = certify(inputs, rng.integers(0, 2, 2000))
        assert isinstance(found, CommonPoint)
        assert found.verify()
        found = certify(inputs, inputs @ rng.normal(size=256) > 0)
        assert isinstance(found, Separator)
        assert found.verify()


class TestMoreClasses:
    def test_classes_in_a_row(self):
        """The middle one has no line to itself, but a linear classifier makes no error."""
        found = certify([[0], [1], [2]], ["a", "b", "c"])
        assert all(isinstance(part, Separator) for part in found.pairs.values())
        kinds = {label: type(part) for label, part in found.rest.items()}
        assert kinds == {"a": Separator, "b": CommonPoint, "c": Separator}
        assert isinstance(found.multinomial, MultinomialSeparator)
        assert found.verify()
        assert "3 of 3 pairs and for 2 of 3 classes" in str(found)

    def test_pairs_may_have_lines_that_do_not_fit_together(self):
        """Blades of a wheel: every line has its blade on one side, and no three of them agree."""
        inputs = [
            [2, 0],
            [-3, 6],
            [-7, 13],
            [-1, 2],
            [-4, -6],
            [-7, -13],
            [-1, -2],
            [7, -1],
            [15, 0],
        ]
        labels = np.repeat(np.arange(3), 3)
        found = certify(inputs, labels)
        assert all(isinstance(part, Separator) for part in found.pairs.values())
        assert isinstance(found.multinomial, MultinomialCommonPoint)
        assert balanced(against(inputs, labels.tolist()))
        assert found.verify()

    def test_the_classifier_makes_no_error(self):
        rng = np.random.default_rng(1)
        centers = rng.normal(size=(4, 3)) * 6
        labels = rng.integers(0, 4, 80)
        inputs = centers[labels] + rng.normal(size=(80, 3))
        best = certify(inputs, labels).multinomial
        scores = inputs @ np.array(best.weight, float).T + np.array(best.bias, float)
        assert (scores.argmax(axis=1) == labels).all()
        own = scores[np.arange(80), labels]
        scores[np.arange(80), labels] = -np.inf
        assert float(best.margin) == pytest.approx((own - scores.max(axis=1)).min(), rel=1e-9)

    def test_a_class_of_choice(self):
        inputs, labels = [[0], [1], [2]], ["a", "b", "c"]
        rest = certify(inputs, labels, positive="b")
        assert isinstance(rest, CommonPoint)
        assert (rest.positive, rest.negative) == ("b", None)
        pair = certify(inputs, labels, positive="a", negative="c")
        assert pair.margin == 1
        assert pair.verify()


class TestVerify:
    def changed(self, found, inputs, labels):
        """What a forger might try."""
        yield dataclasses.replace(found, numerical_only=True)
        if isinstance(found, Separator):
            for change in (
                {"margin": found.margin / 2},
                {"bias": -found.bias},
                {"bias": found.bias + found.margin},
                {"weight": tuple(2 * w for w in found.weight)},
                {"weight": tuple(-w for w in found.weight)},
                {"weight": found.weight[:1]},
                {"weight": (Fraction(0),) * 2, "bias": Fraction(1), "margin": Fraction(1)},
            ):
                yield dataclasses.replace(found, **change)
        else:
            first, *others = found.weights_positive
            for change in (
                {"point": (found.point[0] + 1, *found.point[1:])},
                {"point": found.point[:1]},
                {"weights_positive": (first / 2, *others)},
                {"weights_positive": tuple(2 * w for w in found.weights_positive)},
                {"weights_positive": (*found.weights_positive, Fraction(0))},
                {"weights_negative": (Fraction(3, 2), Fraction(-1, 2))},
                {"weights_negative": ()},
                {"weak_line": Line((Fraction(1), Fraction(0)), Fraction(0))},
                {"weak_line": Line((Fraction(0), Fraction(0)), Fraction(0))},
                {"weak_line": Line((Fraction(1),), Fraction(0))},
            ):
                yield dataclasses.replace(found, **change)

    @pytest.mark.parametrize("labels", [[0, 1, 1, 0], [0, 0, 0, 1]])
    def test_what_was_changed_is_no_proof(self, labels):
        found = certify(XOR, labels)
        assert found.verify()
        for forged in self.changed(found, XOR, labels):
            assert not forged.verify(), forged
            assert not certificate_from_json(forged.to_json()).verify(XOR, labels)

    @pytest.mark.parametrize("labels", [[0, 1, 1, 0], [0, 0, 0, 1]])
    def test_other_data_are_not_proven(self, labels):
        found = certify(XOR, labels)
        nudged = XOR.astype(float)
        nudged[3, 0] = 0.9999999
        flipped = [1 - labels[0], *labels[1:]]
        for inputs, marks in ((nudged, labels), (XOR, flipped), (XOR[[3, 3]], labels[:2])):
            assert not found.verify(inputs, marks)
        assert not found.verify(np.hstack([XOR, XOR]), labels)

    def test_touching_needs_no_more_than_weights(self):
        """A proof without its weak line is one still; with a line that cuts, it is none."""
        inputs, labels = [[0], [1], [1], [2]], [0, 0, 1, 1]
        found = certify(inputs, labels)
        assert dataclasses.replace(found, weak_line=None).verify()
        cut = Line((Fraction(1),), Fraction(-3, 2))
        assert not dataclasses.replace(found, weak_line=cut).verify()

    def test_of_more_classes_every_part_counts(self):
        inputs, labels = [[0], [1], [2]], [0, 1, 2]
        found = certify(inputs, labels)
        line = found.pairs[0, 1]
        classifier = found.multinomial
        for forged in (
            dataclasses.replace(found, pairs={**found.pairs, (0, 1): found.pairs[1, 2]}),
            dataclasses.replace(
                found,
                pairs={**found.pairs, (0, 1): dataclasses.replace(line, margin=line.margin / 2)},
            ),
            dataclasses.replace(found, rest={0: found.rest[0], 1: found.rest[1]}),
            dataclasses.replace(found, rest={**found.rest, 2: found.rest[0]}),
            dataclasses.replace(
                found,
                multinomial=dataclasses.replace(classifier, margin=2 * classifier.margin),
            ),
            dataclasses.replace(
                found, multinomial=dataclasses.replace(classifier, weight=classifier.weight[:2])
            ),
            dataclasses.replace(
                found,
                multinomial=dataclasses.replace(
                    classifier, weight=(*classifier.weight[:2], (HALF, HALF))
                ),
            ),
            dataclasses.replace(
                found, multinomial=dataclasses.replace(classifier, numerical_only=True)
            ),
            dataclasses.replace(
                found, multinomial=dataclasses.replace(classifier, classes=(0, 2, 1))
            ),
        ):
            assert not forged.verify(inputs, labels)
        assert not found.verify([[0], [2], [1]], labels)

    def test_an_exchange_must_keep_every_sum(self):
        inputs, labels = [[0], [1], [0], [2]], [0, 1, 1, 2]
        found = certify(inputs, labels).multinomial
        assert isinstance(found, MultinomialCommonPoint)
        assert found.verify(inputs, labels)
        gifts = dict(found.weights)
        (one, label), *_ = gifts
        for weights in (
            {},
            {(one, label): Fraction(1)},
            {key: 2 * weight for key, weight in gifts.items()},
            {(3, 0): HALF, (0, 2): HALF},
            {(one + 100, label): Fraction(1)},
            {(one, "none"): Fraction(1)},
            {(one, labels[one]): Fraction(1)},
        ):
            forged = dataclasses.replace(found, weights=weights)
            assert not forged.verify(inputs, labels), weights

    @pytest.mark.parametrize("labels", [[0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 2, 2]])
    def test_it_needs_no_solver(self, monkeypatch, labels):
        text = certify(XOR, labels).to_json()
        for module in ("scipy", "scipy.optimize", "scipy.sparse", "flint", "sklearn"):
            monkeypatch.setitem(sys.modules, module, None)
        assert certificate_from_json(text).verify(XOR, labels)
        with pytest.raises(ImportError):
            certify(XOR, labels)

    @pytest.mark.parametrize("labels", [[0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 2, 2]])
    def test_it_looks_at_every_block_of_samples(self, monkeypatch, labels):
        found = certify(XOR, labels)
        monkeypatch.setattr(rational, "BLOCK_BITS", 1)
        assert found.verify()
        for sample in range(4):
            moved = XOR.copy()
            moved[sample] = -9 if labels[sample] else 9
            assert not found.verify(moved, labels)

    def test_it_needs_data(self):
        found = certify(XOR, [0, 1, 1, 0])
        bare = certificate_from_json(found.to_json())
        with pytest.raises(ValueError, match="a certificate read from its text has no data"):
            bare.verify()
        with pytest.raises(ValueError, match="inputs, labels: expected both or neither"):
            bare.verify(XOR)
        with pytest.raises(ValueError, match="inputs: expected finite values, got 1 NaN"):
            bare.verify([[0, 0], [0, 1], [1, 0], [1, math.nan]], [0, 1, 1, 0])


class TestSupport:
    """The samples that an answer rests on, against distances and weights in fractions."""

    @pytest.mark.parametrize("scale", [1, Fraction(1, 10)])
    def test_the_nearest_samples(self, scale):
        inputs = [[0, 0], [0, 1], [1, 0], [1, 1], [3, 0], [0, 3], [9, 9]]
        inputs = [[scale * value for value in row] for row in inputs]
        labels = [0, 0, 0, 1, 1, 1, 2]
        found = certify(inputs, labels, positive=1, negative=0)
        distances = [abs(found.weight[0] * x + found.weight[1] * y + found.bias) for x, y in inputs]
        nearest = [k for k, distance in enumerate(distances) if k < 6 and distance == found.margin]
        assert found.support() == tuple(nearest)
        assert {labels[k] for k in nearest} == {0, 1}
        assert found.support(inputs, labels) == found.support()

    def test_the_nearest_of_more_than_two_classes(self):
        inputs, labels = [[0, 0], [4, 0], [5, 1], [0, 3], [1, 7]], ["a", "b", "b", "c", "c"]
        whole = certify(inputs, labels)
        found = whole.multinomial
        scores = [
            {
                label: sum(w * x for w, x in zip(weight, row, strict=True)) + bias
                for label, weight, bias in zip(found.classes, found.weight, found.bias, strict=True)
            }
            for row in inputs
        ]
        least = [
            min(own[label] - score for other, score in own.items() if other != label)
            for own, label in zip(scores, labels, strict=True)
        ]
        nearest = tuple(k for k, value in enumerate(least) if value == found.margin)
        assert found.support() == whole.support() == nearest

    def test_the_mixed_and_the_exchanged_samples(self):
        inputs, labels = [[9, 9], [0, 0], [0, 1], [1, 0], [1, 1], [-9, 3]], [1, 0, 1, 1, 0, 0]
        found = certify(inputs, labels)
        positive = [k for k, y in enumerate(labels) if y]
        mixed = {k for k, w in zip(positive, found.weights_positive, strict=True) if w}
        negative = [k for k, y in enumerate(labels) if not y]
        mixed |= {k for k, w in zip(negative, found.weights_negative, strict=True) if w}
        assert found.support() == tuple(sorted(mixed))
        assert 3 <= len(mixed) < 6
        three = certify([*inputs, [50, 50]], [*labels, 2])
        exchanged = {sample for sample, _ in three.multinomial.weights}
        assert three.support() == tuple(sorted(exchanged))
        assert three.role == "the exchanged samples"
        assert certify([[1], [2]], [3, 3]).support() == ()

    def test_other_data_have_none(self):
        found = certify([[0], [1]], [0, 1])
        with pytest.raises(ValueError, match="expected those of the certificate, but it is about"):
            found.support([[0], [1]], [0, 2])
        with pytest.raises(ValueError, match="inputs: expected 1 feature, got 2"):
            found.support([[0, 1], [1, 0]], [0, 1])
        mixed = certify(XOR, [0, 1, 1, 0])
        with pytest.raises(ValueError, match="labels: expected 2 samples on a side, got 3"):
            mixed.support([*XOR.tolist(), [2, 2]], [0, 1, 1, 0, 1])


class TestText:
    def test_numbers_of_any_length_come_back(self):
        point = (Fraction(2**40_000 + 1, 3), Fraction(-1, 10**50))
        found = CommonPoint(point, (Fraction(1),), (Fraction(0), Fraction(1)), positive="é")
        assert certificate_from_json(found.to_json()) == found
        assert certificate_from_json(found.to_json().encode()) == found

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "logistack certificate 0"},
            {"kind": "Certificate"},
            {"kind": None},
            {"numerical_only": "no"},
            {"positive": [1]},
            {"positive": None},
            {"negative": {}},
            {"point": []},
            {"point": {"length": 2, "denominator": "0", "numerators": {"0": "1"}}},
            {"point": {"length": -1, "denominator": "1", "numerators": {}}},
            {"point": {"length": 10**18, "denominator": "1", "numerators": {}}},
            {"point": {"length": 2.5, "denominator": "1", "numerators": {}}},
            {"point": {"length": 2, "denominator": "1", "numerators": {"-1": "1"}}},
            {"point": {"length": 2, "denominator": "1", "numerators": {"2": "1"}}},
            {"point": {"length": 2, "denominator": "1", "numerators": {"0": 1.5}}},
            {"point": {"length": 2, "denominator": "x", "numerators": {}}},
            {"weak_line": {}},
            {"weak_line": 0},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, change):
        content = json.loads(certify(XOR, [0, 1, 1, 0]).to_json())
        with pytest.raises(ValueError, match="text: expected a certificate as to_json writes it"):
            certificate_from_json(json.dumps(content | change))

    @pytest.mark.parametrize(
        "change",
        [
            {"multinomial": "part"},
            {"pairs": ["whole"]},
            {"rest": [None]},
            {"classes": [0, 0, 1]},
            {"classes": [0, [1], 2]},
        ],
    )
    def test_parts_of_the_wrong_kind_are_refused(self, change):
        content = json.loads(certify([[0], [1], [2]], [0, 1, 2]).to_json())
        parts = {"part": content["rest"][0], "whole": content}
        for name, value in change.items():
            if value == "part":
                change = {name: parts["part"]}
            elif value == ["whole"]:
                change = {name: [parts["whole"]]}
        with pytest.raises(ValueError, match="text: expected a certificate"):
            certificate_from_json(json.dumps(content | change))

    @pytest.mark.parametrize(
        "gifts", [[[0.5, 1]], [[-1, 1]], [[0, -1]], [[0, 7]], [[0, 1], [0, 1]], [["0", 1]]]
    )
    def test_gifts_are_of_samples_to_classes(self, gifts):
        found = certify([[0], [1], [0], [2]], [0, 1, 1, 2]).multinomial
        content = json.loads(found.to_json()) | {"gifts": gifts}
        content["weights"]["length"] = len(gifts)
        with pytest.raises(ValueError, match="text: expected a certificate"):
            certificate_from_json(json.dumps(content))

    @pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, b"\xff", '{"format'])
    def test_other_text_is_refused(self, text):
        with pytest.raises(ValueError, match="text: expected a certificate"):
            certificate_from_json(text)

    def test_words_have_digits_where_floats_have_none(self):
        tiny = Separator((Fraction(1),), Fraction(0), Fraction(1, 3 * 10**400))
        assert str(tiny) == "a line is enough: margin 3.33e-401"
        unproven = dataclasses.replace(tiny, numerical_only=True)
        assert str(unproven).endswith("(numerical only: not proven)")

    def test_a_certificate_is_a_value(self):
        found = certify(XOR, [0, 1, 1, 0])
        assert found == certify(XOR, [0, 1, 1, 0])
        assert isinstance(found, Certificate)
        assert "inputs" not in repr(found)


class TestBudget:
    def test_without_an_answer_it_raises(self):
        with pytest.raises(TimeoutError, match="budget: expected more seconds"):
            certify(XOR, [0, 1, 1, 0], budget=1e-9)

    def test_weights_that_were_not_proven_say_so(self, monkeypatch):
        def over(*_):
            raise OutOfTimeError

        monkeypatch.setattr(alternative, "_repair", lambda *_: None)
        monkeypatch.setattr(alternative, "_simplex", over)
        found = certify(XOR, [0, 1, 1, 0])
        assert isinstance(found, CommonPoint)
        assert found.numerical_only
        assert not found.verify()
        assert not certificate_from_json(found.to_json()).verify(XOR, [0, 1, 1, 0])
        many = certify([[0], [1], [0], [2]], [0, 1, 1, 2])
        assert many.multinomial.numerical_only
        assert not many.verify()

    @pytest.mark.parametrize("direction", [[1, 1, 1], [-2, -2, 3]])
    def test_a_direction_that_was_not_proven_says_so(self, monkeypatch, direction):
        answer = Answer(np.array(direction, object), None, proven=False)
        monkeypatch.setattr(questions, "alternative", lambda *_: answer)
        found = certify(XOR, [0, 0, 0, 1])
        assert isinstance(found, Separator)
        assert found.numerical_only
        assert not found.verify()


class TestUntangle:
    PARAMS = (
        ls.Layer(jnp.array([[-2.0, 2.0], [2.0, -2.0]]), jnp.array([-1.0, -1.0])),
        ls.Layer(jnp.array([[6.0, 6.0]]), jnp.array([-5.0])),
    )

    def test_one_certificate_for_the_input_and_each_layer(self):
        found = untangle(self.PARAMS, XOR, [0, 1, 1, 0])
        assert [type(part) for part in found] == [CommonPoint, Separator, Separator]
        assert found.layer == 1
        assert all(part.verify() for part in found)
        first = np.asarray(1 / (1 + np.exp(-(XOR @ [[-2.0, 2.0], [2.0, -2.0]] - 1))))
        np.testing.assert_allclose(found[1].inputs, first, rtol=1e-6)
        assert found[1] == certify(found[1].inputs, [0, 1, 1, 0])
        assert str(found).splitlines()[2].startswith("after layer 2: a line is enough: margin")

    def test_a_stack_has_all_of_its_layers(self):
        weight = jnp.stack([self.PARAMS[0].weight, jnp.eye(2) * 4])
        stack = (ls.Layer(weight, jnp.zeros((2, 2))), self.PARAMS[1])
        flat = (*(ls.Layer(w, jnp.zeros(2)) for w in weight), self.PARAMS[1])
        assert untangle(stack, XOR, [0, 1, 1, 0]) == untangle(flat, XOR, [0, 1, 1, 0])

    def test_classes_and_names(self):
        inputs = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
        labels = ["a", "b", "b", "c"]
        found = untangle(self.PARAMS, inputs, labels)
        assert all(isinstance(part, ClassCertificates) for part in found)
        pair = untangle(self.PARAMS, inputs, labels, positive="c", negative="a")
        assert [part.positive for part in pair] == ["c"] * 3
        # Both corners of the diagonal have the same place after the layer.
        assert isinstance(pair[0], Separator)
        assert isinstance(pair[1], CommonPoint)
        assert pair.layer is None

    @pytest.mark.parametrize(
        ("enough", "layer"),
        [
            ([True, True, True], 0),
            ([False, True, True], 1),
            ([True, False, True], 2),
            ([True, True, False], None),
        ],
    )
    def test_the_layer_is_that_from_which_on_a_line_is_enough(self, enough, layer):
        line, none = certify([[0], [1]], [0, 1]), certify([[0], [0]], [0, 1])
        assert Untangling(line if one else none for one in enough).layer == layer

    def test_what_is_not_proven_is_not_enough(self):
        line = certify([[0], [1]], [0, 1])
        unproven = dataclasses.replace(line, numerical_only=True)
        assert Untangling([line, unproven, line]).layer == 2

    def test_of_many_classes_one_classifier_is_enough(self):
        """Though one class against the rest has no line."""
        row = certify([[0], [1], [2]], [0, 1, 2])
        assert Untangling([row]).layer == 0

    def test_a_second_network_of_the_same_shapes_is_not_compiled(self, compilations):
        other = jax.tree.map(jnp.negative, self.PARAMS)
        untangle(self.PARAMS, XOR, [0, 1, 1, 0])
        compilations.clear()
        untangle(other, XOR, [0, 1, 1, 0])
        assert not compilations
        # It does listen: another number of samples is another program.
        untangle(self.PARAMS, XOR[:3], [0, 1, 1])
        assert compilations

    def test_a_network_of_nan_is_the_one_to_blame(self):
        broken = self.PARAMS[0]._replace(bias=self.PARAMS[0].bias * np.nan)
        with pytest.raises(ValueError, match=r"^params: expected a network with finite outputs, "):
            untangle((broken,), XOR, [0, 1, 1, 0])
        with pytest.raises(ValueError, match=r"^inputs: expected finite values"):
            untangle(self.PARAMS, XOR * np.nan, [0, 1, 1, 0])

    def test_it_computes_in_the_network_s_precision(self):
        with jax.enable_x64(True):
            wide = tuple(ls.Layer(*(jnp.asarray(p, jnp.float64) for p in q)) for q in self.PARAMS)
            found = untangle(wide, XOR.astype(np.float64), [0, 1, 1, 0])
            assert found[1].inputs.dtype == np.float64
        assert untangle(self.PARAMS, XOR, [0, 1, 1, 0])[1].inputs.dtype == np.float32

    def test_saturated_units_lose_what_the_input_had(self):
        """In floats σ(40) = σ(50) = 1, and so the proof says of the layer."""
        params = (ls.Layer(jnp.array([[1.0]]), jnp.array([0.0])),)
        found = untangle(params, np.float32([[40], [50]]), [0, 1])
        assert [type(part) for part in found] == [Separator, CommonPoint]


class FrameOfRows:
    """As a frame of Polars is: an array of one dtype, with its rows as they are beside it."""

    def __init__(self, rows):
        self.rows = lambda: rows

    def __array__(self, dtype=None, copy=None):
        return np.array(self.rows(), float)


class ArrowScalar:
    """An element of an array of Arrow, which equals no number of Python's."""

    def __init__(self, value):
        self.as_py = lambda: value


class TestErrors:
    @pytest.mark.parametrize(
        ("inputs", "labels", "options", "error", "message"),
        [
            ([1, 2], [0, 1], {}, ValueError, r"inputs: expected \(samples, features\).*\(2,\)"),
            (np.zeros((0, 2)), [], {}, ValueError, r"inputs: expected .* got shape \(0, 2\)"),
            (np.zeros((2, 0)), [0, 1], {}, ValueError, r"inputs: .* got shape \(2, 0\)"),
            ([[1], [2, 3]], [0, 1], {}, ValueError, "inputs: expected an array of numbers"),
            ([[1.0], [math.inf]], [0, 1], {}, ValueError, "finite values, got 1 NaN or ±inf of 2"),
            ([[1j]], [0], {}, TypeError, "inputs: expected real numbers .* complex128"),
            ([["a"]], [0], {}, TypeError, "inputs: expected real numbers"),
            (np.array([[1]], "m8[s]"), [0], {}, TypeError, "inputs: expected real numbers"),
            (np.ones((1, 1), np.longdouble), [0], {}, TypeError, "at most 64 bits"),
            ([[1]], [0, 1], {}, ValueError, r"labels: expected shape \(1,\), one a sample"),
            ([[1]], [[0]], {}, ValueError, r"labels: expected shape \(1,\), one a sample"),
            ([[1]], [math.nan], {}, ValueError, "labels: expected finite values, got 1 NaN"),
            ([[1]], [None], {}, TypeError, "labels: expected numbers or strings, got dtype object"),
            (
                [[1]],
                np.ones(1, np.longdouble),
                {},
                TypeError,
                "labels: expected .* at most 64 bits",
            ),
            ([[1], [2]], [0, 1], {"positive": 2}, ValueError, r"positive: expected one of .*got 2"),
            ([[1], [2]], [0, 1], {"negative": 0}, ValueError, "negative: expected a label other"),
            (
                [[1], [2]],
                [0, 1],
                {"positive": 1, "negative": 1},
                ValueError,
                "negative: expected a label other than positive's, got 1",
            ),
            ([[1], [2]], [0, 1], {"budget": 0}, ValueError, "budget: expected seconds above 0"),
            ([[1], [2]], [0, 1], {"budget": math.nan}, ValueError, "budget: expected seconds"),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(self, inputs, labels, options, error, message):
        with pytest.raises(error, match=message):
            certify(inputs, labels, **options)

    @pytest.mark.parametrize(
        "inputs",
        [
            [[9007199254740993, 0.5], [9007199254740992, 0.5]],
            [(9007199254740993, 0.5), (9007199254740992, 0.5)],
            [np.array([2**53 + 1, 0]), np.array([0.5, 1.0])],
            [[2**63, -1], [2**63 + 1, -1]],
            [[np.uint64(2**63 + 1), np.int64(-1)], [1, 2]],
            pandas.DataFrame({"a": [2**53 + 1, 2**53], "b": [0.5, 0.5]}),
            FrameOfRows([(2**53 + 1, 0.5), (2**53, 0.5)]),
            [[2**53, 0.5], [2**54, 0.5]],
            [[9007199254740993, 1], [9007199254740992, 1]],
            [[2**63 + 2**11, 1], [2**63, 1]],
            [[1e300, 5], [2**60, 0.5]],
            [[True, 0.5], [False, 2.0**70]],
            [[2**1100, Fraction(1, 3)], [2**1100, Fraction(2**90, 3 * 2**90 - 1)]],
        ],
    )
    def test_what_numpy_would_round_is_kept(self, inputs):
        """Neighbors beyond 2 ** 53 beside a fraction, or of both signs beyond 2 ** 63."""
        found = certify(inputs, [0, 1])
        assert isinstance(found, Separator)
        assert found.verify()
        # The scores are those of the numbers as they were given.
        given = getattr(inputs, "rows", lambda: inputs)()
        if isinstance(inputs, pandas.DataFrame):
            given = list(inputs.itertuples(index=False))
        scores = [
            sum(w * Fraction(getattr(x, "item", lambda x=x: x)())
                for w, x in zip(found.weight, row, strict=True)) + found.bias
            for row in given
        ]  # fmt: skip
        assert min(-scores[0], scores[1]) == found.margin > 0

    def test_a_network_s_inputs_are_proven_as_given(self):
        inputs = [[9007199254740993, Fraction(1, 3)], [9007199254740992, Fraction(1, 3)]]
        untangled = untangle(TestUntangle.PARAMS, inputs, [0, 1])
        assert untangled[0] == certify(inputs, [0, 1])

    @pytest.mark.parametrize(
        "labels",
        [
            [1, "1"],
            [True, "True"],
            [0.5, "a"],
            [9007199254740993, 0.5],
            [2**63 + 1, -1],
            [np.int64(2**53 + 1), 0.5],
            ["a", "a\0"],
            pandas.Series([1, "1"]),
        ],
    )
    def test_labels_that_numpy_would_merge_are_refused(self, labels):
        with pytest.raises((TypeError, ValueError), match="labels: expected"):
            certify([[0], [1]], labels)

    def test_a_mask_is_refused(self):
        masked = np.ma.array([[1], [2]], mask=[[True], [False]])
        with pytest.raises(TypeError, match="inputs: expected an array of numbers, got a masked"):
            certify(masked, [0, 1])
        with pytest.raises(TypeError, match="inputs: expected an array of numbers, got a masked"):
            certify(list(masked), [0, 1])
        with pytest.raises(TypeError, match="labels: expected numbers or strings, got a masked"):
            certify([[1], [2]], np.ma.array([0, 1]))
        with pytest.raises(TypeError, match="labels: expected numbers or strings, got a masked"):
            certify([[1], [2]], [0, np.ma.masked])

    def test_a_trace_is_refused(self):
        with pytest.raises(TypeError, match="inputs: expected concrete numbers, got the tracer"):
            jax.jit(lambda x: certify(x, [0, 1]).margin)(np.zeros((2, 1)))
        with pytest.raises(TypeError, match="labels: expected concrete labels, got the tracer"):
            jax.jit(lambda y: certify([[0], [1]], y).margin)(np.zeros(2))

    def test_numbers_in_lists_of_objects_are_labels_as_well(self):
        labels = np.array(["a", "b"], object)
        assert certify([[0], [1]], labels).positive == "b"

    def test_labels_of_arrow_are_those_of_python(self):
        class Column(list):
            def __array__(self, dtype=None, copy=None):
                return np.array([0, 1])

        labels = Column([ArrowScalar(0), ArrowScalar(1)])
        assert certify([[0], [1]], labels).positive == 1

    def test_an_untangled_network_must_fit(self):
        with pytest.raises((ValueError, TypeError)):
            untangle(TestUntangle.PARAMS, np.zeros((4, 3)), [0, 1, 1, 0])
        with pytest.raises(ValueError, match="labels: expected shape"):
            untangle(TestUntangle.PARAMS, XOR, [0, 1])
