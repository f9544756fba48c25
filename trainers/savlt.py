"""SAVLT: structure-aware vision-language tuning for multi-centre cervical OCT.

LoRA on the vision tower, a tissue ROI, attention pooling over the patches in it, and alignment with
class texts and with visual prototypes. Differs from the published code where that is flawed:
deterministic test transform with the backbone's own mean and std, splits by patient, shots that
follow the seed, an ROI that falls back to the whole image, binary AUC from probabilities, texts
encoded once. Four choices are our own and reference.yaml takes them back: the class token beside
the ROI pool, prototypes that start from class means, consistency between two styles, and a head
that learns first, on stored views of the frozen tower.
Run: python train.py --trainer SAVLT --dataset-config-file configs/datasets/phantom_oct.yaml
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from yacs.config import CfgNode as CN

from cerviclip.data.roi.finder import PatchRois, RoiFinder, roi_dataset
from cerviclip.data.roi.mask_head import MaskHead, mask_loss
from cerviclip.data.roi.sources import SOURCES
from cerviclip.engine.head_first import head_optim_cfg, random_batches, train_head
from cerviclip.engine.iterations import ByIterations, count_as_shots, iterations_per_shot
from cerviclip.engine.supervised import SupervisedStep
from cerviclip.engine.vlm_trainer import VLMTrainer
from cerviclip.vlm.heads.class_features import ClassPrompts, KeptWhileUnchanged
from cerviclip.vlm.heads.roi_pool import RoiAttentionPool
from cerviclip.vlm.learned.adapted import AdaptedTower
from cerviclip.vlm.learned.lora import apply_lora, lora_parameters
from cerviclip.vlm.prompts import PromptLearner
from dassl.data.transforms import build_styled_transform
from dassl.data.transforms.style import RandomStyle, StyleStrength
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import UserError
from dassl.utils.distributed import main_first

# Transforms that move pixels by draws that are not replayed on the ROI.
UNFOLLOWED = {
    *("random_translation", "imagenet_policy", "cifar10_policy", "svhn_policy"),
    *("randaugment", "randaugment2", "randaugment_fixmatch"),
}


def extend_cfg(cfg: CN) -> None:
    """Add the defaults of this method; "original" names what the published code uses."""
    cfg.TRAINER.SAVLT = section = CN()
    section.PREC = "fp32"
    section.ITERS_PER_SHOT = 10  # iterations are this times the shots
    section.PROMPTS = ""  # prompt set where DATASET.PROMPT_SET is empty; "" takes the templates
    section.ALPHA = 0.5  # weight of the prototypes against the texts, in loss and logits
    section.PROTOTYPES = (
        "class_means"  # how they start: class_means, text, or orthogonal (original)
    )

    section.HEAD = CN()  # pool and prototypes alone on the frozen tower, before all learns
    section.HEAD.ITERS_PER_SHOT = 250  # steps are this times the shots; 0 is original
    section.HEAD.LR = 1e-3
    section.HEAD.VIEWS = 12  # stored views of each image; 1 is the plain image

    section.LORA = CN()
    section.LORA.BLOCKS = -1  # last blocks of the vision tower; -1 is all, 0 is no LoRA
    section.LORA.TARGETS = ("q", "k", "v", "o")  # any of q, k, v, o, mlp
    section.LORA.R = 8
    section.LORA.ALPHA = 4.0
    section.LORA.DROPOUT = 0.25

    section.TEXT_LORA = CN()
    section.TEXT_LORA.BLOCKS = 0  # as LORA.BLOCKS; 0 leaves the text tower frozen
    section.TEXT_LORA.TARGETS = ("q", "k", "v", "o")
    section.TEXT_LORA.R = 2
    section.TEXT_LORA.ALPHA = 16.0
    section.TEXT_LORA.DROPOUT = 0.25

    section.CONTEXT = CN()
    section.CONTEXT.N_CTX = 0  # learned context tokens before each prompt; 0 is none
    section.CONTEXT.CTX_INIT = ""

    section.ROI = CN()
    section.ROI.SOURCE = "surface"  # surface, masks, segmenter, full, or none (class token only)
    section.ROI.KIND = "box"  # box (original) or mask
    section.ROI.CHECKPOINT = ""  # of the segmenter
    section.ROI.MASKS = "masks"  # folder of the mask files
    section.ROI.HEADS = 4
    section.ROI.QUERIES = 1
    section.ROI.CLASS_TOKEN = (
        True  # the pool corrects the class token; False is the pool alone (original)
    )

    # Weight of a second task, the tissue of each patch (ROI.KIND mask): 0 leaves it out.
    section.MASK_WEIGHT = 0.0

    section.CONSISTENCY = CN()
    section.CONSISTENCY.WEIGHT = 1.0  # of the loss between two styles of an image; 0 is original
    section.CONSISTENCY.GAIN = 0.3  # half-widths, see dassl.data.transforms.style
    section.CONSISTENCY.GAMMA = 0.3
    section.CONSISTENCY.SPECKLE = 0.2
    section.CONSISTENCY.ATTENUATION = 0.5


def consistency_loss(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats between two class distributions (B, C), mean over B."""
    log_a, log_b = F.log_softmax(logits_a, dim=-1), F.log_softmax(logits_b, dim=-1)
    log_mean = torch.logaddexp(log_a, log_b) - math.log(2)
    both = [F.kl_div(log_mean, p, reduction="batchmean", log_target=True) for p in (log_a, log_b)]
    return sum(both) / 2


class SAVLTHead(nn.Module):
    """ROI pool and prototypes: all that learns besides LoRA.

    Args:
        dim: D of the joint space.
        num_classes: C.
        alpha: weight of the prototype logits.
        pool: the ROI pool; None for the class token alone.
        class_token: the pool is added to the class token, instead of taking its place.
        mask: a head beside it tells which patches are tissue.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        alpha: float,
        pool: RoiAttentionPool | None = None,
        class_token: bool = True,
        mask: MaskHead | None = None,
    ) -> None:
        super().__init__()
        self.mask = mask
        self.alpha, self.pool, self.class_token = alpha, pool, class_token
        self.prototypes = nn.Parameter(torch.empty(num_classes, dim)) if alpha > 0 else None
        if self.prototypes is not None:
            nn.init.orthogonal_(self.prototypes)

    def image_features(
        self, token: Tensor, patches: Tensor | None, inside: Tensor | None
    ) -> Tensor:
        """Unit features (B, D) from class token (B, D), patches (B, N, D) and ROI (B, N)."""
        token = F.normalize(token.float(), dim=-1)
        if self.pool is None:
            return token
        pooled = self.pool(F.normalize(patches.float(), dim=-1), inside)
        return F.normalize(token + pooled if self.class_token else pooled, dim=-1)

    def logits(self, features: Tensor, texts: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine logits (B, C) against the texts and against the prototypes."""
        text_logits = scale * features @ texts.t()
        if self.prototypes is None:
            return text_logits, text_logits
        return text_logits, scale * features @ F.normalize(self.prototypes, dim=-1).t()

    def mix(self, text: Tensor, prototype: Tensor) -> Tensor:
        """(1 - a) text + a prototype: of logits at inference and of losses in training."""
        return torch.lerp(text, prototype, self.alpha) if self.alpha > 0 else text

    def loss(self, text: Tensor, prototype: Tensor, label: Tensor) -> Tensor:
        """(1 - a) cross-entropy of the text logits (B, C) + a that of the prototype logits."""
        return self.mix(F.cross_entropy(text, label), F.cross_entropy(prototype, label))


@TRAINER_REGISTRY.register()
class SAVLT(SupervisedStep, ByIterations, VLMTrainer):
    """SAVLT: LoRA, attention over the tissue ROI, alignment with texts and visual prototypes."""

    learns = "weights"
    image_input = "hidden"

    def check_cfg(self, cfg: CN) -> None:
        super().check_cfg(cfg)
        section = cfg.TRAINER.SAVLT
        for key, least in (("ITERS_PER_SHOT", 0), ("VIEWS", 1), ("LR", 1e-12)):
            if section.HEAD[key] < least:
                raise UserError(
                    f"TRAINER.SAVLT.HEAD.{key} is {section.HEAD[key]}; take at least {least}"
                )
        if cfg.DATALOADER.K_TRANSFORMS > 1:
            raise UserError(
                f"SAVLT takes one view of an image; DATALOADER.K_TRANSFORMS is "
                f"{cfg.DATALOADER.K_TRANSFORMS}, set it to 1"
            )
        if not 0 <= section.ALPHA <= 1:
            raise UserError(f"TRAINER.SAVLT.ALPHA is {section.ALPHA}; it lies between 0 and 1")
        if section.PROTOTYPES not in ("class_means", "text", "orthogonal"):
            raise UserError(
                f"TRAINER.SAVLT.PROTOTYPES is {section.PROTOTYPES!r}; take class_means, text or "
                "orthogonal"
            )
        if section.ROI.SOURCE not in (*SOURCES, "none"):
            raise UserError(
                f"TRAINER.SAVLT.ROI.SOURCE is {section.ROI.SOURCE!r}; take one of "
                f"{', '.join(SOURCES)}, none"
            )
        roi = section.ROI
        if section.MASK_WEIGHT > 0 and (roi.SOURCE in ("full", "none") or roi.KIND != "mask"):
            raise UserError(
                "TRAINER.SAVLT.MASK_WEIGHT > 0 learns the tissue mask; set TRAINER.SAVLT.ROI.KIND "
                "to mask and TRAINER.SAVLT.ROI.SOURCE to surface, masks or segmenter"
            )
        moving = [t for t in cfg.INPUT.TRANSFORMS if t in UNFOLLOWED]
        if moving and section.ROI.SOURCE not in ("full", "none"):
            raise UserError(
                f"INPUT.TRANSFORMS {moving[0]} moves pixels in a way that an ROI cannot follow; "
                "leave it out, or set TRAINER.SAVLT.ROI.SOURCE to full or none"
            )
        if section.CONSISTENCY.WEIGHT > 0 and cfg.INPUT.FEATURE_VIEWS > 0:
            raise UserError(
                "TRAINER.SAVLT.CONSISTENCY.WEIGHT > 0 styles pixels, and INPUT.FEATURE_VIEWS "
                f"{cfg.INPUT.FEATURE_VIEWS} stores features: set one of the two to 0"
            )

    # -- data ----------------------------------------------------------------------------------

    @property
    def first_block(self) -> int:
        """Lowest vision block that learns: what is below is frozen."""
        blocks = self.cfg.TRAINER.SAVLT.LORA.BLOCKS
        depth = self.backbone.visual.num_blocks
        return 0 if blocks < 0 else max(0, depth - blocks)

    @property
    def has_roi(self) -> bool:
        return self.cfg.TRAINER.SAVLT.ROI.SOURCE != "none"

    def build_backbone(self) -> None:
        super().build_backbone()
        if self.has_roi:
            roi = self.cfg.TRAINER.SAVLT.ROI
            self.finder = RoiFinder(roi.SOURCE, roi.KIND, roi.CHECKPOINT, roi.MASKS)
            self.extra_results["roi"] = self.finder.record
            grid = self.backbone.visual.grid
            self.patch_rois = PatchRois(self.finder, self.tfm_test, self.tfm_train, grid)

    def dataset_wrapper(self) -> Any:
        return roi_dataset(self.finder, self.backbone.visual.grid) if self.has_roi else None

    def sample_of(self, image: Image.Image, path: str = "") -> dict[str, Tensor]:
        sample = super().sample_of(image, path)
        return {**sample, "roi": self.patch_rois.of_image(image, path)} if self.has_roi else sample

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[tuple[Tensor, Any], Tensor]:
        inside = None
        if self.has_roi:
            inside = batch["roi"] if "roi" in batch else self.patch_rois(batch["impath"])
            inside = self._to_device(inside)
        return (self._to_device(batch["img"]), inside), self._to_device(batch["label"])

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[tuple[Tensor, Any], Tensor]:
        if self.has_roi and self.cfg.INPUT.FEATURE_VIEWS > 1:
            batch = {**batch, "roi": self.patch_rois(batch["impath"], batch["view"].tolist())}
        return super().parse_batch_train(batch)

    # -- model ---------------------------------------------------------------------------------

    def count_iterations(self) -> int:
        per_shot = self.cfg.TRAINER.SAVLT.ITERS_PER_SHOT
        return iterations_per_shot(self.cfg, self.dm.dataset, per_shot)

    def build_model(self) -> None:
        cfg = self.cfg.TRAINER.SAVLT
        dim, roi, pool = self.backbone.embed_dim, cfg.ROI, None
        if self.has_roi:
            pool = RoiAttentionPool(dim, roi.HEADS, roi.QUERIES, start_at_zero=roi.CLASS_TOKEN)
        mask = MaskHead(dim) if cfg.MASK_WEIGHT > 0 else None
        self.head = SAVLTHead(dim, self.num_classes, cfg.ALPHA, pool, roi.CLASS_TOKEN, mask)
        self.head.to(self.device)
        if any(True for _ in self.head.parameters()):
            self.register_learner("head", self.head)
        self.visual = self.adapt("vision_lora", self.backbone.visual, cfg.LORA)
        self.build_texts()
        if not self._models:
            raise UserError("TRAINER.SAVLT: LoRA, ROI, prototypes and context are all off")
        strength = StyleStrength(
            cfg.CONSISTENCY.GAIN,
            cfg.CONSISTENCY.GAMMA,
            cfg.CONSISTENCY.SPECKLE,
            cfg.CONSISTENCY.ATTENUATION,
        )
        preprocess = self.backbone.preprocess
        self.style = RandomStyle(preprocess.mean, preprocess.std, strength).to(self.device)

    def adapt(self, name: str, tower: nn.Module, cfg: CN) -> nn.Module:
        """The tower with LoRA on its last blocks, registered; the tower itself for 0 blocks."""
        if cfg.BLOCKS == 0:
            return tower
        blocks = None if cfg.BLOCKS < 0 else cfg.BLOCKS
        adapted = apply_lora(tower, cfg.TARGETS, blocks, cfg.R, cfg.ALPHA, cfg.DROPOUT)
        model = AdaptedTower(adapted, self.backbone.weights_sha256).to(self.device)
        self.register_learner(name, model)
        return adapted

    def build_texts(self) -> None:
        """Class features by a function: constants, unless text tower or context learn."""
        cfg = self.cfg.TRAINER.SAVLT
        texts = self.class_texts(cfg.PROMPTS)
        tower = self.adapt("text_lora", self.backbone.text, cfg.TEXT_LORA)
        if cfg.CONTEXT.N_CTX == 0 and cfg.TEXT_LORA.BLOCKS == 0:
            frozen = self.text_features(texts)
            self.class_features = lambda: frozen
            return
        prompts = ClassPrompts(self.backbone, texts)
        learned = lora_parameters(tower)
        compute = lambda: prompts.features(tower)  # noqa: E731
        if cfg.CONTEXT.N_CTX > 0:
            context = PromptLearner(
                self.backbone, prompts.texts, cfg.CONTEXT.N_CTX, cfg.CONTEXT.CTX_INIT
            ).to(self.device)
            self.register_learner("context", context)
            learned = [*learned, *context.parameters()]
            compute = lambda: prompts.class_means(context.features(tower))  # noqa: E731
        self.class_features = KeptWhileUnchanged(compute, learned)

    def before_train(self) -> None:
        super().before_train()
        if self.has_roi:
            with main_first():
                self.finder.prepare(item.impath for item in self.dm.dataset.train_x)
        if self.start_epoch == 0:  # else all of it is in the checkpoint
            self.start_prototypes()
            self.train_head_first()

    @torch.no_grad()
    def start_prototypes(self) -> None:
        """Class means of the support set or the class texts in place of orthogonal prototypes."""
        kind = self.cfg.TRAINER.SAVLT.PROTOTYPES
        if self.head.prototypes is None or kind == "orthogonal":
            return
        start = self.class_features()
        if kind == "class_means":
            self.set_model_mode("eval")
            means = torch.zeros_like(start)
            for batch in self.make_loader(self.dm.dataset.train_x):
                input, label = self.parse_batch_test(batch)
                means.index_add_(0, label, self.features_in_roi(*input))
            absent = means.norm(dim=-1, keepdim=True) == 0
            start = torch.where(absent, start, means)  # a class without images starts at its text
        self.head.prototypes.copy_(F.normalize(start, dim=-1))

    def train_head_first(self) -> None:
        """Pool and prototypes alone, on stored views of the tower, which LoRA has not moved yet."""
        cfg, items = self.cfg.TRAINER.SAVLT.HEAD, self.dm.dataset.train_x
        shots, limit = count_as_shots(self.cfg, self.dm.dataset), self.cfg.TRAIN.MAX_ITERS
        steps = cfg.ITERS_PER_SHOT * shots
        if 0 < limit < steps:
            steps = limit
        if steps == 0 or not any(True for _ in self.head.parameters()):
            return
        # A full training set is stored in fewer views: no more rows than its steps can see.
        rows = cfg.VIEWS * shots * self.num_classes
        views = min(cfg.VIEWS, max(2, rows // len(items)))
        size = min(self.cfg.DATALOADER.TRAIN_X.BATCH_SIZE, len(items))
        batches = random_batches(len(items), views, size, steps, max(0, self.cfg.SEED))
        train_head(
            self.head,
            head_optim_cfg(self.cfg.OPTIM, cfg.LR),
            steps,
            batches,
            self.loss_on_views(items, views),
            "TRAINER.SAVLT.HEAD.LR",
        )

    def loss_on_views(self, items: Sequence[Any], views: int) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of the head on images (B,) in their stored views (B,)."""
        transform = None
        if views > 1:
            styled = self.cfg.TRAINER.SAVLT.CONSISTENCY.WEIGHT > 0
            strength = self.style.strength if styled else None
            transform = build_styled_transform(self.cfg, self.backbone.preprocess, strength)
        paths = [item.impath for item in items]
        table = self._open("patches" if self.has_roi else "pooled", views, paths, transform)
        rois = self.rois_of_views(paths, views, transform)
        labels = torch.tensor([item.label for item in items])
        with torch.no_grad(), self.precision.autocast():
            texts = self.class_features()

        def loss(index: Tensor, view: Tensor) -> Tensor:
            tokens, label = self._to_device(table.gather(index, view)), labels[index]
            if rois is None:
                features = self.head.image_features(tokens, None, None)
            else:
                inside = self._to_device(rois[index, view])
                features = self.head.image_features(tokens[:, 0], tokens[:, 1:], inside)
            logits = self.head.logits(features, texts, self.backbone.scale)
            total = self.head.loss(*logits, self._to_device(label))
            if self.head.mask is not None:
                total = total + self.loss_of_masks(tokens[:, 1:], inside)
            return total

        return loss

    def loss_of_masks(self, patches: Tensor, inside: Tensor) -> Tensor:
        """The weighted loss of the tissue of patches (B, N, D) against the ROI (B, N)."""
        return self.cfg.TRAINER.SAVLT.MASK_WEIGHT * mask_loss(self.head.mask(patches), inside)

    def rois_of_views(
        self, paths: Sequence[str], views: int, transform: Callable | None
    ) -> Tensor | None:
        """Boolean (images, views, N) for views behind a transform."""
        if not self.has_roi:
            return None
        if transform is None or self.cfg.TRAINER.SAVLT.ROI.SOURCE == "full":  # every view's
            return self.patch_rois(paths).unsqueeze(1).expand(-1, views, -1)
        rois = PatchRois(self.finder, self.tfm_test, transform, self.backbone.visual.grid)
        return torch.stack([rois([path] * views, range(views)) for path in paths])

    def tokens_of(self, image: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Class token (B, D) and patches (B, N, D) of pixels or stored hidden states."""
        hidden = self.hidden_states(image)
        with self.precision.autocast():
            if inside is None:
                return self.visual.finish(hidden, self.first_block), None
            return self.visual.head(self.visual.run_blocks(hidden, self.first_block))

    def features_in_roi(self, image: Tensor, inside: Tensor | None) -> Tensor:
        """Unit image features (B, D) from pixels or stored hidden states, and the ROI (B, N)."""
        return self.head.image_features(*self.tokens_of(image, inside), inside)

    @torch.no_grad()
    def roi_attention(self, image: Tensor, inside: Tensor) -> Tensor:
        """Attention weights (B, heads, N) of the pool over the patches; 0 outside the ROI (B, N).

        Args:
            image: pixels or stored hidden states.
        """
        hidden = self.visual.run_blocks(self.hidden_states(image), self.first_block)
        patches = F.normalize(self.visual.head(hidden)[1].float(), dim=-1)
        return self.head.pool.attention(patches, inside)

    def both_logits(self, image: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits (B, C) against texts and against prototypes."""
        return self.logits_of(self.features_in_roi(image, inside))

    def logits_of(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C) of unit features (B, D) against texts and against prototypes."""
        with self.precision.autocast():
            texts = self.class_features()
        return self.head.logits(features, texts, self.backbone.scale)

    def loss_and_logits(self, input: Any, label: Tensor) -> tuple[Tensor, Tensor]:
        image, inside = input
        weight = self.cfg.TRAINER.SAVLT.CONSISTENCY.WEIGHT
        # One view after the other: a style and its pass draw from the same generator.
        styled = (self.style(image) for _ in range(2)) if weight > 0 else iter([image])
        views, masks = [], []
        for view in styled:
            token, patches = self.tokens_of(view, inside)
            views.append(self.logits_of(self.head.image_features(token, patches, inside)))
            if self.head.mask is not None:
                masks.append(self.loss_of_masks(patches, inside))
        loss = sum(self.head.loss(*logits, label) for logits in views) / len(views)
        if weight > 0:
            loss = loss + weight * consistency_loss(views[0][0], views[1][0])
        return loss + sum(masks) / len(views), self.head.mix(*views[0])

    def inference_with_features(self, input: Any) -> tuple[Tensor, Tensor | None]:
        features = self.features_in_roi(*input)
        return self.head.mix(*self.logits_of(features)), features

    def model_inference(self, input: Any) -> Tensor:
        return self.inference_with_features(input)[0]
