"""The checkpoints of a run, and how one is known again."""

import os
from typing import Any

import jax
import numpy as np

from logistack import _files, _processes, _static, checkpoint
from logistack.training.measures import History
from logistack.training.run import Run
from logistack.training.source import Source
from logistack.training.state import TrainState, done_since


class Keeper:
    """Saves the state of a run, its history row by row, and as notes what run it is.

    What a run is are digests of all that decides its result, by the names of the arguments: so
    another run is told from this one, and by what.

    A run that several processes share has a keeper in each, and all of them save together.

    Attributes:
        path: the folder of the checkpoints.
    """

    def __init__(
        self, path: str | os.PathLike[str], run: Run, source: Source | None, shared: bool = False
    ) -> None:
        self.path = _files.local_path("checkpoint_path", path)
        self._source, self._shared = source, shared
        decides = told(run)
        if source is not None:
            decides["steps_per_epoch"] = source.steps
        self._run = {name: _static.digest(value) for name, value in decides.items()}
        self._version: int | None = None
        self._rows = 0  # that the version has

    def save(self, state: TrainState, history: History, place: dict[str, Any] | None) -> None:
        """Keeps a state, what the history has more than the last one kept, and the place."""
        if self._shared:
            if state.epoch.is_fully_addressable and not _processes.is_first():
                return  # each has the whole, and the first saves it
            if place is not None:
                place = {"processes": _processes.told_to_all(place)}
        rows = {
            name: np.moveaxis(np.asarray(values), state.epoch.ndim, 0)[self._rows :]
            for name, values in history._asdict().items()
            if values is not None
        }
        notes = {"run": self._run, "stream": place}
        self._version = checkpoint.save(
            self.path, state, notes=notes, rows=rows, after=self._version
        )
        self._rows += len(rows["loss"])

    def resume(self, state: TrainState, history: History) -> tuple[TrainState, History]:
        """The last state that was kept, with the history up to it, or what is given."""
        version = checkpoint.newest(self.path)
        if version is None:
            return state, history
        first = np.asarray(state.epoch)
        notes = checkpoint.read_notes(self.path, version=version)
        self._require_own(notes)
        state = checkpoint.restore(self.path, state, version=version)
        if self._source is not None:
            self._source.seek(self._own_place(notes["stream"]))
        axis = state.epoch.ndim
        kept = checkpoint.read_rows(self.path, version=version)
        # An epoch that was taken back has a row, and will have it again.
        done = done_since(first, state)
        if len(kept["loss"]) == done:
            self._version, self._rows = version, done
        rows: dict[str, Any] = {
            name: np.moveaxis(values[:done], 0, axis) for name, values in kept.items()
        }
        return state, history._replace(**rows)

    def _own_place(self, place: dict[str, Any]) -> dict[str, Any]:
        """The place of this process in its stream, also of another number of processes."""
        places = place.get("processes", [place])
        count = jax.process_count() if self._shared else 1
        if len(places) == count:
            return dict(places[jax.process_index() if self._shared else 0])
        # The parts of a batch are of another size then.
        alike = [{**each, "first": None} for each in places]
        if any(each != alike[0] for each in alike):
            raise ValueError(
                f"batches: expected {len(places)} processes, as {self.path} was written by, whose "
                f"streams were not all at one place, got {count}"
            )
        return alike[0]

    def _require_own(self, notes: dict[str, Any]) -> None:
        """Raises ValueError for the checkpoint of another run."""
        kept = notes.get("run", {})
        if (self._source is None) != (notes.get("stream") is None):
            kinds = ("fit_with_callbacks", "fit_stream")
            raise ValueError(
                f"checkpoint_path: expected a checkpoint of {kinds[self._source is not None]}, "
                f"{self.path} has one of {kinds[notes.get('stream') is not None]}"
            )
        others = [name for name in self._run | kept if kept.get(name) != self._run.get(name)]
        if others:
            raise ValueError(
                f"{', '.join(others)}: expected that of the run that {self.path} has a checkpoint "
                "of, got another: give another run a checkpoint_path of its own"
            )


def told(run: Run) -> dict[str, Any]:
    """What decides the result of a run, by the names of the arguments."""
    by_name = {"key": run.key, "params": run.state}
    by_name |= {name: run._asdict()[name] for name in ("order", "units") if run._asdict()[name]}
    for prefix, samples in (("", run.train), ("validation ", run.held)):
        if samples is not None:
            parts: dict[str, Any] = {"inputs": samples.inputs, "targets": samples.targets}
            parts["weights" if prefix else "sample_weight"] = samples.weights
            by_name |= {f"{prefix}{name}": part for name, part in parts.items()}
    for name in run.recipe.names():
        value = getattr(run.recipe, name)
        by_name[name] = value.value if isinstance(value, _static.Static) else value
    return by_name
