"""In the style of ZeroshotCLIP: no model is registered, nothing is trained."""

import torch
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY, TrainerX

from .coop import clip, load_clip_to_cpu


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(TrainerX):
    def build_model(self):
        self.clip_model = load_clip_to_cpu(self.cfg).float().to(self.device)
        prompts = [f"a photo of a {c.replace('_', ' ')}." for c in self.dm.dataset.classnames]
        print(f"Prompts: {prompts}")
        with torch.no_grad():
            text = self.clip_model.encode_text(clip.tokenize(prompts).to(self.device))
        self.text_features = F.normalize(text, dim=-1)

    def model_inference(self, image):
        features = F.normalize(self.clip_model.encode_image(image), dim=-1)
        return self.clip_model.logit_scale.exp() * features @ self.text_features.t()
