"""Comparisons of methods, readers and subgroups, paired by patient."""
