"""Proofs that data are linearly separable, or are not, which anyone can check.

A certificate's `verify` knows nothing of how it was found: it multiplies and adds integers. What
a hostile text can make it do is bounded: labels and lengths are compared before any number is,
numbers stay over the denominators they came with, and products are made in blocks.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logistack.separability import words
from logistack.separability.arithmetic import is_unit, mixes_to, range_of, scores, too_long
from logistack.separability.data import Data, Label, data_of
from logistack.separability.rational import Columns, Numbers


class Line(NamedTuple):
    """The line, or hyperplane, weight · x + bias = 0."""

    weight: Sequence[Fraction]
    bias: Fraction


@functools.singledispatch
def to_text(certificate: "Certificate") -> str:
    """The certificate as JSON; the room `text` has it for each kind."""
    raise TypeError(f"expected a certificate that has a text, got {type(certificate).__name__}")


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What the certificates share: the data they were made of, and their text."""

    verdict: ClassVar[str]
    """The answer in a few words."""
    role: ClassVar[str] = ""
    """What the samples of `support` are."""
    advice: ClassVar[str] = ""
    """What may help whoever wants a model, if the answer is in the way of one."""
    numerical_only: bool = dataclasses.field(default=False, kw_only=True)
    """Whether the budget was spent before exact arithmetic had the last word: no proof."""
    inputs: Any = dataclasses.field(default=None, repr=False, compare=False, kw_only=True)
    labels: Any = dataclasses.field(default=None, repr=False, compare=False, kw_only=True)

    def verify(
        self, inputs: ArrayLike | Columns | None = None, labels: ArrayLike | None = None
    ) -> bool:
        """Whether this is a proof, by integers alone.

        Args:
            inputs: (samples, features) numbers; those that the certificate was made of if None.
            labels: (samples,), one a sample, with `inputs` or not at all.

        Returns:
            True if the statement holds for every sample, exactly. False if it does not, if it
            is of other data or labels, or if it is numerical only.

        Raises:
            ValueError: if there are no data, or an input is NaN or infinite.
            TypeError: if inputs or labels are of a wrong kind.
        """
        return self.objection(inputs, labels) is None

    def objection(
        self, inputs: ArrayLike | Columns | None = None, labels: ArrayLike | None = None
    ) -> str | None:
        """Why `verify` is False, in words; None if it is True."""
        data = self._data(inputs, labels)
        if not self.proven:
            return words.NUMERICAL
        return self._label_objection(data) or (None if self._holds(data) else words.DIFFERENT)

    def support(
        self, inputs: ArrayLike | Columns | None = None, labels: ArrayLike | None = None
    ) -> tuple[int, ...]:
        """The samples that the answer rests on, by number and in order; `role` says what they are.

        Args:
            inputs: as in `verify`.
            labels: as in `verify`.

        Raises:
            ValueError: if there are no data, or not those that it is about.
            TypeError: if inputs or labels are of a wrong kind.

        >>> from logistack.separability import certify
        >>> proof = certify([[0], [1], [2], [4]], [0, 0, 1, 1])
        >>> proof.support(), proof.role
        ((1, 2), 'the nearest samples')
        """
        data = self._data(inputs, labels)
        objection = self._label_objection(data)
        if objection is not None:
            raise ValueError(f"labels: expected those of the certificate, but {objection}")
        if self.features is not None and self.features != len(data.inputs.units):
            raise ValueError(
                f"inputs: expected {words.counted(self.features, 'feature')}, got "
                f"{len(data.inputs.units):,}"
            )
        return tuple(sorted(self._support(data)))

    @property
    def proven(self) -> bool:
        """Whether it and all that it consists of are more than numerical."""
        return not any(part.numerical_only for part in self._parts())

    @property
    def features(self) -> int | None:
        """How many the samples have, if it depends on that."""
        return None

    @property
    def line(self) -> Line | None:
        """A line with no sample on its wrong side and not all on it, if it has one."""
        return None

    def describe(self, labels: ArrayLike, features: Sequence[str] | None = None) -> str:
        """The answer in sentences, for readers who have the data beside them.

        Args:
            labels: (samples,), those of the data that it is about.
            features: their names, for an answer that tells of each.
        """
        return words.statement(self._statement(labels), self.numerical_only)

    def entry(self) -> str:
        """The answer in a table, which names the samples of a pair's first class first."""
        return words.entry(self.verdict, self._evidence_in_table(), self.numerical_only)

    def __str__(self) -> str:
        return words.line(self.verdict, self._evidence(), self.numerical_only)

    def to_json(self) -> str:
        """The certificate as text, without its data: `certificate_from_json` reads it.

        Numbers are integers over a common denominator, in decimal, or in hexadecimal from 10,000
        bits on.
        """
        return to_text(self)

    def _data(self, inputs: ArrayLike | Columns | None, labels: ArrayLike | None) -> Data:
        """The data that a caller gives, or those that it was made of."""
        if (inputs is None) != (labels is None):
            raise ValueError("inputs, labels: expected both or neither, got one of them")
        if inputs is None:
            inputs, labels = self.inputs, self.labels
        if inputs is None:
            raise ValueError("inputs: a certificate read from its text has no data: give it both")
        return data_of(inputs, labels)

    def _statement(self, labels: ArrayLike) -> str:
        raise NotImplementedError

    def _support(self, data: Data) -> Iterable[int]:
        """The rows of data that have its labels."""
        raise NotImplementedError

    def _evidence(self) -> str:
        raise NotImplementedError

    def _evidence_in_table(self) -> str:
        return self._evidence()

    def _parts(self) -> "list[Certificate]":
        """Itself, and what it consists of."""
        return [self]

    def _label_objection(self, data: Data) -> str | None:
        """The objection to labels that are not those of the data."""
        raise NotImplementedError

    def _holds(self, data: Data) -> bool:
        """Whether the numbers prove it for data that have its labels."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class TwoSides(Certificate):
    """A certificate on one class against another, or against all others."""

    positive: Label = dataclasses.field(default=1, kw_only=True)
    """The label of the positive samples."""
    negative: Label | None = dataclasses.field(default=None, kw_only=True)
    """That of the negative ones, if samples with any other take no part."""
    others: tuple[Label, ...] | None = dataclasses.field(default=None, compare=False, kw_only=True)
    """The labels of the negative samples, if `negative` is None; None for whatever others are."""

    def _rows(self, data: Data) -> tuple[np.ndarray, np.ndarray]:
        """The positive and the negative samples, by number."""
        positive = data.members[self.positive]
        if self.negative is not None:
            return positive, data.members[self.negative]
        return positive, np.setdiff1d(np.arange(len(data.own)), positive, assume_unique=True)

    def _label_objection(self, data: Data) -> str | None:
        named = [self.positive] if self.negative is None else [self.positive, self.negative]
        for label in named:
            if label not in data.members:
                return words.about(label, data.classes)
        if self.negative is not None:
            return words.about_all(named, data.classes) if named[0] == named[1] else None
        others = [label for label in data.classes if label != self.positive]
        expected = others if self.others is None else self.others
        if not others or set(expected) != set(others):
            return words.about_all([*expected, self.positive], data.classes)
        return None

    def _sides(self, labels: ArrayLike) -> tuple[words.Side, words.Side]:
        classes, counts = np.unique(np.asarray(labels), return_counts=True)
        samples = dict(zip(classes.tolist(), counts.tolist(), strict=True))
        positive = words.Side(samples.pop(self.positive, 0), [self.positive])
        if self.negative is not None:
            samples = {label: n for label, n in samples.items() if label == self.negative}
        return positive, words.Side(sum(samples.values()), list(samples))


@dataclasses.dataclass(frozen=True)
class Separator(TwoSides):
    """A line is enough: weight · x + bias is above 0 for positive samples and below for others.

    The weight's length is 1, up to rounding, so that the margin is the Euclidean distance from
    the line to the nearest sample.
    """

    verdict: ClassVar[str] = words.LINE
    role: ClassVar[str] = words.NEAREST
    advice: ClassVar[str] = words.RUNS_OFF
    weight: Sequence[Fraction]
    """(features,)"""
    bias: Fraction
    margin: Fraction
    """min ± (weight · x + bias), exactly."""

    def _holds(self, data: Data) -> bool:
        weight = Numbers.of(self.weight)
        if len(weight) != len(data.inputs.units) or too_long(weight, data.inputs, len(weight)):
            return False
        positive, negative = (range_of(data.inputs, rows, weight) for rows in self._rows(data))
        # The scores and the bias over the denominators of both.
        bias = self.bias.numerator * positive.denominator
        nearest = min(
            positive.low * self.bias.denominator + bias,
            -negative.high * self.bias.denominator - bias,
        )
        size = positive.denominator * self.bias.denominator
        exact = nearest * self.margin.denominator == self.margin.numerator * size
        origin = Numbers(len(weight), weight.denominator, {})
        return nearest > 0 and exact and is_unit([weight, origin])

    @property
    def features(self) -> int:
        """How many the samples have."""
        return len(self.weight)

    @property
    def line(self) -> Line:
        """The separator itself."""
        return Line(self.weight, self.bias)

    def _support(self, data: Data) -> Iterable[int]:
        values, denominator = scores(data.inputs, Numbers.of(self.weight))
        rows = np.concatenate(self._rows(data))
        level = self.bias.numerator * denominator
        distances = np.abs(values[rows].astype(object) * self.bias.denominator + level)
        return rows[distances == distances.min()].tolist()

    def _statement(self, labels: ArrayLike) -> str:
        return words.line_between(*self._sides(labels), self.margin)

    def _evidence(self) -> str:
        return words.margin(self.margin)


@dataclasses.dataclass(frozen=True)
class NothingToSeparate(Separator):
    """Every sample has the same label, so there is nothing to separate.

    It is a separator of weight 0, with bias and margin 1, and `positive` is the label.
    """

    verdict: ClassVar[str] = words.NOTHING
    advice: ClassVar[str] = ""

    @classmethod
    def of(cls, label: Label, features: int, **data: Any) -> "NothingToSeparate":
        """The certificate for samples of so many features that all have this label."""
        return cls((Fraction(0),) * features, Fraction(1), Fraction(1), positive=label, **data)

    def _label_objection(self, data: Data) -> str | None:
        alone = data.classes == (self.positive,) and self.negative is None and not self.others
        return None if alone else words.about_all([self.positive], data.classes)

    def _holds(self, data: Data) -> bool:
        weight = Numbers.of(self.weight)
        same = len(weight) == len(data.inputs.units) and not weight.numerators
        return same and self.bias == self.margin == 1

    def _support(self, data: Data) -> Iterable[int]:
        return ()

    def _statement(self, labels: ArrayLike) -> str:
        return words.nothing(self.positive)

    def _evidence(self) -> str:
        return words.one_label(self.positive)


@dataclasses.dataclass(frozen=True)
class CommonPoint(TwoSides):
    """No line is enough: one point is a mixture of positive samples, and of the others.

    A line with the positive samples on one side has their mixtures there too, and so the point;
    but it has the other mixtures, and so the point, on the other side.
    """

    verdict: ClassVar[str] = words.NO_LINE
    role: ClassVar[str] = words.MIXED
    point: Sequence[Fraction]
    """(features,)"""
    weights_positive: Sequence[Fraction]
    """One for every positive sample in their order; their sum is 1."""
    weights_negative: Sequence[Fraction]
    """One for every other sample."""
    weak_line: Line | None = None
    """Where the hulls only touch: a line with no sample on its wrong side, and not all on it.

    If it is None, none was found, which is no proof that there is none: `separation` has that.
    """
    undecided: bool = dataclasses.field(default=False, kw_only=True)
    """Whether the budget ended before it was known if there is such a line."""

    def _holds(self, data: Data) -> bool:
        point = Numbers.of(self.point)
        if len(point) != len(data.inputs.units):
            return False
        positive, negative = self._rows(data)
        for rows, values in (
            (positive, self.weights_positive),
            (negative, self.weights_negative),
        ):
            weights = Numbers.of(values)
            if len(weights) != len(rows):
                return False
            shares = weights.numerators.values()
            if min(shares, default=0) <= 0 or sum(shares) != weights.denominator:
                return False
            if not mixes_to(data.inputs, rows, weights, point):
                return False
        line = self.weak_line
        if line is None:
            return True
        weight = Numbers.of(line.weight)
        if len(weight) != len(point) or too_long(weight, data.inputs, len(weight)):
            return False
        here, there = (range_of(data.inputs, rows, weight) for rows in (positive, negative))
        # The score that is 0 with the bias, over the denominators of both.
        level = -line.bias.numerator * here.denominator
        low, high, below, above = (
            value * line.bias.denominator for value in (here.low, here.high, there.low, there.high)
        )
        return above <= level <= low and below < high

    @property
    def advice(self) -> str:  # type: ignore[override]
        """What may help; where there is a weak line, a fit runs off along it."""
        return words.STACK if self.weak_line is None else f"{words.STACK}; {words.RUNS_OFF}"

    @property
    def features(self) -> int:
        """How many the samples have."""
        return len(self.point)

    @property
    def line(self) -> Line | None:
        """The weak line, where the hulls only touch."""
        return self.weak_line

    def _support(self, data: Data) -> Iterable[int]:
        sides = (self.weights_positive, self.weights_negative)
        for rows, weights in zip(self._rows(data), sides, strict=True):
            held = Numbers.of(weights)
            if len(held) != len(rows):
                raise ValueError(
                    f"labels: expected {len(held):,} samples on a side, got {len(rows):,}"
                )
            yield from rows[list(held.numerators)].tolist()

    def _touching(self) -> bool | None:
        """Whether the hulls are known to touch only; None if that is open."""
        return None if self.undecided else self.weak_line is not None

    def _mixed(self) -> tuple[int, int]:
        """How many samples the common point mixes, of either side."""
        sides = (self.weights_positive, self.weights_negative)
        positive, negative = (len(Numbers.of(weights).numerators) for weights in sides)
        return positive, negative

    def _statement(self, labels: ArrayLike) -> str:
        return words.no_line_between(*self._sides(labels), self._mixed(), self._touching())

    def _evidence(self) -> str:
        return words.mixture(Numbers.of(self.point), *self._mixed(), self._touching())

    def _evidence_in_table(self) -> str:
        mixed = self._mixed() if self.negative is None else self._mixed()[::-1]
        return words.mixture_in_table(*mixed, self._touching())
