"""Predictions stand beside the image, patient and label that they were made of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cerviclip.runs.run.testing.predict import predict_items

ITEMS = [SimpleNamespace(impath=f"/data/{n}.png", label=n % 3 % 2) for n in range(4)]


class Trainer:
    """Gives each image the class that it is told; ``labels`` are what its loader says."""

    device = torch.device("cpu")
    num_classes = 2
    dm = SimpleNamespace(num_classes=2, dataset=SimpleNamespace(classnames=["a", "b"]))

    def __init__(self, labels):
        self.labels = torch.tensor(labels)

    def set_model_mode(self, mode):
        assert mode == "eval"

    def make_loader(self, items):
        return [{"img": torch.zeros(len(self.labels), 1), "label": self.labels}]

    def parse_batch_test(self, batch):
        return batch["img"], batch["label"]

    def model_inference(self, images):
        return torch.stack([-self.labels.float(), self.labels.float()], 1)


def test_rows_are_those_of_the_items():
    found = predict_items(Trainer([0, 1, 0, 0]), ITEMS, "test")
    assert found.labels.tolist() == [0, 1, 0, 0] == np.argmax(found.probs, 1).tolist()


@pytest.mark.parametrize(
    "labels, words",
    [
        ([1, 0, 0, 0], "another order"),
        ([0, 1, 1, 0], r"gives /data/2.png the label 1, and the data set's list 0"),
        ([0, 1, 1], "3 predictions for 4 images"),
    ],
)
def test_a_loader_of_other_labels_is_refused(labels, words):
    with pytest.raises(RuntimeError, match=words):
        predict_items(Trainer(labels), ITEMS, "test")
