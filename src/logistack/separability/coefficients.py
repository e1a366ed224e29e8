"""What every coefficient's estimate does where the likelihood recedes, with a proof for each.

The directions v with a · v ≥ 0 for every row form a cone, along which the likelihood does not
fall. In it a · v = 0 for the rows T that cannot be separated, so it is a part of their null space,
of which it is an open part, since some direction has a · v > 0 on all other rows S. So with N, a
basis of that null space, and v = N y:

- a coefficient is finite if its row of N is zero: no direction moves it;
- it goes to +∞ if it is not, and v has its coefficient ≥ 0 for every direction: by Farkas' lemma
  its row of N is Σ κₛ aₛN with κ ≥ 0;
- else there is a second direction, which moves it the other way;
- and it is not identified if a direction that is orthogonal to all rows moves it: the likelihood
  does not change along that.
"""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from logistack.separability import words
from logistack.separability.alternative import (
    ROUNDING,
    Clock,
    ExactRows,
    Matrix,
    OutOfTimeError,
    alternative,
)
from logistack.separability.partition import Partition
from logistack.separability.samples import in_floats, short
from logistack.separability.span import Array, Span, WrongGuessError

MOST = 10**7
"""More numbers than these are not computed for coefficients, which stay undecided instead."""

INFINITE, MINUS_INFINITE, EITHER = words.INFINITE
NEWTON_STEPS = 60
STEPS = 4
"""Beyond the first, to turn a coefficient before it is asked whether it can be."""


class FoundRank(NamedTuple):
    """The rank of some rows, with its proof: not less because of the rows, not more because of N.

    As many linearly independent directions are orthogonal to all rows as the rank lacks, or there
    are no more rows than it has.
    """

    rows: list[int]
    """Linearly independent ones."""
    null: Array
    """(entries, directions), integers."""
    complete: bool
    """Whether there are as many of these as the rank lacks."""

    @classmethod
    def unknown(cls, span: Span) -> "FoundRank":
        """Without directions."""
        return cls(span.rows, np.zeros((span.matrix.shape[1], 0), object), False)


class Estimate(NamedTuple):
    """What a coefficient's estimate does, and why."""

    word: str
    other: int | None = None
    """Which of the directions moves it the other way than the first."""
    shares: dict[int, Fraction] | None = None
    """κ, by row, where it goes to ±∞."""


class Estimates(NamedTuple):
    """Those of all coefficients."""

    directions: list[Array]
    """Of integers. The first is that of the partition, and moves whatever is not finite."""
    all_rows: FoundRank
    others: FoundRank
    """That of the rows which are not separated."""
    each: list[Estimate]


def estimates(exact: ExactRows, found: Partition, clock: Clock) -> Estimates:
    """What the estimate of every coefficient does."""
    separated = np.flatnonzero(found.separated)
    all_rows = _rank(found.span.of_all(exact) if separated.size else found.span)
    identified = [not any(row) for row in all_rows.null]
    # Of rows that are not separated only the coefficients that are identified need the rank.
    others = all_rows
    if separated.size:
        others = _rank(found.span) if any(identified) else FoundRank.unknown(found.span)
    each = [Estimate(words.UNDECIDED if own else words.UNIDENTIFIED) for own in identified]
    open_ = []
    for place in range(len(each) if others.complete else 0):
        if not identified[place]:
            continue
        if not others.null[place].any():
            each[place] = Estimate(words.FINITE)
        elif all_rows.complete:
            open_.append(place)
    directions = [found.direction]
    if open_ and len(separated) * others.null.shape[1] <= MOST:
        search = _Search.of(exact, found, separated, others.null, open_)
        directions = search.directions
        for place, estimate in search.run(clock).items():
            each[place] = estimate
    return Estimates(directions, all_rows, others, each)


def _rank(span: Span) -> FoundRank:
    free = span.free()
    bearing = free[span.matrix[:, free].any(axis=0)]
    size = span.matrix.shape[1]
    complete = max(len(bearing) * len(span.pivots) * 100, size * len(free)) <= MOST
    near = np.zeros((size, len(free) if complete else 1), object)
    if complete:
        near[free, np.arange(len(free))] = 1
    else:  # one that is as good as any shows which coefficients are not identified
        near[free, 0] = np.random.default_rng(0).integers(1, 100, len(free)).tolist()
    return FoundRank(span.rows, span.orthogonal(near), complete or len(free) == 1)


@dataclasses.dataclass
class _Search:
    """The search for second directions, in the coordinates y of the null space."""

    exact: ExactRows
    rows: Array
    """Those that are separated, by number."""
    basis: Array
    """N."""
    open: list[int]
    """The coefficients that are neither finite nor unidentified."""
    directions: list[Array]
    """The first moves all of these."""
    reduced: Array
    """aN of these rows, then for each open coefficient its row of N, with the sign against v."""
    floats: Array
    """The same in floating point, rows and columns scaled."""
    lift: Callable[[Array], Array]
    """Takes y for these to y for those."""
    middle: Array
    """y of a direction in the middle of all, for these."""
    working: Array
    """The rows of nonnegative least squares, to which those are added that object."""

    @classmethod
    def of(
        cls, exact: ExactRows, found: Partition, rows: Array, basis: Array, open_: list[int]
    ) -> "_Search":
        """With a first direction that moves every open coefficient."""
        reduced = np.stack([exact.dot(column)[rows] for column in basis.T], axis=1)
        free = found.span.free()
        # The basis is diagonal in the free entries.
        scale = basis[free, np.arange(len(free))]
        rng = np.random.default_rng(0)
        direction, factor = found.direction, 1
        while not direction[open_].all():
            # Whatever is near it will do, since those that separate the rows are an open set.
            step = basis @ rng.integers(-9, 10, len(free)).astype(object)
            values, change = (exact.dot(vector)[rows] for vector in (direction, step))
            while not (factor * values + change > 0).all():
                factor *= 2
            direction = factor * direction + step
        against = np.array([-1 if direction[place] > 0 else 1 for place in open_], object)
        targets = against[:, None] * basis[open_]
        _, floats, lift, unit = in_floats(reduced)
        beside = np.stack([_largest_is_one(row, unit) for row in targets])
        lifted = [Fraction(int(s)) / Fraction(u) for s, u in zip(scale, unit, strict=True)]
        inner = _largest_is_one(direction[free], np.array(lifted, object))
        inner *= np.sqrt(len(rows)) / np.linalg.norm(inner)
        return cls(
            exact,
            rows,
            basis,
            open_,
            [direction],
            np.concatenate([reduced, targets]),
            np.concatenate([floats.matrix, beside]),
            lift,
            _middle(floats.matrix, inner),
            np.zeros(0, int),
        )

    def run(self, clock: Clock) -> dict[int, Estimate]:
        """What is found of the open coefficients before the time is over."""
        found: dict[int, Estimate] = {}
        if self.basis.shape[1] == 1:  # the cone is one direction
            share = Fraction(1, abs(int(self.reduced[0, 0])))
            row = int(self.rows[0])
            for place in self.open:
                shares = {row: abs(int(self.basis[place, 0])) * share}
                found[place] = Estimate(self._infinite(place), shares=shares)
            return found
        count = len(self.rows)
        bearing, against = self.floats[:count], self.floats[count:]
        points = _toward(bearing, self.middle, against)
        turned = points @ against.T > 0
        try:
            # Those that turn most go first, so that few are needed.
            for number in np.argsort(-turned.sum(axis=1), kind="stable"):
                if turned[number, number] and self.open[number] not in found:
                    clock.left()
                    self._turn(found, points[number])
            for number, place in enumerate(self.open):
                point = points[number]
                for _ in range(STEPS):
                    if place in found:
                        break
                    clock.left()
                    (point,) = _toward(bearing, point, against[number : number + 1])
                    if against[number] @ point > 0:
                        self._turn(found, point)
                if place not in found:
                    nearest = np.argsort(bearing @ point, kind="stable")
                    self.working = nearest[: 4 * self.basis.shape[1]]
                    self._solve(found, number, clock)
                if place not in found:
                    self._decide(found, number, clock)
        except OutOfTimeError:
            pass
        return found

    def _solve(self, found: dict[int, Estimate], number: int, clock: Clock) -> None:
        """Adds what nonnegative least squares lead to, if that is exact.

        They are min |Σ κₛ aₛN + c| over κ ≥ 0, for the target c, on rows to which those are added
        that object. If what remains is 0, κ are the shares; if not, its negative is a direction on
        the target's side, against which no row is (Lawson & Hanson, "Solving Least Squares
        Problems", 1974, ch. 23).
        """
        from scipy import optimize

        count, target = len(self.rows), self.floats[len(self.rows) + number]
        while True:
            clock.left()
            working = self.floats[self.working]
            try:
                shares, distance = optimize.nnls(working.T, -target)
            except (RuntimeError, ValueError):
                return
            if distance < ROUNDING:
                self._bound(found, number, shares)
                return
            near = working.T @ shares + target
            values = self.floats[:count] @ near
            objecting = np.setdiff1d(np.flatnonzero(values < -ROUNDING * distance), self.working)
            if not objecting.size:
                ahead = target @ near
                back = max(-(target @ self.middle), 0.5 * ahead)
                self._turn(found, near + 0.5 * ahead / back * self.middle)
                return
            worst = objecting[np.argsort(values[objecting], kind="stable")]
            self.working = np.concatenate([self.working, worst[: len(self.working)]])

    def _bound(self, found: dict[int, Estimate], number: int, near: Array) -> None:
        """Adds the exact shares of the rows that bear weight, if they have them."""
        bearing = self.working[near > ROUNDING * near.max(initial=0)]
        span = Span.of(Matrix(self.reduced), bearing)
        try:
            shares = span.balance(self.reduced[len(self.rows) + number])
        except WrongGuessError:
            return
        if min(shares, default=0) >= 0:
            pairs = zip(span.rows, shares, strict=True)
            self._add_shares(found, number, {row: share for row, share in pairs if share})

    def _decide(self, found: dict[int, Estimate], number: int, clock: Clock) -> None:
        """The same by Gordan's alternative, of which exact arithmetic has the last word."""
        count = len(self.rows)
        own = [*range(count), count + number]
        answer = alternative(Matrix(self.reduced[own]), Matrix(self.floats[own]), self.lift, clock)
        if not answer.proven:
            raise OutOfTimeError
        if answer.direction is not None:
            self._add(found, self.basis @ answer.direction)
            return
        assert answer.weights is not None
        own_weight = answer.weights.pop(count)
        shares = {row: weight / own_weight for row, weight in answer.weights.items()}
        self._add_shares(found, number, shares)

    def _add_shares(
        self, found: dict[int, Estimate], number: int, shares: dict[int, Fraction]
    ) -> None:
        place = self.open[number]
        own = {int(self.rows[row]): share for row, share in shares.items()}
        found[place] = Estimate(self._infinite(place), shares=own)

    def _infinite(self, place: int) -> str:
        return INFINITE if self.directions[0][place] > 0 else MINUS_INFINITE

    def _turn(self, found: dict[int, Estimate], near: Array) -> None:
        """Adds the direction near one in floating point, if it exists."""
        for bits in (16, 53):
            direction = self.basis @ self.lift(short(near, bits))
            if not (self.exact.dot(direction)[self.rows] < 0).any():
                self._add(found, direction)
                return

    def _add(self, found: dict[int, Estimate], direction: Array) -> None:
        """Adds a direction, and notes which coefficients it moves the other way."""
        turned = [
            place
            for place in self.open
            if place not in found and direction[place] * self.directions[0][place] < 0
        ]
        if turned:
            found |= dict.fromkeys(turned, Estimate(EITHER, other=len(self.directions)))
            self.directions.append(direction // math.gcd(*direction))


def _middle(rows: Array, start: Array) -> Array:
    """The point of the cone a · y > 0 where ½|y|² - Σ log a · y is least.

    Newton's method finds it from another point (Nesterov & Nemirovskii, "Interior-point
    polynomial algorithms in convex programming", 1994). Where rounding stops it before, it is in
    the cone all the same.
    """
    point = start
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            relative = rows / (rows @ point)[:, None]
            step = _solved(relative, relative.sum(axis=0) - point)
            if step is None:
                break
            room = 1 / np.max(-(relative @ step), initial=0.5)
            point = point + min(1.0, 0.9 * room) * step
            if np.abs(relative @ step).max() < 0.1:
                break
    return point


def _toward(rows: Array, point: Array, targets: Array) -> Array:
    """The points of the cone a · y > 0 that are reached from another on the way along targets.

    About a point there is an ellipsoid in the cone, in which the relative changes of all a · y
    have a sum of squares of at most 1 (Dikin, "Iterative solution of problems of linear and
    quadratic programming", 1967). Where a target is greatest in it, there the way leads, and on
    until nearly the border.
    """
    with np.errstate(all="ignore"):
        relative = rows / (rows @ point)[:, None]
        steps = _solved(relative, targets.T)
        if steps is None:
            return np.tile(point, (len(targets), 1))
        room = 1 / np.max(-(relative @ steps), axis=0, initial=1e-9)
        return point + (0.99 * room * steps).T


def _solved(relative: Array, right: Array) -> Array | None:
    """Solutions for the second derivative at a point, or None where floats are not enough."""
    try:
        found = np.linalg.solve(relative.T @ relative + np.identity(relative.shape[1]), right)
    except np.linalg.LinAlgError:
        return None
    return found if np.isfinite(found).all() else None


def _largest_is_one(numerators: Array, denominators: Array) -> Array:
    """Fractions in floating point, over the largest of them."""
    pairs = zip(numerators.tolist(), denominators.tolist(), strict=True)
    values = [Fraction(a) / Fraction(b) for a, b in pairs]
    largest = max(map(abs, values))
    return np.array([float(value / largest) for value in values])
