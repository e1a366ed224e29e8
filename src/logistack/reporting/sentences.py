"""What a report says in words, for readers without statistics."""

from typing import Any

from logistack.reporting import evaluation
from logistack.reporting.columns import COUNTS, MARKED, NAMES, UNSURE
from logistack.reporting.findings import Findings
from logistack.reporting.models import BOOSTING, LINE, STACK
from logistack.reporting.profile import FEW, Profile
from logistack.reporting.questions import UNDECIDED, Line, gaps
from logistack.separability.words import EXCHANGED, MIXED, NEAREST

FEW_ROWS = 200
SCORE = "log loss"
"""By which models are compared: it sees how sure a model is, and not only whether it is right."""


def percent(share: float) -> str:
    """A share in percent, with a digit behind the point."""
    return "unknown" if share != share else f"{100 * share:.1f}%"


def number(value: float) -> str:
    """Three digits."""
    return "—" if value != value else f"{value:.3g}"


def digits(value: float, sign: str = "") -> str:
    """Three digits behind the point, none of them before a 0 that is not there."""
    if value != value:
        return "—"
    text = f"{value:{sign}.3f}"
    return f"{0:.3f}" if not float(text) else text.replace("-", "−")


def interval(own: Any) -> str:
    """A mean with its interval."""
    if own.low != own.low:
        return number(own.mean)
    return f"{digits(own.mean)} ({digits(own.low)} to {digits(own.high)})"


def difference(own: Any) -> str:
    """What a difference shows."""
    if own.low != own.low:
        return "nothing can be said"
    return f"{digits(own.difference, '+')} ({digits(own.low, '+')} to {digits(own.high, '+')})"


def counted(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def be(count: int) -> str:
    """The verb of so many."""
    return "is" if count == 1 else "are"


def rows(numbers: list[int], most: int = 12) -> str:
    """The numbers of rows, the first of them if they are many."""
    shown = ", ".join(f"{row:,}" for row in numbers[:most])
    return shown + (f" and {len(numbers) - most:,} more" if len(numbers) > most else "")


def copies(profile: Profile) -> str:
    """How many rows are copies, in a sentence."""
    if not profile.duplicates:
        return "No row is a copy of another in the columns that are used."
    verb = "is a copy of another" if profile.duplicates == 1 else "are copies of others"
    but = " in all columns that are used" if any(own.why for own in profile.columns) else ""
    return f"{counted(profile.duplicates, 'row')} {verb}{but}."


def contradictions(profile: Profile) -> str:
    """Which rows have equal features and different labels, in a sentence."""
    found = profile.contradictions
    if not found:
        return "No rows that are equal in all columns that are used have different labels."
    verb = "has" if len(found) == 1 else "have"
    shown = "; ".join(f"rows {rows(own)}" for own in found[:5]) + "; and more" * (len(found) > 5)
    return (
        f"{counted(len(found), 'set')} of rows that are equal in all columns that are used {verb} "
        "different labels, so that every model makes at least "
        f"{counted(profile.unavoidable, 'error')}: {shown}."
    )


def leaks(line: Line) -> str:
    """Which columns alone separate the labels, in a sentence."""
    names = ", ".join(name or "(no name)" for name in line.leaks)
    if not names:
        return "No column alone gives the label away without an error."
    whole = "Each of these columns" if len(line.leaks) > 1 else "One column"
    return (
        f"{whole} alone gives the label away without an error wherever it has a value, which is "
        f"proven: {names}."
    )


def compared(report: Findings, other: str) -> str:
    """One sentence on the stack beside another model."""
    assert report.evaluation is not None
    own = report.evaluation.differences[other][SCORE]
    if own.low != own.low:
        return f"Whether the stack predicts better than {other} cannot be said from these folds."
    if not own.shown:
        return (
            f"Whether the stack or {other} predicts better is not shown: their log losses differ "
            f"by {difference(own)}."
        )
    better, worse, ends = "The stack", other, (-own.high, -own.low)
    if own.difference > 0:
        better, worse, ends = other.capitalize(), "the stack", (own.low, own.high)
    lower = f"{digits(abs(own.difference))} ({digits(ends[0])} to {digits(ends[1])})"
    return f"{better} predicts better than {worse}: its log loss is lower by {lower}."


def verdict(report: Findings) -> list[tuple[str, str]]:
    """Five sentences, each with the section that it rests on; fewer if it was interrupted."""
    said = []
    if report.line is not None:
        said.append((_of_line(report.line), "line"))
    found = report.evaluation
    if found is None:
        return said
    said.append(
        (
            f"On rows that it has not seen, the stack, {report.settings['members']} small neural "
            "networks together, names the right label in "
            f"{percent(found.estimates[STACK]['accuracy'].mean)} of cases; always naming the most "
            f"frequent label would be right in {percent(most_frequent(report))}.",
            "models",
        )
    )
    said += [(compared(report, other), "models") for other in (LINE, BOOSTING)]
    return [*said, (sets(report), "sure")]


def sets(report: Findings) -> str:
    """How often sets of labels hold the right one, in a sentence."""
    found = report.evaluation
    assert found is not None
    own = found.coverage
    if own.mean != own.mean:
        return "How often sets of labels hold the right one cannot be said from these folds."
    ends = f" ({percent(own.low)} to {percent(own.high)})" if own.low == own.low else ""
    empty = "; some are empty, where no label is likely enough" if found.set_size < 1 else ""
    return (
        "In place of one label the stack can name a set of labels that is to hold the right one in "
        f"{100 * (1 - evaluation.ALPHA):g}% of cases: on rows that it has not seen, it did in "
        f"{percent(own.mean)}{ends}, with {found.set_size:.2f} labels on average{empty}."
    )


def terms(report: Findings) -> str:
    """What the models and the scores are, in sentences."""
    return (
        "Logistic regression draws a line; the stack is "
        f"{report.settings['members']} small neural networks whose probabilities are averaged; "
        "gradient boosting adds up many decision trees. Accuracy is the share of rows whose label "
        "is named right. Balanced accuracy is the mean of these shares over the labels, so that "
        "rare ones count as much. AUC is how often, of a row with a label and one without it, the "
        "former has the higher probability of it. Log loss and Brier are how far the probabilities "
        "are from what is so. Of the first three more is better, up to 1; of the last two less, "
        "down to 0."
    )


def most_frequent(report: Findings) -> float:
    """Of the rows held out, the share that have the most frequent label."""
    assert report.evaluation is not None
    counts = list(report.profile.classes.values())
    return float((report.evaluation.codes == counts.index(max(counts))).mean())


def _of_line(line: Line) -> str:
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


def support(line: Line) -> str:
    """Which rows an answer rests on, in a sentence."""
    count = len(line.support)
    which = f"{'row' if count == 1 else 'rows'} {rows(line.support)}"
    if line.certificate.role == NEAREST:
        return f"Nearest to the line {be(count)} {which}."
    return f"The proof rests on {which}."


def explained(line: Line) -> str:
    """What the words of a certificate mean."""
    found = line.certificate
    parts = [found] if not line.pairs else [*found.pairs.values(), *found.rest.values()]
    said = []
    if any(part.role == NEAREST for part in parts):
        said.append("A margin is how far the nearest row is from the line.")
    if any(part.role == MIXED for part in parts):
        said.append(
            "Where samples of both sides mix to one point, averages of either are the same, and no "
            "line has the same point on both of its sides."
        )
    if found.role == EXCHANGED:
        said.append(
            "Where an exchange of samples keeps every mean, they can change labels with each other "
            "and no average of a label changes: no linear classifier prefers the own label of each."
        )
    if "hulls only touch" in line.words:
        said.append(
            "Where hulls only touch, there is a line with no sample on its wrong side, but with "
            "some on itself."
        )
    return " ".join(said)


def folds(report: Findings) -> str:
    """How the rows were cut, in words."""
    found, settings = report.evaluation, report.settings
    assert found is not None
    if settings["time"] is not None:
        return f"{found.folds} folds, each later than all that was learned from"
    text = f"{found.folds} folds"
    if found.draws > 1:
        text += f" from {found.draws} divisions of the rows"
    if settings["group"] is not None:
        text += f", with all rows of one {settings['group']} on one side"
    return text


def sizes(report: Findings) -> str:
    """How many units are enough, in a sentence or two."""
    found = report.evaluation
    assert found is not None
    best = found.sizes[found.best]
    single = [own for own in found.sizes if len(own.hidden) == 1]
    # A size that is not shown to be worse is enough, as far as these folds can tell.
    enough = next((own for own in single if own.worse is None or not own.worse.shown), None)
    text = f"Of the stacks that were tried, that of {units(best.hidden)} has the lowest log loss"
    if enough is None:
        return f"{text}; every one of a single hidden layer is shown to be worse."
    if enough is best:
        return f"{text}; fewer units are shown to be worse." if best != single[0] else f"{text}."
    return f"{text}; {units(enough.hidden)} may do as well."


def chosen(report: Findings) -> str:
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


def more_rows(report: Findings) -> str:
    """Whether more rows would help, in a sentence."""
    if report.curve is None:
        return "There was no time to find out whether more rows would help."
    own = report.curve.gained
    if own.low != own.low:
        return "Whether more rows would help cannot be said from these folds."
    if own.shown and own.difference > 0:
        return (
            f"More rows are likely to help: with half of them the log loss was higher by "
            f"{digits(own.difference)} ({digits(own.low)} to {digits(own.high)})."
        )
    return (
        "That more rows would help is not shown: with half of them the log loss differed by "
        f"{difference(own)}."
    )


def drifted(report: Findings) -> str:
    """What the other table shows, in a few sentences."""
    own, found = report.drift, report.evaluation
    assert own is not None
    assert found is not None
    text = f"In {own.source}, with {own.rows:,} rows, "
    if own.moved:
        names = ", ".join(column.name for column in own.moved[:12])
        text += (
            f"{len(own.moved)} of {own.columns} columns {be(len(own.moved))} distributed "
            f"otherwise than here: {names}."
        )
    else:
        text += f"none of {own.columns} columns is shown to be distributed otherwise than here."
    if own.unknown:
        verb = "has" if own.unknown == 1 else "have"
        text += f" {counted(own.unknown, 'row')} {verb} a label that is not known here."
    if own.scores:
        before = found.estimates[STACK]["accuracy"]
        ends = f", {percent(before.low)} to {percent(before.high)}" * (before.low == before.low)
        text += (
            f" Of {counted(own.labeled, 'row')} with a known label the stack names the right one "
            f"in {percent(own.scores['accuracy'])} (on rows held out here {percent(before.mean)}"
            f"{ends})."
        )
    return text


def doubts(report: Findings) -> list[str]:
    """When not to believe the report."""
    profile, found, line = report.profile, report.evaluation, report.line
    said = []
    if report.unfinished:
        said.append(f"It was interrupted in {report.unfinished}: what comes after is not here.")
    if profile.marks:
        said.append(
            f"{counted(len(profile.unlabeled), 'row')} without a label "
            f"{be(len(profile.unlabeled))} left out, those that say {', '.join(profile.marks)} "
            "among them (--no-missing makes that a label)."
        )
    if profile.rows < FEW_ROWS:
        said.append(
            f"There are only {profile.rows:,} rows: the figures may be far off, as their intervals "
            "say, and differences that matter may not show."
        )
    rare = [str(name) for name, count in profile.classes.items() if count < FEW]
    if rare:
        labels = ", ".join(rare[:12]) + ", …" * (len(rare) > 12)
        said.append(f"Of some labels there are fewer than {FEW} rows, which say little: {labels}.")
    if profile.rare:
        count = sum(map(len, profile.rare.values()))
        said.append(
            f"{counted(count, 'row')} took no part in the comparison of models, since too few have "
            f"their label: {', '.join(map(str, list(profile.rare)[:12]))}."
        )
    if line is not None and line.leaks:
        said.append(f"{leaks(line)} What is known only when the label is, leave out (--ignore).")
    if line is not None and line.certificate is not None:
        if line.left_out > line.rows:
            said.append(
                f"Whether a line is enough is said of {line.rows:,} rows alone: the other "
                f"{line.left_out:,} miss a value. {gaps(profile.columns)}"
            )
        if line.certificate.role == NEAREST and line.rows <= 2 * (len(line.features) + 1):
            said.append(
                f"With {len(line.features):,} features, a line is often enough for {line.rows:,} "
                "rows whatever their labels are."
            )
    names = [
        column.name or "(no name)" for column in profile.columns if column.why in (NAMES, COUNTS)
    ]
    unread = {own.name: own.why for own in profile.columns if own.why.startswith((UNSURE, MARKED))}
    if unread:
        said.append(
            f"{counted(len(unread), 'column')} {be(len(unread))} left out, but could be read: "
            + "; ".join(f"{name}, for {why}" for name, why in list(unread.items())[:3])
            + "; and more" * (len(unread) > 3)
            + "."
        )
    if names:
        said.append(f"Columns that name or number the rows were left out: {', '.join(names)}.")
    if profile.duplicates > profile.rows / 100:
        said.append(
            f"{copies(profile)} A model may have learned from the copy of a row that it was tested "
            "on."
        )
    if profile.unavoidable:
        said.append(
            "Some rows with different labels are equal in all columns that are used: every model "
            "makes at least "
            f"{counted(profile.unavoidable, 'error')}."
        )
    if report.settings["group"] is None and report.settings["time"] is None:
        said.append(
            "Rows are taken to be independent of each other. If several are of one person or "
            "place, name the column that says of which (--group); if later ones depend on earlier "
            "ones, name the column of the time (--time). Otherwise the figures are too good."
        )
    if found is not None and not found.estimates[STACK]["accuracy"].low > most_frequent(report):
        said.append(
            "That the stack names the right label more often than always naming the most frequent "
            "one is not shown: its balanced accuracy is "
            f"{percent(found.estimates[STACK]['balanced accuracy'].mean)}, where one label for all "
            f"rows has {percent(1 / len(profile.classes))}."
        )
    if report.drift is not None and report.drift.moved:
        said.append(
            f"The rows of {report.drift.source} are not like these, so that the figures here may "
            "not hold for them."
        )
    if found is not None and found.unfinished:
        said.append(
            f"Time ran out after {found.folds} folds, so that the intervals are wider than they "
            "need be (--time-limit)."
        )
    return said
