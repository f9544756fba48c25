"""Features of several backbones joined, under a linear probe.

The "feature combination" that the published cytology system announces and does not have: unit
features of each backbone side by side, each backbone with its own preprocessing and stored rows,
and a logistic regression on them (`LinearProbe`, whose C is chosen on val). CHOOSE says which of
the backbones count: ``all``, or ``val`` for the subset whose log-loss on val is least, over all
subsets and all C. WEIGHTS multiply each backbone's standardised features before the fit, so that
the penalty falls less on those of more weight. With one backbone it is LinearProbe to the digit.
Run: python train.py --trainer FeatureCombination --backbone PhantomCLIP \\
    --dataset-config-file configs/datasets/phantom_oct.yaml \\
    TRAINER.FEATURECOMBINATION.BACKBONES "['torchvision:squeezenet1_0=squeezenet.safetensors']"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor
from yacs.config import CfgNode as CN

from cerviclip.engine.families.joined_features import JoinedFeatures, named_backbone
from cerviclip.trainers.linear_probe import LinearProbe
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError

MOST = 6  # backbones; their subsets are tried one by one


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method; the penalty's are LinearProbe's."""
    cfg.TRAINER.FEATURECOMBINATION = CN()
    cfg.TRAINER.FEATURECOMBINATION.PREC = "fp32"
    # Joined to MODEL.BACKBONE: names, with "=FILE" where the weights are a local file.
    cfg.TRAINER.FEATURECOMBINATION.BACKBONES = ()
    cfg.TRAINER.FEATURECOMBINATION.WEIGHTS = ()  # one for each, MODEL.BACKBONE first; (): all 1
    cfg.TRAINER.FEATURECOMBINATION.CHOOSE = "all"  # or val


def subsets(count: int, choose: str) -> list[tuple[int, ...]]:
    """Which backbones are tried together: all, or every subset, the largest first."""
    every = tuple(range(count))
    if choose == "all":
        return [every]
    return [s for size in range(count, 0, -1) for s in combinations(every, size)]


def scales(dims: Sequence[int], weights: Sequence[float], chosen: Sequence[int]) -> Tensor:
    """(D,) factor on each standardised feature: its backbone's weight, 0 where it is left out."""
    factors = [w if i in chosen else 0.0 for i, w in enumerate(weights)]
    return torch.cat([torch.full((d,), float(f)) for d, f in zip(dims, factors, strict=True)])


@TRAINER_REGISTRY.register()
class FeatureCombination(LinearProbe, JoinedFeatures):
    """Feature combination: a linear probe on the joined features of several backbones."""

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        own = cfg.TRAINER.FEATURECOMBINATION
        count = 1 + len(own.BACKBONES)
        for text in own.BACKBONES:
            named_backbone(text)
        if count > MOST:
            raise UserError(f"TRAINER.FEATURECOMBINATION joins {count} backbones; at most {MOST}")
        if own.CHOOSE not in ("all", "val"):
            raise UserError(
                f"TRAINER.FEATURECOMBINATION.CHOOSE is {own.CHOOSE!r}; take all, or val"
            )
        if own.WEIGHTS and (len(own.WEIGHTS) != count or min(own.WEIGHTS) <= 0):
            raise UserError(
                f"TRAINER.FEATURECOMBINATION.WEIGHTS are {tuple(own.WEIGHTS)}; give {count} "
                "numbers above 0, MODEL.BACKBONE's first"
            )

    def further_backbones(self) -> Sequence[str]:
        return self.cfg.TRAINER.FEATURECOMBINATION.BACKBONES

    def candidates(self, grid: Sequence[float]) -> Iterator[tuple[dict[str, float], Tensor | None]]:
        own = self.cfg.TRAINER.FEATURECOMBINATION
        weights = list(own.WEIGHTS) or [1.0] * len(self.parts)
        if len(self.parts) == 1 and not own.WEIGHTS:
            yield from super().candidates(grid)
            return
        choose = own.CHOOSE if len(grid) > 1 else "all"  # without val nothing can be chosen
        names = [part.backbone.name for part in self.parts]
        for chosen in subsets(len(names), choose):
            scale = scales(self.dims, weights, chosen)
            taken = {n: float(i in chosen) for i, n in enumerate(names)} if choose == "val" else {}
            yield taken, scale
