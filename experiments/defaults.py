"""How good is the classifier as it comes?

First its defaults are chosen, on data that is not shown afterwards: parts of MNIST, and samples
drawn from generators. A round tries every combination of some parameters, from the best of the
round before; all candidates and draws of a data set are trained at once, by
`ls.estimator.StackSearchCV`. The best has the least mean regret, which is the logarithm of the
ratio to the best candidate on a data set, over all data sets and two measures, the error and the
logarithmic loss. No candidate holds samples out to stop early, and none goes through the samples
more often than `MLPClassifier`, 200 times.

Then `StackClassifier`, alone and as a committee of eight, stands beside scikit-learn's
`MLPClassifier` and `LogisticRegression`, all as they come, on ten other data sets over repeated
stratified folds, the same for all. A `StackClassifier` standardizes its inputs; the others are
behind a `StandardScaler`. Differences are paired by fold, with the correction of Nadeau & Bengio
2003, since folds share samples; the intervals of a data set's six pairs hold at once. Of USPS it
is 2,000 images, of every digit its share.

    python experiments/defaults.py            # an hour on two cores
    python experiments/defaults.py --table    # the numbers that are kept, in seconds

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
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

import logistack as ls
from experiments import answering, keeping
from experiments.defaults_data import DEVELOPMENT, REPORTED

STACK, COMMITTEE = "StackClassifier()", "StackClassifier(members=8)"
PERCEPTRON, REGRESSION = "MLPClassifier()", "LogisticRegression()"

PAIRS = [(own, peer) for own in (STACK, COMMITTEE) for peer in (PERCEPTRON, REGRESSION)]
SHORT = {STACK: "one", COMMITTEE: "eight", PERCEPTRON: "MLP", REGRESSION: "LR"}

# What a search tells of each fit, and its name here.
SCORING = {"error": "accuracy", "loss": "neg_log_loss"}
MEASURES = {"error": "test error (%)", "loss": "log loss"}

# The parameters that a round varies, each from the best of the round before.
BEGIN: dict[str, Any] = {
    "hidden_layer_sizes": (100,),
    "batch_size": "auto",
    "epochs": 100,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "patience": None,
}
ROUNDS: dict[str, dict[str, list[Any]]] = {
    "steps": {
        "coordinates": ["plain", "centred"],
        "learning_rate": [0.003, 0.01, 0.03],
        "weight_decay": [0.0, 0.1, 0.3, 1.0, 3.0],
    },
    "length": {
        "batch_size": ["auto", 32],
        "epochs": [100, 200],
        "learning_rate": [0.003, 0.01, 0.02],
        "weight_decay": [0.3, 1.0],
    },
    "shape": {
        "hidden_layer_sizes": [(32,), (100,), (64, 64)],
        "dropout": [0.0, 0.2],
        "label_smoothing": [0.0, 0.05],
    },
    "penalty": {
        "label_smoothing": [0.0, 0.02, 0.05],
        "learning_rate": [0.003, 0.01],
        "weight_decay": [0.3, 1.0],
    },
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choose defaults, and compare a classifier that has them with scikit-learn's."""

    development: tuple[str, ...] = tuple(DEVELOPMENT)
    """Data sets to choose on, by name."""
    rounds: tuple[str, ...] = tuple(ROUNDS)
    """Rounds of the choice, by name; none compares only."""
    data: tuple[str, ...] = tuple(REPORTED)
    """Data sets to compare on, by name."""
    repeats: int = 5
    """How many times to divide the samples into folds."""
    folds: int = 5
    """Folds of each division, of every class as many."""
    seed: int = 0
    """Seeds the folds, the weights and the order of the samples."""
    jobs: int = 2
    """Processes that scikit-learn trains in."""
    table: bool = False
    """Only print the results that are kept, and train nothing."""
    results: Path | None = None
    """File to keep the results in; if none is named, one in the next folder."""
    out: Path = Path("results/defaults")
    """Folder for the results; other settings have a folder in it."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to do, or names what is not there."""
    keeping.require_some(config, "development", "data")
    keeping.require_known("development", config.development, list(DEVELOPMENT))
    keeping.require_known("rounds", config.rounds, list(ROUNDS))
    keeping.require_known("data", config.data, list(REPORTED))
    keeping.require_distinct(config, "development", "rounds", "data")
    keeping.require_counts(config, "repeats", "jobs")
    keeping.require_counts(config, "folds", low=2, high=48)  # as the rarest class has samples
    keeping.require_seed(config)


# --- The choice ----------------------------------------------------------------------------------


def candidates_of(grid: dict[str, list[Any]], base: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of some parameters, and the others as they are."""
    from sklearn.model_selection import ParameterGrid

    return [base | each for each in ParameterGrid(grid)]


def scores_of(
    model: Any, candidates: list[dict[str, Any]], inputs: Any, labels: Any, splits: Any
) -> dict[str, list[list[float]]]:
    """For each measure the scores of each candidate on each split, all trained at once."""
    grid = [{name: [value] for name, value in each.items()} for each in candidates]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of candidates that learn too slowly
        search = ls.estimator.StackSearchCV(
            model, grid, scoring=SCORING, refit=False, cv=splits, error_score="raise"
        ).fit(inputs, labels)
    return {
        measure: _as_measured(
            measure,
            [search.cv_results_[f"split{fold}_test_{measure}"] for fold in range(len(splits))],
        ).T.tolist()
        for measure in SCORING
    }


def _as_measured(measure: str, scores: Any) -> np.ndarray:
    """What scikit-learn scores, to be small: 1 − the accuracy, and the loss."""
    return np.round(1 - np.array(scores) if measure == "error" else -np.array(scores), 6)


def search(config: Config, name: str, candidates: list[dict[str, Any]]) -> dict[str, list[float]]:
    """The means of each candidate on a data set, by measure."""
    data = DEVELOPMENT[name]
    model = ls.estimator.StackClassifier(random_state=config.seed)
    found = scores_of(model, candidates, *data.samples(), data.splits())
    return {name: np.mean(each, axis=1).round(6).tolist() for name, each in found.items()}


def regrets(found: dict[str, dict[str, list[float]]]) -> np.ndarray:
    """How far each candidate is from the best of each data set, `(data, measures, candidates)`.

    The logarithm of the ratio to the best value. To errors and losses half a point is added, so
    that one of no error makes others not infinitely worse.
    """
    rows = np.array([[own[measure] for measure in SCORING] for own in found.values()]) + 0.005
    return np.log(rows / rows.min(axis=2, keepdims=True))


def best_of(found: dict[str, dict[str, list[float]]]) -> int:
    """The place of the candidate of the least mean regret."""
    return int(regrets(found).mean(axis=(0, 1)).argmin())


def choose(config: Config, once: keeping.Once) -> list[dict[str, Any]]:
    """All rounds, each from the best of the one before."""
    best = BEGIN
    rounds = []
    for title in config.rounds:
        candidates = candidates_of(ROUNDS[title], best)
        found = {
            name: once(f"{title}, {name}", functools.partial(search, config, name, candidates))
            for name in config.development
        }
        best = candidates[best_of(found)]
        rounds.append({"round": title, "candidates": candidates, "scores": found})
    return rounds


# --- The comparison ------------------------------------------------------------------------------


def peers(config: Config) -> dict[str, Any]:
    """Those of scikit-learn, as they come, behind what a stack does by itself."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    own = {PERCEPTRON: MLPClassifier(random_state=config.seed), REGRESSION: LogisticRegression()}
    return {name: make_pipeline(StandardScaler(), model) for name, model in own.items()}


def compare_on(config: Config, name: str) -> dict[str, Any]:
    """Errors and losses of all models on each fold of a data set."""
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_validate

    inputs, labels = REPORTED[name]()
    folds = RepeatedStratifiedKFold(
        n_splits=config.folds, n_repeats=config.repeats, random_state=config.seed
    )
    splits = list(folds.split(inputs, labels))
    row: dict[str, Any] = {
        "data": name,
        "samples": len(labels),
        "features": inputs.shape[1],
        "classes": len(np.unique(labels)),
        "error": {},
        "loss": {},
    }
    model = ls.estimator.StackClassifier(random_state=config.seed)
    ours = scores_of(model, [{"members": 1}, {"members": 8}], inputs, labels, splits)
    for measure in SCORING:
        row[measure] |= dict(zip((STACK, COMMITTEE), ours[measure], strict=True))
    for own, peer in peers(config).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that 200 epochs were not enough
            scores = cross_validate(
                peer, inputs, labels, scoring=SCORING, cv=splits, n_jobs=config.jobs
            )
        for measure in SCORING:
            row[measure][own] = _as_measured(measure, scores[f"test_{measure}"]).tolist()
    return row


def run(config: Config, once: keeping.Once = lambda _, find: find()) -> list[dict[str, Any]]:
    """Chooses and compares, keeping what is finished."""
    require_config(config)
    rounds = choose(config, once)
    return rounds + [
        once(name, functools.partial(compare_on, config, name)) for name in config.data
    ]


# --- What comes of it ----------------------------------------------------------------------------


def parts_of(kept: answering.Kept) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rounds of the choice, and the rows of the comparison."""
    found = kept["found"]
    return [own for own in found if "round" in own], [own for own in found if "data" in own]


def chosen(kept: answering.Kept) -> dict[str, Any]:
    """What the last round chose."""
    rounds, _ = parts_of(kept)
    return rounds[-1]["candidates"][best_of(rounds[-1]["scores"])]


def compared(row: dict[str, Any], measure: str, folds: int) -> dict[tuple[str, str], Any]:
    """The pairs of models on one data set, ours and a peer each; all pairs hold at once."""
    models, values = zip(*row[measure].items(), strict=True)
    runs = np.tile(np.arange(len(values[0])), len(models))
    labels = np.repeat(models, len(values[0]))
    scale = 100 if measure == "error" else 1
    comparison = ls.compare(
        scale * np.ravel(values), {"model": labels}, {"fold": runs}, test_over_train=1 / (folds - 1)
    )
    pairs = {(own.first[0], own.second[0]): own for own in comparison.rows}
    return {pair: own for pair, own in pairs.items() if pair in PAIRS}


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown, the first column to the left and the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def means_table(rows: list[dict[str, Any]], measure: str) -> list[str]:
    """The mean of each model on each data set."""
    lines = []
    for row in rows:
        means = [np.mean(values) for values in row[measure].values()]
        cells = [f"{100 * mean:.1f}" if measure == "error" else f"{mean:.3f}" for mean in means]
        counts = [f"{row[name]:,}" for name in ("samples", "features", "classes")]
        lines.append([row["data"], *counts, *cells])
    models = [f"`{model}`" for model in rows[0][measure]]
    return markdown([MEASURES[measure], "samples", "features", "classes", *models], lines)


def differences_table(rows: list[dict[str, Any]], measure: str, folds: int) -> list[str]:
    """The differences of ours and the peers, with their intervals; bold where 0 is left out."""
    digits, lines = (1 if measure == "error" else 3), []
    for row in rows:
        cells = []
        for own in compared(row, measure, folds).values():
            numbers = [f"{each:+.{digits}f}".replace("-", "−") for each in own[4:7]]
            text = f"{numbers[0]} ({numbers[1]} to {numbers[2]})"
            cells.append(f"**{text}**" if own.shown else text)
        lines.append([row["data"], *cells])
    heads = [f"{SHORT[first]} − {SHORT[second]}" for first, second in PAIRS]
    return markdown([MEASURES[measure], *heads], lines)


def counts_table(rows: list[dict[str, Any]], folds: int) -> list[str]:
    """On how many data sets ours is shown to be better, or worse, and on how many neither."""
    lines = []
    for first, second in PAIRS:
        line = [f"`{first}` beside `{second}`"]
        for measure in SCORING:
            each = [compared(row, measure, folds)[first, second] for row in rows]
            better = sum(own.high < 0 for own in each)
            worse = sum(own.low > 0 for own in each)
            line += [f"{better}", f"{len(each) - better - worse}", f"{worse}"]
        lines.append(line)
    names = ("better", "no difference shown", "worse")
    return markdown(["", *(f"{MEASURES[own]}: {each}" for own in SCORING for each in names)], lines)


def choice_table(rounds: list[dict[str, Any]]) -> list[str]:
    """What each round chose, of how many, and how far it is from the best of each data set."""
    lines = [("round", "candidates", "error", "loss", "chosen")]
    for own in rounds:
        candidates, place = own["candidates"], best_of(own["scores"])
        error, loss = np.exp(regrets(own["scores"]).mean(axis=0)[:, place])
        varied = [
            f"{name}={value!r}"
            for name, value in candidates[place].items()
            if any(each[name] != value for each in candidates)
        ]
        ratios = (f"{error:.2f}×", f"{loss:.2f}×")
        lines.append((own["round"], f"{len(candidates)}", *ratios, ", ".join(varied)))
    width = max(len(line[-1]) for line in lines)
    return keeping.columns([(*line[:-1], line[-1].ljust(width)) for line in lines])


def report(kept: answering.Kept) -> str:
    """What was chosen, and the tables of the comparison."""
    rounds, rows = parts_of(kept)
    settings, lines = kept["settings"], []
    if rounds:
        count = len(settings["development"])
        lines += [
            f"Chosen on {count} data sets; error and loss as ratios to the best of each, the "
            "geometric mean:",
            *choice_table(rounds),
            "",
        ]
    lines += [f"Compared over {settings['repeats']} × {settings['folds']} folds:", ""]
    for measure in SCORING:
        lines += [*means_table(rows, measure), ""]
    lines += ["Differences with 95% intervals; below 0 the stack is better:", ""]
    for measure in SCORING:
        lines += [*differences_table(rows, measure, settings["folds"]), ""]
    return "\n".join([*lines, *counts_table(rows, settings["folds"])])


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    answering.answer("defaults", config, arguments, run=run, report=report, plot=lambda _: {})
    return 0


if __name__ == "__main__":
    ls.keep_compiled_programs()
    keeping.start(main)
