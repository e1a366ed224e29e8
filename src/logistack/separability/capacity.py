"""How many hidden units are too few? Exact lower bounds for samples in the plane.

Three arguments for a network with one output, one layer of h hidden logistic units, and points in
the plane or on a line:

- One unit is right on all samples if and only if a line separates them: `certify`. One hidden unit
  gains nothing, for the output is a monotone function of w · x + b, and its threshold is a line.
- With h hidden units, z(x) = Σ vⱼ σ(wⱼ · x + bⱼ) + c changes its sign at most 2ʰ − 1 times along a
  line. There Π (1 + exp(−wⱼ · x − bⱼ)) > 0 times z is a sum of 2ʰ exponentials, and N of them have
  at most N − 1 zeros: divided by one of them, the derivative has N − 1 terms (Laguerre 1883, by
  Rolle).
- With two hidden units there is a direction d along which neither vⱼ σ(wⱼ · x + bⱼ) falls, for two
  half-planes through the origin always share one. So z > 0 at a positive sample and at all points
  ahead of it along d, and z < 0 at a negative one (if z = 0 there, a smaller c mends it) and at all
  points behind it. A line across d then meets the shadows of the positive samples behind it and of
  the negative ones ahead of it, in an order that may change class at most 2² − 1 = 3 times. Where
  every d has a line with 4 changes, two units are not enough. A few cones of directions, with one
  line and five samples each, prove it.

Floating point finds the samples, and fractions check them.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from logistack.separability.certificates import CommonPoint, Separator
from logistack.separability.classes import ClassCertificates
from logistack.separability.questions import certify

COMPASS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
HALVINGS = 8
CHANGES = 4


class Cone(NamedTuple):
    """Directions in which two hidden units fail, proven by one line and five samples.

    Attributes:
        start: the first direction.
        end: the last one, counterclockwise.
        normal: the line is normal · x = place.
        place: where it is.
        samples: numbers of rows, of alternating class: the positive ones behind the line and the
            negative ones ahead of it, in their order along it.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    normal: tuple[int, int]
    place: Fraction
    samples: tuple[int, ...]


class HiddenBound(NamedTuple):
    """With fewer hidden units than `hidden` no network is right on all samples.

    Attributes:
        hidden: the bound; 0 where a line is enough.
        why: the argument that gives it, in words.
        one_unit: the proof that a line is enough, or that none is.
        cones: all directions, proving that two units are not enough; none if that is not proven.
        line: the longest chain found of samples on one line whose class changes at every step.
    """

    hidden: int
    why: str
    one_unit: Separator | CommonPoint
    cones: tuple[Cone, ...] = ()
    line: tuple[int, ...] = ()

    def verify(self, inputs: ArrayLike, labels: ArrayLike) -> bool:
        """Checks by integers and fractions alone that the bound holds for these samples.

        Args:
            inputs: samples `(n, features)`.
            labels: `(n,)`, of two classes.

        Returns:
            Whether every part of it holds, and the parts give no less than `hidden`.

        Raises:
            ValueError: if a shape is wrong, or there are not two classes.
            TypeError: if inputs or labels are of a wrong kind.
        """
        positive = _positive(labels)
        if not self.one_unit.verify(inputs, labels):
            return False
        inputs = np.asarray(inputs)
        if isinstance(self.one_unit, Separator):
            return self.hidden == 0
        if self.cones and not cones_hold(self.cones, inputs, positive):
            return False
        if self.line and not line_holds(self.line, inputs, positive):
            return False
        return self.hidden <= max(hidden for hidden, _ in _reasons(self.cones, self.line))


def hidden_bound(inputs: ArrayLike, labels: ArrayLike, *, budget: float = 600.0) -> HiddenBound:
    """Proves that fewer hidden units than some number are too few for samples of two classes.

    It is about networks n-h-1 of logistic units that are right on every sample, that is, whose
    output is above ½ for one class and not for the other. The bound is 0 where a line separates
    the classes, and else at least 2; with one or two features it may be higher. That so many are
    enough is not said: a network shows that.

    Args:
        inputs: samples `(n, features)`, as `certify` takes them.
        labels: `(n,)` numbers or strings, two different ones.
        budget: seconds for the question whether a line is enough, as in `certify`.

    Returns:
        A `HiddenBound` that holds: its proof has been checked.

    Raises:
        ValueError: if a shape is wrong, an input is NaN or infinite, or there are not two classes.
        TypeError: if inputs or labels are of a wrong kind.
        TimeoutError: if `budget` ends before it is proven whether a line is enough.

    Five points in a row whose class alternates need three hidden units:

    >>> bound = hidden_bound([[0], [1], [2], [3], [4]], [0, 1, 0, 1, 0])
    >>> bound.hidden, bound.why
    (3, '5 samples alternate on a line')
    >>> hidden_bound([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]).hidden  # XOR
    2

    Source: Laguerre, "Sur la théorie des équations numériques", 1883, for the zeros of sums of
    exponentials.
    """
    positive = _positive(labels)
    one_unit = certify(inputs, labels, budget=budget)
    inputs = np.asarray(inputs)
    assert not isinstance(one_unit, ClassCertificates)
    if one_unit.numerical_only:
        raise TimeoutError(
            f"budget: {budget} s ended before it was proven whether a line is enough"
        )
    if isinstance(one_unit, Separator):
        return HiddenBound(0, "a line is enough", one_unit)
    cones = two_units_fail(inputs, positive) or ()
    line = longest_line(inputs, positive)
    hidden, why = max(_reasons(cones, line), key=lambda reason: reason[0])
    return HiddenBound(hidden, why, one_unit, cones, line)


def _reasons(cones: Sequence[Cone], line: Sequence[int]) -> list[tuple[int, str]]:
    """Bounds and what gives them, where no line is enough; of two equal ones the first is told."""
    reasons = [(2, "one hidden unit is a line")]
    if cones:
        reasons.append((3, "two fail in every direction"))
    if line:
        # 2ʰ − 1 changes at most, and so 2ʰ samples.
        reasons.append(((len(line) - 1).bit_length(), f"{len(line)} samples alternate on a line"))
    return reasons


def _positive(labels: ArrayLike) -> np.ndarray:
    """Which of the samples are of the greater of two classes."""
    labels = np.asarray(labels)
    classes = np.unique(labels)
    if labels.ndim != 1 or len(classes) != 2:
        raise ValueError(
            f"labels: expected (samples,) of two classes, got shape {labels.shape} of "
            f"{len(classes)}"
        )
    return labels == classes[1]


def two_units_fail(inputs: np.ndarray, positive: np.ndarray) -> tuple[Cone, ...] | None:
    """Cones of all directions that prove that two hidden units are not enough, or None.

    Args:
        inputs: samples `(n, features)`; only for two features can there be a proof.
        positive: `(n,)`, the class of each.

    Returns:
        Cones that `cones_hold` has checked.
    """
    if inputs.shape[1] != 2:
        return None
    cones: list[Cone] = []
    open_: list[tuple[tuple[int, int], tuple[int, int], int]] = [
        (*pair, 0) for pair in zip(COMPASS, (*COMPASS[1:], COMPASS[0]), strict=True)
    ][::-1]
    while open_:
        start, end, halvings = open_.pop()
        cone = _find_cone(inputs.astype(float), positive, start, end)
        if cone is not None:
            cones.append(cone)
        elif halvings == HALVINGS:
            return None
        else:
            middle = (start[0] + end[0], start[1] + end[1])
            open_ += [(middle, end, halvings + 1), (start, middle, halvings + 1)]
    return tuple(cones) if cones_hold(cones, inputs, positive) else None


def _find_cone(
    x: np.ndarray, positive: np.ndarray, start: tuple[int, int], end: tuple[int, int]
) -> Cone | None:
    """A line and five samples that rule out all directions of one cone, if there seem to be."""
    normal = (start[0] + end[0], start[1] + end[1])
    along = x @ normal
    ends = np.array([start, end], float)
    # Its own middle first, where there are samples of both classes on the sides that count.
    for share in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8):
        place = float(np.quantile(along, share))
        chosen = np.flatnonzero(np.where(positive, along < place, along > place))
        left = _cross(ends[:, None], x[chosen])
        order = np.argsort(left.sum(axis=0), kind="stable")
        chosen, left = chosen[order], left[:, order]
        before = (left[:, :, None] < left[:, None, :]).all(axis=0)
        chain = _alternating(before, positive[chosen]) if chosen.size else []
        if len(chain) > CHANGES:
            samples = tuple(chosen[chain[: CHANGES + 1]].tolist())
            return Cone(start, end, normal, Fraction(place), samples)
    return None


def _alternating(before: np.ndarray, classes: np.ndarray) -> list[int]:
    """A longest chain in which the class changes at every step.

    Args:
        before: `(n, n)`, whether one sample comes before another; in index order only.
        classes: `(n,)`.
    """
    allowed = before & (classes[:, None] != classes)
    length, last = np.ones(len(classes), int), np.full(len(classes), -1)
    for i in range(len(classes)):
        candidates = np.flatnonzero(allowed[:i, i])
        if candidates.size:
            last[i] = candidates[np.argmax(length[candidates])]
            length[i] = length[last[i]] + 1
    place, found = int(np.argmax(length)), []
    while place >= 0:
        found.append(place)
        place = int(last[place])
    return found[::-1]


def cones_hold(cones: Sequence[Cone], inputs: np.ndarray, positive: np.ndarray) -> bool:
    """Whether cones prove that two hidden units are not enough, by fractions alone.

    All that is asked of a direction is linear in it, and so true in a cone where it is at its ends.
    """
    following = [*cones[1:], *cones[:1]]
    if not cones or any(a.end != b.start for a, b in zip(cones, following, strict=True)):
        return False
    for cone in cones:
        if not _are_rows(cone.samples, inputs):
            return False
        start, end, normal = (np.array(v, object) for v in (cone.start, cone.end, cone.normal))
        five, classes = _exactly(inputs[list(cone.samples)]), positive[list(cone.samples)]
        along = five @ normal
        sides = np.where(classes, along <= cone.place, along >= cone.place)
        ahead = all(
            d @ normal > 0 and (_cross(d, np.diff(five, axis=0)) > 0).all() for d in (start, end)
        )
        alternate = len(five) > CHANGES and (classes[1:] != classes[:-1]).all()
        if not (_cross(start, end) > 0 and ahead and sides.all() and alternate):
            return False
    return True


def longest_line(inputs: np.ndarray, positive: np.ndarray) -> tuple[int, ...]:
    """Samples exactly on one line, in order, whose class changes at every step: the most found.

    Args:
        inputs: samples `(n, features)`; with more than two features none are looked for.
        positive: `(n,)`, the class of each.

    Returns:
        Numbers of rows that `line_holds` has checked; none if there are no three.
    """
    if inputs.shape[1] > 2:
        return ()
    x = inputs.astype(float)
    x = np.column_stack([x, np.zeros_like(x)])[:, :2]  # a line is one in the plane
    best: tuple[int, ...] = ()
    for i, origin in enumerate(x):
        away = x - origin
        on_line = _cross(away[:, None], away[None]) == 0
        for j in np.flatnonzero(on_line.sum(axis=1) > max(2, len(best))):
            if j <= i or not away[j].any():
                continue
            members = np.flatnonzero(on_line[j])
            members = members[np.argsort(away[members] @ away[j], kind="stable")]
            classes = positive[members]
            chain = members[np.flatnonzero(np.append(True, classes[1:] != classes[:-1]))]
            if len(chain) > len(best) and line_holds(chain.tolist(), inputs, positive):
                best = tuple(chain.tolist())
    return best


def line_holds(line: Sequence[int], inputs: np.ndarray, positive: np.ndarray) -> bool:
    """Whether samples lie on one line in this order, and change class at every step, exactly."""
    if not _are_rows(line, inputs) or len(line) < 2:
        return False
    steps = np.diff(_exactly(inputs[list(line)]), axis=0)
    classes = positive[list(line)]
    # A step is a multiple of the first one if no two of its coordinates say otherwise.
    first = steps[0]
    parallel = all((step[:, None] * first == first[:, None] * step).all() for step in steps)
    return bool((steps @ first > 0).all() and parallel and (classes[1:] != classes[:-1]).all())


def _are_rows(samples: Sequence[int], inputs: np.ndarray) -> bool:
    return all(0 <= row < len(inputs) for row in samples)


def _cross(a: Any, b: Any) -> Any:
    """a₁ b₂ − a₂ b₁: how far b lies to the left of a."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _exactly(values: np.ndarray) -> np.ndarray:
    """Numbers as the fractions that they are."""
    fractions = [Fraction(value) for value in values.ravel().tolist()]
    return np.array(fractions, object).reshape(values.shape)
