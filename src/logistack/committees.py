"""Networks that decide together: their mean, who is in it, and where they disagree."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import rel_entr
from jaxtyping import Array, ArrayLike, Float, Int, Real

from logistack import _checks, losses, metrics
from logistack._export import exported
from logistack.layers import Layer, Params
from logistack.metrics.probabilities import require_exclusive
from logistack.network import logits


def committee(
    params: Params | list[Params],
    x: Real[ArrayLike, " in"],
    *,
    weights: Real[ArrayLike, " members"] | None = None,
    outputs: Callable[[Array], Array] = jax.nn.sigmoid,
) -> Float[Array, " out"]:
    """Averages the probabilities that the members of a committee give for one sample.

    y = Σₘ wₘ σ(z⁽ᵐ⁾) / Σₘ wₘ, z⁽ᵐ⁾ being the logits of member m.

    Args:
        params: the parameters of M networks: of one shape, a tuple of `Layer` with a leading member
            axis, `(members, out, in)`, or `(members, depth, width, width)` for a stack; or a list
            of networks of any widths and depths.
        x: one sample, `(in,)`, of any real dtype; taken to that of the parameters.

    Other Arguments:
        weights: how much each member counts, `(members,)`, such as `greedy_weights` finds; 1 each
            if None. One of weight 0 is not there, whatever its outputs are.
        outputs: makes probabilities of logits: σ, or `jax.nn.softmax` for members that were
            trained by `softmax_cross_entropy`.

    Returns:
        Probabilities `(out,)` in the dtype of the parameters.

    Raises:
        ValueError: if shapes do not fit, `x` is concrete and not finite, there is no member, or
            weights are negative or all zero.
        TypeError: if a dtype is not of real numbers.

    >>> two = (Layer(jnp.array([[[0.0]], [[jnp.log(3.0)]]]), jnp.zeros((2, 1))),)
    >>> print(committee(two, jnp.ones(1)))  # the mean of 1/2 and 3/4
    [0.625]
    >>> print(committee(two, jnp.ones(1), weights=jnp.array([3, 1])))
    [0.5625]
    """
    return _mean(member_probabilities(params, x, outputs=outputs), weights)


def member_probabilities(
    params: Params | list[Params],
    x: Real[ArrayLike, " in"],
    *,
    outputs: Callable[[Array], Array] = jax.nn.sigmoid,
) -> Float[Array, "members out"]:
    """Computes the probabilities that each member of a committee gives for one sample.

    Arguments and errors are those of `committee`.

    Returns:
        A row for each member, `(members, out)`.

    >>> two = (Layer(jnp.array([[[0.0]], [[jnp.log(3.0)]]]), jnp.zeros((2, 1))),)
    >>> print(member_probabilities(two, jnp.ones(1)).round(2))
    [[0.5 ]
     [0.75]]
    """
    return _of_members(params, lambda member: outputs(logits(member, x)))


def committee_logits(
    params: Params | list[Params],
    x: Real[ArrayLike, " in"],
    *,
    loss: Callable[..., Array] = losses.sigmoid_cross_entropy,
) -> Float[Array, " out"]:
    """Computes logits for one sample that stand for the mean of the members' probabilities.

    With p̄ that mean, z = ln p̄ for exclusive classes and z = ln p̄ − ln(1 − p̄) for independent
    outputs, so that softmax z, or σ(z), is p̄. Sums are of exponentials, p̄ itself is never formed:
    z is right where p̄ is 0 or 1 to rounding, too.

    Args:
        params: the networks, as `committee` takes them.
        x: one sample, `(in,)`.
        loss: the loss that they were trained with: `sigmoid_cross_entropy` for independent
            outputs, `softmax_cross_entropy` for exclusive classes.

    Returns:
        Logits `(out,)`, as `ls.logits` gives them for one network.

    Raises:
        ValueError: if shapes do not fit, `x` is concrete and not finite, there is no member, or
            `loss` is another function.
        TypeError: if a dtype is not of real numbers.

    >>> two = (Layer(jnp.array([[[0.0]], [[jnp.log(3.0)]]]), jnp.zeros((2, 1))),)
    >>> print(jax.nn.sigmoid(committee_logits(two, jnp.ones(1))))
    [0.625]
    """
    if loss not in (losses.sigmoid_cross_entropy, losses.softmax_cross_entropy):
        raise ValueError(
            "loss: expected losses.sigmoid_cross_entropy or losses.softmax_cross_entropy, got "
            f"{getattr(loss, '__name__', repr(loss))}"
        )
    z = _of_members(params, lambda member: logits(member, x))

    def log_mean(logarithms: Float[Array, "members out"]) -> Float[Array, " out"]:
        return jax.nn.logsumexp(logarithms, axis=0) - math.log(len(z))

    if loss is losses.softmax_cross_entropy:
        return log_mean(jax.nn.log_softmax(z, axis=1))
    return log_mean(jax.nn.log_sigmoid(z)) - log_mean(jax.nn.log_sigmoid(-z))


def _of_members(
    params: Params | list[Params], function: Callable[[Params], Array]
) -> Float[Array, "members out"]:
    if not is_committee(params):
        return jax.vmap(function)(require_tree(params))
    groups = _by_shape(params)  # type: ignore[arg-type]
    rows = [jax.vmap(function)(group) for group in groups.values()]
    order = np.argsort(np.concatenate([*groups]))
    return jnp.concatenate(rows)[order]


def is_committee(params: Any) -> bool:
    """Whether these are several networks in a list, and not the layers of one."""
    return isinstance(params, list) and not any(isinstance(part, Layer) for part in params)


def _by_shape(params: list[Params]) -> dict[tuple[int, ...], Params]:
    """Networks of each shape in one tree with a leading axis, by their places in the list."""
    if not params:
        raise ValueError("params: expected at least one network, got none")
    # The training room brings Optax, which takes a while, and whoever has such a list has it.
    from logistack.training.members import require_networks

    by_shape: dict[Any, list[int]] = {}
    networks = require_networks(params, len(params))
    for place, network in enumerate(networks):
        shape = tuple(leaf.shape for leaf in jax.tree.leaves(network))
        by_shape.setdefault(shape, []).append(place)
    return {
        tuple(places): jax.tree.map(
            lambda *each: jnp.stack(each), *[networks[place] for place in places]
        )
        for places in by_shape.values()
    }


def require_tree(params: Any) -> Params:
    """Returns networks of one shape, as one whose arrays have a leading member axis."""
    if isinstance(params, Layer) or not isinstance(params, tuple | list):
        raise TypeError(f"params: expected a tuple of Layer, got {type(params).__name__}")
    sizes = {np.shape(array)[:1] for array in jax.tree.leaves(params)}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        raise ValueError(
            "params: expected arrays with one leading member axis, of at least 1, got lengths "
            f"{sorted(size[0] if size else 0 for size in sizes)}"
        )
    return tuple(params)


def _mean(rows: Float[Array, "members ..."], weights: Any) -> Float[Array, "..."]:
    """The mean over members; of those that do not count, nothing is taken."""
    if weights is None:
        return rows.mean(axis=0)
    weights = _checks.require_weights("weights", weights, len(rows)).astype(rows.dtype)
    shares = (weights / weights.sum()).reshape(-1, *[1] * (rows.ndim - 1))
    return jnp.sum(jnp.where(shares > 0, shares * rows, 0), axis=0)


@exported
class Disagreement(NamedTuple):
    """How far the members of a committee disagree about one sample.

    Attributes:
        information: the mutual information of member and class, in nats: 0 where all give the same
            probabilities, and at most the logarithm of the number of classes or of members.
        dissent: the share of members that vote for another class than the committee.
    """

    information: Float[Array, ""]
    dissent: Float[Array, ""]


def disagreement(
    probabilities: Real[ArrayLike, "members out"],
    *,
    weights: Real[ArrayLike, " members"] | None = None,
    independent: bool = False,
) -> Disagreement:
    """Measures how far the members of a committee disagree about one sample.

    With p⁽ᵐ⁾ the probabilities of member m, p̄ their mean and H the entropy,

        I = H(p̄) − 1/M Σₘ H(p⁽ᵐ⁾) = 1/M Σₘ Σₖ p⁽ᵐ⁾ₖ ln(p⁽ᵐ⁾ₖ / p̄ₖ),

    the Jensen–Shannon divergence of the members. Of the uncertainty of the committee, H(p̄), it is
    the part that comes from not knowing the right network: members that are all undecided do not
    disagree. Independent outputs have that of each, p against 1 − p, summed.

    Args:
        probabilities: those of each member, `(members, out)`, as from `member_probabilities`; of
            one output, that of class 1.
        weights: how much each member counts, `(members,)`; 1 each if None.
        independent: whether the outputs are independent units, as one output always is.

    Returns:
        A `Disagreement` of two scalars.

    Raises:
        ValueError: if a shape does not fit, a value is out of range, the rows of exclusive classes
            do not sum to 1, or weights are negative or all zero.
        TypeError: if a dtype is not of real numbers.

    Source: Lin 1991, "Divergence measures based on the Shannon entropy"; Houlsby et al.
    2011, "Bayesian active learning for classification and preference learning", equation 2.

    >>> found = disagreement(jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]))
    >>> print(found.information.round(4), found.dissent)
    0.4883 0.25
    """
    probabilities = _require_probabilities(probabilities, "members", "outputs")
    independent = require_exclusive("probabilities", probabilities, independent)
    mean = _mean(probabilities, weights)

    def divergence(own: Array, mean: Array) -> Array:
        return jnp.sum(jnp.where(mean > 0, rel_entr(own, mean), 0))

    from_mean = jax.vmap(divergence, (0, None))
    each = from_mean(probabilities, mean)
    if independent:
        each += from_mean(1 - probabilities, 1 - mean)
    other = _class_of(probabilities) != _class_of(mean)
    return Disagreement(_mean(each, weights), _mean(other.astype(mean.dtype), weights))


def _class_of(probabilities: Float[Array, "... out"]) -> Int[Array, "..."]:
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] > 0.5).astype(int)
    return jnp.argmax(probabilities, axis=-1)


@exported
class GreedyWeights(NamedTuple):
    """Who is in a committee, as greedy selection found it.

    Attributes:
        weights: how often each member is in it, over the number of places, `(members,)`.
        scores: the committee's score after each step, `(steps + 1,)`, the first being that of the
            best members by themselves. The weights are those of the least.
        ties: how many choices were equally good at each step, to one in a million, `(steps + 1,)`:
            1 where there was one best. The first of them was taken.
    """

    weights: Float[Array, " members"]
    scores: Float[Array, " steps"]
    ties: Int[Array, " steps"]


def greedy_weights(
    probabilities: Real[ArrayLike, "n members out"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    steps: int = 100,
    score: Callable[[Array, Array], Array] = metrics.brier_score,
) -> GreedyWeights:
    """Selects the members of a committee on samples that none was trained on, with replacement.

    It begins with the N best members, N being as many as make the best committee. Each step adds
    the member with which the committee is best, which may be in it already. The committee is that
    of the best step. Weights of so many members fit the samples by which they were selected: the
    score over these is too good, and others have to say how good the committee is.

    Args:
        probabilities: those of each member for each sample, `(n, members, out)`, as from
            `jax.vmap(member_probabilities, (None, 0))(params, inputs)`.
        targets: integer classes `(n,)`, or rows `(n, out)`.

    Other Arguments:
        steps: how many times a member is added; 0 leaves the best N.
        score: a function of probabilities `(n, out)` and targets that JAX can trace, the less the
            better. With errors, `lambda p, y: ls.metrics.error_rate(p - 0.5, y)`, many are equal.

    Returns:
        `GreedyWeights`, whose `weights` are for `committee`.

    Raises:
        ValueError: if shapes do not fit, a value is out of range, or no member's score is finite.
        TypeError: if a dtype is not of real numbers, or `steps` no integer.

    Source: Caruana et al. 2004, "Ensemble selection from libraries of models" (with replacement,
    sorted initialization).

    >>> shares = jnp.array([[[0.75], [0.5], [0.5]], [[0.5], [0.25], [0.75]]])  # of 3 members
    >>> found = greedy_weights(shares, jnp.array([1, 0]), steps=2)
    >>> print(found.weights, found.scores.round(3), found.ties)
    [0.5 0.5 0. ] [0.141 0.142 0.141] [1 2 1]
    """
    probabilities = _require_probabilities(probabilities, "samples", "members", "outputs")
    targets = _checks.require_numeric("targets", targets)
    steps = _checks.require_count("steps", steps, low=0)
    score(jnp.full_like(probabilities[:, 0], 1 / probabilities.shape[2]), targets)  # checks them
    found = _search(probabilities, targets, steps, score)
    if not _checks.is_traced(found) and not np.isfinite(found.scores).any():
        raise ValueError("probabilities: expected a member whose score is finite, got none")
    return found


@functools.partial(jax.jit, static_argnums=(2, 3))
def _search(
    probabilities: Float[Array, "n members out"],
    targets: Array,
    steps: int,
    score: Callable[[Array, Array], Array],
) -> GreedyWeights:
    rows = jnp.moveaxis(probabilities, 1, 0)
    members = len(rows)

    def scores_of(committees: Float[Array, "committees n out"]) -> Float[Array, " committees"]:
        scores = jax.vmap(score, (0, None))(committees, targets)
        return jnp.where(jnp.isnan(scores), jnp.inf, scores)

    def best(scores: Float[Array, " choices"]) -> tuple[Array, Array, Array]:
        least = jnp.min(scores)
        equal = scores <= least + 1e-6 * jnp.abs(least)  # to rounding, the same on all devices
        place = jnp.argmax(equal)
        return place, scores[place], jnp.sum(equal)

    order = jnp.argsort(scores_of(rows))
    sizes = jnp.arange(1, members + 1, dtype=rows.dtype)
    sums = jnp.cumsum(rows[order], axis=0)
    fewest, *first = best(scores_of(sums / sizes[:, None, None]))
    counts = jnp.zeros(members, int).at[order].add(jnp.arange(members) <= fewest)

    def add(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Any]:
        total, size = carry
        place, *seen = best(scores_of((total[None] + rows) / (size + 1)))
        return (total + rows[place], size + 1), (place, *seen)

    start = sums[fewest], sizes[fewest]
    _, (added, *seen) = jax.lax.scan(add, start, length=steps)
    scores, ties = (
        jnp.concatenate([one[None], rest]) for one, rest in zip(first, seen, strict=True)
    )
    counts = counts.at[added].add(jnp.arange(steps) < best(scores)[0])
    return GreedyWeights(counts / counts.sum(), scores, ties)


def _require_probabilities(probabilities: Any, *axes: str) -> jax.Array:
    probabilities = _checks.require_numeric("probabilities", probabilities)
    if probabilities.ndim != len(axes) or 0 in probabilities.shape:
        raise ValueError(
            f"probabilities: expected shape ({', '.join(axes)}), got {probabilities.shape}"
        )
    # NaN is what a member gives that diverged, which weights may leave out.
    finite = jnp.where(jnp.isnan(probabilities), 0, probabilities)
    _checks.require_range("probabilities", finite, 0, 1, "values")
    return probabilities.astype(_checks.float32_or_wider(probabilities.dtype))
