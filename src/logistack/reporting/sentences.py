"""What a report says in words, for readers without statistics."""

from typing import TYPE_CHECKING, Any

from logistack.reporting import evaluation
from logistack.reporting.columns import COUNTS, NAMES
from logistack.reporting.models import BOOSTING, LINE, STACK
from logistack.reporting.profile import FEW, Profile
from logistack.reporting.questions import UNDECIDED

if TYPE_CHECKING:
    from logistack.reporting.making import Report
    from logistack.reporting.questions import Line

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
    return f"{own.difference:+.3f} ({own.low:+.3f} to {own.high:+.3f})".replace("-", "−")


def counted(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def rows(numbers: list[int], most: int = 12) -> str:
    """The numbers of rows, the first of them if they are many."""
    shown = ", ".join(f"{row:,}" for row in numbers[:most])
    return shown + (f" and {len(numbers) - most:,} more" if len(numbers) > most else "")


def copies(profile: Profile) -> str:
    """How many rows are copies, in a sentence."""
    if not profile.duplicates:
        return "No row is a copy of another."
    verb = "is a copy" if profile.duplicates == 1 else "are copies"
    but = " but for columns that are left out" if any(own.why for own in profile.columns) else ""
    return f"{counted(profile.duplicates, 'row')} {verb} of others{but}."


def leaks(line: "Line") -> str:
    """Which columns alone separate the labels, in a sentence."""
    names = ", ".join(name or "(no name)" for name in line.leaks)
    if not names:
        return "No single column is proven to separate the labels."
    whole = "Each of these columns" if len(line.leaks) > 1 else "One column"
    return f"{whole} alone separates the labels, which is proven: {names}."


def compared(report: "Report", other: str) -> str:
    """One sentence on the stack beside another model."""
    assert report.evaluation is not None
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
    """Five sentences, each with the section that it rests on; fewer if it was interrupted."""
    said = []
    if report.line is not None:
        said.append((_of_line(report.line), "line"))
    found = report.evaluation
    if found is None:
        return said
    most = max(report.profile.classes.values()) / report.profile.rows
    said.append(
        (
            "On rows that it has not seen, the stack names the right label in "
            f"{percent(found.estimates[STACK]['accuracy'].mean)} of cases; always naming the most "
            f"frequent label would be right in {percent(most)}.",
            "models",
        )
    )
    said += [(compared(report, other), "models") for other in (LINE, BOOSTING)]
    sets = (
        "Its sets of possible labels, made to hold the right one in "
        f"{percent(1 - evaluation.ALPHA)} of cases, held it in {percent(found.coverage.mean)}, "
        f"with {found.set_size:.2f} labels each."
    )
    if found.coverage.mean != found.coverage.mean:
        sets = "How often its sets of possible labels hold the right one is not known."
    return [*said, (sets, "sure")]


def _of_line(line: "Line") -> str:
    if line.answer == UNDECIDED:
        return f"Whether a line is enough is not decided. {line.words}"
    of = f"all {line.rows:,} rows"
    if line.left_out:
        of = f"the {line.rows:,} of {line.rows + line.left_out:,} rows that miss no value"
    of += ", without the columns of dates" if line.dates else ""
    proven = "is proven" if line.proven else "was computed in floating point and is not proven"
    return f"For {of}, {line.answer} to tell the labels apart without an error; this {proven}."


def between(separable: bool | None) -> str:
    """Whether a line is enough for two labels."""
    return {True: "is enough", False: "is not enough", None: "not decided"}[separable]


def folds(report: "Report") -> str:
    """How the rows were cut, in words."""
    found, settings = report.evaluation, report.settings
    assert found is not None
    if settings["time"] is not None:
        return f"{found.folds} folds, each later than all that was learned from"
    text = f"{found.folds} folds"
    if found.draws > 1:
        text += f" of {found.draws} draws"
    if settings["group"] is not None:
        text += f", with all rows of one {settings['group']} on one side"
    return text


def sizes(report: "Report") -> str:
    """How many units are enough, in a sentence or two."""
    found = report.evaluation
    assert found is not None
    best = found.sizes[found.best]
    single = [own for own in found.sizes if len(own.hidden) == 1]
    # A size that is not shown to be worse is enough, as far as these folds can tell.
    enough = next((own for own in single if own.worse is None or not own.worse.shown), None)
    text = f"The lowest log loss has {units(best.hidden)}"
    if enough is None:
        return f"{text}; every stack of one layer is shown to be worse."
    if enough is best:
        return f"{text}, and fewer are shown to be worse." if best != single[0] else f"{text}."
    verb = "is" if enough.hidden == (1,) else "are"
    return f"{text}; {units(enough.hidden)} {verb} not shown to be worse."


def chosen(report: "Report") -> str:
    """Which sizes the folds chose, and how often."""
    found = report.evaluation
    assert found is not None
    return ", ".join(
        f"{units(own.hidden)} in {found.chosen[str(own.hidden)]}"
        for own in found.sizes
        if found.chosen[str(own.hidden)]
    )


def units(hidden: tuple[int, ...]) -> str:
    """The hidden layers of a stack in words."""
    if len(hidden) == 1:
        return f"{hidden[0]} hidden unit{'s' * (hidden[0] != 1)}"
    return " + ".join(map(str, hidden)) + f" units in {len(hidden)} hidden layers"


def more_rows(report: "Report") -> str:
    """Whether more rows would help, in a sentence."""
    if report.curve is None:
        return "There was no time to find out whether more rows would help."
    own = report.curve.gained
    if own.low != own.low:
        return "Whether more rows would help cannot be said from these folds."
    if own.shown and own.difference > 0:
        return (
            f"More rows are likely to help: with half of them the log loss was higher by "
            f"{number(own.difference)} ({number(own.low)} to {number(own.high)})."
        )
    return (
        "That more rows would help is not shown: the log loss with half of them differed by "
        f"{difference(own)}."
    )


def drifted(report: "Report") -> str:
    """What the other table shows, in a few sentences."""
    own, found = report.drift, report.evaluation
    assert own is not None
    assert found is not None
    text = f"In {own.source}, with {own.rows:,} rows, "
    if own.moved:
        names = ", ".join(column.name for column in own.moved[:12])
        text += (
            f"{len(own.moved)} of {own.columns} columns are distributed otherwise than here: "
            f"{names}."
        )
    else:
        text += f"no column of {own.columns} is shown to be distributed otherwise than here."
    if own.unknown:
        text += f" {own.unknown:,} rows have a label that is not known here."
    if own.scores:
        before = found.estimates[STACK]["accuracy"]
        text += (
            f" Of {own.labeled:,} rows with a label the stack names the right one in "
            f"{percent(own.scores['accuracy'])} (here {percent(before.mean)}, "
            f"{percent(before.low)} to {percent(before.high)})."
        )
    return text


def doubts(report: "Report") -> list[str]:
    """When not to believe the report."""
    profile, found, line = report.profile, report.evaluation, report.line
    said = []
    if report.unfinished:
        said.append(f"It was interrupted in {report.unfinished}: what comes after is not here.")
    if profile.rows < FEW_ROWS:
        said.append(
            f"There are only {profile.rows:,} rows: every figure may be off by a few percent, and "
            "differences that matter may not show."
        )
    rare = [str(name) for name, count in profile.classes.items() if count < FEW]
    if rare:
        said.append(f"Some labels have fewer than {FEW} rows: {', '.join(rare[:12])}.")
    if profile.rare:
        count = sum(map(len, profile.rare.values()))
        said.append(
            f"{counted(count, 'row')} took no part in the comparison of models, since too few have "
            f"their label: {', '.join(map(str, list(profile.rare)[:12]))}."
        )
    if line is not None and line.leaks:
        said.append(
            f"{leaks(line)} What is known only after the label is no feature: leave it out."
        )
    names = [
        column.name or "(no name)" for column in profile.columns if column.why in (NAMES, COUNTS)
    ]
    if names:
        said.append(f"Columns that name or number the rows were left out: {', '.join(names)}.")
    if profile.duplicates > profile.rows / 100:
        said.append(
            f"{profile.duplicates:,} rows are copies of others. A model may have learned from the "
            "copy of a row that it was tested on."
        )
    if profile.unavoidable:
        said.append(
            "Some rows have equal features and different labels: no model can avoid "
            f"{counted(profile.unavoidable, 'error')}."
        )
    if report.settings["group"] is None and report.settings["time"] is None:
        said.append(
            "Rows are taken to be independent. If several are of one person or place, say which "
            "column tells (--group); if they follow each other in time, say which column has it "
            "(--time): else the figures are too good."
        )
    if report.drift is not None and report.drift.moved:
        said.append(
            f"The rows of {report.drift.source} are not like these, so that the figures here may "
            "not hold for them."
        )
    if found is not None and found.unfinished:
        said.append(
            f"Time ran out after {found.folds} folds, so the intervals are wider than they need be."
        )
    return said
