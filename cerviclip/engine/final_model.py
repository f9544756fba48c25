"""Loading a run's final model, the one that was tested, whichever way it was chosen."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dassl.engine.resume import check_backbone
from dassl.errors import MissingFileError, UserError
from dassl.utils import load_checkpoint


class FinalModel:
    """Mixin before a trainer class: ``load_model`` without an epoch takes the run's final model.

    Upstream's hook takes ``model-best.pth.tar``, which a run without selection on val lacks.
    """

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load every registered model.

        Args:
            directory: a run's folder.
            epoch: a saved epoch; None takes the run's final model, the one that was tested.

        Raises:
            UserError: no such checkpoint, one of another shape, or of another backbone.
        """
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        for name in self.get_model_names():
            path = self._checkpoint_path(Path(directory) / name, epoch)
            checkpoint = load_checkpoint(str(path))
            print(f'Loading weights to {name} from "{path}" (epoch = {checkpoint["epoch"]})')
            check_backbone(checkpoint, self, path)
            load_strictly(self._models[name], checkpoint["state_dict"], path)

    def _checkpoint_path(self, folder: Path, epoch: int | None) -> Path:
        if epoch is not None:
            path = folder / f"model.pth.tar-{epoch}"
        else:
            path = folder / "model-best.pth.tar"
            last = folder / "checkpoint"
            if self.cfg.TEST.FINAL_MODEL != "best_val" or not path.exists():
                if last.exists():
                    path = folder / last.read_text().strip()
        if not path.exists():
            raise MissingFileError(f"no checkpoint {path}; give a run's folder by --model-dir")
        return path


def load_strictly(model: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """``load_state_dict`` whose refusal is one line that names the file and the first tensor at
    fault.

    Raises:
        UserError: a tensor is missing, unknown or of another shape.
    """
    if type(model).load_state_dict is not torch.nn.Module.load_state_dict:
        model.load_state_dict(state)  # it makes checks of its own, such as the base weights' hash
        return
    own = model.state_dict()
    wrong = [
        f"{key} has shape {tuple(state[key].shape)}, {tuple(own[key].shape)} expected"
        for key in own.keys() & state.keys()
        if state[key].shape != own[key].shape
    ]
    wrong += [f"{key} is missing" for key in own.keys() - state.keys()]
    wrong += [f"{key} is unknown" for key in state.keys() - own.keys()]
    if wrong:
        raise UserError(
            f"{path} does not fit this configuration: {sorted(wrong)[0]}; use the backbone, "
            "classes and settings it was trained with"
        )
    model.load_state_dict(state)
