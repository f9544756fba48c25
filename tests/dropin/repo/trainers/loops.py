"""Own loops: run_epoch (ProMetaR), train (CLAP), SimpleTrainer, TrainerXU."""

import datetime
import time

import torch
from torch.nn import functional as F

from dassl.data.data_manager import build_data_loader
from dassl.data.transforms import build_transform
from dassl.engine import TRAINER_REGISTRY, SimpleTrainer, TrainerXU
from dassl.engine.trainer import AverageMeter, MetricMeter
from dassl.optim import build_lr_scheduler, build_optimizer

from .adapters import AdapterCLIP, CLIP_Adapter
from .coop import load_clip_to_cpu


@TRAINER_REGISTRY.register()
class OwnEpoch(CLIP_Adapter):
    """Two batches per step, its own meters and log lines."""

    def before_train(self):
        super().before_train()
        # Names that the engine here uses too, with a meaning of their own.
        self.history, self.precision = {"loss": []}, "fp32"

    def before_epoch(self):
        self.steps = 0

    def run_epoch(self):
        self.set_model_mode("train")
        losses = MetricMeter()
        batch_time = AverageMeter()
        self.num_batches = len(self.train_loader_x)
        end = time.time()
        train_iter = iter(self.train_loader_x)
        for self.batch_idx in range(self.num_batches):  # noqa: B020
            batch = next(train_iter)
            losses.update(self.forward_backward(batch))
            self.history["loss"].append(losses.meters["loss"].val)
            batch_time.update(time.time() - end)
            remaining = (self.max_epoch - self.epoch - 1) * self.num_batches
            eta = str(datetime.timedelta(seconds=int(batch_time.avg * remaining)))
            print(
                f"own epoch [{self.epoch + 1}/{self.max_epoch}] {losses} "
                f"lr {self.get_current_lr():.4e} eta {eta}"
            )
            n_iter = self.epoch * self.num_batches + self.batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar("train/" + name, meter.avg, n_iter)
            end = time.time()
            self.steps += 1

    def after_epoch(self):
        assert self.steps == self.num_batches
        assert len(self.history["loss"]) == (self.epoch + 1) * self.num_batches
        super().after_epoch()


@TRAINER_REGISTRY.register()
class OwnTrain(CLIP_Adapter):
    """Features are taken once, with a test transform on the training images, then trained on."""

    def train(self):
        self.before_train()
        tfm = build_transform(self.cfg, is_train=False)
        loader = build_data_loader(
            self.cfg,
            sampler_type="SequentialSampler",
            data_source=self.dm.dataset.train_x,
            batch_size=8,
            tfm=tfm,
            is_train=False,
        )
        with torch.no_grad():
            pairs = [self.parse_batch_test(batch) for batch in loader]
            features = torch.cat([self.model.image_encoder(image) for image, _ in pairs])
            self.labels = torch.cat([label for _, label in pairs])
        self.features = features
        for self.epoch in range(self.start_epoch, self.max_epoch):  # noqa: B020
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def run_epoch(self):
        self.set_model_mode("train")
        self.num_batches, self.batch_idx = 1, 0
        x = F.normalize(self.features + 0.2 * self.model.adapter(self.features), dim=-1)
        loss = F.cross_entropy(20 * x @ self.model.text_features.t(), self.labels)
        self.model_backward_and_update(loss)
        self.update_lr()
        print(f"epoch [{self.epoch + 1}/{self.max_epoch}] loss {loss.item():.4f}")


@TRAINER_REGISTRY.register()
class OnSimpleTrainer(SimpleTrainer):
    def build_model(self):
        cfg = self.cfg
        self.model = AdapterCLIP(cfg, self.dm.dataset.classnames, load_clip_to_cpu(cfg).float())
        self.model.to(self.device)
        self.optim = build_optimizer(self.model.adapter, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)  # its own eval()

    def run_epoch(self):
        self.set_model_mode("train")
        for batch in self.train_loader:  # a fork's name of train_loader_x
            image, label = self.parse_batch_test(batch)
            loss = F.cross_entropy(self.model(image), label)
            self.detect_anomaly(loss)
            self.model_zero_grad()
            loss.backward()
            self.model_update()
        self.update_lr()


@TRAINER_REGISTRY.register()
class OnTrainerXU(TrainerXU):
    build_model = CLIP_Adapter.build_model

    def forward_backward(self, batch_x, batch_u):
        image_x, label_x, image_u = self.parse_batch_train(batch_x, batch_u)
        loss = F.cross_entropy(self.model(image_x), label_x)
        p = self.model(image_u).softmax(dim=-1)
        loss_u = -(p * p.clamp_min(1e-8).log()).sum(-1).mean()
        self.model_backward_and_update(loss + 0.1 * loss_u)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "loss_u": loss_u.item()}
