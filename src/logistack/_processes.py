"""What one process of several does for all, and what they tell each other."""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first() -> bool:
    """Whether this process is the one that writes what is shared."""
    return jax.process_index() == 0


def by_first(what: str, function: Callable[[], int]) -> int:
    """The number that a function gives in the first process, which alone calls it.

    Raises:
        RuntimeError: in the others, if it raised in the first.
    """
    number, problem = -1, None
    if is_first():
        try:
            number = function()
        except BaseException as error:  # the others wait to hear of it
            problem = error
    number = int(multihost_utils.broadcast_one_to_all(np.int32(number)))
    if problem is not None:
        raise problem
    if number < 0:
        raise RuntimeError(f"process 0 failed to {what}: its own message says why")
    return number


def told_to_all(value: Any) -> list[Any]:
    """What every process has, as JSON has it, in their order."""
    content = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(content.size))
    room = np.pad(content, (0, int(sizes.max()) - content.size))
    every = multihost_utils.process_allgather(room)
    return [
        json.loads(bytes(row[:size].astype(np.uint8)))
        for row, size in zip(every, sizes, strict=True)
    ]
