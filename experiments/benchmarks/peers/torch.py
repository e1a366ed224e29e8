"""PyTorch: eager, compiled, or as a CUDA graph."""

import itertools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from experiments.benchmarks.workloads import (
    LEARNING_RATE,
    Data,
    Train,
    Workload,
    go_through_epochs,
    rows,
)


def prepare(
    work: Workload,
    train: Data,
    held: Data,
    way: Literal["eager", "compile", "graph"] = "eager",
) -> Train:
    """PyTorch: `nn.Sequential`, `BCEWithLogitsLoss`, `optim.SGD`, and a loop."""
    import torch

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, which is what JAX takes by default
    layers: list[Any] = []
    for (fan_in, fan_out), rate in zip(itertools.pairwise(work.sizes), work.rates, strict=True):
        layers += [torch.nn.Dropout(rate)] if rate else []
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Sigmoid()]
    network = torch.nn.Sequential(*layers[:-1]).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
    x, y, held_x, held_y = (
        torch.from_numpy(array).to(device)
        for array in (train.inputs, train.targets, held.inputs, held.targets)
    )

    def objective(x: Any, y: Any) -> Any:
        return loss(network(x), y)

    differentiable = torch.compile(objective) if way == "compile" else objective

    def step(index: Any) -> None:
        differentiable(*rows(x, y, index)).backward()
        optimizer.step()
        optimizer.zero_grad()

    def prepare_step() -> Callable[[Any], None]:
        if way != "graph":
            return step
        place = None if work.full_batch else torch.arange(work.batch_size, device=device)
        replay = capture_graph(lambda: step(place))

        def copy_and_replay(index: Any) -> None:
            if place is not None:
                place.copy_(index)
            replay()

        return copy_and_replay

    take_step = prepare_step()

    def run_epoch(network: Any, epoch: int) -> Any:
        if work.full_batch:
            take_step(None)
            return network
        for index in torch.randperm(work.samples, device=device).split(work.batch_size):
            take_step(index)
        return network

    def measure(network: Any) -> float:
        network.eval()
        with torch.no_grad():
            value = objective(held_x, held_y).item()
        network.train()
        return value

    def keep(network: Any) -> dict[str, Any]:
        return {name: value.clone() for name, value in network.state_dict().items()}

    def run() -> None:
        go_through_epochs(work, network, run_epoch, measure, keep)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def capture_graph(work: Callable[[], None]) -> Callable[[], None]:
    """One CUDA graph of what PyTorch launches, to be launched again as a whole."""
    import torch

    # Capturing wants everything that is set up once, cuBLAS among it, set up on another stream.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def products(operands: list[tuple[np.ndarray, np.ndarray]], repeats: int) -> Train:
    """The products in PyTorch; on a GPU as a graph, since launching them one by one costs more."""
    import torch

    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    pairs = [[torch.from_numpy(operand).to(device) for operand in pair] for pair in operands]
    triples = [(a, b, a @ b) for a, b in pairs]

    def multiply() -> None:
        for a, b, out in triples:
            torch.mm(a, b, out=out)

    once = capture_graph(multiply) if on_gpu else multiply

    def run() -> None:
        for _ in range(repeats):
            once()
        if on_gpu:
            torch.cuda.synchronize()

    return run
