"""How well does a stack of logistic units read handwritten digits, and how well a single layer?

Trains a 256-…-10 network of logistic units on 16×16 images of digits, and beside it one logistic
layer, 256-10, in the same way. Prints train and test error with the confusion matrix, and saves
the parameters and figures in a folder that is named after the data and the other settings.

    python experiments/digits.py
    python experiments/digits.py --data usps --seeds 5   # the spread of the error as well
    python experiments/digits.py --data mnist --hidden 800 800

A run that is interrupted goes on where it was when the same command is given again.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dataclasses
import hashlib
import shutil
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import numpy as np
import optax

import logistack as ls
from experiments import keeping

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a stack of logistic units, and one logistic layer beside it, to read digits."""

    data: Literal["digits", "semeion", "usps", "mnist"] = "digits"
    """Which images: 16×16 pixels, or 28×28 of mnist."""
    hidden: tuple[int, ...] = (128, 64)
    """Units of each hidden layer."""
    epochs: int = 30
    """How many times to go through the training images."""
    batch_size: int = 32
    """Images a step."""
    learning_rate: float = 0.02
    """Step size at the start; it falls to 0 along a cosine."""
    seed: int = 0
    """Seeds the initial weights, the shuffles, and the split where none is official."""
    seeds: int = 1
    """How many seeds to train with, this one and those after it; the others tell the spread."""
    out: Path = Path("results/digits")
    """Folder for the parameters and figures."""
    progress: bool = True
    """Show a bar with epoch, loss, accuracy and samples a second."""


class Run(NamedTuple):
    """One trained network: its parameters, history and test logits, one row a test image."""

    params: ls.Params
    history: ls.History
    test_logits: np.ndarray
    seconds: float


class Result(NamedTuple):
    """The data and both networks by the first seed, and the test errors of each by every seed."""

    train: ls.data.Dataset
    test: ls.data.Dataset
    stack: Run
    single: Run
    errors: dict[str, tuple[float, ...]]


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to train."""
    keeping.require_counts(config, "hidden", "epochs", "batch_size", "seeds")
    keeping.require_some(config, "hidden")
    keeping.require_numbers(config, "learning_rate")
    keeping.require_counts(config, "seed", low=0, high=2**32 - config.seeds)


def center(pixels: np.ndarray) -> np.ndarray:
    """Shifts pixels from 0 … 1 to −½ … ½, about which the initial weights are balanced."""
    return pixels - np.float32(0.5)


def make_optimizer(config: Config, samples: int) -> optax.GradientTransformation:
    """SGD with momentum: the rate falls along a cosine, and gradients longer than 10 are cut."""
    steps = config.epochs * -(-samples // config.batch_size)
    return optax.chain(
        optax.clip_by_global_norm(10.0),
        optax.sgd(optax.cosine_decay_schedule(config.learning_rate, max(1, steps)), momentum=0.9),
    )


def unfinished(config: Config) -> Path:
    """The folder for what an interrupted run goes on from; other settings, another folder."""
    settings = dataclasses.replace(config, out=Path(), progress=False)
    return config.out / f"unfinished-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"


def train(
    config: Config, sizes: tuple[int, ...], train: ls.data.Dataset, test: ls.data.Dataset, seed: int
) -> Run:
    """Trains one network of these sizes, measuring its test error after every epoch."""
    key = jax.random.key(seed)
    name = "-".join(map(str, sizes))
    checkpoint = unfinished(config) / f"{name}-seed-{seed}"
    watch = keeping.Stopwatch(checkpoint.with_name(f"{checkpoint.name}.seconds"))
    with ls.callbacks.progress_bar(
        config.epochs, description=name, disable=not config.progress
    ) as show:
        result = ls.fit_with_callbacks(
            key,
            ls.init_params(key, sizes),
            center(train.inputs),
            train.targets,
            optimizer=make_optimizer(config, len(train.labels)),
            epochs=config.epochs,
            batch_size=min(config.batch_size, len(train.labels)),
            validation=(center(test.inputs), test.targets),
            callbacks=[show, watch],
            checkpoint_path=checkpoint,
        )
    # Those of the last epoch, not the best ones: the test images must not choose.
    params = result.state.params
    logits = jax.vmap(ls.logits, in_axes=(None, 0))(params, center(test.inputs))
    return Run(params, result.history, np.asarray(logits), watch.seconds)


def train_both(config: Config, seed: int) -> Result:
    """Trains the stack, and the single layer in the same way."""
    name = "digits16" if config.data == "digits" else config.data
    train_set, test_set = (
        keeping.load(name, split=split, seed=seed) for split in ("train", "test")
    )
    inputs, outputs = train_set.inputs.shape[1], train_set.targets.shape[1]
    stack, single = (
        train(config, (inputs, *hidden, outputs), train_set, test_set, seed)
        for hidden in (config.hidden, ())
    )
    errors: dict[str, tuple[float, ...]] = {
        name_of(run): (float(ls.metrics.error_rate(run.test_logits, test_set.labels)),)
        for run in (single, stack)
    }
    return Result(train_set, test_set, stack, single, errors)


def run(config: Config) -> Result:
    """Trains both networks by every seed."""
    require_config(config)
    first, *others = [
        train_both(config, seed) for seed in range(config.seed, config.seed + config.seeds)
    ]
    # Not before: what is finished would else have to be trained again after an interruption.
    shutil.rmtree(unfinished(config), ignore_errors=True)
    errors = {
        name: sum((other.errors[name] for other in others), own)
        for name, own in first.errors.items()
    }
    return first._replace(errors=errors)


def name_of(run: Run) -> str:
    """The sizes of the layers: 256-128-64-10."""
    return "-".join(str(size) for size in sizes_of(run.params))


def sizes_of(params: ls.Params) -> tuple[int, ...]:
    """Inputs, then the units of each layer."""
    return (params[0].weight.shape[1], *(layer.weight.shape[0] for layer in params))


def plot(result: Result) -> dict[str, "Figure"]:
    """Draws the curves, the confusion matrix, the misclassified digits and the first weights."""
    test, stack = result.test, result.stack
    predicted = np.asarray(ls.metrics.predicted_class(stack.test_logits))
    wrong = np.flatnonzero(predicted != test.labels)[:60]
    runs = {name_of(run): run for run in (stack, result.single)}
    figures = {
        "curves": ls.plots.training_curves(
            {
                "summed training loss (nats)": {
                    name: np.asarray(run.history.loss) for name, run in runs.items()
                },
                "error (%)": {name: percent_wrong(run) for name, run in runs.items()},
            },
            log=["summed training loss (nats)", "error (%)"],
        ),
        "confusion": ls.plots.confusion_matrix(
            np.asarray(ls.metrics.confusion_matrix(stack.test_logits, test.labels)),
            classes=test.classes,
        ),
        "first_layer": ls.plots.weight_images(
            np.asarray(stack.params[0].weight)[:64], test.image_shape
        ),
    }
    if wrong.size:
        figures["misclassified"] = ls.plots.image_grid(
            test.inputs[wrong].reshape(-1, *test.image_shape),
            [f"{test.classes[test.labels[i]]} → {test.classes[predicted[i]]}" for i in wrong],
        )
    return figures


def percent_wrong(run: Run) -> np.ndarray:
    """Training and test error after every epoch, in percent."""
    history = run.history
    return 100 - 100 * np.array([history.accuracy, np.asarray(history.validation_accuracy)])


def report(result: Result) -> str:
    """The errors of both networks and the confusion matrix of the stack, in words."""
    train_set, test = result.train, result.test
    lines = [
        f"{test.name}: {len(train_set.labels):,} training and {len(test.labels):,} test images",
        "",
        f"{'network':<20}{'train error':>13}{'test error':>13}{'test wrong':>13}{'seconds':>10}",
    ]
    for run in (result.single, result.stack):
        test_error = result.errors[name_of(run)][0]
        lines.append(
            f"{name_of(run):<20}{train_error(run, train_set):>13.2%}{test_error:>13.2%}"
            f"{round(test_error * len(test.labels)):>13,}{run.seconds:>10.1f}"
        )
    matrix = ls.metrics.confusion_matrix(result.stack.test_logits, test.labels)
    lines += [
        "",
        f"{name_of(result.stack)} on the test images: the true class down, predicted across",
    ]
    lines.append(" " * 4 + "".join(f"{name:>6}" for name in test.classes))
    for name, row in zip(test.classes, np.asarray(matrix), strict=True):
        lines.append(f"{name:>4}" + "".join(f"{count or '·':>6}" for count in row))
    return "\n".join([*lines, *report_spread(result.errors)])


def report_spread(errors: dict[str, tuple[float, ...]]) -> list[str]:
    """Mean and range of the test errors over the seeds, if there are several."""
    count = len(next(iter(errors.values())))
    if count == 1:
        return []
    rows = [[f"test error over {count} seeds", "mean", "lowest", "highest"]]
    for name, own in errors.items():
        rows.append([name, *(f"{each:.2%}" for each in (sum(own) / count, min(own), max(own)))])
    return ["", *keeping.columns(rows)]


def train_error(run: Run, train_set: ls.data.Dataset) -> float:
    """The error of the trained network over its training images."""
    logits = jax.vmap(ls.logits, in_axes=(None, 0))(run.params, center(train_set.inputs))
    return float(ls.metrics.error_rate(logits, train_set.labels))


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    folder = keeping.folder_of(config, always=("data",))
    keeping.require_folder("out", folder)
    result = run(config)
    print(report(result))
    print()
    for name, part in (("stack", result.stack), ("single_layer", result.single)):
        path = folder / f"{name}.safetensors"
        with keeping.writing(path):
            ls.export.safetensors.save(path, part.params)
        print(f"weights {path}")
    keeping.save_figures(plot(result), folder)
    return 0


if __name__ == "__main__":
    ls.keep_compiled_programs()
    keeping.start(main)
