"""How deep can a stack of logistic units be and still learn?

Trains networks of 1 to 1,000 hidden layers on the 8×8 digits, five seeds each, from seven starts:
the textbook's, five that differ from it in one thing after the other, and the identity plus noise,
which was published for deep and narrow networks. Each has, at every depth, the learning rate of a
common grid that reads best what is held out of the training digits; the test digits are looked at
once, by the networks trained after that choice on all training digits. The last start has the rate
that `ls.deep_sgd` finds by rule instead, and is trained with 10,000 layers, too.

    python experiments/depth.py                      # some hours on two cores
    python experiments/depth.py --depths 1 4 16 64   # minutes
    python experiments/depth.py --choose --epochs 6  # choose alone, without a test digit
    python experiments/depth.py --rule --epochs 4    # other rates than that by rule
    python experiments/depth.py --table              # the results that are kept, in seconds

Every cell of scheme and depth is kept in a small JSON beside the figures, from which these and the
tables are drawn: the same command again does only what is missing, and says what it did not do.
The repository keeps one, `experiments/results/depth.json`, which is written only if `--results`
names it.
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
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import logistack as ls
from experiments import keeping
from experiments.depth_cells import (
    DEEP,
    LOST,
    OURS,
    SCHEMES,
    Cell,
    Network,
    Result,
    Timing,
    by_scheme,
    depth_of,
    in_order,
    keep,
    mean,
    reaches,
    recall,
)
from experiments.depth_figures import plot
from experiments.depth_tables import report, report_choice, report_rule

# Beyond so many layers the first seed alone judges the rates: deep networks take their time.
JUDGED_BY_ALL = 16

# Rates to compare with that by rule.
MULTIPLES = (0.1, 0.3, 1.0, 3.0, 10.0)

# At how many test digits the Jacobian is looked at.
LOOKED_AT = 10


@dataclasses.dataclass(frozen=True)
class Config:
    """Train stacks of 1 to 10,000 layers of logistic units from seven starts."""

    depths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1000, 10_000)
    """Hidden layers of each network."""
    seeds: int = 5
    """How many networks to train for each start and depth: seeds 0, 1, …"""
    deep: int = 1000
    """Beyond so many hidden layers, only the start whose rate needs no choice is trained."""
    deep_seeds: int = 5
    """How many networks to train there."""
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
    """Use only this many training and test digits, to try the script."""
    choose: bool = False
    """Only choose the rates, and print how well each reads the held-out training digits."""
    rule: bool = False
    """Only try multiples of the rate by rule on the held-out training digits."""
    fresh: bool = False
    """Start over, and replace what --results has."""
    retime: bool = False
    """Time the deepest network again."""
    table: bool = False
    """Only draw the tables and figures of the results that are kept, and train nothing."""
    results: Path | None = None
    """File to keep the results in and to go on from; if none is named, one beside the figures."""
    out: Path = Path("results/depth")
    """Folder for the figures; other settings have a folder in it."""


class Trained(NamedTuple):
    """A network, what it started from, and the seconds it took from its key."""

    start: ls.Params
    fitted: ls.FitResult
    seconds: float


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to train."""
    keeping.require_some(config, "depths", "rates")
    names = ("depths", "seeds", "deep", "deep_seeds", "width", "epochs", "batch_size")
    keeping.require_counts(config, *names)
    keeping.require_numbers(config, "rates")
    keeping.require_counts(config, "samples", low=5)  # of which the fifth is held out


def load(split: str, samples: int | None) -> ls.data.Dataset:
    """Digits with pixels from −½ to ½, about which centred units are balanced."""
    digits = keeping.part_of(keeping.load("digits", split=split), slice(samples))
    return dataclasses.replace(digits, inputs=digits.inputs - np.float32(0.5))


def begin(name: str, seed: int, sizes: Sequence[int]) -> ls.Params:
    """Where a network starts, its equal layers joined."""
    scheme = SCHEMES[name]
    drawn = ls.init_params(jax.random.key(seed), sizes, scheme=scheme.drawn, stacked=True)
    return scheme.change(drawn)


def descend(learning_rate: jax.Array, *, steps: int) -> optax.GradientTransformation:
    """SGD with momentum: the rate falls along a cosine, and gradients longer than 1 are cut."""
    rate = optax.cosine_decay_schedule(learning_rate, steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(rate, momentum=0.9))


def optimizer_of(name: str, depth: int, rate: float, steps: int) -> dict[str, Any]:
    """How `fit` is told a scheme's optimizer."""
    # The rate is an argument of the compiled program, which schemes and seeds share.
    options: dict[str, Any] = {"hyperparams": {"learning_rate": rate}}
    if SCHEMES[name].by_rule:
        optimizer = functools.partial(ls.deep_sgd, depth, steps)
        return {**options, "optimizer": optimizer, "reduction": "mean", "remat": True}
    return {**options, "optimizer": functools.partial(descend, steps=steps)}


def train(
    config: Config, name: str, depth: int, rate: float, seed: int, digits: ls.data.Dataset
) -> Trained:
    """Trains one network."""
    began = time.perf_counter()
    sizes = (digits.inputs.shape[1], *[config.width] * depth, digits.targets.shape[1])
    start = begin(name, seed, sizes)
    batch_size = min(config.batch_size, len(digits.labels))
    steps = config.epochs * -(-len(digits.labels) // batch_size)
    fitted = ls.fit(
        jax.random.key(seed),
        start,
        digits.inputs,
        digits.targets,
        epochs=config.epochs,
        batch_size=batch_size,
        loss=ls.losses.softmax_cross_entropy,
        coordinates=SCHEMES[name].coordinates,
        **optimizer_of(name, depth, rate, steps),
    )
    jax.block_until_ready(fitted)
    return Trained(start, fitted, time.perf_counter() - began)


@jax.jit
def logits_of(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """The logits of all samples, `(n, out)`."""
    return jax.vmap(ls.logits, in_axes=(None, 0))(params, inputs)


@jax.jit
def spectrum_of(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """The singular values of the Jacobian, averaged over samples."""
    return jax.vmap(ls.jacobian_spectrum, in_axes=(None, 0))(params, inputs).mean(axis=0)


def accuracy_of(params: ls.Params, digits: ls.data.Dataset) -> float:
    """The share of the digits that is read correctly."""
    share = float(ls.metrics.accuracy(logits_of(params, digits.inputs), digits.labels))
    return round(share, 6)


def choose(
    config: Config, name: str, depth: int, rates: Sequence[float], digits: ls.data.Dataset
) -> dict[str, float]:
    """How well each rate reads every fifth training digit, having learned the others."""
    held_out = np.arange(len(digits.labels)) % 5 == 4
    learned, judging = (keeping.part_of(digits, rows) for rows in (~held_out, held_out))
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


def rule(depth: int) -> float:
    """The rate that `ls.deep_sgd` has by itself."""
    return short(0.1 / math.sqrt(depth))


def decide(
    config: Config, name: str, depth: int, above: Cell | None, digits: ls.data.Dataset
) -> Cell:
    """A cell without networks yet: its rate is the one that reads most, the smallest of equals.

    Where none learned in the next shallower cell, the rate stays what it was there. A rate by rule
    is that of `ls.deep_sgd`.
    """
    if SCHEMES[name].by_rule:
        return Cell(name, depth, rule(depth), {}, ())
    validation = choose(config, name, depth, candidates(config, above), digits)
    if validation:
        rate = float(max(validation, key=validation.__getitem__))
    else:
        assert above is not None  # or there would be candidates
        rate = above.rate
    return Cell(name, depth, rate, validation, ())


def populate(config: Config, cell: Cell, digits: ls.data.Dataset, test: ls.data.Dataset) -> Cell:
    """Trains the networks that a cell lacks on all training digits."""
    networks = list(cell.networks)
    for seed in range(len(networks), seeds_at(config, cell.depth)):
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
    """Rounds to four significant digits."""
    return float(f"{number:.4g}")


def stopwatch(config: Config, cell: Cell, digits: ls.data.Dataset) -> Timing:
    """Times one network of a cell, first from nothing and then once more."""
    jax.clear_caches()
    first, again = (
        train(config, cell.scheme, cell.depth, cell.rate, 0, digits).seconds for _ in range(2)
    )
    return Timing(cell.scheme, cell.depth, round(first, 2), round(again, 2))


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that decide the numbers of a cell, as in the JSON."""
    names = ("seeds", "width", "epochs", "batch_size", "samples")
    return {**{name: getattr(config, name) for name in names}, "rates": sorted(config.rates)}


def folder_of(config: Config) -> Path:
    """The folder for the figures. Results of all depths are in one."""
    never = (
        "depths",
        "deep",
        "deep_seeds",
        "choose",
        "rule",
        "fresh",
        "retime",
        "table",
        "results",
        "out",
    )
    return keeping.folder_of(config, never=never)


def results_of(config: Config) -> Path:
    """The file that the results are kept in."""
    return config.results or folder_of(config) / "depth.json"


def recall_same(config: Config) -> Result:
    """What has been kept by the same settings; nothing, where there is none or it is to be new."""
    path, settings = results_of(config), settings_of(config)
    if config.fresh or not path.exists():
        return Result(settings)
    try:
        result = recall(path)
    except keeping.RefusedError as error:
        raise keeping.RefusedError(f"{error}: --fresh starts over") from error
    for name, wanted in settings.items():
        if result.settings.get(name) != wanted:
            raise keeping.RefusedError(
                f"results: expected {name} {wanted} in {path}, got {result.settings.get(name)}: "
                "--fresh starts over, --results names another file"
            )
    return result


def run(config: Config, *, command: str = "run(config)") -> Result:
    """Trains what is not kept yet, keeping every cell; returns all that is kept."""
    require_config(config)
    path, result = results_of(config), recall_same(config)
    digits, test = (load(split, config.samples) for split in ("train", "test"))
    lap = time.perf_counter()

    def kept(result: Result) -> Result:
        nonlocal lap
        seconds = result.origin.get("seconds", 0.0) + time.perf_counter() - lap
        lap = time.perf_counter()
        origin = keeping.origin(command, seconds)
        result = result._replace(cells=in_order(result.cells), origin=origin)
        keep(path, result)
        return result

    for depth in sorted(set(config.depths)):
        for name, cells in by_scheme(result).items():
            cell = next((c for c in cells if c.depth == depth), None)
            if cell is None and trained_at(config, name, depth):
                above = max((c for c in cells if c.depth < depth), key=depth_of, default=None)
                cell = decide(config, name, depth, above, digits)
            if cell is None or len(cell.networks) >= seeds_at(config, depth):
                continue
            others = tuple(c for c in result.cells if c[:2] != cell[:2])
            cell = populate(config, cell, digits, test)
            result = kept(result._replace(cells=(*others, cell)))
            print(f"{depth:>5} {name}: {100 * mean(cell):.1f}%", file=sys.stderr, flush=True)
    deepest = by_scheme(result)[OURS][-1]
    if config.retime or result.timing is None or result.timing.depth != deepest.depth:
        result = kept(result._replace(timing=stopwatch(config, deepest, digits)))
    return result


def seeds_at(config: Config, depth: int) -> int:
    """How many networks are trained for each start at a depth."""
    return config.seeds if depth <= config.deep else config.deep_seeds


def trained_at(config: Config, name: str, depth: int) -> bool:
    """Whether a scheme is trained at a depth: the deepest networks only where no rate is chosen."""
    return depth <= config.deep or SCHEMES[name].by_rule


def try_rule(config: Config) -> list[Cell]:
    """How well multiples of the rate by rule read the held-out digits; no test digit is seen."""
    require_config(config)
    digits = load("train", config.samples)
    cells = []
    for depth in sorted(set(config.depths)):
        rates = [short(multiple * rule(depth)) for multiple in MULTIPLES]
        found = choose(config, DEEP, depth, rates, digits)
        cells.append(Cell(DEEP, depth, rule(depth), found, ()))
    return cells


def choose_all(config: Config) -> list[Cell]:
    """Chooses every rate, and leaves the test digits alone."""
    require_config(config)
    digits = load("train", config.samples)
    cells = []
    for name in SCHEMES:
        above = None
        for depth in sorted(set(config.depths)):
            if trained_at(config, name, depth):
                above = decide(config, name, depth, above, digits)
                cells.append(above)
    return cells


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line; 1 if a stack in folded steps reads too little."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    if config.choose:
        print(report_choice(settings_of(config), choose_all(config)))
        return 0
    if config.rule:
        print(report_rule(settings_of(config), try_rule(config), MULTIPLES))
        return 0
    folder, path = folder_of(config), results_of(config)
    keeping.require_folder("out", folder)
    if config.table:
        path = config.results or keeping.KEPT / "depth.json"
        before = result = recall(path)
    else:
        keeping.require_file("results", path)
        before = recall_same(config)
        result = run(config, command=keeping.command_line("depth.py", arguments))
    if before.cells:
        print(f"{len(before.cells)} of {len(result.cells)} cells:", keeping.replayed(before.origin))
        print()
    print(report(result))
    print()
    print(f"results {path}")
    keeping.save_figures(plot(result), folder)
    return 0 if all(map(reaches, by_scheme(result)[OURS])) else 1


if __name__ == "__main__":
    # Compiled programs are not kept: the times are to include the compilation.
    keeping.start(main)
