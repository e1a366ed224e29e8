"""An iterator of batches that knows its place, and checks each."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from logistack import _checks
from logistack.layers import Params
from logistack.training.recipe import Loss, check_samples
from logistack.training.run import FitResult


class StreamError(ValueError):
    """A stream that ended early, or gave a batch that does not fit the others.

    Attributes:
        result: the training on the batches before, a `FitResult`.
    """

    result: FitResult


class Batch(NamedTuple):
    """One batch as it goes to the device: in the dtypes it came in, padded to the first's size."""

    inputs: np.ndarray | Array
    targets: np.ndarray | Array
    weights: np.ndarray | Array | None


class Source:
    """An iterator of batches that knows its place.

    Attributes:
        steps: how many batches an epoch has, as given.
        samples: how many samples it has given, padding not counted.

    Args:
        batches: gives `(inputs, targets)` or `(inputs, targets, weights)`.
        steps: how many batches an epoch has; if None, an epoch is all that `iter(batches)` gives.
        params: the network that they are for.
        loss: the loss that they are for.
        parts: of how many equal parts a batch must consist.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        steps: int | None,
        params: Params,
        loss: Loss | None,
        parts: int = 1,
    ) -> None:
        if not isinstance(batches, Iterable):
            raise TypeError(f"batches: expected an iterable, got {type(batches).__name__}")
        self._batches, self._iterator = batches, iter(batches)
        self.steps, self._params, self._loss, self._parts = steps, params, loss, parts
        self._taken = 0
        self.samples = 0
        self._first: dict[str, tuple[tuple[int, ...], str]] | None = None

    @property
    def _rewinds(self) -> bool:
        return self.steps is None and self._iterator is not self._batches

    @property
    def classes(self) -> bool:
        """Whether targets are integer classes, so far as batches have been seen."""
        return self._first is not None and len(self._first["targets"][0]) == 1

    def epoch(self) -> Iterator[Batch]:
        """Gives the batches of the next epoch, each checked; raises ValueError or TypeError."""
        if self._rewinds:
            self._iterator, self._taken = iter(self._batches), 0
        start = self._taken
        while self.steps is None or self._taken < start + self.steps:
            try:
                batch = next(self._iterator)
            except StopIteration:
                if self.steps is None and self._taken > start:
                    return
                wanted = "one" if self.steps is None else f"{self.steps} in each epoch"
                raise ValueError(
                    f"batches: expected at least {wanted}, got {self._taken - start} in this epoch "
                    f"and {self._taken} in all before the stream ended"
                ) from None
            except Exception as error:
                name = type(error).__name__
                raise ValueError(
                    f"batch {self._taken + 1}: expected to read it, got {name}: {error}"
                ) from error
            self._taken += 1
            checked = self._check(batch)
            self.samples += len(batch[0])
            yield checked

    def _check(self, batch: Any) -> Batch:
        name = f"batch {self._taken}"
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise TypeError(
                f"{name}: expected (inputs, targets) or (inputs, targets, weights), got "
                f"{type(batch).__name__}"
            )
        inputs, targets = (
            # A copy: an iterator may fill the same array again while the device still reads it.
            np.array(array) if isinstance(array, np.ndarray) else array
            for array in check_samples(self._params, batch[0], batch[1], self._loss, of=f"{name}, ")
        )
        samples = inputs.shape[0]
        weights = None
        if len(batch) == 3:
            weights = np.asarray(
                _checks.require_weights(f"{name}, weights", batch[2], samples, some=False)
            )
        parts = {"inputs": inputs, "targets": targets}
        if self._first is None:
            self._first = {part: (array.shape, str(array.dtype)) for part, array in parts.items()}
        for part, array in parts.items():
            shape, dtype = self._first[part]
            if (array.ndim, str(array.dtype)) != (len(shape), dtype):
                raise ValueError(
                    f"{name}, {part}: expected {dtype} of shape {shape}, as in the first, got "
                    f"{array.dtype} of shape {array.shape}"
                )
        size = self._first["inputs"][0][0]
        missing = size - samples
        if missing < 0:
            raise ValueError(
                f"{name}: expected at most {size} samples, as in the first, got {samples}"
            )
        missing += -size % self._parts
        if missing:  # the last sample again, at weight 0
            weights = np.ones(samples, np.float32) if weights is None else weights
            weights = np.pad(weights, (0, missing))
            inputs, targets = (
                np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1), mode="edge")
                for array in (inputs, targets)
            )
        return Batch(inputs, targets, weights)

    def position(self) -> dict[str, Any]:
        """Where the stream stands, as JSON has it."""
        state = None
        if not self._rewinds and hasattr(self._iterator, "get_state"):
            state = self._iterator.get_state()
            if isinstance(state, bytes):
                state = {"base64": base64.b64encode(state).decode()}
        taken = 0 if self._rewinds else self._taken
        return {"taken": taken, "iterator": state, "first": self._first}

    def seek(self, position: dict[str, Any]) -> None:
        """Goes where `position` was: by the iterator's own state, or past as many batches."""
        state = position["iterator"]
        first = position["first"] and {
            part: (tuple(shape), dtype) for part, (shape, dtype) in position["first"].items()
        }
        if state is None:
            for place in range(position["taken"]):
                batch = next(self._iterator, None)
                if place == 0 and batch is not None:
                    self._taken = 1
                    self._check(batch)
                    if first is not None and self._first != first:
                        raise ValueError(
                            f"batches: expected the first as in the run to continue, {first}, got "
                            f"{self._first}"
                        )
        else:
            if not hasattr(self._iterator, "set_state"):
                raise TypeError(
                    "batches: expected an iterator with set_state, as that of the run to continue, "
                    f"got {type(self._iterator).__name__}"
                )
            if isinstance(state, dict) and state.keys() == {"base64"}:
                state = base64.b64decode(state["base64"])
            self._iterator.set_state(state)
        self._taken = position["taken"]
        self._first = first
