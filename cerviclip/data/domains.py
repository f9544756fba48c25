"""Centres as domains: one data set out of several, for domain generalisation and adaptation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cerviclip.data.external import check_nothing_is_the_trainings
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.splits import hash_of
from dassl.data.datasets.base_dataset import DatasetBase, Datum
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


class CentersAsDomains(DatasetBase):
    """Train on some centres (``SOURCE_DOMAINS``), test on others (``TARGET_DOMAINS``).

    Every centre is split by patient. ``train_x`` and ``val`` come from the sources; ``train_u``,
    used without labels by adaptation methods, is the train part of the targets and ``test`` the
    rest of them, so no patient is both adapted to and tested on. Without targets the test part of
    the sources is used, and ``train_u`` is what the few-shot draw left of their train part (the
    semi-supervised setting). Shots are drawn per class and centre.

    A subclass sets ``centers``, domain name to data-set class.
    """

    centers: Mapping[str, type[ImagingDataset]] = {}

    def __init__(self, cfg: CfgNode) -> None:
        self.domains = list(self.centers)
        sources = list(cfg.DATASET.SOURCE_DOMAINS) or self.domains[:1]
        targets = list(cfg.DATASET.TARGET_DOMAINS)
        self.check_input_domains(sources, targets)
        datasets = {name: self._dataset(cfg, name) for name in dict.fromkeys([*sources, *targets])}
        self._check_targets_are_others(datasets, sources)

        first = datasets[sources[0]]
        train_x = join({name: datasets[name].train_x for name in sources})
        self._check_classes(train_x, first.classnames, sources)
        drawn = {item.impath for item in train_x}
        left = join({name: self._of(datasets[name], ["train"]) for name in targets or sources})
        tested = {
            name: self._of(datasets[name], ["test"] if name in sources else ["val", "test"])
            for name in targets or sources
        }
        super().__init__(
            train_x=train_x,
            train_u=[item for item in left if item.impath not in drawn] or None,
            val=join({name: datasets[name].val for name in sources}),
            test=join(tested),
        )
        self._classnames = first.classnames
        self._lab2cname = first.lab2cname
        self._num_classes = first.num_classes

        self.root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT or "."))
        self.templates = first.templates
        self.positive_classes = first.positive_classes
        self.descriptions = first.descriptions
        used = [["source", *sources], ["target", *targets]]
        self.split_hash = hash_of([used, [dataset.split_hash for dataset in datasets.values()]])
        self.draw_hash = hash_of([used, [dataset.draw_hash for dataset in datasets.values()]])
        self.split_record = self._record(datasets, sources, tested)

    def _dataset(self, cfg: CfgNode, name: str) -> ImagingDataset:
        """One centre, split by patient even where on its own it is only tested on."""
        kind = self.centers[name]
        options = {"test_only": False, "may_lack_classes": True}
        trainable = type(kind.__name__, (kind,), options)
        other = cfg.clone()
        other.defrost()
        other.DATASET.FOLDER = cfg.DATASET.EXTERNAL_FOLDERS.get(name, "")
        return trainable(other)

    def _check_targets_are_others(
        self, datasets: Mapping[str, ImagingDataset], sources: list[str]
    ) -> None:
        """Refuse a target domain with an image of a source domain, on which it would be tested."""
        targets = {
            name: dataset.to_data([item for items in dataset.full_split.values() for item in items])
            for name, dataset in datasets.items()
            if name not in sources
        }
        for name in sources if targets else ():
            check_nothing_is_the_trainings(targets, datasets[name], name)

    @staticmethod
    def _of(dataset: ImagingDataset, parts: list[str]) -> list[Datum]:
        """Whole parts of a centre's split, before the few-shot draw."""
        items = sorted((i for s in parts for i in dataset.full_split[s]), key=lambda i: i.path)
        return dataset.to_data(items)

    def _check_classes(self, items: list[Datum], names: list[str], sources: list[str]) -> None:
        missing = sorted(set(names) - {item.classname for item in items})
        if missing and items:
            raise UserError(
                f"the source domains {', '.join(sources)} have no images of {', '.join(missing)}; "
                "add a domain to DATASET.SOURCE_DOMAINS, or name fewer classes in DATASET.CLASSES"
            )

    def _record(
        self,
        datasets: Mapping[str, ImagingDataset],
        sources: list[str],
        tested: Mapping[str, list[Datum]],
    ) -> dict[str, Any]:
        rows: dict[str, list[dict[str, Any]]] = {
            part: [
                {**r, "domain": name} for name in sources for r in datasets[name].split_record[part]
            ]
            for part in ("train", "val")
        }
        rows["test"] = [
            {
                "path": os.path.relpath(item.impath, self.root).replace(os.sep, "/"),
                "label": item.label,
                "patient": item.patient_id,
                "domain": name,
            }
            for name, items in tested.items()
            for item in items
        ]
        return {
            **datasets[sources[0]].split_record,
            "dataset": type(self).__name__,
            "sources": sources,
            "targets": [name for name in tested if name not in sources],
            "hash": self.split_hash,
            "draw_hash": self.draw_hash,
            **rows,
        }


def join(centers: Mapping[str, list[Datum] | None]) -> list[Datum]:
    """One list of several centres; an item's domain is its centre's place, as upstream counts."""
    return [
        Datum(item.impath, item.label, domain, item.classname, item.patient_id)
        for domain, items in enumerate(centers.values())
        for item in items or ()
    ]
