"""The sweep of issue size: 45 runs against their floor, again at other seeds, and as published."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cerviclip.runs.predictions import pooled, read_predictions
from cerviclip.tools.bench_parts.common import REPO, Bench, child, device, spent

BACKBONE = "ViT-B/32"
# With "full" among the five every training image is encoded once; other seeds then find all of
# theirs.
SHOTS = ["1", "4", "8", "16", "full"]
SEEDS, OTHER_SEEDS = ["1", "2", "3"], ["4", "5", "6"]
TRAINERS: dict[str, dict[str, Any]] = {
    "LinearProbe": {},
    "CoOp": {"OPTIM.MAX_EPOCH": 10, "OPTIM.LR": 0.002, "OPTIM.LR_SCHEDULER": "cosine"},
    "TipAdapterF": {"OPTIM.MAX_EPOCH": 20, "OPTIM.NAME": "adamw", "OPTIM.LR": 0.001},
}
COMMON = {
    "INPUT.TRANSFORMS": ["normalize"],
    "INPUT.INTERPOLATION": "bicubic",
    "DATALOADER.NUM_WORKERS": 0,
    "DATALOADER.TRAIN_X.BATCH_SIZE": 32,
    "TRAIN.PRINT_FREQ": 100,
}
PUBLISHED_SHOTS, PUBLISHED_SEED = "4", "1"


def sweep_yaml(bench: Bench) -> Path:
    """The sweep as a file for run_shell.py."""
    path = bench.work / "bench_sweep.yaml"
    tree = {
        "datasets": ["Herlev"],
        "backbone": BACKBONE,
        "shots": SHOTS,
        "seeds": SEEDS,
        "trainers": [
            {"trainer": name, "config": str(empty_config(bench)), "opts": opts}
            for name, opts in TRAINERS.items()
        ],
        "opts": {**COMMON, "INPUT.FEATURE_VIEWS": 1},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def empty_config(bench: Bench) -> Path:
    """A trainer yaml without keys, so that no shipped recipe changes what is measured."""
    path = bench.work / "empty.yaml"
    path.write_text("{}\n")
    return path


def sweep_flags(bench: Bench, out: str, *more: str) -> list[str]:
    return [
        *("--sweep", str(sweep_yaml(bench)), "--root", str(bench.data_root())),
        *("--weights", str(bench.weights(BACKBONE)), "--output-dir", str(bench.work / out), *more),
    ]


def timed_sweep(bench: Bench, *flags: str) -> dict[str, float]:
    """Run a sweep in a process of its own: wall time, and the part after its imports."""
    start = time.perf_counter()
    out = child(
        ["-m", "cerviclip.tools.bench_parts.sweep", "sweep", *flags], bench.environment("cache")
    )
    wall = time.perf_counter() - start
    return {"wall": wall, **json.loads(out.splitlines()[-1])}


def run_sweep(flags: Sequence[str]) -> None:
    """In the child: import what a sweep needs, then time it."""
    import run_shell

    preload()
    states: list[int] = []
    times = spent(lambda: states.append(run_shell.main(flags)))
    if states != [0]:
        raise RuntimeError(f"the sweep failed with status {states}")
    print(json.dumps(times))


def preload() -> None:
    """Imports and first uses that every process pays once, whatever it runs."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import pandas  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import cerviclip.engine.vlm_trainer
    import cerviclip.runs.jobs.executors  # noqa: F401
    from cerviclip import plugins
    from cerviclip.vlm.towers.clip_package import import_clip

    import_clip()
    for name in TRAINERS:
        plugins.ensure_loaded("trainer", name)


# -- the floor -----------------------------------------------------------------------------------


def measure_floor(out: str, cases: Sequence[str], encode: bool) -> dict[str, Any]:
    """In the child: heads alone on tensors in memory for each finished run below ``out``, and one
    encoder pass over the images that those runs used.

    Args:
        out: the sweep's folder.
        cases: trainers to take.
        encode: whether to time the encoder too.
    """
    preload()
    from cerviclip.runs.settings.folders import find_results

    heads: dict[str, float] = dict.fromkeys(cases, 0.0)
    cpu = 0.0
    images: set[str] = set()
    trainer = None
    for path in find_results(out):
        results = json.loads(path.read_text())
        if results["trainer"] not in cases:
            continue
        trainer, times = one_head(path.parent)
        heads[results["trainer"]] += sum(t["seconds"] for t in times)
        cpu += sum(t["cpu"] for t in times)
        data = trainer.dm.dataset
        parts = [data.train_x, data.test]
        if results["trainer"] != "CoOp":  # the two others choose their settings on val
            parts.append(data.val)
        images |= {item.impath for part in parts for item in part}
    found: dict[str, Any] = {"heads": heads, "images": len(images)}
    if encode:
        times = encoder_pass(trainer, sorted(images))
        found["encode"] = times["seconds"]
        cpu += times["cpu"]
    found["seconds"] = found.get("encode", 0.0) + sum(heads.values())
    found["cpu"] = cpu
    print(json.dumps(found))
    return found


def one_head(folder: Path) -> tuple[Any, list[dict[str, float]]]:
    """A run's head trained and scored on tensors in memory, by a bare loop."""
    import contextlib
    import io

    import torch

    from cerviclip.evaluation.report import score
    from cerviclip.plugins import ensure_loaded, extend_cfg_of
    from dassl.config import get_cfg_default, read_yaml
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    tree = read_yaml(folder / "config.yaml")
    cfg = get_cfg_default()
    extend_cfg_of(ensure_loaded("trainer", tree["TRAINER"]["NAME"]).__module__)(cfg)
    ensure_loaded("dataset", tree["DATASET"]["NAME"])
    cfg.merge_from_file(str(folder / "config.yaml"))
    cfg.TEST.EXTERNAL = ()
    with contextlib.redirect_stdout(io.StringIO()):
        set_random_seed(cfg.SEED)
        trainer = build_trainer(cfg)
        trainer.prepare_training()  # caches and optimisers, which train() would make
        trainer.init_writer = lambda *args: None
        tables = {name: _tensors(loader) for name, loader in _loaders(trainer).items()}
        trainer.split_features("train"), trainer.split_features("val")
        training = spent(lambda: _train(trainer, tables["train"]))
        trainer.set_model_mode("eval")
        features, labels = tables["test"]
        patients = [item.patient_id for item in trainer.dm.dataset.test]

        def scoring() -> None:
            with torch.no_grad():
                logits = trainer.model_inference(features.to(trainer.device))
            probs = torch.softmax(logits.double(), dim=1).cpu().numpy()
            data = trainer.dm.dataset
            score(labels.numpy(), probs, patients, data.classnames, list(data.positive_classes))

        return trainer, [training, spent(scoring)]


def _loaders(trainer: Any) -> dict[str, Any]:
    trainer.dm.training_ended = True
    return {"train": trainer.train_loader_x, "test": trainer.test_loader}


def _tensors(loader: Any) -> tuple[Any, Any]:
    data = loader.dataset
    batch = data.__getitems__(list(range(len(data))))
    return batch["img"], batch["label"]


def _train(trainer: Any, table: tuple[Any, Any]) -> None:
    """The head's own steps: no engine, no loader, no log."""
    import torch

    from cerviclip.engine.fit_once import FitOnce

    trainer.set_model_mode("train")
    if isinstance(trainer, FitOnce):
        with torch.no_grad():
            trainer.fit()
        return
    features, labels = table
    size = trainer.train_loader_x.batch_size
    trainer.num_batches = max(1, len(labels) // size)
    for _ in range(trainer.cfg.OPTIM.MAX_EPOCH):
        order = torch.randperm(len(labels))
        for number in range(trainer.num_batches):
            trainer.batch_idx = number
            index = order[number * size : (number + 1) * size]
            trainer.forward_backward({"img": features[index], "label": labels[index]})
    if hasattr(trainer, "search"):
        trainer.search()


def encoder_pass(trainer: Any, paths: Sequence[str]) -> dict[str, float]:
    """Time of the encoder alone over so many images, decoded beforehand, in batches of 32."""
    import torch

    from cerviclip.data.images.cache import PlainPixels

    plain = PlainPixels(trainer.tfm_test)
    pixels = plain.tensor([plain.bytes_of(path) for path in paths]).to(device())
    backbone = trainer.backbone

    def work() -> None:
        with torch.no_grad():
            for batch in pixels.split(32):
                backbone.encode_image(batch)

    with torch.no_grad():
        backbone.encode_image(pixels[:32])
    return spent(work)


# -- the figures ---------------------------------------------------------------------------------


def measure_sweep(bench: Bench, wanted: set[str]) -> None:
    """``sweep_over_floor``, ``second_sweep_over_heads`` and ``speedup_over_published``."""
    bench.say("sweep of 45 runs, ViT-B/32, empty store")
    first = timed_sweep(bench, *sweep_flags(bench, "first"))
    detail: dict[str, Any] = {"first": first, "runs": len(TRAINERS) * len(SHOTS) * len(SEEDS)}
    bench.details["sweep"] = detail
    if "sweep_over_floor" in wanted:
        bench.say(f"{first['seconds']:.1f} s; its floor: one encoder pass, heads alone")
        floor = floor_of(bench, "first", list(TRAINERS), encode=True)
        detail["floor"] = floor
        detail["sweep_over_floor_cpu"] = first["cpu"] / floor["cpu"]
        bench.figures["sweep_over_floor"] = first["seconds"] / floor["seconds"]
    if "second_sweep_over_heads" in wanted:
        bench.say("second sweep: CoOp at other seeds")
        flags = sweep_flags(bench, "second", "--trainers", "CoOp", "--seeds", *OTHER_SEEDS)
        second = timed_sweep(bench, *flags)
        heads = floor_of(bench, "second", ["CoOp"], encode=False)
        detail["second"] = {**second, "heads": heads}
        detail["second_sweep_over_heads_cpu"] = second["cpu"] / heads["cpu"]
        bench.figures["second_sweep_over_heads"] = second["seconds"] / heads["seconds"]
    if "speedup_over_published" in wanted:
        measure_published(bench, first, detail)


def floor_of(bench: Bench, out: str, cases: Sequence[str], encode: bool) -> dict[str, Any]:
    args = ["floor", str(bench.work / out), str(int(encode)), *cases]
    out_text = child(["-m", "cerviclip.tools.bench_parts.sweep", *args], bench.environment("cache"))
    return json.loads(out_text.splitlines()[-1])


def measure_published(bench: Bench, first: dict[str, float], detail: dict[str, Any]) -> None:
    """Time one published run of each trainer and scale its training to the sweep's other shots."""
    per_trainer, total, agree = {}, 0.0, []
    inside = run_times(bench)
    # Imports, start and tables are on our side once: each trainer bears its share of them.
    ours = {name: t * first["wall"] / sum(inside.values()) for name, t in inside.items()}
    for name, opts in TRAINERS.items():
        bench.say(f"published way: {name}, {PUBLISHED_SHOTS} shots, one process")
        wall, parts = published_run(bench, name, opts)
        agree.append(agreement(bench, name))
        learning = parts["train"] - parts["val"]
        estimate = 0.0
        for shots in SHOTS:
            factor = growth(name, parts["images"], detail_images(bench, name, shots))
            estimate += len(SEEDS) * (wall - learning + learning * factor)
        per_trainer[name] = {
            "seconds_measured": wall,
            "training_part": learning,
            "seconds_15_runs": estimate,
            "ours_15_runs": ours[name],
            "speedup": estimate / ours[name],
            "predictions_agree": agree[-1]["predictions"],
            "accuracy_difference": agree[-1]["accuracy"],
        }
        total += estimate
    detail["published"] = {
        "how": f"one run of each trainer at {PUBLISHED_SHOTS} shots, seed {PUBLISHED_SEED}, was "
        "measured; its training time is scaled to the other shots by their steps or their "
        "images, whichever grow less; its other time (start, weights, val, test) is taken as it "
        "is; times seeds",
        "seconds": total,
        "per_trainer": per_trainer,
    }
    bench.figures["speedup_over_published"] = total / first["wall"]
    bench.figures["published_predictions_agree"] = min(a["predictions"] for a in agree)
    bench.figures["published_accuracy_difference"] = max(abs(a["accuracy"]) for a in agree)


def growth(name: str, measured: int, images: int) -> float:
    """How much more a run learns on ``images`` than on ``measured`` training images, at least.

    A probe reads each image once. The others drop an epoch's last, smaller batch; of the growth in
    steps and that in images the smaller is taken.
    """
    if name == "LinearProbe":
        return images / measured
    batch = COMMON["DATALOADER.TRAIN_X.BATCH_SIZE"]
    steps = [max(1, n // batch) for n in (images, measured)]
    seen = [n if n < batch else n // batch * batch for n in (images, measured)]
    return min(steps[0] / steps[1], seen[0] / seen[1])


def published_run(bench: Bench, name: str, opts: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """One process of the published way: wall seconds and its parts."""
    out = bench.work / f"published_{name}.json"
    flags = [
        *("--dataset", "Herlev", "--root", str(bench.data_root()), "--backbone", BACKBONE),
        *("--weights", str(bench.weights(BACKBONE)), "--shots", PUBLISHED_SHOTS),
        *("--seed", PUBLISHED_SEED, "--config-file", str(empty_config(bench))),
        *("--output-dir", str(bench.work / "published" / name)),
    ]
    for key, value in {**COMMON, **opts, "INPUT.FEATURE_VIEWS": 0}.items():
        flags += [key, str(value)]
    start = time.perf_counter()
    child(
        ["-m", "cerviclip.tools.bench_parts.published", name, str(out), *flags],
        bench.environment("unused"),
    )
    return time.perf_counter() - start, json.loads(out.read_text())


def run_folder(bench: Bench, name: str, shots: str, seed: str) -> Path:
    (folder,) = (bench.work / "first").glob(f"Herlev/{name}/*/default/shots_{shots}/seed_{seed}")
    return folder


def detail_images(bench: Bench, name: str, shots: str) -> int:
    """Training images of a run."""
    split = json.loads((run_folder(bench, name, shots, SEEDS[0]) / "split.json").read_text())
    return len(split["train"])


def run_times(bench: Bench) -> dict[str, float]:
    """Seconds of our runs by trainer, as their results.json say."""
    times = dict.fromkeys(TRAINERS, 0.0)
    for path in (bench.work / "first").rglob("results.json"):
        results = json.loads(path.read_text())
        times[results["trainer"]] += results["runtime"]["seconds"]["total"]
    return times


def agreement(bench: Bench, name: str) -> dict[str, float]:
    """Share of equal predictions in percent and difference of accuracy in points, both ways."""
    folders = (
        run_folder(bench, name, PUBLISHED_SHOTS, PUBLISHED_SEED),
        bench.work / "published" / name,
    )
    ours, theirs = (pooled(read_predictions(folder)) for folder in folders)
    assert ours.paths == theirs.paths
    same = (ours.predicted == theirs.predicted).mean()
    accuracy = [(p.predicted == p.labels).mean() for p in (ours, theirs)]
    return {
        "predictions": 100 * float(same),
        "accuracy": 100 * float(accuracy[0] - accuracy[1]),
    }


def measure_startup(bench: Bench, wanted: set[str]) -> None:
    """``help_seconds`` and ``list_seconds``: median of seven processes each."""
    for key, flag in (("help_seconds", "--help"), ("list_seconds", "--list")):
        if key not in wanted:
            continue
        times = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "train.py", flag], cwd=REPO, check=True, stdout=subprocess.DEVNULL
            )
            times.append(time.perf_counter() - start)
        bench.figures[key] = statistics.median(times)


if __name__ == "__main__":
    os.chdir(REPO)
    command, *rest = sys.argv[1:]
    if command == "sweep":
        run_sweep(rest)
    else:
        measure_floor(rest[0], rest[2:], bool(int(rest[1])))
