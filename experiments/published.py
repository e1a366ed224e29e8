"""Do plain logistic units still keep up with the figures published for them?

Trains the networks of the literature on the same official splits, five seeds each, and puts the
errors beside the published ones. Recipes are chosen on a part of the training images; the test
images are looked at once, by the networks trained after that choice on all of the training images.

    python experiments/published.py                       # everything: hours on two cores
    python experiments/published.py --rows usps semeion   # minutes
    python experiments/published.py --table               # the results that are kept, in seconds

Every finished network is kept, and an unfinished one goes on from its checkpoint: the same command
again continues. What the table is drawn from is a small JSON beside the checkpoints: a row that is
whole there is not trained again. The repository keeps one, `experiments/results/published.json`,
which `--table` prints, and which is written only if `--results` names it.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments import keeping
from experiments.published_rows import ROWS, Recipe, Row

SEEDS = 5  # of which mean and standard deviation are taken
FOLDS = 5


@dataclasses.dataclass(frozen=True)
class Config:
    """Train the networks of the literature on official splits, and compare."""

    rows: tuple[str, ...] = ()
    """Which rows of the table; all if none is named."""
    table: bool = False
    """Only print the table of the results that are kept, and train nothing."""
    results: Path | None = None
    """File to keep the results in and to go on from; if none is named, one in the next folder."""
    out: Path = Path("results/published")
    """Folder for checkpoints and for the logits of finished networks."""
    samples: int | None = None
    """Use only this many training and test images, to try the script."""
    epochs: int | None = None
    """Train for this many epochs, to try the script."""
    progress: bool = True
    """Show a bar for every network."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config asks for something that does not exist."""
    keeping.require_known("rows", config.rows, list(ROWS))
    keeping.require_counts(config, "epochs")
    keeping.require_counts(config, "samples", low=100)  # more than there are components


def results_of(config: Config) -> Path:
    """The file that the results are kept in."""
    if config.results is not None:
        return config.results
    never = ("rows", "table", "results", "out", "progress")
    return keeping.folder_of(config, never=never) / "published.json"


def load(data: str, samples: int | None) -> tuple[ls.data.Dataset, ls.data.Dataset | None]:
    """Training and test images in their official split; Semeion has none, and is all training."""
    rows = slice(samples)
    if data == "semeion":
        return keeping.part_of(keeping.load(data), rows), None
    train, test = (
        keeping.part_of(keeping.load(data, split=split), rows) for split in ("train", "test")
    )
    return train, test


def optimizer_of(recipe: Recipe, samples: int) -> optax.GradientTransformation:
    """Clipping, then SGD with momentum or Adam, whose rate falls to 0 along a cosine."""
    steps = recipe.epochs * -(-samples // recipe.batch_size)
    rate = optax.cosine_decay_schedule(recipe.learning_rate, max(1, steps))
    step = optax.sgd(rate, momentum=0.9) if recipe.optimizer == "sgd" else optax.adam(rate)
    return optax.chain(optax.clip_by_global_norm(recipe.clip), step)


def deform(key: jax.Array, x: jax.Array, *, shape: tuple[int, int]) -> jax.Array:
    """One image, deformed anew."""
    return ls.data.augment(key, x.reshape(shape)).reshape(-1)


def add_noise(key: jax.Array, x: jax.Array, *, deviation: float) -> jax.Array:
    """One sample with normal noise."""
    return x + deviation * jax.random.normal(key, x.shape, x.dtype)


def change_of(recipe: Recipe, shape: tuple[int, int]) -> Callable[..., jax.Array] | None:
    """What happens to a sample anew in every epoch."""
    if recipe.deform:
        return functools.partial(deform, shape=shape)
    return functools.partial(add_noise, deviation=recipe.noise) if recipe.noise else None


def features_of(recipe: Recipe, pixels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The map from pixels to the network's inputs, computed from the training pixels."""
    if not recipe.components:
        return lambda x: x - np.float32(recipe.shift)
    mean = pixels.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov(pixels.astype(np.float64), rowvar=False))
    largest = np.argsort(variances)[::-1][: recipe.components]
    matrix = directions[:, largest] / variances[largest] ** (recipe.whitening / 2)
    return lambda x: ((x - mean) @ matrix).astype(np.float32)


def train(
    recipe: Recipe,
    seed: int,
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    shape: tuple[int, int],
    folder: Path,
    progress: bool,
) -> tuple[ls.Params, float]:
    """Trains one network on samples; goes on from its checkpoint if there is one.

    Returns its parameters and the seconds it took.
    """
    sizes = (inputs.shape[1], *recipe.hidden, targets.shape[1])
    name = "-".join(map(str, sizes)) + f" seed {seed}"
    watch = keeping.Stopwatch(folder / "seconds")
    with ls.callbacks.progress_bar(recipe.epochs, description=name, disable=not progress) as show:
        result = ls.fit_with_callbacks(
            jax.random.key(seed),
            ls.init_params(jax.random.key(seed), sizes),
            inputs,
            targets,
            optimizer=optimizer_of(recipe, len(inputs)),
            epochs=recipe.epochs,
            batch_size=min(recipe.batch_size, len(inputs)),
            loss=ls.losses.softmax_cross_entropy,
            dropout=recipe.dropout,
            label_smoothing=recipe.label_smoothing,
            ema_decay=recipe.ema_decay,
            coordinates=recipe.coordinates,
            augment=change_of(recipe, shape),
            callbacks=[show, watch],
            checkpoint_path=folder / "checkpoint",
            save_every=5,
        )
    return result.params, watch.seconds


@jax.jit
def logits_of(params: ls.Params, inputs: jax.Array) -> jax.Array:
    """The logits of all images, `(n, out)`."""
    return jax.vmap(ls.logits, in_axes=(None, 0))(params, inputs)


def judged(
    recipe: Recipe,
    seed: int,
    dataset: ls.data.Dataset,
    judges: ls.data.Dataset,
    kept: np.ndarray,
    judging: np.ndarray,
    **options: Any,
) -> tuple[np.ndarray, float]:
    """Logits of the judging images, from a network trained on the kept ones."""
    features = features_of(recipe, dataset.inputs[kept])
    inputs, targets = features(dataset.inputs[kept]), dataset.targets[kept]
    params, seconds = train(recipe, seed, inputs, targets, shape=dataset.image_shape, **options)
    return np.asarray(logits_of(params, features(judges.inputs[judging]))), seconds


class Book:
    """The results so far, in one JSON file that is whole after every entry."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Any] = keeping.read_json(path) if path.exists() else {}

    def keep(self, row: str, part: str, value: Any) -> None:
        """Sets one part of a row and writes the file."""
        self.entries.setdefault(row, {})[part] = value
        keeping.write_whole(self.path, json.dumps(self.entries, indent=1) + "\n")


def validation_part(dataset: ls.data.Dataset) -> np.ndarray:
    """Which training images the choice of a recipe is judged by: every sixth."""
    return np.arange(len(dataset.labels)) % 6 == 5


def choose(name: str, row: Row, book: Book, config: Config, dataset: ls.data.Dataset) -> Recipe:
    """The candidate with the fewest errors on the validation part of the training images."""
    if len(row.candidates) == 1:
        return row.candidates[0]
    held_out = validation_part(dataset)
    known = {entry["recipe"]: entry for entry in book.entries.get(name, {}).get("choice", [])}
    tried = []
    for recipe in row.candidates:
        label = described(recipe)
        if label not in known:
            wrong, seconds = [], 0.0
            for seed in range(row.seeds_of_choice):
                folder = folder_of(config, name, recipe, f"choice-{seed}")
                logits, took = judged(
                    recipe,
                    seed,
                    dataset,
                    dataset,
                    ~held_out,
                    held_out,
                    folder=folder,
                    progress=config.progress,
                )
                shutil.rmtree(folder, ignore_errors=True)
                wrong.append(int((logits.argmax(1) != dataset.labels[held_out]).sum()))
                seconds += took
            known[label] = {
                "recipe": label,
                "validation_error": 100 * float(np.mean(wrong)) / int(held_out.sum()),
                "seconds": round(seconds),
            }
        tried.append(known[label])
        book.keep(name, "choice", tried)
    errors = np.array([entry["validation_error"] for entry in tried])
    return row.candidates[int(ls.selection.choose(errors))]


def described(recipe: Recipe) -> str:
    """A recipe's settings, those that are not the default."""
    return ", ".join(
        f"{field.name} {getattr(recipe, field.name)}"
        for field in dataclasses.fields(recipe)
        if getattr(recipe, field.name) != field.default
    )


def folder_of(config: Config, name: str, recipe: Recipe, part: str) -> Path:
    """Where a network's unfinished run or finished logits are; another recipe, another folder."""
    digest = hashlib.sha256(f"{recipe!r} {config.samples}".encode()).hexdigest()[:8]
    return config.out / f"{name.replace(' ', '-')}-{digest}" / part


def member(
    name: str,
    recipe: Recipe,
    seed: int,
    config: Config,
    train_set: ls.data.Dataset,
    test_set: ls.data.Dataset | None,
) -> tuple[np.ndarray, float]:
    """Logits of one finished network on the test images, and how long it trained.

    Without a test set they are those of five networks, each on the fold that it has not seen.
    """
    folder = folder_of(config, name, recipe, str(seed))
    finished = folder.with_suffix(".npz")
    if not finished.exists():
        judge = functools.partial(judged, recipe, seed, train_set, progress=config.progress)
        if test_set is not None:
            everything = np.ones(len(train_set.labels), bool)
            logits, seconds = judge(
                test_set, everything, np.ones(len(test_set.labels), bool), folder=folder
            )
        else:
            held_out = ls.selection.folds(jax.random.key(seed), train_set.labels, FOLDS)
            logits, seconds = np.zeros(train_set.targets.shape, np.float32), 0.0
            for fold, own in enumerate(np.asarray(held_out)):
                logits[own], took = judge(train_set, ~own, own, folder=folder / str(fold))
                seconds += took
        finished.parent.mkdir(parents=True, exist_ok=True)
        unfinished = finished.with_suffix(".unfinished.npz")
        np.savez(unfinished, logits=logits, seconds=seconds)
        os.replace(unfinished, finished)
        shutil.rmtree(folder, ignore_errors=True)
    with np.load(finished) as kept:
        return kept["logits"], float(kept["seconds"])


def run_row(name: str, row: Row, book: Book, config: Config, *, command: str = "run_row") -> bool:
    """Chooses the recipe, trains the members that are not there yet, and keeps what they score.

    Returns:
        Whether there was anything to do; if not, all of the row is kept from an earlier run.
    """
    train_set, test_set = load(row.data, config.samples)
    if config.epochs is not None:
        shorter = (dataclasses.replace(each, epochs=config.epochs) for each in row.candidates)
        row = dataclasses.replace(row, candidates=tuple(shorter))
    recipe = choose(name, row, book, config, train_set)
    labels = train_set.labels if test_set is None else test_set.labels
    if book.entries.get(name, {}).get("recipe") != described(recipe):
        book.keep(name, "runs", [])
        book.keep(name, "committee", None)
    known = len(book.entries[name]["runs"])
    if known >= row.members:
        return False
    inputs = recipe.components or train_set.inputs.shape[1]
    sizes = (inputs, *recipe.hidden, train_set.targets.shape[1])
    book.keep(name, "network", "-".join(map(str, sizes)))
    book.keep(name, "recipe", described(recipe))
    book.keep(name, "test_images", len(labels))
    book.keep(name, "epochs", recipe.epochs)
    book.keep(name, "command", command)
    book.keep(name, "machine", machine())
    runs, shares = [], np.zeros((len(labels), train_set.targets.shape[1]))
    for seed in range(row.members):
        logits, seconds = member(name, recipe, seed, config, train_set, test_set)
        shares += np.asarray(jax.nn.softmax(jnp.asarray(logits)), np.float64)
        runs.append(
            {
                "seed": seed,
                "wrong": int((logits.argmax(1) != labels).sum()),
                "seconds": round(seconds, 1),
            }
        )
        if len(runs) <= known:  # trained again for the committee, their logits being lost
            continue
        book.keep(name, "runs", runs)
        if row.target_of_committee is not None:
            wrong = int((shares.argmax(1) != labels).sum())
            book.keep(name, "committee", {"members": len(runs), "wrong": wrong})
    return True


def machine() -> str:
    """What it ran on."""
    return f"jax {jax.__version__} on {keeping.device()}"


def report(entries: Mapping[str, Any]) -> str:
    """The table: what is published, the target, what was reached, and with what."""
    header = ("", "network", "published", "target", "here", "epochs", "s a network")
    lines: list[tuple[str, ...]] = [header]
    for name, row in ROWS.items():
        entry = entries.get(name, {})
        runs = entry.get("runs") or []
        if not runs:
            lines.append((row.title, "not run yet", row.published, *[""] * 4))
            continue
        errors = 100 * np.array([run["wrong"] for run in runs]) / entry["test_images"]
        few = errors[:SEEDS]
        spread = f" ± {few.std(ddof=1):.2f}" if len(few) > 1 else ""
        seeds = ""
        if len(runs) < row.members:
            seeds = f" ({len(runs)} of {row.members})"
        elif len(runs) < SEEDS:
            seeds = f" ({len(runs)} seeds)"
        lines.append(
            (
                row.title,
                entry["network"],
                row.published,
                verdict(row.target, few.mean()),
                f"{few.mean():.2f}{spread}%{seeds}",
                str(entry["epochs"]),
                f"{np.mean([run['seconds'] for run in runs]):.0f}",
            )
        )
        committee = entry.get("committee")
        if row.target_of_committee is not None and committee and committee["members"] > 1:
            error = 100 * committee["wrong"] / entry["test_images"]
            reached = verdict(row.target_of_committee, error)
            title = f"  committee of {committee['members']}"
            lines.append((title, "", "", reached, f"{error:.2f}%", "", ""))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    table = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    notes = [f"{row.title}: {row.note}" for row in ROWS.values() if row.note]
    recipes = [
        f"{row.title}: {entries[name]['recipe']}"
        for name, row in ROWS.items()
        if entries.get(name, {}).get("runs")
    ]
    return "\n".join(
        [
            *table,
            "",
            f"Errors on the test images; mean ± standard deviation over {SEEDS} seeds.",
            "",
            *recipes,
            *([""] if notes else []),
            *notes,
        ]
    )


def verdict(target: float | None, error: float) -> str:
    """The target, and whether it is reached."""
    if target is None:
        return ""
    return f"{target:.2f}%, {'reached' if round(error, 2) <= target else 'missed'}"


def run(config: Config, *, command: str = "run(config)") -> dict[str, Any]:
    """Trains what is not there yet, row by row, and prints the table after each."""
    require_config(config)
    book = Book(results_of(config))
    asked = config.rows or tuple(ROWS)
    for data in dict.fromkeys(ROWS[name].data for name in asked):
        load(data, config.samples)  # what is missing is missed at once, not after hours
    for name in asked:
        if not run_row(name, ROWS[name], book, config, command=command):
            kept = book.entries[name]
            print(
                f"Kept from an earlier run, not trained now: {kept['command']} ({kept['machine']})"
            )
        print(report(book.entries), end="\n\n", flush=True)
    return book.entries


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    if config.table:
        path = config.results or keeping.KEPT / "published.json"
        print(f"Kept in {path} from earlier runs, not trained now:")
        print(report(keeping.read_json(path)))
        return 0
    keeping.require_folder("out", config.out)
    keeping.require_file("results", results_of(config))
    run(config, command=keeping.command_line("published.py", arguments))
    return 0


if __name__ == "__main__":
    ls.keep_compiled_programs()
    keeping.start(main)
