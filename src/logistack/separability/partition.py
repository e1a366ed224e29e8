"""Which rows some direction puts strictly on their own side: the largest such set, proven.

Of any rows a there is exactly one set S, the largest that a direction v with a · v ≥ 0 for every
row can have with a · v > 0. Strict complementarity (Goldman & Tucker, "Theory of linear
programming", 1956) proves it from both sides: the same v has a · v = 0 on the other rows T, and
there are weights λ > 0 on T with Σ λᵢ aᵢ = 0, which leave no direction with a · v > 0 on any of
them. Gordan's alternative is whether T is empty.

Linear programs find both, on as few rows as they need:

    max Σ aᵢ · v  over  aᵢ · v ≥ 0, |v| ≤ 1.

What v separates belongs to S, and the program is asked again for the other rows alone, since a
multiple of v outweighs whatever the next direction does to these. When nothing is gained, the rows
that are left are T: by the dual, Σ (1 + wᵢ) aᵢ = 0 for the multipliers w ≥ 0, so that λ = 1 + w is
at least 1. Most of w are 0, and the others, at most as many as a row has entries, follow exactly
from which they are. Least squares often find a direction before any program.

Where rounding misled them, Gordan's alternative is asked again and again, by exact arithmetic to
its end: weights that it finds force a · v = 0 on their rows, so v is in their null space, where the
question is Gordan's again (Borwein & Wolkowicz, "Facial reduction for a cone-convex programming
problem", 1981).
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from logistack.separability import rational
from logistack.separability.alternative import (
    ROUNDING,
    Clock,
    Matrix,
    OutOfTimeError,
    Rows,
    alternative,
    least_squares,
    solved_program,
)

WORKING_ROWS = 500
"""As many rows go into the first linear program, or four for each of their entries."""

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
        exact: Rows,
        rows: Array,
        independent: Callable[[list[list[int]]], list[int]] = rational.independent,
    ) -> "Span":
        """Of some rows, of which the first are preferred."""
        matrix = exact.take(rows)
        own = independent(matrix.T.tolist())
        return cls(rows[own].tolist(), matrix[own], independent(matrix[own].tolist()))

    def of_all(self, exact: Rows) -> "Span":
        """The span of all rows, these among them."""
        span = self
        while len(span.rows) < span.matrix.shape[1]:
            outside = np.flatnonzero(exact.dot(span.orthogonal_modulo()) % rational.PRIME)
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

    def balance(self, total: Array) -> list[Fraction]:
        """The amounts of these rows that add up to the negative of a total.

        Raises:
            WrongGuessError: if the total is outside of the span.
        """
        equations = self.matrix[:, self.pivots].T.tolist()
        amounts = rational.solve(equations, (-total[self.pivots]).tolist())
        numerators, denominator = rational.over_common_denominator(amounts)
        sums = rational.dot(
            self.matrix.T, np.array(numerators, object)
        ) + denominator * total.astype(object)
        if sums.any():
            raise WrongGuessError
        return amounts

    def orthogonal_modulo(self) -> Array:
        """A random vector that is orthogonal to all rows modulo a prime.

        So a row is certainly outside the span if it is not orthogonal to the vector, and nearly
        certainly inside if it is.
        """
        prime = rational.PRIME
        vector = np.random.default_rng(0).integers(1, prime, self.matrix.shape[1]).astype(object)
        vector[self.pivots] = 0
        lacking = (-rational.dot(self.matrix, vector) % prime).tolist()
        equations = self.matrix[:, self.pivots].tolist()
        vector[self.pivots] = rational.solve_modulo(equations, lacking)
        return vector


class Partition(NamedTuple):
    """The largest set that can be separated, with its proof."""

    direction: Array
    """(entries,), integers: a · v > 0 on the rows that are separated, 0 on the others."""
    separated: Array
    """(rows,), whether each is."""
    weights: dict[int, Fraction]
    """λ of the others, where it is not 1."""
    span: Span
    """That of the others."""


def partition(
    exact: Rows, approximate: Rows, lift: Callable[[Array], Array], clock: Clock
) -> Partition:
    """The largest set of rows that a direction separates.

    Args:
        exact: the rows, in integers.
        approximate: the same rows in floating point, as `alternative` takes them.
        lift: takes a direction for the approximate rows to one for the exact rows.
        clock: what may be spent, after which there is no answer but `OutOfTimeError`.
    """
    guess = _guess(exact, approximate, clock)
    if guess is not None:
        try:
            return _proven(exact, guess, lift)
        except WrongGuessError:
            pass
    return _step_by_step(exact, approximate, lift, clock)


class _Guess(NamedTuple):
    direction: Array
    """(entries,), in floating point."""
    rows: Array
    """Those of the working rows that bear weight, the heaviest first."""
    span: Span
    """That of these rows."""


def _guess(exact: Rows, approximate: Rows, clock: Clock) -> _Guess | None:
    """What floating point finds, or None where the solver gives up.

    The program is solved on some rows, to which those are added that its direction leaves on the
    wrong side or near it, until there are none but what the rows that bear weight span.
    """
    entries = approximate.take(np.zeros(1, int)).shape[1]
    size = max(WORKING_ROWS, 4 * entries)
    working = np.arange(len(approximate))
    if size < len(working):
        working = np.random.default_rng(0).choice(working, size, replace=False)
    while True:
        solved = _floating_point(approximate.take(working), clock)
        if solved is None:
            return None
        direction, excess = solved
        bearing = np.flatnonzero(excess > -0.5)
        rows = working[bearing[np.argsort(-excess[bearing], kind="stable")]]
        span = Span.of(exact, rows)
        if len(span.rows) == entries:
            return _Guess(direction, rows, span)
        values = approximate.dot(direction)
        near = np.setdiff1d(np.flatnonzero(values < 0.1), working, assume_unique=True)
        near = near[(exact.dot(span.orthogonal_modulo())[near] % rational.PRIME).astype(bool)]
        if not near.size:
            return _Guess(direction, rows, span)
        lowest = near[np.argsort(values[near], kind="stable")]
        working = np.concatenate([working, lowest[:size]])


def _floating_point(rows: Array, clock: Clock) -> tuple[Array, Array] | None:
    """A direction, at least 1 on the rows that it separates, and the excess weights of the others.

    None where the solver gives up. The excess of a row that is separated is -1.
    """
    excess = np.full(len(rows), -1.0)
    direction = np.zeros(rows.shape[1])
    left = np.ones(len(rows), bool)
    while left.any():
        step = least_squares(rows[left])
        values = rows @ step
        if not (values[left] > ROUNDING).all():
            solved = _linear_program(rows[left].sum(axis=0), rows[left], clock.left())
            if solved is None:
                return None
            step, marginals = solved
            values = rows @ step
        gained = left & (values > ROUNDING)
        if not gained.any():
            excess[left] = marginals
            break
        # So much of the direction before that it outweighs the step, which does not know its rows.
        before = rows[~left] @ direction
        direction = direction * 2 * np.max(-values[~left] / before, initial=0.5) + step
        left &= ~gained
        direction /= (rows[~left] @ direction).min()
    return direction, excess


def _linear_program(target: Array, rows: Array, seconds: float) -> tuple[Array, Array] | None:
    """The v of the greatest c · v with a · v ≥ 0 and |v| ≤ 1, and the multipliers of the rows.

    None where the solver gives up.
    """
    solution = solved_program(
        -target, seconds, A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1)
    )
    if solution is None:
        return None
    return solution.x, -solution.ineqlin.marginals


def _proven(exact: Rows, guess: _Guess, lift: Callable[[Array], Array]) -> Partition:
    """The partition with its proof, which is exact."""
    rows, span = guess.rows, guess.span
    direction = np.zeros(len(guess.direction), object)
    separated = np.zeros(len(exact), bool)
    if len(span.rows) < len(direction):
        for bits in (16, 53):
            near = lift(short(guess.direction, bits))
            direction = span.orthogonal(near[:, None])[:, 0]
            products = exact.dot(direction)
            if not (products < 0).any() and not products[rows].any():
                break
        else:
            raise WrongGuessError
        separated = products > 0
    light = np.setdiff1d(rows, span.rows)
    heavy = span.balance(exact.total(light))
    if min(heavy, default=1) <= 0:
        raise WrongGuessError
    weights = dict.fromkeys(light.tolist(), Fraction(1))
    weights |= zip(span.rows, heavy, strict=True)
    return _whole(exact, direction, separated, weights, span)


def _whole(
    exact: Rows,
    direction: Array,
    separated: Array,
    weights: dict[int, Fraction],
    span: Span,
) -> Partition:
    """The partition, with weights on all rows that are not separated: 1 on those without any."""
    others = ~separated
    others[list(weights)] = False
    weights = _extended(weights, span, exact.total(np.flatnonzero(others)))
    weights = {row: weight for row, weight in weights.items() if weight != 1}
    return Partition(direction // max(1, math.gcd(*direction)), separated, weights, span)


def short(values: Array, bits: int) -> Array:
    """Floats as whole multiples of a power of two, of which the largest has so many bits."""
    unit = np.ldexp(1.0, np.frexp(np.abs(values).max())[1] - bits)
    return np.round(values / unit) * unit


def _extended(weights: dict[int, Fraction], span: Span, total: Array) -> dict[int, Fraction]:
    """Weights above 0 of the same rows that add up to the negative of a total.

    A multiple of weights that add up to 0 outweighs whatever makes the sum right.
    """
    amounts = dict(zip(span.rows, span.balance(total), strict=True))
    least = [1 + math.floor(-amount / weights[row]) for row, amount in amounts.items()]
    factor = max(1, *least) if least else 1
    return {row: factor * weight + amounts.get(row, 0) for row, weight in weights.items()}


def _step_by_step(
    exact: Rows, approximate: Rows, lift: Callable[[Array], Array], clock: Clock
) -> Partition:
    """The same by Gordan's alternative, orthogonal to all rows that bear weight so far."""
    off = np.arange(len(exact))
    weights: dict[int, Fraction] = {}
    span = Span.of(exact, off[:0])
    basis = np.identity(span.matrix.shape[1], object)
    asked: Any = exact, approximate, lift, clock
    direction = np.zeros(len(basis), object)
    while off.size:
        answer = alternative(*asked)
        if not answer.proven:
            raise OutOfTimeError
        if answer.direction is not None:
            direction = basis @ answer.direction
            break
        assert answer.weights is not None
        bearing = off[list(answer.weights)]
        integers, _ = rational.over_common_denominator(answer.weights.values())
        weights = _extended(weights, span, exact.total(bearing, np.array(integers, object)))
        weights |= zip(bearing.tolist(), map(Fraction, integers), strict=True)
        span = Span.of(exact, np.array(list(weights)), rational.pivots)
        basis = rational.null_space(span.matrix.tolist())
        reduced = np.zeros((len(exact), basis.shape[1]), object)
        for place, column in enumerate(basis.T):
            reduced[:, place] = exact.dot(column)
        off = np.flatnonzero(reduced.any(axis=1))
        asked = *in_floats(reduced[off])[:3], clock
    separated = np.zeros(len(exact), bool)
    separated[off] = True
    return _whole(exact, direction, separated, weights, span)


def in_floats(integers: Array) -> tuple[Matrix, Matrix, Callable[[Array], Array], Array]:
    """Rows as they are and in floating point, what takes a direction back, and the columns' units.

    Every row has its largest entry's scale, which may be far beyond what a float holds.
    """
    integers = rational.narrowed(integers)
    units = [1 << int(size).bit_length() for size in np.abs(integers).max(axis=1, initial=0)]
    floats = (integers / np.array(units, integers.dtype)[:, None]).astype(np.float64)
    # Powers of two, so that what is lifted stays short.
    scale = np.ldexp(1.0, np.frexp(np.abs(floats).max(axis=0, initial=0))[1])

    def lift(direction: Array) -> Array:
        pairs = zip(direction.tolist(), scale.tolist(), strict=True)
        values = [Fraction(value) / Fraction(unit) for value, unit in pairs]
        return np.array(rational.over_common_denominator(values)[0], object)

    return Matrix(integers), Matrix(floats / scale), lift, scale
