"""What the history of a run says about its health, in words."""

from collections.abc import Collection

import jax
import numpy as np

from logistack.training.measures import History


def diagnose(history: History, *, kinds: Collection[str] | None = None) -> list[str]:
    """Says in plain sentences what is wrong with a run, in which layer, and what to try.

    Args:
        history: that of one run, or with a leading axis that of several.
        kinds: the kinds of finding to say: of "diverged", "stuck", "saturated", "vanishing",
            "bursts", "unmeasured", "rising", "overfit", "slow" and "unfinished"; all if None.

    Returns:
        One string a finding, the most serious first, epochs and layers counted from 1; none if
        nothing stands out. Of several runs, each string says how many it holds for, and shows it
        for the first of them.

    Raises:
        ValueError: if no epoch has run, or a kind is none of these.

    Sources: Glorot & Bengio 2010 for saturation and vanishing gradients; Pascanu, Mikolov &
    Bengio 2013 for clipping; Prechelt 1998 for the rise of the validation loss.

    >>> import jax, jax.numpy as jnp, optax
    >>> import logistack as ls
    >>> params = ls.init_params(jax.random.key(0), (2, *[8] * 16, 2), scheme="normal")
    >>> x = y = jnp.eye(2)
    >>> deep = ls.fit(jax.random.key(1), params, x, y, optimizer=optax.sgd(0.1), epochs=50)
    >>> for finding in diagnose(deep.history):
    ...     print(finding.split(":")[0].split(",")[0])
    The loss is that of predicting the frequencies of the classes
    The gradient vanishes on its way down
    """
    kinds = KINDS if kinds is None else [kind for kind in KINDS if kind in _known(kinds)]
    whole = jax.tree.map(lambda rows: np.asarray(rows, np.float64), history)
    if whole.loss.ndim == 1:
        found = _findings(whole)
        return [found[kind] for kind in kinds if kind in found]
    members = [
        _findings(jax.tree.map(lambda rows, member=member: rows[member], whole))
        for member in range(whole.loss.shape[0])
    ]
    together = []
    for kind in kinds:
        those = [member for member, findings in enumerate(members) if kind in findings]
        if those:
            share = f"{len(those)} of {len(members)} runs, such as run {those[0]}"
            together.append(f"{share}: {members[those[0]][kind]}")
    return together


# The most serious first.
KINDS = (
    "diverged",
    "stuck",
    "saturated",
    "vanishing",
    "bursts",
    "unmeasured",
    "rising",
    "overfit",
    "slow",
    "unfinished",
)


def _known(kinds: Collection[str]) -> Collection[str]:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if isinstance(kinds, str) or unknown:
        raise ValueError(f"kinds: expected some of {', '.join(KINDS)}, got {kinds!r}")
    return kinds


def _findings(history: History) -> dict[str, str]:
    """A sentence for every kind of finding about one run."""
    found: dict[str, str] = {}
    ran = np.flatnonzero(~np.isnan(history.accuracy))
    if not ran.size:
        raise ValueError("history: expected one of at least one epoch, got none that ran")
    history = jax.tree.map(lambda rows: rows[ran], history)
    loss, gradient = history.loss, history.gradient_norm
    finite = np.isfinite(loss) & np.isfinite(gradient).all(1)
    if not finite.all():
        at = int(np.argmin(finite))
        found["diverged"] = (
            f"The loss or its gradient stopped being finite in epoch {at + 1}, and the run ended "
            f"with the parameters after epoch {at}. Try a smaller learning rate, or "
            "optax.clip_by_global_norm before the optimizer."
        )
        history = jax.tree.map(lambda rows: rows[:at], history)
        loss, gradient = history.loss, history.gradient_norm
        if not at:
            return found
    epochs, layers = gradient.shape
    stuck = bool(history.stuck[-1])
    idle = stuck or (epochs > 1 and loss[-1] > 0.99 * loss[0])
    hidden = history.saturated[-1, :-1]
    jammed = hidden.size > 0 and hidden.max() > (0.5 if idle else 0.95)
    largest = float(gradient[-1].max())
    norms = np.sqrt((gradient**2).sum(1))
    usual = float(np.median(norms))
    lowest = int(loss.argmin())
    tenth = epochs // 10
    if stuck:
        found["stuck"] = (
            "The loss is that of predicting the frequencies of the classes, whatever the input. "
            "Try a larger learning rate, init_params's 'orthogonal' scheme with "
            "coordinates='centred' if the network is deep, or inputs centered about 0."
        )
    if jammed:
        at = int(hidden.argmax())
        found["saturated"] = (
            f"{hidden[at]:.0%} of the units of layer {at + 1} are saturated, where σ′ is below "
            "0.02, and let little of the gradient pass. Try smaller initial weights, inputs "
            "scaled to about −½ to ½, or a smaller learning rate."
        )
    elif gradient[-1, 0] < 1e-3 * largest:
        found["vanishing"] = (
            f"The gradient vanishes on its way down: its norm at layer 1 is "
            f"{gradient[-1, 0] / largest:.0e} of that at layer {int(gradient[-1].argmax()) + 1} "
            f"of {layers}. Try init_params's 'orthogonal' scheme, which keeps its size, or fewer "
            "layers."
        )
    if norms.max() > 1000 * usual > 0:
        found["bursts"] = (
            f"The gradient's norm was {norms.max():.2g} in epoch {int(norms.argmax()) + 1}, where "
            f"{usual:.2g} is usual. Try optax.clip_by_global_norm before the optimizer."
        )
    # A rise that is nothing beside what has been learned, or beside the nat that an answer is
    # worth where the run began with next to no loss, is the noise of the last digits.
    if loss[-1] > 1.1 * loss[lowest] and loss[-1] - loss[lowest] > 1e-4 * max(1.0, float(loss[0])):
        found["rising"] = (
            f"The training loss was {loss[lowest]:.4g} in epoch {lowest + 1} and is "
            f"{loss[-1]:.4g} now. Try a smaller learning rate, or one that falls."
        )
    validation = history.validation_loss
    if validation is not None and not np.isfinite(validation).all():
        at = int(np.argmin(np.isfinite(validation)))
        found["unmeasured"] = (
            f"The validation loss is not finite after epoch {at + 1}, and an epoch without one is "
            "never the best. Look for values that are not finite, or very large, among the "
            "validation samples."
        )
    elif validation is not None and not idle:
        best = int(validation.argmin())
        if validation[-1] > 1.1 * validation[best] and loss[-1] < loss[best]:
            found["overfit"] = (
                f"The validation loss was lowest after epoch {best + 1} and has risen by "
                f"{validation[-1] / validation[best] - 1:.0%} since, while the training loss fell: "
                "the samples are being learned by heart. Try patience, dropout, "
                "optax.add_decayed_weights, or more samples."
            )
    if not found and idle:
        found["slow"] = (
            f"The training loss fell by {1 - loss[-1] / loss[0]:.1%} in {epochs} epochs. Try a "
            "larger learning rate."
        )
    elif not found and tenth and loss[-1] < 0.9 * loss[-1 - tenth]:
        found["unfinished"] = (
            f"The training loss still fell by {1 - loss[-1] / loss[-1 - tenth]:.0%} in the last "
            f"{tenth} of {epochs} epochs. Try more epochs."
        )
    return found
