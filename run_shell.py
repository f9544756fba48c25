"""Run a sweep and print its table; ``python run_shell.py --help`` shows how."""

import sys

from cerviclip.cli import run_as_script
from cerviclip.runs.sweep.command import main as main

if __name__ == "__main__":
    sys.exit(run_as_script("sweep"))
