"""Reports about tables: is a line enough, which stack, how sure."""

from logistack.reporting.keeping import Model
from logistack.reporting.making import report
from logistack.reporting.page import Report, ReportInterrupted

__all__ = ["Model", "Report", "ReportInterrupted", "report"]
