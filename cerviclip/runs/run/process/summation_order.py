"""The same numbers from one thread and from many.

A run alone uses all cores, one of a sweep with ``--jobs`` its share of them. By default MKL adds up
in an order that depends on the number of threads, so the last digits would differ. Its strict mode
keeps one order (no slower where it was measured; its results differ in the last digits from those
without). It is read when MKL is first used, so this must come before torch.

What is left are sums of torch's own, that each thread makes for itself: the gradients of the
weights of LayerNorm and of convolutions, of softmax, of prompts that all images share. Whatever
trains a CNN, a tower's own weights or deep prompts may differ in the last digits between
``--jobs 1`` and more on a CPU, unless OMP_NUM_THREADS is one number for both (docs/cluster.md names
who does). One number for all by default would make either single runs or sweeps several times
slower.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "MKL_CBWR"


def fix_summation_order(cpuinfo: str | Path = "/proc/cpuinfo") -> None:
    """Set MKL's strict mode for this process and those it starts, unless the user has set one."""
    try:
        text = Path(cpuinfo).read_text(encoding="utf-8")
    except OSError:  # no Linux: left as it is
        return
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    branch = "AVX512" if "avx512f" in flags and "GenuineIntel" in text else "AVX2"
    if "avx2" in flags:
        os.environ.setdefault(VARIABLE, f"{branch},STRICT")
