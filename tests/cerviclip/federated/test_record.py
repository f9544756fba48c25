"""federation.json says which runs are those of centres, and the audit believes nothing else."""

from __future__ import annotations

import json
import shutil

import pytest
from audit_fixtures import edit_json, write_honest

from cerviclip.federated import command
from cerviclip.federated.record import RECORD, center_of, folder_of, read_record
from cerviclip.runs.audit.run import audit
from cerviclip.runs.results_json import read_results
from cerviclip.runs.run.runner import run_one
from cerviclip.runs.settings.configure import setup_cfg
from dassl.errors import UserError

ROUND = {"participants": 2, "images": {}}
WHOLE = {"rounds": [ROUND], "bytes_up": 1, "bytes_down": 1, "encrypted": True}


def write_record(out, centers):
    (out / RECORD).write_text(json.dumps(WHOLE | {"centers": centers}))


def test_a_centre_is_one_that_the_record_names(tmp_path):
    local, pooled = tmp_path / "local" / "huaxi", tmp_path / "pooled" / "all"
    assert center_of(local, "local-huaxi") == "" == center_of(pooled, "pooled-all")  # no record
    write_record(tmp_path, ["huaxi", "xiangya"])
    assert center_of(local, "local-huaxi") == "huaxi"
    assert center_of(pooled, "pooled-all") == "all"
    assert center_of(local, "default") == ""
    assert center_of(tmp_path / "local" / "mine", "local-mine") == ""
    assert center_of(tmp_path / "other" / "huaxi", "other-huaxi") == ""


@pytest.mark.parametrize("wrong", ["", "[]", '{"centers": 3}'])
def test_a_broken_record_is_none(tmp_path, wrong):
    (tmp_path / RECORD).write_text(wrong)
    assert center_of(tmp_path / "local" / "huaxi", "local-huaxi") == ""
    with pytest.raises(UserError, match="federation.json cannot be used"):
        read_record(tmp_path)


@pytest.mark.parametrize("recorded", [True, False])
def test_other_splits_are_excused_by_the_record_alone(tmp_path, recorded):
    """Two runs in folders that are called as those of a federation, of one data set."""
    honest = write_honest(tmp_path / "made", seeds=(1, 2))
    out = tmp_path / "out"
    for name, seed in (("east", 1), ("west", 2)):
        folder = out / "local" / name
        shutil.copytree(next(honest.rglob(f"seed_{seed}")), folder)
        edit_json(folder / "results.json", lambda r, name=name: r.update(variant=f"local-{name}"))
    edit_json(out / "local" / "west" / "results.json", lambda r: r.update(split_hash="0" * 64))
    if recorded:
        write_record(out, ["east", "west"])
    found = [f.text for f in audit(out, full=0).findings if f.kind == "split_differs"]
    assert any("it was split otherwise" in text for text in found) == (not recorded)


def test_finished_runs_of_an_earlier_version_get_their_centres_names(plan, tmp_path, capsys):
    out = tmp_path / "out"
    for site in plan.centers:
        folder = folder_of(out, "local", site.name)
        run_one(setup_cfg(plan.request(site, folder)), variant="local", echo=False)
    command._name_by_center(plan, out)
    names = {site.name: read_results(folder_of(out, "local", site.name)) for site in plan.centers}
    assert {n: r["variant"] for n, r in names.items()} == {n: f"local-{n}" for n in names}
    assert "3 runs of an earlier version now have their centre in their variant" in (
        capsys.readouterr().out
    )
    command._name_by_center(plan, out)
    assert capsys.readouterr().out == ""
