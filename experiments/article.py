"""Do the numbers of the article come out, and does a 2-2-1 network learn XOR?

Prints *stated / computed / agrees* for every number of the article that logistack grew from, draws
its figures, and trains 2-2-1 networks on XOR from many seeds.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments import keeping
from experiments.keeping import member

if TYPE_CHECKING:
    from matplotlib.figure import Figure

XOR = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TARGETS = jnp.array([[0.0], [1.0], [1.0], [0.0]])

TWO_UNITS = ls.Layer(jnp.array([[-2.0, 2.0], [2.0, -2.0]]), jnp.array([-1.0, -1.0]))
NETWORK = (
    ls.Layer(jnp.array([[1.0, -2.0], [-1.0, 1.0]]), jnp.array([1.0, 0.0])),
    ls.Layer(jnp.array([[2.0, -1.0], [-2.0, -1.0]]), jnp.array([0.0, 0.0])),
    ls.Layer(jnp.array([[3.0, -1.0], [-1.0, 4.0]]), jnp.array([-2.0, 2.0])),
)

SAMPLE = jnp.array([1.0, -1.0])
TEST_DIGITS = 359

# Noise and weight decay, as shares of what the command line says.
RECIPES = {
    "plain gradient descent": (0.0, 0.0),
    "weight decay alone": (0.0, 1.0),
    "noise alone": (1.0, 0.0),
    "noise and weight decay": (1.0, 1.0),
}
PLAIN, DEFAULT = "plain gradient descent", "noise and weight decay"
WHY = """\
Plain gradient descent saturates hidden units, whose gradient then vanishes with two or three points
right. Gradient noise (Neelakantan et al. 2015) shakes them out, weight decay keeps them in its
reach (and the loss above 0), and the learning rate falls to 0, so that the noise dies out."""


@dataclass(frozen=True)
class Config:
    """Reproduces the article: its numbers, its figures, and XOR learned from scratch."""

    out: Path = Path("results/article")
    """Folder for the figures; other settings have a folder in it."""
    seeds: int = 100
    """How many 2-2-1 networks to train on XOR by each recipe."""
    epochs: int = 5_000
    """Epochs of each network; an epoch is one step on all four points."""
    learning_rate: float = 1.0
    """The first epoch's learning rate; it falls to 0 in a straight line."""
    noise: float = 0.3
    """Variance of the Gaussian noise added to each entry of the gradient."""
    weight_decay: float = 0.01
    """The share of the parameters that is added to the gradient."""
    digit: int = 0
    """Which test digit to show the digit network."""
    digit_epochs: int = 10
    """Epochs of the digit network, 256-32-10."""
    seed: int = 0
    """Seeds the weights, the shuffles and the noise."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to compute."""
    keeping.require_counts(config, "seeds", "epochs", "digit_epochs")
    keeping.require_numbers(config, "learning_rate")
    keeping.require_numbers(config, "noise", "weight_decay", zero=True)
    keeping.require_counts(config, "digit", low=0, high=TEST_DIGITS - 1)
    keeping.require_seed(config)


class Row(NamedTuple):
    """One line of the article: what it is about, the numbers stated, and how to compute them."""

    what: str
    stated: str
    compute: Callable[[], Any]


class Checked(NamedTuple):
    """A row and what came out."""

    what: str
    stated: str
    computed: str
    agrees: bool


class XorRuns(NamedTuple):
    """Networks trained on XOR by one recipe; every field has a leading seed axis."""

    params: ls.Params
    history: ls.History
    solved: jax.Array


class Digit(NamedTuple):
    """The digit network at one test digit, C there, and the loss over all test digits."""

    image: np.ndarray
    target: jax.Array
    outputs: jax.Array
    loss: jax.Array
    summed_loss: jax.Array
    summed_by_hand: float


class Result(NamedTuple):
    """What `plot` and `report` need."""

    table: tuple[Checked, ...]
    xor: dict[str, XorRuns]
    digit: Digit


def distances(x: jax.Array) -> jax.Array:
    """The hand-made features of one point: its distances to (0, 0) and to (1, 1)."""
    return jnp.linalg.norm(x[None] - jnp.array([[0.0, 0.0], [1.0, 1.0]]), axis=1)


def two_units(x: jax.Array) -> jax.Array:
    """The features of one point that two logistic units make."""
    return ls.sigmoid_layer(TWO_UNITS, x)


def identity(x: jax.Array) -> jax.Array:
    """The point itself."""
    return x


def points_right(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """How many of the four points lie on their target's side of ½."""
    outputs = jax.vmap(ls.forward, in_axes=(None, 0))(params, inputs)
    return jnp.sum((outputs > 0.5) == (TARGETS > 0.5))


def best_unit(
    features: Callable[[jax.Array], jax.Array], sample_weights: jax.Array
) -> tuple[ls.Layer, int]:
    """Trains a single unit for each row of weights on the four points, and returns the best.

    Returns:
        The first unit that is right on as many points as any, and on how many.
    """
    inputs = jax.vmap(features)(XOR)
    start = ls.init_params(jax.random.key(0), (2, 1), scheme="zeros")

    def train(sample_weight: jax.Array) -> tuple[ls.Params, jax.Array]:
        result = ls.fit(
            jax.random.key(0),
            start,
            inputs,
            TARGETS,
            optimizer=optax.adam(0.1),
            epochs=1_000,
            sample_weight=sample_weight,
        )
        return result.params, points_right(result.params, inputs)

    units, right = jax.vmap(train)(sample_weights)
    best = int(jnp.argmax(right))
    return member(units, best)[0], int(right[best])


def at_layer(layer: int) -> Callable[[], jax.Array]:
    """Computes the output of one layer of the 2-2-2-2 network at (1, −1)."""
    return lambda: ls.activations(NETWORK, SAMPLE)[layer - 1]


# No line is right on all four: w·x + b has the same sum over (0, 0), (1, 1) as over (0, 1), (1, 0).
# So a unit does best to give one point up; which, its training is told by a weight of 0.
ALL_POINTS, THREE_POINTS = jnp.ones((1, 4)), 1.0 - jnp.eye(4)

ARTICLE = (
    Row("XOR: points right of one unit", "3", lambda: best_unit(identity, THREE_POINTS)[1]),
    Row("distances to (0, 0) and (1, 1), from (0, 0)", "(0, √2)", lambda: distances(XOR[0])),
    Row("  from (1, 1)", "(√2, 0)", lambda: distances(XOR[3])),
    Row("  from (0, 1)", "(1, 1)", lambda: distances(XOR[1])),
    Row("  from (1, 0)", "(1, 1)", lambda: distances(XOR[2])),
    Row("  points right of one unit", "4", lambda: best_unit(distances, ALL_POINTS)[1]),
    Row("two logistic units at (0, 1)", "(0.73, 0.05)", lambda: two_units(XOR[1])),
    Row("  at (1, 0)", "(0.05, 0.73)", lambda: two_units(XOR[2])),
    Row("  at (0, 0)", "(0.27, 0.27)", lambda: two_units(XOR[0])),
    Row("  at (1, 1)", "(0.27, 0.27)", lambda: two_units(XOR[3])),
    Row("  points right of a third unit", "4", lambda: best_unit(two_units, ALL_POINTS)[1]),
    Row("2-2-2-2 network at (1, −1), layer 1", "(0.98, 0.12)", at_layer(1)),
    Row("  layer 2", "(0.86, 0.11)", at_layer(2)),
    Row("  output", "(0.62, 0.83)", at_layer(3)),
    Row("  output at (0, 0)", "(0.51, 0.85)", lambda: ls.forward(NETWORK, XOR[0])),
)


def digit_rows(digit: Digit) -> tuple[Row, ...]:
    """The article's lines on digits; what its formula for the loss states is summed by hand."""
    outputs, target = np.asarray(digit.outputs, np.float64), np.asarray(digit.target)
    by_hand = -np.sum(target * np.log(outputs))
    shape = (*digit.image.shape, digit.image.size)
    loss = f"{digit.summed_by_hand:.1f}"
    return (
        Row("digit network: pixels down, across, inputs", "16, 16, 256", lambda: shape),
        Row("  outputs", "10", lambda: digit.outputs.size),
        Row("  C = −Σ ŷ ln y of one digit", f"{by_hand:.4f}", lambda: digit.loss),
        Row("  loss = Σ C over all test digits", loss, lambda: digit.summed_loss),
    )


NUMBER = r"√?\d+(?:\.\d+)?"


def check(row: Row) -> Checked:
    """Computes a row; it agrees if it rounds to every number stated, or is one without decimals."""
    values = np.atleast_1d(np.asarray(row.compute(), np.float64)).tolist()
    numbers = re.findall(NUMBER, row.stated)
    computed, agrees = [], []
    for value, number in zip(values, numbers, strict=True):
        decimals = len(number.partition(".")[2])
        if decimals:
            computed.append(f"{value:.{decimals}f}")
            agrees.append(computed[-1] == number)
        else:
            stated = math.sqrt(int(number[1:])) if number[0] == "√" else int(number)
            computed.append(f"{value:.6g}")
            agrees.append(math.isclose(value, stated, rel_tol=1e-6, abs_tol=1e-6))
    texts = iter(computed)
    return Checked(
        row.what, row.stated, re.sub(NUMBER, lambda _: next(texts), row.stated), all(agrees)
    )


def train_xor(config: Config) -> dict[str, XorRuns]:
    """Trains every seed by every recipe, from the same starts, in one program."""

    def train(
        strength: jax.Array, key: jax.Array, inputs: jax.Array, targets: jax.Array
    ) -> XorRuns:
        for_start, for_noise = jax.random.split(key)
        noise, weight_decay = strength
        optimizer = optax.chain(
            optax.add_noise(noise, gamma=0.0, key=for_noise),
            optax.add_decayed_weights(weight_decay),
            optax.sgd(optax.linear_schedule(config.learning_rate, 0.0, config.epochs)),
        )
        start = ls.init_params(for_start, (2, 2, 1))
        result = ls.fit(key, start, inputs, targets, optimizer=optimizer, epochs=config.epochs)
        return XorRuns(result.params, result.history, points_right(result.params, inputs) == 4)

    keys = jax.random.split(jax.random.key(config.seed), config.seeds)
    strengths = jnp.array(list(RECIPES.values())) * jnp.array([[config.noise, config.weight_decay]])
    over_seeds = jax.vmap(train, in_axes=(None, 0, None, None))
    over_recipes = jax.jit(jax.vmap(over_seeds, in_axes=(0, None, None, None)))
    runs = over_recipes(strengths, keys, XOR, TARGETS)
    return {name: member(runs, index) for index, name in enumerate(RECIPES)}


def train_digit(config: Config) -> Digit:
    """Trains the digit network, and looks at one test digit."""
    train, test = (keeping.load("digits16", split=split) for split in ("train", "test"))
    inputs, targets = jnp.asarray(test.inputs), jnp.asarray(test.targets)
    for_start, for_order = jax.random.split(jax.random.key(config.seed))
    params = ls.fit(
        for_order,
        ls.init_params(for_start, (train.inputs.shape[1], 32, len(train.classes))),
        jnp.asarray(train.inputs),
        jnp.asarray(train.targets),
        optimizer=optax.adam(0.01),
        epochs=config.digit_epochs,
        batch_size=64,
    ).params
    outputs = jax.vmap(ls.forward, in_axes=(None, 0))(params, inputs)
    return Digit(
        image=test.inputs[config.digit].reshape(test.image_shape),
        target=targets[config.digit],
        outputs=outputs[config.digit],
        loss=ls.losses.cross_entropy(outputs[config.digit], targets[config.digit]),
        summed_loss=ls.summed_loss(
            params,
            inputs,
            targets,
            loss=lambda z, target: ls.losses.cross_entropy(jax.nn.sigmoid(z), target),
        ),
        summed_by_hand=-np.sum(test.targets * np.log(np.asarray(outputs, np.float64))),
    )


def run(config: Config) -> Result:
    """Computes the table, and trains."""
    require_config(config)
    digit = train_digit(config)
    table = tuple(check(row) for row in ARTICLE + digit_rows(digit))
    return Result(table, train_xor(config), digit)


def plot(result: Result) -> dict[str, "Figure"]:
    """Draws the article's figures, and how XOR was learned."""
    figures = {}
    labels = TARGETS[:, 0].astype(int)
    points = ls.plots.Plane(XOR, labels, annotations=["(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)"])
    figures["single-unit"] = ls.plots.planes(
        points._replace(units=best_unit(identity, THREE_POINTS)[0])
    )
    for name, features, units, axis_labels in (
        ("distances", distances, None, ("distance to (0, 0)", "distance to (1, 1)")),
        ("two-units", two_units, TWO_UNITS, ("$a_1$", "$a_2$")),
    ):
        after = points._replace(
            points=jax.vmap(features)(XOR),
            units=best_unit(features, ALL_POINTS)[0],
            axis_labels=axis_labels,
        )
        figures[name] = ls.plots.planes(points._replace(units=units), after)
    figures["network"] = ls.plots.network(NETWORK, (SAMPLE, *ls.activations(NETWORK, SAMPLE)))
    digit = result.digit
    figures["digit"] = ls.plots.prediction(
        digit.image, digit.outputs, digit.target, float(digit.loss)
    )
    plain, default = result.xor[PLAIN], result.xor[DEFAULT]
    # A seed that tells the recipes apart, if there is one; argmax of nothing but False is 0.
    telling = int(jnp.argmax(default.solved & ~plain.solved))
    figures["xor-training"] = ls.plots.training_curves(
        {
            "loss of one run": {
                PLAIN: plain.history.loss[telling],
                DEFAULT: default.history.loss[telling],
            },
            "share of runs right on all points": {
                name: jnp.mean((runs.history.accuracy == 1.0).astype(jnp.float32), axis=0)
                for name, runs in result.xor.items()
            },
        },
        log=["loss of one run"],
    )
    params = member(default.params, telling)
    hidden, output = params
    side = jnp.linspace(-0.5, 1.5, 101)
    grid = jnp.stack(jnp.meshgrid(side, side), axis=-1)
    over_grid = jax.vmap(jax.vmap(ls.forward, in_axes=(None, 0)), in_axes=(None, 0))
    figures["xor-regions"] = ls.plots.planes(
        points._replace(units=hidden, outputs=(side, side, over_grid(params, grid)[..., 0])),
        points._replace(
            points=jax.vmap(ls.sigmoid_layer, in_axes=(None, 0))(hidden, XOR),
            units=output,
            axis_labels=("$a_1$", "$a_2$"),
        ),
    )
    return figures


def report(result: Result) -> str:
    """The table, and how many runs of each recipe solve XOR."""
    rows = [("", "stated", "computed", "agrees")]
    rows += [(*row[:3], "yes" if row.agrees else "NO") for row in result.table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += ["", "2-2-1 networks that solve XOR (all four points on the right side):"]
    lines += [
        f"  {name:{max(map(len, result.xor))}}  {int(runs.solved.sum()):3} of {runs.solved.size}"
        for name, runs in result.xor.items()
    ]
    return "\n".join([*lines, WHY])


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line; 1 if a number does not agree."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    folder = keeping.folder_of(config)
    keeping.require_folder("out", folder)
    result = run(config)
    print(report(result))
    print()
    keeping.save_figures(plot(result), folder)
    return 0 if all(row.agrees for row in result.table) else 1


if __name__ == "__main__":
    ls.keep_compiled_programs()
    keeping.start(main)
