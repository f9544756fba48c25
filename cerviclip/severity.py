"""Grades of a finding (error, warning, note), for checks of images and audits of runs."""

ERROR, WARNING, NOTE = "error", "warning", "note"
RANK = {ERROR: 0, WARNING: 1, NOTE: 2}  # the worst first
COLORS = {ERROR: "red", WARNING: "yellow", NOTE: "cyan"}  # on the screen
