"""From flags and yaml files to the frozen configuration of one run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerviclip import plugins
from cerviclip.data.split.folds import parse_fold
from cerviclip.environment import STORE_DTYPE, USUAL_STORE_DTYPE, store_dtype
from cerviclip.evaluation.names import BOOTSTRAP, FEW, INTERVALS, OLD
from cerviclip.places import CONFIGS, HOME
from cerviclip.runs.settings.config_hash import flatten
from cerviclip.runs.settings.files.class_maps import fill_from_class_map
from cerviclip.runs.settings.files.draw_files import follow_draw_file
from cerviclip.runs.settings.folders import (
    DEFAULT_ROOT,
    no_run,
    place_of_images,
    safe_part,
    without_file,
)
from cerviclip.runs.settings.pairs import check_given_features, check_pair
from cerviclip.runs.settings.ranges import check_filled, check_ranges
from cerviclip.runs.settings.requests import RunRequest, parse_shots
from cerviclip.runs.settings.run_key import RunKey
from cerviclip.runs.study_title import KEY as TITLE
from cerviclip.runs.study_title import check_title
from dassl.config import CfgNode, get_cfg_default, merge_file, merge_opts, merged_tree
from dassl.errors import MissingFileError, UnknownNameError, UserError, no_file
from dassl.paths import at_home, exists, is_dir, is_file

# What a request sets; it comes after the yaml files and before KEY VALUE overrides.
REQUEST_KEYS = {
    "root": "DATASET.ROOT",
    "split": "DATASET.DRAW_FILE",
    "resume": "RESUME",
    "source_domains": "DATASET.SOURCE_DOMAINS",
    "target_domains": "DATASET.TARGET_DOMAINS",
    "transforms": "INPUT.TRANSFORMS",
    "trainer": "TRAINER.NAME",
    "dataset": "DATASET.NAME",
    "backbone": "MODEL.BACKBONE.NAME",
    "head": "MODEL.HEAD.NAME",
    "weights": "MODEL.INIT_WEIGHTS",
}


def setup_cfg(request: RunRequest) -> CfgNode:
    """Build a run's configuration.

    Merged in this order: defaults, extend_cfg, dataset yaml, trainer yaml, request, overrides.

    Returns:
        The frozen cfg, whose OUTPUT_DIR is the run's folder.

    Raises:
        UserError: a name, key, value or file is not there or not usable.
    """
    plugins.add_plugins(request.plugins)
    opts = list(request.opts)
    saved = _saved_config(request)
    trainer, dataset = _asked_names(request, saved)
    cfg = get_cfg_default()
    kept = _extend(cfg, trainer, dataset)
    if saved is not None:
        cfg.TEST.INTERVALS = OLD  # what runs have that do not say
    for path in _yaml_files(request, trainer, dataset, saved):
        kept |= _touched_sections(path)
        merge_file(cfg, path)
    _forget_borrowed_precision(cfg, request, trainer, dataset, saved)
    trained = cfg.clone()
    _merge_request(cfg, request)
    merge_opts(cfg, opts)
    check_filled(cfg)
    kept |= {key.split(".")[1] for key in opts[::2] if key.startswith("TRAINER.") and "." in key}
    if (cfg.TRAINER.NAME, cfg.DATASET.NAME) != (trainer, dataset):
        cfg.TRAINER.NAME, cfg.DATASET.NAME = trainer, dataset
    _settle(cfg, request)
    if saved is not None:
        _check_as_trained(cfg, trained, saved)
        _forget_title(cfg, trained, request)
    for key in list(cfg.TRAINER):
        if key != "NAME" and key not in kept | {trainer.upper()}:
            cfg.TRAINER.pop(key)
    asked = request.output_dir or next(iter(_overrides(request, "OUTPUT_DIR")), "")
    root = request.output_root or DEFAULT_ROOT
    cfg.OUTPUT_DIR = os.path.expanduser(asked or RunKey.of(cfg, request.variant).folder(root))
    _check_names_fit(cfg.OUTPUT_DIR)
    cfg.freeze()
    return cfg


_LONGEST_NAME = 200  # bytes of a folder's name: systems take 255, and locks have a longer one


def _check_names_fit(folder: str) -> None:
    for part in Path(folder).parts:
        if (size := len(os.fsencode(part))) > _LONGEST_NAME:
            raise UserError(
                f"the run's folder has a part of {size} bytes ({part[:40]}...), more than "
                f"{_LONGEST_NAME}; give a shorter --output-dir, or a shorter name to the variant"
            )


def dataset_cfg(dataset: str, root: str = "", opts: Sequence[Any] = ()) -> CfgNode:
    """The configuration of a data set alone, for tools that train nothing; not frozen.

    Args:
        dataset: registered name.
        root: ``DATASET.ROOT``; "" for ``./data``.
        opts: flat (KEY, VALUE, ...) overrides.
    """
    cfg = get_cfg_default()
    _extend_by(cfg, _modules_of(plugins.ensure_loaded("dataset", dataset)), set())
    if path := dataset_yaml(dataset):
        merge_file(cfg, path)
    merge_opts(cfg, list(opts))
    cfg.DATASET.NAME = dataset
    cfg.DATASET.ROOT = root or cfg.DATASET.ROOT or "./data"
    cfg.SEED = max(cfg.SEED, 1)
    fill_from_class_map(cfg)
    return cfg


def trainer_yaml(trainer: str, backbone: str = "") -> Path | None:
    """``configs/trainers/<Trainer>/<backbone>.yaml``, else ``default.yaml``, else the paper's
    settings in ``ViT-B-16.yaml``, else None.

    A second name of a trainer (a subclass of one line) finds its base's files.
    """
    entries, name, seen = plugins.discover()["trainer"], trainer, set()
    while name and name not in seen:
        seen.add(name)
        folder = _by_name(CONFIGS / "trainers", name)
        for stem in (backbone, "default", "ViT-B-16"):
            path = _by_name(folder, stem, ".yaml") if folder and stem else None
            if path is not None:
                return path
        name = entries[name].base if name in entries else ""
    return None


def dataset_yaml(dataset: str) -> Path | None:
    """``configs/datasets/<name>.yaml`` if there is one."""
    return _by_name(CONFIGS / "datasets", dataset, ".yaml")


def _by_name(folder: Path, name: str, suffix: str = "") -> Path | None:
    """A folder's entry called ``name``; PhantomOCT also finds phantom_oct, ViT-B/16 vit_b16."""
    exact = folder / f"{safe_part(name)}{suffix}"
    if exists(exact):
        return exact
    wanted = _letters(name)
    entries = sorted(folder.iterdir()) if is_dir(folder) else []
    for path in entries:
        stem = path.name.removesuffix(suffix)
        shared = path.name.startswith("_")  # _base_ is no trainer's
        if path.name.endswith(suffix) and _letters(stem) == wanted and not shared:
            return path
    return None


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def find_config(path: str, what: str) -> Path:
    """A yaml file that a flag names, relative to here or to the project."""
    for candidate in (at_home(path), HOME / path):
        if is_file(candidate):
            return candidate
    raise MissingFileError(f"{what} {path} {no_file(at_home(path))}; check the path")


# -- steps --------------------------------------------------------------------------------------


def _saved_config(request: RunRequest) -> Path | None:
    """The config.yaml of the run that is to be evaluated."""
    if not request.evaluate:
        return None
    folder = Path(request.evaluate)
    if not is_dir(folder):
        raise MissingFileError(
            f"--model-dir {folder} is not a folder; name a finished run's folder"
        )
    path = folder / "config.yaml"
    if is_file(path):
        return path
    if not request.trainer:
        raise MissingFileError(
            f"--model-dir: {no_run(folder, 'config.yaml')}; or give --trainer, --dataset and the "
            "yaml files as well"
        )
    return None


def _asked_names(request: RunRequest, saved: Path | None) -> tuple[str, str]:
    """Trainer and dataset, which must be known before the tree they extend can be merged into."""
    files = [request.config_file, request.dataset_config_file, saved]
    trees = [_peek(find_config(str(path), "config file")) for path in files if path]
    names = []
    for flag, section, asked in (
        ("trainer", "TRAINER", request.trainer),
        ("dataset", "DATASET", request.dataset),
    ):
        given = [*_overrides(request, f"{section}.NAME"), asked]
        given += [str((tree.get(section) or {}).get("NAME") or "") for tree in trees]
        name = next((g for g in given if g), "")
        if not name:
            raise UserError(f"no {flag} given: add --{flag} NAME (cerviclip list shows them)")
        names.append(name)
    return names[0], names[1]


def _overrides(request: RunRequest, key: str) -> list[str]:
    """What the overrides give a key, the last and so valid one first."""
    pairs = zip(request.opts[::2], request.opts[1::2], strict=False)
    return [str(value) for name, value in pairs if name == key][::-1]


def _peek(path: Path) -> dict[str, Any]:
    """The sections of a yaml file and of all that it builds on; what is no section although it
    should be is named when the file is merged."""
    return {key: value for key, value in merged_tree(path).items() if isinstance(value, dict)}


def _extend(cfg: CfgNode, trainer: str, dataset: str) -> set[str]:
    """Add the sections of the trainer, the dataset and the plug-ins; returns the trainer's own."""
    trainer_class = plugins.ensure_loaded("trainer", trainer)
    dataset_class = plugins.ensure_loaded("dataset", dataset)
    done: set[str] = set()
    before = set(cfg.TRAINER)
    _extend_by(cfg, _modules_of(trainer_class), done)
    own = set(cfg.TRAINER) - before
    _extend_by(cfg, _modules_of(dataset_class), done)
    _extend_by(cfg, [module.__name__ for module in plugins.load_plugins()], done)
    return own


def _modules_of(registered: Any) -> list[str]:
    """Modules that define a class and its bases, bases first."""
    classes = reversed(getattr(registered, "__mro__", (registered,)))
    return [getattr(cls, "__module__", "") for cls in classes]


def _extend_by(cfg: CfgNode, modules: Sequence[str], done: set[str]) -> None:
    for module in modules:
        extend = None if module in done else plugins.extend_cfg_of(module)
        done.add(module)
        if extend is not None:
            extend(cfg)


def _yaml_files(request: RunRequest, trainer: str, dataset: str, saved: Path | None) -> list[Path]:
    """Dataset yaml and trainer yaml: those that flags name, else those found by name."""
    if saved is not None:
        return [saved]
    of_dataset, of_trainer = request.dataset_config_file, request.config_file
    files = [
        find_config(of_dataset, "dataset config file") if of_dataset else dataset_yaml(dataset)
    ]
    if of_trainer:
        files.append(find_config(of_trainer, "config file"))
    else:
        files.append(trainer_yaml(trainer, _asked_backbone(request, files[0])))
    return [path for path in files if path is not None]


def _forget_borrowed_precision(
    cfg: CfgNode, request: RunRequest, trainer: str, dataset: str, saved: Path | None
) -> None:
    """The paper's settings stand in for a backbone without its own; their precision does not.

    A yaml's bf16 is meant for the backbone and the machine it names, and it changes numbers.
    """
    section = cfg.TRAINER.get(trainer.upper())
    if saved is not None or request.config_file or "PREC" not in (section or {}):
        return
    backbone = _asked_backbone(request, dataset_yaml(dataset))
    path = trainer_yaml(trainer, backbone)
    if path is not None and _letters(path.stem) not in (_letters(backbone), "default"):
        section.PREC = "fp32"


def _asked_backbone(request: RunRequest, dataset_file: Path | None) -> str:
    """The backbone by an override, by the flag or by the dataset's yaml, in that order."""
    given = [*_overrides(request, "MODEL.BACKBONE.NAME"), request.backbone]
    in_file: Any = _peek(dataset_file) if dataset_file else None
    for part in ("MODEL", "BACKBONE", "NAME"):  # a wrong shape is named when the file is merged
        in_file = in_file.get(part) if isinstance(in_file, dict) else None
    return next(filter(None, [*given, in_file]), "")


def _touched_sections(path: Path) -> set[str]:
    return set(_peek(path).get("TRAINER", {})) - {"NAME"}


def _merge_request(cfg: CfgNode, request: RunRequest) -> None:
    pairs: list[Any] = []
    for name, key in REQUEST_KEYS.items():
        if value := getattr(request, name):
            pairs += [key, value]
    merge_opts(cfg, pairs)
    seed = request.seed
    if seed is not None and seed < -1:  # -1 is upstream's word for "as the config says"
        raise UserError(f"--seed {seed}: seeds are whole numbers from 0")
    if seed is not None and seed >= 0:
        cfg.SEED = seed
    if request.shots is not None:
        cfg.DATASET.NUM_SHOTS = parse_shots(request.shots)


def _settle(cfg: CfgNode, request: RunRequest) -> None:
    """Fill what nobody said, and refuse what cannot be."""
    seeded = request.seed is not None and request.seed >= 0
    follow_draw_file(cfg, request.shots is not None, seeded, request.evaluate)
    trainer_class = plugins.ensure_loaded("trainer", cfg.TRAINER.NAME)
    if not getattr(trainer_class, "needs_training", True):
        cfg.DATASET.NUM_SHOTS, cfg.SEED = 0, 0  # one run stands for all shots and seeds
    elif cfg.DATASET.NUM_SHOTS == 0:
        raise UserError(
            f"{cfg.TRAINER.NAME} learns from images, so 0 shots make no sense; give --shots from "
            "1, or 'full'"
        )
    elif cfg.DATASET.NUM_SHOTS < -1:
        raise UserError(
            f"DATASET.NUM_SHOTS is {cfg.DATASET.NUM_SHOTS}; shots are a whole number from 1, or -1 "
            "for full"
        )
    if not cfg.MODEL.BACKBONE.NAME and hasattr(trainer_class, "image_input"):
        raise UserError(
            f"{cfg.TRAINER.NAME} needs a backbone: give --backbone PhantomCLIP (embedded), "
            "ViT-B/16 or another that cerviclip list names"
        )
    check_pair(cfg.TRAINER.NAME, trainer_class, cfg.MODEL.BACKBONE.NAME)
    check_given_features(
        cfg.TRAINER.NAME, trainer_class, cfg.MODEL.BACKBONE.NAME, cfg.INPUT.FEATURE_VIEWS
    )
    if cfg.SEED < 0:
        cfg.SEED = 1  # every run here can be repeated
    check_ranges(cfg)
    check_title(cfg.DATASET.TITLE)
    fill_from_class_map(cfg)
    _check_fold(cfg)
    _check_intervals(cfg)
    _check_measures(cfg)
    _check_subgroups(cfg)
    _note_store_dtype(cfg, saved=bool(request.evaluate))
    cfg.DATASET.ROOT = cfg.DATASET.ROOT or "./data"
    # More loader processes than cores only wait for each other; torch would warn at every loader.
    # With augmentation at load time this makes numbers differ between machines (docs/data.md).
    cfg.DATALOADER.NUM_WORKERS = min(cfg.DATALOADER.NUM_WORKERS, os.cpu_count() or 1)
    if cfg.MODEL.INIT_WEIGHTS.startswith("~"):
        cfg.MODEL.INIT_WEIGHTS = str(at_home(cfg.MODEL.INIT_WEIGHTS))
    if cfg.MODEL.INIT_WEIGHTS and not is_file(cfg.MODEL.INIT_WEIGHTS):
        raise MissingFileError(
            f"weights file {cfg.MODEL.INIT_WEIGHTS} {no_file(cfg.MODEL.INIT_WEIGHTS)}; check "
            "--weights (or MODEL.INIT_WEIGHTS)"
        )
    for name in cfg.TEST.EXTERNAL:
        try:
            plugins.ensure_loaded("dataset", name)
        except UnknownNameError as error:
            raise UnknownNameError(f"TEST.EXTERNAL: {error}") from error


# What a saved model was trained with: an evaluation that says otherwise would be written down as
# one of a model that there is not.
_TRAINED_WITH = (
    "SEED",
    "OPTIM.",
    "DATASET.NUM_SHOTS",  # and NUM_SHOTS_VAL
    "DATASET.SHOTS_BY",
    "DATASET.SHOTS_SCENARIO",
    "DATASET.SPLIT_SEED",
    "DATASET.SPLIT_RATIO",
    "DATASET.SPLIT_BY",
    # Weights say nothing of the network around them: an activation, an interpolation.
    "MODEL.BACKBONE.NAME",
    "MODEL.HEAD.",
    "INPUT.SIZE",
    "INPUT.INTERPOLATION",
    "INPUT.PIXEL_",
    "INPUT.NO_TRANSFORM",
    "INPUT.BITS",
    "INPUT.WINDOW",
)


def _check_as_trained(cfg: CfgNode, trained: CfgNode, saved: Path) -> None:
    """Refuse an evaluation whose settings describe another training than the run's.

    Args:
        cfg: of the evaluation.
        trained: the run's.
        saved: its config.yaml; what is not said there is not compared.
    """
    if not getattr(plugins.ensure_loaded("trainer", cfg.TRAINER.NAME), "needs_training", True):
        return
    said = flatten(merged_tree(saved))
    now, then = flatten(cfg), flatten(trained)
    for flat in (now, then):  # the file of a backbone may lie elsewhere now
        flat["MODEL.BACKBONE.NAME"] = without_file(flat["MODEL.BACKBONE.NAME"])
    wrong = [
        f"{key} {now[key]} (was {then[key]})"
        for key in said
        if _is_of_training(key) and key in then and now[key] != then[key]
    ]
    if wrong:
        raise UserError(
            f"--model-dir {saved.parent} was trained with other settings than are asked: "
            f"{', '.join(wrong)}; leave them out of the evaluation"
        )


def _is_of_training(key: str) -> bool:
    return key == "DATASET.FOLD" or key.startswith(_TRAINED_WITH)  # FOLDER may be another


def _forget_title(cfg: CfgNode, trained: CfgNode, request: RunRequest) -> None:
    """A saved run's title is that of its own images, not of others that its model is scored on."""
    elsewhere = place_of_images(cfg.DATASET) != place_of_images(trained.DATASET)
    if elsewhere and not _overrides(request, TITLE):
        cfg.DATASET.TITLE = ""


def _check_fold(cfg: CfgNode) -> None:
    """A fold goes to data sets that split into folds; others would score their usual split."""
    fold = parse_fold(cfg.DATASET.FOLD)
    dataset_class = plugins.ensure_loaded("dataset", cfg.DATASET.NAME)
    if fold is not None and not getattr(dataset_class, "splits_into_folds", False):
        raise UserError(
            f"DATASET.FOLD is {fold}, but {cfg.DATASET.NAME} does not split into folds; leave "
            "DATASET.FOLD out"
        )


def _check_intervals(cfg: CfgNode) -> None:
    if cfg.TEST.INTERVALS not in INTERVALS:
        raise UserError(
            f"TEST.INTERVALS is {cfg.TEST.INTERVALS!r}; take {FEW}, or {BOOTSTRAP} for resampled "
            "patients"
        )


def _check_measures(cfg: CfgNode) -> None:
    from cerviclip.evaluation.names import PATIENT_RULES

    test = cfg.TEST
    if test.PATIENT_RULE not in PATIENT_RULES:
        rules = ", ".join(PATIENT_RULES)
        raise UserError(f"TEST.PATIENT_RULE is {test.PATIENT_RULE!r}; take one of {rules}")
    if not test.MISS_COST >= 0:
        raise UserError(
            f"TEST.MISS_COST is {test.MISS_COST}; give how many false alarms one missed positive "
            "is worth, or 0 to state none"
        )
    prevalences = [("TEST.PREVALENCES", share) for share in test.PREVALENCES]
    for key, share in [("TEST.COVERAGE", test.COVERAGE), *prevalences]:
        if not (isinstance(share, (int, float)) and 0 < share < 1):
            raise UserError(f"{key} has {share!r}; give numbers between 0 and 1, such as 0.05")


def _check_subgroups(cfg: CfgNode) -> None:
    """Read the files that ``TEST.SUBGROUPS`` names, so that what is wrong is said before a run."""
    from cerviclip.runs.subgroups import read_subgroups

    for spec in cfg.TEST.SUBGROUPS:
        read_subgroups(spec)


def _note_store_dtype(cfg: CfgNode, saved: bool) -> None:
    """Stored features are rounded as an environment variable says: it belongs to the settings.

    Args:
        saved: the settings are those of an earlier run.
    """
    usual, now = USUAL_STORE_DTYPE, store_dtype()
    wanted = cfg.INPUT.STORE_DTYPE or (usual if saved else now)
    if wanted != now:
        raise UserError(
            f"INPUT.STORE_DTYPE is {wanted}, but features are now stored as {now}; set the "
            f"environment variable {STORE_DTYPE}={wanted}"
        )
    cfg.INPUT.STORE_DTYPE = "" if now == usual else now
