"""Loaders over stored features: upstream's batches, with ``img`` already encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from cerviclip.data.images.cache import as_it_is
from cerviclip.features.source import StoredTable, Table
from dassl.data.samplers import build_sampler

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from dassl.data.datasets import Datum

# Scoring a frozen method is one product per batch, so its batches may be large.
TEST_BATCH = 1024


class FeatureDataset(Dataset):
    """Items with the rows of their images; a batch is gathered at once.

    Args:
        items: the images, their labels and domains.
        open_table: gives the table of the images' paths; called at the first batch.
        k_views: above 1, ``img`` is a list of this many drawn views (``DATALOADER.K_TRANSFORMS``).
    """

    def __init__(
        self,
        items: Sequence[Datum],
        open_table: Callable[[Sequence[str]], Table | StoredTable],
        k_views: int = 1,
    ) -> None:
        self.data_source = items
        self.paths = [item.impath for item in items]
        self.labels = torch.tensor([item.label for item in items], dtype=torch.int64)
        self.domains = torch.tensor([item.domain for item in items], dtype=torch.int64)
        self.k_views = k_views
        self._open = open_table
        self._table: Table | StoredTable | None = None

    @property
    def table(self) -> Table | StoredTable:
        if self._table is None:
            self._table = self._open(self.paths)
        return self._table

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        batch = self.__getitems__([index])
        return {
            key: [v[0] for v in value] if isinstance(value, list) and key != "impath" else value[0]
            for key, value in batch.items()
        }

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        index = torch.tensor(indices)
        rows, view = self._rows(index)
        return {
            "label": self.labels[index],
            "domain": self.domains[index],
            "impath": [self.paths[i] for i in indices],
            "index": index,
            "img": rows,
            "view": view,  # which stored view each row is: (B,), or a list as ``img``
        }

    def _rows(self, index: torch.Tensor) -> tuple[Any, Any]:
        table = self.table
        if table.views == 1:  # nothing to draw, so the generators run as they would without views
            rows, view = table.gather(index), torch.zeros_like(index)
            return (
                (rows, view)
                if self.k_views == 1
                else ([rows] * self.k_views, [view] * self.k_views)
            )
        drawn = torch.randint(table.views, (self.k_views, len(index)))
        rows_of = [table.gather(index, view) for view in drawn]
        return (rows_of[0], drawn[0]) if self.k_views == 1 else (rows_of, list(drawn))


class FeatureLoader(DataLoader):
    """A ``DataLoader`` over a `FeatureDataset`; being one, it draws its order from torch's global
    generator exactly as a loader of images does.

    Args:
        cfg: the config.
        dataset: what to load.
        part: ``cfg.DATALOADER.TRAIN_X``, ``TRAIN_U`` or ``TEST``.
        is_train: shuffle as ``part`` says and drop a last partial batch unless it is the only one.
        batch_size: instead of ``part.BATCH_SIZE``.
    """

    def __init__(
        self,
        cfg: CfgNode,
        dataset: FeatureDataset,
        part: CfgNode,
        is_train: bool,
        batch_size: int | None = None,
    ) -> None:
        size = part.BATCH_SIZE if batch_size is None else batch_size
        sampler = build_sampler(
            part.SAMPLER,
            cfg=cfg,
            data_source=dataset.data_source,
            batch_size=size,
            n_domain=getattr(part, "N_DOMAIN", 0),
            n_ins=getattr(part, "N_INS", 1),
        )
        super().__init__(
            dataset,
            batch_size=size,
            sampler=sampler,
            drop_last=is_train and len(dataset) >= size,
            collate_fn=cast(Any, as_it_is),
        )
