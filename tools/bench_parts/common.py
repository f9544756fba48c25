"""What all parts of the benchmark share: the machine, weights, images, timing."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
HERLEV_COUNTS = {
    "carcinoma_in_situ": 150,
    "light_dysplastic": 182,
    "moderate_dysplastic": 146,
    "normal_columnar": 98,
    "normal_intermediate": 70,
    "normal_superficial": 74,
    "severe_dysplastic": 197,
}


@dataclass
class Bench:
    """Where the benchmark works, and what it has measured.

    Args:
        work: a folder of its own for weights, images, caches and runs.
    """

    work: Path
    figures: dict[str, float | None] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str) -> None:
        print(f"[{datetime.now():%H:%M:%S}] {text}", file=sys.stderr, flush=True)

    def weights(self, name: str) -> Path:
        """Random weights of a backbone's true shape, written once."""
        path = self.work / f"{name.replace('/', '-')}.safetensors"
        if not path.exists():
            write_clip(name, path)
        return path

    def backbone(self, name: str, precision: str = "fp32") -> Any:
        """A backbone with those weights on the machine's device."""
        from cerviclip.vlm import load_backbone

        return load_backbone(name, str(self.weights(name)), precision, device())

    def data_root(self) -> Path:
        """A folder that holds ``herlev``: the real cells where they are, else files like them."""
        for root in (os.environ.get("HERLEV_ROOT", ""), REPO.parent / "shared" / "data"):
            if root and (Path(root) / "herlev").is_dir():
                self.details["images"] = "Herlev, real files"
                return Path(root)
        self.details["images"] = "generated files in Herlev's layout and sizes"
        root = self.work / "data"
        if not (root / "herlev").is_dir():
            write_herlev_like(root / "herlev" / "images")
        return root

    def image_paths(self) -> list[str]:
        """All of its image files, sorted."""
        return sorted(str(p) for p in (self.data_root() / "herlev").rglob("*.jpg"))

    def environment(self, cache: str) -> dict[str, str]:
        """Of child processes: a feature store of their own, this checkout first."""
        paths = [str(REPO), str(REPO / "tools"), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "CERVICLIP_CACHE": str(self.work / cache),
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            "MPLBACKEND": "Agg",
        }


def device() -> Any:
    from dassl.utils.distributed import choose_device

    return choose_device()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    model = platform.processor() or platform.machine()
    flags: set[str] = set()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            if key.strip() == "flags":
                flags = set(value.split())
    found = {
        "cpu": model,
        "cores": os.cpu_count(),
        "bf16_instructions": bool(flags & {"avx512_bf16", "amx_bf16"}),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "device": str(device()),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def write_clip(name: str, path: Path) -> None:
    """A CLIP of OpenAI's architecture with random values (the package's own initialisation)."""
    import torch
    from safetensors.torch import save_file

    from cerviclip.backbones.names import OPENAI_GEOMETRY
    from cerviclip.vlm.towers.clip_package import import_clip

    import_clip()
    from clip.model import CLIP

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIP(*OPENAI_GEOMETRY[name])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, path)


def write_herlev_like(folder: Path) -> None:
    """917 JPEG files of 224 and 200 px in seven classes, several a slide."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for c, (name, count) in enumerate(HERLEV_COUNTS.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            side = 224 if i % 5 else 200
            noise = rng.integers(0, 255, (14, 14, 3), dtype=np.uint8)
            noise[..., c % 3] //= 2 + c // 3
            image = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
            image.save(folder / name / f"{149000000 + 1000 * c + i // 3}-1-{i % 3:03d}.jpg")


def synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Wall time (or that of another clock) of one call, the device's work included."""
    synchronise()
    start = clock()
    work()
    synchronise()
    return clock() - start


def spent(work: Callable[[], Any]) -> dict[str, float]:
    """Wall and processor seconds of one call. On a busy machine, with one thread, the ratio of
    processor seconds is the steadier of the two."""
    processor = time.process_time()
    wall = seconds(work)
    return {"seconds": wall, "cpu": time.process_time() - processor}


def alternate(
    parts: Mapping[str, Callable[[], Any]], repeats: int, warm: int = 2
) -> dict[str, float]:
    """Median seconds of each part, run in turn, so that a noisy moment hits all of them.

    Args:
        parts: what to time.
        repeats: calls of each.
        warm: calls of each beforehand that are not timed.
    """
    for work in parts.values():
        for _ in range(warm):
            work()
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, work in parts.items():
            times[name].append(seconds(work))
    return {name: statistics.median(found) for name, found in times.items()}


def child(args: Sequence[str], env: Mapping[str, str], **kwargs: Any) -> str:
    """Output of a Python process; its error output on failure."""
    done = subprocess.run(
        [sys.executable, *args], env=dict(env), cwd=REPO, capture_output=True, text=True, **kwargs
    )
    if done.returncode:
        ended = f"status {done.returncode} of {' '.join(args)}"
        raise RuntimeError(f"{ended}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout
