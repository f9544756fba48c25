"""From a config to loaders: data set, transforms, samplers, batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torchvision.transforms as T
from tabulate import tabulate
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dassl.errors import UserError
from dassl.utils import images
from dassl.utils.deep_images import all_windows, restore_windows
from dassl.utils.distributed import choose_device
from dassl.utils.images import BegunImage

from .datasets import build_dataset
from .samplers import build_sampler
from .transforms import INTERPOLATION_MODES, build_transform

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from .datasets import DatasetBase, Datum


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    n_ins: int = 2,
    tfm: Callable | Sequence[Callable] | None = None,
    is_train: bool = True,
    dataset_wrapper: Callable[..., TorchDataset] | None = None,
) -> DataLoader:
    """Build a loader over ``data_source``.

    Args:
        cfg: the config (``DATALOADER.NUM_WORKERS``, ``USE_CUDA`` and what the wrapper reads).
        sampler_type: a name that ``build_sampler`` knows.
        data_source: the items.
        batch_size: images per batch.
        n_domain: domains per batch, for the domain samplers.
        n_ins: images per class in a batch, for the class sampler.
        tfm: transform, or several (the batch then holds ``img``, ``img2`` ...).
        is_train: augment, and drop a last partial batch unless it is the only one.
        dataset_wrapper: stands in for ``DatasetWrapper``.
    """
    sampler = build_sampler(
        sampler_type,
        cfg=cfg,
        data_source=data_source,
        batch_size=batch_size,
        n_domain=n_domain,
        n_ins=n_ins,
    )
    wrapper = dataset_wrapper or DatasetWrapper
    loader = DataLoader(
        wrapper(cfg, data_source, transform=tfm, is_train=is_train),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=choose_device(cfg.USE_CUDA).type == "cuda",
    )
    if len(loader) == 0:
        raise UserError(
            f"{sampler_type} makes no batch of {batch_size} out of {len(data_source)} images: "
            "make DATALOADER.TRAIN_X.BATCH_SIZE smaller"
        )
    return loader


class DataManager:
    """A data set and its loaders.

    ``test_loader`` is a property: handing it out before ``training_ended`` is set leaves a mark in
    ``test_read_early``, which the results carry; so does `note_reading` of test images.

    Args:
        cfg: the config.
        custom_tfm_train: used for training instead of the transform that the config describes.
        custom_tfm_test: the same for validation and test.
        dataset_wrapper: stands in for ``DatasetWrapper``.
    """

    training_ended = False
    test_read_early = False

    def __init__(
        self,
        cfg: CfgNode,
        custom_tfm_train: Callable | Sequence[Callable] | None = None,
        custom_tfm_test: Callable | Sequence[Callable] | None = None,
        dataset_wrapper: Callable[..., TorchDataset] | None = None,
    ) -> None:
        dataset = build_dataset(cfg)

        if custom_tfm_train is None:
            tfm_train = build_transform(cfg, is_train=True)
        else:
            print("* Using custom transform for training")
            tfm_train = custom_tfm_train
        if custom_tfm_test is None:
            tfm_test = build_transform(cfg, is_train=False)
        else:
            print("* Using custom transform for testing")
            tfm_test = custom_tfm_test

        def train_loader(items: Sequence[Datum] | None, section: CfgNode) -> DataLoader | None:
            if not items:
                return None
            return build_data_loader(
                cfg,
                sampler_type=section.SAMPLER,
                data_source=items,
                batch_size=section.BATCH_SIZE,
                n_domain=section.N_DOMAIN,
                n_ins=section.N_INS,
                tfm=tfm_train,
                is_train=True,
                dataset_wrapper=dataset_wrapper,
            )

        def test_loader(items: Sequence[Datum] | None) -> DataLoader | None:
            if not items:
                return None
            return build_data_loader(
                cfg,
                sampler_type=cfg.DATALOADER.TEST.SAMPLER,
                data_source=items,
                batch_size=cfg.DATALOADER.TEST.BATCH_SIZE,
                tfm=tfm_test,
                is_train=False,
                dataset_wrapper=dataset_wrapper,
            )

        section_x, section_u = cfg.DATALOADER.TRAIN_X, cfg.DATALOADER.TRAIN_U
        self.dataset: DatasetBase = dataset
        self.train_loader_x = train_loader(dataset.train_x, section_x)
        self.train_loader_u = train_loader(
            dataset.train_u, section_x if section_u.SAME_AS_X else section_u
        )
        self.val_loader = test_loader(dataset.val)
        self.test_loader = test_loader(dataset.test)

        self._num_classes = dataset.num_classes
        self._num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self._lab2cname = dataset.lab2cname

        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    @property
    def test_loader(self) -> DataLoader | None:
        if not self.training_ended:
            self.test_read_early = True
        return self.__dict__.get("_test_loader")

    @test_loader.setter
    def test_loader(self, loader: DataLoader | None) -> None:
        self.__dict__["_test_loader"] = loader

    def note_reading(self, items: Iterable[Datum]) -> None:
        """Leave the mark if there are test images among ``items`` before training has ended; images
        that are for training or validation too (as in a transductive protocol) are no reason."""
        if self.training_ended or self.test_read_early:
            return
        data = self.dataset
        paths = {item.impath for item in items} & {item.impath for item in data.test or ()}
        if paths:
            for split in (data.train_x, data.train_u, data.val):
                paths.difference_update(item.impath for item in split or ())
        self.test_read_early = bool(paths)

    @property
    def num_classes(self) -> int:
        return self._num_classes

    @property
    def num_source_domains(self) -> int:
        return self._num_source_domains

    @property
    def lab2cname(self) -> dict[int, str]:
        return self._lab2cname

    def show_dataset_summary(self, cfg: CfgNode) -> None:
        """Print the data set's name, domains and sizes."""
        data = self.dataset
        rows: list[list[Any]] = [["Dataset", cfg.DATASET.NAME]]
        if cfg.DATASET.SOURCE_DOMAINS:
            rows.append(["Source", cfg.DATASET.SOURCE_DOMAINS])
        if cfg.DATASET.TARGET_DOMAINS:
            rows.append(["Target", cfg.DATASET.TARGET_DOMAINS])
        rows.append(["# classes", f"{self.num_classes:,}"])
        rows.append(["# train_x", f"{len(data.train_x):,}"])
        if data.train_u:
            rows.append(["# train_u", f"{len(data.train_u):,}"])
        if data.val:
            rows.append(["# val", f"{len(data.val):,}"])
        rows.append(["# test", f"{len(data.test):,}"])
        print(tabulate(rows))


class DatasetWrapper(TorchDataset):
    """Items as tensors: decode, then each transform in turn.

    A sample is a dict of ``label``, ``domain``, ``impath``, ``index`` and ``img``. Several
    transforms give ``img``, ``img2`` ...; with ``K_TRANSFORMS`` > 1 each of these is a list
    (training only); with ``RETURN_IMG0`` there is ``img0``, the image without augmentation.

    Args:
        cfg: the config.
        data_source: the items.
        transform: one transform, several, or None (``img`` is then the PIL image as it was read).
        is_train: whether ``K_TRANSFORMS`` applies.
    """

    def __init__(
        self,
        cfg: CfgNode,
        data_source: Sequence[Datum],
        transform: Callable | Sequence[Callable] | None = None,
        is_train: bool = False,
    ) -> None:
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0

        if self.k_tfm > 1 and transform is None:
            raise UserError(
                f"Cannot augment the image {self.k_tfm} times because transform is None "
                "(DATALOADER.K_TRANSFORMS with INPUT.NO_TRANSFORM)"
            )

        mode = INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
        plain: list[Callable] = [T.Resize(cfg.INPUT.SIZE, interpolation=mode), T.ToTensor()]
        if "normalize" in cfg.INPUT.TRANSFORMS:
            plain.append(T.Normalize(mean=cfg.INPUT.PIXEL_MEAN, std=cfg.INPUT.PIXEL_STD))
        self.to_tensor = T.Compose(plain)

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes that start afresh read images as this process does."""
        return {**self.__dict__, "_windows": all_windows(), "_kept": images.for_workers()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore_windows(state.pop("_windows", {}))
        images.from_parent(state.pop("_kept", None))
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        item = self.data_source[idx]
        output = {
            "label": item.label,
            "domain": item.domain,
            "impath": item.impath,
            "index": idx,
        }
        image = BegunImage(item.impath)

        if self.transform is None:
            output["img"] = image.whole
        elif callable(self.transform):
            output["img"] = self._transform_image(*image.behind(self.transform))
        else:
            for i, tfm in enumerate(self.transform):
                key = "img" if i == 0 else f"img{i + 1}"
                output[key] = self._transform_image(*image.behind(tfm))

        if self.return_img0:
            to_tensor, img0 = image.behind(self.to_tensor)
            output["img0"] = to_tensor(img0)
        return output

    def _transform_image(self, tfm: Callable, img0: Any) -> Any:
        with _one_thread():
            views = [tfm(img0) for _ in range(self.k_tfm)]
        return views[0] if len(views) == 1 else views


@contextmanager
def _one_thread() -> Iterator[None]:
    """Transforms of one image on one thread, as in a loader's workers.

    Shared out, their many small steps wait for the slowest thread each time: on a busy machine of
    two cores an image then takes ten times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
