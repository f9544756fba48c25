"""Names in ``results.json``, for those who score and those who read. Imports nothing heavy."""

IN_DOMAIN = "test"  # the centre that is the data set's own test part
OVERALL = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece")
PER_CLASS = ("precision", "recall", "f1")
BINARY = ("accuracy", "auc", "sensitivity", "specificity", "ppv", "npv")
#: Values of ``TEST.INTERVALS``: methods that hold with few patients, and resampled patients. Older
#: runs have it empty or not at all: theirs are resampled patients.
INTERVALS = FEW, BOOTSTRAP, OLD = ("few_patients", "bootstrap", "")
WANTED_PATIENTS = 20  # fewer: a note
WANTED_EVENTS = 10  # the same for patients with the event and without it, or with a class
