"""How bad a finding is: of a check of images, and of an audit of runs."""

ERROR, WARNING, NOTE = "error", "warning", "note"
RANK = {ERROR: 0, WARNING: 1, NOTE: 2}  # the worst first
COLORS = {ERROR: "red", WARNING: "yellow", NOTE: "cyan"}  # on the screen
