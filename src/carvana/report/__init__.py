"""The report: one HTML file that needs no network, made from the ledger, the runs and the data's photos."""

from carvana.report.page import check_replaceable, write_report

__all__ = ["check_replaceable", "write_report"]
