"""The sweeps for real data, run to their end on stand-ins: every entry, shot and centre, no number.

Images are frames and cells of random colour, weights are random: that the commands run is all that
is shown here.
"""

from __future__ import annotations

import json

import pytest

from cerviclip.runs.settings.folders import find_results
from helpers import tiny_clip_state_dict, write_images

OCT = (
    *("cancer", "cyst", "ectropion"),
    *("high-grade_squamous_intraepithelial_lesion", "mild_inflammation"),
)
SMALL = (
    *("TRAIN.MAX_ITERS", "2", "OPTIM.MAX_EPOCH", "1", "DATALOADER.NUM_WORKERS", "0"),
    *("MODEL.BACKBONE.PRETRAINED", "False", "INPUT.SIZE", "(64,64)"),
)


def write_oct(root, shots):
    """Three centres in the published layout; twice the shots go to training."""
    for seed, (center, count) in enumerate({"mixed": 5 * shots, "huaxi": 6, "xiangya": 6}.items()):
        folder = root / center / "images"
        write_images(folder, dict.fromkeys(OCT, count), patients=count // 2, seed=seed)


def write_cells(root, shots):
    from cerviclip.datasets.herlev import Herlev

    for path in write_images(root / "herlev" / "images", dict.fromkeys(Herlev.classes, 3 * shots)):
        number = int(path.stem.split("_")[1])
        path.rename(
            path.with_name(f"{149143370 + number // 2}-{path.parent.name}-{number:03d}.png")
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, write, centers, runs",
    [
        ("savlt_oct", write_oct, {"test", "HuaxiOCT", "XiangyaOCT"}, 1 + 8 * 2 * 3),
        ("savlt_herlev", write_cells, {"test"}, 1 + 5 * 2 * 3),
    ],
)
def test_sweep_runs_to_its_end_on_stand_ins(
    tmp_path, repo_dir, monkeypatch, name, write, centers, runs
):
    from safetensors.torch import save_file

    import run_shell

    monkeypatch.chdir(repo_dir)
    write(tmp_path / "data", 32)
    save_file(tiny_clip_state_dict(vision_layers=12), tmp_path / "clip.safetensors")
    status = run_shell.main(
        [
            *("--sweep", name, "--root", str(tmp_path / "data"), "--backbone", "CLIP"),
            *("--weights", str(tmp_path / "clip.safetensors")),
            *("--output-dir", str(tmp_path / "out"), "--opts", *SMALL),
        ]
    )
    assert status == 0
    results = [json.loads(path.read_text()) for path in find_results(tmp_path / "out")]
    assert len(results) == runs and {r["status"] for r in results} == {"done"}
    assert all(set(r["centers"]) == centers for r in results)
    assert {r["seed"] for r in results if r["shots"]} == {5, 42, 123}
    assert {r["shots"] for r in results} == {0, 16, 32}
    table = (tmp_path / "out" / "results.md").read_text()
    assert "SAVLT" in table and "CNNBaseline" in table
