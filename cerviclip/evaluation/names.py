"""Names in ``results.json``, for those who score and those who read. Imports nothing heavy."""

IN_DOMAIN = "test"  # the centre that is the data set's own test part
OVERALL = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece")
PER_CLASS = ("precision", "recall", "f1")
BINARY = ("accuracy", "auc", "sensitivity", "specificity", "ppv", "npv")
#: Values of ``TEST.INTERVALS``: resampled patients, and methods that hold with few patients.
INTERVALS = BOOTSTRAP, FEW = ("", "few_patients")
#: Values of ``TEST.PATIENT_RULE``: how a patient's images become one prediction.
PATIENT_RULES = ("mean", "max", "share")
NO_POSITIVE_CLASSES = "no positive classes are set (DATASET.POSITIVE)"
WHOLE_POSITIVE_GROUP = "every class is in the positive group"
#: Keys of results.json that ``measures.measure`` makes; None where a run was not measured.
LEVEL_BLOCKS = (
    "discrimination",
    "operating_points",
    "calibration",
    "conformal",
    "generalisation_gap",
)
BLOCKS = (*LEVEL_BLOCKS, "patient_level", "measured_with")
