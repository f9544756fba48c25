"""SimpleShot: its equations, and what it does without a class or without val."""

from __future__ import annotations

import pytest
import torch
from cases import TrainerCase

CASE = TrainerCase("ProtoNet")


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10, 6, generator=generator) + 2
    return torch.nn.functional.normalize(x, dim=-1), torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 0, 2])


@pytest.mark.parametrize("centred", [True, False])
def test_distances_are_those_of_the_paper(module_of, centred):
    x, labels = data()
    head = module_of("ProtoNet").NearestMean(6, 3)
    head.set_means(x, labels, centred)
    means = [sum(x[i] for i in range(10) if labels[i] == c) / (labels == c).sum() for c in range(3)]
    center = sum(means) / 3 if centred else torch.zeros(6)
    unit = [(row - center) / (row - center).norm() for row in x]
    for c in range(3):
        shots = [unit[i] for i in range(10) if labels[i] == c]
        mean = sum(shots) / len(shots)
        for i in range(10):
            distance = ((unit[i] - mean) ** 2).sum()
            torch.testing.assert_close(head.distances(x)[i, c], distance)
    torch.testing.assert_close(head(x), -head.distances(x))


def test_one_shot_of_each_class_is_found_again(module_of):
    x = data()[0][:3]
    head = module_of("ProtoNet").NearestMean(6, 3)
    head.set_means(x, torch.arange(3), centred=True)
    assert head(x).argmax(-1).tolist() == [0, 1, 2]
    torch.testing.assert_close(head.distances(x).diag(), torch.zeros(3))


def test_a_class_without_shots_is_never_predicted(module_of):
    x, labels = data()
    head = module_of("ProtoNet").NearestMean(6, 4)
    head.set_means(x, labels, centred=True)
    assert torch.isfinite(head(x)).all() and (head(x).argmax(-1) < 3).all()


def test_sharpness_is_chosen_on_val(build):
    trainer = build("ProtoNet", "TRAINER.PROTONET.SHARPNESS", "(0.1, 20.0)")
    trainer.train()
    assert trainer.extra_results["search"]["chosen"] == {"sharpness": 20.0}


def test_the_default_stays_without_val(build):
    trainer = build("ProtoNet", "DATASET.SPLIT_RATIO", "(0.5, 0.0, 0.5)")
    trainer.train()
    assert trainer.head.sharpness.item() == 10.0 and "search" not in trainer.extra_results


def test_serves_a_cnn_that_has_no_text(build, tmp_path):
    from torchvision.models import squeezenet1_0

    file = tmp_path / "squeezenet.pth"
    torch.save(squeezenet1_0().state_dict(), file)
    trainer = build("ProtoNet", backbone="torchvision:squeezenet1_0", weights=file)
    trainer.train()
    assert trainer.head.means.shape == (3, 1024)
