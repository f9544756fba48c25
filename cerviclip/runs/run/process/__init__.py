"""The process that a run lives in: its group, log, warnings, memory and what stops it."""
