"""Is a network better than logistic regression, and is ours another than scikit-learn's?

Ten times ten folds on each of three data sets, all hundred of them in one call: a fold is a row of
weights over one copy of the samples. On the same folds scikit-learn trains LogisticRegression, as
it comes, and MLPClassifier, which is told what our network is told: the same hidden units, epochs,
batches and steps of Adam, and no penalty; but a batch of ours has, on average, a tenth of samples
that are held out and do not count. Nothing was tuned for any of them. Differences are paired by
fold, and tested with the correction of Nadeau & Bengio 2003, since folds share samples.

Tables are standardized by the mean and deviation of each fold's own training samples. The members
of a population share their inputs, so a member's standardization is in its first layer,
W (x − μ) / σ + b = (W / σ) x + (b − W μ / σ), and Adam takes its steps in W and b: the member is
trained exactly as it would be on standardized inputs.

    python experiments/cross_validation.py            # minutes on two cores
    python experiments/cross_validation.py --table    # the numbers that are kept, in seconds

A run that is interrupted goes on behind the last data set that was finished when the same command
is given again.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments import answering, keeping

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETWORK, PERCEPTRON, REGRESSION = "logistack", "MLPClassifier", "LogisticRegression"


class Table(NamedTuple):
    """A data set: float64 inputs, classes from 0 on, and whether each fold standardizes it."""

    inputs: np.ndarray
    labels: np.ndarray
    standardized: bool


def semeion() -> Table:
    digits = keeping.load("semeion")
    # Pixels have one unit; their middle is known without any sample.
    return Table(np.asarray(digits.inputs, float) - 0.5, digits.labels, False)


def breast_cancer() -> Table:
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    return Table(inputs, labels, True)


def wine() -> Table:
    from sklearn.datasets import load_wine

    inputs, labels = load_wine(return_X_y=True)
    return Table(inputs, labels, True)


DATA = {"semeion": semeion, "breast cancer": breast_cancer, "wine": wine}


@dataclasses.dataclass(frozen=True)
class Config:
    """Compare a network with scikit-learn's over repeated folds."""

    data: tuple[str, ...] = tuple(DATA)
    """Data sets: semeion, "breast cancer", wine."""
    repeats: int = 10
    """How many times to divide the samples into folds."""
    folds: int = 10
    """Folds of each division, of every class as many."""
    hidden: int = 32
    """Units of the hidden layer."""
    epochs: int = 60
    """How many times to go through the samples."""
    batch_size: int = 32
    """Samples a step."""
    learning_rate: float = 0.003
    """Learning rate of Adam."""
    seed: int = 0
    """Seeds the folds, the weights and the order of the samples."""
    jobs: int = 2
    """Processes that scikit-learn trains in."""
    table: bool = False
    """Only print and draw the results that are kept, and train nothing."""
    results: Path | None = None
    """File to keep the results in; if none is named, one beside the figures."""
    out: Path = Path("results/cross_validation")
    """Folder for the figures; other settings have a folder in it."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to train."""
    keeping.require_some(config, "data")
    keeping.require_known("data", config.data, list(DATA))
    keeping.require_counts(config, "repeats", "hidden", "epochs", "jobs")
    keeping.require_counts(config, "folds", low=2, high=48)  # as the rarest class has samples
    keeping.require_counts(config, "batch_size", high=89)  # as the smallest training set
    keeping.require_numbers(config, "learning_rate")
    keeping.require_seed(config)


# --- Standardization in the first layer ----------------------------------------------------------


class Affine(NamedTuple):
    """What standardizes inputs, x ↦ (x − mean) / scale, and the state of an optimizer."""

    mean: Any
    scale: Any
    inner: Any


def absorbed(params: ls.Params, mean: Any, scale: Any) -> ls.Params:
    """The network of x that is `params` of (x − mean) / scale."""
    (weight, bias), *rest = params
    weight = weight / scale[None]
    return (ls.Layer(weight, bias - weight @ mean), *rest)


def in_standardized(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Has an optimizer take its steps in the parameters of standardized inputs.

    θ = absorbed(φ) is linear in φ, so that the gradient with respect to φ is its transpose applied
    to that with respect to θ, and a step of φ is a step of `absorbed` of it. The optimizer may not
    look at the parameters themselves.
    """

    def init(params: ls.Params) -> Affine:
        mean, scale = (make(params[0].weight.shape[1]) for make in (jnp.zeros, jnp.ones))
        return Affine(mean, scale, optimizer.init(params))

    def update(gradients: ls.Params, state: Affine, params: Any = None) -> tuple[ls.Params, Affine]:
        del params
        mean, scale, inner = state
        (weight, bias), *rest = gradients
        weight = (weight - jnp.outer(bias, mean)) / scale[None]
        step, inner = optimizer.update((ls.Layer(weight, bias), *rest), inner)
        return absorbed(step, mean, scale), state._replace(inner=inner)

    return optax.GradientTransformation(init, update)


# --- The three models ----------------------------------------------------------------------------


def divide(config: Config, table: Table) -> np.ndarray:
    """Which samples each fold tests on, `(repeats × folds, n)`."""
    from sklearn.model_selection import RepeatedStratifiedKFold

    folds = RepeatedStratifiedKFold(
        n_splits=config.folds, n_repeats=config.repeats, random_state=config.seed
    )
    tested = np.zeros((config.repeats * config.folds, len(table.labels)), bool)
    for own, (_, places) in zip(tested, folds.split(table.inputs, table.labels), strict=True):
        own[places] = True
    return tested


def moments(inputs: np.ndarray, learned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and deviation of each fold's training samples; 1 where nothing varies."""
    each = [inputs[own] for own in learned]
    mean, scale = (np.array([f(own, axis=0) for own in each]) for f in (np.mean, np.std))
    return mean, np.where(scale > 0, scale, 1.0)


def train(config: Config, table: Table, tested: np.ndarray) -> ls.Params:
    """Trains a network on each fold, all in one call, and returns them, of the inputs as used.

    Those are standardized over all samples, for float32 alone: what each fold's standardization
    makes of them is what it would make of the table.
    """
    inputs, learned = shared_inputs(table), ~tested
    members, features = len(tested), inputs.shape[1]
    mean, scale = np.zeros((members, features)), np.ones((members, features))
    if table.standardized:
        mean, scale = moments(inputs, learned)
    optimizer = in_standardized(optax.adam(config.learning_rate))
    sizes = (features, config.hidden, table.labels.max() + 1)

    def begin(key: jax.Array, mean: jax.Array, scale: jax.Array) -> ls.TrainState:
        params = absorbed(ls.init_params(key, sizes), mean, scale)
        state = ls.init_state(params, optimizer)
        return state._replace(opt_state=state.opt_state._replace(mean=mean, scale=scale))

    keys = jax.random.split(jax.random.key(config.seed), members)
    return ls.fit_population(
        keys,
        jax.jit(jax.vmap(begin))(keys, *(np.asarray(each, np.float32) for each in (mean, scale))),
        inputs.astype(np.float32),
        table.labels,
        optimizer=optimizer,
        epochs=config.epochs,
        batch_size=config.batch_size,
        reduction="mean",  # as MLPClassifier has it
        loss=ls.losses.softmax_cross_entropy,
        sample_weight=learned,
    ).params


def shared_inputs(table: Table) -> np.ndarray:
    """The inputs that all members share."""
    if not table.standardized:
        return table.inputs
    (mean,), (scale,) = moments(table.inputs, np.ones((1, len(table.inputs)), bool))
    return (table.inputs - mean) / scale


@jax.jit
def _predicted(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """The class that each network gives each sample, `(members, n)`."""
    over_samples = jax.vmap(ls.predict, in_axes=(None, 0))
    return jax.vmap(over_samples, in_axes=(0, None))(params, inputs)


def errors_of_network(config: Config, table: Table, tested: np.ndarray) -> np.ndarray:
    """Our network's share of errors on each fold."""
    params = train(config, table, tested)
    wrong = np.asarray(_predicted(params, shared_inputs(table).astype(np.float32))) != table.labels
    return (wrong & tested).sum(axis=1) / tested.sum(axis=1)


def errors_of_peer(model: Any, config: Config, table: Table, tested: np.ndarray) -> np.ndarray:
    """The share of errors of a classifier of scikit-learn on each fold."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import cross_validate
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if table.standardized:
        model = make_pipeline(StandardScaler(), model)
    folds = [(np.flatnonzero(~own), np.flatnonzero(own)) for own in tested]
    with warnings.catch_warnings():
        # MLPClassifier, of having gone through the samples as often as it was told to.
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_validate(model, table.inputs, table.labels, cv=folds, n_jobs=config.jobs)
    return 1 - scores["test_score"]


def peers(config: Config) -> dict[str, Any]:
    """The classifiers of scikit-learn."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    perceptron = MLPClassifier(
        (config.hidden,),
        activation="logistic",
        alpha=0.0,
        batch_size=config.batch_size,
        learning_rate_init=config.learning_rate,
        max_iter=config.epochs,
        n_iter_no_change=config.epochs,
        random_state=config.seed,
    )
    return {PERCEPTRON: perceptron, REGRESSION: LogisticRegression(max_iter=1_000)}


def validate(config: Config, name: str) -> dict[str, Any]:
    """The errors of all three on each fold of a data set, and the seconds that each took."""
    table = DATA[name]()
    tested = divide(config, table)
    models: dict[str, Callable[[Config, Table, np.ndarray], np.ndarray]] = {
        NETWORK: errors_of_network,
        **{own: functools.partial(errors_of_peer, peer) for own, peer in peers(config).items()},
    }
    errors, seconds = {}, {}
    for model, errors_of in models.items():
        began = time.perf_counter()
        errors[model] = errors_of(config, table, tested).round(6).tolist()
        seconds[model] = round(time.perf_counter() - began, 1)
    return {
        "data": name,
        "samples": len(table.labels),
        "features": table.inputs.shape[1],
        "errors": errors,
        "seconds": seconds,
    }


def run(config: Config, once: keeping.Once = lambda _, find: find()) -> list[dict[str, Any]]:
    """Validates on each data set, keeping what is finished."""
    require_config(config)
    return [once(name, functools.partial(validate, config, name)) for name in config.data]


# --- What comes of it ----------------------------------------------------------------------------


def labels_of(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The errors in percent, with the model and the fold of each."""
    models, errors = zip(*row["errors"].items(), strict=True)
    values = 100 * np.array(errors)
    folds = np.tile(np.arange(values.shape[1]), len(models))
    return values.ravel(), np.repeat(models, values.shape[1]), folds


def compared(row: dict[str, Any], folds: int) -> ls.Comparison:
    """The models beside each other on one data set."""
    values, models, runs = labels_of(row)
    shared = 1 / (folds - 1)
    return ls.compare(values, {"model": models}, {"fold": runs}, test_over_train=shared)


def plot(kept: answering.Kept) -> dict[str, "Figure"]:
    """Draws the differences of the models with their intervals, a figure for each data set."""
    return {
        f"cross-validation-{row['data'].replace(' ', '-')}": ls.plots.differences(
            compared(row, kept["settings"]["folds"]), quantity="test error (points)"
        )
        for row in kept["found"]
    }


def report(kept: answering.Kept) -> str:
    """The errors, and what the differences between them show."""
    settings = kept["settings"]
    rows = [("", "samples", "features", "model", "error (%)", "std", "seconds")]
    verdicts = []
    for row in kept["found"]:
        values, models, _ = labels_of(row)
        for own in ls.summarize(values, {"model": models}).rows:
            (model,) = own.setting
            first = model == NETWORK
            rows.append(
                (
                    row["data"] if first else "",
                    f"{row['samples']:,}" if first else "",
                    f"{row['features']}" if first else "",
                    model,
                    f"{own.mean:.2f}",
                    f"{own.std:.2f}",
                    f"{row['seconds'][model]:.1f}",
                )
            )
        verdicts += [f"{row['data']}: {each}" for each in compared(row, settings["folds"]).rows]
    return "\n".join(
        [
            f"{settings['repeats']} × {settings['folds']} folds: mean error, and its deviation "
            "over folds",
            *keeping.columns(rows, left=1),
            "",
            "Errors, in points, with 95% intervals:",
            *verdicts,
        ]
    )


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    answering.answer("cross_validation", config, arguments, run=run, report=report, plot=plot)
    return 0


if __name__ == "__main__":
    ls.keep_compiled_programs()
    ls.use_cores_as_devices()
    keeping.start(main)
