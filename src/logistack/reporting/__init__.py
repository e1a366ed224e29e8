"""Reports about tables: is a line enough, which stack, how sure."""

from logistack.reporting.keeping import Model
from logistack.reporting.making import Interrupted, Report, report

__all__ = ["Interrupted", "Model", "Report", "report"]
