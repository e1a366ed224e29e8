"""Proofs that data are linearly separable, or are not, which anyone can check.

A certificate's `verify` knows nothing of how it was found: it multiplies and adds integers.
"""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from numpy.typing import ArrayLike

from logistack.separability import rational

Label: TypeAlias = bool | int | float | str
FORMAT = "logistack certificate 1"
UNIT_TOLERANCE = Fraction(1, 2**40)
"""Of a squared length that is said to be 1: thousands of roundings of a 53-bit number."""
MOST_NUMBERS = 10**8
"""A text that claims a longer list is no certificate, but a burden on memory."""


class Line(NamedTuple):
    """The line, or hyperplane, weight · x + bias = 0."""

    weight: tuple[Fraction, ...]
    bias: Fraction


class Data(NamedTuple):
    """Samples with their labels, exactly."""

    inputs: rational.Columns
    labels: np.ndarray
    """(samples,)"""
    classes: tuple[Label, ...]
    """In order, as Python's own values."""


def data_of(inputs: Any, labels: Any) -> Data:
    """Checks samples and labels, and makes exact numbers of the samples."""
    columns = rational.columns_of("inputs", inputs)
    if isinstance(labels, jax.core.Tracer):
        raise TypeError(f"labels: expected concrete labels, got the tracer {labels}")
    labels = np.asarray(labels)
    samples = len(columns.integers)
    if labels.shape != (samples,):
        raise ValueError(f"labels: expected shape ({samples},), one a sample, got {labels.shape}")
    if labels.dtype == object and len(set(map(type, labels))) == 1:
        labels = np.asarray(labels.tolist())
    if labels.dtype.kind not in "biufU":
        raise TypeError(f"labels: expected numbers or strings, got dtype {labels.dtype}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        bad = samples - np.isfinite(labels).sum()
        raise ValueError(f"labels: expected finite values, got {bad} NaN or ±inf of {samples}")
    return Data(columns, labels, tuple(np.unique(labels).tolist()))


def scores(inputs: rational.Columns, line: Line) -> tuple[np.ndarray, int]:
    """The scores weight · x + bias of all samples, as integers over their common denominator."""
    scaled = [
        w * Fraction(2) ** exponent
        for w, exponent in zip(line.weight, inputs.exponents, strict=True)
    ]
    (*weight, bias), denominator = rational.over_common_denominator([*scaled, line.bias])
    return rational.dot(inputs.integers, np.array(weight, object)) + bias, denominator


def mixture(inputs: rational.Columns, weights: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Σ weightᵢ xᵢ."""
    rows = [row for row, weight in enumerate(weights) if weight]
    numerators, denominator = rational.over_common_denominator(weights[row] for row in rows)
    sums = rational.dot(inputs.integers[rows].T, np.array(numerators, object))
    return tuple(
        Fraction(int(total), denominator) * Fraction(2) ** exponent
        for total, exponent in zip(sums, inputs.exponents, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What the certificates share: the data they were made of, and their text."""

    numerical_only: bool = dataclasses.field(default=False, kw_only=True)
    """Whether the budget was spent before exact arithmetic had the last word: no proof."""
    inputs: Any = dataclasses.field(default=None, repr=False, compare=False, kw_only=True)
    labels: Any = dataclasses.field(default=None, repr=False, compare=False, kw_only=True)

    def verify(self, inputs: ArrayLike | None = None, labels: ArrayLike | None = None) -> bool:
        """Whether this is a proof, by integers alone.

        Args:
            inputs: (samples, features) numbers; those that the certificate was made of if None.
            labels: (samples,), one a sample, with `inputs` or not at all.

        Returns:
            True if the statement holds for every sample, exactly. False if it does not, if it
            is of other data, or if it is numerical only.

        Raises:
            ValueError: if there is no data, or an input is NaN or infinite.
            TypeError: if inputs or labels are of a wrong kind.
        """
        if (inputs is None) != (labels is None):
            raise ValueError("inputs, labels: expected both or neither, got one of them")
        if inputs is None:
            inputs, labels = self.inputs, self.labels
        if inputs is None:
            raise ValueError("inputs: a certificate read from its text has no data: give it both")
        return not self.numerical_only and self._holds(data_of(inputs, labels))

    def _holds(self, data: Data) -> bool:
        raise NotImplementedError

    def _content(self) -> dict[str, Any]:
        raise NotImplementedError

    def to_json(self) -> str:
        """The certificate as text, without its data: `certificate_from_json` reads it.

        Numbers are integers over a common denominator, in decimal, or in hexadecimal from 10,000
        bits on.
        """
        content = {"format": FORMAT, "kind": type(self).__name__, **self._content()}
        return json.dumps(content | {"numerical_only": self.numerical_only}, ensure_ascii=False)

    def _verdict(self, words: str) -> str:
        return f"{words} (numerical only: not proven)" if self.numerical_only else words


@dataclasses.dataclass(frozen=True)
class _TwoSides(Certificate):
    """A certificate on one class against another, or against all others."""

    positive: Label = dataclasses.field(default=1, kw_only=True)
    """The label of the positive samples."""
    negative: Label | None = dataclasses.field(default=None, kw_only=True)
    """That of the negative ones, if samples with any other take no part."""

    def sides(self, data: Data) -> tuple[rational.Columns, np.ndarray]:
        """The samples that take part, and whether each is positive."""
        positive = data.labels == self.positive
        if self.negative is None:
            return data.inputs, positive
        part = positive | (data.labels == self.negative)
        return data.inputs.take(part), positive[part]


@dataclasses.dataclass(frozen=True)
class Separator(_TwoSides):
    """A line is enough: weight · x + bias is above 0 for positive samples and below for others.

    The weight's length is 1, up to rounding, so that the margin is the Euclidean distance from
    the line to the nearest sample. Where one side has no samples, the weight is 0 and the margin 1.
    """

    weight: tuple[Fraction, ...]
    """(features,)"""
    bias: Fraction
    margin: Fraction
    """min ± (weight · x + bias), exactly."""

    def _holds(self, data: Data) -> bool:
        inputs, positive = self.sides(data)
        if len(self.weight) != len(inputs.exponents) or not len(positive):
            return False
        values, denominator = scores(inputs, Line(self.weight, self.bias))
        nearest = min(np.where(positive, values, -values))
        squared = sum(w * w for w in self.weight)
        unit = squared == 0 or abs(squared - 1) < UNIT_TOLERANCE
        return bool(0 < nearest == self.margin * denominator) and unit

    def _content(self) -> dict[str, Any]:
        return {
            **_labels(self),
            "weight": _to_text(self.weight),
            "bias": _to_text([self.bias]),
            "margin": _to_text([self.margin]),
        }

    def __str__(self) -> str:
        return self._verdict(f"a line is enough: margin {rational.three_digits(self.margin)}")


@dataclasses.dataclass(frozen=True)
class CommonPoint(_TwoSides):
    """No line is enough: one point is a mixture of positive samples, and of the others.

    A line with the positive samples on one side has their mixtures there too, and so the point;
    but it has the other mixtures, and so the point, on the other side.
    """

    point: tuple[Fraction, ...]
    """(features,)"""
    weights_positive: tuple[Fraction, ...]
    """One for every positive sample in their order; their sum is 1."""
    weights_negative: tuple[Fraction, ...]
    """One for every other sample."""
    weak_line: Line | None = None
    """Where the hulls only touch: a line with no sample on its wrong side, and not all on it.

    None says nothing: either there is no such line, or it was too much work to look for one.
    """

    def _holds(self, data: Data) -> bool:
        inputs, positive = self.sides(data)
        for side, weights in (
            (positive, self.weights_positive),
            (~positive, self.weights_negative),
        ):
            if len(weights) != side.sum() or len(self.point) != len(inputs.exponents):
                return False
            mixed = mixture(inputs.take(side), weights)
            if not (min(weights, default=-1) >= 0 and sum(weights) == 1 and mixed == self.point):
                return False
        if self.weak_line is None:
            return True
        if len(self.weak_line.weight) != len(inputs.exponents):
            return False
        values, _ = scores(inputs, self.weak_line)
        signed = np.where(positive, values, -values)
        return bool(min(signed) >= 0 and max(signed) > 0)

    def _content(self) -> dict[str, Any]:
        line = self.weak_line
        return {
            **_labels(self),
            "point": _to_text(self.point),
            "weights_positive": _to_text(self.weights_positive),
            "weights_negative": _to_text(self.weights_negative),
            "weak_line": line and {"weight": _to_text(line.weight), "bias": _to_text([line.bias])},
        }

    def __str__(self) -> str:
        positive, negative = (
            sum(map(bool, weights)) for weights in (self.weights_positive, self.weights_negative)
        )
        point = "one point"
        if len(self.point) <= 3 and all(len(str(x)) <= 12 for x in self.point):
            point = f"({', '.join(map(str, self.point))})"
        words = (
            f"no line is enough: {point} mixes {positive} positive and {negative} negative samples"
        )
        return self._verdict(words + ("; their hulls only touch" if self.weak_line else ""))


@dataclasses.dataclass(frozen=True)
class MultinomialSeparator(Certificate):
    """A linear classifier makes no error: every sample's own class has the highest score.

    The longest difference of two weights has length 1, up to rounding, so that the margin is at
    most the Euclidean distance from any sample to the border of its class.
    """

    weight: tuple[tuple[Fraction, ...], ...]
    """(classes, features)"""
    bias: tuple[Fraction, ...]
    """(classes,)"""
    margin: Fraction
    """The least difference of a sample's own score and another, exactly."""
    classes: tuple[Label, ...]

    def least_difference(self, data: Data) -> Fraction | None:
        """The least own score less another's, or None for data of other classes."""
        own = _numbers_of(data, self.classes)
        if own is None:
            return None
        differences = []
        for number, other in itertools.permutations(range(len(self.classes)), 2):
            mine = data.inputs.take(own == number)
            if len(mine.integers):
                values, denominator = scores(mine, self.border(number, other))
                differences.append(Fraction(int(min(values)), denominator))
        return min(differences, default=None)

    def _holds(self, data: Data) -> bool:
        if not len(self.weight) == len(self.bias) == len(self.classes) > 1:
            return False
        if {len(weight) for weight in self.weight} != {len(data.inputs.exponents)}:
            return False
        longest = max(
            sum((w * w for w in self.border(one, other).weight), Fraction(0))
            for one, other in itertools.combinations(range(len(self.classes)), 2)
        )
        least = self.least_difference(data)
        unit = abs(longest - 1) < UNIT_TOLERANCE
        return least is not None and 0 < least == self.margin and unit

    def border(self, one: int, other: int) -> Line:
        """Where two classes, by number, have equal scores; the first is on the positive side."""
        weight = tuple(a - b for a, b in zip(self.weight[one], self.weight[other], strict=True))
        return Line(weight, self.bias[one] - self.bias[other])

    def _content(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "weight": [_to_text(weight) for weight in self.weight],
            "bias": _to_text(self.bias),
            "margin": _to_text([self.margin]),
        }

    def __str__(self) -> str:
        margin = rational.three_digits(self.margin)
        return self._verdict(f"a linear classifier is enough: margin {margin}")


@dataclasses.dataclass(frozen=True)
class MultinomialCommonPoint(Certificate):
    """No linear classifier is enough: the classes can exchange samples and none gains by it.

    weights[i, c] is the amount of sample i that its own class gives to class c. Every class gets
    as much as it gives, with the same mean. Were every sample's own score the highest, each gift
    would lower the sum of amount × score; but the sum is linear in amount and amount × sample,
    which stay the same for every class.
    """

    weights: dict[tuple[int, Label], Fraction]
    """Of (sample, class) where it is not 0; their sum is 1."""
    classes: tuple[Label, ...]

    def _holds(self, data: Data) -> bool:
        own = _numbers_of(data, self.classes)
        if own is None or not self.weights or min(self.weights.values()) <= 0:
            return False
        if sum(self.weights.values()) != 1:
            return False
        number = {label: place for place, label in enumerate(self.classes)}
        given = [dict[int, Fraction]() for _ in self.classes]
        for (sample, label), weight in self.weights.items():
            if not 0 <= sample < len(own) or label not in number or number[label] == own[sample]:
                return False
            for place, sign in ((int(own[sample]), 1), (number[label], -1)):
                given[place][sample] = given[place].get(sample, Fraction(0)) + sign * weight
        for gifts in given:
            rows = data.inputs.take(list(gifts))
            if sum(gifts.values()) or any(mixture(rows, list(gifts.values()))):
                return False
        return True

    def _content(self) -> dict[str, Any]:
        number = {label: place for place, label in enumerate(self.classes)}
        return {
            "classes": list(self.classes),
            "gifts": [[sample, number[label]] for sample, label in self.weights],
            "weights": _to_text(list(self.weights.values())),
        }

    def __str__(self) -> str:
        count = len({sample for sample, _ in self.weights})
        return self._verdict(
            f"no linear classifier is enough: an exchange of {count} samples keeps every mean"
        )


@dataclasses.dataclass(frozen=True)
class ClassCertificates(Certificate):
    """The answers for more than two classes."""

    classes: tuple[Label, ...]
    pairs: dict[tuple[Label, Label], Separator | CommonPoint]
    """For (a, b) in order, whether a line separates class a from class b, which is positive."""
    rest: dict[Label, Separator | CommonPoint]
    """For every class, whether a line separates it from all others."""
    multinomial: MultinomialSeparator | MultinomialCommonPoint
    """Whether one linear classifier makes no error at all."""

    def _parts(self) -> list[Certificate]:
        return [*self.pairs.values(), *self.rest.values(), self.multinomial]

    def _holds(self, data: Data) -> bool:
        complete = set(self.rest) == set(self.classes) == set(data.classes) and set(
            self.pairs
        ) == set(itertools.combinations(self.classes, 2))
        sides = all(part.negative is None and part.positive == c for c, part in self.rest.items())
        sides &= all((part.negative, part.positive) == key for key, part in self.pairs.items())
        return (
            complete
            and sides
            and self.multinomial.classes == self.classes
            and not any(part.numerical_only for part in self._parts())
            and all(part._holds(data) for part in self._parts())
        )

    def _content(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "pairs": [json.loads(part.to_json()) for part in self.pairs.values()],
            "rest": [json.loads(part.to_json()) for part in self.rest.values()],
            "multinomial": json.loads(self.multinomial.to_json()),
        }

    def __str__(self) -> str:
        pairs, rest = (
            sum(isinstance(part, Separator) for part in parts.values())
            for parts in (self.pairs, self.rest)
        )
        return (
            f"{len(self.classes)} classes: a line is enough for {pairs} of {len(self.pairs)} pairs "
            f"and for {rest} of {len(self.rest)} classes against the rest; {self.multinomial}"
        )


def certificate_from_json(text: str | bytes) -> Certificate:
    """Reads a certificate that `to_json` wrote. It has no data: give `verify` both.

    Args:
        text: JSON.

    Returns:
        A `Separator`, `CommonPoint`, `MultinomialSeparator`, `MultinomialCommonPoint` or
        `ClassCertificates`.

    Raises:
        ValueError: if the text is no certificate.

    >>> separator = Separator((Fraction(1),), Fraction(-1, 2), Fraction(1, 2))
    >>> certificate_from_json(separator.to_json()).verify([[0], [1]], [0, 1])
    True
    """
    try:
        return _from_content(json.loads(text))
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"text: expected a certificate as to_json writes it, got {error!r}"
        ) from error


def _from_content(content: dict[str, Any]) -> Certificate:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}")
    common = {"numerical_only": _of_kind("numerical_only", content["numerical_only"], bool)}
    match content["kind"]:
        case "Separator":
            return Separator(
                _from_text(content["weight"]),
                _number_from(content["bias"]),
                _number_from(content["margin"]),
                **_sides_from(content),
                **common,
            )
        case "CommonPoint":
            line = content["weak_line"]
            if line is not None:
                line = Line(_from_text(line["weight"]), _number_from(line["bias"]))
            return CommonPoint(
                _from_text(content["point"]),
                _from_text(content["weights_positive"]),
                _from_text(content["weights_negative"]),
                line,
                **_sides_from(content),
                **common,
            )
        case "MultinomialSeparator":
            return MultinomialSeparator(
                tuple(map(_from_text, content["weight"])),
                _from_text(content["bias"]),
                _number_from(content["margin"]),
                _classes_from(content),
                **common,
            )
        case "MultinomialCommonPoint":
            classes = _classes_from(content)
            gifts = [
                (_place(sample, MOST_NUMBERS), classes[_place(number, len(classes))])
                for sample, number in content["gifts"]
            ]
            weights = dict(zip(gifts, _from_text(content["weights"]), strict=True))
            if len(weights) != len(gifts):
                raise ValueError("a gift twice")
            return MultinomialCommonPoint(weights, classes, **common)
        case "ClassCertificates":
            pairs = [_two_sides_from(part) for part in content["pairs"]]
            rest = [_two_sides_from(part) for part in content["rest"]]
            multinomial = _from_content(content["multinomial"])
            if not isinstance(multinomial, MultinomialSeparator | MultinomialCommonPoint):
                raise ValueError(f"a {type(multinomial).__name__} as multinomial")
            return ClassCertificates(
                _classes_from(content),
                {(part.negative, part.positive): part for part in pairs},
                {part.positive: part for part in rest},
                multinomial,
                **common,
            )
    raise ValueError(f"kind {content['kind']!r}")


def _two_sides_from(content: dict[str, Any]) -> Any:
    part = _from_content(content)
    if not isinstance(part, Separator | CommonPoint):
        raise ValueError(f"a {type(part).__name__} as one of two classes")
    return part


def _sides_from(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "positive": _of_kind("positive", content["positive"], Label),
        "negative": _of_kind("negative", content["negative"], Label | None),
    }


def _classes_from(content: dict[str, Any]) -> tuple[Label, ...]:
    classes = tuple(_of_kind("classes", label, Label) for label in content["classes"])
    if len(set(classes)) != len(classes):
        raise ValueError("a class twice")
    return classes


def _of_kind(name: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} {value!r}")
    return value


def _place(number: Any, count: int) -> int:
    if type(number) is not int or not 0 <= number < count:
        raise ValueError(f"the number {number!r} of {count}")
    return number


def _labels(certificate: _TwoSides) -> dict[str, Any]:
    return {"positive": certificate.positive, "negative": certificate.negative}


def _numbers_of(data: Data, classes: Sequence[Label]) -> np.ndarray | None:
    """The number of every sample's class, or None if one is of none of them."""
    own = np.full(len(data.labels), -1)
    for number, label in enumerate(classes):
        own[data.labels == label] = number
    return None if (own < 0).any() else own


def _to_text(values: Sequence[Fraction]) -> dict[str, Any]:
    """Integers over their common denominator, those that are not 0 by place."""
    numerators, denominator = rational.over_common_denominator(values)
    return {
        "length": len(numerators),
        "denominator": _integer_text(denominator),
        "numerators": {
            str(place): _integer_text(value) for place, value in enumerate(numerators) if value
        },
    }


def _from_text(content: dict[str, Any]) -> tuple[Fraction, ...]:
    denominator = int(content["denominator"], 0)
    values = [Fraction(0)] * _place(content["length"], MOST_NUMBERS)
    for place, value in content["numerators"].items():
        values[_place(int(place), len(values))] = Fraction(int(value, 0), denominator)
    return tuple(values)


def _number_from(content: dict[str, Any]) -> Fraction:
    (number,) = _from_text(content)
    return number


def _integer_text(value: int) -> str:
    """Decimal, or hexadecimal beyond what Python turns into decimal by default."""
    return str(value) if value.bit_length() <= 10_000 else hex(value)
