"""DataManager and DatasetWrapper: upstream's keys, sizes and draws; the test set is watched."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from PIL import Image

from dassl.config import get_cfg_default
from dassl.data import DataManager, DatasetWrapper
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.errors import UserError
from helpers import write_images


@pytest.fixture
def parts(tmp_path) -> dict[str, list[Datum]]:
    paths = write_images(tmp_path, {"a": 5, "b": 5, "c": 4})
    data = [Datum(str(p), "abc".index(p.parent.name), i % 2, p.parent.name)
            for i, p in enumerate(paths)]  # fmt: skip
    return {"train_x": data[:7] + data[10:12], "val": data[7:9], "test": data}


@pytest.fixture
def cfg(parts):
    @DATASET_REGISTRY.register()
    class FakeForLoaders(DatasetBase):
        def __init__(self, cfg):
            super().__init__(**parts)

    cfg = get_cfg_default()
    cfg.DATASET.NAME = "FakeForLoaders"
    cfg.INPUT.SIZE = (16, 16)
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 4
    cfg.DATALOADER.TEST.BATCH_SIZE = 4
    cfg.USE_CUDA = False
    return cfg


def test_without_a_transform_img_is_the_image_itself(cfg, parts):
    cfg.INPUT.NO_TRANSFORM = True
    sample = DataManager(cfg).train_loader_x.dataset[3]
    assert set(sample) == {"img", "label", "domain", "impath", "index"}
    assert isinstance(sample["img"], Image.Image) and sample["img"].size == (32, 32)
    assert sample["img"].tobytes() == Image.open(parts["train_x"][3].impath).tobytes()


def test_loaders_have_upstreams_sizes_and_keys(cfg, parts):
    dm = DataManager(cfg)
    assert len(dm.train_loader_x) == 2  # 9 images, the last one dropped
    assert len(dm.val_loader) == 1 and len(dm.test_loader) == 4
    assert dm.train_loader_u is None
    batch = next(iter(dm.train_loader_x))
    assert set(batch) == {"img", "label", "domain", "impath", "index"}
    assert batch["img"].shape == (4, 3, 16, 16)
    for row, index in enumerate(batch["index"].tolist()):
        item = parts["train_x"][index]
        assert (batch["impath"][row], batch["label"][row]) == (item.impath, item.label)
    seen = [path for batch in dm.test_loader for path in batch["impath"]]
    assert seen == [item.impath for item in parts["test"]]
    assert dm.num_classes == 3 and dm.lab2cname == {0: "a", 1: "b", 2: "c"}


def test_a_train_set_smaller_than_a_batch_keeps_its_only_batch(cfg):
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 64
    (batch,) = DataManager(cfg).train_loader_x
    assert len(batch["label"]) == 9


def test_empty_val_and_empty_train(cfg, parts):
    parts["val"] = []
    parts["train_x"] = []
    dm = DataManager(cfg)
    assert dm.val_loader is None and dm.train_loader_x is None and dm.num_classes == 3


def test_batches_are_those_of_a_plain_loop_in_torchs_order(cfg, parts):
    """Sampler's permutation, then per sample: decode and transform. Nothing else is drawn."""
    loader = DataManager(cfg).train_loader_x
    torch.manual_seed(11)
    random.seed(11)
    np.random.seed(11)
    batches = list(loader)
    after = torch.rand(3), random.random(), np.random.rand()

    tfm = T.Compose(
        [
            T.RandomResizedCrop((16, 16)),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD),
        ]
    )

    class Plain(torch.utils.data.Dataset):
        def __len__(self):
            return len(parts["train_x"])

        def __getitem__(self, i):
            return tfm(Image.open(parts["train_x"][i].impath).convert("RGB")), i

    plain = torch.utils.data.DataLoader(Plain(), batch_size=4, shuffle=True, drop_last=True)
    torch.manual_seed(11)
    random.seed(11)
    np.random.seed(11)
    expected = list(plain)
    assert torch.equal(torch.rand(3), after[0])
    assert (random.random(), np.random.rand()) == after[1:]
    for got, (images, index) in zip(batches, expected, strict=True):
        assert torch.equal(got["img"], images) and torch.equal(got["index"], index)


def test_unlabelled_set_same_as_x_or_on_its_own(cfg, parts):
    parts["train_u"] = parts["test"]
    assert len(DataManager(cfg).train_loader_u) == 3  # 14 images in batches of 4
    cfg.DATALOADER.TRAIN_U.SAME_AS_X = False
    cfg.DATALOADER.TRAIN_U.BATCH_SIZE = 7
    assert len(DataManager(cfg).train_loader_u) == 2


def test_domain_sampler_by_config(cfg):
    cfg.DATALOADER.TRAIN_X.SAMPLER = "RandomDomainSampler"
    cfg.DATALOADER.TRAIN_X.N_DOMAIN = 2
    for batch in DataManager(cfg).train_loader_x:
        assert sorted(batch["domain"].tolist()) == [0, 0, 1, 1]


def test_class_sampler_takes_n_ins_from_the_config(cfg):
    cfg.DATALOADER.TRAIN_X.SAMPLER = "RandomClassSampler"
    cfg.DATALOADER.TRAIN_X.N_INS = 2
    batch = next(iter(DataManager(cfg).train_loader_x))
    labels = batch["label"].tolist()
    assert sorted(labels.count(k) for k in set(labels)) == [2, 2]


def test_k_transforms_img0_and_several_transforms(cfg, parts):
    cfg.DATALOADER.K_TRANSFORMS = 2
    cfg.DATALOADER.RETURN_IMG0 = True
    tfm = T.Compose([T.RandomCrop(8), T.ToTensor()])
    train = DatasetWrapper(cfg, parts["train_x"], transform=[tfm, tfm], is_train=True)[0]
    assert [len(train[key]) for key in ("img", "img2")] == [2, 2]
    assert train["img"][0].shape == (3, 8, 8)
    plain = T.Compose(
        [
            T.Resize((16, 16)),
            T.ToTensor(),
            T.Normalize(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD),
        ]
    )
    image = Image.open(parts["train_x"][0].impath).convert("RGB")
    assert torch.equal(train["img0"], plain(image))
    test = DatasetWrapper(cfg, parts["test"], transform=tfm, is_train=False)[0]
    assert test["img"].shape == (3, 8, 8)  # one view only
    with pytest.raises(ValueError, match="2 times"):
        DatasetWrapper(cfg, parts["train_x"], transform=None, is_train=True)


def test_an_image_is_transformed_on_one_thread_whatever_happens(cfg, parts):
    """Their small steps, shared out, wait for each other: tenfold time on a busy machine."""
    seen, before = [], torch.get_num_threads()

    def look(image):
        seen.append(torch.get_num_threads())
        if len(seen) == 2:
            raise ZeroDivisionError
        return image

    torch.set_num_threads(2)
    try:
        images = DatasetWrapper(cfg, parts["test"], transform=look)
        images[0]
        with pytest.raises(ZeroDivisionError):
            images[1]
        assert seen == [1, 1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_custom_transforms_and_wrapper(cfg, capsys):
    class Wrapper(DatasetWrapper):
        def __getitem__(self, idx):
            return {**super().__getitem__(idx), "extra": idx}

    small = T.Compose([T.Resize((4, 4)), T.ToTensor()])
    dm = DataManager(cfg, custom_tfm_train=small, custom_tfm_test=small, dataset_wrapper=Wrapper)
    batch = next(iter(dm.train_loader_x))
    assert batch["img"].shape == (4, 3, 4, 4) and torch.equal(batch["extra"], batch["index"])
    assert next(iter(dm.val_loader))["img"].shape[-1] == 4
    assert "* Using custom transform for training" in capsys.readouterr().out


def test_reading_the_test_loader_early_leaves_a_mark(cfg):
    dm = DataManager(cfg)
    assert dm.test_read_early is False
    assert dm.test_loader is not None and dm.test_read_early is True
    dm = DataManager(cfg)
    dm.training_ended = True
    assert dm.test_loader is not None and dm.test_read_early is False


def test_test_images_that_are_trained_on_by_the_protocol_leave_no_mark(cfg):
    dm = DataManager(cfg)
    dm.note_reading(dm.dataset.train_x)
    dm.dataset._train_u = list(dm.dataset.test)
    dm.note_reading(dm.dataset.test)
    assert not dm.test_read_early
    dm.dataset._train_u = None
    dm.note_reading(dm.dataset.test[-1:])
    assert dm.test_read_early


def test_test_loader_can_be_set_also_by_classes_that_skip_init():
    class Own(DataManager):
        def __init__(self):
            self.test_loader = "mine"

    dm = Own()
    dm.training_ended = True
    assert dm.test_loader == "mine"


def test_summary_is_a_table(cfg, capsys):
    cfg.DATASET.SOURCE_DOMAINS = ["mixed"]
    DataManager(cfg)
    out = capsys.readouterr().out
    rows = dict(
        line.split(None, 1) for line in out.splitlines() if line[:7] in ("Dataset", "Source ")
    )
    assert rows["Dataset"].strip() == "FakeForLoaders" and "mixed" in rows["Source"]
    assert "# train_x  9" in out and "# test     14" in out


def test_a_sampler_without_a_batch_says_so(cfg, parts):
    few = [item for item in parts["train_x"] if item.domain == 0][:2]
    few += [item for item in parts["train_x"] if item.domain == 1][:2]
    with pytest.raises(UserError, match="BATCH_SIZE"):
        build_data_loader(cfg, "SeqDomainSampler", few, batch_size=8, tfm=None)


def test_workers_are_seeded(cfg, parts):
    class Draws(DatasetWrapper):
        def __getitem__(self, idx):
            return {"draw": [random.random(), np.random.rand(), torch.rand(()).item()]}

    cfg.DATALOADER.NUM_WORKERS = 2
    loader = build_data_loader(cfg, data_source=parts["test"], batch_size=7, dataset_wrapper=Draws)

    def one_pass(seed):
        torch.manual_seed(seed)
        return [torch.stack(batch["draw"]).tolist() for batch in loader]

    first = one_pass(1)
    assert first == one_pass(1) and first != one_pass(2)
    assert first[0] != first[1]  # two workers draw differently
