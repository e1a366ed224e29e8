"""Proofs of which samples are separated, and of what that does to every coefficient.

The likelihood of a logistic regression recedes along a direction in which no sample's score gets
worse. A `Separation` has the largest set of samples for which it gets better, with a direction that
shows it; weights that show that it cannot get better for any other; and for every coefficient
whether its estimate is finite, with a proof of its own.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logistack.separability import rational, words
from logistack.separability.alternative import Differences
from logistack.separability.arithmetic import too_long
from logistack.separability.certificates import Certificate, Line, TwoSides
from logistack.separability.classes import AllClasses, Parts
from logistack.separability.data import Data, Label
from logistack.separability.rational import Keyed, Numbers

SIGNS = {"+∞": 1, "-∞": -1}


class Rank(NamedTuple):
    """The rank of some rows, with what proves it.

    It is not less, because so many rows are linearly independent, which is shown modulo the prime
    2⁶¹ - 1. It is not more if as many independent directions as it lacks are orthogonal to all
    rows, or if there are no more rows.
    """

    rows: tuple[int, ...]
    """Linearly independent rows, by number."""
    null: tuple[Numbers, ...]
    """Directions that are orthogonal to all rows."""


class Coefficient(NamedTuple):
    """What the estimate of a coefficient does where the likelihood is largest.

    Where it is finite, or not identified, `Rank` proves that. Where it goes to +∞ or -∞, the first
    direction moves it there, and `shares` prove that no direction moves it back: an orthogonal
    direction's number for it, or the negative of that, is Σ shareₛ (rowₛ · direction), and no share
    is negative. Where it goes to either, the direction `other` moves it the other way.
    """

    estimate: str
    """"finite", "+∞", "-∞", "either", "not identified", or "undecided" if the budget ended."""
    other: int | None = None
    """Which of the directions moves it the other way than the first."""
    shares: Mapping[int, Fraction] | None = None
    """By row, those that are not 0."""


@dataclasses.dataclass(frozen=True)
class Recession(Certificate):
    """What the separations of two classes and of many share.

    A row is the score of a sample's own class less that of another: with two classes there is one
    for every sample. A direction has a weight for every feature and then one for the intercept;
    with more than two classes these for every class but the first.
    """

    role: ClassVar[str] = words.SEPARATED
    noun: ClassVar[str]
    """What a row is called."""
    rows: int
    """How many there are."""
    separated: tuple[int, ...]
    """The rows that are separated, by number, in order."""
    directions: tuple[Numbers, ...]
    """No row is negative along any. Along the first those that are separated are positive."""
    weights: Mapping[int, Fraction] = dataclasses.field(hash=False)
    """Above 0, by row, where they are not 1: so weighted, the rows not separated add up to zero."""
    all_rows: Rank
    other_rows: Rank
    """That of the rows which are not separated."""
    coefficients: tuple[Coefficient, ...]
    """In the order of a direction."""

    @property
    def kind(self) -> str:
        """Complete: all rows are separated; overlap: none is; quasi-complete: some are."""
        if not self.separated:
            return words.OVERLAP
        return words.QUASI if len(self.separated) < self.rows else words.COMPLETE

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """The kind, as it is called in a sentence."""
        return self.kind if self.kind == words.OVERLAP else f"{self.kind} separation"

    @property
    def advice(self) -> str:  # type: ignore[override]
        """What may help whoever wants a fit."""
        return words.remedies(self.kind, self.estimates)

    @property
    def features(self) -> int:
        """How many the samples have."""
        return len(self.coefficients) // len(self._heads()) - 1

    @property
    def rank(self) -> int | None:
        """That of the samples with a constant, or None where it is not proven."""
        own, lacking = len(self.all_rows.rows), len(self.all_rows.null)
        known = own + lacking == len(self.coefficients) or own == self.rows
        return own if known else None

    @property
    def estimates(self) -> tuple[str, ...]:
        """What every coefficient's does."""
        return tuple(coefficient.estimate for coefficient in self.coefficients)

    def table(self, features: Sequence[str] | None = None) -> str:
        """What every coefficient's estimate does, one a line.

        Args:
            features: their names; x0, x1, ... if None.
        """
        count = self.features
        names = [f"x{number}" for number in range(count)] if features is None else list(features)
        if len(names) != count:
            raise ValueError(f"features: expected {count:,} names, got {len(names):,}")
        own = [*names, "intercept"]
        rows = [f"{head}{name}" for head in self._heads() for name in own]
        return words.coefficients(rows, self.estimates)

    def _heads(self) -> list[str]:
        """What stands before the names of a model's coefficients, for each that there is."""
        return [""]

    def describe(self, labels: ArrayLike, features: Sequence[str] | None = None) -> str:
        """The answer in a sentence, and then what every coefficient's estimate does."""
        return f"{words.sentence(str(self))}\n{self.table(features)}"

    def _evidence(self) -> str:
        return words.recession(len(self.separated), self.rows, self.noun, self.estimates)

    def _exact(self, data: Data) -> tuple[Differences, np.ndarray]:
        """The rows, in units of the data, and their numbers."""
        raise NotImplementedError

    def _holds(self, data: Data) -> bool:
        return _Check(self, *self._exact(data), data.inputs).holds()


class _Check:
    """The check of a recession, with what its parts have in common."""

    def __init__(
        self, claim: Recession, exact: Differences, numbers: np.ndarray, inputs: rational.Columns
    ) -> None:
        self.claim, self.exact, self.numbers, self.inputs = claim, exact, numbers, inputs
        units = [*inputs.units, Fraction(1)] * (exact.classes - 1)
        self.units, self.size = rational.over_common_denominator(units)
        self.separated = np.zeros(len(exact), bool)

    def holds(self) -> bool:
        """Whether everything that is claimed is so."""
        claim = self.claim
        if claim.rows != len(self.exact) or len(claim.coefficients) != len(self.units):
            return False
        directions = [*claim.directions, *claim.all_rows.null, *claim.other_rows.null]
        return (
            all(self.fits(direction) for direction in directions)
            and self.partition_holds()
            and self.rank_holds(claim.all_rows, np.ones(len(self.exact), bool))
            and self.rank_holds(claim.other_rows, ~self.separated)
            and all(map(self.coefficient_holds, range(len(self.units)), claim.coefficients))
        )

    def fits(self, direction: Numbers) -> bool:
        """Whether a direction has the right length, and numbers that are not too long."""
        same = len(direction) == len(self.units)
        return same and not too_long(direction, self.inputs, len(direction))

    def partition_holds(self) -> bool:
        """Whether the first direction and the weights prove which rows are separated."""
        claim = self.claim
        separated, weighed = self.places(claim.separated), self.places(claim.weights)
        if separated is None or weighed is None or not claim.directions:
            return False
        self.separated[separated] = True
        first, *others = (self.signs(direction) for direction in claim.directions)
        if (first != self.separated).any() or self.separated[weighed].any():
            return False
        if any((signs < 0).any() or signs[~self.separated].any() for signs in others):
            return False
        weights = Keyed.of(claim.weights).numbers
        amounts = np.array(self.held(weights), object)
        if (amounts <= 0).any():
            return False
        plain = ~self.separated
        plain[weighed] = False
        total = self.exact.total(np.flatnonzero(plain)) * weights.denominator
        return not (total + self.exact.total(weighed, amounts)).any()

    def rank_holds(self, rank: Rank, part: np.ndarray) -> bool:
        """Whether a rank is at least, and at most, that of some of the rows."""
        places = self.places(rank.rows)
        if places is None or not part[places].all():
            return False
        if len(places) + len(rank.null) > len(self.units):
            return False
        null = list(zip(*map(self.held, rank.null), strict=True))
        return (
            len(rational.independent(self.exact.take(places).T.tolist())) == len(places)
            and len(rational.independent(null)) == len(rank.null)
            and not (part.any() and any(self.signs(d)[part].any() for d in rank.null))
        )

    def coefficient_holds(self, place: int, coefficient: Coefficient) -> bool:
        """Whether one coefficient does what it is said to."""
        claim, shares = self.claim, coefficient.shares
        null = claim.other_rows.null
        identified = self.whole(claim.all_rows) and not self.moved(claim.all_rows.null, place)
        match coefficient:
            case (word, None, None) if word == words.UNDECIDED:
                return True
            case (word, None, None) if word == words.UNIDENTIFIED:
                return self.moved(claim.all_rows.null, place)
            case (word, None, None) if word == words.FINITE:
                return self.whole(claim.other_rows) and not self.moved(null, place)
            case (word, int(other), None) if word == words.EITHER:
                if not 0 < other < len(claim.directions):
                    return False
                return identified and self.sign(0, place) * self.sign(other, place) == -1
            case (word, None, _) if word in SIGNS and shares is not None:
                sign = SIGNS[word]
                same = self.sign(0, place) == sign
                return same and self.whole(claim.other_rows) and self.bounded(place, sign, shares)
        return False

    def bounded(self, place: int, sign: int, shares: Mapping[int, Fraction]) -> bool:
        """Whether no direction moves a coefficient against a sign."""
        places, numbers = self.places(shares), Keyed.of(shares).numbers
        amounts = np.array(self.held(numbers), object)
        if places is None or (amounts < 0).any():
            return False
        # Σ share · row, times the shares' denominator, and times `size` in the data's units.
        total = self.exact.total(places, amounts) * np.array(self.units, object)
        return all(
            sum(int(total[k]) * value for k, value in direction.numerators.items())
            == sign * direction.numerators.get(place, 0) * numbers.denominator * self.size
            for direction in self.claim.other_rows.null
        )

    def sign(self, direction: int, place: int) -> int:
        """Where a direction moves a coefficient."""
        value = self.claim.directions[direction].numerators.get(place, 0)
        return (value > 0) - (value < 0)

    def whole(self, rank: Rank) -> bool:
        """Whether it has as many orthogonal directions as the rank lacks."""
        return len(rank.rows) + len(rank.null) == len(self.units)

    def moved(self, directions: Sequence[Numbers], place: int) -> bool:
        """Whether one of some directions moves a coefficient."""
        return any(direction.numerators.get(place, 0) for direction in directions)

    def places(self, rows: Iterable[int]) -> np.ndarray | None:
        """Where the rows of these numbers are; None if one is not there, or is there twice."""
        wanted = list(rows)
        if any(not 0 <= row <= self.numbers[-1] for row in wanted):
            return None
        places = np.searchsorted(self.numbers, np.array(wanted, np.int64))
        there = self.numbers[places].tolist() == wanted
        return places if there and len(set(wanted)) == len(wanted) else None

    def held(self, numbers: Numbers) -> list[int]:
        """The numbers times their denominator, those that are 0 among them."""
        return [numbers.numerators.get(place, 0) for place in range(len(numbers))]

    def signs(self, direction: Numbers) -> np.ndarray:
        """The signs of all rows along a direction."""
        if not direction.numerators:
            return np.zeros(len(self.exact), np.int8)
        vector = np.array(self.held(direction), object) * np.array(self.units, object)
        parts = self.exact.parts(direction.bits() + self.inputs.bits())
        return np.concatenate([np.sign(part.dot(vector)).astype(np.int8) for part in parts])


@dataclasses.dataclass(frozen=True)
class Separation(TwoSides, Recession):
    """Which samples of two classes are separated, and what every coefficient's estimate does.

    Rows are samples, by their numbers in the data.
    """

    noun: ClassVar[str] = "sample"

    @property
    def direction(self) -> Line:
        """The line along which the likelihood recedes: no sample is on its wrong side."""
        *weight, bias = self.directions[0]
        return Line(tuple(weight), bias)

    @property
    def line(self) -> Line | None:
        """Its direction, unless that is no line at all."""
        return self.direction if self.separated else None

    def _support(self, data: Data) -> Iterable[int]:
        return self.separated

    def _label_objection(self, data: Data) -> str | None:
        alone = data.classes == (self.positive,) and self.negative is None and not self.others
        return None if alone else super()._label_objection(data)

    def _exact(self, data: Data) -> tuple[Differences, np.ndarray]:
        positive, negative = self._rows(data)
        numbers = np.union1d(positive, negative)
        own = np.isin(numbers, positive).astype(int)
        return Differences.of(data.inputs.take(numbers), own, 2), numbers


@dataclasses.dataclass(frozen=True)
class MultinomialSeparation(AllClasses, Recession):
    """The same for the multinomial model of more than two classes.

    The coefficients are those of every class but the first, whose are 0. Row i (classes - 1) + c is
    sample i's own score less that of the c-th of the classes that it is not of.
    """

    noun: ClassVar[str] = "difference"
    classes: tuple[Label, ...]

    def _support(self, data: Data) -> Iterable[int]:
        return {row // (len(self.classes) - 1) for row in self.separated}

    def _heads(self) -> list[str]:
        return [f"{words.named(label)}: " for label in self.classes[1:]]

    def _holds(self, data: Data) -> bool:
        # One class alone has no rows, and its directions no entries.
        return len(self.classes) > 1 and super()._holds(data)

    def _exact(self, data: Data) -> tuple[Differences, np.ndarray]:
        # The classes are those of the data, in an order of their own.
        order = {label: number for number, label in enumerate(self.classes)}
        own = np.array([order[label] for label in data.classes])[data.own]
        exact = Differences.of(data.inputs, own, len(self.classes))
        return exact, np.arange(len(exact))


@dataclasses.dataclass(frozen=True)
class ClassSeparations(Parts):
    """The separations of more than two classes."""

    pairs: Mapping[tuple[Label, Label], Separation] = dataclasses.field(hash=False)
    """For (a, b) in order, that of class a and class b, which is positive."""
    rest: Mapping[Label, Separation] = dataclasses.field(hash=False)
    """For every class, that of it and all others."""
    multinomial: MultinomialSeparation
    """That of the multinomial model."""

    def describe(self, labels: ArrayLike, features: Sequence[str] | None = None) -> str:
        """The answers in a table, and then what every coefficient's multinomial estimate does."""
        return f"{super().describe(labels)}\n{self.multinomial.table(features)}"

    def __str__(self) -> str:
        kinds = [part.kind for part in self.pairs.values()], [p.kind for p in self.rest.values()]
        return words.separations(*kinds, str(self.multinomial))
