"""Train and score one method on one dataset; ``python train.py --help`` shows how."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dassl.errors import cli_main
from dassl.runs.arithmetic import one_order_of_sums
from dassl.runs.flags import parse_args, train_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = parse_args(train_parser(), argv)
    one_order_of_sums()
    if args.list:
        from dassl import plugins
        from dassl.runs.listing import listing

        plugins.add_plugins(args.plugin)
        print(listing())
        return 0
    from dassl.runs.commands import train_command  # imports torch

    return train_command(args)


if __name__ == "__main__":
    sys.exit(cli_main(main))
