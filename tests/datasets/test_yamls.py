"""Every data set's yaml merges, says how to run it, and names a registered data set."""

from __future__ import annotations

import pytest
import yaml

from cerviclip import plugins
from cerviclip.places import CONFIGS
from dassl.config import get_cfg_default, merge_file

FILES = sorted((CONFIGS / "datasets").glob("*.yaml"))


def test_there_are_some():
    assert len(FILES) >= 6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_yaml(path):
    cfg = get_cfg_default()
    own = yaml.safe_load(path.read_text(encoding="utf-8")).get("DATASET", {}).get("NAME", "")
    kind = plugins.ensure_loaded("dataset", own) if own else None
    if kind and (extend := plugins.extend_cfg_of(kind.__module__)):
        extend(cfg)  # keys of this data set alone
    merge_file(cfg, path)
    known = plugins.discover()["dataset"]
    assert {cfg.DATASET.NAME, *cfg.TEST.EXTERNAL} <= set(known)
    assert "python train.py" in path.read_text(encoding="utf-8").split("\nDATASET:")[0]
