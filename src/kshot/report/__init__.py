"""Reports for people: one self-contained HTML file about a scan, with the truth if known."""

from kshot.report.contents import Report, Tally
from kshot.report.page import render_page
from kshot.report.scanned import Known, report_of_scan
from kshot.report.truth import read_truth, tallies, truth_of

__all__ = ["Known", "Report", "Tally", "read_truth", "render_page", "report_of_scan", "tallies", "truth_of"]
