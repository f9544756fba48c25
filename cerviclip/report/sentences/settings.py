"""What keys of config.yaml mean, in words for a reader of a paper; the only place that has them."""

from __future__ import annotations

from cerviclip.report.sentences.method_settings import OF_ANY_METHOD, OF_ONE_METHOD

#: Keys that hold for every method. What a method used of INPUT and OPTIM is in the run's ``setup``.
GENERAL = {
    "DATASET.SPLIT_BY": "unit of the split",
    "DATASET.SPLIT_RATIO": "shares of train, val and test",
    "DATASET.SPLIT_SEED": "seed of the split",
    "DATASET.FOLD": "fold of the cross-validation",
    "DATASET.SPLIT_FILE": "file that gives the split",
    "DATASET.DRAW_FILE": "file that gives the split and the images drawn",
    "DATASET.NUM_SHOTS_VAL": "most val images of a class",
    "DATASET.SHOTS_BY": "unit by which shots were drawn",
    "DATASET.SHOTS_SCENARIO": "shares of the classes in the draw",
    "DATASET.POSITIVE": "classes of the positive group",
    "DATASET.CLASS_MAP": "an external centre's name of a class, and ours",
    "DATASET.LEAVE_OUT": "patterns of files that were left out",
    "DATASET.SUBSAMPLE_CLASSES": "classes that were learned: all, or one half of them",
    "DATASET.PROMPT_SET": "set of texts that describe the classes",
    "TRAIN.FEDERATED_ROUNDS": "rounds of averaging across centres",
    "TRAIN.FEDERATED_MU": "weight mu of FedProx's distance to the common weights; 0: FedAvg",
    "TEST.SPLIT": "part that was scored",
    "TEST.FINAL_MODEL": "model that was scored: of the last step, or the best on val",
    "TEST.EXTERNAL": "external centres that were scored",
    "TEST.INTERVALS": "how intervals were made",
    "TEST.PATIENT_RULE": "how a patient's images become one prediction",
    "TEST.MISS_COST": "false alarms that one missed positive is worth; 0: not stated",
    "TEST.PREVALENCES": "prevalences for which PPV and NPV are given",
    "TEST.COVERAGE": "wanted coverage of prediction sets",
}


def words_of(key: str) -> str:
    """What a key sets; of a method that is written elsewhere, that it is a setting of it.

    Args:
        key: dotted, such as ``TRAINER.TIPADAPTER.ALPHA``.
    """
    if key in GENERAL:
        return GENERAL[key]
    _, _, own = key.partition(".")
    trainer, _, name = own.partition(".")
    return (
        OF_ONE_METHOD.get(own)
        or OF_ANY_METHOD.get(name)
        or f"{name.replace('_', ' ').replace('.', ', ').lower()}, a setting of {trainer} itself"
    )
