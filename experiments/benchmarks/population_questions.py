"""What `population.py` asks beside its peers: sizes, one network, a search, members that stop."""

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

import logistack as ls
from experiments import keeping
from experiments.benchmarks.machine import Section
from experiments.benchmarks.peers import logistack_members, sklearn_members
from experiments.benchmarks.processes import Task, Turns, section
from experiments.benchmarks.workloads import Workload, scaled
from experiments.limits_plane import spirals

Pace: TypeAlias = Callable[[Mapping[Any, Task]], Turns]

MIXED = Workload((64, 32, 10), samples=1600, batch_size=32, epochs=10)
WIDTHS, DEPTHS = (8, 16, 32, 64), (1, 2, 3, 4)
MIXED_LIMIT = 0.7  # of the rate of equal members
SPIRALS, SPIRALS_LIMIT = 100, 1.5  # networks, and times the time of one
FOLDS, FOLDS_LIMIT = 5, 20  # and times the speed of the search
GRID = {"learning_rate": [0.02, 0.05, 0.1, 0.2, 0.5], "momentum": [0.0, 0.5, 0.8, 0.9]}
STOPPED, STOPPED_EPOCHS = 16, 2000
BEST_APART = 0.05  # by how much the best accuracies of two searches may differ


def ours(function: Callable[..., Any], *arguments: Any, **options: Any) -> Task:
    """A task of logistack's own."""
    prepare = functools.partial(function, *arguments, **options)
    return Task(prepare, logistack_members.ENVIRONMENT)


def measure_mixed(scale: float, members: int, pace: Pace) -> Section:
    """Members of many sizes, beside as many of one size with as much work."""
    work = scaled(MIXED, scale)
    inputs, outputs = work.sizes[0], work.sizes[-1]
    every = [(inputs, *[width] * depth, outputs) for width in WIDTHS for depth in DEPTHS]
    sizes = every * max(1, members // len(every))

    def operations(sizes: Sequence[tuple[int, ...]]) -> int:
        return sum(work._replace(sizes=own).operations for own in sizes)

    wanted = operations(sizes)
    equal = min(
        ([(inputs, width, width, outputs)] * len(sizes) for width in range(1, max(WIDTHS) + 1)),
        key=lambda sizes: abs(operations(sizes) - wanted),
    )
    both = {"members of one size": equal, "members of many sizes": sizes}
    turns = pace(
        {name: ours(logistack_members.prepare_sizes, work, own) for name, own in both.items()}
    )
    assert np.isfinite([*turns.told.values()]).all()
    alike, mixed = both
    work_ratio = wanted / operations(equal)
    rates = [work_ratio / ratio for ratio in turns.ratios(mixed, alike)]
    groups = ls.training.group_sizes(sizes)
    waste = sum(len(group.members) * operations([group.sizes]) for group in groups) / wanted
    last = [
        f"{len(groups)} groups, which fill up by {waste:.2f}×; operations a second over those of "
        f"one size: {statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f}), "
        f"expected at least {MIXED_LIMIT}"
    ]
    heads = [
        f"{len(sizes)} members of widths {min(WIDTHS)} to {max(WIDTHS)} and depths {DEPTHS[0]} to "
        f"{DEPTHS[-1]}, beside {'-'.join(map(str, equal[0]))} in {work_ratio:.2f} of their work"
    ]
    return section("mixed", heads, turns, alike, last, sizes=every, equal=equal[0], waste=waste)


def measure_spirals(scale: float, members: int, pace: Pace) -> Section:
    """Many networks on two spirals, beside one."""
    points = spirals()
    work = scaled(Workload((2, 32, 2), len(points.inputs), batch_size=32, epochs=500), scale)
    prepare = functools.partial(logistack_members.prepare_members, work, points)
    one, many = "fit, one network", f"fit_population, {SPIRALS} networks"
    turns = pace({one: ours(prepare, members=None), many: ours(prepare, members=SPIRALS)})
    require_epochs(turns, work.epochs)
    first = turns.first[many] / turns.first[one]
    last = [
        f"expected at most {SPIRALS_LIMIT}× the time of one; of a first run, with what it "
        f"compiles, {first:.2f}×"
    ]
    heads = [f"2-32-2 on two spirals, batch {work.batch_size}, Adam: {work.epochs} epochs"]
    return section("spirals", heads, turns, one, last, work=work._asdict())


def measure_folds(scale: float, members: int, pace: Pace) -> Section:
    """A search over settings and folds, beside scikit-learn's on two processes."""
    from sklearn.model_selection import StratifiedKFold

    digits = keeping.load("digits")
    data = digits.inputs, digits.labels
    folds = list(StratifiedKFold(FOLDS).split(*data))
    work = scaled(Workload((64, 32, 10), len(digits.inputs), batch_size=32, epochs=20), scale)
    prepares = {
        "GridSearchCV": Task(
            functools.partial(sklearn_members.prepare_search, work, data, folds, GRID)
        ),
        "fit_population": ours(logistack_members.prepare_search, work, data, folds, GRID),
    }
    turns = pace(prepares)
    base, name = prepares
    best = {which: max(told) for which, told in turns.told.items()}
    assert abs(best[base] - best[name]) < BEST_APART, f"best accuracies: {best}"
    faster = turns.ratios(base, name)
    last = [
        f"fit_population is {statistics.median(faster):.1f}× as fast ({min(faster):.1f} to "
        f"{max(faster):.1f}), expected at least {FOLDS_LIMIT}×; "
        f"with what it compiles {turns.first[base] / turns.first[name]:.1f}×",
        "accuracy of the best setting, and mean of all: "
        + "; ".join(
            f"{which} {max(told):.3f}, {np.mean(told):.3f}" for which, told in turns.told.items()
        ),
    ]
    heads = [
        f"{FOLDS} folds × {len(turns.told[name])} settings of 64-32-10 on the 8×8 digits, batch "
        f"{work.batch_size}: {work.epochs} epochs"
    ]
    return section("folds", heads, turns, base, last, work=work._asdict(), grid=GRID)


def measure_stopped(scale: float, members: int, pace: Pace) -> Section:
    """Members that stop after their second epoch, beside one network that does."""
    points = spirals()
    epochs = max(2, round(scale * STOPPED_EPOCHS))
    work = Workload((2, 32, 2), len(points.inputs), batch_size=32, epochs=epochs)
    prepare = functools.partial(logistack_members.prepare_members, work, points, stop=True)
    one = "fit, one network"
    turns = pace(
        {
            one: ours(prepare, members=None),
            f"fit_population, {STOPPED} members": ours(prepare, members=STOPPED),
            f"jax.vmap of ls.fit, {STOPPED} members": ours(prepare, members=STOPPED, vmap=True),
        }
    )
    require_epochs(turns, 2)
    heads = [f"2-32-2 on two spirals, stopped after 2 of {epochs:,} epochs"]
    return section("stopped", heads, turns, one, [], work=work._asdict())


def require_epochs(turns: Turns, epochs: int) -> None:
    """Asserts that every network has run for so many."""
    for name, told in turns.told.items():
        assert set(told) == {epochs}, f"{name}: expected {epochs} epochs, got {sorted(set(told))}"


PARTS: dict[str, Callable[[float, int, Pace], Section]] = {
    "mixed": measure_mixed,
    "spirals": measure_spirals,
    "folds": measure_folds,
    "stopped": measure_stopped,
}
