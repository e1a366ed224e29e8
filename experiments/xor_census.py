"""How often does a 2-2-1 network learn XOR, by learning rate and initial scale?

Trains 10,000 networks, a hundred for each pair of a learning rate and a factor on the weights that
`ls.init_params` draws, by plain gradient descent on the summed loss of all four points. A network
has solved XOR if, in the end, all four are on their side of ½.

    python experiments/xor_census.py            # half a minute on two cores
    python experiments/xor_census.py --table    # the numbers that are kept, in seconds
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments import answering, keeping
from experiments.limits_plane import xor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config:
    """Count the 2-2-1 networks that learn XOR, by learning rate and initial scale."""

    rates: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    """Learning rates."""
    scales: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    """Factors on the initial weights; the biases start as they are drawn."""
    seeds: int = 100
    """Networks for each pair of the two."""
    epochs: int = 3_000
    """Epochs of each network; an epoch is one step on all four points."""
    seed: int = 0
    """Seeds the weights; all pairs start from the same draws."""
    table: bool = False
    """Only print and draw the results that are kept, and train nothing."""
    results: Path | None = None
    """File to keep the results in; if none is named, one beside the figure."""
    out: Path = Path("results/xor_census")
    """Folder for the figure; other settings have a folder in it."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to train."""
    keeping.require_some(config, "rates", "scales")
    keeping.require_distinct(config, "rates", "scales")
    keeping.require_numbers(config, "rates", "scales")
    keeping.require_counts(config, "seeds", "epochs")
    keeping.require_seed(config)


def begin(key: jax.Array, scale: jax.Array) -> ls.Params:
    """Where a network starts: as drawn, with its weights times `scale`."""
    return tuple(
        layer._replace(weight=scale * layer.weight) for layer in ls.init_params(key, (2, 2, 1))
    )


def run(config: Config, once: keeping.Once = lambda _, find: find()) -> list[dict[str, Any]]:
    """For each pair, how many solve XOR; those of a learning rate are trained in one call."""
    require_config(config)
    parts = {f"rate {rate}": functools.partial(train, config, rate) for rate in config.rates}
    return [cell for name, part in parts.items() for cell in once(name, part)]


def train(config: Config, rate: float) -> list[dict[str, Any]]:
    """Trains the networks of one learning rate in one call."""
    drawn = jax.random.split(jax.random.key(config.seed), config.seeds)
    keys = jnp.tile(drawn, len(config.scales))
    scales = jnp.repeat(jnp.array(config.scales), config.seeds)
    inputs, labels = map(jnp.asarray, xor())
    fitted = ls.fit_population(
        keys,
        jax.jit(jax.vmap(begin))(keys, scales),
        inputs,
        labels,
        optimizer=optax.sgd,
        hyperparams={"learning_rate": rate},
        epochs=config.epochs,
    )
    solved = np.asarray(_solved(fitted.params, inputs, labels))
    return [
        {"rate": rate, "scale": scale, "solved": int(own.sum())}
        for scale, own in zip(config.scales, solved.reshape(-1, config.seeds), strict=True)
    ]


@jax.jit
def _solved(params: ls.Params, inputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Which of the networks are right on all four points."""
    of_points = jax.vmap(ls.predict, in_axes=(None, 0))
    return (jax.vmap(of_points, in_axes=(0, None))(params, inputs) == labels[None]).all(axis=1)


def plot(kept: answering.Kept) -> dict[str, "Figure"]:
    """Draws the share that solves XOR as a map."""
    seeds = kept["settings"]["seeds"]
    each = np.repeat([cell["rate"] for cell in kept["found"]], seeds)
    scales = np.repeat([cell["scale"] for cell in kept["found"]], seeds)
    solved = np.concatenate([np.arange(seeds) < cell["solved"] for cell in kept["found"]])
    shares = ls.summarize(
        100.0 * solved, {"learning rate": each, "factor on the initial weights": scales}
    )
    return {"xor-census": ls.plots.heat_map(shares, quantity="networks that solve XOR (%)")}


def report(kept: answering.Kept) -> str:
    """The counts, learning rates down and scales across, and where they are highest."""
    cells, settings = kept["found"], kept["settings"]
    solved = {(cell["rate"], cell["scale"]): cell["solved"] for cell in cells}
    seeds, total = settings["seeds"], settings["seeds"] * len(cells)
    rows = [["rate", *(f"× {scale:g}" for scale in settings["scales"])]]
    rows += [
        [f"{rate:g}", *(f"{solved[rate, scale]}" for scale in settings["scales"])]
        for rate in settings["rates"]
    ]
    rate, scale = max(solved, key=lambda pair: solved[pair])
    return "\n".join(
        [
            f"2-2-1 networks, of {seeds} each, that solve XOR within {settings['epochs']:,} steps,",
            "by learning rate and factor on the initial weights:",
            *keeping.columns(rows, left=0),
            f"in all {sum(solved.values()):,} of {total:,}; most at rate {rate:g} and "
            f"× {scale:g}: {solved[rate, scale]} of {seeds}",
        ]
    )


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    answering.answer("xor_census", config, arguments, run=run, report=report, plot=plot)
    return 0


if __name__ == "__main__":
    ls.keep_compiled_programs()
    ls.use_cores_as_devices()
    keeping.start(main)
