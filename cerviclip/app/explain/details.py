"""``explain``: a heat map of one image for one class by a `Predictor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from cerviclip.app.explain.attention import (
    attention_methods,
    attribution,
    roi_attention,
    rollout,
)
from cerviclip.app.explain.cams import CAMS, cam, import_cam
from cerviclip.app.explain.faithfulness import RANDOM_MAPS, STEPS, Faithfulness, faithfulness
from cerviclip.app.explain.occlusion import occlusion
from cerviclip.app.explain.scorer import Scorer, check_classes
from cerviclip.app.explain.sites import NoSiteError, Site, find_site
from cerviclip.app.pictures import Picture, open_picture, path_of
from dassl.errors import UnknownNameError, UserError, did_you_mean

if TYPE_CHECKING:
    from cerviclip.app.predictor import Predictor

#: method -> what it is, in a few words
METHODS = {
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM: Grad-CAM place by place",
    "scorecam": "Score-CAM, without gradients",
    "occlusion": "occlusion: how much the answer falls without each place",
    "attribution": "transformer attribution: attention times its gradient",
    "eigencam": "Eigen-CAM, without gradients and the same for every class",
    "attention": "attention of SAVLT's pool over the tissue, the same for every class",
    "rollout": "attention rollout, the same for every class",
}
CLASS_BLIND = ("eigencam", "attention", "rollout")


@dataclass(frozen=True)
class Explanation:
    """A map and what belongs to it.

    Attributes:
        map: (H, W) float32 in 0-1, of the image's size; 0 where the model saw nothing of it.
        image: 8-bit RGB, as the model read it.
        method: a key of ``METHODS``.
        class_name: which class the map speaks for.
        probability: of that class.
        predicted: the most probable class.
        seen: (top, left, bottom, right) of what the model saw, in px of the image.
        faithfulness: None where it was not asked for.
        path: the image's file; empty for one in memory.
    """

    map: np.ndarray = field(repr=False)
    image: Image.Image = field(repr=False)
    method: str
    class_name: str
    probability: float
    predicted: str
    seen: tuple[int, int, int, int]
    faithfulness: Faithfulness | None = None
    path: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the image speaks for the class, by this method."""
        return not bool(self.map.any())


def methods_of(predictor: Predictor) -> list[str]:
    """The methods that this predictor's runs allow, the default one first.

    Raises:
        UserError: there is none; the line names what can be explained.
    """
    every = [_methods_of_trainer(member.trainer) for member in predictor.members]
    found = [method for method in every[0] if all(method in other for other in every[1:])]
    if not found:
        raise UserError("the runs of this ensemble have no method in common; explain one of them")
    return found


def explain(
    predictor: Predictor,
    image: Picture,
    class_name: str | None = None,
    method: str | None = None,
) -> np.ndarray:
    """A heat map (H, W), float32 in 0-1, of the image's size.

    Args:
        predictor: of one run, or of an ensemble, whose maps are averaged.
        image: a file, a PIL image or an array, as of `Predictor.predict`.
        class_name: None for the predicted class.
        method: of `methods_of`; None for the first of them.

    Raises:
        UserError: an unreadable image, an unknown class, or a method that the run does not allow.
    """
    return explain_details(predictor, image, class_name, method).map


def explain_details(
    predictor: Predictor,
    image: Picture,
    class_name: str | None = None,
    method: str | None = None,
    *,
    scores: bool = False,
    steps: int = STEPS,
    random_maps: int = RANDOM_MAPS,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """The same map with the class, its probability, and how faithful the map is.

    Args:
        predictor: as of `explain`, like the next three.
        image: see there.
        class_name: see there.
        method: see there.
        scores: whether to measure the faithfulness (some hundred more forward passes).
        steps: of the faithfulness.
        random_maps: of the faithfulness.
        progress: called with passes done and all passes of a part of the work.

    Raises:
        UserError: as `explain`.
    """
    method = _checked_method(predictor, method)
    check_classes(len(predictor.classnames))
    picture = open_picture(image, predictor.reading.windows)
    scorers = [Scorer(member.trainer, picture, path_of(image)) for member in predictor.members]
    probs = predictor.joining([one.probabilities(one.pixels).numpy() for one in scorers])[0]
    label = _label(predictor.classnames, class_name, probs)
    views = [_view_map(method, one, label, progress) for one in scorers]
    maps = [one.geometry.to_image(view) for one, (view, _) in zip(scorers, views, strict=True)]
    faith = None
    if scores:
        if len(scorers) > 1:
            raise UserError("faithfulness is measured for one run; this is an ensemble")
        view, grid = views[0]
        faith = faithfulness(
            *(scorers[0], view, label, grid, steps, random_maps), progress=progress
        )
    return Explanation(
        np.mean(maps, axis=0, dtype=np.float32).clip(0, 1),
        picture,
        method,
        predictor.classnames[label],
        float(probs[label]),
        predictor.classnames[int(probs.argmax())],
        scorers[0].geometry.seen_box(),
        faith,
        path_of(image),
    )


def _methods_of_trainer(trainer: Any) -> list[str]:
    """Methods of one run; found with a grey image, once for each loaded run."""
    known = getattr(trainer, "_explained_by", None)
    if known is None:
        # Of a ViT occlusion was the most faithful (docs/explain.md); of others it was not measured.
        cams, of_vit = _cams_of(trainer), attention_methods(trainer)
        known = ["occlusion", *of_vit, *cams] if of_vit else [*cams, "occlusion"]
        trainer._explained_by = known
    return list(known)


def _cams_of(trainer: Any) -> list[str]:
    """The class activation maps of a run; none where no layer has places."""
    try:
        find_site(Scorer(trainer, Image.new("RGB", (64, 64), (128, 128, 128))))
    except NoSiteError:
        return []
    return list(CAMS)


def _checked_method(predictor: Predictor, method: str | None) -> str:
    allowed = methods_of(predictor)
    method = allowed[0] if method is None else method
    if method not in METHODS:
        raise UnknownNameError(
            f"no method {method!r}{did_you_mean(method, METHODS)}; this run has "
            f"{', '.join(allowed)}"
        )
    if method not in allowed:
        raise UserError(
            f"{predictor.members[0].trainer.cfg.TRAINER.NAME} on this backbone has no {method}; "
            f"it has {', '.join(allowed)}"
        )
    if method in CAMS:
        import_cam()
    return method


def _label(classnames: tuple[str, ...], name: str | None, probs: np.ndarray) -> int:
    if name is None:
        return int(probs.argmax())
    if name not in classnames:
        raise UnknownNameError(
            f"no class {name!r}{did_you_mean(name, classnames)}; this run has "
            f"{', '.join(classnames)}"
        )
    return classnames.index(name)


def _view_map(
    method: str, scorer: Scorer, label: int, progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """The map (h, w) in 0-1 of the model's view, and the grid it was made of."""
    scorer.trainer.set_model_mode("eval")
    if method in CAMS:
        site: Site = find_site(scorer)
        return cam(method, scorer, site, label, progress), site.grid
    if method == "occlusion":
        weights = occlusion(scorer, label, progress)
    elif method == "attribution":
        weights = attribution(scorer, label)
    else:
        weights = roi_attention(scorer) if method == "attention" else rollout(scorer)
    return _enlarged(weights, scorer.size), (weights.shape[0], weights.shape[1])


def _enlarged(weights: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Patch weights of the view's size, scaled to 0-1."""
    large = torch.from_numpy(weights)[None, None].float()
    large = torch.nn.functional.interpolate(large, size=size, mode="bilinear")[0, 0]
    span = large.max() - large.min()
    return ((large - large.min()) / (span if span > 0 else 1)).numpy()
