"""Where does a line stop being enough, and how many hidden units does it take then?

For points in the plane, the fewest hidden units h with which a 2-h-1 network of logistic units is
right on every sample, from above and from below. From above, a network is trained, and the exact
certificate of its hidden space says that a line, its last unit, is enough there: a proof by
example. That no seed got there is an observation. From below, three arguments, each exact:

- One unit is right on all samples if and only if a line separates them: `ls.certify`. One hidden
  unit gains nothing, for the output is a monotone function of w · x + b, and its threshold a line.
- With h hidden units, z(x) = Σ vⱼ σ(wⱼ · x + bⱼ) + c changes its sign at most 2ʰ − 1 times along a
  line. There Π (1 + exp(−wⱼ · x − bⱼ)) > 0 times z is a sum of 2ʰ exponentials, and N of them have
  at most N − 1 zeros: divided by one, the derivative has N − 1 (Laguerre 1883, by Rolle).
- With two hidden units there is a direction d along which neither vⱼ σ(wⱼ · x + bⱼ) falls, for two
  half-planes through the origin always share one. So z > 0 at a positive sample and all that lies
  ahead of it along d, and z < 0 at a negative one (z = 0 there is mended by a smaller c) and all
  behind it. A line across d then meets the shadows of the positive samples behind it and of the
  negative ones ahead, in an order that may change class at most 2² − 1 = 3 times. Where every d
  has a line with 4 changes, two units are not enough. A few cones of directions, with one line
  and five samples each, prove it.

Then: how many questions on digits does a line answer, at the input of a network and after every
layer? And, with `--mnist`, on MNIST, and how long does a proof take?

    python experiments/limits.py            # minutes on two cores
    python experiments/limits.py --mnist    # and some more, with 4 GB of memory

All numbers go to a small JSON, `experiments/results/limits.json`, whose part on MNIST stays as it
is until the next `--mnist`.
"""

import dataclasses
import itertools
import json
import math
import os
import resource
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jax.typing import ArrayLike

import logistack as ls

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Proof: TypeAlias = ls.Separator | ls.CommonPoint

# The logit of the nearest samples where the last unit is the exact line: σ(4) = 0.98.
STEEP = 4.0


class Points(NamedTuple):
    """Samples in the plane: float32 `(n, 2)`, and labels 0 or 1."""

    inputs: np.ndarray
    labels: np.ndarray


def xor() -> Points:
    return Points(
        np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0], np.int64)
    )


def moons() -> Points:
    from sklearn.datasets import make_moons

    inputs, labels = make_moons(100, noise=0.1, random_state=0)
    return Points(inputs.astype(np.float32), labels)


def circles() -> Points:
    from sklearn.datasets import make_circles

    inputs, labels = make_circles(100, noise=0.05, factor=0.5, random_state=0)
    return Points(inputs.astype(np.float32), labels)


def spirals(points: int = 97) -> Points:
    """Two spirals, one the other turned by half a turn (Lang & Witbrock 1988).

    Point i of the first is at the angle πi/16 from the x₂ axis, 6.5 (104 − i)/104 from the origin,
    to five decimals: 97 points are three turns.
    """
    i = np.arange(points)
    angle, radius = math.pi * i / 16, 6.5 * (104 - i) / 104
    first = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1).round(5)
    inputs = np.concatenate([first, -first]).astype(np.float32)
    return Points(inputs, np.repeat([1, 0], points))


def one_turn() -> Points:
    """The outermost turn of the two spirals."""
    return spirals(33)


DATA: dict[str, Callable[[], Points]] = {
    "XOR": xor,
    "moons": moons,
    "circles": circles,
    "one turn": one_turn,
    "spirals": spirals,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Find the fewest hidden units that are enough, and ask where a line is."""

    data: tuple[str, ...] = tuple(DATA)
    """Points in the plane to separate."""
    seeds: int = 64
    """How many networks to train at every number of hidden units."""
    border: int = 4
    """How many times as many where the last ones that fail meet the first that are enough."""
    widest: int = 64
    """The most hidden units to try."""
    epochs: int = 5_000
    """Epochs of each, every one a step of Adam on all samples."""
    learning_rate: float = 0.05
    """At the start; it falls to 0 along a cosine."""
    # Networks that start by `init_params` find 3 hidden units for the moons, from every seed, but
    # never 2: it takes one steep unit beside a flat one.
    steepness: tuple[float, float] = (0.5, 20.0)
    """Hidden units start this steep, logarithmically spread, in 1 / standard deviation."""
    asked: int = 8
    """At how many networks' hidden spaces to look exactly: the best of those right, and others."""
    snapshots: int = 200
    """How often to look at the networks while they train, for the films."""
    components: tuple[int, ...] = (2, 4, 8, 64)
    """Principal components of the 8×8 digits that networks are given."""
    hidden: tuple[int, ...] = (32, 32)
    """Hidden layers of the digit networks."""
    digit_epochs: int = 300
    """Their epochs, in batches of 64."""
    budget: float = 120.0
    """Seconds for each question on digits; one that takes longer stays open."""
    samples: int | None = None
    """Use only so many digits, to try the script."""
    pair: tuple[int, int] = (3, 8)
    """Two digits to look at alone, in two components and in all pixels."""
    mnist: bool = False
    """Also ask for proofs on the 60,000 training images of MNIST, each class against the rest."""
    results: Path = Path("experiments/results/limits.json")
    """Where the numbers are kept."""
    out: Path = Path("results/limits")
    """Folder for the figures and films."""


# --- From below: what cannot be enough ----------------------------------------------------------


class Cone(NamedTuple):
    """Directions in which two hidden units fail, from `start` to `end`, by one line and samples.

    The line is normal · x = place. Samples are numbers of rows: of alternating class, the positive
    ones behind the line and the negative ones ahead of it, in their order along it.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    normal: tuple[int, int]
    place: Fraction
    samples: tuple[int, ...]


class Bound(NamedTuple):
    """With fewer hidden units than `hidden` no network is right on all samples, and why.

    `cones` prove that two are not enough, if there are any; `line` is of samples whose class
    changes from one to the next.
    """

    hidden: int
    why: str
    one_unit: Proof
    cones: tuple[Cone, ...] = ()
    line: tuple[int, ...] = ()


COMPASS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
HALVINGS = 8
CHANGES = 4


def cross(a: Any, b: Any) -> Any:
    """a₁ b₂ − a₂ b₁: how far b lies to the left of a."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def exactly(values: Any) -> np.ndarray:
    """Floats as the fractions that they are."""
    values = np.asarray(values, float)
    fractions = [Fraction(value) for value in values.ravel().tolist()]
    return np.array(fractions, object).reshape(values.shape)


def alternating(before: np.ndarray, labels: np.ndarray) -> list[int]:
    """A longest chain in which the class changes at every step.

    Args:
        before: `(n, n)`, whether one sample comes before another; in index order only.
        labels: `(n,)`.
    """
    allowed = before & (labels[:, None] != labels)
    length, last = np.ones(len(labels), int), np.full(len(labels), -1)
    for i in range(len(labels)):
        candidates = np.flatnonzero(allowed[:i, i])
        if candidates.size:
            last[i] = candidates[np.argmax(length[candidates])]
            length[i] = length[last[i]] + 1
    place, found = int(np.argmax(length)), []
    while place >= 0:
        found.append(place)
        place = int(last[place])
    return found[::-1]


def find_cone(points: Points, start: tuple[int, int], end: tuple[int, int]) -> Cone | None:
    """A line and five samples that rule out all directions of one cone, if there seem to be."""
    x, positive = points.inputs.astype(float), points.labels == 1
    normal = (start[0] + end[0], start[1] + end[1])
    along = x @ normal
    ends = np.array([start, end], float)
    # Its own middle first, where there are samples of both classes on the sides that count.
    for share in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8):
        place = float(np.quantile(along, share))
        chosen = np.flatnonzero(np.where(positive, along < place, along > place))
        left = cross(ends[:, None], x[chosen])
        order = np.argsort(left.sum(axis=0), kind="stable")
        chosen, left = chosen[order], left[:, order]
        before = (left[:, :, None] < left[:, None, :]).all(axis=0)
        chain = alternating(before, points.labels[chosen]) if chosen.size else []
        if len(chain) > CHANGES:
            samples = tuple(chosen[chain[: CHANGES + 1]].tolist())
            return Cone(start, end, normal, Fraction(place), samples)
    return None


def two_units_fail(points: Points) -> tuple[Cone, ...] | None:
    """Cones of all directions that prove that two hidden units are not enough, or None."""
    cones: list[Cone] = []
    open_: list[tuple[tuple[int, int], tuple[int, int], int]] = [
        (*pair, 0) for pair in zip(COMPASS, (*COMPASS[1:], COMPASS[0]), strict=True)
    ][::-1]
    while open_:
        start, end, halvings = open_.pop()
        cone = find_cone(points, start, end)
        if cone is not None:
            cones.append(cone)
        elif halvings == HALVINGS:
            return None
        else:
            middle = (start[0] + end[0], start[1] + end[1])
            open_ += [(middle, end, halvings + 1), (start, middle, halvings + 1)]
    return tuple(cones) if verify_cones(cones, points) else None


def verify_cones(cones: Sequence[Cone], points: Points) -> bool:
    """Whether cones prove that two hidden units are not enough, by fractions alone.

    All that is asked of a direction is linear in it, and so true in a cone where it is at its ends.
    """
    x, positive = exactly(points.inputs), points.labels == 1
    following = [*cones[1:], *cones[:1]]
    if not cones or any(a.end != b.start for a, b in zip(cones, following, strict=True)):
        return False
    for cone in cones:
        start, end, normal = (np.array(v, object) for v in (cone.start, cone.end, cone.normal))
        five, classes = x[list(cone.samples)], positive[list(cone.samples)]
        along = five @ normal
        sides = np.where(classes, along <= cone.place, along >= cone.place)
        ahead = all(
            d @ normal > 0 and (cross(d, np.diff(five, axis=0)) > 0).all() for d in (start, end)
        )
        alternate = len(five) > CHANGES and (classes[1:] != classes[:-1]).all()
        if not (cross(start, end) > 0 and ahead and sides.all() and alternate):
            return False
    return True


def longest_line(points: Points) -> tuple[int, ...]:
    """Samples exactly on one line, in their order, whose class changes at every step: the most."""
    x = points.inputs.astype(float)
    best: tuple[int, ...] = ()
    for i, origin in enumerate(x):
        away = x - origin
        on_line = cross(away[:, None], away[None]) == 0
        for j in np.flatnonzero(on_line.sum(axis=1) > max(2, len(best))):
            members = np.flatnonzero(on_line[j])
            if j <= i or not away[j].any():
                continue
            members = members[np.argsort(away[members] @ away[j], kind="stable")]
            classes = points.labels[members]
            chain = members[np.flatnonzero(np.append(True, classes[1:] != classes[:-1]))]
            if len(chain) > len(best) and verify_line(chain, points):
                best = tuple(chain.tolist())
    return best


def verify_line(chain: Sequence[int] | np.ndarray, points: Points) -> bool:
    """Whether samples lie on one line in this order, and change class at every step, exactly."""
    steps = np.diff(exactly(points.inputs[list(chain)]), axis=0)
    classes = points.labels[list(chain)]
    onward = (steps @ steps[0] > 0).all() if len(steps) else True
    return bool(onward and not cross(steps, steps[:1]).any() and (np.diff(classes) != 0).all())


def prove(inputs: np.ndarray, labels: np.ndarray) -> Proof:
    """Whether a line separates two classes, the proof checked."""
    proof = ls.certify(inputs, labels)
    if isinstance(proof, ls.ClassCertificates) or not proof.verify():
        raise RuntimeError(f"expected a proof of two classes, got {proof}")
    return proof


def bound(points: Points) -> Bound:
    """The fewest hidden units that are not proven too few."""
    one_unit = prove(points.inputs, points.labels)
    if isinstance(one_unit, ls.Separator):
        return Bound(0, "a line is enough", one_unit)
    cones, line = two_units_fail(points) or (), longest_line(points)
    reasons = [(2, "one hidden unit is a line")]
    if cones:
        reasons.append((3, "two fail in every direction"))
    if line:
        # 2ʰ − 1 changes at most, and so 2ʰ samples.
        reasons.append(((len(line) - 1).bit_length(), f"{len(line)} samples alternate on a line"))
    hidden, why = max(reasons, key=lambda reason: reason[0])
    return Bound(hidden, why, one_unit, cones, line)


# --- From above: what is enough -----------------------------------------------------------------


class Runs(NamedTuple):
    """Networks trained from many seeds; every array has a leading seed axis.

    `params` and `loss` have one of snapshots next, the start first; `right` says on how many
    samples the last of them is right.
    """

    params: ls.Params
    loss: jax.Array
    right: jax.Array


class Try(NamedTuple):
    """How many seeds of so many were enough at one number of hidden units."""

    hidden: int
    seeds: int
    enough: int


class Network(NamedTuple):
    """A network that is right on all samples; its last unit is the line that is proven.

    `snapshots` has a leading axis and is how its training went, with a last unit of its own.
    """

    params: ls.Params
    separator: ls.Separator
    snapshots: ls.Params
    loss: np.ndarray


class Capacity(NamedTuple):
    """One data set: what is proven not to be enough, what was tried, and what is enough."""

    name: str
    samples: int
    bound: Bound
    tries: tuple[Try, ...]
    network: Network | None


def begin(key: jax.Array, inputs: jax.Array, hidden: int, steepness: tuple[float, float]) -> Any:
    """Draws a 2-h-1 network whose hidden units have their lines through samples.

    They point anywhere, and are of all degrees of steepness. The last unit is `init_params`' own.
    """
    for_slope, for_side, for_sample, for_last = jax.random.split(key, 4)
    low, high = (math.log(bound) for bound in steepness)
    slope = jnp.exp(jax.random.uniform(for_slope, (hidden, 1), minval=low, maxval=high))
    angle = jax.random.uniform(for_side, (hidden, 1), maxval=2 * math.pi)
    side = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)
    weight = side * slope / jnp.std(inputs)
    through = inputs[jax.random.randint(for_sample, (hidden,), 0, len(inputs))]
    last = ls.init_params(for_last, (hidden, 1))
    return (ls.Layer(weight, -jnp.sum(weight * through, axis=1)), *last)


def member(tree: Any, index: Any) -> Any:
    """One entry of every array's leading axis."""
    return jax.tree.map(lambda each: each[index], tree)


def rightly(params: ls.Params, inputs: ArrayLike, labels: ArrayLike) -> jax.Array:
    """How many samples lie on their label's side of ½."""
    outputs = jax.vmap(ls.forward, in_axes=(None, 0))(params, inputs)
    return jnp.sum((outputs[:, 0] > 0.5) == (jnp.asarray(labels) == 1))


def train(config: Config, points: Points, hidden: int, keys: jax.Array) -> Runs:
    """Trains a network from every key, all in one program."""
    epochs, rest = divmod(config.epochs, config.snapshots)
    if rest:
        raise ValueError(
            f"epochs: expected a multiple of the {config.snapshots} snapshots, got {config.epochs}"
        )
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.epochs))

    def one(key: jax.Array, inputs: jax.Array, labels: jax.Array) -> Runs:
        for_start, for_fit = jax.random.split(key)
        targets = jnp.asarray(labels[:, None], inputs.dtype)
        start = begin(for_start, inputs, hidden, config.steepness)

        def further(state: ls.TrainState, _: None) -> tuple[ls.TrainState, ls.Params]:
            fitted = ls.fit(for_fit, state, inputs, targets, optimizer=optimizer, epochs=epochs)
            return fitted.state, fitted.params

        state = ls.init_state(start, optimizer)
        _, after = jax.lax.scan(further, state, length=config.snapshots)
        params = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, after)
        loss = jax.vmap(ls.summed_loss, in_axes=(0, None, None))(params, inputs, targets)
        return Runs(params, loss, rightly(member(params, -1), inputs, labels))

    run = jax.jit(jax.vmap(one, in_axes=(0, None, None)))
    return run(keys, jnp.asarray(points.inputs), jnp.asarray(points.labels))


@jax.jit
def hidden_of(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """The hidden activations of all samples, `(n, h)`."""
    return jax.vmap(ls.sigmoid_layer, in_axes=(None, 0))(params[0], inputs)


def with_line(params: ls.Params, separator: ls.Separator) -> ls.Params:
    """The network with the line for its last unit, as steep as puts the nearest samples at ±4."""
    scale = STEEP / float(separator.margin)
    weight = scale * np.array([separator.weight], float)
    bias = scale * np.array([separator.bias], float)
    return (*params[:-1], ls.Layer(*(jnp.asarray(v, jnp.float32) for v in (weight, bias))))


def judge(config: Config, points: Points, runs: Runs) -> tuple[int, Network | None]:
    """How many of the networks are enough, and the one with the widest margin that was looked at.

    A network is enough if it is right on all samples, or would be with another last unit. The
    second is asked, exactly, of the best of those that are not right.
    """
    right, loss = np.asarray(runs.right), np.asarray(runs.loss[:, -1])
    whole = right == len(points.labels)
    order = np.lexsort((loss, -right))
    enough, best = int(whole.sum()), None
    for seed in [*order[whole[order]][: config.asked], *order[~whole[order]][: config.asked]]:
        snapshots, losses = member((runs.params, runs.loss), seed)
        params = member(snapshots, -1)
        proof = prove(np.asarray(hidden_of(params, points.inputs)), points.labels)
        if not isinstance(proof, ls.Separator):
            continue
        lined = with_line(params, proof)
        if int(rightly(lined, points.inputs, points.labels)) < len(points.labels):
            continue
        enough += not whole[seed]
        if best is None or proof.margin > best.separator.margin:
            best = Network(lined, proof, snapshots, np.asarray(losses))
    return enough, best


def search(config: Config, points: Points, lowest: int) -> tuple[list[Try], Network | None]:
    """Finds the fewest hidden units that are enough for a seed: doubling, halving, more seeds."""
    tries: dict[int, Try] = {}
    best: dict[int, Network] = {}

    def attempt(hidden: int, seeds: int) -> bool:
        # At other numbers of units, and the second time, seeds are others.
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), hidden), seeds)
        runs = train(config, points, hidden, jax.random.split(key, seeds))
        enough, network = judge(config, points, runs)
        before = tries.get(hidden, Try(hidden, 0, 0))
        tries[hidden] = Try(hidden, before.seeds + seeds, before.enough + enough)
        if network is not None:
            best[hidden] = network
        return network is not None

    low, high = lowest - 1, lowest
    while not attempt(high, config.seeds):
        if high >= config.widest:
            return list(tries.values()), None
        low, high = high, min(2 * high, config.widest)
    while high - low > 1:
        middle = (low + high) // 2
        if attempt(middle, config.seeds):
            high = middle
        else:
            low = middle
    while high > lowest and attempt(high - 1, config.border * config.seeds):
        high -= 1
    return sorted(tries.values()), best[high]


def capacity(config: Config, name: str) -> Capacity:
    """What is not enough for one data set, and what is."""
    points = DATA[name]()
    below = bound(points)
    tries, network = search(config, points, below.hidden) if below.hidden else ([], None)
    return Capacity(name, len(points.labels), below, tuple(tries), network)


# --- Digits -------------------------------------------------------------------------------------


class Untangled(NamedTuple):
    """What a line can do after one layer of a network on digits, layer 0 being its input.

    `pairs` of 45 and `rest` of 10, a class against all others, are separable; `multinomial` says
    whether a linear classifier makes no error; `margin` is the least of the separable pairs'.
    `unproven` questions stay open; in the others they count as no.
    """

    components: int
    accuracy: float
    layer: int
    width: int
    pairs: int
    rest: int
    multinomial: bool
    margin: float | None
    unproven: int


class TwoDigits(NamedTuple):
    """Two digits in two components and in all pixels, with a network of 16 hidden units each."""

    points: Points
    snapshots: ls.Params
    names: np.ndarray
    loss: np.ndarray
    in_plane: tuple[Proof, ...]
    pixels: np.ndarray
    params: ls.Params
    in_pixels: tuple[Proof, ...]


class Against(NamedTuple):
    """A proof on MNIST of one digit against the rest: how large, and how long it took.

    `support` is how many samples bear it: those with a weight, or nearest to the line.
    """

    digit: int
    separable: bool
    support: tuple[int, int]
    size: int
    certify: float
    verify: float
    verified: bool


def principal(inputs: np.ndarray, components: int) -> np.ndarray:
    """Principal components, the first with variance 1; the inputs themselves if that is all."""
    if components >= inputs.shape[1]:
        return inputs
    centred = inputs - inputs.mean(axis=0, dtype=np.float64)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    scale = math.sqrt(len(inputs)) / sizes[0]
    return (scale * centred @ axes[:components].T).astype(np.float32)


def load_digits(config: Config) -> ls.data.Dataset:
    """The 8×8 digits, all of them or the first ones."""
    digits = ls.data.load("digits")
    parts = {name: getattr(digits, name)[: config.samples] for name in ("inputs", "labels")}
    return dataclasses.replace(digits, **parts)


def separators(answers: Iterable[Proof]) -> list[ls.Separator]:
    """Those that prove that a line is enough."""
    proven = [answer for answer in answers if not answer.numerical_only]
    return [answer for answer in proven if isinstance(answer, ls.Separator)]


def untangle_digits(config: Config, components: int) -> list[Untangled]:
    """Trains a network on all digits, and asks after every layer."""
    digits = load_digits(config)
    inputs, labels = principal(digits.inputs, components), digits.labels
    steps = config.digit_epochs * -(-len(labels) // 64)
    fitted = ls.fit(
        jax.random.key(0),
        ls.init_params(jax.random.key(0), (inputs.shape[1], *config.hidden, 10)),
        inputs,
        labels,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.01, steps)),
        epochs=config.digit_epochs,
        batch_size=min(64, len(labels)),
        loss=ls.losses.softmax_cross_entropy,
        coordinates="centred",
    )
    logits = jax.vmap(ls.logits, in_axes=(None, 0))(fitted.params, inputs)
    accuracy = float(ls.metrics.accuracy(logits, labels))
    widths = (inputs.shape[1], *config.hidden, 10)
    rows = []
    for layer, proof in enumerate(ls.untangle(fitted.params, inputs, labels, budget=config.budget)):
        assert isinstance(proof, ls.ClassCertificates)
        answers = [*proof.pairs.values(), *proof.rest.values(), proof.multinomial]
        if not all(answer.numerical_only or answer.verify() for answer in answers):
            raise RuntimeError(f"a certificate after layer {layer} does not hold")
        pairs, rest = (separators(parts.values()) for parts in (proof.pairs, proof.rest))
        whole = proof.multinomial
        rows.append(
            Untangled(
                components=components,
                accuracy=accuracy,
                layer=layer,
                width=widths[layer],
                pairs=len(pairs),
                rest=len(rest),
                multinomial=isinstance(whole, ls.MultinomialSeparator) and not whole.numerical_only,
                margin=min((float(part.margin) for part in pairs), default=None),
                unproven=sum(answer.numerical_only for answer in answers),
            )
        )
    return rows


def proofs(params: ls.Params, inputs: np.ndarray, labels: np.ndarray) -> tuple[Proof, ...]:
    """What a line can do to two classes at the input and after every layer."""
    found = ls.untangle(params, inputs, labels)
    return tuple(part for part in found if not isinstance(part, ls.ClassCertificates))


def two_digits(config: Config) -> TwoDigits:
    """Trains a 2-16-1 and a 64-16-1 network on two digits, and asks after every layer."""
    digits = load_digits(config)
    chosen = np.isin(digits.labels, config.pair)
    pixels, names = digits.inputs[chosen], digits.labels[chosen]
    labels = (names == config.pair[1]).astype(np.int64)
    points = Points(principal(pixels, 2), labels)
    runs = member(train(config, points, 16, jax.random.split(jax.random.key(0), 1)), 0)
    params = ls.fit(
        jax.random.key(0),
        ls.init_params(jax.random.key(0), (pixels.shape[1], 16, 1)),
        pixels,
        labels[:, None].astype(np.float32),
        optimizer=optax.adam(0.01),
        epochs=config.digit_epochs,
    ).params
    return TwoDigits(
        points,
        runs.params,
        names,
        np.asarray(runs.loss),
        proofs(member(runs.params, -1), points.inputs, names),
        pixels,
        params,
        proofs(params, pixels, names),
    )


def against_the_rest(config: Config) -> list[Against]:
    """Asks of MNIST whether a line separates each digit from all others."""
    mnist = ls.data.load("mnist", split="train")
    inputs, labels = mnist.inputs[: config.samples], mnist.labels[: config.samples]
    rows = []
    for digit in np.unique(labels).tolist():
        began = time.perf_counter()
        proof = ls.certify(inputs, labels, positive=digit)
        certified = time.perf_counter()
        verified = proof.verify()
        done = time.perf_counter()
        if isinstance(proof, ls.CommonPoint):
            weights = (proof.weights_positive, proof.weights_negative)
            support = tuple(sum(map(bool, side)) for side in weights)
        else:
            assert isinstance(proof, ls.Separator)
            distance = inputs @ np.array(proof.weight, float) + float(proof.bias)
            near = np.abs(distance) < float(proof.margin) * (1 + 1e-6)
            support = tuple(int((near & side).sum()) for side in (labels == digit, labels != digit))
        rows.append(
            Against(
                digit=digit,
                separable=isinstance(proof, ls.Separator),
                support=(support[0], support[1]),
                size=len(proof.to_json().encode()),
                certify=round(certified - began, 2),
                verify=round(done - certified, 2),
                verified=verified,
            )
        )
    return rows


# --- All together -------------------------------------------------------------------------------


class Result(NamedTuple):
    """All that was found, and how it came about; `mnist` is as JSON has it, or None."""

    settings: dict[str, Any]
    capacities: tuple[Capacity, ...]
    digits: tuple[Untangled, ...]
    pair: TwoDigits
    mnist: dict[str, Any] | None
    origin: dict[str, Any]


def settings_of(config: Config) -> dict[str, Any]:
    """What decides the numbers, as JSON has it."""
    left_out = ("mnist", "results", "out")
    settings = dataclasses.asdict(config)
    return json.loads(json.dumps({k: v for k, v in settings.items() if k not in left_out}))


def origin_of(command: str, began: float) -> dict[str, Any]:
    """By what command, on what, and how long it took."""
    device = f"{jax.devices()[0].platform}, {len(os.sched_getaffinity(0))} cores"
    seconds = round(time.perf_counter() - began, 1)
    return {"command": command, "jax": jax.__version__, "device": device, "seconds": seconds}


def require_config(config: Config) -> None:
    """Refuses a Config that asks for what there is not."""
    unknown = set(config.data) - set(DATA)
    if unknown:
        raise ValueError(f"data: expected some of {', '.join(DATA)}, got {sorted(unknown)}")
    if config.epochs % config.snapshots:
        raise ValueError(
            f"epochs: expected a multiple of the {config.snapshots} snapshots, got {config.epochs}"
        )
    for name in ("seeds", "border", "widest", "epochs", "snapshots", "asked", "digit_epochs"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(config, name)}")


def kept_mnist(path: Path) -> dict[str, Any] | None:
    """What the results have on MNIST from an earlier run."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))["mnist"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"results: expected what this experiment keeps in {path}, got {error!r}"
        ) from error


def run(config: Config, *, command: str = "run(config)") -> Result:
    """Finds how many hidden units are enough, and asks where a line is; keeps the numbers."""
    require_config(config)
    mnist, began = kept_mnist(config.results), time.perf_counter()
    result = Result(
        settings_of(config),
        tuple(capacity(config, name) for name in config.data),
        tuple(itertools.chain(*(untangle_digits(config, k) for k in config.components))),
        two_digits(config),
        mnist,
        origin_of(command, began),
    )
    if config.mnist:
        began = time.perf_counter()
        rows = [row._asdict() for row in against_the_rest(config)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        origin = origin_of(command, began)
        found = {"rows": rows, "gib": round(peak, 1), "origin": origin}
        result = result._replace(mnist=json.loads(json.dumps(found)))
    keep(config.results, result)
    return result


def capacity_as_json(each: Capacity) -> dict[str, Any]:
    """One data set's numbers. A cone's place is a fraction, as text."""
    below, network = each.bound, each.network
    return {
        "name": each.name,
        "samples": each.samples,
        "one_unit": str(below.one_unit),
        "at_least": below.hidden,
        "why": below.why,
        "cones": [{**cone._asdict(), "place": str(cone.place)} for cone in below.cones],
        "line": below.line,
        "tries": [attempt._asdict() for attempt in each.tries],
        "margin": network and float(network.separator.margin),
        "network": network and [[w.tolist(), b.tolist()] for w, b in network.params],
    }


def keep(path: Path, result: Result) -> None:
    """Writes the numbers, a line for each row, whole or not at all."""

    def lines(rows: Sequence[Any]) -> str:
        return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]"

    parts = {
        "settings": json.dumps(result.settings),
        "origin": json.dumps(result.origin),
        "plane": lines([capacity_as_json(each) for each in result.capacities]),
        "digits": lines([row._asdict() for row in result.digits]),
        "mnist": json.dumps(result.mnist),
    }
    text = "{" + ",\n".join(f'"{name}": {part}' for name, part in parts.items()) + "}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Rows of text under their heads: so many columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def fewest(each: Capacity) -> tuple[Try, Try | None] | None:
    """The fewest hidden units that were enough for a seed, and the most below that never were."""
    enough = [attempt for attempt in each.tries if attempt.enough]
    if not enough:
        return None
    below = [attempt for attempt in each.tries if attempt.hidden < enough[0].hidden]
    return enough[0], below[-1] if below else None


def verdict(each: Capacity) -> str:
    """What is proven of one data set and what is only observed."""
    if not each.bound.hidden:
        return "one unit is enough, proven"
    found = fewest(each)
    if found is None:
        return f"at least {each.bound.hidden} hidden units, proven; none tried was enough"
    enough, below = found
    if below is None:
        return f"{enough.hidden} hidden units are enough and fewer are not, both proven"
    return (
        f"{enough.hidden} are enough and {each.bound.hidden - 1} are not, both proven; "
        f"that {below.hidden} are not is only observed"
    )


def report(result: Result) -> str:
    """Everything, as tables."""
    return "\n".join([*report_plane(result), "", *report_digits(result), *report_mnist(result)])


def report_plane(result: Result) -> list[str]:
    rows = [("", "samples", "needed", "enough", "seeds", "margin", "one fewer", "seeds", "because")]
    for each in result.capacities:
        found = fewest(each)
        enough, below = found or (None, None)
        rows.append(
            (
                each.name,
                f"{each.samples}",
                f"{each.bound.hidden}",
                f"{enough.hidden}" if enough else "–",
                f"{enough.enough} of {enough.seeds}" if enough else "–",
                f"{float(each.network.separator.margin):.3g}" if each.network else "–",
                f"{below.hidden}" if below else "–",
                f"0 of {below.seeds}" if below else "–",
                f"  {each.bound.why}",
            )
        )
    table = columns([row[:-1] for row in rows])
    reasons = [row[-1].strip() for row in rows]
    lines = ["Points in the plane: how many hidden units a 2-h-1 network needs"]
    lines += [
        f"{line:<{max(map(len, table))}}  {why}" for line, why in zip(table, reasons, strict=True)
    ]
    lines.append("")
    lines += [f"{each.name}: one unit: {each.bound.one_unit}" for each in result.capacities]
    lines.append("")
    lines += [f"{each.name}: {verdict(each)}" for each in result.capacities]
    return lines


def report_digits(result: Result) -> list[str]:
    hidden = "-".join(map(str, result.settings["hidden"]))
    rows = [
        ("inputs", "layer", "accuracy", "units", "pairs", "classes", "all ten", "margin", "open")
    ]
    for row in result.digits:
        rows.append(
            (
                f"{row.components}" if not row.layer else "",
                f"{row.layer}" if row.layer else "input",
                f"{row.accuracy:.1%}" if not row.layer else "",
                f"{row.width}",
                f"{row.pairs}",
                f"{row.rest}",
                "yes" if row.multinomial else "no",
                "–" if row.margin is None else f"{row.margin:.2g}",
                f"{row.unproven}",
            )
        )
    return [
        f"8×8 digits: of what a line is enough for, before and after the layers of a k-{hidden}-10",
        "network: of 45 pairs, of 10 classes against the rest, for all ten without an error; and",
        "the least margin of the separable pairs. All of it is proven; open is what is not.",
        *columns(rows, left=2),
    ]


def report_mnist(result: Result) -> list[str]:
    if result.mnist is None:
        return []
    rows = [("digit", "a line is", "bearing samples", "bytes", "certify, s", "verify, s", "holds")]
    for row in result.mnist["rows"]:
        each = Against(**row)
        rows.append(
            (
                f"{each.digit}",
                "enough" if each.separable else "not enough",
                f"{each.support[0]} + {each.support[1]}",
                f"{each.size:,}",
                f"{each.certify:.1f}",
                f"{each.verify:.1f}",
                "yes" if each.verified else "NO",
            )
        )
    origin = result.mnist["origin"]
    return [
        "",
        "MNIST, 60,000 training images: each digit against the rest",
        *columns(rows, left=2),
        f"{origin['device']}, {origin['seconds']:.0f} s, at most {result.mnist['gib']} GiB",
    ]


# --- Pictures -----------------------------------------------------------------------------------


def plot(result: Result) -> dict[str, "Figure"]:
    """Draws each data set's regions, hidden space, bent grid and certificate, and two digits'."""
    figures = {}
    for each in result.capacities:
        name, points = each.name.lower().replace(" ", "-"), DATA[each.name]()
        figures[f"{name}-certificate"] = ls.plots.certificate(each.bound.one_unit)
        if each.network is None:
            continue
        params, proof = each.network.params, each.network.separator
        figures[f"{name}-regions"] = ls.plots.decision_regions(params, *points)
        figures[f"{name}-hidden"] = ls.plots.hidden_space(
            params, *points, layer=1, certificate=proof
        )
        figures[f"{name}-grid"] = ls.plots.warped_grid(
            params, *points, layers=(0, 1), certificates=(each.bound.one_unit, proof, None)
        )
    pair = result.pair
    plane = member(pair.snapshots, -1)
    points = Points(pair.points.inputs, pair.names)
    figures["digits-plane-certificate"] = ls.plots.certificate(pair.in_plane[0])
    figures["digits-plane-regions"] = ls.plots.decision_regions(plane, *points)
    figures["digits-plane-grid"] = ls.plots.warped_grid(plane, *points, certificates=pair.in_plane)
    shape = (8, 8)
    figures["digits-certificate"] = ls.plots.certificate(pair.in_pixels[0], image_shape=shape)
    figures["digits-hidden"] = ls.plots.hidden_space(
        pair.params, pair.pixels, pair.names, layer=1, certificate=pair.in_pixels[1]
    )
    return figures


def film(path: Path, points: Points, snapshots: ls.Params, loss: np.ndarray, epochs: int) -> None:
    """Writes how training bends the plane: many frames of the start, where most of it happens."""
    last = len(loss) - 1
    chosen = np.unique(np.rint(last * np.linspace(0, 1, 60) ** 2).astype(int))
    ls.plots.film(
        [member(snapshots, frame) for frame in chosen],
        *points,
        path,
        captions=[f"epoch {epochs * i // last:,}, loss {loss[i]:.3g}" for i in chosen.tolist()],
    )


def films(result: Result, folder: Path) -> list[Path]:
    """Writes the films, and returns where they are."""
    epochs, pair = result.settings["epochs"], result.pair
    reels = {
        each.name.lower().replace(" ", "-"): (
            DATA[each.name](),
            each.network.snapshots,
            each.network.loss,
        )
        for each in result.capacities
        if each.network is not None
    }
    reels["digits"] = (Points(pair.points.inputs, pair.names), pair.snapshots, pair.loss)
    for name, reel in reels.items():
        film(folder / f"{name}.html", *reel, epochs)
    return [folder / f"{name}.html" for name in reels]


def main(arguments: list[str] | None = None) -> int:
    """Runs the experiment from the command line; 1 if the fewest units of a set are not found."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = tyro.cli(Config, args=arguments)
    result = run(config, command=shlex.join(["python", "experiments/limits.py", *arguments]))
    print(report(result))
    print()
    print(f"results {config.results}")
    for name, figure in plot(result).items():
        path = config.out / f"{name}.png"
        ls.plots.save(figure, path)
        print(f"figure  {path}")
    for path in films(result, config.out):
        print(f"film    {path}")
    return 0 if all(each.network or not each.bound.hidden for each in result.capacities) else 1


if __name__ == "__main__":
    ls.keep_compiled_programs()
    sys.exit(main())
