"""Frozen features, kept once per image: files, hashes, the padded encoder, tables and loaders."""
