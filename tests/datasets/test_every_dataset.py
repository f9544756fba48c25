"""What holds for every registered data set: no patient in two parts, relative paths, a record."""

from __future__ import annotations

import json

import pytest
from cases import dataset_cases, registered, what_is_missing

CASES = dataset_cases()


def test_every_data_set_of_the_project_has_a_case():
    assert registered("dataset") and CASES, "nothing is found: these tests would prove nothing"
    missing = what_is_missing("dataset")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shots", [-1, 2])
def test_no_patient_is_on_two_parts(make_cfg, tmp_path, name, shots):
    from dassl.data.datasets import build_dataset

    CASES[name].write(tmp_path)
    cfg = make_cfg(tmp_path, name, NUM_SHOTS=shots, **CASES[name].options)
    data = build_dataset(cfg)
    train = {d.patient_id for d in [*data.train_x, *(data.train_u or [])]}
    val, test = ({d.patient_id for d in part or []} for part in (data.val, data.test))
    assert test and "" not in train | val | test
    assert not (train & test or val & test or train & val)

    record = data.split_record
    assert str(tmp_path) not in json.dumps(record)
    assert record["hash"] == data.split_hash and record["draw_hash"] == data.draw_hash
    for part, items in (("train", data.train_x), ("val", data.val), ("test", data.test)):
        assert [row["patient"] for row in record[part]] == [d.patient_id for d in items or []]
    assert data.classnames == [data.lab2cname[k] for k in range(data.num_classes)]
    assert set(data.positive_classes) <= set(data.classnames)
    for texts in data.descriptions.values():
        assert set(texts) == set(data.classnames)
    again = build_dataset(cfg)
    assert [d.impath for d in again.train_x] == [d.impath for d in data.train_x]
