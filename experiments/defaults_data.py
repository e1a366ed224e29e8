"""The data sets of defaults.py: those that defaults are chosen on, and those they are shown on.

What is chosen on is drawn from generators, or is MNIST's, with as many test samples as one likes;
what is shown is other data, real and small.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from sklearn import datasets

from experiments import keeping

Samples: TypeAlias = tuple[np.ndarray, np.ndarray]

SEED = 0
TESTED = 2_000


# --- To choose on --------------------------------------------------------------------------------


class Development(NamedTuple):
    """A data set to choose on.

    Attributes:
        make: draws so many samples.
        rows: how many a fit learns from.
        draws: how many fits there are, each with rows of its own; all are tested on the same
            `TESTED` others.
    """

    make: Callable[[int], Samples]
    rows: int
    draws: int

    def samples(self) -> Samples:
        """All samples: those of each draw, and those to test on."""
        inputs, labels = self.make(self.rows * self.draws + TESTED)
        return np.asarray(inputs, np.float32), np.asarray(labels)

    def splits(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The places that each fit learns from, and those to test on."""
        learned = np.arange(self.rows * self.draws).reshape(self.draws, self.rows)
        tested = self.rows * self.draws + np.arange(TESTED)
        return [(own, tested) for own in learned]


def digits(block: int) -> Callable[[int], Samples]:
    """MNIST's training images, each square of so many pixels its mean."""

    def make(count: int) -> Samples:
        images = keeping.part_of(keeping.load("mnist", split="train"), slice(count))
        side = 28 // block
        squares = np.asarray(images.inputs).reshape(count, side, block, side, block)
        return squares.mean(axis=(2, 4)).reshape(count, -1), images.labels

    return make


def generated(name: str, *, redrawn: float = 0.0, **options: Any) -> Callable[[int], Samples]:
    """A generator of scikit-learn; a share of the labels may be drawn anew."""

    def make(count: int) -> Samples:
        inputs, labels = getattr(datasets, f"make_{name}")(
            n_samples=count, random_state=SEED, **options
        )
        rng = np.random.default_rng(SEED)
        order = rng.permutation(count)  # some generators give one class after the other
        inputs, labels = inputs[order], np.unique(labels, return_inverse=True)[1][order]
        drawn = rng.random(count) < redrawn
        labels[drawn] = rng.integers(labels.max() + 1, size=drawn.sum())
        return inputs, labels

    return make


def squares(side: int, deviation: float) -> Callable[[int], Samples]:
    """A board of so many squares a side, two colors; 2 is XOR."""

    def make(count: int) -> Samples:
        rng = np.random.default_rng(SEED)
        places = rng.integers(side, size=(count, 2))
        inside = rng.uniform(-0.5, 0.5, size=(count, 2))
        return places + inside + deviation * rng.normal(size=(count, 2)), places.sum(axis=1) % 2

    return make


def classes(features: int, informative: int, number: int = 2, **options: Any) -> Any:
    """Clusters in the corners of a cube, mixed with each other and with noise."""
    redundant = min(features - informative, informative // 2)
    return generated(
        "classification",
        n_features=features,
        n_informative=informative,
        n_redundant=redundant,
        n_classes=number,
        **options,
    )


DEVELOPMENT = {
    "MNIST, 14 × 14, 500": Development(digits(2), 500, 2),
    "MNIST, 7 × 7, 2,000": Development(digits(4), 2_000, 1),
    "MNIST, 7 × 7, 5,000": Development(digits(4), 5_000, 1),
    "blobs, 4 classes, 80": Development(
        generated("blobs", n_features=5, centers=4, cluster_std=3.5), 80, 6
    ),
    "one cluster a class, 150": Development(
        classes(6, 4, 3, n_clusters_per_class=1, class_sep=1.5), 150, 4
    ),
    "two clusters a class, 100": Development(classes(10, 5), 100, 6),
    "50 features, 150": Development(classes(50, 8, class_sep=1.5), 150, 4),
    "30 features, 300": Development(
        classes(30, 10, n_clusters_per_class=1, class_sep=1.5, flip_y=0.02), 300, 4
    ),
    "noisy labels, 500": Development(
        classes(8, 5, n_clusters_per_class=1, class_sep=0.7, flip_y=0.3), 500, 3
    ),
    "5 classes, 1,000": Development(classes(30, 12, 5, flip_y=0.05), 1_000, 2),
    "10 classes, noisy, 3,000": Development(classes(20, 12, 10, flip_y=0.1), 3_000, 1),
    "moons, 150": Development(generated("moons", noise=0.25), 150, 4),
    "moons, noisy labels, 2,000": Development(generated("moons", noise=0.2, redrawn=0.2), 2_000, 1),
    "circles, 200": Development(generated("circles", noise=0.12, factor=0.6), 200, 4),
    "Gaussian quantiles, 500": Development(
        generated("gaussian_quantiles", n_features=6, n_classes=3), 500, 3
    ),
    "Hastie 10.2, 2,000": Development(generated("hastie_10_2"), 2_000, 1),
    "XOR, noisy, 120": Development(squares(2, 0.15), 120, 6),
    "4 × 4 squares, 1,000": Development(squares(4, 0.05), 1_000, 2),
    "far blobs, 150": Development(
        generated("blobs", n_features=4, centers=3, cluster_std=2.0), 150, 4
    ),
    "clean classes, 1,000": Development(
        classes(5, 4, n_clusters_per_class=1, class_sep=2.0, flip_y=0.0), 1_000, 2
    ),
}


# --- To show on ----------------------------------------------------------------------------------


def of_scikit_learn(name: str) -> Callable[[], Samples]:
    """A data set that comes with scikit-learn."""
    return lambda: getattr(datasets, f"load_{name}")(return_X_y=True)


def published(name: str, rows: int | None = None) -> Callable[[], Samples]:
    """One of `logistack.data`, or so many of its samples, with of every class its share."""

    def load() -> Samples:
        from sklearn.model_selection import train_test_split

        whole = keeping.load(name)
        inputs, labels = np.asarray(whole.inputs), np.asarray(whole.labels)
        if rows is not None and rows < len(labels):
            part = train_test_split(
                np.arange(len(labels)), train_size=rows, stratify=labels, random_state=SEED
            )[0]
            inputs, labels = inputs[part], labels[part]
        return inputs, labels

    return load


def table(name: str) -> Callable[[], Samples]:
    """A CSV file without a header whose last column is the class."""

    def load() -> Samples:
        path = Path(os.environ.get("LOGISTACK_DATA", "")) / "tabular" / f"{name}.csv"
        if not path.is_file():
            raise keeping.RefusedError(
                f"data: expected tabular/{name}.csv of the UCI repository, without a header and "
                "with the class last, in the folder that LOGISTACK_DATA names, got none"
            )
        cells = np.loadtxt(path, delimiter=",", dtype=str)
        return cells[:, :-1].astype(float), np.unique(cells[:, -1], return_inverse=True)[1]

    return load


REPORTED = {
    "iris": of_scikit_learn("iris"),
    "wine": of_scikit_learn("wine"),
    "sonar": table("sonar"),
    "ionosphere": table("ionosphere"),
    "breast cancer": of_scikit_learn("breast_cancer"),
    "pima": table("pima-indians-diabetes"),
    "banknote": table("banknote_authentication"),
    "semeion": published("semeion"),
    "digits": of_scikit_learn("digits"),
    "usps": published("usps", 2_000),
}
