"""Statistics: intervals hold what they say, differences are claimed as seldom as they say."""

import itertools
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import logistack as ls

NAN, INF = float("nan"), float("inf")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


class TestSummarize:
    def test_mean_and_deviation_are_those_of_numpy(self):
        values, widths = draw(0, 60), np.tile([8, 16, 4], 20)
        found = ls.summarize(values, widths)
        assert [row.setting for row in found.rows] == [(8,), (16,), (4,)]
        for row in found.rows:
            own = values[widths == row.setting[0]]
            assert (row.members, row.not_finite) == (20, ())
            np.testing.assert_allclose((row.mean, row.std), (own.mean(), own.std(ddof=1)))

    @pytest.mark.parametrize("confidence", [0.8, 0.95])
    def test_the_interval_is_scipy_s_percentile_bootstrap_at_a_wider_level(self, confidence):
        values = np.exp(draw(1, 12))
        quantile = np.sqrt(12 / 11) * stats.t.ppf((1 - confidence) / 2, 11)
        wanted = stats.bootstrap(
            (values,), np.mean, method="percentile", n_resamples=20_000,
            confidence_level=1 - 2 * stats.norm.cdf(quantile),
        ).confidence_interval  # fmt: skip
        (row,) = ls.summarize(values, confidence=confidence, resamples=20_000).rows
        np.testing.assert_allclose((row.low, row.high), wanted, rtol=0.03)

    def test_95_of_100_intervals_hold_the_mean(self):
        # Of 10 values; the plain bootstrap's hold it in 90. 400 draws have a deviation of 0.011.
        found = ls.summarize(draw(2, 4000), np.repeat(np.arange(400), 10), resamples=999)
        held = np.mean([row.low <= 0 <= row.high for row in found.rows])
        assert 0.925 < held < 0.98

    def test_what_is_not_finite_is_counted_and_named_and_the_rest_is_summarized(self):
        values = [1.0, NAN, 3.0, INF, 5.0, -INF]
        one, other = ls.summarize(values, ["a", "a", "a", "b", "b", "b"]).rows
        assert (one.members, one.not_finite, one.mean) == (3, (1,), 2.0)
        assert (other.members, other.not_finite, other.mean) == (3, (3, 5), 5.0)
        assert np.isnan((other.std, other.low, other.high)).all()  # one value says nothing of these
        (none,) = ls.summarize([NAN, NAN]).rows
        assert none.not_finite == (0, 1)
        assert np.isnan(none[3:]).all()

    def test_equal_values_have_an_interval_of_no_length(self):
        (row,) = ls.summarize(np.full(5, 0.25)).rows
        assert row[3:] == (0.25, 0.0, 0.25, 0.25)

    def test_a_setting_is_the_same_beside_others_and_in_blocks(self, monkeypatch):
        values = draw(3, 30)
        alone = ls.summarize(values[:15], ["a"] * 15).rows[0]
        assert ls.summarize(values, ["a"] * 15 + ["b"] * 15).rows[0] == alone
        assert ls.summarize(values[:15], ["a"] * 15, seed=1).rows[0] != alone
        many = ls.summarize(draw(4, 3000), resamples=999).rows[0]  # 3,000,000 numbers: 3 blocks
        np.testing.assert_allclose((many.high - many.low) / 2, 1.96 / np.sqrt(3000), rtol=0.15)

    @pytest.mark.parametrize(
        "settings",
        [
            [(8, 0.5), (8, 0.25), (8, 0.5)],
            {"width": jnp.array([8, 8, 8]), "rate": np.array([0.5, 0.25, 0.5])},
            np.array([[8, 0.5], [8, 0.25], [8, 0.5]]),
        ],
    )
    def test_labels_may_be_pairs(self, settings):
        one, other = ls.summarize([1, 2, 3], settings).rows
        assert (one.members, other.members) == (2, 1)
        assert np.ravel(one.setting).tolist() == [8, 0.5]

    def test_prints_as_a_table(self):
        settings = {"width": [8, 8, 16, 16], "rate": np.float32([0.1] * 4)}
        assert str(ls.summarize([0.5, 1.0, -0.25, NAN], settings, confidence=0.9)).splitlines() == [
            "width  rate  members   mean    std  90% interval",
            "    8   0.1        2   0.75  0.354      0.5 to 1",
            "   16   0.1        2  −0.25    nan    nan to nan  1 not finite: member 3",
        ]

    def test_gives_a_data_frame(self, monkeypatch):
        found = ls.summarize([1.0, 2.0, NAN], {"width": [8, 8, 16], "rate": [0.1] * 3})
        frame = found.to_frame()
        assert list(frame.columns) == [
            "width", "rate", "members", "not_finite", "mean", "std", "low", "high",
        ]  # fmt: skip
        assert frame.iloc[0].tolist() == [8, 0.1, *found.rows[0][1:]]
        assert frame.not_finite.tolist() == [(), (2,)]
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'logistack\[frames\]'"):
            found.to_frame()

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            (([],), ValueError, r"values: expected one number .* got shape \(0,\)"),
            ((np.ones((2, 3)),), ValueError, r"values: expected one number .* got shape \(2, 3\)"),
            ((["a"],), TypeError, "values: expected an array of real numbers"),
            (([1, 2], [8]), ValueError, "settings: expected a label for each of 2 members, got 1"),
            (([1], {"w": [8, 9]}), ValueError, r"settings\['w'\]: expected a label for each of 1"),
            (([1], "a"), TypeError, "settings: expected a label for each member, got 'a'"),
            (([1], 8), TypeError, "settings: expected a label for each member, got 8"),
            (([1], [{}]), TypeError, r"settings: expected labels that can be hashed, got \{\}"),
            (([1], [NAN]), ValueError, "settings: expected labels that equal themselves, got nan"),
            (([1], {}), ValueError, "settings: expected labels, got none"),
        ],
    )
    def test_refuses_what_is_not_a_number_and_a_label_for_each(self, arguments, error, words):
        with pytest.raises(error, match=f"^{words}"):
            ls.summarize(*arguments)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"confidence": 0}, "confidence: expected a number above 0 and below 1, got 0"),
            ({"confidence": 1}, "confidence: expected a number above 0 and below 1, got 1"),
            ({"resamples": 0}, "resamples: expected at least 1, got 0"),
            ({"seed": -1}, "seed: expected at least 0, got -1"),
        ],
    )
    def test_refuses_options_out_of_range(self, options, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            ls.summarize([1.0, 2.0], **options)


def two(first, second):
    """The arguments of a comparison of two settings over as many runs."""
    count = len(first)
    return [*first, *second], ["a"] * count + ["b"] * count, [*range(count)] * 2


class TestCompare:
    def test_independent_runs_are_scipy_s_paired_t_test(self):
        first, second = draw(5, 9), draw(6, 9) + 0.7
        (row,) = ls.compare(*two(first, second)).rows
        wanted = stats.ttest_rel(first, second)
        np.testing.assert_allclose(row.p, wanted.pvalue)
        np.testing.assert_allclose((row.low, row.high), wanted.confidence_interval())
        np.testing.assert_allclose(row.difference, first.mean() - second.mean())
        assert (row.first, row.second, row.runs, row.not_finite) == (("a",), ("b",), 9, ())

    def test_folds_have_the_corrected_variance(self):
        # By hand: d = 1, 2, 3, 6 has the mean 3 and the variance 14/3; of 4 folds n₂/n₁ is 1/3.
        (row,) = ls.compare(*two([1, 2, 3, 6], [0] * 4), test_over_train=1 / 3).rows
        error = np.sqrt((1 / 4 + 1 / 3) * 14 / 3)
        half = 3.182446305 * error  # the quantile of t with 3 degrees of freedom, from a table
        np.testing.assert_allclose((row.low, row.high), (3 - half, 3 + half))
        # Its distribution function in closed form.
        t = 3 / error
        upper = 0.5 - (np.arctan(t / 3**0.5) + t * 3**0.5 / (t * t + 3)) / np.pi
        np.testing.assert_allclose(row.p, 2 * upper)

    def test_the_correction_keeps_false_findings_of_overlapping_folds_rare(self):
        # Two learners that are equal, apart from noise of the training samples that they share:
        # the mean of a random half, with opposite signs, over 10 divisions into halves.
        random = np.random.default_rng(7)
        found = []
        for _ in range(300):
            noise = random.normal(size=40)
            halves = [random.permutation(40) < 20 for _ in range(10)]
            d = [noise[half].mean() - noise[~half].mean() / 2 for half in halves]
            plain, corrected = (
                ls.compare(*two(d, np.zeros(10)), test_over_train=share).rows[0].shown
                for share in (0, 1)
            )
            found.append((plain, corrected))
        plain, corrected = np.mean(found, axis=0)
        assert corrected < 0.08
        assert plain > 0.15

    def test_runs_are_paired_by_their_labels(self):
        first, second = draw(8, 6), draw(9, 6)
        values, settings, runs = two(first, second)
        order = np.random.default_rng(10).permutation(12)
        mixed = ls.compare(*(np.array(part)[order] for part in (values, settings, runs))).rows[0]
        wanted = abs(stats.ttest_rel(first, second).statistic)
        np.testing.assert_allclose(2 * stats.t.sf(wanted, 5), mixed.p)
        named = {"repeat": np.tile([0, 0, 0, 1, 1, 1], 2), "fold": np.tile([0, 1, 2], 4)}
        assert ls.compare(values, settings, named).rows == ls.compare(values, settings, runs).rows

    def test_a_run_that_is_not_finite_is_counted_and_named(self):
        first, second = draw(11, 8), draw(12, 8) + 2
        whole = [np.delete(part, [2, 5]) for part in (first, second)]
        wanted = ls.compare(*two(*whole)).rows[0]
        first[2], second[5], first[5] = NAN, INF, INF
        (row,) = ls.compare(*two(first, second)).rows
        assert (row.runs, row.not_finite) == (8, ((2,), (5,)))
        assert row[4:] == wanted[4:]
        assert str(row).endswith("; 2 not finite: run 2, 5")

    def test_one_run_says_nothing(self):
        (row,) = ls.compare(*two([1.0, NAN], [2.0, 3.0])).rows
        assert row.difference == -1
        assert np.isnan(row[5:]).all()
        assert not row.shown
        assert str(row) == "a and b: nothing can be said; 1 not finite: run 1"

    def test_equal_differences_are_the_limit(self):
        (same,) = ls.compare(*two([1.0, 2.0], [1.0, 2.0])).rows
        assert same[4:] == (0, 0, 0, 1)
        assert same.words == "no difference shown"
        (all_one,) = ls.compare(*two([1.0, 2.0], [2.0, 3.0])).rows
        assert all_one[4:] == (-1, -1, -1, 0)
        assert all_one.words == "b is larger than a by 1"

    def test_many_pairs_hold_at_once(self):
        values, settings = draw(13, 4, 7).ravel(), np.repeat([1, 2, 3, 4], 7)
        values[settings == 4] += 2
        found = ls.compare(values, settings, np.tile(np.arange(7), 4)).rows
        assert [row.first + row.second for row in found] == [
            *itertools.combinations([1, 2, 3, 4], 2)
        ]
        for row in found:
            pair = [values[settings == side[0]] for side in (row.first, row.second)]
            alone = stats.ttest_rel(*pair)
            np.testing.assert_allclose(row.p, min(1, 6 * alone.pvalue))
            wanted = alone.confidence_interval(1 - 0.05 / 6)
            np.testing.assert_allclose((row.low, row.high), wanted)
            assert row.shown == (row.p < 0.05)
        assert {row.shown for row in found} == {False, True}

    def test_one_setting_may_be_that_with_which_all_are_compared(self):
        values, settings, runs = draw(14, 15), np.repeat([4, 8, 16], 5), np.tile(np.arange(5), 3)
        found = ls.compare(values, settings, runs, against=8).rows
        assert [(row.first, row.second) for row in found] == [((4,), (8,)), ((16,), (8,))]
        assert ls.compare(values, settings, runs, against=(8,)).rows == found
        alone = stats.ttest_rel(values[10:], values[5:10])
        np.testing.assert_allclose(found[1].p, min(1, 2 * alone.pvalue))

    @pytest.mark.parametrize(
        ("second", "words"),
        [
            ([1.5, 2.6, 3.7], "b is larger than a by 0.6 (0.352 to 0.848, p = 0.0091)"),
            ([0.5, 1.4, 2.3], "a is larger than b by 0.6 (0.352 to 0.848, p = 0.0091)"),
            ([1.5, 1.0, 3.1], "a and b: no difference shown (−1.8 to 2.06, p = 0.79)"),
        ],
    )
    def test_says_which_is_larger_or_that_none_is_shown(self, second, words):
        (row,) = ls.compare(*two([1.0, 2.0, 3.0], second)).rows
        assert str(row) == words

    def test_prints_as_a_table_and_gives_a_data_frame(self):
        widths = np.repeat([8, 16], 3)
        found = ls.compare([1, 2, 3, 1.5, 2.6, 3.7], {"width": widths}, [0, 1, 2] * 2)
        assert str(found).splitlines() == [
            "width (first)  (second)  runs  difference      95% interval       p",
            "            8        16     3        −0.6  −0.848 to −0.352  0.0091"
            "  16 is larger than 8 by 0.6",
        ]
        frame = found.to_frame()
        assert list(frame.columns) == [
            "first width", "second width", "runs", "not_finite", "difference", "low", "high", "p",
            "words",
        ]  # fmt: skip
        assert frame.iloc[0].tolist() == [8, 16, *found.rows[0][2:], found.rows[0].words]

    @pytest.mark.parametrize(
        ("settings", "runs", "options", "words"),
        [
            ("aabb", [0, 0, 0, 1], {}, "runs: expected a run once in a setting, got 0 twice in a"),
            ("aabb", [0, 1, 0, 2], {}, "runs: expected the same for every .*, got none 2 in a"),
            ("aaaa", [0, 1, 2, 3], {}, "settings: expected at least two, got 1"),
            ("aabb", [0, 1, 0], {}, "runs: expected a label for each of 4 members, got 3"),
            (
                "aabb",
                [0, 1] * 2,
                {"against": "c"},
                "against: expected one of the settings, got 'c'",
            ),
            ("aabb", [0, 1] * 2, {"test_over_train": -1}, "test_over_train: expected at least 0"),
            ("aabb", [0, 1] * 2, {"confidence": 1}, "confidence: expected a number above 0"),
        ],
    )
    def test_refuses_what_is_not_paired(self, settings, runs, options, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            ls.compare([1.0, 2.0, 3.0, 4.0], list(settings), runs, **options)
