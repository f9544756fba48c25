"""Data sets, transforms, samplers and loaders behind upstream's names."""

from .data_manager import DataManager, DatasetWrapper

__all__ = ["DataManager", "DatasetWrapper"]
