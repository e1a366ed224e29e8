"""What the members of a population say together: by setting, and one setting beside another.

Plain NumPy on the host: these are the last lines of an experiment, of one number a member.
"""

from logistack.statistics.comparison import Comparison, Difference, compare
from logistack.statistics.summary import SettingSummary, Summary, summarize

__all__ = [
    "Comparison",
    "Difference",
    "SettingSummary",
    "Summary",
    "compare",
    "summarize",
]
