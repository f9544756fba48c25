"""Loading a run's final model, the one that was tested, whichever way it was chosen."""

from __future__ import annotations

from pathlib import Path

from dassl.engine.resume import check_backbone
from dassl.errors import MissingFileError
from dassl.utils.checkpoints import load_fitting, load_training_checkpoint


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
            checkpoint = load_training_checkpoint(str(path))
            print(f'Loading weights to {name} from "{path}" (epoch = {checkpoint.get("epoch")})')
            check_backbone(checkpoint, self, path)
            load_fitting(self._models[name], checkpoint["state_dict"], path)

    def _checkpoint_path(self, folder: Path, epoch: int | None) -> Path:
        if epoch is not None:
            path = folder / f"model.pth.tar-{epoch}"
        else:
            path = folder / "model-best.pth.tar"
            last = folder / "checkpoint"
            if self.cfg.TEST.FINAL_MODEL != "best_val" or not path.exists():
                if last.exists():
                    named = last.read_text(encoding="utf-8", errors="replace").strip()
                    path = folder / (Path(named).name or path.name)
        if not path.is_file():
            raise MissingFileError(f"no checkpoint {path}; give a run's folder by --model-dir")
        return path
