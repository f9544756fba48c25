"""Which method works on which backbone, as far as names tell it: refused before anything runs."""

from __future__ import annotations

from typing import Any

from cerviclip.backbones.names import (
    EMBEDDINGS,
    FEATURES,
    OPENAI_FILES,
    PHANTOM,
    VISION_TOWERS,
    known_towers,
    no_text_encoder,
)
from dassl.errors import UserError

_EXAMPLES = (*OPENAI_FILES, PHANTOM)


def check_pair(name: str, trainer_class: Any, backbone: str) -> None:
    """Refuse a method on a backbone that it cannot work on.

    Where the backbone's name does not tell its towers, the trainer refuses them when they are
    loaded, which is before the data are read.

    Args:
        name: the trainer's.
        trainer_class: its ``needs_text`` and ``vision_towers`` are read where it has them.
        backbone: MODEL.BACKBONE.NAME.

    Raises:
        UserError: the pair cannot work; the message names backbones that do.
    """
    towers = known_towers(backbone)
    if towers is None or not hasattr(trainer_class, "vision_towers"):
        return
    kind, has_text = towers
    wanted = trainer_class.vision_towers
    fitting = ", ".join(b for b in _EXAMPLES if (known_towers(b) or ("", 0))[0] in wanted)
    if trainer_class.needs_text and not has_text:
        raise UserError(no_text_encoder(name, backbone, fitting))
    if kind not in wanted:
        raise UserError(
            f"{name} does not work on {backbone}, whose vision tower is {_WORDS[kind]}: it needs "
            f"{' or '.join(_WORDS[k] for k in VISION_TOWERS if k in wanted)}, such as {fitting} "
            "(--backbone)"
        )


def check_given_features(name: str, trainer_class: Any, backbone: str, views: int) -> None:
    """Refuse what a file of features cannot give: pixels, tokens, augmented views.

    Args:
        name: the trainer's.
        trainer_class: its ``image_input`` is read.
        backbone: MODEL.BACKBONE.NAME.
        views: INPUT.FEATURE_VIEWS.

    Raises:
        UserError: the trainer or the number of views needs more than one feature of each image.
    """
    if not backbone.startswith(EMBEDDINGS):
        return
    if getattr(trainer_class, "image_input", "images") != "features":
        raise UserError(
            f"{name} works on images and not on their features alone, so {backbone} cannot serve "
            "it; choose a method on stored features without texts, such as LinearProbe or ProtoNet"
        )
    if views != 1:
        raise UserError(
            f"INPUT.FEATURE_VIEWS is {views}, and {backbone} holds one feature of each image, "
            "without augmentation; set INPUT.FEATURE_VIEWS 1"
        )


_WORDS = {"vit": "a transformer", "resnet": "CLIP's ResNet", FEATURES: "no tower of CLIP"}
