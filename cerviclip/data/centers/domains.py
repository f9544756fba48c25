"""Centres as domains: one data set out of several, for domain generalisation and adaptation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cerviclip.data.centers.external import check_nothing_is_the_trainings
from cerviclip.data.imaging import ImagingDataset
from cerviclip.data.split.folds import Fold, parse_fold
from cerviclip.data.split.patient_grouped import hash_of
from cerviclip.data.split.repeated import hash_of_rows
from cerviclip.data.variants.names import is_variant
from dassl.data.datasets.base_dataset import DatasetBase, Datum
from dassl.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


class CentersAsDomains(DatasetBase):
    """Train on some centres (``SOURCE_DOMAINS``), test on others (``TARGET_DOMAINS``).

    Every centre is split by patient. ``train_x`` and ``val`` come from the sources; ``train_u``,
    used without labels by adaptation methods, is the train part of the targets and ``test`` the
    rest of them, so no patient is both adapted to and tested on. Without targets the test part of
    the sources is used, and ``train_u`` is what the few-shot draw left of their train part (the
    semi-supervised setting). Shots are drawn per class and centre.

    With ``DATASET.FOLD 2/3`` the second of three centres is left out: the others are the sources,
    all of its images are the test, and nothing of it is used before. ``DATASET.CENTERS`` names the
    centres that count.

    A subclass sets ``centers``, domain name to data-set class.
    """

    centers: Mapping[str, type[ImagingDataset]] = {}
    splits_into_folds = True  # by centre
    left_out = ""  # the centre that DATASET.FOLD leaves out

    def __init__(self, cfg: CfgNode) -> None:
        self.centers = self._chosen(cfg)
        self.domains = list(self.centers)
        targets = list(cfg.DATASET.TARGET_DOMAINS)
        fold = parse_fold(cfg.DATASET.FOLD)
        if fold is not None:
            self.left_out = self._center_of(fold)
            targets = [self.left_out]
        sources = sources_of(self.domains, cfg.DATASET.SOURCE_DOMAINS, self.left_out or None)
        if fold is not None:
            print(f"DATASET.FOLD {fold}: centre {self.left_out} is left out and tested on")
        self.check_input_domains(sources, targets)
        datasets = {name: self._dataset(cfg, name) for name in dict.fromkeys([*sources, *targets])}
        self._check_targets_are_others(datasets, sources)

        first = datasets[sources[0]]
        self._check_same_classes(datasets)
        train_x = join({name: datasets[name].train_x for name in sources})
        self._check_classes(train_x, first.classnames, sources)
        drawn = {item.impath for item in train_x}
        left: list[Datum] = []
        if not self.left_out:
            left = join({name: self._of(datasets[name], ["train"]) for name in targets or sources})
        of_target = ["train", "val", "test"] if self.left_out else ["val", "test"]
        whole = {
            name: self._of(datasets[name], ["test"] if name in sources else of_target)
            for name in targets or sources
        }
        tested = whole if cfg.DATASET.TEST_VARIANTS else without_variants(whole)
        self.datasets_of_centers = datasets
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

    def _chosen(self, cfg: CfgNode) -> dict[str, type[ImagingDataset]]:
        """The centres that ``DATASET.CENTERS`` names, all where it names none."""
        wanted = list(dict.fromkeys(cfg.DATASET.CENTERS)) or list(self.centers)
        for name in wanted:
            if name not in self.centers:
                raise UnknownNameError(
                    f'DATASET.CENTERS names "{name}", which is no centre of {type(self).__name__}; '
                    f"its centres: {', '.join(self.centers)}"
                )
        return {name: self.centers[name] for name in wanted}

    def _center_of(self, fold: Fold) -> str:
        """The centre that a fold leaves out.

        Raises:
            UserError: there are not as many folds as centres, or repetitions of them.
        """
        count = len(self.domains)
        if fold.folds != count or fold.repeat > 1 or count < 2:
            raise UserError(
                f"DATASET.FOLD is {fold}, and the folds of {type(self).__name__} are its {count} "
                f"centres ({', '.join(self.domains)}); take 1/{count} to {count}/{count}, or name "
                "centres in DATASET.CENTERS"
            )
        return self.domains[fold.number - 1]

    def _check_same_classes(self, datasets: Mapping[str, ImagingDataset]) -> None:
        """Refuse centres whose labels mean different classes."""
        classes = {name: list(data.classnames) for name, data in datasets.items()}
        first, *others = classes
        for name in others:
            if classes[name] != classes[first]:
                raise UserError(
                    f"centre {first} has the classes {', '.join(classes[first])}, centre {name} "
                    f"has {', '.join(classes[name])}; name common ones in DATASET.CLASSES and map "
                    "theirs by DATASET.CLASS_MAP or CLASS_MAP_FILE"
                )

    def _dataset(self, cfg: CfgNode, name: str) -> ImagingDataset:
        """One centre, split by patient even where on its own it is only tested on."""
        kind = self.centers[name]
        options = {"test_only": False, "may_lack_classes": True}
        trainable = type(kind.__name__, (kind,), options)
        other = cfg.clone()
        other.defrost()
        other.DATASET.FOLD = ""
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
        first = datasets[sources[0]].split_record
        return {
            **{key: value for key, value in first.items() if key != "test_hash"},
            "dataset": type(self).__name__,
            "sources": sources,
            "targets": [name for name in tested if name not in sources],
            **({"left_out": self.left_out} if self.left_out else {}),
            "hash": self.split_hash,
            "draw_hash": self.draw_hash,
            "rows_hash": hash_of_rows(rows),
            **rows,
        }


def sources_of(
    domains: Sequence[str], named: Sequence[str], left_out: str | None = None
) -> list[str]:
    """The domains that are trained on.

    Args:
        domains: all of the data set, in its order.
        named: SOURCE_DOMAINS; empty: the first domain.
        left_out: the centre that DATASET.FOLD leaves out, whatever SOURCE_DOMAINS says.
    """
    if left_out is not None:
        return [name for name in domains if name != left_out]
    return list(named) or list(domains[:1])


def join(centers: Mapping[str, list[Datum] | None]) -> list[Datum]:
    """One list of several centres; an item's domain is its centre's place, as upstream counts."""
    return [
        Datum(item.impath, item.label, domain, item.classname, item.patient_id)
        for domain, items in enumerate(centers.values())
        for item in items or ()
    ]


def without_variants(data: Mapping[str, Sequence[Datum]]) -> dict[str, list[Datum]]:
    """Centres that are tested on, a training part of theirs included, without variants in it."""
    return {
        name: [item for item in items if not is_variant(item.impath)]
        for name, items in data.items()
    }
