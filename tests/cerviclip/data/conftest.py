"""Fixtures of the tests about data."""

from data_fixtures import build, make_cfg, oct_root

__all__ = ["build", "make_cfg", "oct_root"]
