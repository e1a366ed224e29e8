"""What `accelerator.py` measures: for each part its sizes, its limit, its rows and its table.

A part runs in a process of its own and gives one row after another, so that what ends it takes
nothing of the rows before.
"""

import functools
import importlib.util
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments import keeping
from experiments.benchmarks import startup, training
from experiments.benchmarks.peers import logistack, logistack_members, torch_members
from experiments.benchmarks.populations import Population, prepare_copy
from experiments.benchmarks.timing import timed
from experiments.benchmarks.workloads import (
    LEARNING_RATE,
    WORKLOADS,
    Train,
    Workload,
    make_data,
    scaled,
)

Row: TypeAlias = dict[str, Any]
Rates: TypeAlias = Mapping[str, float]

PLATFORMS = ("cuda", "tpu")  # that every program is exported for
CHAINED = 8  # large products in one program, so that starting it does not count


class Sizes(NamedTuple):
    """How large everything is that is measured."""

    training: dict[str, Workload]
    peers: tuple[training.Peer, ...]
    precision: tuple[Workload, ...]
    """Networks that are trained by `fit` in float32 and in bfloat16."""
    population: Workload
    members: tuple[int, ...]
    fused: tuple[Population, ...]
    """Members that a fused epoch trains, too."""
    depths: tuple[int, ...]
    deep: Workload
    """The batch, samples and epochs of every depth, and the width, which is its first size."""
    matrix: int
    """Rows and columns of the large products."""
    copied: int
    """Bytes of the array that is copied."""
    rounds: int
    seconds: float
    """How long a round takes at least, of as many runs as that needs."""


SMALL = Workload((64, 32, 10), samples=1792, batch_size=64, epochs=5)

SIZES = {
    "accelerator": Sizes(
        training={
            **{size: WORKLOADS[size] for size in ("small", "medium")},
            **{size: scaled(WORKLOADS[size], 20) for size in ("large", "dropout")},
        },
        peers=("torch", "torch-compile", "torch-graph"),
        precision=(
            scaled(WORKLOADS["large"], 20),
            Workload((784, 800, 800, 10), samples=65_536, batch_size=4096, epochs=10),
            Workload((4096, 4096, 4096, 4096, 10), samples=16_384, batch_size=4096, epochs=5),
        ),
        population=Workload((256, 64, 10), samples=1600, batch_size=32, epochs=2),
        members=(1, 4, 16, 64, 256, 1024, 4096, 16_384),
        fused=(
            *(Population(SMALL, members) for members in (64, 512, 4096)),
            Population(SMALL._replace(sizes=(64, 64, 10)), 4096),
            Population(SMALL._replace(sizes=(64, 128, 10)), 4096),
        ),
        depths=(10, 100, 1000, 10_000),
        deep=Workload((64, 10), samples=1024, batch_size=512, epochs=1),
        matrix=8192,
        copied=2**32,
        rounds=3,
        seconds=0.2,
    ),
    "cpu": Sizes(
        training={size: scaled(work, 0.2) for size, work in WORKLOADS.items()},
        peers=("torch",),
        precision=(scaled(WORKLOADS["large"], 0.5),),
        population=Workload((64, 32, 10), samples=1600, batch_size=32, epochs=2),
        members=(1, 16, 256),
        fused=(Population(SMALL, 16),),
        depths=(10, 100, 1000),
        deep=Workload((64, 10), samples=128, batch_size=64, epochs=1),
        matrix=1024,
        copied=2**26,
        rounds=3,
        seconds=0.1,
    ),
    "tiny": Sizes(
        training={"small": scaled(WORKLOADS["small"], 0.002)},
        peers=("torch", "torch-graph"),
        precision=(Workload((6, 5, 3), samples=8, batch_size=4, epochs=1),),
        population=Workload((6, 5, 3), samples=8, batch_size=4, epochs=1),
        members=(1, 3),
        fused=(Population(SMALL._replace(samples=128, epochs=1), 2),),
        depths=(20,),
        deep=Workload((4, 3), samples=8, batch_size=4, epochs=1),
        matrix=16,
        copied=2**12,
        rounds=2,
        seconds=0.0,
    ),
}


# --- Timing --------------------------------------------------------------------------------------


def in_turns(
    prepares: Mapping[str, Callable[[], Train]], sizes: Sizes, *, epochs: int = 0
) -> Iterator[tuple[str, Row]]:
    """Seconds of each run's first time and of every round, or why one does not run.

    A `fit` that stops before so many epochs counts as one that does not run. A row comes as soon as
    its run is prepared, with the second run for a round, and again when all rounds are over.
    """
    runs: dict[str, tuple[Train, int, float]] = {}
    for name, prepare in prepares.items():
        try:
            run = prepare()
            first = timed(run)
            start = time.perf_counter()
            result = run()
            second = time.perf_counter() - start
            require_whole(result, epochs)
            del result
        except Exception as error:  # whatever a library raises; the others go on
            yield name, {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            continue
        runs[name] = run, max(1, math.ceil(sizes.seconds / second)), first
        yield name, {"first_run_seconds": first, "seconds_of_rounds": [second]}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(sizes.rounds):
        for name, (run, repeats, _) in runs.items():
            spent = timed(functools.partial(over_and_over, run, repeats))
            seconds[name].append(spent / repeats)
    for name, (_, _, first) in runs.items():
        yield name, {"first_run_seconds": first, "seconds_of_rounds": seconds[name]}


def latest(rows: list[Row]) -> list[Row]:
    """The last row of each run, where its first one was."""
    return list({tuple(map(row.get, ("what", "way", "dtype"))): row for row in rows}.values())


def require_whole(result: Any, epochs: int) -> None:
    """Raises ValueError for a run that has ended where its numbers were no longer finite."""
    if isinstance(result, ls.FitResult):
        fewest = int(np.min(result.state.epoch))
        if fewest < epochs:
            raise ValueError(f"stopped after {fewest} of {epochs} epochs")


def over_and_over(run: Train, times: int) -> None:
    for _ in range(times):
        run()


def work_of(population: Population) -> Row:
    """What one run comes to; bytes are those that float32 must move at least."""
    return {
        "steps": population.work.steps,
        "samples": population.samples,
        "operations": population.operations,
        "bytes": population.bytes,
    }


def name_of(work: Workload) -> str:
    """A network and its batch, and how deep it is if that is long."""
    sizes = "-".join(map(str, work.sizes))
    if len(work.sizes) > 6:
        sizes = f"{len(work.sizes) - 2:,} layers of {work.sizes[1]}"
    return f"{sizes}, batch {work.batch_size}"


def peak_bytes() -> int | None:
    """The most memory that JAX has had of the device so far, where that tells."""
    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")


def why_left_out(peer: str) -> str | None:
    """Why a peer of PyTorch is not timed here."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed"
    import torch

    if torch.cuda.is_available() or (jax.default_backend() == "cpu" and peer != "torch-graph"):
        return None
    return "this PyTorch has no CUDA here"


# --- The parts -----------------------------------------------------------------------------------


def measure_rates(sizes: Sizes) -> Iterator[Row]:
    """What the device can do: large products in each precision, and an array read and written."""
    size = sizes.matrix
    for dtype, precision in (
        ("bfloat16", "default"), ("float32", "default"), ("float32", "highest"),
    ):  # fmt: skip
        prepare = functools.partial(prepare_product, size, dtype, precision)
        row = dict(in_turns({"": prepare}, sizes))[""]
        work = {"operations": 2 * CHAINED * size**3}
        yield {"what": f"product of {size:,}²", "dtype": dtype, "way": precision, **work, **row}
    row = dict(in_turns({"": lambda: prepare_copy(sizes.copied).run}, sizes))[""]
    what = f"{sizes.copied / 2**20:,.3g} MiB, read and written"
    yield {"what": what, "dtype": "", "way": "", "bytes": 2 * sizes.copied, **row}


def prepare_product(size: int, dtype: str, precision: str) -> Train:
    """Square products of which each needs the one before, so that none can be left out."""
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size), dtype) / math.sqrt(size) for key in keys)

    @jax.jit
    def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
        product = functools.partial(jnp.matmul, precision=precision)
        return jax.lax.fori_loop(0, CHAINED, lambda _, each: product(each, b), a)

    return lambda: jax.block_until_ready(multiply(a, b))


def measure_training(sizes: Sizes, size: str) -> Iterator[Row]:
    """One of the training benchmark's networks, beside PyTorch's ways."""
    if size not in sizes.training:
        return
    work = sizes.training[size]
    left_out = {peer: why_left_out(peer) for peer in sizes.peers}
    names = ["logistack", *(peer for peer, why in left_out.items() if why is None)]
    prepares = {name: functools.partial(training.prepare, name, work) for name in names}
    excused = {peer: {"error": why} for peer, why in left_out.items() if why is not None}
    rows = itertools.chain(in_turns(prepares, sizes, epochs=work.epochs), excused.items())
    for name, row in rows:
        head = {"what": name_of(work), "way": training.WAYS[name].label, "dtype": "float32"}
        peak = {"peak_bytes": peak_bytes()} if name == "logistack" else {}
        yield {**head, **work_of(Population(work, 1)), **row, **peak}


def measure_precision(sizes: Sizes) -> Iterator[Row]:
    """`fit` of networks small and large, in float32 and in bfloat16."""
    for work in sizes.precision:
        data = make_data(work)
        prepares = {
            # The mean, so that large batches do not make steps so large that a run ends early.
            dtype: functools.partial(
                logistack.prepare, work, *data, compute_dtype=compute_dtype, reduction="mean"
            )
            for dtype, compute_dtype in DTYPES.items()
        }
        for dtype, row in in_turns(prepares, sizes, epochs=work.epochs):
            head = {"what": name_of(work), "way": "logistack", "dtype": dtype}
            yield {**head, **work_of(Population(work, 1)), **row, "peak_bytes": peak_bytes()}


DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}


def measure_population(sizes: Sizes, dtype: str) -> Iterator[Row]:
    """Populations from one member on; in float32 beside PyTorch's batched products."""

    def prepare_ours(population: Population) -> Train:
        return logistack_members.prepare(population, compute_dtype=DTYPES[dtype]).run

    def prepare_products(population: Population) -> Train:
        return torch_members.prepare(population, way="products").run

    ways = {"logistack": prepare_ours}
    if dtype == "float32":
        ways["PyTorch baddbmm"] = prepare_products
    failed = {way: why_left_out("torch") for way in ways if way != "logistack"}
    for members in sizes.members:
        population = Population(sizes.population, members)
        what = f"{members:,} × {name_of(population.work)}"
        prepares = {
            way: functools.partial(prepare, population)
            for way, prepare in ways.items()
            if failed.get(way) is None
        }
        excused = {way: {"error": why} for way, why in failed.items() if why is not None}
        rows = in_turns(prepares, sizes, epochs=population.work.epochs)
        for way, row in itertools.chain(rows, excused.items()):
            failed[way] = row.get("error")  # where memory has ended, more members need not try
            peak = {"peak_bytes": peak_bytes()} if way == "logistack" else {}
            head = {"what": what, "way": way, "dtype": dtype}
            yield {**head, **work_of(population), **row, **peak}


def measure_fused(sizes: Sizes) -> Iterator[Row]:
    """A fused epoch beside the steps that XLA compiles, by members and by width."""
    options = {"optimizer": optax.sgd, "hyperparams": {"learning_rate": LEARNING_RATE}}
    for population, (dtype, compute_dtype) in itertools.product(sizes.fused, DTYPES.items()):
        prepare = functools.partial(
            logistack_members.prepare, population, compute_dtype=compute_dtype, **options
        )
        prepares = {
            "logistack": lambda prepare=prepare: prepare().run,
            "fused": lambda prepare=prepare: prepare(fused=True).run,
        }
        what = f"{population.members:,} × {name_of(population.work)}"
        for way, row in in_turns(prepares, sizes, epochs=population.work.epochs):
            head = {"what": what, "way": way, "dtype": dtype}
            yield {**head, **work_of(population), **row, "peak_bytes": peak_bytes()}


def measure_depth(sizes: Sizes) -> Iterator[Row]:
    """`fit` of ever deeper stacks, the deepest also with rematerialization."""
    for layers in sizes.depths:
        work = deepened(sizes.deep, layers)
        data, _ = make_data(work)
        params = ls.init_params(jax.random.key(0), work.sizes, scheme="deep", stacked=True)
        arguments = params, data.inputs - np.float32(0.5), data.targets
        ways = {"logistack": False} | ({"with remat": True} if layers == sizes.depths[-1] else {})
        prepares = {
            way: functools.partial(prepare_deep, work, arguments, remat)
            for way, remat in ways.items()
        }
        for way, row in in_turns(prepares, sizes, epochs=work.epochs):
            head = {"what": name_of(work), "way": way, "dtype": "float32"}
            yield {**head, **work_of(Population(work, 1)), **row, "peak_bytes": peak_bytes()}


def prepare_deep(work: Workload, arguments: tuple[Any, ...], remat: bool) -> Train:
    """`fit` of a deep stack with the settings that let it train."""
    fit = functools.partial(
        ls.fit,
        epochs=work.epochs,
        batch_size=work.batch_size,
        optimizer=deep_optimizer(work),
        coordinates="centred",
        reduction="mean",
        remat=remat,
    )
    return lambda: jax.block_until_ready(fit(jax.random.key(0), *arguments))


def deep_optimizer(work: Workload) -> optax.GradientTransformation:
    return ls.deep_sgd(len(work.sizes) - 2, steps=work.steps)


def deepened(work: Workload, layers: int) -> Workload:
    """The work with so many hidden layers, as wide as its inputs."""
    return work._replace(sizes=(work.sizes[0],) * (layers + 1) + work.sizes[-1:])


class Program(NamedTuple):
    """A whole run as one function of arrays, and their shapes."""

    train: Callable[..., Any]
    arguments: tuple[Any, ...]


def programs(sizes: Sizes) -> dict[str, Program]:
    """The programs of the other parts; none of their arrays is made."""
    deepest = deepened(sizes.deep, sizes.depths[-1])
    deep: dict[str, Any] = {
        "optimizer": deep_optimizer(deepest),
        "coordinates": "centred",
        "reduction": "mean",
        "stacked": True,
    }
    largest, members = sizes.precision[-1], sizes.members[-1]
    return {
        **{name_of(work): program(work) for work in sizes.training.values()},
        f"{name_of(largest)}, float32": program(largest),
        f"{name_of(largest)}, bfloat16": program(largest, compute_dtype=jnp.bfloat16),
        f"{members:,} × {name_of(sizes.population)}": program(sizes.population, members=members),
        name_of(deepest): program(deepest, **deep),
        f"{name_of(deepest)}, with remat": program(deepest, remat=True, **deep),
    }


def program(
    work: Workload,
    *,
    members: int | None = None,
    stacked: bool = False,
    optimizer: Any = None,
    **options: Any,
) -> Program:
    """`fit`, or `fit_population` of so many members, by SGD if no optimizer is named."""

    def draw(key: jax.Array) -> ls.Params:
        return ls.init_params(key, work.sizes, stacked=stacked)

    def train(key: jax.Array, params: ls.Params, x: jax.Array, y: jax.Array) -> Any:
        fit: Any = ls.fit if members is None else ls.fit_population
        result = fit(
            key,
            params,
            x,
            y,
            optimizer=optimizer or optax.sgd(LEARNING_RATE),
            epochs=work.epochs,
            batch_size=None if work.full_batch else work.batch_size,
            dropout=0.0 if work.dropout is None else work.dropout,
            **options,
        )
        return result.params, result.history.loss

    def keys() -> jax.Array:
        key = jax.random.key(0)
        return key if members is None else jax.random.split(key, members)

    shape = jax.eval_shape(keys)
    params = jax.eval_shape(draw if members is None else jax.vmap(draw), shape)
    x, y = (
        jax.ShapeDtypeStruct((work.samples, width), jnp.float32)
        for width in (work.sizes[0], work.sizes[-1])
    )
    return Program(train, (shape, params, x, y))


def measure_memory(sizes: Sizes) -> Iterator[Row]:
    """What the compiler says that each program takes."""
    for what, (train, arguments) in programs(sizes).items():
        start = time.perf_counter()
        compiled = jax.jit(train).lower(*arguments).compile()
        seconds = time.perf_counter() - start
        memory: Any = compiled.memory_analysis()
        yield {
            "what": what,
            "argument_bytes": int(memory.argument_size_in_bytes),
            "result_bytes": int(memory.output_size_in_bytes),
            "temporary_bytes": int(memory.temp_size_in_bytes),
            "compile_seconds": seconds,
        }


def measure_startup(_: Sizes) -> Iterator[Row]:
    """`import`, and a first epoch without and with programs of an earlier process, once each."""
    for what, seconds in startup.measure(1).items():
        yield {"what": what, "seconds_of_rounds": seconds}


def measure_export(sizes: Sizes) -> Iterator[Row]:
    """Whether each program can be made for accelerators, which need not be here."""
    for what, (train, arguments) in programs(sizes).items():
        start = time.perf_counter()
        exported = jax.export.export(jax.jit(train), platforms=PLATFORMS)(*arguments)
        yield {
            "what": what,
            "platforms": exported.platforms,
            "bytes": len(exported.mlir_module_serialized),
            "seconds": time.perf_counter() - start,
        }


# --- Tables --------------------------------------------------------------------------------------


def rates_of(rows: list[Row]) -> Rates:
    """Operations a second of products by dtype, in JAX's default precision, and bytes of a copy."""
    rates = {}
    for row in rows:
        if "error" in row:
            continue
        seconds = statistics.median(row["seconds_of_rounds"])
        if row["way"] == "default":
            rates[row["dtype"]] = row["operations"] / seconds
        elif "bytes" in row:
            rates["copy"] = row["bytes"] / seconds
    return rates


def tell_rates(rows: list[Row], _: Rates) -> list[str]:
    cells: list[tuple[str, ...]] = [("", "dtype", "precision", "rate", "", "(range)")]
    for row in rows:
        head = (row["what"], row["dtype"], row["way"])
        if "error" in row:
            cells.append((*head, "", "did not run", row["error"]))
            continue
        name, unit = ("operations", "TFLOP/s") if "operations" in row else ("bytes", "TB/s")
        low, middle, high = (
            f"{row[name] / own(row['seconds_of_rounds']) / 1e12:,.3f}"
            for own in (max, statistics.median, min)
        )
        cells.append((*head, middle, unit, f"({low} to {high})"))
    return keeping.columns(cells, left=3)


def tell_runs(rows: list[Row], rates: Rates) -> list[str]:
    """One row a run: its rates, as shares of the device's, and its time over logistack's."""
    cells: list[tuple[str, ...]] = [
        (
            "", "", "dtype", "µs/step", "samples/s", "first run, s", "÷ logistack",
            "(range)", "of matrix rate", "of copy rate", "peak so far, MiB",
        )
    ]  # fmt: skip
    base: Row = {}
    for row in rows:
        head = (row["what"], row["way"], row["dtype"])
        if row["what"] != base.get("what"):
            base = row
        if "error" in row:
            cells.append((*head, "did not run:", row["error"], *[""] * 6))
            continue
        seconds = row["seconds_of_rounds"]
        middle = statistics.median(seconds)
        beside = ("", "")
        if row is not base and "error" not in base:
            both = zip(seconds, base["seconds_of_rounds"], strict=False)  # if it ended between
            ratios = [own / other for own, other in both]
            low, ratio, high = min(ratios), statistics.median(ratios), max(ratios)
            beside = (f"{ratio:.2f}", f"({low:.2f} to {high:.2f})")
        cells.append(
            (
                *head, f"{1e6 * middle / row['steps']:,.1f}", f"{row['samples'] / middle:,.0f}",
                f"{row['first_run_seconds']:.2f}", *beside,
                share(row["operations"] / middle, rates.get(row["dtype"])),
                share(row["bytes"] / middle, rates.get("copy")),
                mebibytes(row.get("peak_bytes")),
            )
        )  # fmt: skip
    kept = [place for place in range(len(cells[0])) if any(row[place] for row in cells[1:])]
    return keeping.columns([[row[place] for place in kept] for row in cells], left=3)


def share(rate: float, of: float | None) -> str:
    return "" if of is None else f"{rate / of:.1%}"


def mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:,.1f}"


def tell_memory(rows: list[Row], _: Rates) -> list[str]:
    names = ("argument_bytes", "result_bytes", "temporary_bytes")
    return keeping.columns(
        [
            ("", "arguments, MiB", "results, MiB", "temporary, MiB", "compile, s"),
            *(
                (row["what"], *(mebibytes(row[name]) for name in names),
                 f"{row['compile_seconds']:.2f}")
                for row in rows
            ),
        ]
    )  # fmt: skip


def tell_startup(rows: list[Row], _: Rates) -> list[str]:
    return startup.tell({row["what"]: row["seconds_of_rounds"] for row in rows}).splitlines()


def tell_export(rows: list[Row], _: Rates) -> list[str]:
    return keeping.columns(
        [
            ("", "exported for", "KiB", "seconds"),
            *(
                (row["what"], ", ".join(row["platforms"]), f"{row['bytes'] / 2**10:,.0f}",
                 f"{row['seconds']:.2f}")
                for row in rows
            ),
        ],
        left=2,
    )  # fmt: skip


# --- All of them ---------------------------------------------------------------------------------


class Part(NamedTuple):
    """One measurement: its rows, in how many seconds they must be there, and their table."""

    measure: Callable[[Sizes], Iterator[Row]]
    limit: float
    tell: Callable[[list[Row], Rates], list[str]] = tell_runs


# The limits are together below eight minutes, and each is that of a process with its start.
PARTS = {
    "rates": Part(measure_rates, 20, tell_rates),
    "training-small": Part(functools.partial(measure_training, size="small"), 30),
    "training-medium": Part(functools.partial(measure_training, size="medium"), 30),
    "training-large": Part(functools.partial(measure_training, size="large"), 35),
    "training-dropout": Part(functools.partial(measure_training, size="dropout"), 40),
    "precision": Part(measure_precision, 35),
    "population-float32": Part(functools.partial(measure_population, dtype="float32"), 60),
    "population-bfloat16": Part(functools.partial(measure_population, dtype="bfloat16"), 45),
    "fused": Part(measure_fused, 45),
    "depth": Part(measure_depth, 45),
    "memory": Part(measure_memory, 35, tell_memory),
    "startup": Part(measure_startup, 35, tell_startup),
    "export": Part(measure_export, 15, tell_export),
}
