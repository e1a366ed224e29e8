"""Linear spans of exact rows: what is in them, and what is orthogonal to them."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from logistack.separability import rational
from logistack.separability.alternative import ExactRows

Array = np.ndarray


class WrongGuessError(Exception):
    """Floating point was misled by rounding."""


class Span(NamedTuple):
    """Linearly independent rows, and all that they span."""

    rows: list[int]
    matrix: Array
    """(rows, entries), these rows."""
    pivots: list[int]
    """As many entries, in which the matrix is regular."""

    @classmethod
    def of(
        cls,
        exact: ExactRows,
        rows: Array,
        independent: Callable[[list[list[int]]], list[int]] = rational.independent,
    ) -> "Span":
        """Of some rows, of which the first are preferred."""
        matrix = exact.take(rows)
        own = independent(matrix.T.tolist())
        return cls(rows[own].tolist(), matrix[own], independent(matrix[own].tolist()))

    def of_all(self, exact: ExactRows) -> "Span":
        """The span of all rows, these among them."""
        span = self
        while len(span.rows) < span.matrix.shape[1]:
            outside = np.flatnonzero(span.outside(exact, np.arange(len(exact))))
            if not outside.size:
                break
            step = max(1, len(outside) // (2 * span.matrix.shape[1]))
            span = Span.of(exact, np.concatenate([np.array(span.rows, int), outside[::step]]))
        return span

    def free(self) -> Array:
        """The entries that are no pivots."""
        return np.setdiff1d(np.arange(self.matrix.shape[1]), self.pivots)

    def orthogonal(self, near: Array) -> Array:
        """The vectors orthogonal to all rows that agree with others but in the pivots, scaled.

        Args:
            near: (entries, vectors), integers.
        """
        vectors = near.astype(object)
        vectors[self.pivots] = 0
        lacking = [(-rational.dot(self.matrix, vector)).tolist() for vector in vectors.T]
        equations = self.matrix[:, self.pivots].tolist()
        solutions = rational.solve_all(equations, list(zip(*lacking, strict=True)))
        for place in range(vectors.shape[1]):
            numerators, denominator = rational.over_common_denominator(
                row[place] for row in solutions
            )
            vectors[:, place] *= denominator
            vectors[self.pivots, place] = numerators
            vectors[:, place] //= max(1, math.gcd(*vectors[:, place]))
        return vectors

    def balances(self, totals: Sequence[Array]) -> list[list[Fraction]]:
        """The amounts of these rows that add up to the negative of each total.

        Raises:
            WrongGuessError: if a total is outside of the span.
        """
        equations = self.matrix[:, self.pivots].T.tolist()
        right = [[-total[pivot] for total in totals] for pivot in self.pivots]
        solutions = rational.solve_all(equations, right)
        found = [list(amounts) for amounts in zip(*solutions, strict=True)]
        found = found or [[] for _ in totals]
        for amounts, total in zip(found, totals, strict=True):
            numerators, denominator = rational.over_common_denominator(amounts)
            sums = rational.dot(
                self.matrix.T, np.array(numerators, object)
            ) + denominator * total.astype(object)
            if sums.any():
                raise WrongGuessError
        return found

    def balance(self, total: Array) -> list[Fraction]:
        """The same for one total."""
        return self.balances([total])[0]

    def outside(self, exact: ExactRows, rows: Array) -> Array:
        """Which of some rows are not in the span: certainly these, and nearly certainly no others.

        A random vector that is orthogonal to the span modulo a prime tells.
        """
        return (exact.dot(self._orthogonal_modulo())[rows] % rational.PRIME).astype(bool)

    def _orthogonal_modulo(self) -> Array:
        prime = rational.PRIME
        vector = np.random.default_rng(0).integers(1, prime, self.matrix.shape[1]).astype(object)
        vector[self.pivots] = 0
        lacking = (-rational.dot(self.matrix, vector) % prime).tolist()
        equations = self.matrix[:, self.pivots].tolist()
        vector[self.pivots] = rational.solve_modulo(equations, lacking)
        return vector
