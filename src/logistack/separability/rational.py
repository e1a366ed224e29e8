"""Exact numbers: every float is an integer times a power of two, and integers add up exactly.

What a certificate's `verify` needs is here and uses integers alone; the solver of linear systems
is FLINT's.
"""

import decimal
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PRIME = 2**61 - 1
"""A Mersenne prime. What is independent modulo a prime is independent."""


class Columns(NamedTuple):
    """A matrix of rational numbers, column j being `integers[:, j]` times 2 ** `exponents[j]`."""

    integers: np.ndarray
    """(rows, columns), int64 of at most 62 bits where they fit, Python integers elsewhere."""
    exponents: list[int]

    def take(self, rows: Any) -> "Columns":
        """Some of the rows, by number or by whether."""
        return self._replace(integers=self.integers[rows])


def columns_of(name: str, array: Any) -> Columns:
    """The exact values of a matrix of numbers, refusing what is none or is not finite."""
    if isinstance(array, jax.core.Tracer):
        raise TypeError(f"{name}: expected concrete numbers, got the tracer {array}")
    try:
        array = np.asarray(array)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name}: expected an array of numbers, got {error}") from error
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name}: expected (samples, features), at least one of each, got shape {array.shape}"
        )
    if array.dtype.kind in "bu" or np.issubdtype(array.dtype, np.integer):
        if array.dtype.kind == "m":
            raise TypeError(f"{name}: expected real numbers, got dtype {array.dtype}")
        # Beyond that, the negative of an int64 may be none.
        wide = max(int(array.max()), -int(array.min())) >= 1 << 62
        return Columns(array.astype(object if wide else np.int64), [0] * array.shape[1])
    if not jnp.issubdtype(array.dtype, np.floating) or array.dtype.itemsize > 8:
        raise TypeError(
            f"{name}: expected real numbers of at most 64 bits, got dtype {array.dtype}"
        )
    array = array.astype(np.float64)
    bad = array.size - np.isfinite(array).sum()
    if bad:
        raise ValueError(f"{name}: expected finite values, got {bad} NaN or ±inf of {array.size}")

    mantissas, exponents = np.frexp(array)
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    exponents = exponents.astype(np.int64) - 53
    # Zeros at the end of a mantissa go to the exponent, so that pixels stay small integers.
    zeros = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    zeros = np.where(integers == 0, 0, zeros)
    integers >>= zeros
    exponents += zeros
    lowest = np.where(integers == 0, 10**4, exponents).min(axis=0)
    shifts = np.where(integers == 0, 0, exponents - lowest)
    bits = np.frexp(np.abs(integers).astype(np.float64))[1] + shifts
    if bits.max() > 62:
        integers, shifts = integers.astype(object), shifts.astype(object)
    return Columns(integers << shifts, np.where(lowest == 10**4, 0, lowest).tolist())


def dot(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """`matrix @ vector`, exact unless they are floats.

    An int64 matrix is multiplied by pieces of the vector that are short enough for the sums to
    stay below 2⁶³; any other, by Python's integers.
    """
    if matrix.dtype != np.int64:
        return matrix @ vector
    largest = max(int(matrix.max(initial=0)), -int(matrix.min(initial=0)))
    width = 62 - largest.bit_length() - matrix.shape[1].bit_length()
    if width < 8:
        return matrix.astype(object) @ vector
    total = np.zeros(len(matrix), object)
    mask, shift = (1 << width) - 1, 0
    signs = np.array([-1 if value < 0 else 1 for value in vector], np.int64)
    rest = [abs(int(value)) for value in vector]
    while any(rest):
        piece = signs * np.array([value & mask for value in rest], np.int64)
        total += (matrix @ piece).astype(object) << shift
        rest = [value >> width for value in rest]
        shift += width
    return total


def over_common_denominator(values: Iterable[Fraction]) -> tuple[list[int], int]:
    """Integers and the denominator that makes them the values."""
    values = list(values)
    denominator = math.lcm(*(value.denominator for value in values))
    return [value.numerator * (denominator // value.denominator) for value in values], denominator


def rounded(value: Fraction, bits: int) -> Fraction:
    """The nearest number of so many significant bits."""
    if not value:
        return value
    shift = bits - (value.numerator.bit_length() - value.denominator.bit_length())
    scale = Fraction(2) ** shift
    return Fraction(round(value * scale)) / scale


def three_digits(value: Fraction) -> str:
    """Three significant digits in decimal, also of what lies beyond the range of floats."""
    context = decimal.Context(prec=3)
    quotient = context.divide(decimal.Decimal(value.numerator), decimal.Decimal(value.denominator))
    number = float(quotient)
    return f"{number:.3g}" if 1e-300 < abs(number) < 1e300 else f"{quotient:.3g}"


def independent(rows: Sequence[Sequence[int]]) -> list[int]:
    """The first columns of a matrix that are linearly independent, up to as many as its rank.

    They are independent modulo `PRIME`, and so exactly. That others depend on them is only all
    but certain.
    """
    import flint

    modulo = flint.nmod_mat(
        len(rows), len(rows[0]), [value % PRIME for row in rows for value in row], PRIME
    )
    reduced, rank = modulo.rref()
    pivots, column = [], 0
    for row in range(rank):
        while not int(reduced[row, column]):
            column += 1
        pivots.append(column)
    return pivots


def solve(matrix: Sequence[Sequence[int]], right: Sequence[int]) -> list[Fraction]:
    """The solution of a square system of full rank."""
    import flint

    solution = flint.fmpz_mat(matrix).solve(flint.fmpz_mat([[value] for value in right]))
    return [Fraction(int(value.p), int(value.q)) for value in solution.entries()]


def null_space(matrix: Sequence[Sequence[int]]) -> np.ndarray:
    """A basis of the vectors that a matrix takes to zero, as the columns of an integer matrix."""
    import flint

    basis, count = flint.fmpz_mat(matrix).nullspace()
    columns = [[int(basis[row, column]) for column in range(count)] for row in range(basis.nrows())]
    return np.array(columns, object).reshape(basis.nrows(), count)
