"""Faults of image data sets: each file is read once, then rules report what is wrong."""
