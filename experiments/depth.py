"""How deep can a stack of logistic units be and still learn?

Trains networks of 1 to 1,000 hidden layers on the 8×8 digits, five seeds each, from five starts:
the textbook's, and four that differ in one thing after the other. Every start has, at every depth,
the learning rate of a common grid that reads best what is held out of the training digits; the
test digits are looked at once, by the networks trained after that choice on all training digits.

    python experiments/depth.py                      # half an hour on two cores
    python experiments/depth.py --depths 1 4 16 64   # minutes
    python experiments/depth.py --choose --epochs 6  # choose alone, without a test digit

Every cell of scheme and depth is kept in a small JSON, `experiments/results/depth.json`, from which
the table and figures are drawn: the same command again does only what is missing.
"""

import dataclasses
import functools
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import optax
import tyro

import logistack as ls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What every stack in folded steps is to read of the test digits, in the mean over seeds.
WANTED = 0.96
CHANCE = 0.1

# Beyond so many layers the first seed alone judges the rates: deep networks take their time.
JUDGED_BY_ALL = 16

# A rate too large, at which no more than this is read, is not tried in deeper networks.
LOST = 2 * CHANCE

# At how many test digits the Jacobian is looked at.
LOOKED_AT = 10


@dataclasses.dataclass(frozen=True)
class Config:
    """Train stacks of 1 to 1,000 layers of logistic units from five starts."""

    depths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1000)
    """Hidden layers of each network."""
    seeds: int = 5
    """Networks in a cell: seeds 0, 1, …"""
    width: int = 64
    """Units of a hidden layer."""
    # Of 6 and 12 what reads most of the held-out digits: `--choose --epochs …`.
    epochs: int = 12
    """How many times to go through the training digits, at every depth."""
    batch_size: int = 32
    """Digits a step."""
    # Folded steps lose at 1, and plain steps at 3 and 10: `--choose --depths 2 4 --rates 3 10`.
    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Learning rates at the start to choose from; they fall to 0 along a cosine."""
    samples: int | None = None
    """Use only so many training and test digits, to try the script."""
    choose: bool = False
    """Only choose the rates, and print how well each reads the held-out training digits."""
    fresh: bool = False
    """Start over, whatever the results have."""
    retime: bool = False
    """Time the deepest network again."""
    results: Path = Path("experiments/results/depth.json")
    """Where the results are kept that the table and figures are drawn from."""
    out: Path = Path("results/depth")
    """Folder for the figures."""


class Scheme(NamedTuple):
    """Where a network starts, and in which coordinates it takes its steps."""

    drawn: str
    change: Callable[[ls.Params], ls.Params]
    coordinates: str


def as_drawn(params: ls.Params) -> ls.Params:
    return params


def quartered(params: ls.Params) -> ls.Params:
    """The textbook's ±√(6 / (in + out)): the library draws with the factor 4 that σ asks for."""
    return jax.tree.map(lambda array: array / 4, params)


def quartered_and_folded(params: ls.Params) -> ls.Params:
    """The network of logistic units that computes what tanh units compute from the textbook's."""
    return ls.fold(quartered(params))


OURS = "centred orthogonal, folded steps"
SCHEMES = {
    "textbook Glorot": Scheme("glorot", quartered, "plain"),
    "4 × Glorot": Scheme("glorot", as_drawn, "plain"),
    "centred Glorot": Scheme("glorot", quartered_and_folded, "plain"),
    "centred orthogonal, plain steps": Scheme("orthogonal", as_drawn, "plain"),
    OURS: Scheme("orthogonal", as_drawn, "centred"),
}


class Network(NamedTuple):
    """One trained network.

    `losses` are summed over the training digits, one an epoch, in nats, and None where the run
    had stopped; `stuck` says that the last is that of the base rate; `largest` and `smallest` are
    singular values of ∂ logits / ∂x at the start, in the mean over a few test digits.
    """

    seed: int
    accuracy: float
    stuck: bool
    seconds: float
    largest: float
    smallest: float
    losses: tuple[float | None, ...]


class Cell(NamedTuple):
    """The networks of one scheme and depth, and the validation accuracy that chose their rate."""

    scheme: str
    depth: int
    rate: float
    validation: dict[str, float]
    networks: tuple[Network, ...]


class Timing(NamedTuple):
    """How long one network takes from nothing, compilation included, and how long once more."""

    scheme: str
    depth: int
    seconds: float
    seconds_compiled: float


class Result(NamedTuple):
    """Everything kept so far: by what settings, in which cells, and how it came about."""

    settings: dict[str, Any]
    cells: tuple[Cell, ...] = ()
    timing: Timing | None = None
    origin: dict[str, Any] = {}  # noqa: RUF012


class Trained(NamedTuple):
    """A network, what it started from, and the seconds it took from its key."""

    start: ls.Params
    fitted: ls.FitResult
    seconds: float


def require_config(config: Config) -> None:
    """Refuses a Config that leaves nothing to train."""
    if min(config.depths, default=0) < 1:
        raise ValueError(f"depths: expected at least one, each at least 1, got {config.depths}")
    if not config.rates or not all(0 < rate < math.inf for rate in config.rates):
        raise ValueError(f"rates: expected at least one, each above 0, got {config.rates}")
    for name in ("seeds", "width", "epochs", "batch_size"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(config, name)}")
    if config.samples is not None and config.samples < 5:  # of which the fifth is held out
        raise ValueError(f"samples: expected at least 5, or None for all, got {config.samples}")


def load(split: str, samples: int | None) -> ls.data.Dataset:
    """Digits with pixels from −½ to ½, about which centred units are balanced."""
    digits = ls.data.load("digits", split=split)
    return dataclasses.replace(
        digits,
        inputs=digits.inputs[:samples] - np.float32(0.5),
        targets=digits.targets[:samples],
        labels=digits.labels[:samples],
    )


def begin(name: str, seed: int, sizes: Sequence[int]) -> ls.Params:
    """Where a network starts, its equal layers joined."""
    scheme = SCHEMES[name]
    drawn = ls.init_params(jax.random.key(seed), sizes, scheme=scheme.drawn)
    return scheme.change(ls.stack(drawn))


def descend(learning_rate: jax.Array, *, steps: int) -> optax.GradientTransformation:
    """SGD with momentum: the rate falls along a cosine, and gradients longer than 1 are cut."""
    rate = optax.cosine_decay_schedule(learning_rate, steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(rate, momentum=0.9))


def train(
    config: Config, name: str, depth: int, rate: float, seed: int, digits: ls.data.Dataset
) -> Trained:
    """Trains one network."""
    began = time.perf_counter()
    sizes = (digits.inputs.shape[1], *[config.width] * depth, digits.targets.shape[1])
    start = begin(name, seed, sizes)
    batch_size = min(config.batch_size, len(digits.labels))
    steps = config.epochs * -(-len(digits.labels) // batch_size)
    # The rate is an argument of the compiled program, which schemes and seeds share.
    fitted = ls.fit(
        jax.random.key(seed),
        start,
        digits.inputs,
        digits.targets,
        optimizer=functools.partial(descend, steps=steps),
        hyperparams={"learning_rate": rate},
        epochs=config.epochs,
        batch_size=batch_size,
        loss=ls.losses.softmax_cross_entropy,
        coordinates=SCHEMES[name].coordinates,
    )
    jax.block_until_ready(fitted)
    return Trained(start, fitted, time.perf_counter() - began)


@jax.jit
def logits_of(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """The logits of all samples, `(n, out)`."""
    return jax.vmap(ls.logits, in_axes=(None, 0))(params, inputs)


@jax.jit
def spectrum_of(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """The singular values of the Jacobian, in the mean over samples."""
    return jax.vmap(ls.jacobian_spectrum, in_axes=(None, 0))(params, inputs).mean(axis=0)


def accuracy_of(params: ls.Params, digits: ls.data.Dataset) -> float:
    """The share of the digits that is read correctly."""
    share = float(ls.metrics.accuracy(logits_of(params, digits.inputs), digits.labels))
    return round(share, 6)


def part(digits: ls.data.Dataset, kept: np.ndarray) -> ls.data.Dataset:
    """The digits that are kept."""
    parts = {name: getattr(digits, name)[kept] for name in ("inputs", "targets", "labels")}
    return dataclasses.replace(digits, **parts)


def choose(
    config: Config, name: str, depth: int, rates: Sequence[float], digits: ls.data.Dataset
) -> dict[str, float]:
    """How well each rate reads every fifth training digit, having learned the others."""
    held_out = np.arange(len(digits.labels)) % 5 == 4
    learned, judging = part(digits, ~held_out), part(digits, held_out)
    seeds = range(config.seeds if depth <= JUDGED_BY_ALL else 1)

    def read(rate: float) -> float:
        runs = (train(config, name, depth, rate, seed, learned) for seed in seeds)
        return float(np.mean([accuracy_of(run.fitted.params, judging) for run in runs]))

    return {f"{rate:g}": round(read(rate), 6) for rate in rates}


def candidates(config: Config, above: Cell | None) -> list[float]:
    """The rates to try, smallest first: those of the next shallower cell, but the lost ones.

    What is smaller than the rate chosen there is kept, for deeper networks take smaller steps.
    Where even that one was lost, none is left.
    """
    if above is None:
        return sorted(config.rates)
    if max(above.validation.values(), default=0.0) <= LOST:
        return []
    rates = {float(rate): share for rate, share in above.validation.items()}
    return [rate for rate, share in rates.items() if rate <= above.rate or share > LOST]


def decide(
    config: Config, name: str, depth: int, above: Cell | None, digits: ls.data.Dataset
) -> Cell:
    """A cell without networks yet: its rate is the one that reads most, the smallest of equals.

    Where none learned in the next shallower cell, the rate stays what it was there.
    """
    validation = choose(config, name, depth, candidates(config, above), digits)
    if validation:
        rate = float(max(validation, key=validation.__getitem__))
    else:
        assert above is not None  # or there would be candidates
        rate = above.rate
    return Cell(name, depth, rate, validation, ())


def populate(config: Config, cell: Cell, digits: ls.data.Dataset, test: ls.data.Dataset) -> Cell:
    """Trains the networks of one cell on all training digits."""
    networks = []
    for seed in range(config.seeds):
        start, fitted, seconds = train(config, cell.scheme, cell.depth, cell.rate, seed, digits)
        spectrum = np.asarray(spectrum_of(start, test.inputs[:LOOKED_AT]))
        losses = fitted.history.loss.tolist()
        networks.append(
            Network(
                seed=seed,
                accuracy=accuracy_of(fitted.params, test),
                stuck=bool(fitted.history.stuck[-1] == 1),
                seconds=round(seconds, 3),
                largest=short(spectrum[0]),
                smallest=short(spectrum[-1]),
                losses=tuple(short(loss) if math.isfinite(loss) else None for loss in losses),
            )
        )
    return cell._replace(networks=tuple(networks))


def short(number: float) -> float:
    """Four digits, which is what a reader can use."""
    return float(f"{number:.4g}")


def stopwatch(config: Config, cell: Cell, digits: ls.data.Dataset) -> Timing:
    """Times one network of a cell, first from nothing and then once more."""
    jax.clear_caches()
    first, again = (
        train(config, cell.scheme, cell.depth, cell.rate, 0, digits).seconds for _ in range(2)
    )
    return Timing(cell.scheme, cell.depth, round(first, 2), round(again, 2))


def settings_of(config: Config) -> dict[str, Any]:
    """What decides the numbers of a cell, as JSON has it."""
    names = ("seeds", "width", "epochs", "batch_size", "samples")
    return {**{name: getattr(config, name) for name in names}, "rates": sorted(config.rates)}


def recall(config: Config) -> Result:
    """What has been kept by the same settings; nothing, where there is none or it is to be new."""
    path, settings = config.results, settings_of(config)
    if config.fresh or not path.exists():
        return Result(settings)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        cells = [
            Cell(**{**cell, "networks": tuple(Network(**each) for each in cell["networks"])})
            for cell in kept["cells"]
        ]
        timing = None if kept["timing"] is None else Timing(**kept["timing"])
        result = Result(kept["settings"], tuple(cells), timing, kept["origin"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"results: expected what this experiment keeps in {path}, got {error!r}: "
            "--fresh starts over"
        ) from error
    for name, wanted in settings.items():
        if result.settings.get(name) != wanted:
            raise ValueError(
                f"results: expected {name} {wanted} in {path}, got {result.settings.get(name)}: "
                "--fresh starts over, --results names another file"
            )
    return result


def keep(path: Path, result: Result) -> None:
    """Writes the results, a line for each network, whole or not at all."""

    def cell_text(cell: Cell) -> str:
        networks = ",\n  ".join(json.dumps(network._asdict()) for network in cell.networks)
        head = json.dumps({**cell._asdict(), "networks": []})
        return head.removesuffix("[]}") + f"[\n  {networks}]}}"

    timing = None if result.timing is None else result.timing._asdict()
    parts = [("settings", result.settings), ("origin", result.origin), ("timing", timing)]
    lines = [f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in parts]
    cells = ",\n".join(map(cell_text, result.cells))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(
        "{" + ",\n".join(lines) + f',\n"cells": [\n{cells}\n]}}\n', encoding="utf-8"
    )
    os.replace(unfinished, path)


def run(config: Config, *, command: str = "run(config)") -> Result:
    """Trains what is not kept yet, keeping every cell; returns all that is kept."""
    require_config(config)
    result = recall(config)
    digits, test = (load(split, config.samples) for split in ("train", "test"))
    lap = time.perf_counter()

    def kept(result: Result) -> Result:
        nonlocal lap
        seconds = result.origin.get("seconds", 0.0) + time.perf_counter() - lap
        lap = time.perf_counter()
        origin = {
            "command": command,
            "jax": jax.__version__,
            "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
            "seconds": round(seconds, 1),
        }
        result = result._replace(cells=in_order(result.cells), origin=origin)
        keep(config.results, result)
        return result

    for depth in sorted(set(config.depths)):
        for name, cells in by_scheme(result).items():
            if depth in (cell.depth for cell in cells):
                continue
            above = max((c for c in cells if c.depth < depth), key=depth_of, default=None)
            cell = populate(config, decide(config, name, depth, above, digits), digits, test)
            result = kept(result._replace(cells=(*result.cells, cell)))
            print(f"{depth:>5} {name}: {100 * mean(cell):.1f}%", file=sys.stderr, flush=True)
    deepest = by_scheme(result)[OURS][-1]
    if config.retime or result.timing is None or result.timing.depth != deepest.depth:
        result = kept(result._replace(timing=stopwatch(config, deepest, digits)))
    return result


def choose_all(config: Config) -> list[Cell]:
    """Chooses every rate, and leaves the test digits alone."""
    require_config(config)
    digits = load("train", config.samples)
    cells = []
    for name in SCHEMES:
        above = None
        for depth in sorted(set(config.depths)):
            above = decide(config, name, depth, above, digits)
            cells.append(above)
    return cells


def depth_of(cell: Cell) -> int:
    return cell.depth


def in_order(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Schemes in their order, each from the shallowest to the deepest."""
    names = list(SCHEMES)
    return tuple(sorted(cells, key=lambda cell: (names.index(cell.scheme), cell.depth)))


def by_scheme(result: Result) -> dict[str, list[Cell]]:
    """The cells of each scheme, shallowest first; where there are none yet, none."""
    cells = in_order(result.cells)
    return {name: [cell for cell in cells if cell.scheme == name] for name in SCHEMES}


def accuracies(cell: Cell) -> np.ndarray:
    """The test accuracy of each seed."""
    return np.array([network.accuracy for network in cell.networks])


def mean(cell: Cell) -> float:
    """The test accuracy in the mean over seeds."""
    return float(accuracies(cell).mean())


def reaches(cell: Cell) -> bool:
    """Whether a cell reads what is wanted."""
    return mean(cell) >= WANTED


def plot(result: Result) -> dict[str, "Figure"]:
    """Draws accuracy by depth as lines and as a table of colors, and the loss by epoch."""
    import matplotlib

    with matplotlib.rc_context(ls.plots.STYLE):
        figures = {
            "depth": draw_lines(result),
            "depth-map": draw_map(result),
            "depth-curves": draw_curves(result),
        }
        for figure in figures.values():
            figure.draw_without_rendering()
    return figures


def draw_lines(result: Result) -> "Figure":
    """Test accuracy by depth: a line for each scheme, and a band from its worst to its best seed.

    A line's name stands where the line falls, scheme after scheme further down; or at its end.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.5))
    axes = figure.add_subplot()
    schemes = {name: cells for name, cells in by_scheme(result).items() if cells}
    for index, (name, cells) in enumerate(schemes.items()):
        # Ours comes last, in the first color.
        color = ls.plots.PALETTE[len(schemes) - 1 - index]
        depths = [cell.depth for cell in cells]
        each = 100 * np.array([accuracies(cell) for cell in cells])
        middle = each.mean(axis=1)
        ours = name == OURS
        axes.fill_between(depths, each.min(axis=1), each.max(axis=1), color=color, alpha=0.2, lw=0)
        axes.plot(
            depths,
            middle,
            color=color,
            marker=ls.plots.MARKERS[len(schemes) - 1 - index],
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.5,
            linewidth=1.8 if ours else 1.1,
            label=name,
        )
        label_line(axes, name, np.log(depths), middle, height=70 - 12 * index, color=color)
    axes.axhline(100 * CHANCE, color=ls.plots.GREY, linestyle=":", linewidth=0.8, zorder=0)
    axes.annotate(
        "chance",
        (1, 100 * CHANCE),
        (2, -3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="top",
        ha="right",
        color=ls.plots.GREY,
        fontsize=8,
    )
    show_depths(axes, result)
    axes.set(ylabel="test accuracy (%)", ylim=(0, 109), yticks=range(0, 101, 20))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def label_line(
    axes: "Axes", name: str, at: np.ndarray, values: np.ndarray, *, height: float, color: str
) -> None:
    """Writes a line's name beside its last fall through a height, or at its end: ours over it."""
    falls = np.flatnonzero((values[:-1] >= height) & (values[1:] < height))
    if len(falls):
        i = falls[-1]
        share = (values[i] - height) / (values[i] - values[i + 1])
        x, y = at[i] + share * (at[i + 1] - at[i]), height
        left = x - at[0] > 0.6 * (at[-1] - at[0])  # where there is room
        offset, across, up = ((-6, 0), "right", "center") if left else ((6, 0), "left", "center")
    elif values[-1] >= height:
        x, y, across = at[-1], values[-1], "right"
        offset, up = ((0, 6), "bottom") if name == OURS else ((0, -7), "top")
    else:
        x, y, offset, across, up = at[0], values[0], (6, 6), "left", "bottom"
    axes.annotate(
        name,
        (math.exp(x), y),
        offset,
        textcoords="offset points",
        ha=across,
        va=up,
        color=color,
        fontweight="bold" if name == OURS else "normal",
    )


def show_depths(axes: "Axes", result: Result) -> None:
    """A logarithmic axis of depths, each of them written out."""
    from matplotlib.ticker import NullLocator

    depths = sorted({cell.depth for cell in result.cells})
    axes.set(xscale="log", xlabel="hidden layers")
    axes.set_xticks(depths, [f"{depth:,}" for depth in depths])
    axes.xaxis.set_minor_locator(NullLocator())


def draw_map(result: Result) -> "Figure":
    """Mean test accuracy in percent: schemes down, depths across, white at chance."""
    from matplotlib.figure import Figure

    depths = sorted({cell.depth for cell in result.cells})
    schemes = {name: cells for name, cells in by_scheme(result).items() if cells}
    shares = np.full((len(schemes), len(depths)), np.nan)
    for row, cells in enumerate(schemes.values()):
        for cell in cells:
            shares[row, depths.index(cell.depth)] = 100 * mean(cell)
    figure = Figure(figsize=(2.6 + 0.5 * len(depths), 0.8 + 0.36 * len(schemes)))
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=100 * CHANCE, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            color = "white" if share > 62 else "black"
            axes.text(
                column, row, f"{share:.1f}", ha="center", va="center", color=color, fontsize=8
            )
    axes.set_xticks(range(len(depths)), [f"{depth:,}" for depth in depths])
    axes.set_yticks(range(len(schemes)), list(schemes))
    axes.set_xlabel("hidden layers")
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="test accuracy (%)", ticks=[10, 40, 70, 100], pad=0.02)
    return figure


CONTRAST = "4 × Glorot"


def draw_curves(result: Result) -> "Figure":
    """The loss by epoch, in the mean over seeds: a line for each depth, a panel for two schemes."""
    import matplotlib
    from matplotlib.colors import BoundaryNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    depths = sorted({cell.depth for cell in result.cells})
    colors = matplotlib.colormaps["viridis_r"].resampled(max(2, len(depths)))
    figure = Figure(figsize=(6.4, 2.9))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, name in zip(panels, (CONTRAST, OURS), strict=True):
        for cell in by_scheme(result)[name]:
            losses = np.array([network.losses for network in cell.networks], float).mean(axis=0)
            color = colors(depths.index(cell.depth))
            axes.plot(np.arange(1, len(losses) + 1), losses, color=color, label=f"{cell.depth}")
        axes.set(title=name, xlabel="epoch", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("summed training loss (nats)")
    edges = np.arange(colors.N + 1) - 0.5
    scale = matplotlib.cm.ScalarMappable(BoundaryNorm(edges, colors.N), colors)
    bar = figure.colorbar(scale, ax=panels, label="hidden layers", pad=0.02)
    bar.set_ticks(range(len(depths)), labels=[f"{depth:,}" for depth in depths])
    bar.ax.tick_params(length=0)
    return figure


def report(result: Result) -> str:
    """The accuracies by scheme and depth, what they hang on, and how long the deepest took."""
    settings, origin = result.settings, result.origin
    rates = ", ".join(f"{rate:g}" for rate in settings["rates"])
    lines = [
        f"8×8 digits, layers {settings['width']} wide, {settings['epochs']} epochs, "
        f"{settings['seeds']} seeds; every rate chosen from {rates}",
        "on every fifth training digit, held out; the test digits chose nothing",
    ]
    lines += table(result, "test accuracy (%), mean over seeds", lambda c: f"{100 * mean(c):.1f}")
    lines += table(
        result, "test accuracy (%), lowest seed", lambda c: f"{100 * accuracies(c).min():.1f}"
    )
    lines += table(result, "seeds stuck at the base rate", lambda c: f"{total_stuck(c)}")
    lines += table(result, "training loss at the end (nats), mean over seeds", last_loss)
    lines += table(result, RATES, chosen)
    for field in ("largest", "smallest"):
        lines += table(
            result,
            f"{field} singular value of ∂ logits / ∂x at the start, mean over seeds",
            functools.partial(singular, field=field),
        )
    lines += table(result, "seconds a network, median over seeds", seconds)
    ours = by_scheme(result)[OURS]
    short_of = [f"{cell.depth:,}" for cell in ours if not reaches(cell)]
    lines += [
        "",
        f"{OURS}: at least {WANTED:.0%} "
        + (f"but at {', '.join(short_of)} layers" if short_of else "at every depth"),
    ]
    if result.timing is not None:
        timing = result.timing
        lines.append(
            f"one stack of {timing.depth:,} layers, {timing.scheme}: drawn, compiled and trained "
            f"in {timing.seconds:.1f} s; once compiled, in {timing.seconds_compiled:.1f} s"
        )
    if origin:
        lines.append(
            f"{origin['command']}  (JAX {origin['jax']}, {origin['device']}, "
            f"{origin['seconds']:,.0f} s in all)"
        )
    return "\n".join(lines)


def table(result: Result, title: str, show: Callable[[Cell], str]) -> list[str]:
    """A line for each scheme, a column for each depth."""
    depths = sorted({cell.depth for cell in result.cells})
    margin = max(map(len, SCHEMES)) + 1
    lines = ["", title, " " * margin + "".join(f"{depth:>9,}" for depth in depths)]
    for name, cells in by_scheme(result).items():
        shown = {cell.depth: show(cell) for cell in cells}
        lines.append(f"{name:<{margin}}" + "".join(f"{shown.get(d, '–'):>9}" for d in depths))
    return lines


RATES = "learning rate chosen; in brackets where none has learned"


def chosen(cell: Cell) -> str:
    learned = max(cell.validation.values(), default=0.0) > LOST
    return f"{cell.rate:g}" if learned else f"({cell.rate:g})"


def total_stuck(cell: Cell) -> int:
    return sum(network.stuck for network in cell.networks)


def last_loss(cell: Cell) -> str:
    """The mean of the last losses; a run that has stopped has none."""
    losses = [network.losses[-1] for network in cell.networks]
    known = [loss for loss in losses if loss is not None]
    return f"{np.mean(known):.3g}" if len(known) == len(losses) else "–"


def singular(cell: Cell, field: str) -> str:
    return f"{np.mean([getattr(network, field) for network in cell.networks]):.1e}"


def seconds(cell: Cell) -> str:
    return f"{np.median([network.seconds for network in cell.networks]):.1f}"


def report_choice(config: Config, cells: Sequence[Cell]) -> str:
    """The accuracy on held-out training digits at the rate that was chosen."""
    result = Result(settings_of(config), tuple(cells))
    lines = [f"{config.epochs} epochs, no test digit looked at"]
    lines += table(
        result,
        "accuracy on held-out training digits (%), at the rate chosen",
        lambda c: f"{100 * max(c.validation.values()):.1f}" if c.validation else "–",
    )
    lines += table(result, RATES, chosen)
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Runs the experiment from the command line; 1 if a stack in folded steps reads too little."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = tyro.cli(Config, args=arguments)
    if config.choose:
        print(report_choice(config, choose_all(config)))
        return 0
    result = run(config, command=shlex.join(["python", "experiments/depth.py", *arguments]))
    print(report(result))
    print()
    print(f"results {config.results}")
    for name, figure in plot(result).items():
        path = config.out / f"{name}.png"
        ls.plots.save(figure, path)
        print(f"figure  {path}")
    return 0 if all(map(reaches, by_scheme(result)[OURS])) else 1


if __name__ == "__main__":
    # Compiled programs are not kept: the times are to include the compilation.
    sys.exit(main())
