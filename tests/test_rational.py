"""Exact numbers against Python's own integers and fractions."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logistack.separability import rational

FINITE = st.floats(allow_nan=False, allow_infinity=False)
INT64 = st.integers(-(2**63), 2**63 - 1)
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.integers(-9, 9), min_size=width, max_size=width),
                           min_size=1, max_size=5)
)  # fmt: skip


def fractions_of(columns):
    return [
        [int(value) * unit for value, unit in zip(row, columns.units, strict=True)]
        for row in columns.integers.tolist()
    ]  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=6))
@example([(5e-324, 1.7e308), (-1.7e308, 0.0)])
@example([(0.0, -0.0)])
def test_floats_are_what_they_are(rows):
    found = rational.columns_of("inputs", np.array(rows))
    assert fractions_of(found) == [[Fraction(value) for value in row] for row in rows]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, jnp.bfloat16, np.int8, np.uint32, bool])
def test_every_dtype_is_what_it_is(dtype):
    values = np.array([[0.1, 3, 0], [-1.7, 100, 1]]).astype(dtype)
    found = rational.columns_of("inputs", values)
    assert fractions_of(found) == [
        [Fraction(float(value)) for value in row] for row in values.tolist()
    ]
    assert found.integers.dtype == np.int64


@given(st.lists(st.tuples(INT64, INT64), min_size=1, max_size=4))
@example([(-(2**63), 2**63 - 1)])
def test_integers_are_what_they_are(rows):
    found = rational.columns_of("inputs", np.array(rows, np.int64))
    assert fractions_of(found) == [list(row) for row in rows]
    # Of what stays int64 the negative is one, too, which a matrix of signed samples relies on.
    assert found.integers.dtype == object or np.abs(found.integers).max(initial=0) < 2**62


EXACT = st.one_of(
    st.integers(), st.fractions(), FINITE, st.decimals(allow_nan=False, allow_infinity=False)
)


@given(st.lists(st.tuples(EXACT, EXACT), min_size=1, max_size=4))
@example([(Fraction(1, 10), 2**53 + 1), (0.1, 0.5)])
def test_python_numbers_are_what_they_are(rows):
    expected = [[Fraction(value) for value in row] for row in rows]
    assert fractions_of(rational.columns_of("inputs", np.array(rows, object))) == expected
    # Also in a list, of which NumPy would make floats.
    assert fractions_of(rational.columns_of("inputs", rows)) == expected


@settings(max_examples=300)
@given(st.data())
def test_products_are_exact_at_any_size(data):
    """In pieces of the vector that are short enough for int64, or by Python's integers."""
    bits = data.draw(st.sampled_from([1, 8, 30, 50, 53, 54, 60, 62]))
    entries = st.integers(-(2**bits) + 1, 2**bits - 1)
    width = data.draw(st.integers(1, 5))
    row = st.lists(entries, min_size=width, max_size=width)
    matrix = data.draw(st.lists(row, min_size=1, max_size=4))
    large = st.integers(-(2**400), 2**400)
    vector = data.draw(st.lists(large, min_size=width, max_size=width))
    found = rational.dot(np.array(matrix, np.int64), np.array(vector, object))
    wanted = [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]
    assert found.tolist() == wanted
    assert rational.dot(np.array(matrix, object), np.array(vector, object)).tolist() == wanted


@settings(max_examples=200)
@given(st.data())
def test_products_with_numbers_of_very_different_lengths_are_exact(data):
    width = data.draw(st.integers(0, 5))
    lengths = st.sampled_from([0, 1, 40, 60, 700, 6000])
    vector = [
        data.draw(st.integers(-(2**bits), 2**bits))
        for bits in data.draw(st.lists(lengths, min_size=width, max_size=width))
    ]
    bits = data.draw(st.sampled_from([1, 30, 50, 61]))
    row = st.lists(st.integers(-(2**bits), 2**bits), min_size=width, max_size=width)
    matrix = data.draw(st.lists(row, max_size=3))
    long_bits = data.draw(st.sampled_from([61, 62, 93, 200, 247, 248, 249, 5000]))
    long = data.draw(
        st.lists(st.integers(-(2**long_bits), 2**long_bits), min_size=width, max_size=width)
    )
    pieces = rational.pieces(np.array([*matrix, long], object).reshape(len(matrix) + 1, width))
    assert rational.dot_of(pieces, np.array(vector, object)).tolist() == [
        sum(a * b for a, b in zip(r, vector, strict=True)) for r in [*matrix, long]
    ]
    for dtype in (np.int64, object):
        rows = np.array(matrix, dtype).reshape(len(matrix), width)
        found = rational.dot(rows, np.array(vector, object)).tolist()
        assert found == [sum(a * b for a, b in zip(r, vector, strict=True)) for r in matrix]
        assert all(type(value) is int for value in found)


@given(st.lists(st.fractions(), max_size=6), st.integers(1, 9))
def test_numbers_are_the_fractions_that_they_are_made_of(values, factor):
    found = rational.Numbers.of(values)
    found = found.over(found.denominator * factor)
    assert found == tuple(values)
    assert tuple(values) == found
    assert found == rational.Numbers.of(values)
    assert hash(found) == hash(tuple(values))
    assert list(found) == [found[place] for place in range(len(found))] == values
    assert found[1:] == tuple(values[1:])
    assert found[-1:] == tuple(values[-1:])
    assert found != (*values, Fraction(1))
    np.testing.assert_array_equal(np.array(found, float), np.array(values, float))
    assert rational.Numbers.of(found) is found
    with pytest.raises(IndexError):
        found[len(values)]


def test_products_of_floats_are_those_of_numpy():
    rng = np.random.default_rng(0)
    matrix, vector = rng.normal(size=(5, 3)), rng.normal(size=3)
    np.testing.assert_array_equal(rational.dot(matrix, vector), matrix @ vector)


@given(st.lists(st.fractions(), max_size=5))
def test_a_common_denominator_is_the_least(values):
    integers, denominator = rational.over_common_denominator(values)
    assert [Fraction(value, denominator) for value in integers] == values
    assert denominator == 1 or np.gcd.reduce(np.array([*integers, denominator], object)) == 1


@given(st.fractions(), st.integers(2, 80))
def test_rounding_keeps_so_many_bits(value, bits):
    found = rational.rounded(value, bits)
    assert abs(found - value) <= abs(value) * Fraction(1, 2 ** (bits - 1))
    odd = found.numerator
    while odd and odd % 2 == 0:
        odd //= 2
    assert abs(odd).bit_length() <= bits + 1
    assert found.denominator & (found.denominator - 1) == 0


@given(ROWS)
def test_independent_columns_and_the_null_space(rows):
    columns = rational.independent(rows)
    matrix = np.array(rows)
    assert len(columns) == np.linalg.matrix_rank(matrix)
    assert np.linalg.matrix_rank(matrix[:, columns]) == len(columns)
    # The first ones: none of the others is independent of those before it.
    for column in set(range(matrix.shape[1])) - set(columns):
        before = [c for c in columns if c < column]
        assert np.linalg.matrix_rank(matrix[:, [*before, column]]) == len(before)
    basis = rational.null_space(rows)
    assert basis.shape == (matrix.shape[1], matrix.shape[1] - len(columns))
    assert not (matrix.astype(object) @ basis).any()
    if basis.size:
        assert np.linalg.matrix_rank(basis.astype(float)) == basis.shape[1]


@given(st.data())
def test_a_solution_solves(data):
    size = data.draw(st.integers(1, 4))
    row = st.lists(st.integers(-9, 9), min_size=size, max_size=size)
    matrix = data.draw(st.lists(row, min_size=size, max_size=size))
    if len(rational.independent(matrix)) < size:
        return
    right = data.draw(row)
    found = rational.solve(matrix, right)
    assert [sum(a * b for a, b in zip(row, found, strict=True)) for row in matrix] == right


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(1, 3), "0.333"),
        (Fraction(2), "2"),
        (Fraction(1, 3 * 10**400), "3.33e-401"),
        (Fraction(4 * 10**400), "4.00e+400"),
        (Fraction(-1, 3 * 10**400), "-3.33e-401"),
        (Fraction(0), "0"),
    ],
)
def test_three_digits_have_no_range(value, text):
    assert rational.three_digits(value) == text
