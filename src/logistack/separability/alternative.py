"""Gordan's alternative, decided and proven: of any rows a, exactly one of two things exists.

Either a direction v with a · v > 0 for every row, or weights λ ≥ 0, not all zero, with
Σ λᵢ aᵢ = 0 (Gordan, "Über die Auflösung linearer Gleichungen mit reellen Coefficienten", 1873).

A linear program in floating point finds which, on as few rows as it needs: the combination of
least L1 length,

    min ‖Σ λᵢ aᵢ‖₁  over  λ ≥ 0, Σ λᵢ = 1,

whose dual is the direction with the widest margin, max min a · v over |v| ≤ 1. Its answer is a
guess that exact arithmetic makes a proof: the direction is checked as it is, the weights are
solved for again on the rows that bear them. Where rounding misled the guess, the same program is
solved by an exact simplex method that starts from it.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import numpy as np

from logistack.separability import rational

ROUNDING = 1e-7
"""Distances below this are left to exact arithmetic; the columns' largest entries are 1."""

SMALL = 10**7
"""Up to so many entries least squares is tried first, which is much less work than a program."""

WORKING_ROWS = 2_000
"""As many rows go into the first linear program, or four for each of their entries."""


class Rows(Protocol):
    """Rows a, which need not be held as a matrix."""

    def __len__(self) -> int:
        """How many there are."""

    def dot(self, direction: np.ndarray) -> np.ndarray:
        """The products a · v."""

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some of them as a matrix."""


class ExactRows(Rows, Protocol):
    """Rows of integers."""

    def total(self, rows: np.ndarray, amounts: np.ndarray | None = None) -> np.ndarray:
        """The sum of some of them, each as often as its amount."""


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Rows that are held as a matrix."""

    matrix: np.ndarray

    def __len__(self) -> int:
        return len(self.matrix)

    def dot(self, direction: np.ndarray) -> np.ndarray:
        """The products a · v."""
        return rational.dot(self.matrix, direction)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some of the rows."""
        return self.matrix[rows]

    def total(self, rows: np.ndarray, amounts: np.ndarray | None = None) -> np.ndarray:
        """The sum of some of the rows, each as often as its amount."""
        return rational.dot(self.matrix[rows].T, _amounts(rows, amounts))


@dataclasses.dataclass(frozen=True)
class Differences:
    """The score of a sample's own class less that of another, for every sample and other class.

    A direction holds a weight and a bias for every class but the first, whose score is 0. With
    two classes a row is a sample, its constant 1 included, with the sign of its class.
    """

    samples: np.ndarray
    """(samples, features + 1), ones at the end."""
    own: np.ndarray
    """(samples,), the number of each one's class."""
    classes: int
    pieces: tuple[np.ndarray, ...] = ()
    """Those of the samples."""

    def __post_init__(self) -> None:
        """Finds the pieces, once for all products."""
        if not self.pieces:
            object.__setattr__(self, "pieces", rational.pieces(self.samples))

    @classmethod
    def of(cls, inputs: rational.Columns, own: np.ndarray, classes: int) -> "Differences":
        """Those of exact samples, in their units."""
        integers = inputs.integers
        ones = np.ones((len(integers), 1), integers.dtype)
        return cls(np.concatenate([integers, ones], axis=1), own, classes)

    def __len__(self) -> int:
        return len(self.samples) * (self.classes - 1)

    def parts(self, bits: int) -> Iterator["Differences"]:
        """So many samples at a time that products of so many bits fit in memory."""
        for part in rational.blocks(len(self.samples), bits * self.classes):
            pieces = tuple(piece[part] for piece in self.pieces)
            yield Differences(self.samples[part], self.own[part], self.classes, pieces)

    def others(self) -> np.ndarray:
        """(samples, classes - 1), the classes that a sample is not of, in order."""
        places = np.arange(self.classes - 1)
        return places + (places >= self.own[:, None])

    def dot(self, direction: np.ndarray) -> np.ndarray:
        """The products a · v, a sample's other classes in order."""
        parts = direction.reshape(self.classes - 1, -1)
        scores = np.stack([rational.dot_of(self.pieces, part) for part in parts], axis=1)
        scores = np.concatenate([np.zeros_like(scores[:, :1]), scores], axis=1)
        own = np.take_along_axis(scores, self.own[:, None], axis=1)
        return (own - np.take_along_axis(scores, self.others(), axis=1)).ravel()

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some of the rows as a matrix."""
        sample, place = np.divmod(rows, self.classes - 1)
        own = self.own[sample]
        blocks = np.zeros((len(rows), self.classes, self.samples.shape[1]), self.samples.dtype)
        count = np.arange(len(rows))
        blocks[count, own] = self.samples[sample]
        blocks[count, place + (place >= own)] = -self.samples[sample]
        return blocks[:, 1:].reshape(len(rows), (self.classes - 1) * self.samples.shape[1])

    def total(self, rows: np.ndarray, amounts: np.ndarray | None = None) -> np.ndarray:
        """The sum of some of the rows, each as often as its amount."""
        amounts = _amounts(rows, amounts)
        sample, place = np.divmod(rows, self.classes - 1)
        given = np.zeros((self.classes, len(self.samples)), amounts.dtype)
        np.add.at(given, (self.own[sample], sample), amounts)
        np.subtract.at(given, (place + (place >= self.own[sample]), sample), amounts)
        return np.concatenate([rational.dot(self.samples.T, own) for own in given[1:]])


def _amounts(rows: np.ndarray, amounts: np.ndarray | None) -> np.ndarray:
    """Those that are given, or one of each."""
    return np.ones(len(rows), np.int64) if amounts is None else amounts


class Answer(NamedTuple):
    """A direction, or weights of rows; the other is None."""

    direction: np.ndarray | None
    """Of objects, integers or fractions."""
    weights: dict[int, Fraction] | None
    """Of the rows that have one above 0, summing to 1."""
    proven: bool
    """Whether exact arithmetic has the last word."""


def require_budget(budget: float) -> None:
    """Raises ValueError for a budget that is spent from the start."""
    if not budget > 0:
        raise ValueError(f"budget: expected seconds above 0, got {budget}")


class OutOfTimeError(Exception):
    """The budget is spent."""


@dataclasses.dataclass(frozen=True)
class Clock:
    """What is left of a budget in seconds."""

    end: float

    @classmethod
    def of(cls, budget: float) -> "Clock":
        """So many seconds from now."""
        return cls(time.monotonic() + budget)

    def left(self) -> float:
        """Seconds left, or `OutOfTimeError`."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        return left


def alternative(
    exact: ExactRows, approximate: Rows, lift: Callable[[np.ndarray], np.ndarray], clock: Clock
) -> Answer:
    """Which of the two exists, with its proof.

    Args:
        exact: the rows, in integers.
        approximate: the same rows in floating point, in other coordinates where that makes them
            better conditioned: each a positive multiple of the row times one regular matrix.
        lift: takes a direction for the approximate rows to one for the exact rows.
        clock: what may be spent. After it the answer is the last guess, and not proven.
    """
    guess: Answer | None = None
    support: list[int] = []
    entries = approximate.take(np.zeros(1, int)).shape[1]
    if len(approximate) * entries <= SMALL:
        lifted = lift(least_squares(approximate.take(np.arange(len(approximate)))))
        if (exact.dot(lifted) > 0).all():
            return Answer(lifted, None, proven=True)
    try:
        solved = nearest_points(approximate, clock)
        if solved is not None:
            weights, direction, separates = solved
            support = sorted(weights, key=weights.__getitem__, reverse=True)
            lifted = lift(direction)
            if (exact.dot(lifted) > 0).all():
                return Answer(lifted, None, proven=True)
            guess = Answer(lifted, None, proven=False) if separates else _shares(weights)
            repaired = _repair(exact, support, weights, lifted)
            if repaired is not None:
                return repaired
        return _simplex(exact, support, clock)
    except OutOfTimeError:
        if guess is None:
            raise
        return guess


def _shares(weights: dict[int, float]) -> Answer:
    """Floats as fractions of their sum."""
    total = sum(map(Fraction, weights.values()))
    shares = {row: Fraction(weight) / total for row, weight in weights.items()}
    return Answer(None, shares, proven=False)


def least_squares(rows: np.ndarray) -> np.ndarray:
    """The direction whose products with the rows are nearest to 1, which often separates them."""
    if len(rows) < rows.shape[1]:
        return rows.T @ _solve(rows @ rows.T, np.ones(len(rows)))
    return _solve(rows.T @ rows, rows.sum(axis=0))


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The solution of a positive semidefinite system that a little more makes regular."""
    ridge = 1e-12 * np.trace(matrix)
    return np.linalg.solve(matrix + ridge * np.identity(len(matrix)), right)


def nearest_points(rows: Rows, clock: Clock) -> tuple[dict[int, float], np.ndarray, bool] | None:
    """The linear program's weights above 0, its direction, and whether that seems to separate.

    It is solved on some rows, to which those are added that its direction is too near to, until
    there are none. None where the solver gives up.
    """
    entries = rows.take(np.zeros(1, int)).shape[1]
    size = max(WORKING_ROWS, 4 * entries)
    working = np.arange(len(rows))
    if size < len(rows):
        working = np.random.default_rng(0).choice(len(rows), size // 2, replace=False)
    while True:
        solved = _linear_program(rows.take(working), clock.left())
        if solved is None:
            return None
        weights, direction, distance = solved
        values = rows.dot(direction)
        near = np.setdiff1d(np.flatnonzero(values < distance * (1 - 1e-6)), working)
        if distance < ROUNDING or not near.size:
            weighed = {int(working[i]): float(weights[i]) for i in np.flatnonzero(weights)}
            return weighed, direction, distance >= ROUNDING
        nearest = near[np.argsort(values[near], kind="stable")]
        working = np.concatenate([working, nearest[: size // 2]])


def solved_program(cost: np.ndarray, seconds: float, **constraints: Any) -> Any:
    """SciPy's solution of a linear program, at a corner; None where the solver gives up."""
    from scipy import optimize

    for tolerance in (1e-10, 1e-7):  # the finer one is sometimes beyond what floats can do
        solution = optimize.linprog(
            cost,
            **constraints,
            method="highs-ds",
            options={
                "time_limit": seconds,
                "primal_feasibility_tolerance": tolerance,
                "dual_feasibility_tolerance": tolerance,
            },
        )
        if solution.status == 0:
            return solution
        if solution.status != 4:  # numerical difficulties
            break
    return None


def _linear_program(
    rows: np.ndarray, seconds: float
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """The weights of the shortest combination, the widest direction, and that length.

    None where the solver gives up.
    """
    from scipy import sparse

    count, entries = rows.shape
    identity = sparse.eye_array(entries)
    constraints = sparse.block_array(
        [[sparse.csc_array(rows.T), identity, -identity], [np.ones((1, count)), None, None]],
        format="csc",
    )
    solution = solved_program(
        np.concatenate([np.zeros(count), np.ones(2 * entries)]),
        seconds,
        A_eq=constraints,
        b_eq=np.append(np.zeros(entries), 1.0),
        bounds=(0, None),
    )
    if solution is None:
        return None
    weights = np.clip(solution.x[:count], 0, None)
    return weights, -solution.eqlin.marginals[:entries], solution.fun


def _repair(
    exact: ExactRows, support: Sequence[int], weights: dict[int, float], lifted: np.ndarray
) -> Answer | None:
    """The exact answer at a guess of which rows bear weight, or None where the guess is wrong."""
    support = [row for row in support if weights[row] > 1e-9 * weights[support[0]]]
    rows = exact.take(np.array(support))
    solved = rational.independent(rows.T.tolist())
    if len(solved) == len(support):
        direction = _direction(rows, lifted)
        return Answer(direction, None, True) if (exact.dot(direction) > 0).all() else None
    shares = _combination(rows, [weights[row] for row in support], solved)
    if shares is None:
        return None
    return Answer(None, {row: w for row, w in zip(support, shares, strict=True) if w}, True)


def _direction(rows: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The direction near a given one whose product with all of some independent rows is one."""
    solved = rational.independent(rows.tolist())
    value = max(1, *rational.dot(rows, near))
    direction = near.astype(object)
    direction[solved] = 0
    lacking = value - rational.dot(rows, direction)
    solution = rational.solve(rows[:, solved].tolist(), lacking.tolist())
    numerators, denominator = rational.over_common_denominator(solution)
    direction *= denominator
    direction[solved] = numerators
    return direction


def _combination(
    rows: np.ndarray, weights: Sequence[float], solved: list[int]
) -> list[Fraction] | None:
    """Weights near those given, the heaviest first, that make the rows cancel, or None.

    Rows that heavier ones span keep a short number near their weight; the weights of the others,
    which are `solved`, follow from it. That those span all is not certain, and so the result is
    checked.
    """
    kept = sorted(set(range(len(rows))) - set(solved))
    short = short_integers([weights[row] for row in kept])
    bearing = rows[solved].T.tolist()
    lacking = (-rational.dot(rows[kept].T, np.array(short, object))).tolist()
    # As many as are solved for; the others follow, or the check below finds that they do not.
    equations = rational.independent(rows[solved].tolist())
    solution = rational.solve([bearing[e] for e in equations], [lacking[e] for e in equations])
    numerators, denominator = rational.over_common_denominator(solution)
    integers = np.zeros(len(rows), object)
    integers[kept] = [w * denominator for w in short]
    integers[solved] = numerators
    if min(integers) < 0 or rational.dot(rows.T, integers).any():
        return None
    total = sum(integers)
    return [Fraction(w, total) for w in integers]


def short_integers(weights: Sequence[float]) -> list[int]:
    """Integers of at most 21 bits in nearly the same ratios."""
    largest = max(weights)
    integers = [max(1, round(weight / largest * 2**20)) for weight in weights]
    shared = math.gcd(*integers)
    return [value // shared for value in integers]


def _simplex(exact: ExactRows, support: Sequence[int], clock: Clock) -> Answer:
    """The same linear program in integers, to its end.

    With slack for what the combination of rows lacks, the program is

        min Σ s⁺ + s⁻  over  λ, s⁺, s⁻ ≥ 0,  Σ λᵢ aᵢ + s⁺ - s⁻ = 0,  Σ λᵢ = 1.

    Its columns are the rows aᵢ, each with a 1 below, at no cost, and the unit vectors ± e with a 0
    below, at cost 1. A basis B is as many independent columns as there are equations: one for
    every entry of a row, and one for Σ λ = 1. The simplex method goes from basis to basis, each no
    dearer than the one before, until nothing is lacking (the rows cancel) or the prices of the
    equations are a direction for which every row is positive.

    Numbers stay integers by Edmonds' pivoting ("Systems of distinct representatives and linear
    algebra", 1967). In place of B⁻¹ it keeps |det B| B⁻¹, which is the adjugate of B but for its
    sign. The entries of an adjugate are determinants of parts of B, so they are integers, and no
    longer than such determinants are. By Cramer's rule adjugate · column has in place p the
    determinant of the basis in which that column replaces the p-th. So the pivot of a step is the
    next determinant. The update of the adjugate multiplies by it and divides by the last one;
    without the division numbers would be twice as long after every step, and it leaves no
    remainder, because what it gives is an adjugate again. Pivots are above 0, and so are all
    determinants.

    The rows in `support` enter first. After a step that gains nothing the lowest column that may
    enter does, and among equals the lowest leaves, and so no basis returns (Bland, "New finite
    pivoting rules for the simplex method", 1977).
    """
    first, *others = support or [0]
    restricted = np.array(sorted(others), int)
    start = exact.take(np.array([first]))[0].astype(object)
    entries = len(start)
    # The first basis is one row, all of λ, and for each entry the unit vector that cancels it.
    # A column is known by its cost and number: (0, row), or (1, 2 entry + 1 if it is negative).
    basis = [(0, first), *((1, 2 * e + (start[e] > 0)) for e in range(entries))]
    adjugate = np.zeros((entries + 1, entries + 1), object)
    adjugate[0, -1] = 1
    for e, entry in enumerate(start):
        adjugate[e + 1, e] = -1 if entry > 0 else 1
        adjugate[e + 1, -1] = abs(entry)
    determinant, gained = 1, True
    while True:
        clock.left()
        # Everything from here on is its true value times the determinant. The last price is what
        # the basis costs, the length of its combination; the others are minus the direction v.
        prices = np.array([cost for cost, _ in basis], object) @ adjugate
        direction, distance = -prices[:-1], prices[-1]
        if not distance:
            shares = zip(basis, adjugate[:, -1], strict=True)
            weights = {row: Fraction(w, determinant) for (cost, row), w in shares if not cost and w}
            return Answer(None, weights, proven=True)

        # A row makes the combination shorter if a · v is below its length, a unit vector if v has
        # an entry above 1. Rows are looked for in the support, and in all of them after that.
        entering, values = None, rational.dot(exact.take(restricted), direction)
        if not (values < distance).any():
            restricted, values = restricted[:0], exact.dot(direction)
            if (values > 0).all():
                return Answer(direction, None, proven=True)
        if (values < distance).any():
            chosen = int(np.argmin(values) if gained else np.argmax(values < distance))
            row = int(restricted[chosen]) if restricted.size else chosen
            entering, column = (0, row), np.append(exact.take(np.array([row]))[0], 1)
        else:
            steep = next(e for e in range(entries) if abs(direction[e]) > determinant)
            negative = direction[steep] > 0
            entering, column = (1, 2 * steep + negative), np.zeros(entries + 1, object)
            column[steep] = -1 if negative else 1

        # As the entering column's share grows by 1, those of the basis fall by `steps`. The first
        # to reach 0 leaves.
        steps = adjugate @ column.astype(object)
        gain, _, leaving = min(
            (Fraction(amount, step), basis[place], place)
            for place, (amount, step) in enumerate(zip(adjugate[:, -1], steps, strict=True))
            if step > 0
        )
        pivot = steps[leaving]
        steps[leaving] -= determinant
        adjugate = (pivot * adjugate - np.outer(steps, adjugate[leaving])) // determinant
        determinant, gained = pivot, gain > 0
        basis[leaving] = entering
