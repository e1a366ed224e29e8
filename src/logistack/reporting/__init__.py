"""Reports about tables: is a line enough, which stack, how sure."""

from logistack.reporting.keeping import Model
from logistack.reporting.making import Report, ReportInterrupted, report

__all__ = ["Model", "Report", "ReportInterrupted", "report"]
