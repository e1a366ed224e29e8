"""PyTorch's ways to train a population."""

import itertools
from typing import Any, Literal

from experiments.benchmarks.populations import (
    Population,
    Ready,
    make_batches,
    make_samples,
    make_starts,
    tell_losses,
)
from experiments.benchmarks.workloads import LEARNING_RATE, Train


def prepare(population: Population, way: Literal["eager", "products", "vmap"]) -> Ready:
    """One network after another; all in batched products; or `torch.func.vmap` of `grad`."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, which is what JAX takes by default
    data = make_samples(population.work)
    batches = torch.from_numpy(make_batches(population).astype("int64")).to(device)
    x, y = (torch.from_numpy(each).to(device) for each in (data.inputs, data.targets))
    start = [
        tuple(torch.from_numpy(each).to(device) for each in layer)
        for layer in make_starts(population)
    ]
    train = {"eager": one_by_one, "products": by_products, "vmap": by_vmap}[way]
    run = train(population, start, x, y, batches)

    def synchronized() -> Any:
        layers = run()
        if device == "cuda":
            torch.cuda.synchronize()
        return layers

    def tell(layers: Any) -> list[float]:
        return tell_losses(
            population, [tuple(each.detach().cpu().numpy() for each in own) for own in layers]
        )

    return Ready(synchronized, tell)


def one_by_one(population: Population, start: Any, x: Any, y: Any, batches: Any) -> Train:
    """`nn.Sequential`, `BCEWithLogitsLoss`, `optim.SGD`, and a loop, for each network."""
    import torch

    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")

    def train(member: int) -> list[Any]:
        layers: list[Any] = []
        for fan_in, fan_out in itertools.pairwise(population.work.sizes):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Sigmoid()]
        network = torch.nn.Sequential(*layers[:-1]).to(x.device)
        params = list(network.parameters())
        with torch.no_grad():
            for param, own in zip(params, itertools.chain(*start), strict=True):
                param.copy_(own[member])
        optimizer = torch.optim.SGD(params, lr=LEARNING_RATE, fused=True)
        for index in batches[member if population.order == "own" else 0]:
            loss(network(x[index]), y[index]).backward()
            optimizer.step()
            optimizer.zero_grad()
        return params

    def run() -> list[tuple[Any, Any]]:
        every = [train(member) for member in range(population.members)]
        stacked = [torch.stack(each) for each in zip(*every, strict=True)]
        return list(zip(stacked[::2], stacked[1::2], strict=True))

    return run


def by_products(population: Population, start: Any, x: Any, y: Any, batches: Any) -> Train:
    """All members in one `baddbmm` a layer and direction, the gradient by hand.

    Activations are members × units × batch. In a shared order the first layer's product and its
    weights' gradient are each one for all members.
    """
    import torch

    shared = population.order == "shared"

    def run() -> list[tuple[Any, Any]]:
        with torch.no_grad():
            return train()

    def train() -> list[tuple[Any, Any]]:
        layers = [(weight.clone(), bias[..., None].clone()) for weight, bias in start]
        (first, first_bias), *later = layers
        flat, flat_bias = first.flatten(0, 1), first_bias.flatten(0, 1)  # views of the same
        for index in batches[0] if shared else batches.transpose(0, 1).contiguous():
            inputs, targets = x[index].mT, y[index].mT
            if shared:
                z = torch.addmm(flat_bias, flat, inputs).view(*first.shape[:2], -1)
            else:
                z = torch.baddbmm(first_bias, first, inputs)
            activations = []
            for weight, bias in later:
                activations.append(z.sigmoid_())
                z = torch.baddbmm(bias, weight, activations[-1])
            delta = z.sigmoid_().sub_(targets)
            for weight, bias in reversed(later):
                a = activations.pop()
                before = torch.ops.aten.sigmoid_backward(torch.bmm(weight.mT, delta), a)
                weight.baddbmm_(delta, a.mT, alpha=-LEARNING_RATE)
                bias.sub_(delta.sum(2, keepdim=True), alpha=LEARNING_RATE)
                delta = before
            if shared:
                flat.addmm_(delta.flatten(0, 1), inputs.mT, alpha=-LEARNING_RATE)
            else:
                first.baddbmm_(delta, inputs.mT, alpha=-LEARNING_RATE)
            first_bias.sub_(delta.sum(2, keepdim=True), alpha=LEARNING_RATE)
        return [(weight, bias[..., 0]) for weight, bias in layers]

    return run


def by_vmap(population: Population, start: Any, x: Any, y: Any, batches: Any) -> Train:
    """`torch.func.vmap` over members of `torch.func.grad` of one network's loss."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, linear

    shared = population.order == "shared"

    def objective(layers: Any, x: Any, y: Any) -> Any:
        for place, (weight, bias) in enumerate(layers):
            x = linear(torch.sigmoid(x) if place else x, weight, bias)
        return binary_cross_entropy_with_logits(x, y, reduction="sum")

    samples = None if shared else 0
    gradients = torch.func.vmap(torch.func.grad(objective), in_dims=(0, samples, samples))

    def run() -> list[tuple[Any, Any]]:
        layers = [(weight.clone(), bias.clone()) for weight, bias in start]
        for index in batches[0] if shared else batches.transpose(0, 1).contiguous():
            gradient = gradients(layers, x[index], y[index])
            torch._foreach_add_(
                list(itertools.chain(*layers)),
                list(itertools.chain(*gradient)),
                alpha=-LEARNING_RATE,
            )
        return layers

    return run
