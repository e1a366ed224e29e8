"""The tables of `depth.py`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments import keeping
from experiments.depth_cells import (
    DEEP,
    LOST,
    OURS,
    SCHEMES,
    WANTED,
    Cell,
    Result,
    accuracies,
    by_scheme,
    mean,
    reaches,
)


def report(result: Result) -> str:
    """The accuracies by scheme and depth, what they depend on, and how long the deepest took."""
    settings, origin = result.settings, result.origin
    rates = ", ".join(f"{rate:g}" for rate in settings["rates"])
    lines = [
        f"8×8 digits, layers {settings['width']} wide, {settings['epochs']} epochs, "
        f"{settings['seeds']} seeds; every rate chosen from {rates}",
        "on every fifth training digit, held out; the test digits chose nothing",
    ]
    fewer = {c.depth: len(c.networks) for c in result.cells if len(c.networks) < settings["seeds"]}
    lines += [f"{count} seeds alone at {depth:,} layers" for depth, count in fewer.items()]
    lines += table(result, "test accuracy (%), mean over seeds", lambda c: f"{100 * mean(c):.1f}")
    lines += table(
        result, "test accuracy (%), lowest seed", lambda c: f"{100 * accuracies(c).min():.1f}"
    )
    lines += table(result, "seeds stuck at the base rate", lambda c: f"{total_stuck(c)}")
    lines += table(result, LOSSES, last_loss)
    lines += table(result, RATES, chosen)
    for field in ("largest", "smallest"):
        lines += table(
            result,
            f"{field} singular value of ∂ logits / ∂x at the start, mean over seeds",
            functools.partial(singular, field=field),
        )
    lines += table(result, "seconds a network, median over seeds", seconds)
    lines.append("")
    for name in (DEEP, OURS):
        cells = by_scheme(result)[name]
        short_of = [f"{cell.depth:,}" for cell in cells if not reaches(cell)]
        lines.append(
            f"{name}: at least {WANTED:.0%} "
            + (f"but at {', '.join(short_of)} layers" if short_of else "at every depth")
        )
    if result.timing is not None:
        timing = result.timing
        lines.append(
            f"one stack of {timing.depth:,} layers, {timing.scheme}: drawn, compiled and trained "
            f"in {timing.seconds:.1f} s; once compiled, in {timing.seconds_compiled:.1f} s"
        )
    if origin:
        lines.append(
            f"{origin['command']}  (JAX {origin['jax']}, {origin['device']}, "
            f"{origin['seconds']:,.0f} s in all)"
        )
    return "\n".join(lines)


def table(result: Result, title: str, show: Callable[[Cell], str]) -> list[str]:
    """A line for each scheme, a column for each depth."""
    depths = sorted({cell.depth for cell in result.cells})
    margin = max(map(len, SCHEMES)) + 1
    lines = ["", title, " " * margin + "".join(f"{depth:>10,}" for depth in depths)]
    for name, cells in by_scheme(result).items():
        shown = {cell.depth: show(cell) for cell in cells}
        lines.append(f"{name:<{margin}}" + "".join(f"{shown.get(d, '–'):>10}" for d in depths))
    return lines


LOSSES = "training loss at the end (nats), mean over seeds; summed, but by rule of one digit"
RATES = "learning rate chosen, or by rule; in brackets where none has learned"


def chosen(cell: Cell) -> str:
    learned = SCHEMES[cell.scheme].by_rule or max(cell.validation.values(), default=0.0) > LOST
    return f"{cell.rate:g}" if learned else f"({cell.rate:g})"


def total_stuck(cell: Cell) -> int:
    return sum(network.stuck for network in cell.networks)


def last_loss(cell: Cell) -> str:
    """The mean of the last losses; a run that has stopped has none."""
    losses = [network.losses[-1] for network in cell.networks]
    known = [loss for loss in losses if loss is not None]
    return f"{np.mean(known):.3g}" if len(known) == len(losses) else "–"


def singular(cell: Cell, field: str) -> str:
    return f"{np.mean([getattr(network, field) for network in cell.networks]):.1e}"


def seconds(cell: Cell) -> str:
    return f"{np.median([network.seconds for network in cell.networks]):.1f}"


def report_choice(settings: dict[str, Any], cells: Sequence[Cell]) -> str:
    """The accuracy on held-out training digits at the rate that was chosen."""
    result = Result(settings, tuple(cells))
    lines = [f"{settings['epochs']} epochs, no test digit looked at"]
    lines += table(
        result,
        "accuracy on held-out training digits (%), at the rate chosen",
        lambda c: f"{100 * max(c.validation.values()):.1f}" if c.validation else "–",
    )
    lines += table(result, RATES, chosen)
    return "\n".join(lines)


def report_rule(settings: dict[str, Any], cells: Sequence[Cell], multiples: Sequence[float]) -> str:
    """The accuracy on held-out training digits at multiples of the rate by rule."""
    head = ["hidden layers", "rate by rule", *(f"× {multiple:g}" for multiple in multiples)]
    rows = [
        [f"{cell.depth:,}", f"{cell.rate:g}"]
        + [f"{100 * share:.1f}" for share in cell.validation.values()]
        for cell in cells
    ]
    title = f"{DEEP}: accuracy on held-out training digits (%), {settings['epochs']} epochs"
    return "\n".join([title, *keeping.columns([head, *rows], left=0)])
