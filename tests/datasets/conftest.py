"""Fixtures of the tests about data."""

from data_fixtures import build, folder, make_cfg, oct_root

__all__ = ["build", "folder", "make_cfg", "oct_root"]
