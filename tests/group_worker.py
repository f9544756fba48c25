"""One of several processes of torchrun: the runs of a list, one after the other, in one group.

    torchrun --nproc_per_node 2 tests/group_worker.py jobs.json

A job is the list of train.py's arguments. What it comes to (None, or its error) goes to
``jobs.json.<rank>``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cerviclip.runs.run.process.summation_order import fix_summation_order

fix_summation_order()  # as train.py does, before torch

# ruff: noqa: E402
import torch

from cerviclip.runs.run.process.in_group import join_group
from cerviclip.runs.run.runner import run_one
from cerviclip.runs.settings.configure import setup_cfg
from cerviclip.runs.settings.flags import run_request, train_parser
from dassl.utils import distributed


def main(jobs: Path) -> None:
    torch.set_num_threads(1)
    distributed.join(120)
    outcomes = []
    for argv in json.loads(jobs.read_text(encoding="utf-8")):
        request = run_request(train_parser().parse_args(argv))
        cfg = setup_cfg(request)
        join_group(cfg)
        try:
            run_one(cfg, fresh=request.fresh, echo=False)
            outcomes.append(None)
        except Exception as error:
            outcomes.append(f"{type(error).__name__}: {error}")
            break  # the others may be anywhere
    Path(f"{jobs}.{distributed.rank()}").write_text(json.dumps(outcomes), encoding="utf-8")
    distributed.wait_for_all()
    distributed.shut_down()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
