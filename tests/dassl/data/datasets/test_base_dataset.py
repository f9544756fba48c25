"""Datum and DatasetBase: upstream's fields, draws and class counts."""

from __future__ import annotations

import io
import pickle
import random
import tarfile
import zipfile

import pytest
from yacs.config import CfgNode

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum, build_dataset
from dassl.errors import MissingFileError, UserError


@pytest.fixture
def image(tmp_path) -> str:
    path = tmp_path / "image.png"
    path.write_bytes(b"-")
    return str(path)


def items(image, labels, domains=None) -> list[Datum]:
    domains = domains or [0] * len(labels)
    return [Datum(image, k, d, f"c{k}") for k, d in zip(labels, domains, strict=True)]


def test_datum_keeps_upstreams_fields(image):
    datum = Datum(image, 2, 1, "cyst", "P1")
    assert vars(datum) == {
        "_impath": image,
        "_label": 2,
        "_domain": 1,
        "_classname": "cyst",
        "_patient_id": "P1",
    }
    assert (datum.impath, datum.label, datum.domain, datum.classname) == (image, 2, 1, "cyst")
    assert f"{Datum.__module__}.{Datum.__name__}" == "dassl.data.datasets.base_dataset.Datum"


def test_datum_of_an_old_pickle_has_no_patient(image):
    datum = Datum(image, 1)
    del datum.__dict__["_patient_id"]
    again = pickle.loads(pickle.dumps(datum))
    assert again.patient_id == "" and again.label == 1


def test_datum_wants_a_file_that_is_there(tmp_path):
    with pytest.raises(MissingFileError, match="gone.png"):
        Datum(str(tmp_path / "gone.png"))
    with pytest.raises(TypeError):
        Datum(tmp_path)


def test_classes_are_counted_from_train(image):
    data = DatasetBase(train_x=items(image, [2, 0, 2]), test=items(image, [4]))
    assert data.num_classes == 3
    assert data.lab2cname == {0: "c0", 2: "c2"} and data.classnames == ["c0", "c2"]


def test_a_center_without_train_counts_from_test(image):
    data = DatasetBase(test=items(image, [1, 0]))
    assert data.train_x == [] and data.num_classes == 2 and data.classnames == ["c0", "c1"]
    assert DatasetBase().num_classes == 0


def test_all_class_names_may_be_set_as_forks_do(image):
    data = DatasetBase(train_x=items(image, [0, 1]))
    assert data.all_class_names == ["c0", "c1"]
    data.all_class_names = ["c0", "c1", "new"]
    assert data.all_class_names == ["c0", "c1", "new"] and data.classnames == ["c0", "c1"]


@pytest.mark.parametrize("seed", range(3))
def test_fewshot_draws_from_random_class_by_class(image, seed):
    source = items(image, [1, 0, 1, 0, 1, 2, 0, 0, 1])
    random.seed(seed)
    groups = [[d for d in source if d.label == k] for k in (1, 0, 2)]  # order of appearance
    expected = random.sample(groups[0], 3) + random.sample(groups[1], 3)
    expected += random.choices(groups[2], k=3)
    after = random.random()
    random.seed(seed)
    drawn = DatasetBase().generate_fewshot_dataset(source, num_shots=3, repeat=True)
    assert [id(d) for d in drawn] == [id(d) for d in expected]
    assert random.random() == after


def test_fewshot_forms_of_the_answer(image):
    a, b = items(image, [0, 0, 1]), items(image, [1, 1])
    base = DatasetBase()
    assert base.generate_fewshot_dataset(a) is a
    assert base.generate_fewshot_dataset(a, b, num_shots=0) == (a, b)
    with pytest.warns(UserWarning, match="the 2 shots asked.*class 1 .*: 1$"):
        both = base.generate_fewshot_dataset(a, b, num_shots=2)
    assert isinstance(both, list) and [len(x) for x in both] == [3, 2]
    assert len(base.generate_fewshot_dataset(a, num_shots=2, repeat=True)) == 4


def test_grouping(image):
    source = items(image, [1, 0, 1], [2, 2, 0])
    by_label = DatasetBase().split_dataset_by_label(source)
    assert {k: len(v) for k, v in by_label.items()} == {1: 2, 0: 1} and by_label[7] == []
    by_domain = DatasetBase().split_dataset_by_domain(source)
    assert {k: len(v) for k, v in by_domain.items()} == {2: 2, 0: 1}


def test_unknown_domain():
    data = DatasetBase()
    data.domains = ["mixed", "huaxi"]
    data.check_input_domains(["mixed"], ["huaxi"])
    with pytest.raises(UserError, match='"moon".*mixed, huaxi'):
        data.check_input_domains(["mixed"], ["moon"])


def test_download_unpacks_tar_and_zip(tmp_path, monkeypatch):
    tar, archive = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as out:
        info = tarfile.TarInfo("inner/a.txt")
        info.size = 2
        out.addfile(info, io.BytesIO(b"hi"))
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("inner/b.txt", "ho")
    for name, content in (("a.tar.gz", tar), ("b.zip", archive)):
        source = tmp_path / f"source-{name}"
        source.write_bytes(content.getvalue())
        DatasetBase().download_data(source.as_uri(), str(tmp_path / "d" / name), from_gdrive=False)
    assert (tmp_path / "d/inner/a.txt").read_text() == "hi"
    assert (tmp_path / "d/inner/b.txt").read_text() == "ho"


def test_build_dataset_by_name(capsys):
    @DATASET_REGISTRY.register()
    class OnlyHere(DatasetBase):
        def __init__(self, cfg):
            super().__init__()

    cfg = CfgNode({"VERBOSE": True, "DATASET": {"NAME": "OnlyHere"}})
    assert isinstance(build_dataset(cfg), OnlyHere)
    assert "Loading dataset: OnlyHere" in capsys.readouterr().out
    cfg.DATASET.NAME = "OnlyThere"
    with pytest.raises(ValueError, match="OnlyThere"):
        build_dataset(cfg)
