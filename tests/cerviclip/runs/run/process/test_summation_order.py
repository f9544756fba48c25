"""That numbers do not depend on how many threads work on them."""

import json
import os
import subprocess
import sys

import pytest

from cerviclip.runs.run.process.summation_order import VARIABLE, fix_summation_order
from cerviclip.runs.settings.folders import find_results

PRODUCT = """
import run_shell
from dassl.errors import cli_main
cli_main(run_shell.main, ["--sweep", "no such sweep"])
import torch
torch.manual_seed(0)
for m, k, n in ((5, 77, 128), (256, 128, 512), (30, 512, 2000), (64, 2048, 64)):
    a, b = torch.randn(m, k), torch.randn(k, n)
    products = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        products.append(a @ b)
    assert all(torch.equal(products[0], p) for p in products), (m, k, n)
"""


def test_a_product_is_the_same_for_any_number_of_threads(repo_dir):
    env = {key: value for key, value in os.environ.items() if key != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", PRODUCT], capture_output=True, text=True, cwd=repo_dir, env=env
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "cpu, wanted",
    [
        ("vendor_id : AuthenticAMD\nflags : sse avx2 avx512f\n", "AVX2,STRICT"),
        ("vendor_id : GenuineIntel\nflags : sse avx2 avx512f\n", "AVX512,STRICT"),
        ("vendor_id : GenuineIntel\nflags : sse avx\n", None),
        ("Features : fp asimd\n", None),
    ],
)
def test_the_mode_fits_the_processor_and_a_users_own_stays(tmp_path, monkeypatch, cpu, wanted):
    file = tmp_path / "cpuinfo"
    file.write_text(cpu)
    monkeypatch.delenv(VARIABLE, raising=False)
    fix_summation_order(file)
    assert os.environ.get(VARIABLE) == wanted
    monkeypatch.setenv(VARIABLE, "COMPATIBLE")
    fix_summation_order(file)
    assert os.environ[VARIABLE] == "COMPATIBLE"
    monkeypatch.delenv(VARIABLE)
    fix_summation_order(tmp_path / "none")
    assert VARIABLE not in os.environ


@pytest.mark.slow
def test_one_job_and_two_give_the_same_numbers(tmp_path, repo_dir):
    """Each in processes of its own with the threads they would have on two cores."""
    found = []
    for threads in ("1", "2"):
        out = tmp_path / threads
        env = os.environ | {"OMP_NUM_THREADS": threads, "CERVICLIP_CACHE": str(out / "cache")}
        env.pop(VARIABLE, None)
        subprocess.run(
            [
                *(sys.executable, "run_shell.py", "--trainers", "CoOp", "TipAdapterF", "SAVLT"),
                *("--shots", "1", "--seeds", "1", "--external", "--root", "data"),
                *("--output-dir", str(out), "--opts", "OPTIM.MAX_EPOCH", "2"),
            ],
            cwd=repo_dir, env=env, check=True, capture_output=True,
        )  # fmt: skip
        results = [json.loads(path.read_text()) for path in find_results(out)]
        assert {r["runtime"]["threads"] for r in results} == {int(threads)}
        found.append([r | {"runtime": None} for r in results])
    assert found[0] == found[1]
