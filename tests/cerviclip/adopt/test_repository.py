"""What a repository's sources say of it, and what ``--adopt`` asks for; nothing is imported."""

from __future__ import annotations

import sys

import pytest
from adopt_fixtures import write_repository

from cerviclip.adopt.repository import find_repositories, walk
from cerviclip.adopt.spec import read_adoption
from cerviclip.adopt.transforms import transform_opts
from cerviclip.adopted.patches import added_defaults, additions
from cerviclip.adopted.placeholders import absent, missing_packages
from dassl.errors import MissingFileError, UnknownNameError, UserError


def test_trainers_are_found_with_what_they_learn(repo):
    (found,) = find_repositories(repo)
    learns = {name: trainer.learns for name, trainer in found.trainers.items()}
    assert learns.pop("ZeroShot") is False
    assert learns == dict.fromkeys(("BaseOnly", "Broken", "Habits", "OwnTest"), True)
    assert found.root == repo and found.trainers["Habits"].module == "trainers.habits"
    assert "trainers.habits" not in sys.modules and found.commit is None


def test_a_folder_of_repositories_and_the_commit(tmp_path):
    for name in ("a", "b/inner"):
        write_repository(tmp_path / name)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("0123abcd\n")
    found = find_repositories(tmp_path)
    assert [r.root for r in found] == [tmp_path / "a", tmp_path / "b/inner"]
    assert {r.commit for r in found} == {"0123abcd"}
    with pytest.raises(UnknownNameError, match=r"several times.*a/trainers/habits.py"):
        read_adoption(f"Habits={tmp_path}")


def test_a_repository_comes_before_one_that_lies_in_it(tmp_path):
    root = write_repository(tmp_path / "r")
    write_repository(root / "with_a_teacher")
    assert read_adoption(f"Habits={root}").repository.root == root
    inner = root / "with_a_teacher"
    assert read_adoption(f"Habits={inner}").repository.root == inner


def test_the_hash_follows_every_file_that_counts(tmp_path):
    (found,) = find_repositories(write_repository(tmp_path / "r"))
    before = found.files_sha256()
    (found.root / "notes.md").write_text("nothing")
    (found.root / "output").mkdir()
    (found.root / "output/x.json").write_text("{}")
    assert found.files_sha256() == before
    (found.root / "utils.py").write_text("MARK = 'other'\n")
    assert found.files_sha256() != before


def test_the_yaml_of_the_backbone(repo, tmp_path):
    adoption = read_adoption(f"mine={repo}:habits")
    assert (adoption.label, adoption.trainer.name) == ("mine@adopted", "Habits")
    assert adoption.config_for("RN50").endswith("rn50.yaml")
    assert adoption.config_for("ViT-L/14").endswith("vit_b16_ep1.yaml")
    assert read_adoption(adoption.plugin).plugin == adoption.plugin
    with pytest.raises(UserError, match="none of the 2 yaml files.*OwnTest"):
        read_adoption(f"OwnTest={repo}").config_for("")
    of_dassl = tmp_path / "r/Dassl.pytorch/configs/trainers/dg/Own"
    other = write_repository(tmp_path / "r") / "configs/trainers/OwnTester"
    for folder in (of_dassl, other):
        folder.mkdir(parents=True)
        (folder / "some.yaml").touch()
    with pytest.raises(UserError, match="3 yaml files.*OwnTest:configs/trainers/OwnTester/some"):
        read_adoption(f"OwnTest={tmp_path / 'r'}").config_for("")
    named = read_adoption(f"OwnTest={repo}:OwnTest:configs/trainers/Habits/rn50.yaml")
    assert named.config == str(repo / "configs/trainers/Habits/rn50.yaml")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("Habits", UserError, "NAME=path/to/repository"),
        ("Habits=/nowhere/at/all", MissingFileError, "no folder"),
        ("Habitz={repo}", UnknownNameError, "did you mean 'Habits'"),
        ("a={repo}:Habits:none.yaml", MissingFileError, "no yaml none.yaml"),
        ("a={repo}/configs", UserError, "registers no trainer"),
    ],
)
def test_what_cannot_be_adopted(repo, text, error, words):
    with pytest.raises(error, match=words):
        read_adoption(text.format(repo=repo))


def test_missing_packages_are_those_imported_outright(repo, tmp_path):
    assert set(missing_packages(repo)) == {"wandb_of_nobody", "another_package_of_nobody"}
    (tmp_path / "x.py").write_text(
        "try:\n    import perhaps\nexcept ImportError:\n    pass\nimport x.y\nimport certain\n"
    )
    assert set(missing_packages(tmp_path)) == {"certain"}
    with pytest.raises(UserError, match="wandb.init is used.*not installed"):
        absent("wandb", "init")(project="x")


def test_what_its_own_dassl_adds(repo):
    patched = find_repositories(repo)[0].patched_dassl()
    users = [p for p in walk(repo) if p.suffix == ".py" and patched not in p.parents]
    assert additions(patched, users) == [("engine/trainer.py", "TrainerX.step_of_a_fork")]
    assert added_defaults(patched) == ["OPTIM.OF_A_FORK"]


def test_our_transforms_are_those_of_our_prompt_learners():
    assert transform_opts("theirs") == ()
    opts = transform_opts("ours")
    pairs = dict(zip(opts[::2], opts[1::2], strict=True))
    assert pairs["INPUT.TRANSFORMS"] == ("random_resized_crop", "random_flip", "normalize")
    assert pairs["ADOPT.TRANSFORMS"] == "ours"
