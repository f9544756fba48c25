"""A federation's yaml: what is read of it, and what is refused."""

from __future__ import annotations

import pytest

from cerviclip.federated.plan import _site, find_plan, read_plan
from cerviclip.federated.record import A_RECORD
from cerviclip.places import FEDERATIONS
from cerviclip.runs.settings.configure import setup_cfg
from cerviclip.shapes import Misshapen
from dassl.errors import MissingFileError, UserError


def test_each_centre_is_a_run_of_its_own_data(plan, tmp_path):
    requests = {s.name: plan.request(s, tmp_path / "local" / s.name) for s in plan.centers}
    assert {name: r.root for name, r in requests.items()} == {
        name: str(tmp_path / name) for name in ("east", "north", "west")
    }
    assert {r.seed for r in requests.values()} == {1}
    alone = setup_cfg(requests["east"])
    joined = setup_cfg(plan.request(plan.centers[0], tmp_path / "f" / "east", federated=True))
    assert alone.TRAIN.FEDERATED_ROUNDS == 0 and joined.TRAIN.FEDERATED_ROUNDS == 2


@pytest.mark.parametrize(
    "lines, message",
    [
        ("strategy: fedadam", "take fedavg or fedprox"),
        ("strategy: fedprox", "mu is 0.0; fedprox takes a number above 0"),
        ("mu: 0.1", "mu is 0.1"),
        ("round: 3", "did you mean 'rounds'"),
    ],
)
def test_a_faulty_plan_is_refused(write_plan, lines, message):
    with pytest.raises(UserError, match=message):
        read_plan(write_plan(lines=lines))


@pytest.mark.parametrize("name", ["server", "north/one", ".."])
def test_a_centre_whose_folder_or_process_would_be_anothers_is_refused(name, tmp_path):
    """Runs of ``north/one`` and ``south/one`` had one variant; ``server`` is another process."""
    with pytest.raises(UserError, match=f"a centre cannot be called '{name}'"):
        _site(name, "ZooMain", tmp_path / "plan.yaml", "")


@pytest.mark.parametrize("name", ["华西", "Hospital A", "ümlaut-2.b"])
def test_a_centre_is_called_as_its_people_call_it(name, tmp_path):
    assert _site(name, "ZooMain", tmp_path / "plan.yaml", "").name == name


@pytest.mark.parametrize("centers", [3, [1, "a"], {"a": 1}])
def test_a_record_of_other_shape_is_refused(centers):
    record = {"rounds": [], "bytes_up": 0, "bytes_down": 0, "encrypted": True}
    A_RECORD(record | {"centers": ["a"]}, "")
    with pytest.raises(Misshapen, match="centers"):
        A_RECORD(record | {"centers": centers}, "")


def test_rounds_are_whole_numbers_from_one(write_plan):
    with pytest.raises(UserError, match="rounds is -1"):
        read_plan(write_plan(rounds=-1))


def test_an_unknown_centre_or_plan_is_named(plan):
    with pytest.raises(UserError, match="no centre 'wst', did you mean 'west'"):
        plan.center("wst")
    with pytest.raises(MissingFileError, match="phantom_coop"):
        find_plan("phantom_cop")


def test_every_plan_of_ours_is_read():
    found = [read_plan(path) for path in FEDERATIONS.glob("*.yaml")]
    assert found and all(len(p.centers) == 3 and p.pooled for p in found)
