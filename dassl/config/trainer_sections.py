"""TRAINER sections of upstream's own methods, with upstream's values.

Upstream's domain adaptation, domain generalisation and semi-supervised trainers read
them; those whose trainer is not here (see UPGRADING.md) keep their section so that old yamls merge.
"""

from __future__ import annotations

from typing import Any

ADAPTATION: dict[str, Any] = {
    "MCD": {"N_STEP_F": 4},  # steps of the feature extractor per batch
    "MME": {"LMDA": 0.1},  # weight of the entropy
    "CDAC": {
        "CLASS_LR_MULTI": 10,
        "RAMPUP_COEF": 30,
        "RAMPUP_ITRS": 1000,
        "TOPK_MATCH": 5,
        "P_THRESH": 0.95,
        "STRONG_TRANSFORMS": (),
    },
    "SE": {"EMA_ALPHA": 0.999, "CONF_THRE": 0.95, "RAMPUP": 300},
    "M3SDA": {"LMDA": 0.5, "N_STEP_F": 4},
    "DAEL": {"WEIGHT_U": 0.5, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
}

GENERALISATION: dict[str, Any] = {
    "CROSSGRAD": {"EPS_F": 1.0, "EPS_D": 1.0, "ALPHA_F": 0.5, "ALPHA_D": 0.5},
    "DDAIG": {
        "G_ARCH": "",
        "LMDA": 0.3,
        "CLAMP": False,
        "CLAMP_MIN": -1.0,
        "CLAMP_MAX": 1.0,
        "WARMUP": 0,
        "ALPHA": 0.5,
    },
    "DAELDG": {"WEIGHT_U": 0.5, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
    "DOMAINMIX": {"TYPE": "crossdomain", "ALPHA": 1.0, "BETA": 1.0},
}

SEMI_SUPERVISED: dict[str, Any] = {
    "ENTMIN": {"LMDA": 1e-3},
    "MEANTEACHER": {"WEIGHT_U": 1.0, "EMA_ALPHA": 0.999, "RAMPUP": 5},  # epochs
    "MIXMATCH": {"WEIGHT_U": 100.0, "TEMP": 2.0, "MIXUP_BETA": 0.75, "RAMPUP": 20000},
    "FIXMATCH": {"WEIGHT_U": 1.0, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
}

TRAINER: dict[str, Any] = {"NAME": "", **ADAPTATION, **GENERALISATION, **SEMI_SUPERVISED}
