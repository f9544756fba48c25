import torch
from torch import nn

from .simple_tokenizer import VOCABULARY


class LayerNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.type(torch.float32)).type(x.dtype)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width, mask=None):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, 2)
        self.ln_1 = LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.ln_2 = LayerNorm(width)
        self.attn_mask = mask

    def forward(self, x):
        y = self.ln_1(x)
        mask = None if self.attn_mask is None else self.attn_mask.to(x.dtype)[: len(x), : len(x)]
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, mask=None):
        super().__init__()
        self.width, self.layers = width, layers
        self.resblocks = nn.Sequential(
            *[ResidualAttentionBlock(width, mask) for _ in range(layers)]
        )

    def forward(self, x):
        return self.resblocks(x)


class VisionTransformer(nn.Module):
    def __init__(self, size, patch, width, layers, output_dim):
        super().__init__()
        self.input_resolution, self.output_dim = size, output_dim
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) / width**0.5)
        self.positional_embedding = nn.Parameter(torch.randn((size // patch) ** 2 + 1, width) / 4)
        self.ln_pre, self.ln_post = LayerNorm(width), LayerNorm(width)
        self.transformer = Transformer(width, layers)
        self.proj = nn.Parameter(torch.randn(width, output_dim) / width**0.5)

    def forward(self, x, extra=None):
        x = self.conv1(x).flatten(2).permute(0, 2, 1)  # (B, N, width)
        first = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = torch.cat([first, x], dim=1) + self.positional_embedding.to(x.dtype)
        if extra is not None:  # deep or shallow visual prompts
            x = torch.cat([x, extra.to(x.dtype).expand(len(x), -1, -1)], dim=1)
        x = self.transformer(self.ln_pre(x).permute(1, 0, 2)).permute(1, 0, 2)
        return self.ln_post(x[:, 0]) @ self.proj.to(x.dtype)


class CLIP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.context_length = 77
        self.visual = VisionTransformer(32, 8, width, 2, width)
        mask = torch.full((77, 77), float("-inf")).triu(1)
        self.transformer = Transformer(width, 2, mask)
        self.token_embedding = nn.Embedding(VOCABULARY, width)
        self.positional_embedding = nn.Parameter(torch.randn(77, width) * 0.1)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.logit_scale = nn.Parameter(torch.tensor(3.0))

    @property
    def dtype(self):
        return self.visual.conv1.weight.dtype

    def encode_image(self, image):
        return self.visual(image.type(self.dtype))

    def encode_text(self, text):
        x = self.token_embedding(text).type(self.dtype) + self.positional_embedding.type(self.dtype)
        x = self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)
        x = self.ln_final(x).type(self.dtype)
        return x[torch.arange(len(x)), text.argmax(dim=-1)] @ self.text_projection


def build_model(width):
    """In half precision but for the norms, as OpenAI's weights come."""
    model = CLIP(width).eval().half()
    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.float()
    return model
