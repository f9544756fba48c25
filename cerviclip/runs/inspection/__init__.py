"""What stands behind a run's numbers: its errors as pictures, corrupted images, hospitals."""
