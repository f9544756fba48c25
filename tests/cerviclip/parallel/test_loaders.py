"""Loaders in one process: draws by image, and what is loaded in whole batches."""

from __future__ import annotations

import pytest
import torch
from parallel_worker import Loads, Numbers
from torch.utils.data import DataLoader
from torchvision import transforms as T

from cerviclip.parallel.loaders import (
    OwnParts,
    check_draw_by,
    drawn_for_each,
    loads_whole_batches,
    own_batches,
    training_batches,
)
from dassl.config import get_cfg_default
from dassl.errors import UserError
from dassl.utils import set_random_seed


def epochs(loader) -> list:
    set_random_seed(5)
    return [[(b["label"].tolist(), b["img"].tolist()) for b in loader] for _ in range(2)]


def loader_of(workers: int = 0) -> DataLoader:
    return DataLoader(Numbers(7), 3, shuffle=True, num_workers=workers)


def test_draws_by_image_do_not_depend_on_loader_processes():
    first, again, other = (epochs(OwnParts(loader_of(n), by_image=True)) for n in (0, 0, 2))
    assert first == again == other
    assert first[0] != first[1], "each epoch has draws of its own"
    drawn = [value for _, images in first[0] for (value,) in images]
    assert len(set(drawn)) == 7


def test_the_order_is_that_of_the_loader():
    plain, by_image = epochs(loader_of()), epochs(OwnParts(loader_of(), by_image=True))
    assert [labels for labels, _ in plain[0]] == [labels for labels, _ in by_image[0]]
    assert len(OwnParts(loader_of(), by_image=True)) == len(loader_of())


def test_one_process_gets_the_very_loader():
    loader = loader_of()
    assert training_batches(Loads("batch"), loader) is loader
    assert own_batches(loader) is loader
    assert isinstance(training_batches(Loads("image"), loader), OwnParts)


@pytest.mark.parametrize(("transform", "drawn"), [(T.RandomHorizontalFlip(), True), (None, False)])
def test_only_random_transforms_need_whole_batches(transform, drawn):
    steps = [T.Resize(8), *([transform] if transform else []), T.ToTensor()]
    source = Numbers(4)
    source.transform = T.Compose(steps)
    loader = DataLoader(source, 2)
    assert drawn_for_each(loader) is drawn
    assert loads_whole_batches(loader, by_image=False) is drawn
    assert not loads_whole_batches(loader, by_image=True)


def test_stored_features_are_cut():
    source = Numbers(4)
    source.__class__ = type("Stored", (Numbers,), {"__getitems__": lambda self, n: n})
    assert not drawn_for_each(DataLoader(source, 2))
    assert loads_whole_batches(DataLoader(source, 2), by_image=True)


def test_another_word_is_refused():
    cfg = get_cfg_default()
    check_draw_by(cfg)
    cfg.DATALOADER.DRAW_BY = "epoch"
    with pytest.raises(UserError, match="DATALOADER.DRAW_BY is 'epoch'; take one of batch, image"):
        check_draw_by(cfg)


def test_generators_are_left_as_the_loader_leaves_them():
    """What an image draws does not show in the generators."""
    for workers in (0, 1):
        set_random_seed(5)
        list(OwnParts(loader_of(workers), by_image=True))
        state = torch.get_rng_state()
        if workers == 0:
            first = state
    assert torch.equal(first, state)
