"""What a report says in words, for readers without statistics."""

from typing import TYPE_CHECKING, Any

from logistack.reporting import evaluation
from logistack.reporting.columns import NAMES
from logistack.reporting.models import BOOSTING, LINE, STACK
from logistack.reporting.profile import FEW
from logistack.reporting.questions import UNDECIDED

if TYPE_CHECKING:
    from logistack.reporting.making import Report

FEW_ROWS = 200
SCORE = "log loss"
"""By which models are compared: it sees how sure a model is, and not only whether it is right."""


def percent(share: float) -> str:
    """A share in percent, with a digit behind the point."""
    return "unknown" if share != share else f"{100 * share:.1f}%"


def number(value: float) -> str:
    """Three digits."""
    return "—" if value != value else f"{value:.3g}"


def interval(own: Any) -> str:
    """A mean with its interval."""
    return (
        f"{own.mean:.3f} ({own.low:.3f} to {own.high:.3f})"
        if own.low == own.low
        else number(own.mean)
    )


def difference(own: Any) -> str:
    """What a difference shows."""
    if own.low != own.low:
        return "nothing can be said"
    return f"{own.difference:+.3f} ({own.low:+.3f} to {own.high:+.3f})"


def rows(numbers: list[int], most: int = 12) -> str:
    """The numbers of rows, the first of them if they are many."""
    shown = ", ".join(f"{row:,}" for row in numbers[:most])
    return shown + (f" and {len(numbers) - most:,} more" if len(numbers) > most else "")


def compared(report: "Report", other: str) -> str:
    """One sentence on the stack beside another model."""
    own = report.evaluation.differences[other][SCORE]
    if own.low != own.low:
        return f"Whether the stack predicts better than {other} cannot be said from these folds."
    if not own.shown:
        return (
            f"No difference between the stack and {other} is shown: the log losses differ by "
            f"{difference(own)}."
        )
    better, worse = "The stack", other
    if own.difference > 0:
        better, worse = other.capitalize(), "the stack"
    lower = number(abs(own.difference))
    return f"{better} predicts better than {worse}: its log loss is lower by {lower}."


def verdict(report: "Report") -> list[tuple[str, str]]:
    """Five sentences, each with the section that it rests on."""
    found, line = report.evaluation, report.line
    if line.answer == UNDECIDED:
        first = f"Whether a line is enough is not decided. {line.words}"
    else:
        of = "all rows" if not line.left_out else f"the {line.rows:,} rows without a missing value"
        of += ", without the dates" if line.dates else ""
        first = f"For {of}, {line.answer}; this is proven."
    accuracy = found.estimates[STACK]["accuracy"]
    most = max(report.profile.classes.values()) / report.profile.rows
    second = (
        "On rows that it has not seen, the stack names the right label in "
        f"{percent(accuracy.mean)} of cases; always naming the most frequent label would be right "
        f"in {percent(most)}."
    )
    covered = found.coverage.mean
    fifth = (
        "Its sets of possible labels, made to hold the right one in "
        f"{percent(1 - evaluation.ALPHA)} of cases, held it in {percent(covered)}, with "
        f"{found.set_size:.2f} labels each."
    )
    return [
        (first, "line"),
        (second, "models"),
        (compared(report, LINE), "models"),
        (compared(report, BOOSTING), "models"),
        (fifth, "sure"),
    ]


def doubts(report: "Report") -> list[str]:
    """When not to believe the report."""
    profile, found = report.profile, report.evaluation
    said = []
    if profile.rows < FEW_ROWS:
        said.append(
            f"There are only {profile.rows:,} rows: every figure may be off by a few percent, and "
            "differences that matter may not show."
        )
    rare = [str(name) for name, count in profile.classes.items() if count < FEW]
    if rare:
        said.append(f"Some labels have fewer than {FEW} rows: {', '.join(rare[:12])}.")
    if report.line.leaks:
        said.append(
            "One column alone separates the labels, which is proven: "
            f"{', '.join(report.line.leaks)}. If it is known only after the label, leave it out."
        )
    names = [column.name for column in profile.columns if column.why == NAMES]
    if names:
        said.append(f"Columns that name the rows were left out: {', '.join(names)}.")
    if profile.duplicates > profile.rows / 100:
        said.append(
            f"{profile.duplicates:,} rows are copies of others. A model may have learned from the "
            "copy of a row that it was tested on."
        )
    if profile.unavoidable:
        said.append(
            f"{profile.unavoidable:,} rows have the same features as others with another label: no "
            "model can be right about them."
        )
    if report.settings["group"] is None:
        said.append(
            "Rows are taken to be independent. If several are of one person or place, say which "
            "column tells (--group); if they follow each other in time, the figures are too good."
        )
    if found.unfinished:
        said.append("Time ran out before all repeats were done, so the intervals are wider.")
    return said
