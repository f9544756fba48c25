"""Variants of images, written by ``cerviclip augment``: their names, how they look, the writing."""
