"""How many logistic units do the 8×8 digits need?

Trains networks of one hidden layer, 1 to 256 units wide, twenty seeds each and with each of two
learning rates, all of a width in one call. A seed draws the weights and which digits are held out,
a fifth to test on and a fifth of the others to validate on, the same for every width; the order of
the samples is the same for all. A network keeps the parameters that were best on its validation
digits; a width has the rate that was better there, over its seeds. No choice within a run looks at
its test digits.

The answer is the smallest width whose mean error is within one standard error of the least
(Breiman, Friedman, Olshen & Stone 1984). Seeds share digits, so the standard error is that of
Nadeau & Bengio 2003: √((1/J + n₂/n₁) s²), with J seeds and n₂ digits of n₁ + n₂ tested on.

    python experiments/width.py                  # minutes on two cores
    python experiments/width.py --data semeion   # other digits, 16×16
    python experiments/width.py --table          # the numbers that are kept, in seconds
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments import answering, keeping

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Sets without a split of their own.
DATA = ("digits", "digits16", "semeion")

# Of how many digits one is tested on; and of how many of the others one is validated on.
FIFTH = 5
TEST_OVER_TRAIN = 1 / (FIFTH - 1)


@dataclasses.dataclass(frozen=True)
class Config:
    """Find how many logistic units digits need."""

    data: str = "digits"
    """Which digits: digits, digits16 or semeion."""
    widths: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
    """Units of the hidden layer."""
    seeds: int = 20
    """How many networks to train of each width and rate: seeds 0, 1, …"""
    # In trials of six seeds, which also printed test errors, Adam at these had a lower validation
    # loss with 1, 16 and 128 units than SGD with momentum, which had a lower one with 2 and 4.
    rates: tuple[float, ...] = (0.01, 0.03)
    """Learning rates of Adam to choose from, for each width."""
    epochs: int = 200
    """How many times to go through the digits at most."""
    patience: int = 15
    """For how many epochs the validation loss may fail to fall before a network stops."""
    batch_size: int = 32
    """Digits a step, those held out among them."""
    samples: int | None = None
    """Use only this many digits, to try the script."""
    table: bool = False
    """Only print and draw the results that are kept, and train nothing."""
    results: Path | None = None
    """File to keep the results in; if none is named, one beside the figure."""
    out: Path = Path("results/width")
    """Folder for the figure; other settings have a folder in it."""


class Held(NamedTuple):
    """Which digits each seed holds out, as rows of `(seeds, n)`."""

    validation: np.ndarray
    test: np.ndarray


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to train."""
    keeping.require_known("data", [config.data], DATA)
    keeping.require_some(config, "widths", "rates")
    keeping.require_counts(config, "widths", "epochs", "patience", "batch_size")
    keeping.require_counts(config, "seeds", low=2)  # one has no standard error
    keeping.require_counts(config, "samples", low=200)  # of every digit some in every part
    keeping.require_numbers(config, "rates")
    keeping.require_distinct(config, "widths", "rates")


def load(config: Config) -> ls.data.Dataset:
    """All digits, with pixels from −½ to ½."""
    digits = keeping.part_of(keeping.load(config.data), slice(config.samples))
    return dataclasses.replace(digits, inputs=digits.inputs - np.float32(0.5))


def hold_out(labels: np.ndarray, seeds: int) -> Held:
    """Draws for each seed which digits to validate and to test on, of every class as many."""
    from sklearn.model_selection import train_test_split

    held = Held(*(np.zeros((seeds, len(labels)), bool) for _ in Held._fields))
    for seed in range(seeds):
        rest = np.arange(len(labels))
        for part in (held.test, held.validation):
            rest, places = train_test_split(
                rest, test_size=1 / FIFTH, stratify=labels[rest], random_state=seed
            )
            part[seed, places] = True
    return held


def run(config: Config, once: keeping.Once = lambda _, find: find()) -> list[dict[str, Any]]:
    """For each width and rate, what its seeds reach; a width's networks are trained in one call."""
    require_config(config)
    digits = load(config)
    held = hold_out(digits.labels, config.seeds)
    parts = {
        f"width {width}": functools.partial(train, config, width, digits, held)
        for width in config.widths
    }
    return [cell for name, part in parts.items() for cell in once(name, part)]


def train(config: Config, width: int, digits: ls.data.Dataset, held: Held) -> list[dict[str, Any]]:
    """Trains the networks of one width in one call."""
    inputs, classes = digits.inputs.shape[1], len(digits.classes)
    keys = jax.vmap(jax.random.key)(np.arange(config.seeds))
    draw = functools.partial(ls.init_params, sizes=(inputs, width, classes))
    rates = len(config.rates)
    seeds = np.tile(np.arange(config.seeds), rates)
    fitted = ls.fit_population(
        keys[seeds],
        keeping.member(jax.jit(jax.vmap(draw))(keys), seeds),
        digits.inputs,
        digits.labels,
        optimizer=optax.adam,
        hyperparams={"learning_rate": jnp.repeat(jnp.array(config.rates), config.seeds)},
        epochs=config.epochs,
        batch_size=min(config.batch_size, len(digits.labels)),
        order="shared",
        loss=ls.losses.softmax_cross_entropy,
        sample_weight=~(held.validation | held.test)[seeds],
        validation=held.validation[seeds],
        patience=config.patience,
    )
    losses = np.nanmin(np.asarray(fitted.history.validation_loss), axis=1)
    epochs = np.asarray(fitted.epoch)
    found = []
    for cell, rate in enumerate(config.rates):
        own = slice(cell * config.seeds, (cell + 1) * config.seeds)
        predicted = np.asarray(_predicted(keeping.member(fitted.params, own), digits.inputs))
        wrong = (predicted != digits.labels) & held.test
        found.append(
            {
                "width": width,
                "rate": rate,
                "validation_loss": round(float(losses[own].mean()), 4),
                "epochs": epochs[own].tolist(),
                "wrong": wrong.sum(axis=1).tolist(),
                "tested": int(held.test[0].sum()),
            }
        )
    return found


@jax.jit
def _predicted(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """The class that each network gives each digit, `(seeds, n)`."""
    over_digits = jax.vmap(ls.predict, in_axes=(None, 0))
    return jax.vmap(over_digits, in_axes=(0, None))(params, inputs)


class Errors(NamedTuple):
    """What a width reaches with the rate that is better on the validation digits."""

    width: int
    rate: float
    epochs: float
    percent: np.ndarray


def by_width(kept: answering.Kept) -> list[Errors]:
    """The test errors of each width, in percent, over seeds; the narrowest first."""
    widths: dict[int, list[dict[str, Any]]] = {}
    for cell in kept["found"]:
        widths.setdefault(cell["width"], []).append(cell)
    best = {
        width: min(cells, key=lambda cell: cell["validation_loss"])
        for width, cells in sorted(widths.items())
    }
    return [
        Errors(
            width,
            cell["rate"],
            float(np.mean(cell["epochs"])),
            100 * np.array(cell["wrong"]) / cell["tested"],
        )
        for width, cell in best.items()
    ]


class Elbow(NamedTuple):
    """The width with the least mean error, that error's standard error, and the answer."""

    least: Errors
    standard_error: float
    enough: Errors


def elbow(errors: list[Errors]) -> Elbow:
    """The smallest width whose mean error is within one standard error of the least."""
    least = min(errors, key=lambda own: own.percent.mean())
    spread = (1 / len(least.percent) + TEST_OVER_TRAIN) * least.percent.var(ddof=1)
    standard_error = math.sqrt(spread)
    limit = least.percent.mean() + standard_error
    enough = next(own for own in errors if own.percent.mean() <= limit)
    return Elbow(least, standard_error, enough)


UNITS, ERROR = "hidden logistic units", "test error (%)"


def summary_of(errors: list[Errors]) -> ls.Summary:
    """The errors by width, with intervals over seeds."""
    widths = [own.width for own in errors for _ in own.percent]
    return ls.summarize(np.concatenate([own.percent for own in errors]), {UNITS: widths})


def plot(kept: answering.Kept) -> dict[str, "Figure"]:
    """Draws the error against the width, and the elbow."""
    import matplotlib

    errors = by_width(kept)
    least, standard_error, enough = elbow(errors)
    limit = least.percent.mean() + standard_error
    figure = ls.plots.intervals(summary_of(errors), quantity=ERROR, log=(UNITS, ERROR))
    (axes,) = figure.axes
    with matplotlib.rc_context(ls.plots.STYLE):
        axes.axhline(limit, color=ls.plots.GREY, linestyle="--", linewidth=0.8)
        axes.text(
            errors[0].width, limit, "the least and a standard error", va="bottom", fontsize=8,
            color="#595959",
        )  # fmt: skip
        axes.axvline(enough.width, color=ls.plots.VERMILLION, linestyle=":", linewidth=1.0)
        axes.annotate(
            f"{enough.width} units", (enough.width, 1), (4, -2), va="top", fontsize=8,
            xycoords=axes.get_xaxis_transform(), textcoords="offset points",
            color=ls.plots.VERMILLION,
        )  # fmt: skip
        powers = [own.width for own in errors if own.width & (own.width - 1) == 0]
        axes.set_xticks(powers, [f"{width}" for width in powers])
    return {"width": figure}


def report(kept: answering.Kept) -> str:
    """The errors by width, and the answer."""
    errors = by_width(kept)
    rows = [("units", "rate", "epochs", "error (%)", "std", "95% interval")]
    rows += [
        (
            f"{own.width}",
            f"{own.rate:g}",
            f"{own.epochs:.0f}",
            f"{row.mean:.2f}",
            f"{row.std:.2f}",
            f"{row.low:.2f} to {row.high:.2f}",
        )
        for own, row in zip(errors, summary_of(errors).rows, strict=True)
    ]
    least, standard_error, enough = elbow(errors)
    settings = kept["settings"]
    lines = [
        f"{settings['data']}: error on the {kept['found'][0]['tested']} digits that each of "
        f"{settings['seeds']} seeds holds out",
        *keeping.columns(rows, left=0),
        "",
        f"{enough.width} units are enough: {enough.percent.mean():.2f}% is within a standard error "
        f"({standard_error:.2f}) of the least, {least.percent.mean():.2f}% at {least.width}.",
    ]
    if enough is not least:
        both = ls.compare(
            np.concatenate([enough.percent, least.percent]),
            {"width": np.repeat([enough.width, least.width], len(least.percent))},
            {"seed": np.tile(np.arange(len(least.percent)), 2)},
            test_over_train=TEST_OVER_TRAIN,
        )
        lines.append(f"Error by seed, in points: {both.rows[0]}.")
    return "\n".join(lines)


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    answering.answer("width", config, arguments, run=run, report=report, plot=plot)
    return 0


if __name__ == "__main__":
    ls.keep_compiled_programs()
    ls.use_cores_as_devices()
    keeping.start(main)
