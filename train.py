"""Train and score one method on one dataset; ``python train.py --help`` shows how."""

import sys

from cerviclip.cli import run_as_script
from cerviclip.runs.run.command import main as main

if __name__ == "__main__":
    sys.exit(run_as_script("train"))
