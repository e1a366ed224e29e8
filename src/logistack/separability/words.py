"""The sentences about certificates, each written once.

A verdict with its evidence is one line of text: for `str`, or in the table that the classes of a
data set make. A statement is a sentence for readers who have the data beside it.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from logistack.separability import rational

LINE = "a line is enough"
NO_LINE = "no line is enough"
CLASSIFIER = "a linear classifier is enough"
NO_CLASSIFIER = "no linear classifier is enough"
NOTHING = "nothing to separate"
COMPLETE = "complete"
QUASI = "quasi-complete"
OVERLAP = "overlap"
FINITE = "finite"
EITHER = "either"
INFINITE = ("+∞", "-∞", EITHER)
UNIDENTIFIED = "not identified"
UNDECIDED = "undecided"
BOTH = "+∞ or -∞"
NUMERICAL = "it has an answer in floating point, and says itself that this is no proof"
DIFFERENT = "its numbers and those of the data do not agree"
NEAREST = "the nearest samples"
MIXED = "the mixed samples"
EXCHANGED = "the exchanged samples"
SEPARATED = "the separated samples"
RUNS_OFF = (
    "maximum likelihood has no finite fit here, but Firth's penalty has one, and so may have a "
    "model of fewer columns"
)
STACK = "a stack with a hidden layer may be without errors where no line is"
ORDINARY = f"the fit of maximum likelihood is finite, as it stands; {STACK}"
SHOWN = 10
"""So many labels are named."""
MOST_LINES = 100
"""So many coefficients have a line of their own."""
MOST_RANGES = 30
"""So many rows, or ranges of them, are."""
LONGEST = 200
"""Characters of a label that are shown, or bits of a number."""


class Side(NamedTuple):
    """The samples of one side, with their labels."""

    samples: int
    labels: Sequence[Any]


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def named(label: Any) -> str:
    """A label, which in a hostile text is as long as the text."""
    if isinstance(label, int) and label.bit_length() > LONGEST:
        return f"an integer of {label.bit_length():,} bits"
    text = repr(label)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def ranges(rows: Sequence[int]) -> str:
    """Numbers in order, where there is no gap as a range; if they are many, the first."""
    starts = [k for k, row in enumerate(rows) if not k or row != rows[k - 1] + 1]
    ends = [k - 1 for k in starts[1:]] + [len(rows) - 1]
    texts = [
        f"{rows[a]}" if a == b else f"{rows[a]}{'-' if b > a + 1 else ', '}{rows[b]}"
        for a, b in zip(starts[:MOST_RANGES], ends, strict=False)
    ]
    return ", ".join(texts) + f", ... ({len(rows):,} in all)" * (len(starts) > MOST_RANGES)


def listed(labels: Sequence[Any]) -> str:
    """The first labels, and how many there are if these are not all."""
    return listed_texts(list(map(named, labels)))


def listed_texts(texts: Sequence[str]) -> str:
    """The same of texts."""
    return ", ".join(texts[:SHOWN]) + f", ... ({len(texts):,} in all)" * (len(texts) > SHOWN)


def margin(value: Fraction) -> str:
    """The evidence of a separator."""
    return f"margin {rational.three_digits(value)}"


def mixture(point: rational.Numbers, positive: int, negative: int, touching: bool | None) -> str:
    """The evidence of a common point, which is named where it is short."""
    name = "one point"
    if len(point) <= 3 and point.bits() <= 40:
        texts = [str(value) for value in point]
        if all(len(text) <= 12 for text in texts):
            name = f"({', '.join(texts)})"
    touch = f"; {_touch(touching)}" if touching is not False else ""
    return f"{name} mixes {positive} positive and {negative} negative samples{touch}"


def mixture_in_table(first: int, second: int, touching: bool | None) -> str:
    """The evidence of a common point, the samples of the row's first class first."""
    touch = f", {_touch(touching)}" if touching is not False else ""
    return f"{first} and {second} samples mix to one point{touch}"


def _touch(touching: bool | None) -> str:
    return "their hulls only touch" if touching else "whether their hulls only touch is undecided"


def exchange(samples: int) -> str:
    """The evidence that no classifier is enough."""
    return f"an exchange of {samples} samples keeps every mean"


def separations(pairs: Sequence[str], rest: Sequence[str], whole: str) -> str:
    """How many pairs, and classes against the rest, are of each kind; and the multinomial model."""
    return (
        f"{len(rest)} classes: pairs {_kinds(pairs)}; classes against the rest {_kinds(rest)}; "
        f"multinomial: {whole}"
    )


def _kinds(kinds: Sequence[str]) -> str:
    order = (COMPLETE, QUASI, OVERLAP)
    return ", ".join(f"{kinds.count(kind):,} {kind}" for kind in order if kind in kinds)


def recession(separated: int, rows: int, noun: str, estimates: Sequence[str]) -> str:
    """The evidence of a separation: how many rows are separated, and what that does."""
    if separated in (0, rows):
        samples = (
            f"all {counted(rows, noun)} are separated" if separated else f"no {noun} is separated"
        )
    else:
        samples = f"{separated:,} of {counted(rows, noun)} are separated"
    finite = estimates.count(FINITE)
    if finite == len(estimates):
        return f"{samples}, and every estimate is finite"
    infinite = sum(estimates.count(word) for word in INFINITE)
    counts = [
        (finite, "finite"),
        (infinite, "infinite"),
        (estimates.count(UNIDENTIFIED), "not identified"),
        (estimates.count(UNDECIDED), "undecided"),
    ]
    words = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    return f"{samples}; of {counted(len(estimates), 'estimate')}, {words}"


def remedies(kind: str, estimates: Sequence[str]) -> str:
    """What may help where estimates run off, or there are too many."""
    first = "one of two columns that say the same can go; " * (UNIDENTIFIED in estimates)
    if kind != OVERLAP:
        return f"{first}{RUNS_OFF}"
    return f"{first}{ORDINARY if set(estimates) == {FINITE} else STACK}"


def sentence(text: str) -> str:
    """A line as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def coefficients(names: Sequence[str], estimates: Sequence[str]) -> str:
    """A table of what every estimate does; of many, by what they do."""
    texts = [BOTH if word == EITHER else word for word in estimates]
    rows = list(zip(names, texts, strict=True))
    if len(rows) > MOST_LINES:
        rows = [
            (text, listed_texts([name for name, own in rows if own == text]))
            for text in dict.fromkeys(texts)
        ]
    width = max(len(first) for first, _ in rows)
    return "\n".join(f"  {first:<{width}}  {second}" for first, second in rows)


def line(verdict: str, evidence: str, numerical_only: bool) -> str:
    """A verdict with its evidence."""
    return f"{verdict}: {evidence}{' (numerical only: not proven)' if numerical_only else ''}"


def entry(verdict: str, evidence: str, numerical_only: bool) -> str:
    """The same in a table."""
    return f"{verdict}, {evidence}{' (numerical only, not proven)' if numerical_only else ''}"


def statement(words: str, numerical_only: bool) -> str:
    """A sentence, which says so if it is not proven."""
    return f"Not proven, numerical only: {words}" if numerical_only else words


def line_between(positive: Side, negative: Side, value: Fraction) -> str:
    """What a separator states."""
    return (
        f"A line is enough: it has the {_labeled(positive)} on one side and the "
        f"{negative.samples:,} labeled {listed(negative.labels)} on the other. "
        f"The nearest is {rational.three_digits(value)} away from it."
    )


def no_line_between(
    positive: Side, negative: Side, mixed: tuple[int, int], touching: bool | None
) -> str:
    """What a common point states."""
    more = {
        True: " Their hulls only touch: a line has no sample on its wrong side, some on itself.",
        None: " Whether a line has no sample on its wrong side, some on itself, is undecided.",
        False: "",
    }
    return (
        f"No line is enough for the {_labeled(positive)} and the {negative.samples:,} labeled "
        f"{listed(negative.labels)}: one point is a mixture of {mixed[0]} of the former, and of "
        f"{mixed[1]} of the latter.{more[touching]}"
    )


def _labeled(side: Side) -> str:
    return f"{counted(side.samples, 'sample')} labeled {listed(side.labels)}"


def one_label(label: Any) -> str:
    """The evidence that there is nothing to separate."""
    return f"every sample has the label {named(label)}"


def nothing(label: Any) -> str:
    """What it states."""
    return f"There is {NOTHING}: {one_label(label)}."


def all_at_once(entry: str) -> str:
    """What a certificate of one classifier states."""
    return f"All classes at once: {entry}."


def summary(pairs: Sequence[bool], rest: Sequence[bool], whole: str) -> str:
    """How many pairs, and classes against the rest, have a line; and the classifier's line."""
    return (
        f"{len(rest)} classes: a line is enough for {sum(pairs)} of {len(pairs)} pairs "
        f"and for {sum(rest)} of {len(rest)} classes against the rest; {whole}"
    )


def table(
    pairs: Sequence[tuple[Any, Any, str]], rest: Sequence[tuple[Any, str]], whole: str
) -> str:
    """The entries of pairs, of classes against the rest, and of all classes at once."""
    rows = [(named(a), named(b), entry) for a, b, entry in pairs]
    rows += [(named(label), "the rest", entry) for label, entry in rest]
    widths = [max(len(row[place]) for row in rows) for place in range(2)]
    lines = [f"  {a:<{widths[0]}}  and  {b:<{widths[1]}}   {entry}" for a, b, entry in rows]
    return "\n".join(
        [
            "Pairs:",
            *lines[: len(pairs)],
            "Classes against the rest:",
            *lines[len(pairs) :],
            f"All at once: {whole}.",
        ]
    )


def about(label: Any, classes: Sequence[Any]) -> str:
    """The objection to a label that no sample has."""
    return f"it is about the label {named(label)}, the data have {listed(classes)}"


def about_all(labels: Sequence[Any], classes: Sequence[Any]) -> str:
    """The objection to other labels than those of the data."""
    return f"it is about {listed(labels)}, the data have {listed(classes)}"
