"""Proofs about more than two classes: each pair, each against the rest, and all at once."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from logistack.separability import rational, words
from logistack.separability.arithmetic import (
    is_unit,
    mixes_to,
    over_one_denominator,
    scores,
    too_long,
)
from logistack.separability.certificates import Certificate, CommonPoint, Separator
from logistack.separability.data import Data, Label
from logistack.separability.rational import Keyed, Numbers

MOST_WORK = 2**32
"""In bits of all scores, what a common denominator may cost that makes the numbers much longer."""


class AllClasses(Certificate):
    """A certificate on all the classes that the data have."""

    classes: tuple[Label, ...]

    def _label_objection(self, data: Data) -> str | None:
        same = len(self.classes) == len(data.members) and set(self.classes) == set(data.members)
        return None if same else words.about_all(self.classes, data.classes)

    def _statement(self, labels: ArrayLike) -> str:
        return words.all_at_once(self.entry())


@dataclasses.dataclass(frozen=True)
class MultinomialSeparator(AllClasses):
    """A linear classifier makes no error: every sample's own class has the highest score.

    The longest difference of two weights has length 1, up to rounding, so that the margin is at
    most the Euclidean distance from any sample to the border of its class.
    """

    verdict: ClassVar[str] = words.CLASSIFIER
    role: ClassVar[str] = words.NEAREST
    advice: ClassVar[str] = words.RUNS_OFF
    weight: Sequence[Sequence[Fraction]]
    """(classes, features)"""
    bias: Sequence[Fraction]
    """(classes,)"""
    margin: Fraction
    """The least difference of a sample's own score and another, exactly."""
    classes: tuple[Label, ...]

    @property
    def features(self) -> int:
        """How many the samples have."""
        return len(self.weight[0])

    def least_difference(self, data: Data) -> tuple[int, int] | None:
        """The least own score less another's, as an integer over a denominator.

        None where the rows have no common denominator that is not much longer than their own.
        """
        found = self._differences(data)
        if found is None:
            return None
        differences, denominator = found
        return int(min(differences)), denominator

    def _differences(self, data: Data) -> tuple[np.ndarray, int] | None:
        """For every sample the least, over one denominator."""
        rows = over_one_denominator([*self.weight, self.bias])
        if rows is None:
            return None
        *weights, bias = rows
        numbers = {label: number for number, label in enumerate(self.classes)}
        order = [numbers[label] for label in data.classes]
        least, denominator = np.empty(len(data.own), object), 1
        for part in rational.blocks(len(data.own), max(row.bits() for row in rows)):
            inputs, own = data.inputs.take(part), data.own[part]
            mine, highest = np.full((2, len(own)), -math.inf, object)
            for place, number in enumerate(order):
                products, denominator = scores(inputs, weights[number])
                constant = bias.numerators.get(number, 0) * (denominator // bias.denominator)
                here = own == place
                mine[here] = products[here] + constant
                highest[~here] = np.maximum(highest[~here], products[~here] + constant)
            least[part] = mine - highest
        return least, denominator

    def _support(self, data: Data) -> Iterable[int]:
        found = self._differences(data)
        if found is None:
            return ()
        return np.flatnonzero(found[0] == min(found[0])).tolist()

    def _holds(self, data: Data) -> bool:
        if not len(self.weight) == len(self.bias) == len(self.classes) > 1:
            return False
        if {len(weight) for weight in self.weight} != {len(data.inputs.units)}:
            return False
        given = [*map(Numbers.of, self.weight), Numbers.of(self.bias)]
        rows = over_one_denominator(given)
        entries = len(self.classes) * len(data.inputs.units)
        if rows is None or any(too_long(row, data.inputs, entries) for row in rows):
            return False
        own, common = (sum(row.all_bits() for row in those) for those in (given, rows))
        if common > 2 * own and common * len(data.own) > MOST_WORK:
            return False
        least = self.least_difference(data)
        if least is None or not is_unit(rows[:-1]):
            return False
        difference, denominator = least
        exact = difference * self.margin.denominator == self.margin.numerator * denominator
        return difference > 0 and exact

    def _evidence(self) -> str:
        return words.margin(self.margin)


@dataclasses.dataclass(frozen=True)
class MultinomialCommonPoint(AllClasses):
    """No linear classifier is enough: the classes can exchange samples and none gains by it.

    weights[i, c] is the amount of sample i that its own class gives to class c. Every class gets
    as much as it gives, with the same mean. Were every sample's own score the highest, each gift
    would lower the sum of amount × score; but the sum is linear in amount and amount × sample,
    which stay the same for every class.
    """

    verdict: ClassVar[str] = words.NO_CLASSIFIER
    role: ClassVar[str] = words.EXCHANGED
    advice: ClassVar[str] = words.STACK
    weights: Mapping[tuple[int, Label], Fraction] = dataclasses.field(hash=False)
    """Of (sample, class) where it is not 0; their sum is 1."""
    classes: tuple[Label, ...]

    def _holds(self, data: Data) -> bool:
        gifts = Keyed.of(self.weights)
        shares = gifts.numbers.numerators
        if len(shares) != len(gifts) or min(shares.values(), default=0) <= 0:
            return False
        if sum(shares.values()) != gifts.numbers.denominator:
            return False
        number = {label: place for place, label in enumerate(data.classes)}
        given = [dict[int, int]() for _ in number]
        for (sample, label), place in gifts.places.items():
            if not 0 <= sample < len(data.own) or label not in number:
                return False
            if number[label] == data.own[sample]:
                return False
            for owner, share in (
                (data.own[sample], shares[place]),
                (number[label], -shares[place]),
            ):
                given[owner][sample] = given[owner].get(sample, 0) + share
        origin = Numbers(len(data.inputs.units), 1, {})
        every = np.arange(len(data.own))
        for amounts in given:
            balance = Numbers(len(every), 1, {row: v for row, v in amounts.items() if v})
            if sum(amounts.values()) or not mixes_to(data.inputs, every, balance, origin):
                return False
        return True

    def _support(self, data: Data) -> Iterable[int]:
        return {sample for sample, _ in self.weights}

    def _evidence(self) -> str:
        return words.exchange(len({sample for sample, _ in self.weights}))


@dataclasses.dataclass(frozen=True)
class Parts(AllClasses):
    """What answers for more than two classes have in common: what they consist of."""

    classes: tuple[Label, ...]
    pairs: Mapping[tuple[Label, Label], Any] = dataclasses.field(hash=False)
    """For (a, b) in order, the answer about class a and class b, which is positive."""
    rest: Mapping[Label, Any] = dataclasses.field(hash=False)
    """For every class, the answer about it and all others."""
    multinomial: Any
    """The answer about all classes at once."""

    @property
    def role(self) -> str:  # type: ignore[override]
        """That of the answer about all classes at once, as its support and its advice are."""
        return self.multinomial.role

    @property
    def advice(self) -> str:  # type: ignore[override]
        """That of the answer about all classes at once."""
        return self.multinomial.advice

    @property
    def features(self) -> int | None:
        """How many the samples have, if it depends on that."""
        return self.multinomial.features

    def _support(self, data: Data) -> Iterable[int]:
        return self.multinomial._support(data)

    def _parts(self) -> list[Certificate]:
        return [self, *self.pairs.values(), *self.rest.values(), self.multinomial]

    def _holds(self, data: Data) -> bool:
        count = len(self.classes)
        complete = (len(self.pairs), len(self.rest)) == (count * (count - 1) // 2, count)
        if not complete or set(self.rest) != set(self.classes):
            return False
        if set(self.pairs) != set(itertools.combinations(self.classes, 2)):
            return False
        sides = all(part.negative is None and part.positive == c for c, part in self.rest.items())
        sides &= all((part.negative, part.positive) == key for key, part in self.pairs.items())
        _, *parts = self._parts()
        return (
            sides
            and self.multinomial.classes == self.classes
            and all(part._label_objection(data) is None and part._holds(data) for part in parts)
        )

    def _statement(self, labels: ArrayLike) -> str:
        return words.table(
            [(a, b, part.entry()) for (a, b), part in self.pairs.items()],
            [(label, part.entry()) for label, part in self.rest.items()],
            self.multinomial.entry(),
        )


@dataclasses.dataclass(frozen=True)
class ClassCertificates(Parts):
    """The answers for more than two classes: where a line, or a linear classifier, is enough."""

    pairs: Mapping[tuple[Label, Label], Separator | CommonPoint] = dataclasses.field(hash=False)
    """For (a, b) in order, whether a line separates class a from class b, which is positive."""
    rest: Mapping[Label, Separator | CommonPoint] = dataclasses.field(hash=False)
    """For every class, whether a line separates it from all others."""
    multinomial: MultinomialSeparator | MultinomialCommonPoint
    """Whether one linear classifier makes no error at all."""

    def __str__(self) -> str:
        pairs, rest = (
            [isinstance(part, Separator) for part in parts.values()]
            for parts in (self.pairs, self.rest)
        )
        return words.summary(pairs, rest, str(self.multinomial))
