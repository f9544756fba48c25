"""A methods-and-results draft of a folder of runs: content, checklist, and three writers."""
