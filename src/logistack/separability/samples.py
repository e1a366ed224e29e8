"""Samples in two forms: exact, and scaled for floating point."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from logistack.separability import rational
from logistack.separability.alternative import Differences, Matrix
from logistack.separability.certificates import Line
from logistack.separability.rational import Numbers


class Samples(NamedTuple):
    """The samples that a question is about, and the map between their two forms."""

    exact: rational.Columns
    relative: np.ndarray
    """(samples, features), float64: the exact integers / 2 ** `unit`, up to rounding."""
    center: np.ndarray
    """(features,), of the relative ones."""
    unit: list[int]
    """(features,), powers of two: the largest integer is in 1/2 ... 1 of them."""
    scale: np.ndarray
    """(features,), powers of two: scaled = (relative - center) / 2 ** scale."""

    @classmethod
    def of(cls, exact: rational.Columns, part: np.ndarray) -> "Samples":
        """The samples for which `part` is true."""
        exact = exact.take(part)
        unit = [int(largest).bit_length() for largest in np.abs(exact.integers).max(axis=0)]
        if exact.integers.dtype == object:
            powers = np.array([1 << power for power in unit], object)
            relative = (exact.integers / powers).astype(np.float64)
        else:
            relative = np.ldexp(exact.integers.astype(np.float64), np.negative(unit))
        center = (relative.max(axis=0) + relative.min(axis=0)) / 2
        scale = np.frexp(np.abs(relative - center).max(axis=0))[1]
        return cls(exact, relative, center, unit, scale)

    def floats(self) -> np.ndarray:
        """(samples, features), all in one unit, in which the largest is about 1."""
        sizes = [
            Fraction(2) ** power * unit
            for power, unit in zip(self.unit, self.exact.units, strict=True)
        ]
        largest = max(sizes)
        return self.relative * np.array([float(size / largest) for size in sizes])

    def rows(self, own: np.ndarray, classes: int) -> tuple[Differences, Differences]:
        """The rows of Gordan's alternative, exact and approximate."""
        scaled = np.ldexp(self.relative - self.center, -self.scale)
        scaled = np.concatenate([scaled, np.ones_like(scaled[:, :1])], axis=1)
        return Differences.of(self.exact, own, classes), Differences(scaled, own, classes)

    def lift(self, direction: np.ndarray) -> np.ndarray:
        """The direction for the exact rows that has the values of one for the approximate rows."""
        lifted: list[Fraction] = []
        for *weight, bias in direction.reshape(-1, len(self.unit) + 1).tolist():
            total = Fraction(bias)
            for w, center, unit, scale in zip(
                weight, self.center, self.unit, self.scale, strict=True
            ):
                w = Fraction(w) / Fraction(2) ** int(scale)
                total -= w * Fraction(float(center))
                lifted.append(w / (1 << unit))
            lifted.append(total)
        return np.array(rational.over_common_denominator(lifted)[0], object)

    def units(self, entries: int) -> list[Fraction]:
        """Those of a direction for the exact rows, which has so many entries."""
        return [*self.exact.units, Fraction(1)] * (entries // (len(self.exact.units) + 1))

    def numbers(self, direction: np.ndarray) -> Numbers:
        """What a direction for the exact rows is for the inputs."""
        pairs = zip(direction.tolist(), self.units(len(direction)), strict=True)
        return Numbers.of(Fraction(value) / unit for value, unit in pairs)

    def lines(self, direction: np.ndarray) -> list[Line]:
        """The same, as a line for each class but the first."""
        entries = list(self.numbers(direction))
        size = len(self.exact.units) + 1
        return [
            Line(tuple(entries[start : start + size - 1]), entries[start + size - 1])
            for start in range(0, len(entries), size)
        ]


def unit_length(weight: Sequence[Fraction], bits: int) -> tuple[Fraction, ...]:
    """The direction of a vector at length 1, in numbers of so many significant bits."""
    scale = inverse_root(sum((w * w for w in weight), Fraction(0)), bits)
    return tuple(rational.rounded(w * scale, bits) for w in weight)


def inverse_root(value: Fraction, bits: int) -> Fraction:
    """1 / √value, to a relative error of at most 2 ** -bits."""
    # √(p / q) = √(pq) / q, and pq · 4 ** bits is at least 4 ** bits.
    root = math.isqrt(value.numerator * value.denominator << 2 * bits)
    return Fraction(value.denominator << bits, root)


def short(values: np.ndarray, bits: int) -> np.ndarray:
    """Floats as whole multiples of a power of two, of which the largest has so many bits."""
    unit = np.ldexp(1.0, np.frexp(np.abs(values).max())[1] - bits)
    return np.round(values / unit) * unit


def in_floats(
    integers: np.ndarray,
) -> tuple[Matrix, Matrix, Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Rows as they are and in floating point, what takes a direction back, and the columns' units.

    Every row has its largest entry's scale, which may be far beyond what a float holds.
    """
    integers = rational.narrowed(integers)
    units = [1 << int(size).bit_length() for size in np.abs(integers).max(axis=1, initial=0)]
    floats = (integers / np.array(units, integers.dtype)[:, None]).astype(np.float64)
    # Powers of two, so that what is lifted stays short.
    scale = np.ldexp(1.0, np.frexp(np.abs(floats).max(axis=0, initial=0))[1])

    def lift(direction: np.ndarray) -> np.ndarray:
        pairs = zip(direction.tolist(), scale.tolist(), strict=True)
        values = [Fraction(value) / Fraction(unit) for value, unit in pairs]
        return np.array(rational.over_common_denominator(values)[0], object)

    return Matrix(integers), Matrix(floats / scale), lift, scale
