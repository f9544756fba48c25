"""The process in which an adopted trainer runs: it imports the repository and runs the trainer."""
