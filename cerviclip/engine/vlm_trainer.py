"""What every trainer of the CLIP family shares: the frozen backbone, stored features, class texts.

A trainer says in ``image_input`` what its batches hold, and the loaders, the store and the encoder
are arranged for it; ``model_inference`` then works on a batch of any loader, pixels included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cerviclip.backbones.names import no_text_encoder
from cerviclip.data.images.cache import build_image_loader
from cerviclip.data.split.checks import check_labels
from cerviclip.engine.fit_once import choose_on_val
from cerviclip.engine.task_trainer import TaskTrainer
from cerviclip.engine.transforms import build_transforms
from cerviclip.environment import store_dtype
from cerviclip.features.encode import FrozenEncoder, encoder_of
from cerviclip.features.loader import TEST_BATCH, FeatureDataset, FeatureLoader
from cerviclip.features.source import FeatureSource
from cerviclip.recent import Recent
from cerviclip.vlm.loading import get_backbone
from cerviclip.vlm.precision import Precision, precision_of
from cerviclip.vlm.prompts import class_texts, encode_class_texts
from dassl.data import DataManager
from dassl.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from dassl.data.datasets import Datum

# Text features of recent prompt sets: the runs of a sweep share the same few.
_TEXT_MEMO: Recent[tuple, Tensor] = Recent(64)


class VLMTrainer(TaskTrainer):
    """Base of trainers on a frozen vision-language backbone.

    A method is written as these hooks, called in this order; most methods need two of them:

    * ``build_model``: the model from ``self.task`` (class names and texts), ``self.backbone``,
      ``self.num_classes`` and ``cfg``. It sees no image and no loader, so that a saved run loads on
      a machine without the data. What learns is given to ``register_learner``, other modules to
      ``register_model``.
    * ``prepare_fit``: what training needs of its images (``self.split_features("train")``,
      ``self.dm.dataset.train_x``): a cache of features, class means. It runs before training alone.
      Tensors with a row for each image are registered with 0 rows in a ``RowsByData`` module, and
      filled here by its ``set_rows``; a checkpoint brings its rows along. Call ``super()``'s.
    * ``count_iterations`` (with ``ByIterations``): the length of the training in batches.
    * optimisers and schedules of the learners are made by the engine; a resumed run is put back.
    * ``before_train``: after ``super()``'s, start values that only a run from its beginning needs
      (``self.start_epoch == 0``); a resumed run has them in its checkpoint.
    * ``loss_and_logits`` (with ``SupervisedStep``) or ``fit`` (with ``FitOnce``): the training.
    * ``calibrate``: what is chosen on val for the weights that are deployed; saved with them.
    * ``model_inference``: logits of a batch of any loader, pixels included.

    Class attributes:
        image_input: what batches hold as ``img``. ``features``: pooled features (B, D);
            ``unprojected``: what enters the vision tower's last linear map (B, W); ``patches``:
            pooled and patch features (B, 1 + N, D); ``hidden``: tokens (B, T, W) that
            enter block ``first_block`` of the vision tower; ``images``: pixels (B, 3, H, W). With
            ``INPUT.FEATURE_VIEWS`` 0 training batches are augmented pixels whatever it says.
        needs_text: whether the backbone must have a text encoder.
        vision_towers: kinds of vision tower it works on, of
            ``cerviclip.backbones.names.VISION_TOWERS``. A pair that cannot work is refused when the
            config is checked.
        learns: ``nothing``, ``head`` (on stored features: seconds a run), ``prompts`` (a pass of
            the text tower each step) or ``weights`` (a pass of the towers each step).
        needs_training: whether anything is learnt.
        trains_in_seconds: a sweep that names no seeds gives it 20 draws, not 3.
        first_block: for ``hidden``, the lowest block that learns; known before ``build_model``
            (a property that reads ``cfg`` and ``self.backbone`` will do).
    """

    image_input = "images"
    needs_text = True
    vision_towers: Sequence[str] = ("vit", "resnet", "features")
    learns = "head"
    first_block = 0

    # -- set-up --------------------------------------------------------------------------------

    def check_cfg(self, cfg: CfgNode) -> None:
        precision_of(cfg)
        if cfg.INPUT.FEATURE_VIEWS < 0:
            raise UserError(
                f"INPUT.FEATURE_VIEWS is {cfg.INPUT.FEATURE_VIEWS}; take 0 (augment online), "
                "1 (no augmentation) or a number of stored views"
            )

    def build_data_loader(self) -> None:
        """Backbone, transforms, data manager, and loaders of what ``image_input`` asks for."""
        self.build_backbone()
        super().build_data_loader()

    def build_backbone(self) -> None:
        """The backbone and what makes its input of an image. Sees no data."""
        cfg = self.cfg
        self.precision = Precision(precision_of(cfg), self.device)
        self.backbone = get_backbone(cfg, self.device)
        if self.needs_text and not self.backbone.has_text:
            raise UserError(no_text_encoder(cfg.TRAINER.NAME, self.backbone.name))
        self.store_counts: Counter = Counter()  # hits and misses of this run
        self.extra_results: dict[str, Any] = {}  # what results.json should hold besides the scores
        self._encoders: dict[str, FrozenEncoder] = {}
        stored = bool(self.stored_kind)
        self.tfm_train, self.tfm_test = build_transforms(cfg, self.backbone, stored)

    def make_data_manager(self) -> DataManager:
        cfg = self.cfg
        dm = DataManager(
            cfg,
            custom_tfm_train=self.tfm_train,
            custom_tfm_test=self.tfm_test,
            dataset_wrapper=self.dataset_wrapper(),
        )
        check_labels(dm.dataset)
        dm.val_loader = self._plain_loader(dm.dataset.val) if dm.dataset.val else None
        dm.test_loader = self._plain_loader(dm.dataset.test) if dm.dataset.test else None
        if self.stored_kind and cfg.INPUT.FEATURE_VIEWS > 0:
            self._note_unused_transforms()
            parts = cfg.DATALOADER
            dm.train_loader_x = self._stored_train_loader(dm.dataset.train_x, parts.TRAIN_X)
            part_u = parts.TRAIN_X if parts.TRAIN_U.SAME_AS_X else parts.TRAIN_U
            dm.train_loader_u = self._stored_train_loader(dm.dataset.train_u, part_u)
        return dm

    def _note_unused_transforms(self) -> None:
        unused = [t for t in self.cfg.INPUT.TRANSFORMS if t != "normalize"]
        if self.cfg.INPUT.FEATURE_VIEWS == 1 and unused:
            print(
                "Note: INPUT.FEATURE_VIEWS 1 stores the plain image, so these have no effect: "
                f"{', '.join(unused)}; set it above 1"
            )

    def dataset_wrapper(self) -> Any:
        """Hook: the class of the training images' data set, None for the usual one. The backbone
        and the transforms are there already."""
        return None

    @property
    def stored_kind(self) -> str:
        """The store's kind of feature behind ``image_input``; empty for pixels."""
        if self.image_input == "hidden":
            # Without stored views and with every block learning there is nothing to gain.
            worth = self.first_block > 0 or self.cfg.INPUT.FEATURE_VIEWS > 0
            return f"hidden:{self.first_block}" if worth else ""
        return {"features": "pooled", "images": ""}.get(self.image_input, self.image_input)

    # -- images --------------------------------------------------------------------------------

    def make_loader(self, items: Sequence[Datum]) -> DataLoader:
        """A loader of ``items`` in their order behind the deterministic test transform.

        Test images before training has ended leave a mark in the results.
        """
        self.dm.note_reading(items)
        return self._plain_loader(items)

    def _plain_loader(self, items: Sequence[Datum]) -> DataLoader:
        cfg = self.cfg
        kind = self.stored_kind
        if not kind:
            return build_image_loader(cfg, items, self.tfm_test)
        dataset = FeatureDataset(items, partial(self._open, kind, 1))
        size = self.test_batch_size
        return FeatureLoader(cfg, dataset, cfg.DATALOADER.TEST, is_train=False, batch_size=size)

    @property
    def test_batch_size(self) -> int:
        """Images in a batch of a test."""
        size = self.cfg.DATALOADER.TEST.BATCH_SIZE
        return max(TEST_BATCH, size) if self.stored_kind in ("pooled", "unprojected") else size

    def rows_of(self, pixels: Tensor) -> Tensor:
        kind = self.stored_kind
        return self._encoder(kind)(pixels).float() if kind else pixels

    def _stored_train_loader(self, items: Sequence[Datum] | None, part: Any) -> DataLoader | None:
        if not items:
            return None
        views = self.cfg.INPUT.FEATURE_VIEWS
        dataset = FeatureDataset(
            items, partial(self._open, self.stored_kind, views), self.cfg.DATALOADER.K_TRANSFORMS
        )
        return FeatureLoader(self.cfg, dataset, part, is_train=True)

    def _encoder(self, kind: str) -> FrozenEncoder:
        if kind not in self._encoders:
            dtype = self.cfg.INPUT.STORE_DTYPE or store_dtype()
            self._encoders[kind] = encoder_of(self.backbone, kind, dtype)
        return self._encoders[kind]

    def _open(
        self, kind: str, views: int, paths: Sequence[str], tfm_train: Callable | None = None
    ) -> Any:
        transform = (tfm_train or self.tfm_train) if views > 1 else self.tfm_test
        source = FeatureSource(self._encoder(kind), transform, views, counts=self.store_counts)
        return source.table(paths)

    def image_networks(self) -> list[nn.Module]:
        kind, adapted = self.stored_kind, getattr(self, "visual", None)
        found = [adapted] if isinstance(adapted, nn.Module) else []
        return [*found, *([self._encoder(kind).network] if kind else []), self.backbone.visual]

    def image_features(self, x: Tensor) -> Tensor:
        """L2-normalised float32 features (B, D).

        Args:
            x: pixels (B, 3, H, W), stored features (B, D) or stored tokens with the pooled feature
                first (B, 1 + N, D). Pixels give the very numbers that the store would.
        """
        if x.dim() == 4:
            x = self._encoder("pooled")(x)
        elif x.dim() == 3:
            x = x[:, 0]
        return F.normalize(x.to(self.device).float(), dim=-1)

    def inference_with_features(self, input: Any) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C) and the frozen features (B, D) of stored ones or of pixels.

        A method that learns in the vision tower overrides it.
        """
        known = isinstance(input, Tensor) and self.image_input != "hidden"
        return self.model_inference(input), self.image_features(input) if known else None

    def hidden_states(self, x: Tensor) -> Tensor:
        """Tokens (B, T, W) that enter block ``first_block``, of pixels or of stored tokens.

        The frozen blocks below run without gradient, rounded as the store rounds them, so training
        is the same with and without stored views. Where the first block learns and no views are
        stored, the patch embedding is left unrounded.
        """
        if x.dim() == 4:
            kind = self.stored_kind
            if kind:
                x = self._encoder(kind)(x)
            else:
                with torch.no_grad():
                    x = self.backbone.visual.stem(x.to(self.device))
        return x.to(self.device).float()

    def split_features(self, split: str) -> tuple[Tensor, Tensor]:
        """All features of a split at once, for methods that are fitted rather than trained.

        Args:
            split: ``train`` (with ``INPUT.FEATURE_VIEWS`` views, one plain view for 0) or ``val``.

        Returns:
            Features (N, V, D), float32, L2-normalised, and labels (N,); N = 0 for an empty split.
        """
        name = {"train": "train_x", "val": "val"}[split]
        items = getattr(self.dm.dataset, name) or []  # val is touched where it is asked for alone
        views = max(1, self.cfg.INPUT.FEATURE_VIEWS) if split == "train" else 1
        if not items:
            empty = torch.zeros(0, views, self.backbone.embed_dim, device=self.device)
            return empty, torch.zeros(0, dtype=torch.int64, device=self.device)
        labels = torch.tensor([item.label for item in items], device=self.device)
        return self.frozen_features([item.impath for item in items], views), labels

    def frozen_features(self, paths: Sequence[str], views: int = 1) -> Tensor:
        """Unit features (N, V, D), float32, of image files by the frozen backbone, whatever the
        batches hold.

        Args:
            views: V; one plain view for 1.
        """
        table = self._open("pooled", views, paths)
        index = torch.arange(len(paths))
        rows = torch.stack([table.gather(index, view) for view in range(views)], dim=1)
        return F.normalize(rows.to(self.device), dim=-1)

    def choose_on_val(
        self,
        settings: Sequence[dict[str, float]],
        accuracy: Tensor,
        log_loss: Tensor,
        by: str = "accuracy",
    ) -> int:
        """The place of the best of ``settings`` on val, by `fit_once.choose_on_val`.

        The choice and what it has cost stand in results.json. Every trainer that chooses a setting
        on val does it here.
        """
        best, self.extra_results["search"] = choose_on_val(settings, accuracy, log_loss, by)
        self.note_search("settings", len(settings), len(self.dm.dataset.val or ()))
        return best

    # -- texts ---------------------------------------------------------------------------------

    def class_texts(self, prompt_set: str = "") -> list[list[str]]:
        """The prompts of each class: ``DATASET.PROMPT_SET``, ``DATASET.TEMPLATES`` or the data
        set's own templates.

        Args:
            prompt_set: taken where ``DATASET.PROMPT_SET`` is empty and the data set has any.

        Raises:
            UserError: a prompt set that the data set does not have.
        """
        cfg, task = self.cfg.DATASET, self.task
        templates = list(cfg.TEMPLATES) or task.templates
        sets = task.descriptions
        if prompt_set and not cfg.PROMPT_SET and not sets:
            print(f"Note: {cfg.NAME} has no prompt sets; its templates stand in for {prompt_set!r}")
            prompt_set = ""
        elif prompt_set and cfg.PROMPT_SET and prompt_set != cfg.PROMPT_SET:
            print(f"Note: prompts are {cfg.PROMPT_SET!r} (DATASET.PROMPT_SET), not {prompt_set!r}")
        prompt_set = cfg.PROMPT_SET or prompt_set
        if not prompt_set and cfg.DESCRIPTIONS and len(sets) == 1:
            prompt_set = next(iter(sets))  # a file of one set leaves no choice
        if not prompt_set:
            if cfg.DESCRIPTIONS and sets:
                names = ", ".join(sorted(sets))
                print(f"Note: prompts are the templates; DATASET.PROMPT_SET chooses one of {names}")
            return class_texts(task.classnames, templates)
        if prompt_set not in sets:
            known = ", ".join(sorted(sets)) or "none; give a file by DATASET.DESCRIPTIONS"
            raise UserError(
                f"no prompt set {prompt_set!r} for {cfg.NAME} (DATASET.PROMPT_SET); "
                f"there are: {known}"
            )
        return class_texts(task.classnames, templates, sets[prompt_set])

    @torch.no_grad()
    def text_features(self, texts: Sequence[Sequence[str]] | None = None) -> Tensor:
        """Frozen class features (C, D), float32, L2-normalised; encoded once per process.

        Args:
            texts: prompts of each class; None takes `class_texts`.
        """
        texts = self.class_texts() if texts is None else texts
        frozen = self._encoder("pooled").space("")  # weights, precision and device
        key = (frozen, str(self.device), tuple(map(tuple, texts)))
        if key not in _TEXT_MEMO:
            _TEXT_MEMO[key] = encode_class_texts(self.backbone, texts)
        return _TEXT_MEMO[key].clone()
