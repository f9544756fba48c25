"""How ``ImagingDataset`` makes the parts of its split, draws the shots, and writes both down."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cerviclip.counted import counted
from cerviclip.data.split.draws import BALANCED, check_scenario, draw, missing_classes
from cerviclip.data.split.files import place_entries, read_split_file
from cerviclip.data.split.folds import Fold, classes_short_of_patients, parse_fold
from cerviclip.data.split.patient_grouped import (
    PARTS,
    Item,
    Split,
    check_ratio,
    in_order,
    patients_on_two_parts,
)
from cerviclip.data.split.repeated import (
    hash_of_test_part,
    repeat_split,
)
from cerviclip.data.split.subsample import BASE_TO_NEW
from cerviclip.data.variants.names import heads, is_variant, with_variants
from dassl.errors import UserError
from dassl.paths import at_home, is_file

if TYPE_CHECKING:
    from yacs.config import CfgNode


class SplitsAndDraws:
    """Mixin of ``ImagingDataset``: splits that are found or repeated, draws, and their record."""

    name: str
    root: str
    version: str
    image_dir: Path
    test_only: bool
    patients_known: bool
    split_ratio: Sequence[float] | None
    split_source: str
    split_hash: str
    draw_hash: str
    fold: Fold | None
    notes: list[str]
    warn: Any

    def _ratio(self, cfg: CfgNode) -> Sequence[float]:
        from dassl.config.defaults import DATASET as DEFAULTS

        own = self.split_ratio
        given = tuple(cfg.DATASET.SPLIT_RATIO)
        if own is not None and given == DEFAULTS["SPLIT_RATIO"]:
            return own
        ratio = check_ratio(given)
        total = sum(given)
        if min(abs(total - 1), abs(total - 100)) > 1e-6:
            shares = ", ".join(f"{100 * share / total:.0f} %" for share in given)
            note = f"DATASET.SPLIT_RATIO {given} adds up to {total:g}; it is taken as {shares}"
            self.notes += [note] if note not in self.notes else []
        return ratio

    def _warn_of_few_patients(self, items: Sequence[Item], fold: Fold, by: str) -> None:
        short = classes_short_of_patients(items, fold.folds, by)
        if short:
            counts = ", ".join(f"{name} has {n}" for name, n in short.items())
            self.warn(
                f"{self.name}: fewer {by}s than folds in some classes ({counts}; {fold.folds} "
                "folds): some folds test none of them"
            )

    def _check_fold_was_made(self, cfg: CfgNode) -> None:
        """Refuse a fold that the split has not heeded: another split would go by its name."""
        fold = parse_fold(cfg.DATASET.FOLD)
        if fold is None or self.fold == fold:
            return
        if self.test_only:
            why = "is tested on only"
        elif self.split_source:
            why = f"takes its split as it is given ({self.split_source})"
        else:
            why = "makes its split in a way of its own"
        raise UserError(
            f"DATASET.FOLD is {fold}, but {self.name} {why}, not into folds; leave DATASET.FOLD "
            "out, or let it split by patient"
        )

    def _without_tested_variants(self, cfg: CfgNode, split: Split) -> Split:
        """A split whose val and test hold no variants, unless ``DATASET.TEST_VARIANTS`` asks."""
        if cfg.DATASET.TEST_VARIANTS:
            variants = sum(is_variant(item.path) for item in split["test"])
            if variants:
                self.warn(
                    f"{self.name}: {variants} of {len(split['test'])} test images are variants "
                    "made by augmentation (DATASET.TEST_VARIANTS): scores are not of real images "
                    "alone"
                )
            return split
        kept = dict(split)
        for part in ("val", "test"):
            out = [item.path for item in split[part] if is_variant(item.path)]
            if out:
                kept[part] = [item for item in split[part] if not is_variant(item.path)]
                self.notes.append(
                    f"{counted(len(out), 'variant', 'are')} left out of {part} (such as {out[0]}); "
                    "DATASET.TEST_VARIANTS True keeps them"
                )
        return kept

    def _split_from_file(self, cfg: CfgNode, items: Sequence[Item]) -> Split:
        path = at_home(cfg.DATASET.SPLIT_FILE)
        in_root = Path(self.root) / path
        path = path if is_file(path) or not is_file(in_root) else in_root
        entries = read_split_file(path)
        self.patients_known |= all(entry.patient for entry in entries)
        notes = list(entries.notes)
        split = place_entries(
            entries,
            items,
            str(path),
            self.root,
            self.image_dir,
            cfg.DATASET.SPLIT_BY,
            rest_is_test=entries.few_shot,
            notes=notes,
        )
        self.notes += [f"split file {path.name}: {note}" for note in notes]
        self._warn_of_other_names(split, items, path)
        return split

    def _warn_of_other_names(self, split: Split, items: Sequence[Item], path: Path) -> None:
        """Say where a file gives images to several patients that by their names are of one, who is
        then in two parts. What the file says counts."""
        by_name = {item.path: item for item in items}
        named = {part: [by_name[i.path] for i in own] for part, own in split.items()}
        crossing = patients_on_two_parts(named).keys() - patients_on_two_parts(split).keys()
        if crossing:
            self.warn(
                f"{path} puts images in two parts that by their files' names are of one patient "
                f"({len(crossing)} such, {min(crossing)} for one): by the file they are of others; "
                "if it is wrong, the results are too good"
            )

    def _repeat(self, cfg: CfgNode, items: list[Item], record: dict[str, Any]) -> Split:
        """The split of ``DATASET.DRAW_FILE``."""
        options, path = cfg.DATASET, at_home(cfg.DATASET.DRAW_FILE)
        if record["dataset"] != self.name or options.SPLIT_FILE:
            what = "DATASET.SPLIT_FILE as well" if options.SPLIT_FILE else f"of {self.name}"
            raise UserError(
                f"DATASET.DRAW_FILE {path} is a split of {record['dataset']}, and the run is "
                f"{what}; leave one of them out"
            )
        if options.SUBSAMPLE_CLASSES == BASE_TO_NEW:
            raise UserError(
                f"DATASET.DRAW_FILE {path} holds no test images of new classes; leave "
                "DATASET.SUBSAMPLE_CLASSES out, or let the split be made"
            )
        self.split_source = "file"
        self.fold = parse_fold(record.get("fold", ""))
        split = repeat_split(path, record, items, self.root, self.image_dir)
        self._warn_of_other_names(split, items, path)
        return split

    def _draw(self, cfg: CfgNode, split: Split) -> Split:
        """Draw the shots: ``NUM_SHOTS`` of train, at most ``NUM_SHOTS_VAL`` of val, per class."""
        shots, by = cfg.DATASET.NUM_SHOTS, cfg.DATASET.SHOTS_BY
        if by not in ("class", "patient"):
            raise UserError(f'DATASET.SHOTS_BY is "{by}"; it takes class or patient')
        kind = check_scenario(cfg.DATASET.SHOTS_SCENARIO)
        if self.test_only or shots < 0:
            return {part: in_order(split[part]) for part in PARTS}
        key = (self.name, self.split_hash, cfg.SEED, by, kind)
        # An image is a shot; its variants come along with it.
        train, short = draw(heads(split["train"]), shots, *key)
        if short:
            counts = ", ".join(f"{name} has {count}" for name, count in sorted(short.items()))
            self.warn(
                f"{self.name}: {shots} shots asked, but of the training images {counts}; "
                "all of them are taken"
            )
        absent = missing_classes(split["train"], train) if shots else []
        if absent:
            self.warn(
                f"{self.name}: the draw has no image of {', '.join(absent)} "
                f"(DATASET.SHOTS_SCENARIO {kind}); they are tested all the same"
            )
        train = with_variants(train, split["train"])
        val, _ = draw(heads(split["val"]), cfg.DATASET.NUM_SHOTS_VAL, *key)
        val = with_variants(val, split["val"])
        return {"train": train, "val": val, "test": in_order(split["test"])}

    def _record(self, cfg: CfgNode, drawn: Split, names: Sequence[str]) -> dict[str, Any]:
        """What ``split.json`` holds: all that repeats split and draw, with no absolute path."""
        options = cfg.DATASET
        made = bool(self.split_source)
        return {
            "dataset": self.name,
            "by": self.split_source or options.SPLIT_BY,
            "ratio": None if made or self.test_only else list(self._ratio(cfg)),
            "seed": options.SPLIT_SEED,
            **({"fold": str(self.fold)} if self.fold else {}),
            "version": self.version,
            "shots": options.NUM_SHOTS,
            **({"shots_by": options.SHOTS_BY} if options.SHOTS_BY != "class" else {}),
            **({} if options.SHOTS_SCENARIO == BALANCED else {"scenario": options.SHOTS_SCENARIO}),
            "draw_seed": cfg.SEED,
            "hash": self.split_hash,
            "draw_hash": self.draw_hash,
            "test_hash": hash_of_test_part(drawn),
            "classes": list(names),
            **{part: self.record_rows(drawn[part]) for part in PARTS},
        }

    def record_rows(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Images as a split's record has them: paths relative to the root."""
        prefix = os.path.relpath(self.image_dir, self.root).replace(os.sep, "/")
        prefix = "" if prefix == "." else f"{prefix}/"
        known = self.patients_known
        return [
            {"path": prefix + i.path, "label": i.label, "patient": i.patient if known else ""}
            for i in items
        ]
