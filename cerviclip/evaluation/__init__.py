"""Scores of a run with their intervals by patient."""
