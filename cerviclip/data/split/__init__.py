"""Who is in which part: splits by patient, folds, draws of shots, and the files they stand in."""
