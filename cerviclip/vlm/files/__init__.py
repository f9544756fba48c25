"""Weights on disk: formats that are read, downloads, the compact form of the shipped model."""
