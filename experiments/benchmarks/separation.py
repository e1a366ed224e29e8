"""What does exactness cost? `ls.separation` beside one linear program in floating point.

    python experiments/benchmarks/separation.py

The program is the one that R's detectseparation solves (Konis 2007): max Σ zᵢ · β over zᵢ · β ≥ 0
and |β| ≤ 1, by HiGHS, without any proof and without saying what each coefficient does. Tables have
as many rows and columns as those of R's users. They overlap; or an indicator column separates some
rows; or columns are rare indicators; or all rows are separated. Both take turns, and a ratio is the
median over rounds of the ratio within one round.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import dataclasses
import itertools
import statistics
from typing import NamedTuple

import numpy as np

import logistack as ls
from experiments import keeping
from experiments.benchmarks import machine
from experiments.benchmarks.timing import timed

KINDS = ("overlap", "quasi-complete", "indicators", "complete")


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure what an exact answer about separation costs."""

    rows: tuple[int, ...] = (50, 200, 1_000, 5_000)
    """Samples of a table."""
    columns: tuple[int, ...] = (3, 10, 50)
    """Features of a table."""
    kinds: tuple[str, ...] = KINDS
    """How they are made: overlap, quasi-complete, indicators or complete."""
    rounds: int = 3
    """How often each is measured."""


class Row(NamedTuple):
    """One table: its size, what was found of it, and seconds by round."""

    kind: str
    rows: int
    columns: int
    found: str
    program: list[float]
    separation: list[float]
    verify: list[float]

    def ratio(self) -> float:
        """The time of the exact answer over that of the program."""
        both = zip(self.separation, self.program, strict=True)
        return statistics.median(own / other for own, other in both)


def table_of(kind: str, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels, the same for the same arguments."""
    random = np.random.default_rng([KINDS.index(kind), rows, columns])
    inputs = random.normal(size=(rows, columns))
    if kind == "indicators":
        inputs = (random.random((rows, columns)) < 0.1).astype(float)
    scores = inputs @ random.normal(size=columns) + 0.3
    labels = random.random(rows) < 1 / (1 + np.exp(-scores))
    if kind == "complete":
        labels = scores > 0
    if kind == "quasi-complete":
        inputs[:, 0] = labels & (random.random(rows) < 0.1)
    return inputs, labels.astype(int)


def solve_program(inputs: np.ndarray, labels: np.ndarray) -> float:
    """The program's greatest value."""
    from scipy import optimize

    signs = np.where(labels == 1, 1.0, -1.0)
    rows = np.column_stack([inputs, np.ones(len(inputs))]) * signs[:, None]
    solution = optimize.linprog(
        -rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1), method="highs"
    )
    return -solution.fun


def run(config: Config) -> list[Row]:
    """Measures every table."""
    found = []
    for kind, rows, columns in itertools.product(config.kinds, config.rows, config.columns):
        inputs, labels = table_of(kind, rows, columns)
        proof = ls.separation(inputs, labels)
        assert isinstance(proof, ls.Separation)  # of two classes
        calls = {
            "program": lambda data=(inputs, labels): solve_program(*data),
            "separation": lambda data=(inputs, labels): ls.separation(*data),
            "verify": proof.verify,
        }
        solve_program(inputs, labels)
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(config.rounds):
            for name, call in calls.items():
                seconds[name].append(timed(call))
        found.append(Row(kind, rows, columns, proof.kind, **seconds))
    return found


def report(found: list[Row]) -> str:
    """The table of times and ratios, and the median ratio."""
    lines: list[tuple[str, ...]] = [
        ("made", "rows", "columns", "found", "program, ms", "exact, ms", "ratio", "verify, ms")
    ]
    lines += [
        (
            row.kind,
            f"{row.rows:,}",
            f"{row.columns}",
            row.found,
            *(f"{1e3 * statistics.median(own):,.1f}" for own in (row.program, row.separation)),
            f"{row.ratio():.1f}",
            f"{1e3 * statistics.median(row.verify):,.1f}",
        )
        for row in found
    ]
    ratios = [row.ratio() for row in found]
    return "\n".join(
        [
            *keeping.columns(lines),
            "",
            f"median of {len(ratios)} tables: {statistics.median(ratios):.1f} times the program",
        ]
    )


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the benchmark from the command line."""
    config = keeping.parse(Config, arguments)
    keeping.require_some(config, "rows", "columns", "kinds")
    keeping.require_counts(config, "rows", "columns", "rounds")
    keeping.require_known("kinds", config.kinds, KINDS)
    print(machine.heading(machine.load_now()))
    print()
    print(report(run(config)))
    return 0


if __name__ == "__main__":
    keeping.start(main)
