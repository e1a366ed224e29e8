"""Limits: no bound excludes a network that exists, and what is found is right on every sample."""

import dataclasses
import itertools
import json
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import logistack as ls
from experiments import limits

TINY = limits.Config(
    data=("XOR",),
    seeds=8,
    epochs=600,
    learning_rate=0.2,
    snapshots=6,
    components=(2, 64),
    hidden=(6,),
    digit_epochs=20,
    pair=(0, 2),
)
XOR = limits.xor()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def outputs_of(params, inputs):
    """The network's outputs in NumPy and float64."""
    a = np.asarray(inputs, float)
    for weight, bias in params:
        a = sigmoid(a @ np.asarray(weight, float).T + np.asarray(bias, float))
    return a[:, 0]


def separable(inputs, positive):
    """Whether a line separates, by a linear program: ± (w · x + b) ≥ 1."""
    rows = np.where(positive, 1, -1)[:, None] * np.column_stack([inputs, np.ones(len(inputs))])
    zeros = np.zeros(rows.shape[1])
    return optimize.linprog(
        zeros, A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(None, None)
    ).success


def labeled_by_a_network(seed, hidden, inputs):
    """Points that a random 2-h-1 network labels, and so is right on: half of them each way."""
    random = np.random.default_rng(seed)
    steepness = np.exp(random.uniform(-1, 3, (hidden, 1)))
    weight = random.normal(size=(hidden, 2)) * steepness
    bias = -(weight * inputs[random.integers(len(inputs), size=hidden)]).sum(axis=1)
    z = sigmoid(inputs @ weight.T + bias) @ random.normal(size=hidden)
    return limits.Points(inputs.astype(np.float32), (z > np.median(z)).astype(int))


class TestData:
    def test_spirals_are_three_turns_inward_and_each_is_the_other_turned_by_half_a_turn(self):
        inputs, labels = limits.spirals()
        one, other = inputs[labels == 1], inputs[labels == 0]
        assert one.shape == other.shape == (97, 2)
        np.testing.assert_array_equal(one, -other)
        along = 6.5 * np.linspace(1, 8 / 104, 97) * 1j * np.exp(-2j * np.pi * np.linspace(0, 3, 97))
        np.testing.assert_allclose(one @ [1, 1j], along, atol=1e-5)

    @pytest.mark.parametrize("name", limits.DATA)
    def test_labels_are_0_and_1_evenly(self, name):
        inputs, labels = limits.DATA[name]()
        assert inputs.dtype == np.float32
        assert np.bincount(labels).tolist() == [len(inputs) / 2] * 2


class TestTwoUnitsFail:
    def test_on_circles(self):
        circles = limits.circles()
        cones = limits.two_units_fail(circles)
        assert len(cones) >= 8
        assert limits.verify_cones(cones, circles)

    @pytest.mark.parametrize("seed", range(25))
    def test_never_on_what_two_units_are_right_on(self, seed):
        inputs = np.random.default_rng(seed).normal(size=(150, 2))
        assert limits.two_units_fail(labeled_by_a_network(seed, 2, inputs)) is None

    def test_nor_on_the_moons(self):
        assert limits.two_units_fail(limits.moons()) is None

    def test_a_spoilt_proof_does_not_verify(self):
        circles = limits.circles()
        cones = limits.two_units_fail(circles)
        first, *rest = cones
        backward = first._replace(samples=first.samples[::-1])
        fewer = first._replace(samples=first.samples[:4])
        twice = first._replace(samples=(*first.samples[:1], *first.samples[:4]))
        behind = first._replace(place=first.place - 10)
        ahead = first._replace(place=first.place + 10)
        turned = first._replace(normal=(-first.normal[0], -first.normal[1]), place=-first.place)
        for spoilt in (backward, fewer, twice, behind, ahead, turned):
            assert not limits.verify_cones([spoilt, *rest], circles)
        assert not limits.verify_cones(cones[1:], circles)
        assert not limits.verify_cones([], circles)
        assert not limits.verify_cones(cones, circles._replace(labels=1 - circles.labels))
        nearer = circles._replace(inputs=circles.inputs.copy())
        nearer.inputs[list(first.samples)] = nearer.inputs[first.samples[0]]
        assert not limits.verify_cones(cones, nearer)

    def test_cones_that_turn_to_and_fro_are_not_all_directions(self):
        circles = limits.circles()
        first, *_ = limits.two_units_fail(circles)
        back = first._replace(start=first.end, end=first.start)
        assert not limits.verify_cones([first, back], circles)


class TestLongestLine:
    def test_finds_it_among_others(self):
        inputs = np.array([[0, 0], [2, 4], [1, 2], [5, 5], [3, 6], [4, 8], [1, 1]], np.float32)
        labels = np.array([1, 1, 0, 0, 1, 1, 0])
        line = limits.longest_line(limits.Points(inputs, labels))
        # Along (0, 0) … (4, 8) the classes are 1, 0, 1, 1, 1.
        assert labels[list(line)].tolist() in ([1, 0, 1], [0, 1, 0])
        assert len(line) == 3

    def test_spirals_alternate_14_times(self):
        spirals = limits.spirals()
        line = limits.longest_line(spirals)
        assert len(line) == 14
        assert limits.verify_line(line, spirals)
        places = spirals.inputs[list(line)].astype(float)
        (axis,) = np.flatnonzero(np.ptp(places, axis=0) == 0)
        assert (np.diff(places[:, 1 - axis]) > 0).all() or (np.diff(places[:, 1 - axis]) < 0).all()

    def test_nearly_on_a_line_is_not_on_it(self):
        inputs = np.array([[0, 0], [1, 1], [2, 2], [3, 3]], np.float32)
        points = limits.Points(inputs, np.array([0, 1, 0, 1]))
        assert limits.verify_line((0, 1, 2, 3), points)
        inputs[1, 0] = np.nextafter(np.float32(1), np.float32(2))
        assert not limits.verify_line((0, 1, 2, 3), points)
        assert len(limits.longest_line(points)) < 4

    @pytest.mark.parametrize("order", [(0, 2, 1), (0, 0, 1)])
    def test_samples_out_of_order_or_of_one_class_are_no_proof(self, order):
        inputs = np.array([[0, 0], [1, 1], [2, 2]], np.float32)
        points = limits.Points(inputs, np.array([0, 1, 0]))
        assert not limits.verify_line(order, points)


class TestBound:
    def line(self, count):
        places = np.arange(count) - count / 2
        inputs = np.stack([3 * places, 2 - places], axis=1).astype(np.float32)
        return limits.Points(inputs, np.arange(count) % 2)

    @pytest.mark.parametrize(
        ("count", "hidden"), [(2, 0), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4), (17, 5)]
    )
    def test_of_samples_alternating_on_a_line(self, count, hidden):
        assert limits.bound(self.line(count)).hidden == hidden

    @pytest.mark.parametrize(("hidden", "seed"), list(itertools.product((1, 2, 3), range(8))))
    def test_never_excludes_a_network_that_exists(self, hidden, seed):
        places = np.linspace(-3, 3, 60)
        on_lines = [np.stack([places, slope * places], axis=1) for slope in (0, 1, -2)]
        points = labeled_by_a_network(seed, hidden, np.concatenate(on_lines).round(4))
        assert limits.bound(points).hidden <= hidden

    def test_of_the_article_is_exact(self):
        below = limits.bound(XOR)
        assert below.hidden == 2
        assert isinstance(below.one_unit, ls.CommonPoint)

    @pytest.mark.parametrize(("name", "hidden"), [("circles", 3), ("spirals", 4)])
    def test_says_why(self, name, hidden):
        points = limits.DATA[name]()
        below = limits.bound(points)
        assert below.hidden == hidden
        assert limits.verify_cones(below.cones, points)


class TestTraining:
    def test_units_start_through_samples_and_as_steep_as_asked(self):
        inputs = jnp.asarray(limits.moons().inputs)
        first, _ = limits.begin(jax.random.key(3), inputs, 50, (0.5, 20.0))
        z = np.asarray(inputs @ first.weight.T) + np.asarray(first.bias)
        np.testing.assert_allclose(np.abs(z).min(axis=0), 0, atol=1e-5)
        steepness = np.linalg.norm(first.weight, axis=1) * np.std(inputs)
        assert 0.5 <= steepness.min() < 1
        assert 10 < steepness.max() <= 20.001

    def test_snapshots_begin_at_the_start_and_the_loss_falls(self):
        keys = jax.random.split(jax.random.key(0), 3)
        runs = limits.train(TINY, XOR, 2, keys)
        assert runs.loss.shape == (3, 7)
        assert (runs.loss[:, -1] < runs.loss[:, 0]).all()
        for seed, snapshot in ((0, 0), (2, 6)):
            params = limits.member(limits.member(runs.params, seed), snapshot)
            y = outputs_of(params, XOR.inputs)
            loss = -np.sum(np.where(XOR.labels == 1, np.log(y), np.log(1 - y)))
            np.testing.assert_allclose(runs.loss[seed, snapshot], loss, rtol=1e-4)
        start = limits.begin(jax.random.split(keys[1])[0], XOR.inputs, 2, TINY.steepness)
        for one, other in zip(jax.tree.leaves(start), jax.tree.leaves(runs.params), strict=True):
            np.testing.assert_allclose(one, other[1, 0], rtol=1e-6)

    def runs(self, *last_units):
        """The article's hidden units with last units of some weight and bias."""
        hidden = ls.Layer(jnp.array([[-2.0, 2.0], [2.0, -2.0]]), jnp.array([-1.0, -1.0]))
        networks = [
            (hidden, ls.Layer(jnp.full((1, 2), weight), jnp.full(1, bias)))
            for weight, bias in last_units
        ]
        params = jax.tree.map(lambda *each: jnp.stack(each)[:, None], *networks)
        right = [limits.rightly(each, *XOR) for each in networks]
        return limits.Runs(params, jnp.arange(float(len(networks)))[:, None], jnp.array(right))

    def test_a_network_is_enough_if_another_last_unit_would_be(self):
        # 2a₁ + 2a₂ is 1.07 at (0, 0) and (1, 1), and 1.56 at the others.
        runs = self.runs((2.0, -1.3), (2.0, 5.0), (-2.0, 1.0))
        assert runs.right.tolist() == [4, 2, 2]
        enough, network = limits.judge(TINY, XOR, runs)
        assert enough == 3
        assert network.separator.verify()
        z = outputs_of(network.params, XOR.inputs)
        np.testing.assert_allclose(sorted(z), sigmoid(4.0 * np.array([-1, -1, 1, 1])), rtol=1e-4)

    def test_only_so_many_that_are_not_right_are_asked(self):
        runs = self.runs((2.0, -1.3), (2.0, 5.0), (-2.0, 1.0))
        enough, _ = limits.judge(dataclasses.replace(TINY, asked=1), XOR, runs)
        assert enough == 2

    def test_a_hidden_space_that_no_line_cuts_is_not_enough(self):
        runs = self.runs((2.0, -1.3))
        hidden, last = runs.params
        runs = runs._replace(params=(hidden._replace(weight=0 * hidden.weight), last))
        assert limits.judge(TINY, XOR, runs._replace(right=jnp.array([2]))) == (0, None)


class TestSearch:
    def search(self, monkeypatch, enough, lowest=2, **changes):
        """Searches where `enough` says of (hidden, seeds) how many seeds are."""
        config = limits.Config(seeds=10, border=3, widest=40, **changes)
        monkeypatch.setattr(limits, "train", lambda _, points, hidden, keys: (hidden, len(keys)))

        def judge(_, points, runs):
            return enough(*runs), runs if enough(*runs) else None

        monkeypatch.setattr(limits, "judge", judge)
        return limits.search(config, XOR, lowest)

    def test_finds_the_fewest_and_tries_one_fewer_harder(self, monkeypatch):
        tries, network = self.search(monkeypatch, lambda hidden, _: int(hidden >= 11))
        assert network == (11, 10)
        assert tries == sorted(tries)
        assert {each.hidden: each.seeds for each in tries} == {
            2: 10, 4: 10, 8: 10, 10: 40, 11: 10, 12: 10, 16: 10,
        }  # fmt: skip

    def test_goes_on_down_where_more_seeds_find_fewer(self, monkeypatch):
        _, network = self.search(
            monkeypatch, lambda hidden, seeds: int(hidden >= (9 if seeds > 10 else 11))
        )
        assert network == (9, 30)

    def test_asks_no_fewer_than_what_is_proven(self, monkeypatch):
        tries, network = self.search(monkeypatch, lambda *_: 4, lowest=3)
        assert network == (3, 10)
        assert tries == [limits.Try(3, 10, 4)]

    def test_gives_up_at_the_widest(self, monkeypatch):
        tries, network = self.search(monkeypatch, lambda *_: 0)
        assert network is None
        assert [each.hidden for each in tries] == [2, 4, 8, 16, 32, 40]


@pytest.fixture(scope="module")
def three_digits():
    """The first zeros, ones and twos."""
    digits = ls.data.load("digits")
    rows = np.flatnonzero(digits.labels < 3)[:90]
    parts = {name: getattr(digits, name)[rows] for name in ("inputs", "targets", "labels")}
    return dataclasses.replace(digits, **parts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
def result(folder, three_digits):
    config = dataclasses.replace(TINY, results=folder / "new" / "r.json", mnist=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ls.data, "load", lambda *_, **__: three_digits)
        return limits.run(config, command="a command")


class TestDigits:
    def test_components_are_projections_of_falling_variance(self, three_digits):
        inputs = three_digits.inputs
        z = limits.principal(inputs, 3).astype(float)
        values = np.linalg.eigvalsh(np.cov(inputs.T, bias=True))[::-1]
        np.testing.assert_allclose(
            np.cov(z.T, bias=True), np.diag(values[:3] / values[0]), atol=1e-5
        )
        np.testing.assert_array_equal(limits.principal(inputs, 64), inputs)

    def test_what_a_line_can_do_at_the_input_is_what_a_linear_program_finds(
        self, result, three_digits
    ):
        labels = three_digits.labels
        for components in TINY.components:
            inputs = limits.principal(three_digits.inputs, components)
            row, *_ = [each for each in result.digits if each.components == components]
            pairs = [np.isin(labels, pair) for pair in ((0, 1), (0, 2), (1, 2))]
            assert row.pairs == sum(
                separable(inputs[part], labels[part] == labels[part].max()) for part in pairs
            )
            assert row.rest == sum(separable(inputs, labels == digit) for digit in range(3))
            assert (row.layer, row.width, row.unproven) == (0, components, 0)

    def test_there_is_a_row_for_every_layer(self, result):
        assert [(row.layer, row.width) for row in result.digits] == [
            *((0, 2), (1, 6), (2, 10)),
            *((0, 64), (1, 6), (2, 10)),
        ]

    def test_each_digit_against_the_rest(self, result, three_digits):
        rows = [limits.Against(**row) for row in result.mnist["rows"]]
        assert [row.digit for row in rows] == [0, 1, 2]
        for row in rows:
            assert row.verified
            assert row.separable == separable(three_digits.inputs, three_digits.labels == row.digit)
            # A line is held by samples of both sides, no more than there are dimensions and one.
            assert min(row.support) >= 1
            assert row.size > 100

    def test_a_common_point_is_borne_by_the_samples_with_a_weight(self, monkeypatch, three_digits):
        plane = dataclasses.replace(three_digits, inputs=three_digits.inputs[:, 19:21])
        monkeypatch.setattr(ls.data, "load", lambda *_, **__: plane)
        for row in limits.against_the_rest(TINY):
            assert not row.separable
            assert 2 <= sum(row.support) <= 4  # as many as dimensions and two, at most


class TestResult:
    def test_xor_takes_two_hidden_units_and_that_is_proven(self, result):
        (xor,) = result.capacities
        assert limits.verdict(xor) == "2 hidden units are enough and fewer are not, both proven"
        params = xor.network.params
        np.testing.assert_array_equal(outputs_of(params, XOR.inputs) > 0.5, XOR.labels == 1)
        hidden = jax.vmap(ls.sigmoid_layer, in_axes=(None, 0))(params[0], XOR.inputs)
        assert xor.network.separator.verify(np.asarray(hidden), XOR.labels)

    def test_what_is_only_observed_is_said_to_be(self, result):
        (xor,) = result.capacities
        tries = (limits.Try(2, 9, 0), limits.Try(3, 50, 0), limits.Try(4, 10, 5))
        assert limits.verdict(xor._replace(tries=tries)) == (
            "4 are enough and 1 are not, both proven; that 3 are not is only observed"
        )
        assert "none tried" in limits.verdict(xor._replace(tries=tries[:2]))
        text = limits.report(result._replace(capacities=(xor._replace(tries=tries),)))
        assert "5 of 10" in text
        assert "0 of 50" in text

    def test_the_numbers_are_kept(self, result, folder):
        kept = json.loads((folder / "new" / "r.json").read_text(encoding="utf-8"))
        (xor,) = kept["plane"]
        assert (xor["name"], xor["at_least"], xor["samples"]) == ("XOR", 2, 4)
        params = [(np.array(weight), np.array(bias)) for weight, bias in xor["network"]]
        np.testing.assert_array_equal(outputs_of(params, XOR.inputs) > 0.5, XOR.labels == 1)
        assert [tuple(row.values()) for row in kept["digits"]] == [tuple(r) for r in result.digits]
        assert kept["mnist"] == result.mnist
        assert kept["origin"]["command"] == "a command"

    def test_what_is_kept_on_mnist_stays(self, result, monkeypatch, tmp_path):
        path = tmp_path / "r.json"
        limits.keep(path, result)
        monkeypatch.setattr(limits, "two_digits", lambda _: result.pair)
        again = dataclasses.replace(TINY, results=path, data=(), components=())
        assert limits.run(again).mnist == result.mnist
        assert json.loads(path.read_text(encoding="utf-8"))["mnist"] == result.mnist

    def test_kept_cones_are_a_proof(self):
        circles = limits.circles()
        below = limits.bound(circles)
        row = limits.capacity_as_json(limits.Capacity("circles", 100, below, (), None))
        kept = json.loads(json.dumps(row))["cones"]
        cones = [
            limits.Cone(**{**{k: tuple(v) for k, v in cone.items() if k != "place"},
                           "place": Fraction(cone["place"])})
            for cone in kept
        ]  # fmt: skip
        assert limits.verify_cones(cones, circles)

    def test_figures_and_films(self, result, tmp_path):
        figures = limits.plot(result)
        assert {"xor-certificate", "xor-regions", "xor-hidden", "xor-grid"} < figures.keys()
        assert sum(name.startswith("digits-") for name in figures) == 5
        written = limits.films(result, tmp_path)
        assert [path.name for path in written] == ["xor.html", "digits.html"]
        assert "epoch 600, loss " in written[0].read_text(encoding="utf-8")

    def test_the_command_prints_and_writes_all(self, result, monkeypatch, tmp_path, capsys):
        asked = []
        monkeypatch.setattr(limits, "run", lambda config, **_: asked.append(config) or result)
        monkeypatch.setattr(limits, "plot", lambda _: {})
        assert limits.main(["--out", str(tmp_path), "--seeds", "7", "--data", "XOR"]) == 0
        assert asked == [limits.Config(out=tmp_path, seeds=7, data=("XOR",))]
        printed = capsys.readouterr().out
        assert limits.report(result) in printed
        assert str(tmp_path / "xor.html") in printed
        (xor,) = result.capacities
        missing = result._replace(capacities=(xor._replace(network=None),))
        monkeypatch.setattr(limits, "run", lambda *_, **__: missing)
        assert limits.main(["--out", str(tmp_path)]) == 1

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"data": ("XOR", "rings")}, "data: expected some of XOR.*rings"),
            ({"epochs": 601}, "epochs: expected a multiple of the 6 snapshots, got 601"),
            ({"seeds": 0}, "seeds: expected at least 1, got 0"),
        ],
    )
    def test_refuses_what_it_cannot_do(self, change, words):
        with pytest.raises(ValueError, match=words):
            limits.run(dataclasses.replace(TINY, **change))

    def test_refuses_results_that_are_none(self, tmp_path):
        path = tmp_path / "r.json"
        path.write_text("{}", encoding="utf-8")
        with pytest.raises(ValueError, match="results: expected what this experiment keeps"):
            limits.run(dataclasses.replace(TINY, results=path))
