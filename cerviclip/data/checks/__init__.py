"""Faults of image data sets: each file is looked at once, then rules say what they find."""
