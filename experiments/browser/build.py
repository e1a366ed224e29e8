"""Can a digit that is drawn in a browser be read there, by a network that was trained here?

Trains a network of logistic units on MNIST, writes it to an ONNX file, and makes a page of it: one
draws a digit with the mouse, a finger or the keyboard, and the page shows the ten probabilities.
The page is one file that opens from a disk and needs no network: ONNX Runtime for browsers, which
npm brings when the page is built, and the network itself are in it.

    make browser
    python experiments/browser/build.py --hidden 800 800 --epochs 30
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import base64
import dataclasses
import gzip
import hashlib
import html
import shutil
import subprocess
import tarfile
import tempfile
from typing import NamedTuple

import jax
import numpy as np
import optax

import logistack as ls
from experiments import keeping

PAGE = Path(__file__).with_name("page.html")
SHAPE = (28, 28)

RUNTIME = "onnxruntime-web@1.30.0"
"""ONNX Runtime for browsers, as npm calls it."""
RUNTIME_SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
RUNTIME_FILES = {
    "runtime": "package/dist/ort.wasm.min.js",
    "glue": "package/dist/ort-wasm-simd-threaded.mjs",
    "wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a network on MNIST, and build a page that reads drawn digits with it."""

    hidden: tuple[int, ...] = (300, 100)
    """Units of each hidden layer."""
    epochs: int = 10
    """How many times to go through the training images."""
    images: int = 60_000
    """How many of the training images to take."""
    deform: bool = True
    """Deform the images at random, anew in each epoch, as people do who draw them."""
    batch_size: int = 64
    """Images a step."""
    learning_rate: float = 0.02
    """Step size at the start; it falls to 0 along a cosine."""
    seed: int = 0
    """Seeds the initial weights, the shuffles and the deformations."""
    out: Path = Path("results/browser")
    """Folder for the page, index.html, and the network, model.onnx."""
    progress: bool = True
    """Show a bar with epoch, loss, accuracy and samples a second."""


class Result(NamedTuple):
    """The trained network, with the labels and standardization, and its share of test errors."""

    classifier: ls.Classifier
    test: ls.data.Dataset
    error: float


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to train."""
    keeping.require_counts(config, "hidden", "epochs", "batch_size")
    keeping.require_counts(config, "images", high=60_000)
    keeping.require_numbers(config, "learning_rate")
    keeping.require_seed(config)


def deformed(key: jax.Array, x: jax.Array) -> jax.Array:
    """A training image, deformed at random: paper is -½ there, and stays so beyond the border."""
    return ls.data.augment(key, x.reshape(SHAPE)).reshape(-1)


def run(config: Config) -> Result:
    """Trains the network, and counts its errors on MNIST's test images."""
    require_config(config)
    train, test = (keeping.load("mnist", split=split) for split in ("train", "test"))
    train = keeping.part_of(train, slice(config.images))
    steps = config.epochs * -(-config.images // config.batch_size)
    features, classes = train.inputs.shape[1], len(train.classes)
    # Pixels from 0 to 1 are shifted to ±½, about which the initial weights are balanced.
    params = ls.init_params(jax.random.key(config.seed), (features, *config.hidden, classes))
    start = ls.Classifier(
        params,
        np.full(features, 0.5),
        np.ones(features),
        np.arange(classes),
        "softmax",
    )
    with ls.callbacks.progress_bar(config.epochs, disable=not config.progress) as show:
        result = ls.fit_with_callbacks(
            jax.random.key(config.seed),
            params,
            start.standardize(train.inputs),
            train.labels,
            loss=ls.losses.softmax_cross_entropy,
            optimizer=optax.chain(
                optax.clip_by_global_norm(10.0),
                optax.sgd(optax.cosine_decay_schedule(config.learning_rate, steps), momentum=0.9),
            ),
            epochs=config.epochs,
            batch_size=min(config.batch_size, config.images),
            augment=deformed if config.deform else None,
            callbacks=[show],
        )
    classifier = dataclasses.replace(start, params=result.state.params)
    return Result(classifier, test, 1 - classifier.accuracy(test.inputs, test.labels))


def about(config: Config, result: Result) -> str:
    """What the page says of its network."""
    sizes = (SHAPE[0] * SHAPE[1], *config.hidden, len(result.classifier.labels))
    return (
        f"A {'-'.join(map(str, sizes))} network of logistic units reads the digit, here in your "
        f"browser: nothing leaves this page. It was trained with logistack on {config.images:,} "
        f"handwritten digits of MNIST, and misreads {result.error:.1%} of the "
        f"{len(result.test.labels):,} that were kept for a test."
    )


def runtime_files() -> dict[str, bytes]:
    """The files of ONNX Runtime for browsers, from npm.

    Raises:
        RefusedError: if there is no npm, it does not bring the package, or brings another.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise keeping.RefusedError("npm: expected it on the path, got none: it comes with Node.js")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", "--silent", RUNTIME], cwd=folder, capture_output=True, text=True
        )
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            raise keeping.RefusedError(f"npm: expected {RUNTIME}, got {done.stderr}")
        digest = hashlib.sha512(archives[0].read_bytes()).hexdigest()
        if digest != RUNTIME_SHA512:
            raise keeping.RefusedError(f"npm: expected the known {RUNTIME}, got one of {digest}")
        with tarfile.open(archives[0]) as archive:
            members = {name: archive.extractfile(path) for name, path in RUNTIME_FILES.items()}
            return {name: member.read() for name, member in members.items() if member}


def page_of(words: str, runtime: dict[str, bytes], model: bytes) -> str:
    """The page: a text in which all that it needs is written."""

    def code(source: bytes) -> str:
        text = source.decode().split("//# sourceMappingURL=")[0]
        if "</script" in text.lower() or "<!--" in text:
            raise ValueError("expected a script that can stand in a page, got one that ends it")
        return text

    def packed(content: bytes) -> str:
        return base64.b64encode(gzip.compress(content, mtime=0)).decode()

    parts = {
        "about": html.escape(words),
        "runtime": code(runtime["runtime"]),
        "glue": code(runtime["glue"]),
        "wasm": packed(runtime["wasm"]),
        "model": packed(model),
    }
    page = PAGE.read_text(encoding="utf-8")
    before, *rest = page.split("{{")
    for part in rest:
        name, after = part.split("}}", maxsplit=1)
        before += parts[name] + after
    return before


def build(folder: Path, words: str, classifier: ls.Classifier) -> None:
    """Writes the network, model.onnx, and the page, index.html."""
    runtime = runtime_files()
    with keeping.writing(folder):
        ls.export.onnx.save(folder / "model.onnx", classifier)
    page = page_of(words, runtime, (folder / "model.onnx").read_bytes())
    keeping.write_whole(folder / "index.html", page)


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    folder = keeping.folder_of(config)
    keeping.require_folder("out", folder)
    result = run(config)
    words = about(config, result)
    print(words)
    build(folder, words, result.classifier)
    print(f"network {folder / 'model.onnx'}")
    print(f"page    {folder / 'index.html'}: open it in a browser")
    return 0


if __name__ == "__main__":
    ls.keep_compiled_programs()
    keeping.start(main)
