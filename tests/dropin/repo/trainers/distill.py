"""In the style of PromptKD: a teacher, a student on unlabelled images, test() of its own."""

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from dassl.data import DataManager
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer

from .adapters import AdapterCLIP
from .coop import CoOp, load_clip_to_cpu


@TRAINER_REGISTRY.register()
class PromptKD(TrainerX):
    def build_data_loader(self):
        """Its own, as such methods do to reach other lists or transforms."""
        dm = DataManager(self.cfg)
        self.train_loader_x = dm.train_loader_x
        self.train_loader_u = dm.train_loader_u
        self.val_loader = dm.val_loader
        self.test_loader = dm.test_loader
        self.num_classes = dm.num_classes
        self.num_source_domains = dm.num_source_domains
        self.lab2cname = dm.lab2cname
        self.dm = dm

    def build_model(self):
        cfg = self.cfg
        classnames = self.dm.dataset.classnames
        self.model = AdapterCLIP(cfg, classnames, load_clip_to_cpu(cfg).float())
        self.model_teacher = AdapterCLIP(cfg, classnames, load_clip_to_cpu(cfg).float()).eval()
        for name, param in self.model.named_parameters():
            param.requires_grad_("adapter" in name)
        self.model.to(self.device)
        self.model_teacher.to(self.device)
        self.temperature = 2.0
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optim = build_optimizer(learned, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("VPT_image_trans", nn.Module(), None, None)
        self._models["VPT_image_trans"] = self.model.adapter
        self._optims["VPT_image_trans"], self._scheds["VPT_image_trans"] = self.optim, self.sched

    def forward_backward(self, batch):
        image, _ = self.parse_batch_train(batch)
        with torch.no_grad():
            teacher = self.model_teacher(image)
        student = self.model(image)
        loss = (
            F.kl_div(
                F.log_softmax(student / self.temperature, dim=1),
                F.softmax(teacher / self.temperature, dim=1),
                reduction="sum",
            )
            * self.temperature**2
            / student.numel()
        )
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()
        if (self.batch_idx + 1) == self.num_batches:
            self.sched.step()
        return {"loss": loss.item()}

    parse_batch_train = CoOp.parse_batch_train

    @torch.no_grad()
    def test(self, split=None):
        self.set_model_mode("eval")
        self.evaluator.reset()
        if split is None:
            split = self.cfg.TEST.SPLIT
        if split == "val" and self.val_loader is not None:
            data_loader = self.val_loader
        else:
            split = "test"
            data_loader = self.test_loader
        print(f"Evaluate on the *{split}* set (own loop)")
        for batch in tqdm(data_loader):
            image, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(image), label)
        results = self.evaluator.evaluate()
        for key, value in results.items():
            self.write_scalar(f"{split}/{key}", value, self.epoch)
        return list(results.values())[0]
