"""A tissue-mask head beside the classifier: its target, its loss, and what it reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from cerviclip.data.roi.finder import tissue_patches
from cerviclip.data.roi.mask_head import LastMap, MaskHead, mask_loss, mask_scores
from dassl.errors import UserError


def test_a_patch_is_tissue_when_half_of_it_is():
    mask = np.zeros((40, 40), np.uint8)
    mask[:, :16] = 255  # the second column of four is covered for six of ten pixels
    inside = tissue_patches(Image.fromarray(mask), (2, 4)).view(2, 4)
    assert inside.tolist() == [[True, True, False, False]] * 2
    empty = Image.fromarray(np.zeros((8, 8), np.uint8))
    assert not tissue_patches(empty, (2, 2)).any(), "no tissue is not the whole image"


def test_the_loss_is_cross_entropy_and_dice():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    inside = torch.tensor([[True, False, True]])
    p = logits.sigmoid()[0]
    dice = 1 - (2 * (p[0] + p[2]) + 1) / (p.sum() + 2 + 1)
    cross = -(p[0].log() + (1 - p[1]).log() + p[2].log()) / 3
    torch.testing.assert_close(mask_loss(logits, inside), cross + dice)


def test_scores_are_the_overlap_of_each_image():
    logits = torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    inside = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]]).bool()
    scores = mask_scores([(logits, inside)])
    assert scores == {"images": 2, "iou": pytest.approx(0.75), "dice": pytest.approx(5 / 6)}
    assert mask_scores([]) == {"images": 0, "iou": None, "dice": None}


@pytest.mark.parametrize("arch", ["resnet18", "squeezenet1_0", "efficientnet_b0", "densenet121"])
def test_the_last_map_is_what_the_classifier_reads(arch):
    import torchvision

    network = torchvision.models.get_model(arch, weights=None).eval()
    last = LastMap(network, (96, 96))
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        logits, tokens = last.tokens(lambda: network(x))
        assert torch.equal(logits, network(x)), "reading the map changes nothing"
    assert tokens.shape == (2, last.grid[0] * last.grid[1], last.channels)
    if arch == "resnet18":
        torch.testing.assert_close(network.fc(tokens.mean(1)), logits)


def test_a_network_without_a_map_is_refused():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    with pytest.raises(UserError, match="no feature map"):
        LastMap(flat, (8, 8))


def test_the_head_learns_where_bright_patches_are():
    torch.manual_seed(0)
    head = MaskHead(6)
    patches = torch.randn(16, 9, 6)
    inside = patches[..., 0] > patches[..., 1]
    optim = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(150):
        optim.zero_grad()
        mask_loss(head(patches), inside).backward()
        optim.step()
    assert ((head(patches) > 0) == inside).float().mean() > 0.95
    assert F.mse_loss(head(patches).sigmoid(), inside.float()) < 0.1
