"""Capacity: no bound excludes a network that exists, and no spoilt proof verifies."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from sklearn.datasets import make_circles, make_moons

import logistack as ls
from logistack.separability import capacity

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def circles():
    inputs, labels = make_circles(100, noise=0.05, factor=0.5, random_state=0)
    return inputs.astype(np.float32), labels == 1


def labeled_by_a_network(seed, hidden, inputs):
    """Points that a random 2-h-1 network labels, and so is right on: half of them each way."""
    random = np.random.default_rng(seed)
    steepness = np.exp(random.uniform(-1, 3, (hidden, 1)))
    weight = random.normal(size=(hidden, 2)) * steepness
    bias = -(weight * inputs[random.integers(len(inputs), size=hidden)]).sum(axis=1)
    z = sigmoid(inputs @ weight.T + bias) @ random.normal(size=hidden)
    return inputs.astype(np.float32), z > np.median(z)


class TestTwoUnitsFail:
    def test_on_circles(self):
        cones = capacity.two_units_fail(*circles())
        assert len(cones) >= 8
        assert capacity.cones_hold(cones, *circles())

    @pytest.mark.parametrize("seed", range(25))
    def test_never_on_what_two_units_are_right_on(self, seed):
        inputs = np.random.default_rng(seed).normal(size=(150, 2))
        assert capacity.two_units_fail(*labeled_by_a_network(seed, 2, inputs)) is None

    def test_nor_on_the_moons(self):
        inputs, labels = make_moons(100, noise=0.1, random_state=0)
        assert capacity.two_units_fail(inputs, labels == 1) is None

    def test_a_spoilt_proof_does_not_hold(self):
        inputs, positive = circles()
        cones = capacity.two_units_fail(inputs, positive)
        first, *rest = cones
        backward = first._replace(samples=first.samples[::-1])
        fewer = first._replace(samples=first.samples[:4])
        twice = first._replace(samples=(*first.samples[:1], *first.samples[:4]))
        behind = first._replace(place=first.place - 10)
        ahead = first._replace(place=first.place + 10)
        turned = first._replace(normal=(-first.normal[0], -first.normal[1]), place=-first.place)
        absent = first._replace(samples=(*first.samples[:4], 100))
        for spoilt in (backward, fewer, twice, behind, ahead, turned, absent):
            assert not capacity.cones_hold([spoilt, *rest], inputs, positive)
        assert not capacity.cones_hold(cones[1:], inputs, positive)
        assert not capacity.cones_hold([], inputs, positive)
        assert not capacity.cones_hold(cones, inputs, ~positive)
        nearer = inputs.copy()
        nearer[list(first.samples)] = nearer[first.samples[0]]
        assert not capacity.cones_hold(cones, nearer, positive)

    def test_cones_that_turn_to_and_fro_are_not_all_directions(self):
        inputs, positive = circles()
        first, *_ = capacity.two_units_fail(inputs, positive)
        back = first._replace(start=first.end, end=first.start)
        assert not capacity.cones_hold([first, back], inputs, positive)


class TestLongestLine:
    def test_finds_it_among_others(self):
        inputs = np.array([[0, 0], [2, 4], [1, 2], [5, 5], [3, 6], [4, 8], [1, 1]], np.float32)
        positive = np.array([1, 1, 0, 0, 1, 1, 0]) == 1
        line = capacity.longest_line(inputs, positive)
        # Along (0, 0) … (4, 8) the classes are 1, 0, 1, 1, 1.
        assert positive[list(line)].tolist() in ([True, False, True], [False, True, False])

    @pytest.mark.parametrize("columns", [2, 3])
    def test_nearly_on_a_line_is_not_on_it(self, columns):
        inputs = np.repeat(np.arange(4, dtype=np.float32)[:, None], columns, axis=1)
        positive = np.array([0, 1, 0, 1]) == 1
        assert capacity.line_holds((0, 1, 2, 3), inputs, positive)
        inputs[1, 0] = np.nextafter(np.float32(1), np.float32(2))
        assert not capacity.line_holds((0, 1, 2, 3), inputs, positive)
        assert len(capacity.longest_line(inputs, positive)) < 4

    def test_integers_are_not_rounded(self):
        inputs = np.array([[0, 0], [2**53, 2**53], [2**54, 2**54]])
        positive = np.array([False, True, False])
        assert capacity.line_holds((0, 1, 2), inputs, positive)
        inputs[1, 0] += 1  # which no float64 tells from 2⁵³
        assert not capacity.line_holds((0, 1, 2), inputs, positive)

    @pytest.mark.parametrize("order", [(0, 2, 1), (0, 0, 1), (0,), (), (0, 1, 3), (0, 1, -1)])
    def test_samples_that_are_out_of_order_of_one_class_or_absent_prove_nothing(self, order):
        inputs = np.array([[0, 0], [1, 1], [2, 2]], np.float32)
        assert not capacity.line_holds(order, inputs, np.array([False, True, False]))


class TestHiddenBound:
    def line(self, count):
        places = np.arange(count) - count / 2
        inputs = np.stack([3 * places, 2 - places], axis=1).astype(np.float32)
        return inputs, np.arange(count) % 2

    @pytest.mark.parametrize(
        ("count", "hidden"), [(2, 0), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4), (17, 5)]
    )
    def test_of_samples_alternating_on_a_line(self, count, hidden):
        inputs, labels = self.line(count)
        for given in (inputs, inputs[:, :1]):
            bound = ls.hidden_bound(given, labels)
            assert bound.hidden == hidden
            assert bound.verify(given, labels)

    @pytest.mark.parametrize(("hidden", "seed"), list(itertools.product((1, 2, 3), range(8))))
    def test_never_excludes_a_network_that_exists(self, hidden, seed):
        places = np.linspace(-3, 3, 60)
        on_lines = [np.stack([places, slope * places], axis=1) for slope in (0, 1, -2)]
        points = labeled_by_a_network(seed, hidden, np.concatenate(on_lines).round(4))
        assert ls.hidden_bound(*points).hidden <= hidden

    def test_of_the_article_is_exact(self):
        bound = ls.hidden_bound(*XOR)
        assert bound.hidden == 2
        assert isinstance(bound.one_unit, ls.CommonPoint)
        assert bound.why == "one hidden unit is a line"

    @pytest.mark.parametrize("swap", [False, True])
    def test_of_circles_is_three_whichever_class_is_called_the_greater(self, swap):
        inputs, positive = circles()
        labels = np.where(positive ^ swap, "in", "out")
        bound = ls.hidden_bound(inputs, labels)
        assert (bound.hidden, bound.why) == (3, "two fail in every direction")
        assert bound.verify(inputs, labels)

    def test_of_more_than_two_features_is_what_a_line_says(self):
        cube = np.array(list(itertools.product((0, 1), repeat=3)))
        parity = cube.sum(axis=1) % 2
        assert ls.hidden_bound(cube, parity).hidden == 2
        assert ls.hidden_bound(cube, cube[:, 0]).hidden == 0

    def test_a_bound_that_claims_more_does_not_verify(self):
        bound = ls.hidden_bound(*XOR)
        assert bound.verify(*XOR)
        assert not bound._replace(hidden=3).verify(*XOR)
        assert not bound._replace(line=(0, 1, 3)).verify(*XOR)
        cones = ls.hidden_bound(*circles()).cones
        assert not bound._replace(hidden=3, cones=cones).verify(*XOR)
        assert not bound.verify(XOR[0], [0, 0, 1, 1])
        line = ls.hidden_bound([[0], [1]], [0, 1])
        assert line.verify([[0], [1]], [0, 1])
        assert not line._replace(hidden=1).verify([[0], [1]], [0, 1])
        moved = cones[0]._replace(place=Fraction(1, 3))
        inputs, positive = circles()
        whole = ls.hidden_bound(inputs, positive)
        assert not whole._replace(cones=(moved, *cones[1:])).verify(inputs, positive)

    @pytest.mark.parametrize("labels", [[0, 1, 2, 0], [1, 1, 1, 1], [[0], [1], [1], [0]]])
    def test_refuses_what_is_not_two_classes(self, labels):
        with pytest.raises(ValueError, match=r"^labels: expected \(samples,\) of two classes"):
            ls.hidden_bound(XOR[0], labels)
