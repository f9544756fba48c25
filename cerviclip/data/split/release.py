"""A data set that comes with its own train, val and test parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cerviclip.data.split.files import check_parts
from cerviclip.data.split.patient_grouped import PARTS, Item, Split

if TYPE_CHECKING:
    from yacs.config import CfgNode


class ReleasedSplit:
    """Mixin before ``ImagingDataset``: the release's parts are the split.

    The subclass fills ``parts`` (path: train, val or test) in its ``scan``. Where it stays empty
    the data set is split by ratio as any other, and ``DATASET.SPLIT_FILE`` comes before both. A
    centre that is external to another training is tested on its test part.
    """

    name: str
    parts: dict[str, str]
    split_source: str
    check_split_by: Any

    def make_split(self, cfg: CfgNode, items: list[Item]) -> Split:
        """The release's parts; no patient may be in two of them."""
        if not self.parts or cfg.DATASET.SPLIT_FILE:
            return super().make_split(cfg, items)  # type: ignore[misc]
        self.check_split_by(cfg.DATASET.SPLIT_BY)
        self.split_source = "release"
        split: Split = {part: [] for part in PARTS}
        for item in items:
            split[self.parts[item.path]].append(item)
        if cfg.DATASET.SPLIT_BY == "patient":
            check_parts(split, f"the split of the release of {self.name}")
        return split
