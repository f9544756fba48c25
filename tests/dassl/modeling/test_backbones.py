"""Backbones, heads and networks by name: shapes, draws, weights, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from dassl.errors import UserError
from dassl.modeling import (
    BACKBONE_REGISTRY,
    HEAD_REGISTRY,
    NETWORK_REGISTRY,
    Backbone,
    build_backbone,
    build_head,
    build_network,
)
from dassl.modeling.backbone import pretrained
from dassl.modeling.ops import EFDMix, MixStyle

DIGITS = {"cnn_digitsdg", "cnn_digitsingle", "cnn_digit5_m3sda"}
SMALL = {*DIGITS, "preact_resnet18", "wide_resnet_28_2", "wide_resnet_16_4"}
# Built in every test run; the others differ from one of these in depth or width only.
QUICK = [
    "resnet18",
    "resnet18_ms_l123",
    "resnet18_efdmix_l12",
    "mobilenetv2",
    "efficientnet_b0",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "densenet121",
    *sorted(SMALL),
]
UPSTREAM = """
alexnet cnn_digit5_m3sda cnn_digitsdg cnn_digitsingle efficientnet_b0 efficientnet_b1
efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
mobilenetv2 preact_resnet18 resnet101 resnet101_ms_l1 resnet101_ms_l12 resnet101_ms_l123 resnet152
resnet18 resnet18_efdmix_l1 resnet18_efdmix_l12 resnet18_efdmix_l123 resnet18_ms_l1 resnet18_ms_l12
resnet18_ms_l123 resnet34 resnet50 resnet50_efdmix_l123 resnet50_ms_l1 resnet50_ms_l12
resnet50_ms_l123 shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 vgg16
wide_resnet_16_4 wide_resnet_28_2
""".split()


def check(name):
    net = build_backbone(name, verbose=False, pretrained=False).eval()
    side = 32 if name in SMALL else 64
    with torch.no_grad():
        features = net(torch.rand(2, 3, side, side))
    assert isinstance(net, Backbone)
    assert features.shape == (2, net.out_features)
    return net


def test_upstreams_names_are_there():
    assert set(UPSTREAM) <= set(BACKBONE_REGISTRY.registered_names())


@pytest.mark.parametrize("name", QUICK)
def test_features_have_the_width_that_is_said(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(BACKBONE_REGISTRY.registered_names()) - set(QUICK)))
def test_every_other_backbone_too(name):
    check(name)


@pytest.mark.parametrize(("name", "make"), [("resnet18", resnet18), ("resnet50", resnet50)])
def test_resnet_is_torchvisions_up_to_the_classifier(name, make):
    ours = build_backbone(name, verbose=False, pretrained=False).eval()
    theirs = make(weights=None).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    theirs.fc = nn.Identity()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_resnet_draws_from_the_generator_what_its_layers_need_and_no_more():
    """Upstream's has no classifier, so what is initialised after it must see the same state."""
    torch.manual_seed(5)
    net = build_backbone("resnet18", verbose=False, pretrained=False)
    after = torch.rand(1)
    torch.manual_seed(5)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    for conv in convs:  # each is drawn when it is made, then again in the network's own way
        nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, bias=False)
    for conv in convs:
        weight = torch.empty_like(conv.weight)
        nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
        assert torch.equal(weight, conv.weight)
    assert torch.equal(torch.rand(1), after)


def test_mixstyle_sits_after_the_layers_named_and_only_trains():
    plain = build_backbone("resnet18", verbose=False, pretrained=False)
    for name, kind in (("resnet18_ms_l12", MixStyle), ("resnet18_efdmix_l12", EFDMix)):
        mixed = build_backbone(name, verbose=False, pretrained=False)
        assert isinstance(mixed.mixstyle, kind) and mixed.ms_layers == ["layer1", "layer2"]
        mixed.load_state_dict(plain.state_dict())
        x = torch.rand(4, 3, 32, 32)
        with torch.no_grad():
            assert torch.equal(mixed.eval()(x), plain.eval()(x))
            mixed.mixstyle.train().p = 1.0
            assert not torch.equal(mixed(x), plain(x))


def test_pretrained_weights_go_where_their_names_say(monkeypatch):
    weights = {k: torch.full_like(v, 2) for k, v in resnet18(weights=None).state_dict().items()}
    monkeypatch.setattr(pretrained, "imagenet_state_dict", lambda arch: weights)
    net = build_backbone("resnet18_ms_l1", verbose=False)
    assert all((value == 2).all() for value in net.state_dict().values())


def test_weights_that_cannot_be_fetched_are_told_in_one_line(monkeypatch):
    from urllib.error import URLError

    import torchvision.models as tv

    def fail(self, *args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(tv.ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(UserError, match="ImageNet weights of resnet18.*INIT_WEIGHTS") as caught:
        build_backbone("resnet18", verbose=False)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused():
    for build in (build_backbone, build_head, build_network):
        with pytest.raises(ValueError, match="resnet99"):
            build("resnet99")


@pytest.mark.parametrize("name", ["cnn_digitsdg", "cnn_digitsingle"])
def test_digit_networks_start_from_kaiming_weights_by_fan_in(name):
    """Drawn when the layers are made, then again in the network's own way, as upstream."""
    torch.manual_seed(5)
    net = build_backbone(name, verbose=False)
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    drawn = [layer.weight.detach().clone() for layer in layers]
    torch.manual_seed(5)
    for layer in layers:
        layer.reset_parameters()
    for layer, weight in zip(layers, drawn, strict=True):
        nn.init.kaiming_normal_(layer.weight, mode="fan_in")
        assert torch.equal(layer.weight, weight)
        expected = (2 / weight[0].numel()) ** 0.5
        assert weight.std().item() == pytest.approx(expected, rel=0.1)


def test_wide_resnets_shortcut_starts_behind_the_activation_where_widths_differ():
    net = build_backbone("wide_resnet_16_4", verbose=False).eval()
    for block, stride in ((net.block1, 1), (net.block2, 2), (net.block3, 2)):
        first, second = block.layer
        x = torch.randn(2, first.conv1.in_channels, 8, 8)
        with torch.no_grad():
            active = first.relu1(first.bn1(x))
            inner = first.conv2(first.relu2(first.bn2(first.conv1(active))))
            shortcut = nn.functional.conv2d(active, first.convShortcut.weight, stride=stride)
            assert torch.allclose(first(x), inner + shortcut, atol=1e-5)
            y = first(x)
            inner = second.conv2(
                second.relu2(second.bn2(second.conv1(second.relu1(second.bn1(y)))))
            )
            assert torch.allclose(second(y), inner + y, atol=1e-5)


def test_digit_networks_refuse_other_sizes():
    for name in DIGITS:
        with pytest.raises(ValueError, match="32 x 32"):
            build_backbone(name, verbose=False)(torch.rand(2, 3, 64, 64))


def test_mlp_head(capsys):
    head = build_head(
        "mlp", in_features=6, hidden_layers=[5, 4], activation="leaky_relu", bn=True, dropout=0.5
    )
    assert "Head: mlp" in capsys.readouterr().out
    kinds = [type(layer).__name__ for layer in head.mlp]
    assert kinds == ["Linear", "BatchNorm1d", "LeakyReLU", "Dropout"] * 2
    assert head.out_features == 4 and head(torch.rand(3, 6)).shape == (3, 4)
    assert len(build_head("mlp", verbose=False, in_features=6, hidden_layers=5, bn=False).mlp) == 2
    with pytest.raises(ValueError, match="tanh"):
        build_head("mlp", verbose=False, in_features=6, hidden_layers=5, activation="tanh")
    with pytest.raises(ValueError, match="HIDDEN_LAYERS"):
        build_head("mlp", verbose=False, in_features=6)
    assert HEAD_REGISTRY.registered_names() == ["mlp"]


@pytest.mark.parametrize("name", sorted(NETWORK_REGISTRY.registered_names()))
def test_image_generators_perturb_within_bounds(name):
    net = build_network(name, verbose=False, image_size=32)
    x = torch.rand(2, 3, 32, 32)
    perturbed, p, base = net(x, lmda=0.3, return_stn_output=True)
    assert perturbed.shape == x.shape and p.abs().max() <= 1
    assert torch.allclose(perturbed, base + 0.3 * p)
    assert (net.locnet is not None) == name.endswith("stn")
    if net.locnet is None:
        assert torch.equal(base, x)
    else:
        theta = net.stn(x)[1]
        expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) * torch.tensor(1.0).tanh()
        assert torch.allclose(theta, expected.expand_as(theta))
    assert len(NETWORK_REGISTRY.registered_names()) == 4
