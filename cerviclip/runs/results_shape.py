"""Shapes of results.json's parts: what a file must look like to be read as results.

Needs no torch.
"""

from __future__ import annotations

from cerviclip.evaluation.names import BINARY, OVERALL, PER_CLASS
from cerviclip.runs.study_title import title
from cerviclip.shapes import (
    Shape,
    anything,
    count,
    either,
    flag,
    listed,
    mapping,
    maybe,
    metric,
    name,
    number,
    record,
    text,
    unless_empty,
    whole,
)

PERCENT, SHARE, ANY = metric(0, 100), metric(0, 1), metric()


def _metric_of(metric_name: str) -> Shape:
    return SHARE if metric_name in ("macro_auc", "ece", "auc") else PERCENT


_COUNTED = record({"images": count, "patients": maybe(count)})
#: An entry of ``centers``. Runs of before lack ``counts``; what is there has this shape.
CENTER = record(
    {},
    {
        "n_images": count,
        "n_patients": count,
        **{key: _metric_of(key) for key in OVERALL},
        "per_class": mapping(
            record({}, {**dict.fromkeys(PER_CLASS, PERCENT), "support": maybe(count)})
        ),
        "confusion_matrix": maybe(listed(listed(count))),
        "binary": record({}, {key: _metric_of(key) for key in BINARY}),
        "counts": record(
            {}, {"per_class": mapping(_COUNTED), "events": _COUNTED, "non_events": _COUNTED}
        ),
        "uncertainty": record({}, {"method": mapping(text), "level": number}),
        "note": text,
    },
)
_MEMBER = record(
    {"trainer": name, "variant": text, "backbone": text},
    {"shots": either(count, text), "seed": whole, "fold": text},
)
_SEARCH = record({}, {"tries": count, "labels": count, "choices": mapping(anything)})

# -- blocks: what follows from predictions ---------------------------------------------------------

_RATES = dict.fromkeys(("sensitivity", "specificity", "ppv", "npv"), PERCENT)
_POINT = record(
    {"threshold": maybe(number), "centers": mapping(record(_RATES, {
        "loss": maybe(mapping(maybe(number))),
        "ppv_at": mapping(PERCENT), "npv_at": mapping(PERCENT),
    }))}, {"reason": text},
)  # fmt: skip
_REMARKS = {"note": text, "reason": text}
_CALIBRATED = dict.fromkeys(
    ("intercept", "slope", "observed_expected", "brier", "ece", "log_loss"), ANY
)
_MAPPED = record({}, {"classes": mapping(anything), "binary": record({}, _CALIBRATED)})
_CONFORMAL = either(text, record({}, dict.fromkeys(("coverage", "set_size"), ANY)))
_LEVEL_BLOCKS: dict[str, Shape] = {
    "discrimination": mapping(record({}, {
        "per_class": mapping(mapping(ANY)), "macro": mapping(ANY), "binary": mapping(ANY),
    })),
    "operating_points": record(
        {"points": mapping(_POINT), "home": mapping(count)},
        {**_REMARKS, "chosen_on": maybe(text)},
    ),
    "calibration": record(
        {
            "temperature": record({"value": maybe(number)}),
            "isotonic": record({"x": listed(number), "y": listed(number)}),
            "centers": mapping(either(record({"reason": text}), record({}, {
                key: _MAPPED for key in ("before", "temperature", "isotonic")
            }))),
        },
        {**_REMARKS, "fitted_on": maybe(text)},
    ),
    "conformal": record(
        {"methods": mapping(record({"quantile": anything})), "centers": mapping(
            either(record({"reason": text}), mapping(_CONFORMAL))
        )},
        {**_REMARKS, "coverage": number, "calibrated_on": maybe(text)},
    ),
    "generalisation_gap": mapping(mapping(ANY)),
}  # fmt: skip
_MIGHT_BE_ABSENT = {key: maybe(shape) for key, shape in _LEVEL_BLOCKS.items()}
_FLOW_PARTS = mapping(record({"images": count, "per_class": mapping(_COUNTED)}))
_CENTER_LEAKS = record(
    {}, {"images_of_training": count, "shared_patient_ids": maybe(count), "reason": text}
)
_FLOW = unless_empty(
    record({
        "sources": mapping(record({
            "role": text, "seen": _COUNTED, "parts": _FLOW_PARTS, "used": _FLOW_PARTS,
            "excluded": listed(record({"reason": text, "images": count})),
            "not_drawn": mapping(whole),
        })),
        "leaks": record({"centers": mapping(_CENTER_LEAKS)}, dict.fromkeys(
            ("images_in_two_parts", "patients_in_two_parts", "copies_in_two_parts"),
            record({"count": maybe(count)}, {"reason": text}),
        )),
    }),
)  # fmt: skip
_SETTINGS = record(
    {}, {"patient_rule": text, "miss_cost": number, "coverage": number,
         "prevalences": listed(number), "order": listed(text), "levels": mapping(listed(text))},
)  # fmt: skip
#: What `read_results` leaves to those who show it (`results_check.check_blocks`).
BLOCKS = record(
    {},
    {
        **_MIGHT_BE_ABSENT,
        "patient_level": maybe(
            record({"rule": text}, {**_MIGHT_BE_ABSENT, "centers": mapping(CENTER)})
        ),
        "measured_with": maybe(_SETTINGS),
        "flow": maybe(_FLOW),
    },
)

#: Of these blocks what a comparison reads: the thresholds, and the order of the classes.
COMPARED = record(
    {},
    {
        "operating_points": maybe(
            record({}, {"points": mapping(record({"threshold": maybe(number)}))})
        ),
        "measured_with": maybe(record({}, {"order": listed(text)})),
    },
)

# -- the whole ------------------------------------------------------------------------------------

_STEPS = listed(listed(text))  # a list for each backbone
_SETUP = record({}, {
    "input": record({}, {
        "test": _STEPS, "train": _STEPS, "interpolation": listed(text), "views": count,
        "given_features": flag,
    }),
    "training": record({}, {
        "by": name, "schedule": text, "epochs": count, "batch_size": maybe(count),
        "optimizers": mapping(
            record({"name": text, "lr": listed(number), "weight_decay": listed(number)})
        ),
    }),
})  # fmt: skip
_RUNTIME = record(
    {}, {"versions": maybe(mapping(maybe(text))), "warnings": maybe(listed(text)),
         "seconds": mapping(number), "ended": text, "data_root": maybe(text),
         "title": maybe(title)},
)  # fmt: skip
WHOLE = record(
    {
        "status": text,
        "error": maybe(text),
        "dataset": name,
        "trainer": name,
        "backbone": text,
        "variant": name,
        "shots": either(count, text),
        "seed": whole,
        "test_read_early": flag,
        "centers": mapping(CENTER),
    },
    {
        **dict.fromkeys(("weights_sha256", "split_hash", "draw_hash"), maybe(text)),
        "config_hash": text,
        "fold": text,
        "left_out_center": text,
        "base_to_new": mapping(anything),
        "search": maybe(_SEARCH),
        "trainable_params": maybe(count),
        "setup": maybe(_SETUP),
        "transductive": flag,
        "ensemble": record({}, {"members": listed(_MEMBER)}),
        "positive_classes": listed(text),
        "warnings": maybe(listed(text)),
        "runtime": _RUNTIME,
        "subgroups": mapping(mapping(mapping(CENTER))),  # column, centre, group
        "flow": maybe(mapping(anything)),
        "adopted": maybe(mapping(anything)),
        "measured_with": maybe(mapping(anything)),
    },
)
