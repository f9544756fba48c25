from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from cerviclip.vlm import apply_lora, load_backbone
from cerviclip.vlm.towers.cnn import _torchvision_input, torchvision_model
from dassl.errors import MissingFileError, UnknownNameError, UserError
from dassl.utils.files import file_sha256


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    torch.manual_seed(3)
    state = models.resnet18().state_dict()
    path = tmp_path_factory.mktemp("cnn") / "resnet18.safetensors"
    save_file({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, str(path))
    return path


@torch.no_grad()
def test_pooled_is_mean_and_maximum_of_the_last_feature_map(resnet_file):
    backbone = load_backbone("torchvision:resnet18", resnet_file)
    model, sha256 = torchvision_model("resnet18", str(resnet_file))
    taken = {}
    model.layer4.register_forward_hook(lambda m, i, o: taken.update(map=o))
    x = torch.randn(2, 3, 224, 224)
    model.eval()(x)
    features = taken["map"].flatten(2)
    expected = torch.cat([features.mean(dim=-1), features.amax(dim=-1)], dim=-1)
    pooled, patches = backbone.encode_tokens(x)
    assert torch.allclose(backbone.encode_image(x), expected, atol=1e-5)
    assert torch.allclose(pooled, expected, atol=1e-5)
    assert torch.allclose(patches[:, :, :512], features.transpose(1, 2), atol=1e-5)
    assert backbone.embed_dim == 1024 and backbone.visual.grid == (7, 7)
    assert sha256 == backbone.weights_sha256 == file_sha256(resnet_file)
    assert backbone.preprocess.mean == (0.485, 0.456, 0.406) and not backbone.has_text


@pytest.mark.parametrize("arch", ["squeezenet1_1", "efficientnet_b0", "mobilenet_v3_small"])
def test_other_families_have_a_feature_map(arch):
    backbone = load_backbone(f"torchvision:{arch}", "random")
    rows, columns = backbone.visual.grid
    assert min(rows, columns) >= 7 and backbone.embed_dim == 2 * backbone.visual.width
    again = load_backbone(f"torchvision:{arch}", "random")
    assert backbone.weights_sha256 == again.weights_sha256


@torch.no_grad()
def test_real_imagenet_weights_tell_images_apart(shared_dir):
    file = shared_dir / "weights" / "squeezenet1_0_imagenet_fp16.safetensors"
    backbone = load_backbone("torchvision:squeezenet1_0", file)
    assert backbone.encode_image(torch.zeros(1, 3, 224, 224)).shape == (1, 1024)


def test_timm_backbone():
    pytest.importorskip("timm")
    backbone = load_backbone("timm:resnet18", "random")
    features = backbone.encode_image(torch.randn(1, 3, 224, 224))
    assert features.shape == (1, 1024) and backbone.visual.grid == (7, 7)


def test_training_statistics_stay_frozen(resnet_file):
    backbone = load_backbone("torchvision:resnet18", resnet_file)
    before = backbone.fingerprint()
    backbone.train()
    backbone.encode_image(torch.randn(2, 3, 224, 224))
    assert backbone.fingerprint() == before


def test_a_classifier_of_another_size(resnet_file, tmp_path):
    model, _ = torchvision_model("resnet18", str(resnet_file), num_classes=5)
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 5)
    squeezenet, _ = torchvision_model("squeezenet1_1", "random", num_classes=7)
    assert squeezenet(torch.randn(1, 3, 64, 64)).shape == (1, 7)
    # weights fine-tuned on 5 classes serve as features all the same
    path = tmp_path / "five.pth"
    torch.save(model.state_dict(), path)
    assert load_backbone("torchvision:resnet18", path).embed_dim == 1024


def test_wrong_names_and_files_are_named(resnet_file, tmp_path):
    with pytest.raises(UnknownNameError, match="resnet81.*did you mean 'resnet"):
        load_backbone("torchvision:resnet81", "random")
    with pytest.raises(UserError, match="does not belong to squeezenet1_0"):
        load_backbone("torchvision:squeezenet1_0", resnet_file)
    wide = {k: v for k, v in models.resnet18().state_dict().items()}
    wide["layer1.0.conv1.weight"] = torch.zeros(3, 3)
    torch.save(wide, tmp_path / "wide.pth")
    with pytest.raises(UserError, match=r"layer1.0.conv1.weight has shape \(3, 3\)"):
        load_backbone("torchvision:resnet18", tmp_path / "wide.pth")
    with pytest.raises(UserError, match="neither in a feature map"):
        load_backbone("torchvision:maxvit_t", "random")


def test_offline_without_a_file_one_sentence(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(models, "get_model", unreachable)
    with pytest.raises(MissingFileError, match="--weights FILE"):
        load_backbone("torchvision:resnet18")


def test_lora_needs_blocks(resnet_file):
    backbone = load_backbone("torchvision:resnet18", resnet_file)
    with pytest.raises(UserError, match="CNNTower has none"):
        apply_lora(backbone.visual)


@pytest.mark.parametrize(
    ("arch", "side", "how"),
    [("inception_v3", 299, "bilinear"), ("efficientnet_b3", 300, "bicubic")],
)
def test_each_network_has_the_input_that_its_weights_were_evaluated_with(arch, side, how):
    given = _torchvision_input(arch)
    assert given.size == (side, side) and given.interpolation == how
