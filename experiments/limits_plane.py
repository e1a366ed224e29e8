"""Points in the plane, and the fewest hidden units that are found to be enough for them."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

import logistack as ls
from experiments.keeping import Once, member

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
    """How many times as many seeds to try with one hidden unit fewer than the fewest found."""
    widest: int = 64
    """The most hidden units to try."""
    epochs: int = 5_000
    """Epochs of each network; an epoch is one step of Adam on all samples."""
    learning_rate: float = 0.05
    """At the start; it falls to 0 along a cosine."""
    # Networks that start by `init_params` find 3 hidden units for the moons, from every seed, but
    # never 2: it takes one steep unit beside a flat one.
    steepness: tuple[float, float] = (0.5, 20.0)
    """Hidden units start this steep, logarithmically spread, in 1 / standard deviation."""
    asked: int = 8
    """How many networks to certify: the best of those that are right, and as many others."""
    snapshots: int = 200
    """How often to look at the networks while they train, for the films."""
    components: tuple[int, ...] = (2, 4, 8, 64)
    """Principal components of the 8×8 digits that networks are given."""
    hidden: tuple[int, ...] = (32, 32)
    """Hidden layers of the digit networks."""
    digit_epochs: int = 300
    """Their epochs, in batches of 64."""
    budget: float = 120.0
    """Seconds for each question on digits; one that takes longer is left open."""
    samples: int | None = None
    """Use only this many digits, to try the script."""
    pair: tuple[int, int] = (3, 8)
    """Two digits to look at alone, in two components and in all pixels."""
    mnist: bool = False
    """Also ask for proofs on the 60,000 training images of MNIST, each class against the rest."""
    table: bool = False
    """Only print the tables of the numbers that are kept."""
    results: Path | None = None
    """File to keep the numbers in; if none is named, one beside the figures."""
    out: Path = Path("results/limits")
    """Folder for the figures and films; other settings have a folder in it."""


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
    bound: ls.HiddenBound
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


def rightly(params: ls.Params, inputs: ArrayLike, labels: ArrayLike) -> jax.Array:
    """How many samples lie on their label's side of ½."""
    outputs = jax.vmap(ls.forward, in_axes=(None, 0))(params, inputs)
    return jnp.sum((outputs[:, 0] > 0.5) == (jnp.asarray(labels) == 1))


def train(config: Config, points: Points, hidden: int, keys: jax.Array) -> Runs:
    """Trains a network from every key, all in one program."""
    epochs = config.epochs // config.snapshots
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
    """The network with the line as its last unit, steep enough for ±4 at the nearest samples."""
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
        proof = ls.certify(np.asarray(hidden_of(params, points.inputs)), points.labels)
        if not isinstance(proof, ls.Separator) or not proof.verify():
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


def as_json(params: ls.Params) -> list[Any]:
    """The weights and biases of a network."""
    return [[weight.tolist(), bias.tolist()] for weight, bias in params]


def found_as_json(tries: list[Try], network: Network | None) -> Any:
    """What a search found, without the proof, which is soon found again."""
    kept = network and {
        "params": as_json(network.params),
        "snapshots": as_json(network.snapshots),
        "loss": network.loss.tolist(),
    }
    return {"tries": tries, "network": kept}


def found_from_json(found: Any, points: Points) -> tuple[tuple[Try, ...], Network | None]:
    """What a search found, from what `found_as_json` has made of it."""
    tries = tuple(Try(*each) for each in found["tries"])
    if found["network"] is None:
        return tries, None
    params, snapshots = (
        tuple(ls.Layer(*(jnp.asarray(part, jnp.float32) for part in layer)) for layer in layers)
        for layers in (found["network"]["params"], found["network"]["snapshots"])
    )
    proof = ls.certify(np.asarray(hidden_of(params, points.inputs)), points.labels)
    assert isinstance(proof, ls.Separator)
    return tries, Network(
        params, proof, snapshots, np.asarray(found["network"]["loss"], np.float32)
    )


def capacity(config: Config, name: str, once: Once) -> Capacity:
    """What is not enough for one data set, and what is."""
    points = DATA[name]()
    below = ls.hidden_bound(*points)
    if not below.hidden:
        return Capacity(name, len(points.labels), below, (), None)
    found = once(name, lambda: found_as_json(*search(config, points, below.hidden)))
    return Capacity(name, len(points.labels), below, *found_from_json(found, points))
