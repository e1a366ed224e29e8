"""Separations against enumeration in fractions, against linear programs, and against books."""

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logistack.separability import certificate_from_json, coefficients, partition, separation
from logistack.separability.alternative import Differences


def reduced(rows):
    """The reduced row echelon form in fractions, and its pivots."""
    rows, pivots = [list(map(Fraction, row)) for row in rows], []
    for column in range(len(rows[0]) if rows else 0):
        place = next((i for i in range(len(pivots), len(rows)) if rows[i][column]), None)
        if place is None:
            continue
        top = len(pivots)
        rows[top], rows[place] = rows[place], rows[top]
        rows[top] = [value / rows[top][column] for value in rows[top]]
        for i, row in enumerate(rows):
            if i != top and row[column]:
                factor = row[column]
                rows[i] = [a - factor * b for a, b in zip(row, rows[top], strict=True)]
        pivots.append(column)
    return rows[: len(pivots)], pivots


def brute_force(rows):
    """Which rows are separated and what every coefficient does, by all rays of the cone.

    In coordinates in which the rows have full rank, the cone has a corner at 0, and is spanned by
    rays that are orthogonal to as many independent rows as there are coordinates, less one.
    """
    echelon, pivots = reduced(rows)
    size, entries = len(pivots), len(rows[0])
    short = [[row[p] for p in pivots] for row in rows]
    rays = []
    for chosen in itertools.combinations(range(len(rows)), size - 1):
        within, own = reduced([short[i] for i in chosen])
        if len(own) < size - 1:
            continue
        (free,) = set(range(size)) - set(own)
        ray = [Fraction(0)] * size
        ray[free] = Fraction(1)
        for row, pivot in zip(within, own, strict=True):
            ray[pivot] = -row[free]
        for sign in (1, -1):
            values = [sign * sum(a * b for a, b in zip(row, ray, strict=True)) for row in short]
            if min(values) >= 0:
                rays.append((dict(zip(pivots, (sign * v for v in ray), strict=True)), values))
    separated = tuple(i for i in range(len(rows)) if any(values[i] for _, values in rays))
    words = []
    for place in range(entries):
        # Identified: its unit vector is a combination of the rows.
        unit = [int(k == place) for k in range(entries)]
        if len(reduced([*echelon, unit])[1]) > size:
            words.append("not identified")
            continue
        signs = {np.sign(ray.get(place, 0)) for ray, _ in rays} - {0}
        kinds = {(): "finite", (1,): "+∞", (-1,): "-∞", (-1, 1): "either"}
        words.append(kinds[tuple(sorted(signs))])
    return separated, tuple(words)


def rows_of(inputs, own, classes):
    """The rows of the multinomial model, in fractions."""
    inputs = [[Fraction(value) for value in [*row, 1]] for row in inputs]
    samples = np.array(inputs, object).reshape(len(inputs), -1)
    exact = Differences(samples, np.array(own), classes, (samples,))
    return exact.take(np.arange(len(exact))).tolist()


NUMBERS = st.one_of(
    st.integers(-2, 2),
    st.sampled_from([Fraction(1, 3), Fraction(-1, 10), 0.1, 0.3, 1e-300, 1e300, 2**70]),
)


@st.composite
def tables(draw, numbers=NUMBERS, classes=2):
    """Small samples; also duplicates, collinear and constant columns, and one class alone."""
    features = draw(st.integers(1, 3))
    row = st.lists(numbers, min_size=features, max_size=features)
    inputs = draw(st.lists(row, min_size=1, max_size=7))
    if draw(st.booleans()):
        inputs += inputs[: draw(st.integers(0, 2))]
    if draw(st.booleans()):
        inputs = [[*values, values[0] * 2] for values in inputs]
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=len(inputs), max_size=len(inputs)))
    return np.array(inputs, object).reshape(len(inputs), -1), labels


class TestTwoClasses:
    @settings(max_examples=400, deadline=None)
    @given(tables())
    def test_every_small_table_has_its_answer(self, table):
        inputs, labels = table
        found = separation(inputs, labels)
        own = np.searchsorted(np.unique(labels), labels)
        own = own if own.any() else own + 1  # one class alone is positive
        separated, words = brute_force(rows_of(inputs, own, 2))
        assert found.separated == separated
        assert found.estimates == words
        assert found.verify()
        read = certificate_from_json(found.to_json())
        assert read.verify(inputs, labels)
        assert read == found

    def test_the_weights_cancel_and_the_direction_separates(self):
        inputs, labels = [[0, 0], [1, 0], [1, 0], [2, 0], [1, 1]], [0, 0, 1, 1, 1]
        found = separation(inputs, labels)
        assert (found.kind, found.separated, found.rank) == ("quasi-complete", (0, 3, 4), 3)
        weight, bias = found.direction
        for sample, (row, label) in enumerate(zip(inputs, labels, strict=True)):
            score = sum(w * x for w, x in zip(weight, row, strict=True)) + bias
            assert (score * (2 * label - 1) > 0) == (sample in found.separated)
        shares = {sample: found.weights.get(sample, 1) for sample in (1, 2)}
        assert shares[1] == shares[2] > 0  # the two are one point with both labels
        assert str(found) == (
            "quasi-complete separation: 3 of 5 samples are separated; of 3 estimates, 3 infinite"
        )
        assert found.verify()

    def test_says_what_every_estimate_does(self):
        inputs, labels = [[0, 0], [1, 0], [1, 0], [2, 0], [1, 1]], [0, 0, 1, 1, 1]
        found = separation(inputs, labels)
        first, *lines = found.describe(labels).split("\n")
        assert first == f"Q{str(found)[1:]}."
        assert [line.split() for line in lines] == [
            ["x0", "+∞"], ["x1", "+∞"], ["intercept", "-∞"]
        ]  # fmt: skip
        assert found.table(["age", "dose"]).split()[::2] == ["age", "dose", "intercept"]
        with pytest.raises(ValueError, match="features: expected 2 names, got 1"):
            found.table(["age"])

    def test_collinear_features_are_named(self):
        rng = np.random.default_rng(0)
        inputs = rng.integers(-3, 4, (40, 3))
        inputs = np.column_stack([inputs, inputs[:, 0] + inputs[:, 1]])
        found = separation(inputs, rng.integers(0, 2, 40))
        word = "not identified"
        assert found.estimates == (word, word, "finite", word, "finite")
        assert found.rank == 4
        assert found.verify()

    def test_one_class_alone_is_separated_by_the_intercept(self):
        found = separation([[1], [2]], ["a", "a"])
        assert (found.kind, found.estimates[-1]) == ("complete", "either")
        assert found.verify()
        assert not found.verify([[1], [2]], ["a", "b"])

    @pytest.mark.parametrize("seed", range(6))
    def test_linear_programs_agree_where_they_are_well_conditioned(self, seed):
        from scipy import optimize

        rng = np.random.default_rng(seed)
        inputs = rng.normal(size=(60, 4))
        slopes = rng.normal(size=4)
        labels = inputs @ slopes + rng.normal(size=60) * (seed % 3) > 0
        if seed % 2:
            inputs[:, 0] = labels & (rng.random(60) < 0.2)
        found = separation(inputs, labels.astype(int))
        rows = np.column_stack([inputs, np.ones(60)]) * np.where(labels, 1, -1)[:, None]
        for place, word in enumerate(found.estimates):
            cost = np.zeros(5)
            cost[place] = 1
            reach = [
                -optimize.linprog(-s * cost, A_ub=-rows, b_ub=np.zeros(60), bounds=(-1, 1)).fun
                for s in (1, -1)
            ]
            up, down = (value > 1e-7 for value in reach)
            assert (
                word == {(0, 0): "finite", (1, 0): "+∞", (0, 1): "-∞", (1, 1): "either"}[up, down]
            )
        assert found.verify()

    def test_margins_far_below_what_programs_see(self):
        """The cone is so narrow that rounding misleads every guess."""
        tiny = Fraction(1, 2**60)
        inputs = [[0, 0], [1, 1 + tiny], [1, 1], [2, 2 - tiny], [3, 3]]
        found = separation(inputs, [0, 1, 0, 0, 1])
        rows = rows_of(inputs, [0, 1, 0, 0, 1], 2)
        assert (found.separated, found.estimates) == brute_force(rows)
        assert found.verify()

    def test_a_guess_that_is_wrong_is_not_believed(self, monkeypatch):
        """Whatever floating point says, exact arithmetic has the last word."""
        inputs, labels = [[0, 0], [1, 0], [1, 0], [2, 0], [1, 1]], [0, 0, 1, 1, 1]
        right = separation(inputs, labels)
        rng = np.random.default_rng(0)

        def lie(rows, clock):
            return rng.normal(size=rows.shape[1]), rng.choice([-1.0, 0.0, 1.0], len(rows))

        monkeypatch.setattr(partition, "_floating_point", lie)
        for _ in range(20):
            found = separation(inputs, labels)
            assert (found.separated, found.estimates) == (right.separated, right.estimates)
            assert found.verify()


class TestManyClasses:
    @settings(max_examples=60, deadline=None)
    @given(tables(numbers=st.integers(-2, 2), classes=3))
    def test_the_multinomial_model_of_every_small_table(self, table):
        inputs, labels = table
        classes, own = np.unique(labels, return_inverse=True)
        if len(classes) < 3:
            return
        found = separation(inputs, labels)
        separated, words = brute_force(rows_of(inputs, own, 3))
        assert found.multinomial.separated == separated
        assert found.multinomial.estimates == words
        assert found.verify()
        read = certificate_from_json(found.to_json())
        assert read == found
        assert read.verify(inputs, labels)

    def test_each_pair_and_each_against_the_rest(self):
        inputs, labels = [[0], [1], [2], [2], [3], [9]], list("aabbbc")
        found = separation(inputs, labels)
        assert {pair: part.kind for pair, part in found.pairs.items()} == {
            ("a", "b"): "complete", ("a", "c"): "complete", ("b", "c"): "complete"
        }  # fmt: skip
        assert {label: part.kind for label, part in found.rest.items()} == {
            "a": "complete", "b": "overlap", "c": "complete"
        }  # fmt: skip
        assert found.rest["b"] == separation(inputs, labels, positive="b")
        assert found.multinomial.kind == "complete"
        assert str(found).startswith(
            "3 classes: pairs 3 complete; classes against the rest 2 complete, 1 overlap; multinom"
        )
        assert "'b': x0" in found.multinomial.describe(labels)
        assert found.verify()
        assert hash(found) == hash(separation(inputs, labels))
        with pytest.raises(ValueError, match=r"labels: expected shape"):
            found.verify(inputs[:5], labels)
        assert not found.verify([[0], [1], [2], [2], [3], [2]], labels)


# Neovascularization, pulsatility index, endometrium height, and whether the histology grade is high.
ENDOMETRIAL = """
0,13,1.64,0 0,16,2.26,0 0,8,3.14,0 0,34,2.68,0 0,20,1.28,0 0,5,2.31,0 0,17,1.8,0 0,10,1.68,0
0,26,1.56,0 0,17,2.31,0 0,8,2.01,0 0,7,1.89,0 0,20,3.15,0 0,10,1.23,0 0,18,1.27,0 0,16,1.76,0
0,18,2.0,0 0,8,2.64,1 0,29,0.88,1 0,12,1.27,1 0,20,1.37,1 1,38,0.97,1 1,22,1.14,1 1,7,0.88,1
1,25,0.91,1 1,15,0.58,1 0,7,0.97,1 0,28,1.5,0 0,11,1.33,0 0,19,2.37,0 0,10,1.82,0 0,10,3.13,0
0,18,1.31,0 0,14,1.92,0 0,21,1.64,0 0,11,2.01,0 0,17,1.88,0 0,25,1.93,0 0,16,2.11,0 0,19,1.29,0
0,15,1.72,0 0,33,0.75,0 0,24,1.92,0 0,48,1.84,1 0,12,1.11,1 0,19,1.61,1 0,2,1.18,1 1,22,1.44,1
1,40,1.18,1 1,5,0.93,1 1,0,1.17,1 0,21,1.19,1 0,15,1.06,1 0,29,2.02,0 0,15,2.29,0 0,12,2.33,0
0,3,2.9,0 0,20,1.7,0 0,23,1.41,0 0,12,2.25,0 0,22,1.54,0 0,42,1.97,0 0,15,1.75,0 0,13,2.16,0
0,14,2.57,0 0,19,1.37,0 0,12,3.61,0 0,13,2.04,0 0,10,2.17,0 0,12,1.69,1 1,49,0.27,1 0,6,1.84,1
0,5,1.3,1 0,17,0.96,1 1,11,1.01,1 1,21,0.98,1 0,5,0.35,1 1,19,1.02,1 0,33,0.85,1
"""


class TestBooks:
    """The published answers of R's detectseparation for its data sets."""

    def test_endometrial_cancer_is_separated_by_neovascularization(self):
        """Heinze & Schemper, "A solution to the problem of separation in logistic regression", 2002."""
        table = [[Fraction(cell) for cell in row.split(",")] for row in ENDOMETRIAL.split()]
        inputs, labels = [row[:3] for row in table], [int(row[3]) for row in table]
        found = separation(inputs, labels)
        assert found.kind == "quasi-complete"
        assert found.estimates == ("+∞", "finite", "finite", "finite")
        # Those with neovascularization all have a high grade.
        assert found.separated == tuple(np.flatnonzero([row[0] for row in inputs]))
        assert found.verify()

    def test_the_psychiatric_interview_is_separated_but_for_one_score(self):
        """Silvapulle, "On the existence of maximum likelihood estimators", 1981."""
        cases, others = [2, 4, 5, 5, 5, 7, 7, 10], [0] * 18 + [1] * 8 + [2]
        found = separation([[score] for score in cases + others], [1] * 8 + [0] * 27)
        assert (found.kind, found.estimates) == ("quasi-complete", ("+∞", "-∞"))
        assert set(range(35)) - set(found.separated) == {0, 34}
        assert found.verify()

    def test_the_lizards_overlap(self):
        """Schoener, "Nonsynchronous spatial overlap of lizards in patchy habitats", 1970.

        Wherever grahami was seen opalinus was, too, but for four perches in the sun.
        """
        # Height, diameter, light, and two indicators of the time of day.
        times = ((0, 0), (1, 0), (0, 1))
        perches = [
            (high, wide, shady, *time)
            for shady, wide, high, time in itertools.product((0, 1), (0, 1), (0, 1), times)
            if (shady, wide, high, time) != (0, 1, 1, (1, 0))
        ]
        without = [perch for perch in perches if perch[:3] == (1, 0, 0) or perch == (1, 1, 0, 0, 0)]
        opalinus = [perch for perch in perches if perch not in without]
        labels = [1] * len(perches) + [0] * len(opalinus)
        found = separation([*perches, *opalinus], labels)
        assert (found.kind, found.rank) == ("overlap", 6)
        assert set(found.estimates) == {"finite"}
        assert found.verify()


class TestTampering:
    INPUTS = np.array([[0, 0], [1, 0], [1, 0], [2, 0], [1, 1], [2, 3], [0, 0], [1, 3]])
    LABELS = (0, 0, 1, 1, 1, 1, 0, 0)

    @pytest.mark.parametrize(
        "change",
        [
            lambda c: c["separated"].pop(),
            lambda c: c["separated"].append(1),
            lambda c: c.update(rows=c["rows"] + 1),
            lambda c: c["directions"].clear(),
            lambda c: c["directions"].append({"length": 3, "denominator": "1", "numerators": {"0": "1"}}),
            lambda c: c["directions"][0].update(numerators={}),
            lambda c: c["directions"][0].update(length=4),
            lambda c: c["weights"]["rows"].append(0),
            lambda c: c["weights"].update(
                rows=[1], numbers={"length": 1, "denominator": "1", "numerators": {"0": "2"}}
            ),
            lambda c: c["all_rows"]["rows"].append(c["all_rows"]["rows"][0]),
            lambda c: c["other_rows"]["rows"].append(0),
            lambda c: c["other_rows"]["null"].pop(),
            lambda c: c["coefficients"].pop(),
            lambda c: c["coefficients"][0].update(estimate="finite"),
            lambda c: c["coefficients"][0].update(estimate="not identified"),
            lambda c: c["coefficients"][0].update(estimate="large"),
            lambda c: c["coefficients"].reverse(),
            lambda c: c.update(positive=0),
            lambda c: c.update(numerical_only=True),
        ],
    )  # fmt: skip
    def test_what_is_changed_does_not_verify(self, change):
        found = separation(self.INPUTS, self.LABELS)
        assert found.kind == "quasi-complete"
        content = json.loads(found.to_json())
        assert certificate_from_json(json.dumps(content)).verify(self.INPUTS, self.LABELS)
        change(content)
        try:
            read = certificate_from_json(json.dumps(content))
        except ValueError:
            return
        assert not read.verify(self.INPUTS, self.LABELS)


class TestErrors:
    def test_a_budget_that_ends_is_said(self, monkeypatch):
        with pytest.raises(ValueError, match="budget: expected seconds above 0, got 0"):
            separation([[0], [1]], [0, 1], budget=0)
        with pytest.raises(TimeoutError, match="budget: expected more seconds"):
            separation([[0], [1], [2]], [0, 1, 0], budget=1e-9)

        monkeypatch.setattr(coefficients._Search, "run", lambda *_: {})
        found = separation([[0, 0], [1, 0], [2, 1], [3, 3]], [0, 0, 1, 1])
        assert set(found.estimates) == {"undecided"}
        assert found.kind == "complete"
        assert "3 undecided" in str(found)
        assert found.verify()

    def test_labels_are_known(self):
        with pytest.raises(ValueError, match="positive: expected one of the labels"):
            separation([[0], [1]], [0, 1], positive=2)
        with pytest.raises(ValueError, match="inputs: expected finite values"):
            separation([[np.nan], [1.0]], [0, 1])
