"""What certificates are checked with: exact products of samples, in memory that is bounded."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from logistack.separability import rational
from logistack.separability.rational import Numbers

UNIT_TOLERANCE = Fraction(1, 2**40)
"""Of a squared length that is said to be 1: thousands of roundings of a 53-bit number."""
LENGTH_BITS = 256
"""As many bits of a weight tell its length well within that tolerance."""
SHORT = 2**14
"""Bits that any number may have."""
LONGEST = 2**18
"""In bits, a denominator of which a common one is sought: that takes the square of its length."""


class Range(NamedTuple):
    """The least and greatest of some scores, in integers over one denominator."""

    low: int
    high: int
    denominator: int


def scores(inputs: rational.Columns, weight: Numbers) -> tuple[np.ndarray, int]:
    """The products weight · x of all samples, as integers over their common denominator."""
    units, denominator = inputs.over_one_denominator()
    scaled = np.zeros(len(weight), object)
    for place, value in weight.numerators.items():
        scaled[place] = value * units[place]
    return rational.dot(inputs.integers, scaled), weight.denominator * denominator


def range_of(inputs: rational.Columns, rows: np.ndarray, weight: Numbers) -> Range:
    """The least and greatest product weight · x of some samples."""
    low, high, denominator = math.inf, -math.inf, 1
    for part in rational.blocks(len(rows), weight.bits() + 64 * len(weight)):
        products, denominator = scores(inputs.take(rows[part]), weight)
        low, high = min(low, products.min()), max(high, products.max())
    return Range(int(low), int(high), denominator)


def too_long(numbers: Numbers, inputs: rational.Columns, entries: int) -> bool:
    """Whether a direction of so many entries has longer numbers than any that is needed.

    Every sample is multiplied by them. A direction that systems of so many equations determine
    has the lengths of their determinants, and a proof may be some times as long.
    """
    return numbers.bits() > SHORT + 16 * entries * (inputs.bits() + entries.bit_length())


def mixture(inputs: rational.Columns, weights: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Σ weightᵢ xᵢ."""
    numbers = Numbers.of(weights)
    sums = rational.dot(inputs.integers[list(numbers.numerators)].T, _held(numbers))
    return tuple(
        Fraction(int(total), numbers.denominator) * unit
        for total, unit in zip(sums, inputs.units, strict=True)
    )


def mixes_to(inputs: rational.Columns, rows: np.ndarray, weights: Numbers, point: Numbers) -> bool:
    """Whether Σ weightᵢ xᵢ over some samples is the point."""
    features = inputs.integers[rows[list(weights.numerators)]].T
    for part in rational.blocks(len(features), weights.bits()):
        for place, total in enumerate(rational.dot(features[part], _held(weights)), part.start):
            unit = inputs.units[place]
            left = (int(total), unit.numerator, point.denominator)
            right = (point.numerators.get(place, 0), unit.denominator, weights.denominator)
            if not _equal_products(left, right):
                return False
    return True


def _held(numbers: Numbers) -> np.ndarray:
    return np.array(list(numbers.numerators.values()), object)


def _equal_products(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    """Whether the products of two times three integers are equal, by their lengths at first."""
    if 0 in left or 0 in right:
        return (0 in left) == (0 in right)
    lengths = [sum(map(int.bit_length, factors)) for factors in (left, right)]
    if abs(lengths[0] - lengths[1]) > 2:
        return False
    return math.prod(left) == math.prod(right)


def is_unit(rows: Sequence[Numbers]) -> bool:
    """Whether the longest difference of two rows over one denominator has length 1."""
    shift = max(0, max(row.bits() for row in rows) - LENGTH_BITS)
    short = np.zeros((len(rows), len(rows[0])), object)
    for number, row in enumerate(rows):
        for place, value in row.numerators.items():
            short[number, place] = value >> shift
    longest = max(
        int(((short[number + 1 :] - short[number]) ** 2).sum(axis=1).max())
        for number in range(len(rows) - 1)
    )
    square = (rows[0].denominator >> shift) ** 2
    return abs(longest - square) < square * UNIT_TOLERANCE


def over_one_denominator(rows: Sequence[Sequence[Fraction]]) -> list[Numbers] | None:
    """Rows over their least common denominator, or None where that is much longer than theirs.

    Those of `certify` are powers of two, whose least common multiple is the greatest of them.
    """
    found = [Numbers.of(row) for row in rows]
    longest = max(row.denominator.bit_length() for row in found)
    common = 1
    for row in found:
        if longest > LONGEST or common.bit_length() > 2 * longest:
            return None
        common = math.lcm(common, row.denominator)
    return [row.over(common) for row in found]
