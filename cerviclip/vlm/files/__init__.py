"""Weights on disk: readable formats, downloads, the compact format of the shipped model."""
