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

Of many entries these programs take too long. There the weights of Gordan's alternative come first,
whose program is smaller: they force a · v = 0 on their rows, so v is in the null space of these,
of which the coordinates are fewer (facial reduction: Borwein & Wolkowicz, "Facial reduction for a
cone-convex programming problem", 1981). What cancels there may lack something of the rows before,
which a multiple of their weights makes up for.

Where rounding misled all this, Gordan's alternative is asked again and again in this way, by exact
arithmetic to its end.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from logistack.separability import rational
from logistack.separability.alternative import (
    ROUNDING,
    SMALL,
    Clock,
    ExactRows,
    OutOfTimeError,
    Rows,
    alternative,
    least_squares,
    nearest_points,
    short_integers,
    solved_program,
)
from logistack.separability.samples import in_floats, short
from logistack.separability.span import Array, Span, WrongGuessError

WORKING_ROWS = 500
"""As many rows go into the first linear program, or four for each of their entries."""

MANY = 200
"""From so many entries on, the programs are of the entries that Gordan's weights leave."""

Face: TypeAlias = dict[int, float]
Weights: TypeAlias = dict[int, Any]
"""By row: fractions, and integers, which are faster where there are many."""


class Partition(NamedTuple):
    """The largest set that can be separated, with its proof."""

    direction: Array
    """(entries,), integers: a · v > 0 on the rows that are separated, 0 on the others."""
    separated: Array
    """(rows,), whether each is."""
    weights: Weights
    """λ of the others, where it is not 1."""
    span: Span
    """That of the others."""


def partition(
    exact: ExactRows, approximate: Rows, lift: Callable[[Array], Array], clock: Clock
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
    """(entries,), in floating point; zeros if no row is separated."""
    faces: list[Face]
    """The rows of each cancel with these weights, but for what the rows of those before span."""
    span: Span
    """That of the rows of all."""


@dataclasses.dataclass(frozen=True)
class _Reduced:
    """Some of other rows, in the coordinates of a basis."""

    all: Rows
    rows: Array
    """By number."""
    basis: Any
    """(entries, coordinates), orthonormal, and sparse where it is the identity."""
    lengths: Array
    """Those of the rows in these coordinates, by which they are divided; ones before."""

    @classmethod
    def of_all(cls, rows: Rows) -> "_Reduced":
        """All of them as they are."""
        from scipy import sparse

        basis = sparse.eye_array(rows.take(np.zeros(1, int)).shape[1], format="csr")
        return cls(rows, np.arange(len(rows)), basis, np.ones(len(rows)))

    def orthogonal(self, exact: ExactRows, span: Span) -> "_Reduced":
        """Those that are not in a span, orthogonal to it."""
        known = self.all.take(np.array(span.rows))
        basis = np.linalg.qr(known.T, mode="complete")[0][:, len(span.rows) :]
        rows = self.rows[span.outside(exact, self.rows)]
        parts = np.array_split(rows, 1 + len(rows) * basis.shape[0] // SMALL)
        lengths = [np.linalg.norm(self.all.take(part) @ basis, axis=1) for part in parts]
        return _Reduced(self.all, rows, basis, np.maximum(np.concatenate(lengths), ROUNDING))

    def face(self, rows: Array, weights: Array) -> Face:
        """Weights of some rows, by number, for the rows as they are."""
        given = (weights / self.lengths[rows]).tolist()
        return dict(zip(self.rows[rows].tolist(), given, strict=True))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows)

    def dot(self, direction: Array) -> Array:
        """The products a · v."""
        return self.all.dot(self.basis @ direction)[self.rows] / self.lengths

    def take(self, rows: Array) -> Array:
        """Some of them as a matrix."""
        return self.all.take(self.rows[rows]) @ self.basis / self.lengths[rows, None]


def _guess(exact: ExactRows, approximate: Rows, clock: Clock) -> _Guess | None:
    """What floating point finds, or None where the solver gives up or rounding misleads it."""
    rows = _Reduced.of_all(approximate)
    faces: list[Face] = []
    span = Span.of(exact, rows.rows[:0])
    # Gordan's weights leave a much smaller question where there are many entries, and cost less.
    while rows.basis.shape[1] >= MANY:
        if len(rows) * rows.basis.shape[1] <= SMALL:
            matrix = rows.take(np.arange(len(rows)))
            direction = least_squares(matrix)
            if (matrix @ direction > ROUNDING).all():
                return _Guess(rows.basis @ direction, faces, span)
        solved = nearest_points(rows, clock)
        if solved is None:
            return None
        weights, direction, separates = solved
        if separates:
            return _Guess(rows.basis @ direction, faces, span)
        least = 1e-9 * max(weights.values())
        weighed = {row: weight for row, weight in weights.items() if weight > least}
        faces.append(rows.face(np.array(list(weighed)), np.array(list(weighed.values()))))
        size = rows.basis.shape[1]
        span = Span.of(exact, np.array([*span.rows, *_heaviest_first(faces[-1])]))
        rows = rows.orthogonal(exact, span)
        if not len(rows):
            return _Guess(np.zeros(rows.basis.shape[0]), faces, span)
        if rows.basis.shape[1] > 0.9 * size:
            break
    return _with_programs(exact, rows, faces, span, clock)


def _heaviest_first(face: Face) -> list[int]:
    return sorted(face, key=face.__getitem__, reverse=True)


def _with_programs(
    exact: ExactRows, rows: _Reduced, faces: list[Face], span: Span, clock: Clock
) -> _Guess | None:
    """The rest of a guess: the direction, and a face of all other rows that are not separated.

    The programs are solved on some rows, to which those are added that the direction leaves on the
    wrong side or near it, until there are none but what the rows that bear weight span.
    """
    entries = span.matrix.shape[1]
    size = max(WORKING_ROWS, 4 * rows.basis.shape[1])
    working = np.arange(len(rows))
    if size < len(working):
        working = np.random.default_rng(0).choice(working, size, replace=False)
    while True:
        solved = _floating_point(rows.take(working), clock)
        if solved is None:
            return None
        direction, excess = solved
        bearing = np.flatnonzero(excess > -0.5)
        face = rows.face(working[bearing], 1 + excess[bearing])
        whole = Span.of(exact, np.array([*span.rows, *_heaviest_first(face)], int))
        found = _Guess(rows.basis @ direction, [*faces, face] if face else faces, whole)
        if len(whole.rows) == entries:
            return found
        values = rows.dot(direction)
        near = np.setdiff1d(np.flatnonzero(values < 0.1), working, assume_unique=True)
        near = near[whole.outside(exact, rows.rows[near])]
        if not near.size:
            return found
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


def _proven(exact: ExactRows, guess: _Guess, lift: Callable[[Array], Array]) -> Partition:
    """The partition with its proof, which is exact."""
    span = guess.span
    direction = np.zeros(span.matrix.shape[1], object)
    separated = np.zeros(len(exact), bool)
    if guess.direction.any():
        bearing = [row for face in guess.faces for row in face]
        for bits in (16, 53):
            near = lift(short(guess.direction, bits))
            direction = span.orthogonal(near[:, None])[:, 0]
            products = exact.dot(direction)
            if not (products < 0).any() and not products[bearing].any():
                break
        else:
            raise WrongGuessError
        separated = products > 0
    return _whole(exact, direction, separated, _weights(exact, guess), span)


def _weights(exact: ExactRows, guess: _Guess) -> Weights:
    """Weights near those of the faces that make all their rows cancel.

    Rows that heavier ones span keep a short number near their weight, from which those of the
    others follow. What the rows of a face lack, those of the faces before it make up for, and of
    these a multiple outweighs that.
    """
    span = guess.span
    own = set(span.rows)
    light = [
        {row: weight for row, weight in face.items() if row not in own} for face in guess.faces
    ]
    if not all(light):
        raise WrongGuessError
    integers = [dict(zip(face, short_integers(list(face.values())), strict=True)) for face in light]
    totals = [
        exact.total(np.array(list(face)), np.array(list(face.values()), object))
        for face in integers
    ]
    found: Weights = {}
    heavy = [Fraction(0)] * len(span.rows)
    for face, short_ones, amounts in reversed(
        list(zip(guess.faces, integers, span.balances(totals), strict=True))
    ):
        bearing = [place for place, row in enumerate(span.rows) if row in face]
        if any(amounts[place] <= 0 for place in bearing):
            raise WrongGuessError
        factor = _outweighing((amounts[place], heavy[place]) for place in bearing)
        heavy = [sum_ + factor * amount for sum_, amount in zip(heavy, amounts, strict=True)]
        found |= {row: factor * value for row, value in short_ones.items()}
    return found | dict(zip(span.rows, heavy, strict=True))


def _whole(
    exact: ExactRows,
    direction: Array,
    separated: Array,
    weights: Weights,
    span: Span,
) -> Partition:
    """The partition, with weights on all rows that are not separated: 1 on those without any."""
    others = ~separated
    others[list(weights)] = False
    weights = _extended(weights, span, exact.total(np.flatnonzero(others)))
    weights = {row: weight for row, weight in weights.items() if weight != 1}
    return Partition(direction // max(1, math.gcd(*direction)), separated, weights, span)


def _extended(weights: Weights, span: Span, total: Array) -> Weights:
    """Weights above 0 of the same rows that add up to the negative of a total.

    A multiple of weights that add up to 0 outweighs whatever makes the sum right.
    """
    amounts = dict(zip(span.rows, span.balance(total), strict=True))
    factor = _outweighing((weights[row], amount) for row, amount in amounts.items())
    return {row: factor * weight + amounts.get(row, 0) for row, weight in weights.items()}


def _outweighing(pairs: Iterable[tuple[Any, Fraction]]) -> int:
    """How often each first one, above 0, has to be taken to outweigh the second; at least once."""
    return max([1, *(1 + math.floor(-amount / weight) for weight, amount in pairs)])


def _step_by_step(
    exact: ExactRows, approximate: Rows, lift: Callable[[Array], Array], clock: Clock
) -> Partition:
    """The same by Gordan's alternative, orthogonal to all rows that bear weight so far."""
    off = np.arange(len(exact))
    weights: Weights = {}
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
        weights |= zip(bearing.tolist(), integers, strict=True)
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
