"""Which numbers and words the engine's keys can have, so that a slip is told before anything runs.

torch and NumPy find most of them too, in their own words, after minutes of work. A word that no key
knows (``TEST.SPLIT validation``) is worse: what is not ``val`` is scored on the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cerviclip.runs.settings.config_hash import flatten
from dassl.config import CfgNode, get_cfg_default
from dassl.errors import UserError, did_you_mean

_HUGE = 2**31 - 1
#: Key -> the least and the greatest value.
NUMBERS: dict[str, tuple[float, float]] = {
    "SEED": (-1, 2**32 - 1),  # NumPy's generators take no more
    "INPUT.CROP_PADDING": (0, 10_000),
    "INPUT.CUTOUT_N": (0, 10_000),
    "INPUT.CUTOUT_LEN": (0, 100_000),
    "INPUT.GN_STD": (0, 1e6),
    "INPUT.RANDAUGMENT_N": (0, 100),
    "INPUT.RANDAUGMENT_M": (0, 30),
    "INPUT.ROTATION": (0, 180),
    "INPUT.COLORJITTER_B": (0, 1e6),
    "INPUT.COLORJITTER_C": (0, 1e6),
    "INPUT.COLORJITTER_S": (0, 1e6),
    "INPUT.COLORJITTER_H": (0, 0.5),
    "INPUT.RGS_P": (0, 1),
    "INPUT.GB_P": (0, 1),
    "INPUT.GB_K": (1, 10_001),
    "DATASET.NUM_LABELED": (-1, _HUGE),
    "DATASET.VAL_PERCENT": (0, 1),
    "DATASET.NUM_SHOTS": (-1, _HUGE),
    "DATASET.NUM_SHOTS_VAL": (-1, _HUGE),
    "DATALOADER.NUM_WORKERS": (0, 10_000),
    "DATALOADER.K_TRANSFORMS": (1, 10_000),
    "DATALOADER.TRAIN_X.BATCH_SIZE": (1, _HUGE),
    "DATALOADER.TRAIN_X.N_DOMAIN": (-1, _HUGE),
    "DATALOADER.TRAIN_X.N_INS": (1, _HUGE),
    "DATALOADER.TRAIN_U.BATCH_SIZE": (1, _HUGE),
    "DATALOADER.TRAIN_U.N_DOMAIN": (-1, _HUGE),
    "DATALOADER.TRAIN_U.N_INS": (1, _HUGE),
    "DATALOADER.TEST.BATCH_SIZE": (1, _HUGE),
    "MODEL.HEAD.DROPOUT": (0, 1),
    "OPTIM.LR": (0, 1e9),
    "OPTIM.WEIGHT_DECAY": (0, 1e9),
    "OPTIM.MOMENTUM": (0, 1),
    "OPTIM.RMSPROP_ALPHA": (0, 1),
    "OPTIM.ADAM_EPS": (0, 1),
    "OPTIM.BASE_LR_MULT": (0, 1e9),
    "OPTIM.GAMMA": (0, 1e9),
    "OPTIM.MAX_EPOCH": (1, _HUGE),
    "OPTIM.ETA_MIN": (0, 1e9),
    "OPTIM.WARMUP_CONS_LR": (0, 1e9),
    "OPTIM.WARMUP_MIN_LR": (0, 1e9),
    "TRAIN.CHECKPOINT_FREQ": (-1, _HUGE),
    "TRAIN.PRINT_FREQ": (1, _HUGE),
    "TRAIN.MAX_ITERS": (0, _HUGE),
}
#: Key -> the words that it takes.
WORDS: dict[str, Sequence[str]] = {
    "TEST.SPLIT": ("test", "val"),
    "TEST.FINAL_MODEL": ("last_step", "best_val"),
    "INPUT.INTERPOLATION": ("bilinear", "bicubic", "nearest"),
    # Others draw images, with repeats: val would choose on a sample, test() score one.
    "DATALOADER.TEST.SAMPLER": ("SequentialSampler", "RandomSampler"),
}
#: Key -> how many numbers it takes, and their range.
LISTS: dict[str, tuple[int, float, float]] = {
    "INPUT.SIZE": (2, 1, 100_000),
    "INPUT.PIXEL_MEAN": (3, -10, 10),  # of pixels in 0-1, not in 0-255
    "INPUT.PIXEL_STD": (3, 1e-12, 10),
    "INPUT.RRCROP_SCALE": (2, 0, 1),
    "INPUT.STYLE": (4, 0, 1e6),
}


#: Keys that take any number of whole numbers.
WHOLE_NUMBERS = ("OPTIM.STEPSIZE", "MODEL.HEAD.HIDDEN_LAYERS")


def check_filled(cfg: CfgNode) -> None:
    """Refuse keys of the engine that a yaml leaves empty (``LR:``) or sets to null.

    yacs lets null stand for a value of any type, and each reader would fail in its own way.
    """
    now = flatten(cfg)
    for key, usual in flatten(get_cfg_default()).items():
        if key in now and now[key] is None and usual is not None:
            raise UserError(f"{key} is null; give a value such as {usual!r}, or leave the key out")


def check_ranges(cfg: CfgNode) -> None:
    """Refuse what the engine's keys cannot mean.

    Raises:
        UserError: with the key, its value and what it takes.
    """
    flat = flatten(cfg)
    for key, (least, most) in NUMBERS.items():
        if key in flat and not least <= flat[key] <= most:
            raise UserError(f"{key} is {flat[key]}; it takes {_span(least, most)}")
    for key, words in WORDS.items():
        if key in flat and flat[key] not in words:
            hint = did_you_mean(str(flat[key]), words)
            raise UserError(f"{key} is {flat[key]!r}{hint}; it takes {' or '.join(words)}")
    for key, (count, least, most) in LISTS.items():
        if key in flat and not _fits(flat[key], count, least, most):
            raise UserError(
                f"{key} is {flat[key]}; it takes {count} numbers, each {_span(least, most)}"
            )
    for key in WHOLE_NUMBERS:
        if not all(type(v) is int for v in flat.get(key, ())):
            raise UserError(f"{key} is {flat[key]}; it takes whole numbers")


def _fits(values: Any, count: int, least: float, most: float) -> bool:
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return False
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return len(numbers) == count and all(least <= v <= most for v in numbers)


def _span(least: float, most: float) -> str:
    return f"{least:g} or more" if most == _HUGE else f"{least:g} to {most:.10g}"
