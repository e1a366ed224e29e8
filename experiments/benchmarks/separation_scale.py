"""How large may a table be? `ls.certify` and `ls.separation` on the largest that people have.

    LOGISTACK_DATA=... python experiments/benchmarks/separation_scale.py

Each question is asked in a process of its own, whose largest memory is told. MNIST's images are
asked about the digit 0 against all others, on pixels as integers.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import dataclasses
import json
import subprocess

import numpy as np

import logistack as ls
from experiments import keeping
from experiments.benchmarks import machine

ASK = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
import logistack as ls
from experiments.benchmarks import separation_scale
inputs, labels, options = separation_scale.table_of(sys.argv[2])
ask = {"certify": ls.certify, "separation": ls.separation}[sys.argv[3]]
start = time.perf_counter()
found = ask(inputs, labels, **options)
seconds = [time.perf_counter() - start]
start = time.perf_counter()
assert found.verify()
seconds.append(time.perf_counter() - start)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps([str(found).split(":")[0], *seconds, memory]))
"""

SIZES = {
    "wide, 200": (200, 5_000),
    "wide, 1,000": (1_000, 5_000),
    "separated": (2_000, 256),
    "overlapping": (100_000, 20),
    "quasi-separated": (100_000, 20),
    "all separated": (100_000, 20),
    "long": (1_000_000, 10),
}
TABLES = (*SIZES, "mnist")
QUESTIONS = ("certify", "separation")


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure how long exact answers about large tables take, and how much memory."""

    tables: tuple[str, ...] = TABLES
    """Which."""
    questions: tuple[str, ...] = QUESTIONS
    """What is asked of each: certify or separation."""


def table_of(name: str) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Inputs, labels and options, the same for the same name."""
    if name == "mnist":
        dataset = ls.data.load("mnist", split="train")
        return np.rint(255 * dataset.inputs).astype(np.int64), dataset.labels, {"positive": 0}
    rows, columns = SIZES[name]
    random = np.random.default_rng(columns)
    inputs = random.normal(size=(rows, columns))
    scores = inputs @ random.normal(size=columns)
    labels = scores > 0
    if name.startswith("wide"):
        labels = random.random(rows) < 0.5
    if name == "quasi-separated":
        rare = labels & (random.random(rows) < 0.01)
        labels = (scores + random.normal(size=rows) > 0) | rare
        inputs[:, 0] = rare
    if name in ("overlapping", "long"):
        labels = scores + random.normal(size=rows) > 0
    if name == "long":
        inputs = np.round(inputs, 2)
    return inputs, labels.astype(int), {}


def ask(table: str, question: str) -> tuple[str, ...]:
    """A row of the report: what was found, seconds to find and to verify it, and GiB."""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", ASK, root, table, question], stdout=subprocess.PIPE, check=True
    )
    found, seconds, verify, memory = json.loads(done.stdout)
    size = "60,000 x 784" if table == "mnist" else "{:,} x {:,}".format(*SIZES[table])
    return table, size, question, found, f"{seconds:,.1f}", f"{verify:,.1f}", f"{memory:.2f}"


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the benchmark from the command line."""
    config = keeping.parse(Config, arguments)
    keeping.require_some(config, "tables", "questions")
    keeping.require_known("tables", config.tables, TABLES)
    keeping.require_known("questions", config.questions, QUESTIONS)
    print(machine.heading(machine.load_now()))
    print()
    rows: list[tuple[str, ...]] = [
        ("table", "size", "question", "found", "seconds", "verify", "GiB")
    ]
    rows += [ask(table, question) for table in config.tables for question in config.questions]
    print("\n".join(keeping.columns(rows, left=4)))
    return 0


if __name__ == "__main__":
    keeping.start(main)
