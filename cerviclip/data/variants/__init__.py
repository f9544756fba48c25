"""Variants of images (``cerviclip augment``): their names, their transforms, their writer."""
