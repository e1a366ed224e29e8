"""Backpropagation by hand: the chain rule, its limits, and what a wrong one looks like."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logistack as ls
from experiments import backpropagation

# As many hidden units as outputs: layers of two shapes, and half as much to compile.
TINY = backpropagation.Config(depths=(1, 3), width=10, samples=6, directions=3)
pass_backward = backpropagation.pass_backward  # before any test replaces it
SCHEMES = ["orthogonal", "glorot", "normal", "zeros"]


@pytest.fixture(scope="module")
def result():
    return backpropagation.run(TINY)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def numpy_loss(name, arrays, inputs, targets):
    """Σ C in NumPy, from weights and biases in turn."""
    a = inputs
    for weight, bias in zip(arrays[::2], arrays[1::2], strict=True):
        z = a @ weight.T + bias
        a = sigmoid(z)
    if name == "softmax":
        return -np.sum(targets * (z - np.log(np.exp(z).sum(axis=1, keepdims=True))))
    return -np.sum(targets * np.log(a) + (1 - targets) * np.log(1 - a))


def study(scheme="normal", depth=3, deltas=(0.1, 0.2, 0.4, 0.9), from_grad=0.0, from_quotients=0.0):
    return backpropagation.Study(scheme, depth, from_grad, from_quotients, np.array(deltas))


class TestPasses:
    def test_a_2_2_1_network_worked_out_on_paper(self, x64):
        # σ(ln 3) = ¾ and σ′(ln 3) = 3/16; σ(0) = ½ and σ′(0) = ¼.
        params = (
            ls.Layer(jnp.array([[math.log(3), 0.0], [0.0, 0.0]]), jnp.zeros(2)),
            ls.Layer(jnp.array([[4.0, -8.0]]), jnp.array([1.0])),
        )
        x, target = jnp.array([1.0, -1.0]), jnp.array([1.0])
        gradient, deltas = backpropagation.backpropagate(params, x, target, jax.nn.sigmoid)
        for got, wanted in zip(
            jax.tree.leaves((gradient, deltas)),
            [
                [[-3 / 8, 3 / 8], [1.0, -1.0]],
                [-3 / 8, 1.0],
                [[-3 / 8, -1 / 4]],
                [-1 / 2],
                [-3 / 8, 1.0],
                [-1 / 2],
            ],
            strict=True,
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-14)

    @pytest.mark.parametrize("name", ["sigmoid", "softmax"])
    def test_every_entry_is_a_difference_quotient_in_numpy(self, name, x64):
        random = np.random.default_rng(0)
        arrays = [random.normal(size=shape) for shape in [(4, 3), (4,), (2, 4), (2,), (3, 2), (3,)]]
        inputs, targets = random.normal(size=(5, 3)), np.eye(3)[[0, 1, 2, 1, 0]]
        params = tuple(map(ls.Layer, map(jnp.array, arrays[::2]), map(jnp.array, arrays[1::2])))
        gradient, _ = jax.vmap(
            lambda x, target: backpropagation.backpropagate(
                params, x, target, backpropagation.OUTPUTS[name]
            )
        )(jnp.array(inputs), jnp.array(targets))
        step = np.cbrt(np.finfo(float).eps)
        for array, got in zip(arrays, jax.tree.leaves(gradient), strict=True):
            wanted = np.empty_like(array)
            for index in np.ndindex(array.shape):
                middle, values = array[index], []
                for value in (middle + step, middle - step):
                    array[index] = value
                    values.append(numpy_loss(name, arrays, inputs, targets))
                array[index] = middle
                wanted[index] = (values[0] - values[1]) / (2 * step)
            np.testing.assert_allclose(got.sum(axis=0), wanted, rtol=0, atol=1e-8)


class TestRun:
    @pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
    def test_every_scheme_agrees_at_every_depth(self, loss, result):
        if loss == "softmax":
            result = backpropagation.run(dataclasses.replace(TINY, loss=loss))
        assert [(each.scheme, each.depth) for each in result] == [
            (scheme, depth) for scheme in SCHEMES for depth in TINY.depths
        ]
        assert all(map(backpropagation.agrees, result))
        assert max(each.from_grad for each in result) <= 1e-12
        # Quotients are not exact: no error at all is no comparison.
        assert all(0 < each.from_quotients <= 1e-7 for each in result)

    def test_the_losses_have_gradients_of_their_own(self, result):
        softmax = backpropagation.run(dataclasses.replace(TINY, loss="softmax", depths=(1,)))
        assert softmax[0].delta_sizes[-1] != pytest.approx(result[0].delta_sizes[-1], rel=0.1)

    def test_delta_is_output_minus_target_at_the_output(self, result, x64):
        digits = ls.data.load("digits")
        params = ls.init_params(
            jax.random.key(TINY.seed), (64, 10, 10), scheme="normal", dtype=jnp.float64
        )
        a = digits.inputs[:6].astype(float) - 0.5
        for weight, bias in jax.tree.map(np.asarray, params):
            a = sigmoid(a @ weight.T + bias)
        size = np.sqrt(np.mean((a - digits.targets[:6]) ** 2))
        found = next(each for each in result if (each.scheme, each.depth) == ("normal", 1))
        assert found.delta_sizes[-1] == pytest.approx(size, rel=1e-12)

    def test_weights_of_0_let_nothing_through(self, result):
        for each in result[-2:]:
            np.testing.assert_array_equal(each.delta_sizes, [0.0] * each.depth + [0.5])
            assert each.from_grad == 0

    def test_leaves_jax_in_32_bits(self, result):
        assert jnp.ones(1).dtype == jnp.float32

    @pytest.mark.parametrize("depths", [(), (2, 0)])
    def test_refuses_networks_without_a_hidden_layer(self, depths):
        with pytest.raises(ValueError, match=r"^depths: expected"):
            backpropagation.run(backpropagation.Config(depths=depths))


class TestDifferences:
    @pytest.mark.parametrize(
        ("difference", "size", "wanted"),
        [(1.0, 4.0, 0.25), (0.0, 0.0, 0.0), (1e-300, 0.0, math.inf), (0.0, 1.0, 0.0)],
    )
    def test_relative_to_nothing(self, difference, size, wanted):
        assert backpropagation.relative(difference, size) == wanted

    def test_each_layer_counts_by_its_own_size(self):
        big = ls.Layer(jnp.full((2, 2), 4.0), jnp.full(2, -8.0))
        small = ls.Layer(jnp.full((1, 2), 1e-3), jnp.zeros(1))
        off = small._replace(weight=small.weight.at[0, 1].add(-1e-4))
        assert backpropagation.difference_by_layer((big, off), (big, small)) == pytest.approx(0.1)
        assert backpropagation.difference_by_layer((big, big), (big, big)) == 0
        off = big._replace(bias=big.bias.at[0].add(2.0))
        assert backpropagation.difference_by_layer((off, small), (big, small)) == 0.25

    def test_what_is_no_number_does_not_agree(self):
        fine = ls.Layer(jnp.ones((1, 1)), jnp.ones(1))
        broken = fine._replace(weight=jnp.full((1, 1), jnp.nan))
        bias = fine._replace(bias=jnp.full(1, jnp.nan))
        for gradient in [(fine, broken), (broken, fine), (fine, bias), (bias, fine)]:
            found = backpropagation.difference_by_layer(gradient, (fine, fine))
            assert not backpropagation.agrees(study(from_grad=found))
        assert backpropagation.agrees(study(from_grad=1e-13, from_quotients=1e-8))
        assert not backpropagation.agrees(study(from_grad=1e-11))
        assert not backpropagation.agrees(study(from_quotients=1e-6))

    def test_one_wrong_entry_shows_along_every_direction(self, x64):
        params = ls.init_params(jax.random.key(1), (64, 10, 10), dtype=jnp.float64)
        inputs, targets = jnp.eye(6, 64), jnp.eye(6, 10)

        def loss(params):
            return ls.summed_loss(params, inputs, targets)

        gradient = jax.grad(loss)(params)
        off = gradient[0]._replace(weight=gradient[0].weight.at[2, 1].add(1e-3))
        found = backpropagation.difference_from_quotients(loss, params, (off, gradient[1]), TINY)
        norm = math.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradient)))
        assert found == pytest.approx(1e-3 / norm, rel=1e-2)


class TestReport:
    def test_shows_every_difference_with_its_limit(self, result):
        lines = backpropagation.report(result).splitlines()
        assert sum(line.endswith("at most 1e-12") for line in lines) == 1
        assert sum(line.endswith("at most 1e-07") for line in lines) == 1
        for scheme in SCHEMES:
            studies = [each for each in result if each.scheme == scheme]
            by_grad, by_quotients, _ = (line for line in lines if line.startswith(scheme))
            for line, field in ((by_grad, "from_grad"), (by_quotients, "from_quotients")):
                _, *numbers, kept = line.split()
                wanted = [getattr(each, field) for each in studies]
                assert list(map(float, numbers)) == pytest.approx(wanted, rel=0.06)
                assert kept == "yes"

    def test_shows_by_what_factor_delta_shrinks(self):
        studies = (
            study("normal", 3, (0.1, 0.2, 0.4, 0.9)),
            study("zeros", 3, (0, 0, 0, 0.5)),
            study("normal", 1, (0.1, 0.9)),
        )
        assert backpropagation.factor_a_layer(studies[0]) == pytest.approx(0.5)
        assert math.isnan(backpropagation.factor_a_layer(studies[1]))
        assert math.isnan(backpropagation.factor_a_layer(studies[2]))
        text = backpropagation.report(studies)
        lines = [line.split() for line in text.split("root mean square")[1].splitlines()]
        assert ["normal", "0.500", "2.5e-01"] in lines
        assert ["zeros", "–", "–"] in lines

    @pytest.mark.parametrize("error", [("from_grad", 2e-12), ("from_quotients", math.nan)])
    def test_says_no_past_a_limit(self, error):
        text = backpropagation.report([study(**dict([error])), study("glorot")])
        assert text.count("NO") == 1
        assert text.count("yes") == 3


class TestFigure:
    def test_draws_a_line_for_every_depth_down_to_the_first_layer(self, result):
        deep = study("glorot", 2, (1e-3, 1e-2, 0.5)), study("glorot", 3)
        (figure,) = backpropagation.plot([*result, *deep]).values()
        assert [axes.get_title().split("\n")[0] for axes in figure.axes] == SCHEMES
        for axes, depths in zip(figure.axes, [[3], [2, 3, 3], [3], [3]], strict=True):
            assert axes.get_yscale() == "log"
            lines = axes.lines[::2]
            assert [len(line.get_xdata()) - 1 for line in lines] == depths
            assert [text.get_text() for text in axes.texts] == list(map(str, depths))
        np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), [1, 2, 3, 4])
        np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), result[1].delta_sizes)
        assert np.isfinite(figure.axes[2].lines[0].get_ydata()).all()
        zeros = figure.axes[3]
        np.testing.assert_array_equal(zeros.lines[0].get_ydata(), [np.nan] * 3 + [0.5])
        assert zeros.get_title().endswith("0 below the output")

    def test_the_title_says_the_factor_of_the_deepest(self):
        (figure,) = backpropagation.plot([study(), study(depth=2, deltas=(0.1, 0.9, 1))]).values()
        assert figure.axes[0].get_title() == "normal\n× 0.50 a layer down"

    def test_one_hidden_layer_leaves_nothing_to_draw(self):
        assert backpropagation.plot([study(depth=1, deltas=(0.1, 0.5))]) == {}


class TestCommand:
    def main(self, folder):
        options = ["--depths", "1", "3", "--width", "10", "--samples", "6", "--directions", "3"]
        return backpropagation.main([*options, "--out", str(folder)])

    def test_prints_the_tables_and_draws_the_figure(self, result, tmp_path, capsys):
        folder = tmp_path / "new" / "folder"
        assert self.main(folder) == 0
        said = capsys.readouterr().out
        assert said.startswith(backpropagation.report(result))
        (named,) = folder.iterdir()
        assert named.name == "depths-1-3-width-10-samples-6-directions-3"
        assert [path.name for path in named.iterdir()] == ["delta.png"]
        assert str(named / "delta.png") in said

    @pytest.mark.parametrize(
        ("words", "wrong"),
        [
            ("--depths", "depths: expected at least one, got none"),
            ("--samples 0", "samples: expected at least 1, got 0"),
            ("--seed -1", "seed: expected from 0 to "),
            ("--out /dev/null/new", "out: expected a folder to write to"),
        ],
    )
    def test_refuses_wrong_arguments_in_one_line(self, words, wrong, monkeypatch, capsys):
        monkeypatch.setattr(backpropagation, "run", lambda _: pytest.fail("ran"))
        with pytest.raises(SystemExit) as ended:
            backpropagation.main(words.split())
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(wrong)

    @pytest.mark.parametrize(
        ("part", "wrong"),
        [
            ("sigmoid_slope", lambda z: jax.nn.sigmoid(z) ** 2),
            ("sigmoid_slope", lambda z: (1 + 1e-5) / (2 + 2 * jnp.cosh(z))),
            ("pass_backward", lambda params, z, delta: pass_backward(params, z, 1.001 * delta)),
        ],
    )
    def test_notices_a_wrong_backward_pass(self, part, wrong, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(backpropagation, part, wrong)
        assert self.main(tmp_path) == 1
        kept = {}
        for line in capsys.readouterr().out.splitlines():
            if line.endswith(("yes", "NO")):
                kept.setdefault(line.split()[0], []).append(line.split()[-1])
        for scheme in ("orthogonal", "glorot", "normal"):
            assert kept[scheme] == ["NO", "NO"]
        # Under weights of 0 the slope makes no difference.
        assert kept["zeros"] == (["yes"] * 2 if part == "sigmoid_slope" else ["NO"] * 2)
