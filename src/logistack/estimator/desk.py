"""Where fits say what they would train, and get it when it has been trained with all the others.

A fit is known by its parameters and a fingerprint of its samples, and several of the same by their
order. Where that does not find a request, as for parameters that cannot be compared, a fit trains
by itself: to the same result, later.
"""

import contextlib
import pickle
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from logistack.estimator.samples import Prepared
from logistack.estimator.training import Job, train

_OPEN: ContextVar["Desk | None"] = ContextVar("desk", default=None)


class Asked(Exception):  # noqa: N818
    """Raised by a fit that has said what it would train."""


class Key(NamedTuple):
    """What tells fits apart.

    Attributes:
        settings: the parameters but for the number of epochs.
        epochs: that number.
        samples: a fingerprint of what the fit was given.
    """

    settings: Any
    epochs: int
    samples: Any


class Desk:
    """The requests of a search, and the fitted estimators that came of them."""

    def __init__(self) -> None:
        self.asks = False
        self._memos: dict[Any, dict[Any, Prepared]] = defaultdict(dict)
        self._requests: list[tuple[Key, Any, Job]] = []
        self._fitted: dict[Key, deque[Any]] = {}
        self._earlier: dict[Any, list[tuple[int, Any]]] = {}

    @contextlib.contextmanager
    def open(self, *, asks: bool) -> Iterator[None]:
        """Has the fits within ask for what they would train, or get it."""
        self.asks = asks
        token = _OPEN.set(self)
        try:
            yield
        finally:
            _OPEN.reset(token)

    def memo(self, key: Key) -> dict[Any, Prepared]:
        """What has been made of these samples, for any parameters."""
        return self._memos[key.samples]

    def ask(self, key: Key, draft: Any, job: Job) -> None:
        """Notes what is to be trained.

        Raises:
            Asked: always.
        """
        self._requests.append((key, draft, job))
        raise Asked

    def take(self, key: Key) -> Any:
        """The estimator that was fitted for this, or None."""
        found = self._fitted.get(key)
        return found.popleft() if found else None

    def train(self, executor: Executor | None = None) -> None:
        """Trains all that was asked for, what has had fewer epochs from where that ended."""
        jobs, before = [], []
        seen: dict[Any, int] = defaultdict(int)
        for key, _, job in self._requests:
            place = seen[key]
            seen[key] += 1
            earlier = self._earlier.get((key.settings, key.samples), [])
            history = None
            if place < len(earlier):
                done, own = earlier[place]
                job = job._replace(state=own._state, epochs=job.epochs - done)
                history = own.history_
            jobs.append(job)
            before.append(history)
        self._fitted, self._earlier = defaultdict(deque), defaultdict(list)
        results = train(jobs, executor=executor)
        for (key, draft, _), history, result in zip(self._requests, before, results, strict=True):
            draft._take(result, before=history)
            self._fitted[key].append(draft)
            self._earlier[key.settings, key.samples].append((key.epochs, draft))
        self._requests = []


def fit_together(asked: Sequence[tuple[Any, Any, Any]]) -> list[Any]:
    """Fits copies of estimators, each to its samples and labels, all at once.

    Args:
        asked: a `StackClassifier`, the samples and the labels of each fit.
    """
    desk = Desk()
    with desk.open(asks=True):
        for estimator, X, y in asked:
            with contextlib.suppress(Asked):
                clone(estimator).fit(X, y)
    desk.train()
    with desk.open(asks=False):
        return [clone(estimator).fit(X, y) for estimator, X, y in asked]


def open_desk() -> Desk | None:
    """The desk that fits go to, if there is one."""
    return _OPEN.get()


def key_of(estimator: Any, *given: Any) -> Key:
    """What tells a fit of this estimator, with what it was given, from others."""
    settings = estimator.get_params(deep=False)
    epochs = settings.pop("epochs")
    frozen = tuple((name, _frozen(value)) for name, value in settings.items())
    return Key(frozen, epochs, tuple(map(_fingerprint, given)))


def _frozen(value: Any) -> Any:
    try:
        return pickle.dumps(value)
    except Exception:
        return id(value)


def _fingerprint(given: Any) -> Any:
    """The shape and a sample of the values, of which there may be millions."""
    if given is None:
        return None
    array = np.asarray(given)
    flat = array.reshape(-1)[:: max(1, array.size // 2**18)]
    content = pickle.dumps(flat) if array.dtype.hasobject else np.ascontiguousarray(flat).tobytes()
    return array.shape, array.dtype.str, zlib.crc32(content), zlib.adler32(content)
