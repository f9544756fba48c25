"""Inspection of a run: its errors as pictures, corrupted images, how hospitals differ."""
