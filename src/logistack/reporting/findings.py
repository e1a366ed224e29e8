"""What a report has found, as it is said, drawn and written."""

import dataclasses
from typing import Any, NamedTuple

from logistack.reporting.drift import Drift
from logistack.reporting.evaluation import Estimate, Evaluation
from logistack.reporting.keeping import Model
from logistack.reporting.profile import Profile
from logistack.reporting.questions import Line
from logistack.statistics import Difference


class Curve(NamedTuple):
    """What a stack makes of a part of the rows.

    Attributes:
        rows: how many it learned from, the most last.
        losses: its log loss on the rows held out, for each.
        gained: how much lower it is with all of them than with half.
    """

    rows: list[int]
    losses: list[Estimate]
    gained: Difference


class Training(NamedTuple):
    """How the training of the delivered model went.

    Attributes:
        loss: the mean of the members' after each epoch.
        findings: what `ls.training.diagnose` says of it.
    """

    loss: list[float]
    findings: list[str]


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that was found; `Report` says what each of them is."""

    source: str
    target: str
    labels: list[Any]
    settings: dict[str, Any]
    profile: Profile
    unfinished: str = ""
    line: Line | None = None
    evaluation: Evaluation | None = None
    suspects: list[tuple[int, Any, Any, float]] = dataclasses.field(default_factory=list)
    reliability: Any = None
    calibration: dict[str, float] = dataclasses.field(default_factory=dict)
    model: Model | None = None
    training: Training | None = None
    curve: Curve | None = None
    drift: Drift | None = None
