"""The parts of a release as the split."""

from __future__ import annotations

import pytest
from data_fixtures import write_center
from yacs.config import CfgNode

from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.split.release import ReleasedSplit
from dassl.config import get_cfg_default
from dassl.errors import UserError


class Released(ReleasedSplit, ImagingDataset):
    """Patients by number: the first two train, the third is val, others test."""

    dataset_dir = "mine"
    patient_pattern = r"(P\d{7})"
    order = ("train", "train", "val", "test", "test")

    def scan(self, cfg):
        self.parts = {}
        for path, name in super().scan(cfg):
            number = int(path.partition("_P")[2][:7]) % 1000
            if self.order:
                self.parts[path] = self.order[number]
            yield path, name


@pytest.fixture
def cfg(tmp_path) -> CfgNode:
    write_center(tmp_path / "mine", patients=5, frames=2)
    cfg = get_cfg_default()
    cfg.VERBOSE = False
    cfg.DATASET.ROOT = str(tmp_path)
    return cfg


def test_parts_are_those_of_the_release(cfg):
    data = Released(cfg)
    assert [len(data.train_x), len(data.val), len(data.test)] == [20, 10, 20]
    assert data.split_record["by"] == "release" and data.split_record["ratio"] is None


def test_without_parts_it_is_split_by_ratio(cfg):
    data = type("Unsplit", (Released,), {"order": ()})(cfg)
    assert data.split_record["by"] == "patient" and data.split_record["ratio"]


def test_a_patient_in_two_parts_is_refused_unless_images_are_split(cfg):
    class Leaking(Released):
        def scan(self, cfg):
            found = list(super().scan(cfg))
            self.parts[found[0][0]] = "test"
            return found

    with pytest.raises(UserError, match="split of the release of Leaking puts 1 patient "):
        Leaking(cfg)
    cfg.DATASET.SPLIT_BY = "image"
    with pytest.warns(UserWarning, match="split by image"):
        assert len(Leaking(cfg).test) == 21
