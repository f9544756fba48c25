"""What a run has cost: trained parameters, and the peak of memory that is its own."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from torch import nn

from cerviclip.runs.run.run_files import trainable_params


def test_trained_parameters_are_those_that_require_a_gradient_each_once():
    head, frozen = nn.Linear(3, 2), nn.Linear(100, 100).requires_grad_(False)
    shared = nn.Sequential(head, frozen)
    shared.register_buffer("cache", head.weight.detach().clone())
    trainer = SimpleNamespace(_models={"head": head, "all": shared})
    assert trainable_params(trainer) == 3 * 2 + 2
    assert trainable_params(SimpleNamespace(_models={})) == 0
    assert trainable_params(None) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets the peak begin anew")
def test_a_run_does_not_show_the_peak_of_the_run_before_it():
    code = (
        "from cerviclip.runs.run.process.runtime import begin_peak_memory, peak_memory_mib\n"
        "held = bytearray(300 * 2**20); first = peak_memory_mib(); del held\n"
        "begin_peak_memory(); print(first - peak_memory_mib())\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(out.stdout) > 200
