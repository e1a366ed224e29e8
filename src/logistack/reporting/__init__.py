"""Reports about tables: is a line enough, which stack, and how sure."""

from logistack.reporting.keeping import Model
from logistack.reporting.making import Report, report

__all__ = ["Model", "Report", "report"]
