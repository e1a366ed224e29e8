"""What every command says first: which samples it looks at."""

from collections.abc import Sequence

import numpy as np

from logistack.data.table import Table
from logistack.separability.words import SHOWN, counted


def heading(table: Table, target: int, features: Sequence[int], labels: np.ndarray) -> str:
    """The samples, features and labels of a table, and which columns are left out."""
    different, counts = np.unique(labels, return_counts=True)
    classes = [
        f"{label!r} ({count:,})" for label, count in zip(different.tolist(), counts, strict=True)
    ]
    more = f", ... ({len(classes):,} in all)" * (len(classes) > SHOWN)
    left = [
        repr(name)
        for place, name in enumerate(table.names)
        if place != target and place not in features
    ]
    words = (
        f"{table.source}: {counted(len(labels), 'sample')}, "
        f"{counted(len(features), 'feature')}; "
        f"labels in column {table.names[target]!r}"
        f"{' (the first is 0)' * isinstance(table.names[0], int)}: "
        f"{', '.join(classes[:SHOWN])}{more}"
    )
    return (
        f"{words}\nLeft out: {counted(len(left), 'column')}, {', '.join(left)}" if left else words
    )
