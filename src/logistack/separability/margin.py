"""The widest line: of all that separate, the one that stays farthest from the samples."""

import numpy as np

ROUNDS = 50
BIAS_UNIT = 30.0
"""A bias costs (bias / 30)² beside ‖weight‖²; the origin then moves to the line, and it costs 0."""


def widest(inputs: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """The weight of the hard-margin support vector machine, up to the rounding of floats.

    The least ‖weight‖ with ± (weight · x + bias) ≥ 1 is a least distance problem, which
    nonnegative least squares solves (Lawson & Hanson, "Solving Least Squares Problems", 1974,
    ch. 23). It is solved on the samples nearest to the line, to which those are added that the
    solution leaves too near.

    Args:
        inputs: (samples, features).
        positive: (samples,), whether each is on the positive side.
        weight: (features,), that of a line which separates.

    Returns:
        (features,), or None where floating point is not enough.
    """
    from scipy import optimize

    features = inputs.shape[1]
    signs = np.where(positive, 1.0, -1.0)
    with np.errstate(all="ignore"):
        origin = inputs.mean(axis=0)
        radius = np.abs(inputs - origin).max()
        rows = (inputs - origin) / radius
        values = signs * (rows @ weight)
        nearest = np.argsort(values)
        near = np.union1d(
            nearest[positive[nearest]][: features + 1], nearest[~positive[nearest]][: features + 1]
        )
        shift = 0.0
        direction = weight * radius
        for _ in range(ROUNDS):
            # Along the line's own normal, so that its bias becomes 0.
            length = np.linalg.norm(direction)
            if not np.isfinite(length) or length == 0:
                return None
            center = shift * direction / length**2
            constraints = signs[near, None] * np.concatenate(
                [rows[near] + center, np.full((len(near), 1), BIAS_UNIT)], axis=1
            )
            try:
                multipliers, _ = optimize.nnls(
                    np.concatenate([constraints.T, np.ones((1, len(near)))]),
                    np.append(np.zeros(features + 1), 1.0),
                )
            except (RuntimeError, ValueError):
                return None
            residual = constraints.T @ multipliers
            slack = 1 - multipliers.sum()
            if not slack > 1e-12:
                return None
            direction, bias = residual[:-1] / slack, residual[-1] / slack * BIAS_UNIT
            bias += direction @ center
            values = signs * (rows @ direction + bias)
            objecting = np.setdiff1d(np.flatnonzero(values < 1 - 1e-9), near)
            if not objecting.size and abs(bias - shift) < 1e-9 * max(1.0, abs(bias)):
                break
            shift = bias
            worst = objecting[np.argsort(values[objecting])[: features + 1]]
            near = np.union1d(near, worst)
    return direction if np.isfinite(direction).all() else None
