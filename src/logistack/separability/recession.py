"""Which samples are separated, and which estimates are infinite: the question of statisticians."""

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from logistack.separability.alternative import Clock, OutOfTimeError, require_budget
from logistack.separability.coefficients import Estimates, FoundRank, estimates
from logistack.separability.data import (
    Data,
    Label,
    Sides,
    data_of,
    known_sides,
    pairs_and_rest,
)
from logistack.separability.partition import partition
from logistack.separability.rational import Columns, Keyed, Numbers
from logistack.separability.samples import Samples
from logistack.separability.separations import (
    ClassSeparations,
    Coefficient,
    MultinomialSeparation,
    Rank,
    Separation,
)
from logistack.separability.span import Array


def separation(
    inputs: ArrayLike | Columns,
    labels: ArrayLike,
    *,
    positive: Label | None = None,
    negative: Label | None = None,
    budget: float = 600.0,
) -> Separation | ClassSeparations:
    """Proves which samples are separated, and which coefficients of a logistic regression diverge.

    With rows zᵢ = ± (xᵢ, 1), signed by class, there is one largest set S of samples for which some
    β with zᵢ · β ≥ 0 for all samples has zᵢ · β > 0. Along β the likelihood rises for ever. If S is
    all samples, they are completely separated; if it is empty they overlap, and the maximum
    likelihood estimate exists; else they are quasi-completely separated, and some of its
    coefficients run off to infinity. Linear programs in floating point find β, and weights λ > 0
    with Σ λᵢ zᵢ = 0 over the other samples, which prove that these cannot be separated; exact
    arithmetic proves both, and `verify` checks them, on the numbers as given.

    Args:
        inputs: (samples, features) numbers, at least one of each.
        labels: (samples,) numbers or strings, one a sample. With two different ones, the greater
            is positive.
        positive: the label of the positive samples: a class against all others.
        negative: beside `positive`, that of the negative ones: no other sample takes part.
        budget: seconds for each question. After it coefficients are "undecided".

    Returns:
        With two classes, or `positive`: a `Separation`. With more, `ClassSeparations`: one for
        each pair, for each class against the rest, and for the multinomial model.

    Raises:
        ValueError: if a shape is wrong, an input is NaN or infinite, or no sample has the label
            `positive` or `negative`.
        TypeError: if inputs or labels are of a wrong kind, masked or traced.
        TimeoutError: if `budget` ends before it is known which samples are separated.

    >>> found = separation([[0, 0], [1, 0], [1, 0], [2, 0], [1, 1]], [0, 0, 1, 1, 1])
    >>> found.kind, found.separated
    ('quasi-complete', (0, 3, 4))
    >>> [coefficient.estimate for coefficient in found.coefficients]
    ['+∞', '+∞', '-∞']
    >>> found.verify()
    True

    Source: Albert & Anderson, "On the existence of maximum likelihood estimates in logistic
    regression models", 1984; Goldman & Tucker, "Theory of linear programming", 1956.
    """
    require_budget(budget)
    data = data_of(inputs, labels)
    positive, negative = known_sides(data, positive, negative)
    if positive is None:
        return _all_classes(inputs, labels, data, budget)
    return _two_sides(inputs, labels, data, budget, positive, negative)


def _two_sides(
    inputs: ArrayLike | Columns,
    labels: ArrayLike,
    data: Data,
    budget: float,
    positive: Label,
    negative: Label | None,
) -> Separation:
    part, sides, others = Sides.of(data, positive, negative)
    return Separation(
        **_found(data, part, sides.astype(int), 2, np.flatnonzero(part), budget),
        positive=positive,
        negative=negative,
        others=others,
        inputs=inputs,
        labels=labels,
    )


def _all_classes(
    inputs: ArrayLike | Columns, labels: ArrayLike, data: Data, budget: float
) -> ClassSeparations:
    common: dict[str, Any] = {"inputs": inputs, "labels": labels}
    classes = data.classes
    pairs, rest = pairs_and_rest(data, functools.partial(_two_sides, inputs, labels, data, budget))
    every = np.ones(len(data.own), bool)
    numbers = np.arange(len(data.own) * (len(classes) - 1))
    found = _found(data, every, data.own, len(classes), numbers, budget)
    multinomial = MultinomialSeparation(**found, classes=classes, **common)
    return ClassSeparations(classes, pairs, rest, multinomial, **common)


def _found(
    data: Data, part: Array, own: Array, classes: int, numbers: Array, budget: float
) -> dict[str, Any]:
    """The fields of a recession."""
    samples = Samples.of(data.inputs, part)
    exact, approximate = samples.rows(own, classes)
    clock = Clock.of(budget)
    try:
        found = partition(exact, approximate, samples.lift, clock)
    except OutOfTimeError:
        raise TimeoutError(
            "budget: expected more seconds, these were over before it was known which samples are "
            "separated"
        ) from None
    known = estimates(exact, found, clock)
    rows = numbers[list(found.weights)].tolist()
    return {
        "rows": len(exact),
        "separated": tuple(numbers[found.separated].tolist()),
        "directions": tuple(map(samples.numbers, known.directions)),
        "weights": Keyed(rows, Numbers.of(found.weights.values())),
        "all_rows": _rank(samples, numbers, known.all_rows),
        "other_rows": _rank(samples, numbers, known.others),
        "coefficients": _coefficients(samples, numbers, known),
    }


def _rank(samples: Samples, numbers: Array, found: FoundRank) -> Rank:
    null = tuple(map(samples.numbers, found.null.T))
    return Rank(tuple(numbers[found.rows].tolist()), null)


def _coefficients(samples: Samples, numbers: Array, known: Estimates) -> tuple[Coefficient, ...]:
    units = samples.units(len(known.each))
    found = []
    for estimate, unit in zip(known.each, units, strict=True):
        shares = None
        if estimate.shares is not None:
            rows = numbers[list(estimate.shares)].tolist()
            shares = Keyed(rows, Numbers.of(v / unit for v in estimate.shares.values()))
        found.append(Coefficient(estimate.word, estimate.other, shares))
    return tuple(found)
