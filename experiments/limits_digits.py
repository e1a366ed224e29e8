"""What a line can do for digits, before and after the layers of a network that reads them."""

import functools
import math
import time
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import jax
import numpy as np
import optax

import logistack as ls
from experiments.keeping import Once, member
from experiments.limits_plane import Config, Points, train

Proof: TypeAlias = ls.Separator | ls.CommonPoint


class Untangled(NamedTuple):
    """What a line can do after one layer of a network on digits, layer 0 being its input.

    `pairs` of 45 and `rest` of 10, a class against all others, are separable; `multinomial` says
    whether a linear classifier makes no error; `margin` is the least of the separable pairs'.
    `unproven` questions stay open; in the others they count as no.
    """

    components: int
    accuracy: float
    layer: int
    width: int
    pairs: int
    rest: int
    multinomial: bool
    margin: float | None
    unproven: int


class TwoDigits(NamedTuple):
    """Two digits in two components and in all pixels, with a network of 16 hidden units each."""

    points: Points
    snapshots: ls.Params
    names: np.ndarray
    loss: np.ndarray
    in_plane: tuple[Proof, ...]
    pixels: np.ndarray
    params: ls.Params
    in_pixels: tuple[Proof, ...]


class Against(NamedTuple):
    """A proof on MNIST of one digit against the rest: how large, and how long it took.

    `support` is how many samples bear it: those with a weight, or nearest to the line.
    """

    digit: int
    separable: bool
    support: tuple[int, int]
    size: int
    certify: float
    verify: float
    verified: bool


def principal(inputs: np.ndarray, components: int) -> np.ndarray:
    """Principal components, the first with variance 1; the inputs themselves if that is all."""
    if components >= inputs.shape[1]:
        return inputs
    centred = inputs - inputs.mean(axis=0, dtype=np.float64)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    scale = math.sqrt(len(inputs)) / sizes[0]
    return (scale * centred @ axes[:components].T).astype(np.float32)


def separators(answers: Iterable[Proof]) -> list[ls.Separator]:
    """Those that prove that a line is enough."""
    proven = [answer for answer in answers if not answer.numerical_only]
    return [answer for answer in proven if isinstance(answer, ls.Separator)]


def untangle(config: Config, components: int, digits: ls.data.Dataset) -> list[Untangled]:
    """Trains a network on all digits, and asks after every layer."""
    inputs, labels = principal(digits.inputs, components), digits.labels
    steps = config.digit_epochs * -(-len(labels) // 64)
    fitted = ls.fit(
        jax.random.key(0),
        ls.init_params(jax.random.key(0), (inputs.shape[1], *config.hidden, 10)),
        inputs,
        labels,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.01, steps)),
        epochs=config.digit_epochs,
        batch_size=min(64, len(labels)),
        loss=ls.losses.softmax_cross_entropy,
        coordinates="centred",
    )
    logits = jax.vmap(ls.logits, in_axes=(None, 0))(fitted.params, inputs)
    accuracy = float(ls.metrics.accuracy(logits, labels))
    widths = (inputs.shape[1], *config.hidden, 10)
    rows = []
    for layer, proof in enumerate(ls.untangle(fitted.params, inputs, labels, budget=config.budget)):
        assert isinstance(proof, ls.ClassCertificates)
        answers = [*proof.pairs.values(), *proof.rest.values(), proof.multinomial]
        if not all(answer.numerical_only or answer.verify() for answer in answers):
            raise RuntimeError(f"a certificate after layer {layer} does not hold")
        pairs, rest = (separators(parts.values()) for parts in (proof.pairs, proof.rest))
        whole = proof.multinomial
        rows.append(
            Untangled(
                components=components,
                accuracy=accuracy,
                layer=layer,
                width=widths[layer],
                pairs=len(pairs),
                rest=len(rest),
                multinomial=isinstance(whole, ls.MultinomialSeparator) and not whole.numerical_only,
                margin=min((float(part.margin) for part in pairs), default=None),
                unproven=sum(answer.numerical_only for answer in answers),
            )
        )
    return rows


def proofs(params: ls.Params, inputs: np.ndarray, labels: np.ndarray) -> tuple[Proof, ...]:
    """What a line can do to two classes at the input and after every layer."""
    found = ls.untangle(params, inputs, labels)
    return tuple(part for part in found if not isinstance(part, ls.ClassCertificates))


def two_digits(config: Config, digits: ls.data.Dataset) -> TwoDigits:
    """Trains a 2-16-1 and a 64-16-1 network on two digits, and asks after every layer."""
    chosen = np.isin(digits.labels, config.pair)
    pixels, names = digits.inputs[chosen], digits.labels[chosen]
    labels = (names == config.pair[1]).astype(np.int64)
    points = Points(principal(pixels, 2), labels)
    runs = member(train(config, points, 16, jax.random.split(jax.random.key(0), 1)), 0)
    params = ls.fit(
        jax.random.key(0),
        ls.init_params(jax.random.key(0), (pixels.shape[1], 16, 1)),
        pixels,
        labels[:, None].astype(np.float32),
        optimizer=optax.adam(0.01),
        epochs=config.digit_epochs,
    ).params
    return TwoDigits(
        points,
        runs.params,
        names,
        np.asarray(runs.loss),
        proofs(member(runs.params, -1), points.inputs, names),
        pixels,
        params,
        proofs(params, pixels, names),
    )


def against_the_rest(images: ls.data.Dataset, once: Once) -> list[Against]:
    """Asks whether a line separates each digit from all others."""
    inputs, labels = images.inputs, images.labels

    def ask(digit: int) -> Against:
        began = time.perf_counter()
        proof = ls.certify(inputs, labels, positive=digit)
        certified = time.perf_counter()
        verified = proof.verify()
        done = time.perf_counter()
        if isinstance(proof, ls.CommonPoint):
            weights = (proof.weights_positive, proof.weights_negative)
            support = tuple(sum(map(bool, side)) for side in weights)
        else:
            assert isinstance(proof, ls.Separator)
            distance = inputs @ np.array(proof.weight, float) + float(proof.bias)
            near = np.abs(distance) < float(proof.margin) * (1 + 1e-6)
            support = tuple(int((near & side).sum()) for side in (labels == digit, labels != digit))
        return Against(
            digit=digit,
            separable=isinstance(proof, ls.Separator),
            support=(support[0], support[1]),
            size=len(proof.to_json().encode()),
            certify=round(certified - began, 2),
            verify=round(done - certified, 2),
            verified=verified,
        )

    digits = np.unique(labels).tolist()
    return [Against(*once(f"mnist {digit}", functools.partial(ask, digit))) for digit in digits]
