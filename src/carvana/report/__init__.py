"""The report: one HTML file that needs no network, made from the ledger, the runs and the data's photos."""

from carvana.report.page import write_report

__all__ = ["write_report"]
