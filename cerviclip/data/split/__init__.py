"""Splits by patient, folds, draws of shots, and the files that record them."""
