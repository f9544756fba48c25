"""A method on a backbone that it cannot work on is refused when the config is checked."""

import pytest

from cerviclip import plugins
from cerviclip.backbones.names import BACKBONES, VISION_TOWERS, known_towers
from cerviclip.runs.settings.pairs import check_pair
from dassl.errors import UserError


def trainers():
    return [
        (name, cls)
        for name in plugins.discover()["trainer"]
        if hasattr(cls := plugins.ensure_loaded("trainer", name), "vision_towers")
    ]


def test_names_tell_towers():
    assert known_towers("RN50") == known_towers("open_clip:RN50:openai") == ("resnet", True)
    assert known_towers("ViT-L/14@336px") == known_towers("PhantomCLIP") == ("vit", True)
    assert known_towers("open_clip:ViT-B-32-quickgelu:metaclip_400m") == ("vit", True)
    assert known_towers("timm:vit_base_patch16_224") == ("features", False)
    for unknown in ("CLIP", "open_clip:hf-hub:microsoft/BiomedCLIP", "open_clip:coca_ViT-B-32"):
        assert known_towers(unknown) is None
    told = [name for name in BACKBONES if known_towers(name)]
    assert len(told) >= 8


def test_every_method_says_where_it_works_and_what_it_learns():
    found = trainers()
    assert len(found) >= 30
    for name, cls in found:
        assert set(cls.vision_towers) <= set(VISION_TOWERS) and cls.vision_towers, name
        assert cls.learns in ("nothing", "head", "prompts", "weights"), name
        assert (cls.learns == "nothing") == (not cls.needs_training), name
        assert plugins.discover()["trainer"][name].learns == cls.learns  # as the source shows it


def test_pairs_that_cannot_work_name_those_that_can():
    deep = [(name, cls) for name, cls in trainers() if "resnet" not in cls.vision_towers]
    assert {"VPT", "IVLP", "MaPLe", "PromptSRC", "MMA"} <= {name for name, _ in deep}
    for name, cls in deep:
        check_pair(name, cls, "ViT-B/16")
        with pytest.raises(UserError, match=f"{name} does not work on RN50.*ViT-B/32.*Phantom"):
            check_pair(name, cls, "RN50")
    message = r"CoOp needs a text encoder and timm:resnet18 has none.*needs_text = False"
    with pytest.raises(UserError, match=message):
        check_pair("CoOp", plugins.ensure_loaded("trainer", "CoOp"), "timm:resnet18")
    check_pair("LinearProbe", plugins.ensure_loaded("trainer", "LinearProbe"), "timm:resnet18")


def test_a_sweep_refuses_before_any_run(tmp_path, capsys):
    import run_shell
    from dassl.errors import cli_main

    flags = ["--trainers", "LinearProbe", "VPT", "--backbone", "RN50", "--datasets", "PhantomOCT"]
    status = cli_main(run_shell.main, [*flags, "--output-dir", str(tmp_path / "out")])
    assert status == 2 and "VPT does not work on RN50" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
