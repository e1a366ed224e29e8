"""Figures in lines of text and in data frames."""

from collections.abc import Sequence
from typing import Any

from logistack import _checks


def word(label: Any) -> str:
    """A label, or all labels of a setting, as a reader writes them."""
    if isinstance(label, tuple):
        return ", ".join(map(word, label))
    return f"{label:g}" if isinstance(label, float) else f"{label}"


def rounded(number: float, digits: int) -> str:
    """A number of so many significant digits, with a minus sign as long as a plus.

    Up to a million, whole parts are written out: 100 rather than 1e+02.

    >>> rounded(-0.123, 2), rounded(100, 2), rounded(12_345.6, 3), rounded(1e9, 2)
    ('−0.12', '100', '12346', '1e+09')
    """
    sign, size = "−" if number < 0 else "", abs(number)
    digits = max(digits, len(f"{size:.0f}")) if size < 1e6 else digits
    return f"{sign}{size:.{digits}g}"


def told(kind: str, without: Sequence[Any]) -> str:
    """Which members or runs have no finite value; the first ten of them by name."""
    if not without:
        return ""
    some = ", ".join(map(word, without[:10])) + (", …" if len(without) > 10 else "")
    return f"{len(without)} not finite: {kind} {some}"


def table(header: list[str], lines: list[list[str]], notes: list[str]) -> str:
    """Lines under a header, columns to the right, and a note after a line where there is one."""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    printed = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + f"  {note}"
        for line, note in zip([header, *lines], ["", *notes], strict=True)
    ]
    return "\n".join(line.rstrip() for line in printed)


def data_frame(columns: list[str], rows: list[tuple[Any, ...]]) -> Any:
    """A pandas data frame."""
    return _checks.import_extra("pandas", "frames").DataFrame(rows, columns=columns)
