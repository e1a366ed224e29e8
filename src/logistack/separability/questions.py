"""The questions that certificates answer: two classes, many, and every layer of a network."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from logistack import network
from logistack.layers import Params
from logistack.separability import rational
from logistack.separability.alternative import (
    Answer,
    Clock,
    Differences,
    OutOfTimeError,
    alternative,
    require_budget,
)
from logistack.separability.arithmetic import mixture, scores, too_long
from logistack.separability.certificates import CommonPoint, Line, NothingToSeparate, Separator
from logistack.separability.classes import (
    ClassCertificates,
    MultinomialCommonPoint,
    MultinomialSeparator,
)
from logistack.separability.data import (
    Data,
    Label,
    Sides,
    data_of,
    known_sides,
    pairs_and_rest,
)
from logistack.separability.margin import widest
from logistack.separability.partition import partition
from logistack.separability.rational import Numbers
from logistack.separability.samples import Samples, inverse_root, unit_length


def certify(
    inputs: ArrayLike | rational.Columns,
    labels: ArrayLike,
    *,
    positive: Label | None = None,
    negative: Label | None = None,
    budget: float = 600.0,
) -> Separator | CommonPoint | ClassCertificates:
    """Proves that a line separates two classes, or that none does; exactly, either way.

    Positive samples x⁺ and negative ones x⁻ have a line with w · x⁺ + b > 0 > w · x⁻ + b if and
    only if their convex hulls have no point in common: exactly one of the two exists, and is what
    comes back. A solver in floating point finds it, exact arithmetic proves it, and `verify`
    checks it without either, on the numbers as given: every float is a rational number.

    Args:
        inputs: (samples, features) numbers, at least one of each.
        labels: (samples,) numbers or strings, one a sample. With two different ones, the greater
            is positive.
        positive: the label of the positive samples: a class against all others.
        negative: beside `positive`, that of the negative ones: no other sample takes part.
        budget: seconds for each question. After that the answer is the one that floating point
            found, which says that it is `numerical_only` and does not verify.

    Returns:
        With two classes, or `positive`: a `Separator`, whose line is the widest that floating
        point finds, or a `CommonPoint`. With more, `ClassCertificates`: one of these for each pair
        and for each class against the rest, and whether a linear classifier makes no error. With
        one label alone a `NothingToSeparate`, which is a `Separator` of weight 0. Each is about
        the labels that the data have, and verifies with no others.

    Raises:
        ValueError: if a shape is wrong, an input is NaN or infinite, NumPy would round a number
            of a list, or no sample has the label `positive` or `negative`.
        TypeError: if inputs or labels are of a wrong kind, masked or traced.
        TimeoutError: if `budget` ends before there is any answer.

    >>> proof = certify([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])  # XOR
    >>> print(proof)
    no line is enough: (1/2, 1/2) mixes 2 positive and 2 negative samples
    >>> proof.weights_positive, proof.verify()
    ((Fraction(1, 2), Fraction(1, 2)), True)

    Source: Farkas, "Theorie der einfachen Ungleichungen", 1902; Gordan, "Über die Auflösung
    linearer Gleichungen mit reellen Coefficienten", 1873.
    """
    require_budget(budget)
    data = data_of(inputs, labels)
    positive, negative = known_sides(data, positive, negative)
    if positive is None:
        return _all_classes(inputs, labels, data, budget)
    return _two_sides(inputs, labels, data, budget, positive, negative)


def _two_sides(
    inputs: ArrayLike | rational.Columns,
    labels: ArrayLike,
    data: Data,
    budget: float,
    positive: Label,
    negative: Label | None,
) -> Separator | CommonPoint:
    common: dict[str, Any] = {"inputs": inputs, "labels": labels}
    if len(data.classes) == 1:
        return NothingToSeparate.of(positive, len(data.inputs.units), **common)
    part, sides, others = Sides.of(data, positive, negative)
    samples = Samples.of(data.inputs, part)
    common |= {"positive": positive, "negative": negative, "others": others}

    exact, approximate = samples.rows(sides.astype(int), 2)
    clock = Clock.of(budget)
    answer = _ask(exact, approximate, samples, clock)
    common["numerical_only"] = not answer.proven
    if answer.direction is not None:
        (found,) = samples.lines(answer.direction)
        return Separator(*_widest_line(samples, sides, found.weight, answer.proven), **common)
    assert answer.weights is not None
    # Gordan's weights have the sum 1; as many of them are positive as negative.
    weights = [
        tuple(2 * answer.weights.get(row, Fraction(0)) for row in np.flatnonzero(side).tolist())
        for side in (sides, ~sides)
    ]
    point = mixture(samples.exact.take(sides), weights[0])
    line, open_ = None, True
    if answer.proven:
        line, open_ = _weak_line(exact, approximate, samples, list(answer.weights), clock)
    return CommonPoint(point, weights[0], weights[1], line, undecided=open_, **common)


def _ask(exact: Differences, approximate: Differences, samples: Samples, clock: Clock) -> Answer:
    try:
        return alternative(exact, approximate, samples.lift, clock)
    except OutOfTimeError:
        raise TimeoutError(
            "budget: expected more seconds, these were over before there was any answer"
        ) from None


def _widest_line(
    samples: Samples, sides: np.ndarray, weight: Sequence[Fraction], proven: bool
) -> tuple[tuple[Fraction, ...], Fraction, Fraction]:
    """Weight, bias and margin of the line in the middle of the widest gap that is found."""
    bits = 53
    best = _centred(samples, sides, unit_length(weight, bits))
    wider = widest(samples.floats(), sides, np.array(best[0], float))
    if wider is not None:
        other = _centred(samples, sides, unit_length(list(map(Fraction, wider.tolist())), bits))
        best = max(best, other, key=lambda line: line[2])
    while best[2] <= 0 and proven:  # separating is an open condition: near enough is enough
        bits *= 4
        best = _centred(samples, sides, unit_length(weight, bits))
    return best


def _centred(
    samples: Samples, sides: np.ndarray, weight: tuple[Fraction, ...]
) -> tuple[tuple[Fraction, ...], Fraction, Fraction]:
    """The line of a weight that is as far from the positive samples as from the negative ones."""
    values, denominator = scores(samples.exact, Numbers.of(weight))
    low, high = int(min(values[sides])), int(max(values[~sides]))
    return weight, Fraction(-low - high, 2 * denominator), Fraction(low - high, 2 * denominator)


def _weak_line(
    exact: Differences, approximate: Differences, samples: Samples, rows: list[int], clock: Clock
) -> tuple[Line | None, bool]:
    """A line with no sample on its wrong side, if there is one; and whether that is open.

    Samples that mix to a common point are on every such line, so there is none if they span all.
    """
    bearing = exact.take(np.array(rows))
    if len(rational.independent(bearing.T.tolist())) == bearing.shape[1]:
        return None, False
    try:
        found = partition(exact, approximate, samples.lift, clock)
    except OutOfTimeError:
        return None, True
    if not found.separated.any():
        return None, False
    (line,) = samples.lines(found.direction)
    long = too_long(Numbers.of(line.weight), samples.exact, len(line.weight))
    return (None, True) if long else (line, False)


def _all_classes(
    inputs: ArrayLike | rational.Columns, labels: ArrayLike, data: Data, budget: float
) -> ClassCertificates:
    pairs, rest = pairs_and_rest(data, functools.partial(_two_sides, inputs, labels, data, budget))
    found = _from_rest(data, rest) or _from_pairs(data, pairs) or _multinomial(inputs, data, budget)
    multinomial = dataclasses.replace(found, inputs=inputs, labels=labels)
    parts = [*pairs.values(), *rest.values(), multinomial]
    return ClassCertificates(
        data.classes,
        pairs,
        rest,
        multinomial,
        numerical_only=any(part.numerical_only for part in parts),
        inputs=inputs,
        labels=labels,
    )


def _from_rest(
    data: Data, rest: dict[Label, Separator | CommonPoint]
) -> MultinomialSeparator | None:
    """Scores that are above 0 for the own class and below for all others."""
    lines = [
        Line(part.weight, part.bias)
        for part in rest.values()
        if isinstance(part, Separator) and not part.numerical_only
    ]
    return _classifier(data, lines) if len(lines) == len(rest) else None


def _from_pairs(
    data: Data, pairs: dict[tuple[Label, Label], Separator | CommonPoint]
) -> MultinomialCommonPoint | None:
    """The exchange between two classes that no line separates."""
    for (negative, positive), part in pairs.items():
        if isinstance(part, CommonPoint) and not part.numerical_only:
            weights = {}
            for own, other, shares in (
                (positive, negative, part.weights_positive),
                (negative, positive, part.weights_negative),
            ):
                for sample, share in zip(data.members[own], shares, strict=True):
                    if share:
                        weights[int(sample), other] = share / 2
            return MultinomialCommonPoint(weights, data.classes)
    return None


def _multinomial(
    inputs: ArrayLike | rational.Columns, data: Data, budget: float
) -> MultinomialSeparator | MultinomialCommonPoint:
    samples = Samples.of(data.inputs, np.ones(len(data.own), bool))
    exact, approximate = samples.rows(data.own, len(data.classes))
    answer = _ask(exact, approximate, samples, Clock.of(budget))
    if answer.direction is not None:
        first = Line((Fraction(0),) * len(samples.unit), Fraction(0))
        found = _classifier(data, [first, *samples.lines(answer.direction)], answer.proven)
        return dataclasses.replace(found, numerical_only=not answer.proven)
    assert answer.weights is not None
    others = exact.others().ravel()
    weights = {
        (row // (len(data.classes) - 1), data.classes[others[row]]): weight
        for row, weight in answer.weights.items()
    }
    return MultinomialCommonPoint(weights, data.classes, numerical_only=not answer.proven)


def _classifier(data: Data, lines: Sequence[Line], proven: bool = True) -> MultinomialSeparator:
    """The scores of some lines, scaled so that the longest difference of weights is 1."""
    entries = [[*line.weight, line.bias] for line in lines]
    mean = [sum(column) / len(entries) for column in zip(*entries, strict=True)]
    entries = [[value - m for value, m in zip(row, mean, strict=True)] for row in entries]
    longest = max(
        sum(((v - w) ** 2 for v, w in zip(a[:-1], b[:-1], strict=True)), Fraction(0))
        for a, b in itertools.combinations(entries, 2)
    )
    bits = 53
    while True:
        scale = inverse_root(longest, bits)
        short = [[rational.rounded(value * scale, bits) for value in row] for row in entries]
        weight = tuple(tuple(row[:-1]) for row in short)
        bias = tuple(row[-1] for row in short)
        found = MultinomialSeparator(weight, bias, Fraction(0), data.classes)
        least = found.least_difference(data)
        assert least is not None  # powers of two have a common denominator
        margin = Fraction(*least)
        if margin > 0 or not proven:
            return dataclasses.replace(found, margin=margin)
        bits *= 4


class Untangling(tuple[Separator | CommonPoint | ClassCertificates, ...]):
    """A certificate for the inputs, then one after every layer."""

    @property
    def layer(self) -> int | None:
        """The first from which on a line is enough: 0 for the inputs, None if it never is.

        With more than two classes, the line is a linear classifier without an error.
        """
        first = None
        for number, certificate in reversed(list(enumerate(self))):
            if isinstance(certificate, ClassCertificates):
                enough = isinstance(certificate.multinomial, MultinomialSeparator)
            else:
                enough = isinstance(certificate, Separator)
            if not enough or certificate.numerical_only:
                break
            first = number
        return first

    def __str__(self) -> str:
        places = ["inputs", *(f"after layer {number}" for number in range(1, len(self)))]
        return "\n".join(f"{place}: {part}" for place, part in zip(places, self, strict=True))


def untangle(
    params: Params,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    positive: Label | None = None,
    negative: Label | None = None,
    budget: float = 600.0,
) -> Untangling:
    """Certifies the inputs, and the outputs of every layer of a network: where is a line enough?

    Args:
        params: the network.
        inputs: (samples, in) numbers.
        labels: (samples,) numbers or strings, one a sample.
        positive: as in `certify`.
        negative: as in `certify`.
        budget: seconds for each question, as in `certify`.

    Returns:
        A tuple of what `certify` returns, for the inputs as they are and for what each layer
        makes of them, in the precision in which the network computes. Its `layer` is the first
        from which on a line is enough.

    Raises:
        ValueError: if a shape is wrong, or a number is NaN or infinite.
        TypeError: if an argument is of a wrong kind.
        TimeoutError: if `budget` ends before there is any answer.

    The article's two hidden units, and what a third needs, a line:

    >>> from logistack.layers import Layer
    >>> hidden = Layer(jnp.array([[-2.0, 2.0], [2.0, -2.0]]), jnp.array([-1.0, -1.0]))
    >>> untangled = untangle((hidden,), [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
    >>> untangled.layer
    1
    >>> print(untangled)
    inputs: no line is enough: (1/2, 1/2) mixes 2 positive and 2 negative samples
    after layer 1: a line is enough: margin 0.0851
    """
    data_of(inputs, labels)
    floats = np.asarray(inputs)
    if floats.dtype == object:
        floats = floats.astype(np.float64)
    outputs = [*map(np.asarray, _activations(params, jnp.asarray(floats)))]
    for number, values in enumerate(outputs, 1):
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise ValueError(
                f"params: expected a network with finite outputs, got {bad:,} NaN or ±inf of "
                f"{values.size:,} after layer {number}"
            )
    return Untangling(
        certify(values, labels, positive=positive, negative=negative, budget=budget)
        for values in (inputs, *outputs)
    )


# Made once, so that a network of the same shapes is not compiled again.
_activations = jax.jit(jax.vmap(network.activations, in_axes=(None, 0)))
