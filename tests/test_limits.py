"""Limits: what is found to be enough is right on every sample, and what is kept is said to be."""

import dataclasses
import json
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import logistack as ls
from experiments import keeping, limits, limits_digits, limits_plane, limits_tables
from logistack.separability.capacity import Cone

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
XOR = limits_plane.xor()


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


class TestData:
    def test_spirals_are_three_turns_inward_and_each_is_the_other_turned_by_half_a_turn(self):
        inputs, labels = limits_plane.spirals()
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


class TestTraining:
    def test_units_start_through_samples_and_as_steep_as_asked(self):
        inputs = jnp.asarray(limits_plane.moons().inputs)
        first, _ = limits_plane.begin(jax.random.key(3), inputs, 50, (0.5, 20.0))
        z = np.asarray(inputs @ first.weight.T) + np.asarray(first.bias)
        np.testing.assert_allclose(np.abs(z).min(axis=0), 0, atol=1e-5)
        steepness = np.linalg.norm(first.weight, axis=1) * np.std(inputs)
        assert 0.5 <= steepness.min() < 1
        assert 10 < steepness.max() <= 20.001

    def test_snapshots_begin_at_the_start_and_the_loss_falls(self):
        keys = jax.random.split(jax.random.key(0), 3)
        runs = limits_plane.train(TINY, XOR, 2, keys)
        assert runs.loss.shape == (3, 7)
        assert (runs.loss[:, -1] < runs.loss[:, 0]).all()
        for seed, snapshot in ((0, 0), (2, 6)):
            params = keeping.member(keeping.member(runs.params, seed), snapshot)
            y = outputs_of(params, XOR.inputs)
            loss = -np.sum(np.where(XOR.labels == 1, np.log(y), np.log(1 - y)))
            np.testing.assert_allclose(runs.loss[seed, snapshot], loss, rtol=1e-4)
        start = limits_plane.begin(jax.random.split(keys[1])[0], XOR.inputs, 2, TINY.steepness)
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
        right = [limits_plane.rightly(each, *XOR) for each in networks]
        return limits_plane.Runs(
            params, jnp.arange(float(len(networks)))[:, None], jnp.array(right)
        )

    def test_a_network_is_enough_if_another_last_unit_would_be(self):
        # 2a₁ + 2a₂ is 1.07 at (0, 0) and (1, 1), and 1.56 at the others.
        runs = self.runs((2.0, -1.3), (2.0, 5.0), (-2.0, 1.0))
        assert runs.right.tolist() == [4, 2, 2]
        enough, network = limits_plane.judge(TINY, XOR, runs)
        assert enough == 3
        assert network.separator.verify()
        z = outputs_of(network.params, XOR.inputs)
        np.testing.assert_allclose(sorted(z), sigmoid(4.0 * np.array([-1, -1, 1, 1])), rtol=1e-4)

    def test_only_so_many_that_are_not_right_are_asked(self):
        runs = self.runs((2.0, -1.3), (2.0, 5.0), (-2.0, 1.0))
        enough, _ = limits_plane.judge(dataclasses.replace(TINY, asked=1), XOR, runs)
        assert enough == 2

    def test_a_hidden_space_that_no_line_cuts_is_not_enough(self):
        runs = self.runs((2.0, -1.3))
        hidden, last = runs.params
        runs = runs._replace(params=(hidden._replace(weight=0 * hidden.weight), last))
        assert limits_plane.judge(TINY, XOR, runs._replace(right=jnp.array([2]))) == (0, None)


class TestSearch:
    def search(self, monkeypatch, enough, lowest=2, **changes):
        """Searches where `enough` says of (hidden, seeds) how many seeds are."""
        config = limits.Config(seeds=10, border=3, widest=40, **changes)
        monkeypatch.setattr(
            limits_plane, "train", lambda _, points, hidden, keys: (hidden, len(keys))
        )

        def judge(_, points, runs):
            return enough(*runs), runs if enough(*runs) else None

        monkeypatch.setattr(limits_plane, "judge", judge)
        return limits_plane.search(config, XOR, lowest)

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
        assert tries == [limits_plane.Try(3, 10, 4)]

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
        z = limits_digits.principal(inputs, 3).astype(float)
        values = np.linalg.eigvalsh(np.cov(inputs.T, bias=True))[::-1]
        np.testing.assert_allclose(
            np.cov(z.T, bias=True), np.diag(values[:3] / values[0]), atol=1e-5
        )
        np.testing.assert_array_equal(limits_digits.principal(inputs, 64), inputs)

    def test_what_a_line_can_do_at_the_input_is_what_a_linear_program_finds(
        self, result, three_digits
    ):
        labels = three_digits.labels
        for components in TINY.components:
            inputs = limits_digits.principal(three_digits.inputs, components)
            rows = [limits_digits.Untangled(**row) for row in result.kept["digits"]]
            row, *_ = [each for each in rows if each.components == components]
            pairs = [np.isin(labels, pair) for pair in ((0, 1), (0, 2), (1, 2))]
            assert row.pairs == sum(
                separable(inputs[part], labels[part] == labels[part].max()) for part in pairs
            )
            assert row.rest == sum(separable(inputs, labels == digit) for digit in range(3))
            assert (row.layer, row.width, row.unproven) == (0, components, 0)

    def test_there_is_a_row_for_every_layer(self, result):
        assert [(row["layer"], row["width"]) for row in result.kept["digits"]] == [
            *((0, 2), (1, 6), (2, 10)),
            *((0, 64), (1, 6), (2, 10)),
        ]

    def test_each_digit_against_the_rest(self, result, three_digits):
        rows = [limits_digits.Against(**row) for row in result.kept["mnist"]["rows"]]
        assert [row.digit for row in rows] == [0, 1, 2]
        for row in rows:
            assert row.verified
            assert row.separable == separable(three_digits.inputs, three_digits.labels == row.digit)
            # A line is held by samples of both sides, no more than there are dimensions and one.
            assert min(row.support) >= 1
            assert row.size > 100

    def test_a_common_point_is_borne_by_the_samples_with_a_weight(self, three_digits):
        plane = dataclasses.replace(three_digits, inputs=three_digits.inputs[:, 19:21])
        for row in limits_digits.against_the_rest(plane, lambda _, find: find()):
            assert not row.separable
            assert 2 <= sum(row.support) <= 4  # as many as dimensions and two, at most


class TestResult:
    def test_xor_takes_two_hidden_units_and_that_is_proven(self, result):
        (xor,), (row,) = result.capacities, result.kept["plane"]
        assert limits_tables.verdict(row) == (
            "2 hidden units are enough and fewer are not, both proven"
        )
        params = xor.network.params
        np.testing.assert_array_equal(outputs_of(params, XOR.inputs) > 0.5, XOR.labels == 1)
        hidden = jax.vmap(ls.sigmoid_layer, in_axes=(None, 0))(params[0], XOR.inputs)
        assert xor.network.separator.verify(np.asarray(hidden), XOR.labels)
        assert xor.bound.verify(*XOR)

    def test_what_is_only_observed_is_said_to_be(self, result):
        (xor,) = result.kept["plane"]
        tries = [limits_plane.Try(*each)._asdict() for each in ((2, 9, 0), (3, 50, 0), (4, 10, 5))]
        row = {**xor, "tries": tries}
        assert limits_tables.verdict(row) == (
            "4 are enough and 1 are not, both proven; that 3 are not is only observed"
        )
        assert "none tried" in limits_tables.verdict({**xor, "tries": tries[:2]})
        text = limits.report({**result.kept, "plane": [row]})
        assert "5 of 10" in text
        assert "0 of 50" in text

    def test_the_numbers_are_kept(self, result, folder):
        kept = limits.recall(folder / "new" / "r.json")
        assert kept == result.kept
        (xor,) = kept["plane"]
        assert (xor["name"], xor["at_least"], xor["samples"]) == ("XOR", 2, 4)
        params = [(np.array(weight), np.array(bias)) for weight, bias in xor["network"]]
        np.testing.assert_array_equal(outputs_of(params, XOR.inputs) > 0.5, XOR.labels == 1)
        assert kept["origin"]["command"] == "a command"
        assert [path.name for path in folder.iterdir()] == ["new"]

    def test_what_is_kept_on_mnist_stays_and_is_said_to_be_kept(
        self, result, monkeypatch, tmp_path
    ):
        path = tmp_path / "r.json"
        keeping.write_json(path, result.kept)
        monkeypatch.setattr(limits_digits, "two_digits", lambda *_: result.pair)
        again = limits.run(dataclasses.replace(TINY, results=path, data=(), components=()))
        assert again.kept["mnist"] == result.kept["mnist"]
        assert limits.recall(path) == again.kept
        said = limits.report(again.kept, now=["plane"])
        assert said.count("Kept from an earlier run, not measured now: a command") == 1
        assert said.index("Kept") > said.index("digits")
        assert "Kept" not in limits.report(again.kept)

    def test_an_interrupted_run_goes_on_behind_what_was_finished(
        self, result, three_digits, monkeypatch, tmp_path, capsys
    ):
        config = dataclasses.replace(TINY, results=tmp_path / "r.json")
        monkeypatch.setattr(ls.data, "load", lambda *_, **__: three_digits)

        def stop(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(limits_digits, "two_digits", stop)
            with pytest.raises(KeyboardInterrupt, match=f"finished are in {tmp_path}/unfinished-"):
                limits.run(config)
        assert "found before" not in capsys.readouterr().err
        monkeypatch.setattr(limits_plane, "search", None)
        monkeypatch.setattr(limits_digits, "untangle", None)
        again = limits.run(config)
        assert capsys.readouterr().err.count("found before the interruption") == 3
        for part in ("settings", "plane", "digits"):
            assert again.kept[part] == result.kept[part]
        (mine,), (other,) = again.capacities, result.capacities
        assert mine.network.separator == other.network.separator
        for leaf, wanted in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(leaf, wanted)
        assert [each.name for each in tmp_path.iterdir()] == ["r.json"]

    def test_kept_cones_are_a_proof(self):
        circles = limits_plane.circles()
        bound = ls.hidden_bound(*circles)
        row = limits.capacity_as_json(limits_plane.Capacity("circles", 100, bound, (), None))
        kept = json.loads(json.dumps(row))["cones"]
        cones = [
            Cone(**{**{k: tuple(v) for k, v in cone.items() if k != "place"},
                    "place": Fraction(cone["place"])})
            for cone in kept
        ]  # fmt: skip
        assert bound._replace(cones=tuple(cones)).verify(*circles)

    def test_figures_and_films(self, result, tmp_path):
        figures = limits.plot(result)
        assert {"xor-certificate", "xor-regions", "xor-hidden", "xor-grid"} < figures.keys()
        planes = [name for name in figures if name.startswith("digits-plane-")]
        assert len(planes) == 3
        for name in planes:
            axes = figures[name].axes[0]
            assert (axes.get_xlabel(), axes.get_ylabel()) == limits.COMPONENTS
        written = limits.films(result, tmp_path)
        assert [path.name for path in written] == ["xor.html", "digits.html"]
        pages = [path.read_text(encoding="utf-8") for path in written]
        assert "epoch 600, loss " in pages[0]
        assert "<title>XOR: how the layers of a 2-2-1 network bend the plane</title>" in pages[0]
        assert "<title>The digits 0 and 2 in two principal components: how " in pages[1]


class TestCommand:
    @pytest.fixture(autouse=True)
    def elsewhere(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

    def test_prints_and_writes_all_and_nothing_that_was_not_asked_for(
        self, result, monkeypatch, tmp_path, capsys
    ):
        asked = []
        monkeypatch.setattr(limits, "run", lambda config, **_: asked.append(config) or result)
        monkeypatch.setattr(limits, "plot", lambda _: {})
        before = (keeping.KEPT / "limits.json").read_bytes()
        assert limits.main(["--out", str(tmp_path), "--seeds", "7", "--data", "XOR"]) == 0
        assert asked == [limits.Config(out=tmp_path, seeds=7, data=("XOR",))]
        folder = tmp_path / "XOR-seeds-7"
        assert limits.results_of(asked[0]) == folder / "limits.json"
        printed = capsys.readouterr().out
        assert limits.report(result.kept, now=["plane"]) in printed
        assert str(folder / "xor.html") in printed
        assert (keeping.KEPT / "limits.json").read_bytes() == before
        (xor,) = result.capacities
        missing = result._replace(capacities=(xor._replace(network=None),))
        monkeypatch.setattr(limits, "run", lambda *_, **__: missing)
        assert limits.main(["--out", str(tmp_path)]) == 1

    def test_the_table_of_what_is_kept_says_that_it_is(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(limits, "run", lambda *_, **__: pytest.fail("ran"))
        assert limits.main(["--table"]) == 0
        said = capsys.readouterr().out
        kept = limits.recall(keeping.KEPT / "limits.json")
        assert said == limits.report(kept, now=[]) + "\n"
        assert said.startswith("Kept from an earlier run, not measured now: ")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"data": ("XOR", "rings")}, "data: expected some of XOR.*rings"),
            ({"epochs": 601}, "epochs: expected a multiple of the 6 snapshots, got 601"),
            ({"seeds": 0}, "seeds: expected at least 1, got 0"),
            ({"hidden": (6, 0)}, r"hidden: expected each at least 1, got \(6, 0\)"),
            ({"samples": 10}, "samples: expected at least 50, got 10"),
            ({"learning_rate": 0.0}, "learning_rate: expected finite numbers above 0, got 0.0"),
            ({"steepness": (3.0, 2.0)}, "steepness: expected the lower limit first"),
            ({"pair": (3, 3)}, "pair: expected two digits"),
            ({"pair": (3, 10)}, "pair: expected each from 0 to 9"),
        ],
    )
    def test_refuses_what_it_cannot_do(self, change, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            limits.run(dataclasses.replace(TINY, **change))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("{}", "results: expected what this experiment keeps"),
            ("{", "results: expected JSON"),
            ("[]", "results: expected a JSON object"),
        ],
    )
    def test_refuses_results_that_are_none(self, content, words, tmp_path):
        path = tmp_path / "r.json"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=words):
            limits.run(dataclasses.replace(TINY, results=path))
        assert path.read_text(encoding="utf-8") == content
