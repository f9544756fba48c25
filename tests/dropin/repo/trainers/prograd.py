"""In the style of ProGrad: a second loss whose gradient the first may not oppose."""

import torch
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY

from .coop import CoOp


@TRAINER_REGISTRY.register()
class ProGrad(CoOp):
    def build_model(self):
        super().build_model()
        with torch.no_grad():
            prompts = self.model.prompt_learner()
            features = self.model.text_encoder(prompts, self.model.tokenized_prompts)
        self.zero_shot = F.normalize(features, dim=-1)
        # Only some of the registered parameters take part in a loss: their gradients stay None.
        self.model.prompt_learner.unused = torch.nn.Parameter(torch.zeros(3))
        assert len(self.dm.dataset.all_class_names) >= self.dm.num_classes

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        output = self.model(image)
        features = F.normalize(self.model.image_encoder(image), dim=-1)
        teacher = self.model.logit_scale.exp() * features @ self.zero_shot.t()
        xe_loss = F.cross_entropy(output, label)
        kl_loss = F.kl_div(output.log_softmax(-1), teacher.softmax(-1), reduction="batchmean")
        self.prograd_backward_and_update(xe_loss, kl_loss, self.cfg.TRAINER.PROGRAD.LAMBDA)
        summary = {"xe_loss": xe_loss.item(), "kl_loss": kl_loss.item()}
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return summary
