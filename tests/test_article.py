"""The article's experiment: its numbers come out, and XOR is learned from nearly every seed."""

import itertools

import jax
import numpy as np
import pytest

import logistack as ls
from experiments import article

CONFIG = article.Config(digit_epochs=1)
FIGURES = {
    "single-unit",
    "distances",
    "two-units",
    "network",
    "digit",
    "xor-training",
    "xor-regions",
}


@pytest.fixture(scope="module")
def result():
    return article.run(CONFIG)


@pytest.fixture
def runs(result):
    return result.xor


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class TestTable:
    def test_every_number_of_the_article_agrees(self, result):
        assert [row for row in result.table if not row.agrees] == []

    def test_every_number_of_the_article_is_there(self, result):
        stated = [row.stated for row in result.table]
        for number in (
            *("3", "4", "4"),
            *("(0, √2)", "(√2, 0)", "(1, 1)", "(1, 1)"),
            *("(0.73, 0.05)", "(0.05, 0.73)", "(0.27, 0.27)", "(0.27, 0.27)"),
            *("(0.98, 0.12)", "(0.86, 0.11)", "(0.62, 0.83)", "(0.51, 0.85)"),
            *("16, 16, 256", "10"),
        ):
            stated.remove(number)
        assert len(stated) == 2  # what the formula of the loss states of a digit, and of all

    def test_rows_compute_what_numpy_computes_in_float64(self):
        computed = [np.asarray(row.compute()) for row in article.ARTICLE]
        weights = [[[1, -2], [-1, 1]], [[2, -1], [-2, -1]], [[3, -1], [-1, 4]]]
        layers = list(zip(map(np.array, weights), ([1, 0], [0, 0], [-2, 2]), strict=True))
        units = np.array([[-2, 2], [2, -2]])
        wanted = [3, (0, 2**0.5), (2**0.5, 0), (1, 1), (1, 1), 4]
        wanted += [sigmoid(units @ x - 1) for x in ([0, 1], [1, 0], [0, 0], [1, 1])] + [4]
        a = [1, -1]
        for weight, bias in layers:
            a = sigmoid(weight @ a + bias)
            wanted.append(a)
        a = [0, 0]
        for weight, bias in layers:
            a = sigmoid(weight @ a + bias)
        for got, number in zip(computed, [*wanted, a], strict=True):
            np.testing.assert_allclose(got, number, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize(
        ("stated", "value", "agrees"),
        [
            ("0.27", 0.2689, True),
            ("0.26", 0.2689, False),  # cut off, not rounded
            ("(0.73, 0.05)", (0.731, 0.047), True),
            ("(0.73, 0.04)", (0.731, 0.047), False),
            ("0.05", -0.05, False),
            ("(0, √2)", (0.0, np.float32(2**0.5)), True),
            ("√2", 1.4142, False),
            ("4", 4, True),
            ("4", 4.2, False),
            ("3", 4, False),
            ("0.50", np.nan, False),
        ],
    )
    def test_a_row_agrees_when_it_rounds_to_what_is_stated(self, stated, value, agrees):
        assert article.check(article.Row("", stated, lambda: value)).agrees is agrees

    def test_there_are_as_many_test_digits_as_it_says(self):
        assert len(ls.data.load("digits16", split="test").labels) == article.TEST_DIGITS

    def test_a_row_shows_what_was_computed_in_the_form_of_what_is_stated(self):
        row = article.Row("", "(0.70, √2)", lambda: (0.731, 1.5))
        assert article.check(row).computed == "(0.73, 1.5)"

    def test_a_row_of_another_length_is_an_error(self):
        with pytest.raises(ValueError, match="zip"):
            article.check(article.Row("", "(0.73, 0.05)", lambda: 0.73))


class TestOneUnit:
    def test_no_line_does_better_on_xor_than_the_unit_trained(self):
        unit, right = article.best_unit(article.identity, article.THREE_POINTS)
        random = np.random.default_rng(0)
        weight, bias = random.normal(size=(2, 20_000)), random.normal(size=(20_000))
        xor, targets = np.asarray(article.XOR), np.asarray(article.TARGETS)
        counts = ((xor @ weight + bias > 0) == (targets > 0.5)).sum(axis=0)
        assert counts.max() == right == 3
        sides = xor @ np.asarray(unit.weight).T + np.asarray(unit.bias) > 0
        assert (sides == (targets > 0.5)).sum() == right

    @pytest.mark.parametrize("features", [article.distances, article.two_units])
    def test_new_features_need_no_more_than_one_unit(self, features):
        unit, right = article.best_unit(features, article.ALL_POINTS)
        inputs = np.asarray(jax.vmap(features)(article.XOR))
        sides = inputs @ np.asarray(unit.weight).T + np.asarray(unit.bias) > 0
        np.testing.assert_array_equal(sides, np.asarray(article.TARGETS) > 0.5)
        assert right == 4


class TestXor:
    def test_the_default_recipe_solves_95_seeds_of_100(self, runs):
        params = jax.tree.map(np.asarray, runs[article.DEFAULT].params)
        a = np.asarray(article.XOR)
        for weight, bias in params:
            a = sigmoid(a @ np.swapaxes(weight, 1, 2) + bias[:, None])
        solved = ((a > 0.5) == (np.asarray(article.TARGETS) > 0.5)).all(axis=(1, 2))
        assert solved.shape == (100,)
        assert solved.sum() >= 95
        np.testing.assert_array_equal(runs[article.DEFAULT].solved, solved)

    def test_no_recipe_with_a_part_missing_comes_close(self, runs):
        for name in article.RECIPES.keys() - {article.DEFAULT}:
            assert runs[name].solved.sum() < 80

    def test_every_seed_has_a_noise_of_its_own(self, runs):
        # One noise for all leads all to one solution or its mirror image, whatever their start.
        signs = np.sign(runs[article.DEFAULT].params[0].weight).reshape(100, 4)
        assert len(np.unique(signs, axis=0)) > 4

    def test_recipes_start_from_the_same_networks(self, runs):
        first = [np.asarray(each.history.loss[:, 0]) for each in runs.values()]
        for one, other in itertools.pairwise(first):
            np.testing.assert_array_equal(one, other)
        assert len(np.unique(first[0])) > 90


class TestCommand:
    def run(self, monkeypatch, folder, result):
        def run(config):
            assert config == article.Config(out=folder, seeds=7)
            return result

        monkeypatch.setattr(article, "run", run)
        return article.main(["--out", str(folder), "--seeds", "7"])

    def test_prints_the_table_and_draws_the_figures(self, result, monkeypatch, tmp_path, capsys):
        folder = tmp_path / "new" / "folder"
        assert self.run(monkeypatch, folder, result) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["stated", "computed", "agrees"]
        for row, line in zip(result.table, lines[1:], strict=False):
            assert line.split()[-1] == "yes"
            assert line.index(row.stated) == lines[0].index("stated")
        for name, runs in result.xor.items():
            assert f"{name:22}  {runs.solved.sum():3} of 100" in map(str.strip, lines)
        (named,) = folder.iterdir()
        assert named.name == "seeds-7"
        assert {path.name for path in named.iterdir()} == {f"{name}.png" for name in FIGURES}

    def test_fails_when_a_row_does_not_agree(self, result, monkeypatch, tmp_path, capsys):
        wrong = article.check(article.Row("wrong", "0.74", lambda: 0.731))
        spoilt = result._replace(table=(*result.table, wrong))
        assert self.run(monkeypatch, tmp_path, spoilt) == 1
        assert "NO" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "wrong"),
        [
            ("--seeds 0", "seeds: expected at least 1, got 0"),
            ("--noise -1", "noise: expected finite numbers at least 0, got -1.0"),
            ("--learning-rate 0", "learning_rate: expected finite numbers above 0, got 0.0"),
            ("--digit 359", "digit: expected from 0 to 358, got 359"),
            ("--out /dev/null/new", "out: expected a folder to write to"),
        ],
    )
    def test_refuses_wrong_arguments_in_one_line(self, words, wrong, monkeypatch, capsys):
        monkeypatch.setattr(article, "run", lambda _: pytest.fail("ran"))
        with pytest.raises(SystemExit) as ended:
            article.main(words.split())
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(wrong)


class TestFigures:
    def test_show_what_was_computed(self, result):
        figures = article.plot(result)
        assert figures.keys() == FIGURES
        shown = {text.get_text() for text in figures["network"].axes[0].texts}
        assert {"0.98", "0.12", "0.86", "0.11", "0.62", "0.83", "$b$ = −2"} <= shown
        image, bars = figures["digit"].axes
        np.testing.assert_array_equal(image.images[0].get_array(), result.digit.image)
        assert bars.get_title().endswith(f"= {result.digit.loss:.3f}")
        told = [text.get_text() for text in figures["xor-regions"].legends[0].get_texts()]
        assert {"output ½", "line of each unit", "line of the unit"} < set(told)
        curves = figures["xor-training"].axes[0].lines
        assert [len(line.get_xdata()) for line in curves] == [CONFIG.epochs] * 2
