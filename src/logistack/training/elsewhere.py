"""Work for other processes: what is sent there and back, and what happens when one of them dies."""

import concurrent.futures
import dataclasses
import pickle
import queue
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logistack import _checks

# Jobs that an executor has at a time: enough for every worker of a large cluster to have the next
# one, and few enough for a scheduler to hold what is sent.
AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class _Sent:
    """An array of JAX, or a random key, which pickle does not know."""

    data: np.ndarray
    impl: Any = None


def require_executor(executor: Any) -> None:
    """Raises for what is no executor, or forks: a copy of a process that runs JAX stands still."""
    if executor is None:
        return
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        got = executor.__name__ if isinstance(executor, type) else type(executor).__name__
        raise TypeError(f"executor: expected a concurrent.futures.Executor, got {got}")
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

    A job has no result here if the executor did not finish it, because it broke, was shut down or
    refused it: that is warned of, since the caller has to do it. What a job itself raises is
    raised. Then, or if whoever takes the results does not go on, jobs that have not begun are
    canceled.
    """
    futures: dict[concurrent.futures.Future[bytes], int] = {}
    done: queue.SimpleQueue[concurrent.futures.Future[bytes]] = queue.SimpleQueue()
    failure: Exception | None = None
    waiting, left = iter(jobs), len(jobs)
    refused = False
    try:
        while True:
            while not refused and len(futures) < AT_ONCE and (sent := next(waiting, None)):
                packed = _packed(function, sent[1])
                try:
                    future = executor.submit(_run, packed)
                except Exception as error:
                    failure, refused = error, True
                else:
                    futures[future] = sent[0]
                    future.add_done_callback(done.put)
            if not futures:
                break
            future = done.get()
            place = futures.pop(future)
            try:
                content = future.result()
            except (Exception, concurrent.futures.CancelledError) as error:
                failure = error
                continue
            result, raised = pickle.loads(content)
            if raised is not None:
                raise raised
            left -= 1
            yield place, _arrived(result)
    finally:
        for future in list(futures):
            future.cancel()
    if failure is not None:
        warnings.warn(
            f"executor: it did not finish {left:,} of {len(jobs):,} blocks, which run in this "
            f"process now: {type(failure).__name__}: {failure}. Was a process of it killed, or out "
            "of memory?",
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
    """The function of the job, or what it raises: all else that is raised is the executor's."""
    function, job = pickle.loads(packed)
    try:
        result = _portable(function(_arrived(job)))
    except Exception as error:
        error.add_note(f"In the executor:\n{traceback.format_exc()}")
        return pickle.dumps((None, error))
    return pickle.dumps((result, None))


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
