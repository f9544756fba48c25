"""A sweep: its command, its progress, which runs are finished, and the summary files."""
