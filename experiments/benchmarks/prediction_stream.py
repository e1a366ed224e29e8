"""`logistack predict` on a long table: rows a second, and the most memory that it takes."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas

import logistack as ls

NUMBERS = 8
COLORS = ("red", "green", "blue")
DAYS = 700
COMMAND = """
import sys
from logistack.cli import main
if main(["predict", *sys.argv[1:]]):
    raise SystemExit("no predictions")
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
"""As a process of its own, which says how much memory it has had, in KiB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows: int = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        known = table(400)
        score = known["x0"] + known["x1"] + (known["color"] == "red")
        report = ls.report(known.assign(label=score > score.median()), "label", quick=True)
        report.save(folder)
        # The shorter table takes the time to start as well, and shows whether memory grows.
        measured = [(count, *measure(Path(folder), count)) for count in (rows // 10, rows)]
    (few, short, small), (_, long, large) = measured
    print(f"{rows:,} rows of {NUMBERS + 2} columns: {long:.1f} s, at most {large:,.0f} MiB")
    print(f"{few:,} rows: {short:.1f} s, at most {small:,.0f} MiB")
    print(f"{(rows - few) / (long - short):,.0f} rows a second beside the time to start")


def table(rows: int) -> pandas.DataFrame:
    """Numbers, a category and a date."""
    generator = np.random.default_rng(rows)
    numbers = generator.normal(size=(rows, NUMBERS)).round(4)
    frame = pandas.DataFrame(numbers, columns=[f"x{place}" for place in range(NUMBERS)])
    days = pandas.to_timedelta(generator.integers(0, DAYS, rows), "D")
    return frame.assign(
        color=generator.choice(COLORS, rows), day=pandas.Timestamp("2024-01-01") + days
    )


def measure(folder: Path, rows: int) -> tuple[float, float]:
    """Seconds of the command in a process of its own, and the most MiB that it had."""
    table(rows).to_csv(folder / "new.csv", index=False)
    words = [folder / "model", folder / "new.csv", "--out", folder / "out.csv"]
    start = time.monotonic()
    command = [sys.executable, "-c", COMMAND, *map(str, words)]
    most = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return time.monotonic() - start, int(most) / 1024


if __name__ == "__main__":
    main()
