"""Depth: where networks start, how their rates are chosen, and what is kept of them."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import logistack as ls
from experiments import depth, depth_cells, depth_figures, keeping

# Layers wide enough for ten outputs, and narrow enough to compile in a moment.
TINY = depth.Config(
    depths=(1, 3), seeds=2, width=12, epochs=1, samples=60, batch_size=20, rates=(0.3, 0.01)
)
NAMES = [
    "textbook Glorot",
    "4 × Glorot",
    "centred Glorot",
    "identity plus noise, folded steps",
    "centred orthogonal, plain steps",
    "centred orthogonal, folded steps",
    "deep start, rate by rule",
]
NOISY, PLAIN, FOLDED, RULED = NAMES[3:]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return dataclasses.replace(TINY, results=tmp_path_factory.mktemp("depth") / "new" / "r.json")


@pytest.fixture(scope="module")
def result(config):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "clear_caches", lambda: None)  # the suite compiles as little as it can
        depth.run(dataclasses.replace(config, depths=(1,)), command="one command")
        patch.setattr(depth, "choose", lambda *_: {"0.01": 0.5, "0.3": 0.6})
        return depth.run(config, command="a command")


def network(accuracy=0.5, losses=(2.0, 1.0), stuck=False, seed=0):
    return depth.Network(seed, accuracy, stuck, 1.0 + seed, 0.25, 0.125, losses)


def cell(name=depth.OURS, layers=1, accuracy=(0.9, 0.98), rate=0.01, validation=None):
    networks = tuple(network(share, seed=seed) for seed, share in enumerate(accuracy))
    return depth.Cell(name, layers, rate, validation or {"0.01": 0.9}, networks)


def made_up(**changes):
    """All schemes at two depths, but for one cell; the accuracies tell the cells apart."""
    cells = [
        cell(name, layers, accuracy=((10 * row + layers) / 100, (10 * row + layers + 2) / 100))
        for row, name in enumerate(NAMES, start=1)
        for layers in (1, 3)
    ]
    settings = depth.settings_of(depth.Config(seeds=2))
    return depth.Result(settings, tuple(cells[:1] + cells[2:]))._replace(**changes)


def singular_values(params, a):
    """Those of the product of the layers' Jacobians, W and diag(σ′) W, in NumPy."""
    jacobian = np.eye(len(a))
    for weight, bias in jax.tree.map(lambda part: np.asarray(part, float), ls.unstack(params)):
        z = weight @ a + bias
        a = 1 / (1 + np.exp(-z))
        logits, jacobian = weight @ jacobian, (a * (1 - a))[:, None] * (weight @ jacobian)
    return np.linalg.svd(logits, compute_uv=False)


class TestStarts:
    def arrays(self, name, layers=3):
        params = ls.unstack(depth.begin(name, 7, (64, *[12] * layers, 10)))
        return [tuple(np.asarray(part, float) for part in layer) for layer in params]

    def test_the_textbook_is_uniform_within_its_bound(self):
        for weight, bias in self.arrays("textbook Glorot"):
            bound = np.sqrt(6 / sum(weight.shape))
            assert 0.9 * bound < np.abs(weight).max() <= bound
            np.testing.assert_array_equal(bias, 0)

    def test_times_4_is_4_times_the_textbook(self):
        for (four, _), (one, _) in zip(
            self.arrays("4 × Glorot"), self.arrays("textbook Glorot"), strict=True
        ):
            np.testing.assert_array_equal(four, 4 * one)

    def test_centred_computes_what_tanh_units_compute_from_the_textbook(self):
        x = np.linspace(-0.5, 0.5, 64)
        *hidden, (weight, bias) = self.arrays("textbook Glorot")
        t = x
        for v, c in hidden:
            t = np.tanh(v @ t + c)
        params = depth.begin("centred Glorot", 7, (64, 12, 12, 12, 10))
        # Float32 against float64, logits of order 1.
        np.testing.assert_allclose(ls.logits(params, x), weight @ t + bias, atol=1e-5)

    def test_noise_of_0_085_by_the_root_of_the_inputs_is_added_to_the_identity(self):
        # Wide, so that the noise is told from the identity by its spread alone.
        params = depth.begin(NOISY, 7, (256, 256, 256, 10))
        *hidden, last = ls.unstack(ls.unfold(params))
        for weight, bias in hidden:
            noise = np.asarray(weight) - np.eye(256)
            # 65,536 numbers: their spread is known to 0.3%, and float32 rounds near 1 to 1e-7.
            np.testing.assert_allclose(noise.std(), 0.085 / 16, rtol=0.02)
            np.testing.assert_allclose(noise.mean(), 0, atol=1e-4)
            np.testing.assert_allclose(bias, 0, atol=1e-4)
        np.testing.assert_allclose(np.asarray(last.weight).std(), 1 / 16, rtol=0.1)

    def test_centred_orthogonal_is_so_in_the_coordinates_of_tanh(self):
        plain, folded = (depth.begin(name, 7, (64, 12, 12, 12, 10)) for name in (PLAIN, FOLDED))
        jax.tree.map(np.testing.assert_array_equal, plain, folded)
        _, second, *_ = ls.unstack(ls.unfold(plain))
        square = np.asarray(second.weight @ second.weight.T)
        np.testing.assert_allclose(square, square[0, 0] * np.eye(12), atol=1e-5)

    def test_deep_is_so_but_for_the_last_layer(self):
        *hidden, last = self.arrays(RULED)
        *same, one = self.arrays(FOLDED)
        jax.tree.map(np.testing.assert_array_equal, hidden, same)
        ratio = last[0] / one[0]
        assert np.ptp(ratio) < 1e-5
        assert ratio.mean() > 1

    def test_three_schemes_take_folded_steps_and_one_a_rate_by_rule(self):
        assert list(depth.SCHEMES) == NAMES
        folded = [name for name in NAMES if depth.SCHEMES[name].coordinates == "centred"]
        assert folded == [NOISY, FOLDED, RULED]
        assert [name for name in NAMES if depth.SCHEMES[name].by_rule] == [RULED]

    def test_the_rate_is_that_of_the_rule(self):
        rate = depth.decide(TINY, RULED, 25, None, None).rate
        named = depth.optimizer_of(RULED, 25, rate, 6)["optimizer"](learning_rate=rate)
        gradient = (ls.Layer(np.float32([[30, 40]]), np.float32([5])),)
        one, other = (
            optimizer.update(gradient, optimizer.init(gradient))[0][0]
            for optimizer in (named, ls.deep_sgd(25, 6))
        )
        np.testing.assert_allclose(one.weight, other.weight, rtol=1e-3)
        np.testing.assert_allclose(one.bias, other.bias, rtol=1e-3)

    def test_a_network_takes_its_steps_as_the_scheme_and_the_config_say(self, monkeypatch):
        asked = []
        monkeypatch.setattr(ls, "fit", lambda *_, **options: asked.append(options))
        monkeypatch.setattr(depth, "begin", lambda *_: ())
        digits = depth.load("train", 45)
        for name in NAMES:
            depth.train(dataclasses.replace(TINY, epochs=2), name, 1, 0.3, 0, digits)
        wanted = ["plain"] * 3 + ["centred", "plain"] + ["centred"] * 2
        assert [options["coordinates"] for options in asked] == wanted
        for options in asked:
            assert (options["epochs"], options["batch_size"]) == (2, 20)
            assert options["loss"] is ls.losses.softmax_cross_entropy
            assert options["hyperparams"] == {"learning_rate": 0.3}
        assert asked.pop()["reduction"] == "mean"
        for options in asked:
            assert "reduction" not in options
        # Three batches, twice: six steps, of momentum 0.9 and gradients cut to length 1.
        optimizer = options["optimizer"](0.3)
        state, velocity = optimizer.init(np.zeros(2)), 0.0
        for step in range(6):
            update, state = optimizer.update(np.array([30.0, 40.0], np.float32), state)
            velocity = 0.9 * velocity + 1
            wanted = -0.3 * (1 + np.cos(np.pi * step / 6)) / 2 * velocity * np.array([0.6, 0.8])
            np.testing.assert_allclose(update, wanted, rtol=1e-5)


class TestChoice:
    def test_learns_four_fifths_and_judges_by_the_fifth(self, monkeypatch):
        seen = []
        digits = depth.load("train", 53)

        def train(config, name, layers, rate, seed, learned):
            seen.append((rate, seed, learned.inputs))
            return depth.Trained((), ls.FitResult((rate, seed), None, None), 0.0)

        def accuracy_of(params, judging):
            rate, seed = params
            np.testing.assert_array_equal(judging.inputs, digits.inputs[4::5])
            np.testing.assert_array_equal(judging.labels, digits.labels[4::5])
            return rate + seed / 10

        monkeypatch.setattr(depth, "train", train)
        monkeypatch.setattr(depth, "accuracy_of", accuracy_of)
        found = depth.choose(TINY, depth.OURS, depth.JUDGED_BY_ALL, [0.1, 0.3], digits)
        assert found == {"0.1": pytest.approx(0.15), "0.3": pytest.approx(0.35)}
        assert [each[:2] for each in seen] == [(0.1, 0), (0.1, 1), (0.3, 0), (0.3, 1)]
        kept = np.delete(digits.inputs, np.s_[4::5], axis=0)
        for _, _, inputs in seen:
            np.testing.assert_array_equal(inputs, kept)
        deeper = depth.choose(TINY, depth.OURS, depth.JUDGED_BY_ALL + 1, [0.1], digits)
        assert deeper == {"0.1": 0.1}

    @pytest.mark.parametrize(
        ("validation", "rate", "wanted"),
        [
            ({"0.01": 0.9, "0.1": 0.95, "0.3": 0.5, "1": 0.2}, 0.1, [0.01, 0.1, 0.3]),
            ({"0.01": 0.1, "0.1": 0.9}, 0.1, [0.01, 0.1]),  # too slow here, not too fast
            ({"0.01": 0.2, "0.1": 0.1}, 0.01, []),
            ({}, 0.1, []),
        ],
    )
    def test_tries_what_was_not_lost_in_a_shallower_network(self, validation, rate, wanted):
        above = cell(rate=rate)._replace(validation=validation)
        assert depth.candidates(TINY, above) == wanted

    def test_tries_every_rate_at_first(self):
        assert depth.candidates(TINY, None) == [0.01, 0.3]

    @pytest.mark.parametrize(
        ("validation", "rate"), [({"0.1": 0.5, "0.3": 0.6}, 0.3), ({"0.1": 0.6, "0.3": 0.6}, 0.1)]
    )
    def test_takes_what_reads_most_the_smallest_of_equals(self, validation, rate, monkeypatch):
        monkeypatch.setattr(depth, "choose", lambda *_: validation)
        found = depth.decide(TINY, depth.OURS, 3, None, None)
        assert found == depth.Cell(depth.OURS, 3, rate, validation, ())

    def test_a_lost_scheme_keeps_its_rate(self):
        above = cell(rate=0.3)._replace(validation={"0.3": 0.1})
        assert depth.decide(TINY, depth.OURS, 3, above, depth.load("train", 20)).rate == 0.3


class TestRun:
    def test_fills_every_cell(self, result):
        assert [(each.scheme, each.depth) for each in result.cells] == [
            (name, layers) for name in NAMES for layers in (1, 3)
        ]
        for each in result.cells:
            assert [network.seed for network in each.networks] == [0, 1]
            by_rule = depth.SCHEMES[each.scheme].by_rule
            assert each.rate in TINY.rates or (by_rule and each.validation == {})
            for network in each.networks:
                assert len(network.losses) == TINY.epochs
                assert network.largest >= network.smallest > 0
                # Sixty test digits: no other accuracy is one of them.
                assert 60 * network.accuracy == pytest.approx(
                    round(60 * network.accuracy), abs=1e-3
                )
        assert (result.timing.scheme, result.timing.depth) == (depth.OURS, 3)
        assert result.timing.seconds >= 0

    def test_a_cell_has_what_fit_gives(self, result):
        found = next(each for each in result.cells if (each.scheme, each.depth) == (FOLDED, 3))
        digits, test = (depth.load(split, 60) for split in ("train", "test"))
        start, fitted, _ = depth.train(TINY, FOLDED, 3, found.rate, 1, digits)
        a = test.inputs
        for weight, bias in jax.tree.map(np.asarray, ls.unstack(fitted.params)):
            z = a @ weight.T + bias
            a = 1 / (1 + np.exp(-z))
        accuracy = np.mean(z.argmax(axis=1) == test.labels)
        assert found.networks[1].accuracy == pytest.approx(accuracy, abs=1e-6)
        assert found.networks[1].losses[0] == pytest.approx(float(fitted.history.loss[0]), rel=1e-3)
        spectra = np.mean([singular_values(start, x) for x in test.inputs[:10]], axis=0)
        assert found.networks[1].largest == pytest.approx(spectra[0], rel=1e-3)
        assert found.networks[1].smallest == pytest.approx(spectra[-1], rel=1e-3)

    def test_what_is_kept_is_what_is_returned(self, config, result):
        kept = json.loads(config.results.read_text(encoding="utf-8"))
        assert kept["origin"]["command"] == "a command"
        assert kept["origin"]["jax"] == jax.__version__
        assert kept["settings"]["width"] == 12
        assert len(kept["cells"]) == 14
        again = depth.recall_same(config)
        assert json.loads(json.dumps(again)) == json.loads(json.dumps(result))
        assert [path.name for path in config.results.parent.iterdir()] == ["r.json"]

    def test_does_only_what_is_missing(self, config, result, monkeypatch, tmp_path):
        path = tmp_path / "r.json"
        depth.keep(path, result._replace(cells=result.cells[:-1]))
        done = []

        def populate(config, cell, digits, test):
            done.append((cell.scheme, cell.depth))
            return cell._replace(networks=(network(), network()))

        monkeypatch.setattr(depth, "populate", populate)
        monkeypatch.setattr(depth, "choose", lambda *_: {"0.3": 0.5})
        monkeypatch.setattr(depth, "stopwatch", lambda *_: depth.Timing(depth.OURS, 1, 2.0, 1.0))
        again = depth.run(dataclasses.replace(config, results=path))
        assert done == [(RULED, 3)]
        assert len(again.cells) == 14
        done.clear()
        before = path.read_bytes()
        depth.run(dataclasses.replace(config, results=path))
        assert done == []
        assert path.read_bytes() == before
        depth.run(dataclasses.replace(config, results=path, depths=(1,), fresh=True))
        assert done == [(name, 1) for name in NAMES]

    def test_beyond_a_depth_trains_only_what_has_its_rate_by_rule_and_fewer(
        self, config, result, monkeypatch
    ):
        done = []

        def train(config, name, layers, rate, seed, digits):
            done.append((name, layers, seed))
            raise KeyboardInterrupt

        monkeypatch.setattr(depth, "train", train)
        deeper = dataclasses.replace(config, depths=(1, 3, 4), deep=3, deep_seeds=1)
        with pytest.raises(KeyboardInterrupt):
            depth.run(deeper)
        assert done == [(RULED, 4, 0)]

    def test_trains_the_networks_that_a_cell_lacks(self, config, result, monkeypatch, tmp_path):
        path = tmp_path / "r.json"
        *others, last = result.cells
        short = last._replace(networks=last.networks[:1])
        depth.keep(path, result._replace(cells=(*others, short)))
        seeds = []

        def train(config, name, layers, rate, seed, digits):
            seeds.append((name, layers, rate, seed))
            return real(config, name, layers, rate, seed, digits)

        real = depth.train
        monkeypatch.setattr(depth, "train", train)
        again = depth.run(dataclasses.replace(config, results=path))
        assert seeds == [(last.scheme, last.depth, last.rate, 1)]
        assert json.loads(json.dumps(again.cells[:-1])) == json.loads(json.dumps(others))
        first, second = again.cells[-1].networks
        assert (first.seed, second.seed) == (0, 1)
        assert (first.accuracy, second.accuracy) == tuple(n.accuracy for n in last.networks)

    def test_an_interruption_leaves_the_cells_before_it(
        self, config, result, monkeypatch, tmp_path
    ):
        path = tmp_path / "r.json"
        depth.keep(path, result._replace(cells=result.cells[:-1]))
        before = path.read_bytes()

        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(depth, "populate", interrupt)
        monkeypatch.setattr(depth, "choose", lambda *_: {"0.3": 0.5})
        with pytest.raises(KeyboardInterrupt):
            depth.run(dataclasses.replace(config, results=path))
        assert path.read_bytes() == before

    def test_times_from_nothing_and_once_more(self, monkeypatch):
        done = []

        def train(config, name, layers, rate, seed, digits):
            done.append((name, layers, rate, seed))
            return depth.Trained(None, None, 10.0 / len(done))

        monkeypatch.setattr(depth, "train", train)
        monkeypatch.setattr(jax, "clear_caches", lambda: done.append("cleared"))
        found = depth.stopwatch(TINY, cell(layers=3, rate=0.3), None)
        assert done == ["cleared", *[(depth.OURS, 3, 0.3, 0)] * 2]
        assert found == depth.Timing(depth.OURS, 3, 5.0, 3.33)

    def test_times_again_where_asked(self, config, result, monkeypatch, tmp_path):
        path = tmp_path / "r.json"
        depth.keep(path, result)
        timing = depth.Timing(depth.OURS, 3, 8.0, 4.0)
        monkeypatch.setattr(depth, "stopwatch", lambda *_: timing)
        again = dataclasses.replace(config, results=path, retime=True)
        assert depth.run(again).timing == timing == depth.recall_same(again).timing

    @pytest.mark.parametrize("spoil", ["cut", "list", "field", "bytes"])
    def test_refuses_results_that_are_not_whole(self, spoil, config, result, tmp_path):
        path = tmp_path / "r.json"
        whole = config.results.read_bytes()
        path.write_bytes(
            {
                "cut": whole[:-40],
                "list": b"[]",
                "field": whole.replace(b'"stuck"', b'"struck"'),
                "bytes": b"\xff\xfe",
            }[spoil]
        )
        with pytest.raises(ValueError, match=r"^results: expected .*r\.json, got .*--fresh"):
            depth.run(dataclasses.replace(config, results=path))

    @pytest.mark.parametrize("other", [{"width": 9}, {"rates": (0.3,)}, {"samples": None}])
    def test_refuses_results_of_other_settings(self, other, config, result):
        (name,) = other
        with pytest.raises(ValueError, match=rf"^results: expected {name} "):
            depth.run(dataclasses.replace(config, **other))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"depths": ()},
            {"depths": (2, 0)},
            {"rates": ()},
            {"rates": (0.1, 0.0)},
            {"rates": (float("nan"),)},
            {"seeds": 0},
            {"width": 0},
            {"epochs": 0},
            {"batch_size": 0},
            {"samples": 4},
        ],
    )
    def test_refuses_a_config_that_leaves_nothing_to_train(self, wrong, tmp_path):
        (name,) = wrong
        path = tmp_path / "r.json"
        with pytest.raises(ValueError, match=rf"^{name}: expected"):
            depth.run(dataclasses.replace(TINY, results=path, **wrong))
        assert not path.exists()


class TestReport:
    def rows(self, text, title):
        body = text.split(f"\n{title}")[1].split("\n\n")[0].splitlines()[1:]
        assert body[0].split() == ["1", "3"]
        return {
            name: line.removeprefix(name).split()
            for name, line in zip(NAMES, body[1:], strict=True)
        }

    def test_has_the_numbers_of_the_result(self):
        text = depth.report(made_up())
        means, lowest = (
            self.rows(text, f"test accuracy (%), {of}") for of in ("mean over seeds", "lowest seed")
        )
        assert means[NAMES[0]] == ["12.0", "–"]
        assert lowest[NAMES[0]] == ["11.0", "–"]
        for row, name in enumerate(NAMES[1:], start=2):
            assert means[name] == [f"{10 * row + 2}.0", f"{10 * row + 4}.0"]
            assert lowest[name] == [f"{10 * row + 1}.0", f"{10 * row + 3}.0"]
        assert self.rows(text, "training loss at the end")[depth.OURS] == ["1", "1"]
        assert self.rows(text, "learning rate")[depth.OURS] == ["0.01", "0.01"]
        assert self.rows(text, "largest singular")[depth.OURS] == ["2.5e-01"] * 2
        assert self.rows(text, "smallest singular")[depth.OURS] == ["1.2e-01"] * 2
        assert self.rows(text, "seconds a network")[depth.OURS] == ["1.5"] * 2
        assert text.endswith("folded steps: at least 96% but at 1, 3 layers")
        assert self.rows(text, "learning rate")[RULED] == ["0.01", "0.01"]

    def test_puts_in_brackets_the_rate_of_a_scheme_that_no_rate_taught(self):
        lost = cell()._replace(validation={"0.01": depth.LOST})
        untried = cell(layers=3)._replace(validation={})
        text = depth.report(made_up(cells=(lost, untried)))
        assert self.rows(text, "learning rate")[depth.OURS] == ["(0.01)", "(0.01)"]

    def test_counts_the_stuck_and_has_no_loss_of_a_run_that_stopped(self):
        stopped = cell()._replace(networks=(network(stuck=True), network(losses=(2.0, None))))
        text = depth.report(made_up(cells=(cell(layers=3), stopped)))
        assert self.rows(text, "seeds stuck")[depth.OURS] == ["1", "0"]
        assert self.rows(text, "training loss")[depth.OURS] == ["–", "1"]

    def test_ends_with_the_time_and_the_command(self):
        timing = depth.Timing(depth.OURS, 1000, 20.04, 12.0)
        origin = {"command": "python x", "jax": "0.1", "device": "cpu, 2 cores", "seconds": 1234.5}
        cells = (cell(accuracy=(0.95, 0.97)),)
        text = depth.report(made_up(cells=cells, timing=timing, origin=origin))
        *_, wanted, time, command = text.splitlines()
        assert wanted.endswith("at least 96% at every depth")
        assert "1,000 layers" in time
        assert "in 20.0 s; once compiled, in 12.0 s" in time
        assert command == "python x  (JAX 0.1, cpu, 2 cores, 1,234 s in all)"


@pytest.fixture(scope="module")
def figures():
    return depth.plot(made_up())


class TestFigures:
    def test_a_line_for_every_scheme_is_named_at_the_line(self, figures):
        (axes,) = figures["depth"].axes
        lines = {line.get_label(): line for line in axes.lines if line.get_label() in NAMES}
        assert list(lines) == NAMES
        np.testing.assert_allclose(lines[depth.OURS].get_ydata(), [62, 64])
        np.testing.assert_array_equal(lines[depth.OURS].get_xdata(), [1, 3])
        np.testing.assert_array_equal(lines[NAMES[0]].get_xdata(), [1])
        texts = {text.get_text(): text for text in axes.texts}
        assert set(texts) == {*NAMES, "chance"}
        for name in NAMES:
            assert texts[name].get_color() == lines[name].get_color()
        assert len({line.get_color() for line in lines.values()}) == 7
        assert axes.get_xscale() == "log"
        assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "3"]
        band = axes.collections[-1].get_paths()[0].get_extents()
        np.testing.assert_allclose([band.ymin, band.ymax], [71, 75])
        chance = next(line for line in axes.lines if line.get_label() not in NAMES)
        np.testing.assert_array_equal(chance.get_ydata(), [10, 10])

    @pytest.mark.parametrize(
        ("end", "values", "at", "side"),
        [
            ("below", (90, 70, 10, 10, 10), (np.exp(1 + 1 / 3), 50), ("left", "center")),
            ("below", (90, 90, 90, 90, 10), (np.exp(3.5), 50), ("right", "center")),
            (
                "below",
                (90, 10, 90, 10, 10),
                (np.exp(2.5), 50),
                ("right", "center"),
            ),  # the last of two
            ("below", (10, 90, 90, 90, 90), (np.exp(4), 90), ("right", "top")),
            ("over", (90, 90, 90, 90, 90), (np.exp(4), 90), ("right", "bottom")),
            ("behind", (90, 90, 90, 90, 90), (np.exp(4), 90), ("left", "center")),
            ("below", (40, 40, 10, 10, 10), (1, 40), ("left", "bottom")),
        ],
    )
    def test_a_name_stands_where_the_line_falls(self, end, values, at, side):
        from matplotlib.figure import Figure

        axes = Figure().add_subplot()
        depth_figures.label_line(
            axes, "a", np.arange(5.0), np.array(values), height=50, color="k", side=end
        )
        (text,) = axes.texts
        assert text.xy == pytest.approx(at)
        assert (text.get_horizontalalignment(), text.get_verticalalignment()) == side

    def test_the_map_has_a_number_for_every_cell(self, figures):
        axes, bar = figures["depth-map"].axes
        assert len(axes.texts) == 13
        shown = {text.get_position(): text.get_text() for text in axes.texts}
        assert shown[0, 0] == "12.0"
        assert (1, 0) not in shown
        assert shown[1, 4] == "54.0"
        assert [text.get_text() for text in axes.get_yticklabels()] == NAMES
        assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "3"]
        (image,) = axes.images
        assert image.get_clim() == (10, 100)
        assert bar.get_ylabel() == "test accuracy (%)"

    def test_the_curves_are_those_of_every_depth(self):
        cells = (cell(layers=3), cell(layers=1), cell(depth_figures.CONTRAST, layers=3))
        left, right, bar = depth_figures.draw_curves(made_up(cells=cells)).axes
        assert (left.get_title(), right.get_title()) == ("4 × Glorot", depth.OURS)
        assert [line.get_label() for line in left.lines] == ["3"]
        assert [line.get_label() for line in right.lines] == ["1", "3"]
        np.testing.assert_array_equal(right.lines[0].get_ydata(), [2, 1])
        np.testing.assert_array_equal(right.lines[0].get_xdata(), [1, 2])
        assert left.lines[0].get_color() == right.lines[1].get_color() != right.lines[0].get_color()
        assert [text.get_text() for text in bar.get_yticklabels()] == ["1", "3"]


class TestCommand:
    @pytest.fixture(autouse=True)
    def elsewhere(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

    def main(self, config, *options, depths="1 3"):
        words = f"--depths {depths} --seeds 2 --width 12 --epochs 1 --samples 60 --batch-size 20"
        return depth.main(
            [*words.split(), "--rates", "0.3", "0.01", "--results", str(config.results), *options]
        )

    def test_prints_the_tables_draws_the_figures_and_says_what_is_kept(
        self, config, result, tmp_path, capsys
    ):
        assert self.main(config, "--out", str(tmp_path)) == 1  # one epoch of 60 digits is little
        said = capsys.readouterr().out
        head, _, report = said.partition("\n\n")
        assert head.startswith(
            "14 of 14 cells: Kept from an earlier run, not measured now: a command (JAX "
        )
        assert report.startswith(depth.report(result))
        (folder,) = tmp_path.iterdir()
        assert folder.name.startswith("seeds-2-width-12-epochs-1-batch-size-20-rates-0.3-0.01-")
        names = {"depth.png", "depth-map.png", "depth-curves.png"}
        assert {path.name for path in folder.iterdir()} == names
        assert all(str(folder / name) in said for name in names)

    def test_what_is_measured_is_not_said_to_be_kept(self, config, result, monkeypatch, capsys):
        path = config.results.with_name("other.json")
        monkeypatch.setattr(depth, "run", lambda *_, **__: made_up())
        monkeypatch.setattr(depth, "plot", lambda _: {})
        self.main(dataclasses.replace(config, results=path))
        assert capsys.readouterr().out.startswith(depth.report(made_up()))

    def test_what_the_repository_keeps_is_drawn_only_where_asked_and_never_written(
        self, monkeypatch, capsys
    ):
        path = keeping.KEPT / "depth.json"
        before = path.read_bytes()
        monkeypatch.setattr(depth, "train", lambda *_: pytest.fail("trained"))
        monkeypatch.setattr(depth, "plot", lambda _: {})
        assert depth.main(["--table"]) == 0
        said = capsys.readouterr().out
        assert said.startswith("71 of 71 cells: Kept from an earlier run, not measured now: ")
        assert depth.report(depth_cells.recall(path)) in said
        assert path.read_bytes() == before
        # Without it, there is nothing to go on from.
        assert depth.recall_same(depth.Config()).cells == ()
        assert depth.results_of(depth.Config()) == depth.Config().out / "depth.json"

    def test_is_content_where_enough_is_read(self, config, result, monkeypatch, tmp_path):
        cells = tuple(cell(layers=layers, accuracy=(0.95, 0.97)) for layers in (1, 3))
        monkeypatch.setattr(depth, "run", lambda *_, **__: made_up(cells=cells))
        assert self.main(config, "--out", str(tmp_path)) == 0

    def test_chooses_without_a_look_at_the_test_digits(self, config, result, monkeypatch, capsys):
        before = config.results.read_bytes()
        load = depth.load

        def train_alone(split, samples):
            assert split == "train"
            return load(split, samples)

        monkeypatch.setattr(depth, "load", train_alone)
        assert self.main(config, "--choose", depths="1") == 0
        said = capsys.readouterr().out
        wanted = next(each for each in result.cells if (each.scheme, each.depth) == (depth.OURS, 1))
        line = next(line for line in said.splitlines() if line.startswith(depth.OURS))
        assert line.split()[-1] == f"{100 * max(wanted.validation.values()):.1f}"
        assert config.results.read_bytes() == before

    def test_tries_multiples_of_the_rate_by_rule(self, config, monkeypatch, capsys):
        asked = []

        def choose(config, name, layers, rates, digits):
            asked.append((name, layers))
            return {f"{rate:g}": rate for rate in rates}

        monkeypatch.setattr(depth, "choose", choose)
        assert self.main(config, "--rule", depths="4 100") == 0
        assert asked == [(depth.DEEP, 4), (depth.DEEP, 100)]
        _, _, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
        assert rows == [
            ["4", "0.05", "0.5", "1.5", "5.0", "15.0", "50.0"],
            ["100", "0.01", "0.1", "0.3", "1.0", "3.0", "10.0"],
        ]

    @pytest.mark.parametrize(
        ("words", "wrong"),
        [
            ("--rates 0", "rates: expected finite numbers above 0, got (0.0,)"),
            ("--depths 0", "depths: expected each at least 1, got (0,)"),
            ("--out /dev/null/new", "out: expected a folder to write to"),
            ("--results /dev/null/new/r.json", "results: expected a folder to write to"),
        ],
    )
    def test_refuses_wrong_arguments_in_one_line(self, words, wrong, monkeypatch, capsys):
        monkeypatch.setattr(depth, "run", lambda *_, **__: pytest.fail("ran"))
        with pytest.raises(SystemExit) as ended:
            depth.main(words.split())
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(wrong)
