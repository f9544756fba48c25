"""Run a sweep and print its table; ``python run_shell.py --help`` shows how."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dassl.errors import cli_main
from dassl.runs.arithmetic import one_order_of_sums
from dassl.runs.flags import parse_args, sweep_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = parse_args(sweep_parser(), argv)
    one_order_of_sums()
    from dassl.runs.sweep import sweep_command

    return sweep_command(args)


if __name__ == "__main__":
    sys.exit(cli_main(main))
