"""Operations against their equations, worked out here in another way."""

from __future__ import annotations

import math
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dassl.modeling import ops
from dassl.modeling.ops.style import partners


def test_sharpen_prob():
    p = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    expected = torch.tensor([[0.04 / 0.68, 0.64 / 0.68], [0.5, 0.5]])
    assert torch.allclose(ops.sharpen_prob(p, 2), expected)


def test_index_helpers():
    data, label = torch.arange(4.0), torch.arange(4)
    assert ops.reverse_index(data, label)[1].tolist() == [3, 2, 1, 0]
    torch.manual_seed(0)
    shuffled, labels = ops.shuffle_index(data, label)
    assert torch.equal(shuffled, labels.float()) and labels.sort().values.tolist() == [0, 1, 2, 3]
    assert torch.equal(ops.create_onehot(torch.tensor([2, 0]), 3), torch.eye(3)[[2, 0]])


def test_rampups():
    assert ops.linear_rampup(5, 20) == 0.25 and ops.linear_rampup(50, 20) == 1.0
    assert ops.sigmoid_rampup(0, 10) == pytest.approx(math.exp(-5))
    assert ops.sigmoid_rampup(5, 10) == pytest.approx(math.exp(-1.25))
    assert ops.sigmoid_rampup(11, 10) == 1.0
    for rampup in (ops.linear_rampup, ops.sigmoid_rampup):
        with pytest.raises(ValueError, match="above 0"):
            rampup(1, 0)


def test_ema_model_update():
    model, average = nn.Linear(2, 1), nn.Linear(2, 1)
    expected = 0.9 * average.weight.detach() + 0.1 * model.weight.detach()
    ops.ema_model_update(model, average, 0.9)
    assert torch.allclose(average.weight, expected)


@pytest.mark.parametrize("preserve_order", [False, True])
def test_mixup_is_one_mixture_for_image_and_label(preserve_order):
    torch.manual_seed(0)
    x1, x2 = torch.zeros(64, 3, 2, 2), torch.ones(64, 3, 2, 2)
    y1, y2 = torch.eye(2)[torch.zeros(64).long()], torch.eye(2)[torch.ones(64).long()]
    x, y = ops.mixup(x1, x2, y1, y2, beta=0.75, preserve_order=preserve_order)
    assert torch.allclose(x[:, 0, 0, 0], y[:, 1]) and torch.allclose(y.sum(1), torch.ones(64))
    assert (y[:, 0] >= 0.5).all() == preserve_order


def test_cross_entropy_agrees_with_torch():
    torch.manual_seed(0)
    logits, label = torch.randn(5, 4), torch.tensor([0, 3, 2, 1, 1])
    for smooth in (0.0, 0.1):
        expected = F.cross_entropy(logits, label, label_smoothing=smooth)
        assert torch.allclose(ops.cross_entropy(logits, label, smooth), expected)
    soft = torch.softmax(torch.randn(5, 4), 1)
    assert torch.allclose(ops.cross_entropy(logits, soft), F.cross_entropy(logits, soft))
    assert ops.cross_entropy(logits, label, reduction="none").shape == (5, 1)
    total = ops.cross_entropy(logits, label, reduction="sum")
    assert torch.allclose(total, F.cross_entropy(logits, label, reduction="sum"))
    with pytest.raises(ValueError, match="median"):
        ops.cross_entropy(logits, label, reduction="median")


def test_reverse_grad():
    x = torch.ones(2, requires_grad=True)
    y = ops.ReverseGrad()(x, grad_scaling=0.5)
    assert torch.equal(y, x)
    y.sum().backward()
    assert torch.equal(x.grad, torch.tensor([-0.5, -0.5]))


def test_sequential2_passes_several_values_on():
    class Swap(nn.Module):
        def forward(self, a, b):
            return b, a + b

    class Sum(nn.Module):
        def forward(self, a, b):
            return a + b

    assert ops.Sequential2(Swap(), Swap())(1, 2) == (3, 5)
    assert ops.Sequential2(Swap(), Sum(), nn.Identity())(1, 2) == 5


# Style mixing ------------------------------------------------------------------------------------


def test_partners_across_domains_come_from_the_other_half():
    torch.manual_seed(0)
    for _ in range(10):
        index = partners(8, "crossdomain").tolist()
        assert sorted(index[:4]) == [4, 5, 6, 7] and sorted(index[4:]) == [0, 1, 2, 3]
    assert sorted(partners(8, "random").tolist()) == list(range(8))
    with pytest.raises(ValueError, match="other"):
        partners(8, "other")


def test_mixstyle_gives_the_mixed_statistics():
    torch.manual_seed(0)
    x, mix = torch.randn(4, 3, 5, 5), ops.MixStyle(p=1.0, mix="crossdomain")
    share, index = torch.rand(4, 1, 1, 1), torch.tensor([2, 3, 0, 1])
    out = mix.mix_styles(x, share, index)
    for i in range(4):
        s = share[i].item()
        j = index[i].item()
        mean = s * x[i].mean((1, 2)) + (1 - s) * x[j].mean((1, 2))
        deviation = s * x[i].std((1, 2)) + (1 - s) * x[j].std((1, 2))
        assert torch.allclose(out[i].mean((1, 2)), mean, atol=1e-5)
        assert torch.allclose(out[i].std((1, 2)), deviation, atol=1e-4)


def test_efdmix_with_no_own_share_has_the_partners_values_in_the_own_order():
    torch.manual_seed(0)
    x, mix = torch.randn(2, 1, 3, 3), ops.EFDMix(p=1.0)
    out = mix.mix_styles(x, torch.zeros(2, 1, 1, 1), torch.tensor([1, 0]))
    assert torch.allclose(out[0].flatten().sort().values, x[1].flatten().sort().values)
    assert torch.equal(out[0].flatten().argsort(), x[0].flatten().argsort())
    same = mix.mix_styles(x, torch.ones(2, 1, 1, 1), torch.tensor([1, 0]))
    assert torch.allclose(same, x)


@pytest.mark.parametrize("name", ["mixstyle", "efdmix"])
def test_mixing_is_off_at_test_time_and_where_it_is_switched_off(name):
    kind = {"mixstyle": ops.MixStyle, "efdmix": ops.EFDMix}[name]
    model = nn.Sequential(nn.Identity(), kind(p=1.0))
    random.seed(0)
    torch.manual_seed(0)
    x = torch.randn(4, 2, 3, 3)

    def mixes():
        return not torch.equal(model(x), x)

    assert mixes()
    assert not torch.equal(model.eval()(x), model.train()(x))
    with getattr(ops, f"run_without_{name}")(model):
        assert not mixes()
    assert mixes()
    model.apply(getattr(ops, f"deactivate_{name}"))
    assert not mixes()
    with getattr(ops, f"run_with_{name}")(model, mix="crossdomain"):
        assert mixes() and model[1].mix == "crossdomain"
    assert not mixes()
    model.apply(getattr(ops, f"random_{name}"))
    model.apply(getattr(ops, f"activate_{name}"))
    assert mixes() and model[1].mix == "random"
    model.apply(getattr(ops, f"crossdomain_{name}"))
    assert model[1].mix == "crossdomain"
    assert repr(model[1]).startswith(f"{kind.__name__}(p=1.0, alpha=0.1")


def test_mixing_happens_with_its_probability():
    random.seed(0)
    mix, x = ops.MixStyle(p=0.3), torch.randn(2, 1, 4, 4)
    mixed = sum(not torch.equal(mix(x), x) for _ in range(400))
    assert 80 < mixed < 160


# Distances and norms -----------------------------------------------------------------------------


def test_mmd_kernels_by_double_loop():
    torch.manual_seed(0)
    x, y = torch.randn(4, 3), torch.randn(5, 3) + 1
    kernels = {
        "linear": lambda a, b: a @ b,
        "poly": lambda a, b: (a @ b + 2) ** 2,
        "rbf": lambda a, b: sum(
            torch.exp(-(a - b).square().sum() / (2 * sigma**2)) for sigma in (1, 5, 10)
        ),
    }
    for name, kernel in kernels.items():

        def mean(p, q, same, kernel=kernel):
            values = [
                kernel(a, b) for i, a in enumerate(p) for j, b in enumerate(q) if not same or i != j
            ]
            return torch.stack(values).mean()

        expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
        assert torch.allclose(ops.MaximumMeanDiscrepancy(name)(x, y), expected, atol=1e-5)
    unit = ops.MaximumMeanDiscrepancy("linear", normalize=True)
    assert torch.allclose(unit(x, y), unit(3 * x, 0.1 * y), atol=1e-6)
    with pytest.raises(ValueError, match="cubic"):
        ops.MaximumMeanDiscrepancy("cubic")


def test_sinkhorn_plan_has_uniform_margins_and_finds_the_pairs():
    torch.manual_seed(0)
    x = torch.randn(6, 8)
    order = torch.randperm(6)
    sinkhorn = ops.SinkhornDivergence("euclidean", eps=0.05, max_iter=200)
    cost, plan = sinkhorn.transport_cost(x, x[order], return_pi=True)
    assert torch.allclose(plan.sum(1), torch.full((6,), 1 / 6), atol=1e-3)
    assert torch.allclose(plan.sum(0), torch.full((6,), 1 / 6), atol=1e-3)
    assert torch.equal(plan.argmax(1), order.argsort())
    assert cost.item() == pytest.approx(0.0, abs=1e-2)
    assert sinkhorn(x, x).item() == pytest.approx(0.0, abs=1e-5)
    assert sinkhorn(x, x + 3).item() > 10


def test_transport_metrics_agree_and_gradients_flow():
    torch.manual_seed(0)
    x, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    distance = ops.SinkhornDivergence.distance
    assert torch.allclose(distance(x, y, "euclidean"), distance(x, y, "fast_euclidean"), atol=1e-5)
    assert torch.allclose(distance(x, y)[1, 2], 1 - F.cosine_similarity(x[1], y[2], dim=0))
    with pytest.raises(ValueError, match="manhattan"):
        distance(x, y, "manhattan")
    ops.MinibatchEnergyDistance(bp_to_sinkhorn=True)(x, y).backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(("kind", "shape"), [(ops.DSBN1d, (6, 3)), (ops.DSBN2d, (6, 3, 2, 2))])
def test_dsbn_keeps_the_statistics_of_domains_apart(kind, shape):
    torch.manual_seed(0)
    norm, x = kind(3, 2), torch.randn(shape) + 5
    norm.select_bn(1)
    norm(x)
    assert (norm.bn[0].running_mean == 0).all() and (norm.bn[1].running_mean > 0.1).all()
    with pytest.raises(ValueError, match="domain 2"):
        norm.select_bn(2)


@pytest.mark.parametrize(
    ("kind", "shape"), [(ops.TransNorm1d, (8, 3)), (ops.TransNorm2d, (8, 3, 4, 4))]
)
def test_transnorm_normalises_each_half_and_weights_channels(kind, shape):
    torch.manual_seed(0)
    x = torch.randn(shape)
    x[4:] = 3 * x[4:] + 2
    plain = kind(3, adaptive_alpha=False)(x)
    dims = [0, 2, 3][: len(shape) - 1]
    for half in (plain[:4], plain[4:]):
        assert torch.allclose(half.mean(dims), torch.zeros(3), atol=1e-5)
        assert torch.allclose(half.transpose(0, 1).flatten(1).std(1), torch.ones(3), atol=1e-3)
    norm = kind(3)
    ratio = (norm(x) / plain).transpose(0, 1).flatten(1)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), atol=1e-3)
    assert torch.allclose((ratio[:, 0] - 1).sum(), torch.tensor(3.0), atol=1e-3)
    assert norm.eval()(x).shape == x.shape
    norm.reset_running_stats()
    assert (norm.running_var_t == 1).all()
    with pytest.raises(ValueError, match="dimensions"):
        norm(torch.randn(2, 3, 4))


def test_dynamic_convolution_is_the_weighted_sum_of_its_kernels():
    torch.manual_seed(0)
    conv, x = ops.Conv2dDynamic(4, 8, 3, stride=2, padding=1, squeeze=2), torch.randn(3, 4, 8, 8)
    weights = conv.attention(x)
    assert weights.shape == (3, 4) and torch.allclose(weights.sum(1), torch.ones(3))
    expected = conv.conv(x)
    for i, name in enumerate(("conv_nn", "conv_11", "conv_n1", "conv_1n")):
        expected = expected + weights[:, i, None, None, None] * conv.kernel_templates[name](x)
    assert torch.allclose(conv(x), expected, atol=1e-6)
    with pytest.raises(ValueError, match="odd"):
        ops.Conv2dDynamic(4, 6, 4, stride=1, padding=2)
    with pytest.raises(ValueError, match="squeeze"):
        ops.Attention(4, 2)
