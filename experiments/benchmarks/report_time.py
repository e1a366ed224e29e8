"""`logistack report` on a short and on a long table: seconds of the command, from nothing.

Nothing is compiled beforehand, but for the run that is marked so, which finds what the one before
it has left in the cache.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import argparse
import os
import subprocess
import tempfile
import time

import numpy as np
import pandas

from experiments.benchmarks import machine

SHORT, LONG = (200, 10), (10_000, 30)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(machine.heading(machine.load_now()))
    for rows, columns in (SHORT, LONG):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data.csv"
            table(rows, columns).to_csv(data, index=False)
            for place, options in enumerate(((), ("--quick",), ("--quick",))):
                cache = Path(folder) / f"cache-{'-'.join(options)}"
                seconds = measure(data, cache, options)
                what = " ".join(options) + ", compiled before" * (place == 2)
                print(f"{rows:>6,} × {columns} {what:<24} {seconds:5.1f} s", flush=True)


def table(rows: int, columns: int) -> pandas.DataFrame:
    """Numbers, and a label that no line tells: a product is in it, a sum, and noise."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(rows, columns)).round(6)
    score = inputs[:, 0] * inputs[:, 1] + inputs[:, 2] + generator.normal(size=rows)
    frame = pandas.DataFrame(inputs, columns=[f"x{place}" for place in range(columns)])
    return frame.assign(label=np.where(score > 0, "yes", "no"))


def measure(data: Path, cache: Path, options: tuple[str, ...]) -> float:
    """Seconds of the command in a process of its own."""
    words = ["report", str(data), "--target", "label", "--out", str(data.parent / "out"), *options]
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "logistack", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
    )
    return time.monotonic() - start


if __name__ == "__main__":
    main()
