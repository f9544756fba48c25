"""Centres differ as documented, and the pre-training patients are in none of them."""

from __future__ import annotations

import numpy as np
import pytest

from cerviclip.data.phantoms import CENTERS, SHIFT_KINDS, pretraining_center, shift_by_kind
from cerviclip.data.phantoms.store import frame_name, patient_number, patients_of

EXTERNAL = ("huaxi", "xiangya", "huaxi_b", "xiangya_b")


@pytest.mark.parametrize("center", EXTERNAL)
def test_at_least_half_of_the_shift_is_in_no_augmentation(center):
    shift = shift_by_kind(center)
    assert shift["style"] > 0
    assert sum(shift.values()) - shift["style"] >= shift["style"]
    # ... and no single kind carries it alone.
    assert sum(v > 0 for v in shift.values()) >= 4


def test_every_parameter_of_the_scan_has_a_kind():
    kinds = [key for keys in SHIFT_KINDS.values() for key in keys]
    assert sorted(kinds) == sorted(CENTERS["mixed"].ranges)
    for center in CENTERS.values():
        assert set(center.overrides) <= set(kinds)
        assert all(low <= high for low, high in center.ranges.values())


def test_the_second_setting_is_another_shift():
    for first, second in (("huaxi", "huaxi_b"), ("xiangya", "xiangya_b")):
        a, b = CENTERS[first].ranges, CENTERS[second].ranges
        assert sum(a[key] != b[key] for key in a) >= 10


def test_the_mixed_center_is_no_shift():
    assert set(shift_by_kind("mixed").values()) == {0.0}


def test_the_test_share_is_large_enough():
    """40 % of the mixed patients: 400 frames of 40 patients; externals 200 of 20."""
    patients = list(patients_of(CENTERS["mixed"]))
    assert 0.4 * len(patients) >= 44
    assert 0.4 * sum(frames for _, _, frames, _ in patients) >= 420
    for name in EXTERNAL:
        patients = list(patients_of(CENTERS[name]))
        assert len(patients) >= 20
        assert sum(frames for _, _, frames, _ in patients) >= 200


def test_patient_ids_are_seven_digits_and_belong_to_one_center():
    seen: dict[int, str] = {}
    for name, center in CENTERS.items():
        for number, *_ in patients_of(center):
            digits = patient_number(center, number)
            assert 0 < digits < 10_000_000
            assert seen.setdefault(digits, name) == name
    assert len({c.code for c in CENTERS.values()}) == len(CENTERS)


def test_no_pretraining_patient_is_in_a_data_set():
    """A patient is its centre's code and its number; this code is no data set's."""
    pretraining = pretraining_center()
    assert pretraining.code not in {center.code for center in CENTERS.values()}
    assert pretraining.name not in CENTERS


def test_pretraining_scans_do_not_reach_the_external_centers():
    wide, mixed = pretraining_center().ranges, CENTERS["mixed"].ranges
    assert all(wide[key][0] <= mixed[key][0] and wide[key][1] >= mixed[key][1] for key in mixed)
    for name, key in (("huaxi", "sheath_row"), ("huaxi", "scan_width"), ("xiangya", "psf_lateral")):
        assert np.mean(CENTERS[name].ranges[key]) > wide[key][1]


def test_some_patients_show_two_findings():
    patients = list(patients_of(CENTERS["mixed"]))
    mixed = [(label, other) for _, label, _, other in patients if other]
    assert 5 <= len(mixed) <= 12
    assert all(label not in other.values() for label, other in mixed)


def test_file_names_have_the_real_form():
    from cerviclip.data.phantoms import render_patient

    center = CENTERS["huaxi"]
    frame = render_patient(center, 7, 1, 1)[0]
    name = frame_name(center, 7, frame)
    assert name == f"M0021_2021_P0020007_circle_2.5x3.0_C{frame.circle:02d}_S{frame.slice:02d}.png"


def test_development_centers_are_shifted_in_most_parameters_and_nowhere_negative():
    external = [c for name, c in CENTERS.items() if name.startswith("dev_ext")]
    assert len(external) == 4 and CENTERS["dev_mixed"].ranges == CENTERS["mixed"].ranges
    for center in external:
        moved = [k for k in center.overrides if k not in SHIFT_KINDS["style"]]
        assert len(moved) >= 8 and all(low >= 0 for low, _ in center.ranges.values())
    assert len({str(c.overrides) for c in external}) == 4
