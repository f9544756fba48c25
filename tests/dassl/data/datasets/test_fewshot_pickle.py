"""Upstream's few-shot files: read as they are, refused in one line where they are damaged."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from dassl.data.datasets.base_dataset import Datum
from dassl.data.datasets.fewshot_pickle import load_fewshot_pickle
from dassl.errors import MissingFileError, UserError


def datum(path, label, name):
    item = Datum.__new__(Datum)
    item.__dict__.update(_impath=str(path), _label=label, _domain=0, _classname=name)
    return item


@pytest.mark.parametrize("protocol", range(0, pickle.HIGHEST_PROTOCOL + 1))
def test_fewshot_file_of_upstream(tmp_path, protocol):
    path = tmp_path / "shot_2-seed_1.pkl"
    data = {
        "train": [datum("/old/a.png", 0, "cat"), datum("/old/b.png", 1, "dog")],
        "val": [datum("/old/c.png", 1, "dog")],
    }
    path.write_bytes(pickle.dumps(data, protocol))
    read = load_fewshot_pickle(path)
    assert [type(item) for item in read["train"]] == [Datum, Datum]
    assert [(d.impath, d.label, d.domain, d.classname) for d in read["train"]] == [
        ("/old/a.png", 0, 0, "cat"),
        ("/old/b.png", 1, 0, "dog"),
    ]
    assert read["val"][0].classname == "dog" and read["val"][0].patient_id == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"no pickle", "cannot be read"),
        (pickle.dumps([1, 2]), 'a dict with "train" and "val"'),
        (pickle.dumps({"train": ["a.png"]}), "something else than images"),
        (pickle.dumps({"train": [datum(1, "x", "cat")]}), "something else than images"),
        (pickle.dumps({"train": [np.float64(1)]}), "refused"),
    ],
)
def test_damaged_fewshot_files(tmp_path, content, said):
    path = tmp_path / "shot_1-seed_1.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_fewshot_pickle(path)


def test_absent_fewshot_file(tmp_path):
    with pytest.raises(MissingFileError):
        load_fewshot_pickle(tmp_path / "x.pkl")


@pytest.mark.slow
def test_plain_pickle_reads_them_too_with_dassl_alone(tmp_path, repo_dir):
    """As the data sets of published repositories do it, in a process that imported no more."""
    path = tmp_path / "shot_1-seed_1.pkl"
    path.write_bytes(pickle.dumps({"train": [datum("/old/a.png", 0, "cat")], "val": []}))
    code = (
        "import pickle, sys; import dassl.utils, dassl.data; "
        "print(pickle.load(open(sys.argv[1], 'rb'))['train'][0].classname)"
    )
    words = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=repo_dir)
    assert done.stdout.strip() == "cat"
