"""The process of a run: its process group, log, warnings, memory, and signals that stop it."""
