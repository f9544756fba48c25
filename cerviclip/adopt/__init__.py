"""Trainers of published repositories as baselines, unmodified: this side of their process."""
