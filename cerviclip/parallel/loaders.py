"""Loaders of which each process takes its part, in the order of one process.

A training loader whose images are augmented by the global generators, as upstream's are, gives each
process the whole batch, of which it keeps its rows: an augmentation depends on all that was drawn
before it. Where nothing is drawn, or each image is drawn for by itself (``DATALOADER.DRAW_BY``
image), a process loads its own images alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cerviclip.data.images.cache import PlainPixels
from cerviclip.data.images.views import seeded
from dassl.errors import UserError
from dassl.utils.batch_share import Share, step_of
from dassl.utils.distributed import own_share, world_size
from dassl.utils.rng import stable_seed

if TYPE_CHECKING:
    from yacs.config import CfgNode

DRAW_BY = ("batch", "image")


def check_draw_by(cfg: CfgNode) -> None:
    """Refuse another word than ``batch`` and ``image``.

    Raises:
        UserError: with the words that there are.
    """
    if cfg.DATALOADER.DRAW_BY not in DRAW_BY:
        raise UserError(
            f"DATALOADER.DRAW_BY is {cfg.DATALOADER.DRAW_BY!r}; take one of {', '.join(DRAW_BY)}"
        )


def training_batches(trainer: Any, loader: Any) -> Iterable[Any]:
    """The batches of an epoch, of several processes this one's part of each.

    While a part is in use the step that works on it is on (``dassl.utils.batch_share``), and
    ``trainer.gradient_share`` is that of the part.
    """
    by_image = trainer.cfg.DATALOADER.DRAW_BY == "image" and drawn_for_each(loader)
    if world_size() == 1:
        return OwnParts(loader, by_image) if by_image else loader
    return _parts_of(trainer, loader, by_image)


def _parts_of(trainer: Any, loader: Any, by_image: bool) -> Iterator[Any]:
    if loads_whole_batches(loader, by_image):
        parts = _cut(loader)
    else:
        parts = OwnParts(loader, by_image).with_shares()
    for batch, share in parts:
        trainer.gradient_share = share.weight
        with step_of(share):
            yield batch


def loads_whole_batches(loader: Any, by_image: bool) -> bool:
    """Whether each process loads all images of a batch and keeps its own."""
    if not isinstance(loader, DataLoader) or hasattr(loader.dataset, "__getitems__"):
        return True  # stored features are in memory, and quickly cut
    return drawn_for_each(loader) and not by_image


def _cut(loader: Iterable[Any]) -> Iterator[tuple[Any, Share]]:
    for batch in loader:
        share = Share.of(len(batch["label"]))
        yield {key: _rows(value, share.rows) for key, value in batch.items()}, share


def _rows(value: Any, rows: range) -> Any:
    """Of a tensor, of a list with an entry for each image, or of a list of tensors (views)."""
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
        return [_rows(tensor, rows) for tensor in value]
    return value[rows.start : rows.stop]


def drawn_for_each(loader: Any) -> bool:
    """Whether loading an image may draw from the global generators."""
    dataset = getattr(loader, "dataset", None)
    if dataset is None or hasattr(dataset, "__getitems__"):  # stored features, plain pixels
        return False
    return not PlainPixels.possible(getattr(dataset, "transform", None))


class _DrawnByImage(Dataset):
    """A data set whose items are asked for with a seed: (seed, number)."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, seed_and_number: tuple[int, int]) -> Any:
        seed, number = seed_and_number
        with seeded(seed):
            return self.dataset[number]


class OwnParts:
    """The batches of a loader, of which only this process's images are loaded.

    Args:
        loader: what it draws for its order is drawn in the same way.
        by_image: draw for each image by a seed of the epoch and its place in it.
    """

    def __init__(self, loader: DataLoader, by_image: bool) -> None:
        self.source, self.by_image = loader, by_image
        self._shares: deque[Share] = deque()  # of the batches that are on their way
        dataset = _DrawnByImage(loader.dataset) if by_image else loader.dataset
        self.loader = _like(loader, dataset, self)

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Any]:
        return (batch for batch, _ in self.with_shares())

    def with_shares(self) -> Iterator[tuple[Any, Share]]:
        """Each batch's part, and which part it is."""
        self._shares.clear()
        for batch in self.loader:
            yield batch, self._shares.popleft()

    def numbers(self) -> Iterator[list[Any]]:
        """What the loader's sampler of batches gives."""
        base, place = 0, 0
        for batch in self.source.batch_sampler:
            if self.by_image and place == 0:
                base = int(torch.empty((), dtype=torch.int64).random_().item())
            share = Share.of(len(batch))
            own = [batch[row] for row in share.rows]
            if self.by_image:
                seeds = (stable_seed("image", base, place + row) for row in share.rows)
                own = list(zip(seeds, own, strict=True))
            place += len(batch)
            self._shares.append(share)
            yield own


class _Numbers:
    """A sampler of batches: ``DataLoader`` asks for its iterator at each epoch."""

    def __init__(self, parts: OwnParts) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[list[Any]]:
        return self.parts.numbers()


def _like(loader: DataLoader, dataset: Any, batches: Any) -> DataLoader:
    """A loader with another data set or other batches."""
    sampler = _Numbers(batches) if isinstance(batches, OwnParts) else batches
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
    )


def own_batches(loader: Any) -> Iterable[Any]:
    """This process's batches of a test, whole ones: an image's scores then do not depend on the
    number of processes. All batches in the order of the processes are those of the loader.

    The table of stored features, whose making the processes share, is opened by all of them, those
    without a batch included.
    """
    if world_size() == 1:
        return loader
    if hasattr(loader.dataset, "table"):
        _ = loader.dataset.table
    batches: Sequence[list[int]] = list(loader.batch_sampler)  # type: ignore[arg-type]
    return _like(loader, loader.dataset, [batches[n] for n in own_share(len(batches))])
