"""How far a device's rate goes: populations from one member to as many as memory holds."""

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import logistack as ls
from experiments import keeping
from experiments.benchmarks.machine import Section
from experiments.benchmarks.populations import Population, prepare_copy, prepare_matrix
from experiments.benchmarks.processes import Apart, Task, take_turns
from experiments.benchmarks.workloads import Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TasksOf: TypeAlias = Callable[[Workload, int], Mapping[tuple[str, Any], Task]]

LIMIT = 2.0  # times the time of one network, up to which a population counts as free


def measure(
    works: Mapping[str, Workload],
    members: Iterable[int],
    tasks_of: TasksOf,
    labels: Mapping[str, str],
    *,
    rounds: int,
    at_least: float,
    matrix: int,
    copied: int,
) -> Section:
    """Times every number of members, each way in a process of its own and after the other.

    Args:
        works: networks, and the work of training one.
        members: rising numbers of members.
        tasks_of: the ways to train so many, by name and order.
        labels: what tables call these ways.
        rounds: how often each is timed.
        at_least: the seconds of one round.
        matrix: the size of the large matrix products.
        copied: the bytes of the array that is copied.
    """
    turns = take_turns(
        {
            "matrix": Task(functools.partial(prepare_matrix, matrix)),
            "copy": Task(functools.partial(prepare_copy, copied)),
        },
        rounds,
        at_least,
    )
    limits = {
        name: turns.told[name][0] / statistics.median(seconds)
        for name, seconds in turns.rounds.items()
    }
    rows: list[dict[str, Any]] = []
    for network, work in works.items():
        failed: set[str] = set()
        for count in members:
            for (way, order), task in tasks_of(work, count).items():
                name = f"{labels[way]}, {order}"
                if name not in failed:
                    row = time_one(Population(work, count, order), task, rounds, at_least)
                    rows.append({"network": network, "way": name, "members": count, **row})
                    if "seconds_of_rounds" not in row:
                        failed.add(name)
    numbers = {
        "work": {network: work._asdict() for network, work in works.items()},
        "matrix_operations_per_second": limits["matrix"],
        "bytes_per_second": limits["copy"],
        "rows": rows,
        "members_in_the_time_of_two": {
            network: {way: largest(chosen(rows, network, way)) for way in ways_of(rows)}
            for network in works
        },
    }
    return Section("reach", "", numbers, "\n".join(tabulate(numbers, keeping.columns)))


def time_one(population: Population, task: Task, rounds: int, at_least: float) -> dict[str, Any]:
    """The seconds of the first run and of each round, or why there are none."""
    try:
        with Apart(task) as apart:
            seconds = [apart.seconds(at_least) for _ in range(rounds)]
            first = apart.first
    except Exception as error:  # whatever a library raises where memory ends
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    middle = statistics.median(seconds)
    return {
        "first_run_seconds": first,
        "seconds_of_rounds": seconds,
        "samples_per_second": population.samples / middle,
        "operations_per_second": population.operations / middle,
        "bytes_per_second": population.bytes / middle,
    }


def ways_of(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["way"] for row in rows))


def chosen(rows: list[dict[str, Any]], network: str, way: str) -> list[dict[str, Any]]:
    """The rows of one network and way that were timed."""
    return [
        row
        for row in rows
        if (row["network"], row["way"]) == (network, way) and "seconds_of_rounds" in row
    ]


def largest(rows: list[dict[str, Any]]) -> float | None:
    """How many members take the time of two single networks, between the numbers that were timed.

    The time is taken for a power of the number between two of them. None if even the first of
    the rows is not a single network.
    """
    if not rows or rows[0]["members"] != 1:
        return None
    seconds = np.array([statistics.median(row["seconds_of_rounds"]) for row in rows])
    members = np.log([row["members"] for row in rows])
    times = np.log(seconds / seconds[0])
    over = np.flatnonzero(times > np.log(LIMIT))
    if not len(over):
        return float(rows[-1]["members"])
    place = over[0]
    between = np.interp(np.log(LIMIT), times[[place - 1, place]], members[[place - 1, place]])
    return float(np.exp(between))


def tabulate(numbers: dict[str, Any], align: Callable[..., list[str]]) -> list[str]:
    """One row a network, way and number of members, in columns as `align` makes them."""
    matrix, copy = numbers["matrix_operations_per_second"], numbers["bytes_per_second"]
    cells = [
        (
            "network", "way, order", "members", "seconds", "million samples/s", "GFLOP/s",
            "of matrix rate", "GB/s", "of copy rate",
        )
    ]  # fmt: skip
    for row in numbers["rows"]:
        head = (row["network"], row["way"], f"{row['members']:,}")
        if "error" in row:
            cells.append((*head, "did not run", *[""] * 5))
            continue
        operations, moved = row["operations_per_second"], row["bytes_per_second"]
        cells.append(
            (
                *head, f"{statistics.median(row['seconds_of_rounds']):.4f}",
                f"{row['samples_per_second'] / 1e6:.3f}", f"{operations / 1e9:,.1f}",
                f"{operations / matrix:.1%}", f"{moved / 1e9:,.1f}", f"{moved / copy:.1%}",
            )
        )  # fmt: skip
    told = [
        f"a large matrix product: {matrix / 1e9:,.1f} GFLOP/s; a copy: {copy / 1e9:,.1f} GB/s, "
        "read and written",
        "",
        *align(cells, left=2),
        "",
    ]
    for network, ways in numbers["members_in_the_time_of_two"].items():
        found = [f"{way} {count:,.0f}" for way, count in ways.items() if count is not None]
        if found:
            told.append(
                f"{network}: members in the time of two single networks: {'; '.join(found)}"
            )
    return told


def markdown(cells: list[tuple[str, ...]], left: int) -> list[str]:
    """Rows of text under their heads as a table of Markdown."""
    head, *rows = [f"| {' | '.join(row)} |" for row in cells]
    rule = ["---" if place < left else "---:" for place in range(len(cells[0]))]
    return [head, f"| {' | '.join(rule)} |", *rows]


def plot(numbers: dict[str, Any]) -> "Figure":
    """Samples a second by members: a panel a network, and the rates that the device sets."""
    import matplotlib
    from matplotlib.figure import Figure

    works = numbers["work"]
    with matplotlib.rc_context(ls.plots.STYLE):
        figure = Figure(figsize=(3.1 * len(works) + 0.6, 3.4))
        panels = figure.subplots(1, len(works), sharey=True, squeeze=False)[0]
        ways = ways_of(numbers["rows"])
        for axes, (network, work) in zip(panels, works.items(), strict=True):
            one = Population(Workload(**work), members=1)
            limit = numbers["matrix_operations_per_second"] * one.samples / one.operations
            axes.axhline(limit, color=ls.plots.GREY, linestyle=":", linewidth=0.8)
            axes.annotate(
                "matrix rate", (0, limit), (2, -2), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="top", color=ls.plots.GREY, fontsize=8,
            )  # fmt: skip
            for place, way in enumerate(ways):
                rows = chosen(numbers["rows"], network, way)
                axes.plot(
                    [row["members"] for row in rows], [row["samples_per_second"] for row in rows],
                    color=ls.plots.PALETTE[place], marker=ls.plots.MARKERS[place], markersize=4,
                    linewidth=1.1, label=way,
                )  # fmt: skip
            axes.set(xscale="log", yscale="log", title=network, xlabel="members")
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("samples × networks a second")
        panels[-1].legend(loc="lower right", fontsize=7, frameon=False)
        figure.draw_without_rendering()
    return figure


def save(section: Section, path: Path) -> None:
    """Writes the table as Markdown and the figure, beside the file of the numbers."""
    told = "\n".join(tabulate(section.numbers, markdown))
    beside = path.with_name(f"{path.stem}-reach.md")
    keeping.write_whole(beside, f"# Populations by their size, on {path.stem}\n\n{told}\n")
    print(f"table  {beside}")
    keeping.save_figures({f"{path.stem}-reach": plot(section.numbers)}, path.parent)
