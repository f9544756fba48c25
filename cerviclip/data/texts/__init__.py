"""Texts that belong to classes or images: descriptions and reports."""
