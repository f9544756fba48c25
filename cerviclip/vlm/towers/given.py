"""``embeddings:<file>``: features that another program has made, as a backbone without a tower."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from cerviclip.backbones.names import EMBEDDINGS
from cerviclip.vlm.base import Backbone, Preprocess, VisionTower
from cerviclip.vlm.files.embeddings import Embeddings, read_embeddings
from cerviclip.vlm.files.formats import weights_identity
from dassl.errors import UserError
from dassl.paths import at_home


class NoTower(VisionTower):
    """Where a network would be: it says that there is none."""

    open_blocks = False
    prefix = 0

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.blocks = nn.ModuleList()

    def stem(self, x: Tensor) -> Tensor:
        raise UserError(
            f"{self.source} holds the features of its own images and no network: methods on stored "
            "features alone work on it (INPUT.FEATURE_VIEWS 1), and no other image can be named"
        )


class GivenBackbone(Backbone):
    """A backbone whose images' features are known beforehand.

    Attributes:
        embeddings: the rows, found by the images' paths.
    """

    def __init__(self, name: str, embeddings: Embeddings, sha256: str) -> None:
        super().__init__(
            name=name,
            arch=f"{EMBEDDINGS}{Path(embeddings.source).stem}",
            visual=NoTower(embeddings.source),
            preprocess=Preprocess((1, 1)),  # no pixel is read
            embed_dim=embeddings.dim,
            weights_sha256=sha256,
            weights_file=embeddings.source,
        )
        self.embeddings = embeddings


def build_given(name: str) -> GivenBackbone:
    """The backbone of a name ``embeddings:<file>``."""
    path = at_home(name.removeprefix(EMBEDDINGS))
    return GivenBackbone(name, read_embeddings(path), weights_identity(path))
