"""Wall time of runs on a frozen backbone against runs, shots, classes and images, as a picture."""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any

from cerviclip.tools.bench_parts.common import Bench, child

RUNS, SHOTS, CLASSES, IMAGES = 200, (1, 2, 4, 8, 16, 32), (2, 4, 8, 16, 32), (100, 400, 1600)
TRAINER = "TipAdapterF"
RESIDENT_AT = (20, 200)  # runs after which resident memory is read


def measure_scaling(bench: Bench, picture: Path) -> None:
    """Run the scaling child and draw what it found."""
    bench.say("scaling: 200 runs, then shots, classes and images")
    out = child(
        ["-m", "cerviclip.tools.bench_parts.scaling", str(bench.work / "scaling")],
        bench.environment("scaling"),
    )
    found = json.loads(out.splitlines()[-1])
    bench.details["scaling"] = found
    first, last = (found["resident_mib"][str(n)] for n in RESIDENT_AT)
    bench.figures["resident_growth"] = last / first - 1
    draw(found, picture)
    bench.say(f"picture: {picture}")


def main(work: Path) -> None:
    """In the child: a tiny CLIP, generated images, and many runs in one process."""
    import numpy as np
    import psutil
    from PIL import Image

    weights = tiny_weights(work / "tiny.safetensors")
    rng = np.random.default_rng(0)
    for name, classes, per_class in folders():
        for c in range(classes):
            folder = work / "data" / name / f"class_{c:02d}"
            folder.mkdir(parents=True)
            for i in range(per_class):
                pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:04d}.png")
    run = Runs(work, weights)
    run("warm", "shots", 1, 1)  # imports and first uses
    process = psutil.Process()
    resident, times = {}, []
    for seed in range(1, RUNS + 1):
        times.append(run("runs", "shots", 1, seed))
        if seed in RESIDENT_AT:
            resident[seed] = process.memory_info().rss / 2**20
    found = {
        "runs": {"x": list(range(1, RUNS + 1)), "seconds": np.cumsum(times).tolist()},
        "resident_mib": resident,
        "shots": sweep_of(run, "shots", [("shots", k) for k in SHOTS], SHOTS),
        "classes": sweep_of(run, "classes", [(f"classes_{c}", 4) for c in CLASSES], CLASSES),
        "images": sweep_of(run, "images", [(f"images_{n}", 4) for n in IMAGES], IMAGES),
    }
    print(json.dumps(found))


def folders() -> list[tuple[str, int, int]]:
    """(name, classes, images per class) of the generated data sets."""
    return [
        ("shots", 5, 100),
        *((f"classes_{c}", c, 24) for c in CLASSES),
        *((f"images_{n}", 5, n // 5) for n in IMAGES),
    ]


def sweep_of(run: Runs, name: str, cases: list[tuple[str, int]], values: Any) -> dict[str, Any]:
    """First runs encode; the same runs again, in folders of their own, find all in the store."""
    first = [run(f"{name}_first", data, shots, 1) for data, shots in cases]
    second = [run(f"{name}_second", data, shots, 1) for data, shots in cases]
    return {"x": list(values), "first": first, "second": second}


class Runs:
    """Single runs in this process."""

    def __init__(self, work: Path, weights: Path) -> None:
        self.work, self.weights = work, weights

    def __call__(self, name: str, data: str, shots: int, seed: int) -> float:
        """Seconds of one run in a folder of its own."""
        from cerviclip.runs.run.runner import run_one
        from cerviclip.runs.settings.configure import setup_cfg
        from cerviclip.runs.settings.requests import RunRequest

        request = RunRequest(
            trainer=TRAINER,
            dataset="FolderDataset",
            backbone="CLIP",
            weights=str(self.weights),
            shots=shots,
            seed=seed,
            root=str(self.work / "data"),
            output_dir=str(self.work / "out" / name / f"{data}_{shots}_{seed}"),
            config_file=str(self.config()),
            opts=("DATASET.FOLDER", data, "DATASET.SPLIT_BY", "image", "OPTIM.MAX_EPOCH", 5),
        )
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run_one(setup_cfg(request), echo=False)
        return time.perf_counter() - start

    def config(self) -> Path:
        path = self.work / "scaling.yaml"
        path.write_text(
            "INPUT: {TRANSFORMS: [normalize], FEATURE_VIEWS: 1}\nDATALOADER: {NUM_WORKERS: 0}\n"
        )
        return path


def tiny_weights(path: Path) -> Path:
    """A two-layer CLIP at 32 px: what is measured is everything but the encoder."""
    import torch
    from safetensors.torch import save_file

    from cerviclip.vlm.towers.clip_package import import_clip

    import_clip()
    from clip.model import CLIP

    torch.manual_seed(0)
    state = CLIP(32, 32, 2, 64, 8, 77, 49408, 64, 1, 2).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    return path


def draw(found: dict[str, Any], path: Path) -> None:
    """Four panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), dpi=100)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 4)
    labels = {"shots": "shots", "classes": "classes", "images": "images in the data set"}
    panels[0].plot(found["runs"]["x"], found["runs"]["seconds"], color="#1f77b4")
    panels[0].set_xlabel("runs")
    panels[0].set_ylabel("seconds")
    for axes, (name, label) in zip(panels[1:], labels.items(), strict=True):
        data = found[name]
        axes.plot(data["x"], data["first"], "o-", label="empty store", color="#d62728")
        axes.plot(data["x"], data["second"], "o-", label="filled store", color="#1f77b4")
        axes.set_xlabel(label)
        axes.set_ylim(0, 1.15 * max(*data["first"], *data["second"]))
        axes.legend(fontsize=8)
    for axes in panels:
        axes.grid(alpha=0.3)
    memory = ", ".join(f"{v:.0f} MiB after run {k}" for k, v in found["resident_mib"].items())
    figure.suptitle(f"{TRAINER}, tiny CLIP, one process; resident memory {memory}", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    import sys

    main(Path(sys.argv[1]))
