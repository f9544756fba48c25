"""Registered data sets as centres: common classes, each left out once, patients never cross."""

from __future__ import annotations

import pytest
from cases import DatasetCase
from data_fixtures import write_oct

from dassl.errors import UserError

NAME = "Centers"
PAIR = ("MixedCenterOCT", "HuaxiOCT")
CASE = DatasetCase(NAME, write_oct, {"CENTERS": PAIR, "TARGET_DOMAINS": ("HuaxiOCT",)})


def patients(items) -> set[str]:
    return {item.patient_id for item in items}


@pytest.mark.parametrize("name, centers", [(NAME, PAIR), ("CervixOCTDomains", ())])
def test_each_centre_is_left_out_once(build, oct_root, name, centers):
    n = len(centers) or 3
    seen = set()
    for number in range(1, n + 1):
        data = build(oct_root, name, CENTERS=centers, FOLD=f"{number}/{n}", NUM_SHOTS=2)
        assert data.train_u is None or not data.train_u
        assert not patients([*data.train_x, *data.val]) & patients(data.test)
        tested = {item.impath for item in data.test}
        assert tested and not tested & seen
        seen |= tested
        assert data.split_record["left_out"] == data.left_out == data.domains[number - 1]
    assert len(seen) == 5 * 7 * 3 + 30 * (n - 1)  # all images of all centres


def test_folds_that_are_not_the_centres_are_refused(build, oct_root):
    for fold in ("1/2", "1/3@2"):
        with pytest.raises(UserError, match="its 3 centres"):
            build(oct_root, "CervixOCTDomains", FOLD=fold)
    with pytest.raises(UserError, match="two or more"):
        build(oct_root, NAME, CENTERS=("HuaxiOCT",))
    with pytest.raises(UserError, match="no centre of"):
        build(oct_root, "CervixOCTDomains", CENTERS=("mixed", "mars"))


def test_centres_of_other_classes_are_refused(build, oct_root):
    from data_fixtures import write_herlev

    write_herlev(oct_root / "herlev")
    with pytest.raises(UserError, match="CLASS_MAP_FILE"):
        build(oct_root, NAME, CENTERS=("MixedCenterOCT", "Herlev"), FOLD="1/2")
