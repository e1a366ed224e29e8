"""Work for other processes: what is sent there and back, and what happens when one of them dies."""

import concurrent.futures
import dataclasses
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logistack import _checks


@dataclasses.dataclass(frozen=True)
class _Sent:
    """An array of JAX, or a random key, which pickle does not know."""

    data: np.ndarray
    impl: Any = None


def require_executor(executor: Any) -> None:
    """Raises for what is no executor, or forks: a copy of a process that runs JAX stands still."""
    if executor is None:
        return
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            "executor: expected a concurrent.futures.Executor, got " + type(executor).__name__
        )
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "executor: expected processes that are spawned, got forked ones, in which JAX stands "
            "still: ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )


def finished(
    executor: Executor, function: Callable[[Any], Any], jobs: Sequence[tuple[int, Any]]
) -> Iterator[tuple[int, Any]]:
    """The results of a function of each job, as they come, while the executor lives.

    A job that it did not finish, because it broke, has no result here. If one raises, or whoever
    takes the results does not go on, those that have not begun are canceled.
    """
    futures: dict[concurrent.futures.Future[bytes], int] = {}
    try:
        try:
            for place, job in jobs:
                futures[executor.submit(_run, _packed(function, job))] = place
        except concurrent.futures.BrokenExecutor:
            pass
        for future in concurrent.futures.as_completed(futures):
            try:
                content = future.result()
            except (concurrent.futures.BrokenExecutor, concurrent.futures.CancelledError):
                continue
            yield futures[future], _arrived(pickle.loads(content))
    finally:
        for future in futures:
            future.cancel()


def warn_of_broken(left: int, of: int) -> None:
    """Warns that an executor broke, with so many blocks left."""
    warnings.warn(
        f"executor: it broke, with {left:,} of {of:,} blocks not finished, which run in this "
        "process now. A process of it was killed, or ran out of memory.",
        RuntimeWarning,
        stacklevel=_checks.level_of_user(),
    )


def _packed(function: Callable[[Any], Any], job: Any) -> bytes:
    content = function, _portable(job)
    try:
        return pickle.dumps(content)
    except (pickle.PicklingError, AttributeError, TypeError):  # as for optax.sgd(0.1), a closure
        try:
            cloudpickle = _checks.import_extra("cloudpickle", "executors")
            packed: bytes = cloudpickle.dumps(content)
        except (pickle.PicklingError, TypeError) as error:
            raise TypeError(
                f"executor: expected an optimizer, a loss and other functions that can be sent to "
                f"another process, got {error}"
            ) from error
        return packed


def _run(packed: bytes) -> bytes:
    function, job = pickle.loads(packed)
    return pickle.dumps(_portable(function(_arrived(job))))


def _portable(tree: Any) -> Any:
    def of(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array):
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return _Sent(np.asarray(jax.random.key_data(leaf)), jax.random.key_impl(leaf))
        return _Sent(np.asarray(leaf))

    return jax.tree.map(of, tree)


def _arrived(tree: Any) -> Any:
    def of(leaf: Any) -> Any:
        if not isinstance(leaf, _Sent):
            return leaf
        array = jnp.asarray(leaf.data)
        return array if leaf.impl is None else jax.random.wrap_key_data(array, impl=leaf.impl)

    return jax.tree.map(of, tree)
