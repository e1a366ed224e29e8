"""Separations against enumeration in fractions, against linear programs, and against books."""

import itertools
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from logistack.separability import (
    certificate_from_json,
    separation,
)
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
    exact = Differences(samples, np.array(own), classes)
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
