"""The tables of `limits.py`, made from the numbers in its JSON."""

import itertools
from collections.abc import Sequence
from typing import Any

from experiments import keeping
from experiments.limits_digits import Against, Untangled


def fewest(row: dict[str, Any]) -> tuple[dict[str, int] | None, dict[str, int] | None]:
    """The fewest hidden units that were enough for a seed, and the most below that never were."""
    enough = next((attempt for attempt in row["tries"] if attempt["enough"]), None)
    below = [each for each in row["tries"] if enough and each["hidden"] < enough["hidden"]]
    return enough, below[-1] if below else None


def verdict(row: dict[str, Any]) -> str:
    """What is proven of one data set and what is only observed."""
    bound = row["at_least"]
    if not bound:
        return "one unit is enough, proven"
    enough, below = fewest(row)
    if enough is None:
        return f"at least {bound} hidden units, proven; none tried was enough"
    if below is None:
        return f"{enough['hidden']} hidden units are enough and fewer are not, both proven"
    return (
        f"{enough['hidden']} are enough and {bound - 1} are not, both proven; "
        f"that {below['hidden']} are not is only observed"
    )


def report(kept: dict[str, Any], *, now: Sequence[str] = ("plane", "mnist")) -> str:
    """Everything, as tables.

    Args:
        kept: the numbers.
        now: which of the two parts this run has measured; the others are said to be kept.
    """
    parts = [*report_plane(kept["plane"]), "", *report_digits(kept)]
    if "plane" not in now:
        parts = [keeping.replayed(kept["origin"]), "", *parts]
    if kept["mnist"] is not None:
        parts.append("")
        if "mnist" not in now:
            parts.append(keeping.replayed(kept["mnist"]["origin"]))
        parts += report_mnist(kept["mnist"])
    return "\n".join(parts)


def report_plane(rows: Sequence[dict[str, Any]]) -> list[str]:
    table = [("", "samples", "needed", "enough", "seeds", "margin", "one fewer", "seeds")]
    for row in rows:
        enough, below = fewest(row)
        table.append(
            (
                row["name"],
                f"{row['samples']}",
                f"{row['at_least']}",
                f"{enough['hidden']}" if enough else "–",
                f"{enough['enough']} of {enough['seeds']}" if enough else "–",
                "–" if row["margin"] is None else f"{row['margin']:.3g}",
                f"{below['hidden']}" if below else "–",
                f"0 of {below['seeds']}" if below else "–",
            )
        )
    lines = keeping.columns(table)
    width = max(map(len, lines))
    reasons = ["because", *(row["why"] for row in rows)]
    return [
        "Points in the plane: how many hidden units a 2-h-1 network needs",
        *(f"{line:<{width}}  {why}" for line, why in zip(lines, reasons, strict=True)),
        "",
        *(f"{row['name']}: one unit: {row['one_unit']}" for row in rows),
        "",
        *(f"{row['name']}: {verdict(row)}" for row in rows),
    ]


def report_digits(kept: dict[str, Any]) -> list[str]:
    hidden = "-".join(map(str, kept["settings"]["hidden"]))
    table = [
        ("inputs", "layer", "accuracy", "units", "pairs", "classes", "all ten", "margin", "open")
    ]
    for row in itertools.starmap(Untangled, map(dict.values, kept["digits"])):
        table.append(
            (
                f"{row.components}" if not row.layer else "",
                f"{row.layer}" if row.layer else "input",
                f"{row.accuracy:.1%}" if not row.layer else "",
                f"{row.width}",
                f"{row.pairs}",
                f"{row.rest}",
                "yes" if row.multinomial else "no",
                "–" if row.margin is None else f"{row.margin:.2g}",
                f"{row.unproven}",
            )
        )
    return [
        f"8×8 digits: how many questions a line answers, at the input of a k-{hidden}-10 network,",
        "and after each of its layers: 45 pairs, 10 classes against the rest, and all ten without",
        "an error; and the least margin of the pairs it separates. All is proven but what is open.",
        *keeping.columns(table, left=2),
    ]


def report_mnist(mnist: dict[str, Any]) -> list[str]:
    table = [("digit", "a line is", "bearing samples", "bytes", "certify, s", "verify, s", "holds")]
    for row in mnist["rows"]:
        each = Against(**row)
        table.append(
            (
                f"{each.digit}",
                "enough" if each.separable else "not enough",
                f"{each.support[0]} + {each.support[1]}",
                f"{each.size:,}",
                f"{each.certify:.1f}",
                f"{each.verify:.1f}",
                "yes" if each.verified else "NO",
            )
        )
    origin = mnist["origin"]
    return [
        "MNIST, 60,000 training images: each digit against the rest",
        *keeping.columns(table, left=2),
        f"{origin['device']}, {origin['seconds']:.0f} s, at most {mnist['gib']} GiB",
    ]
