"""Few-shot files that upstream pickled, read without running what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dassl.errors import MissingFileError, UserError
from dassl.paths import is_file
from dassl.utils.safe_pickle import AllowListUnpickler, Stub, UnsafePickleError

from .base_dataset import Datum


def load_fewshot_pickle(path: str | Path) -> dict[str, list[Datum]]:
    """Read an old few-shot file: ``{"train": [Datum, ...], "val": [Datum, ...]}``.

    Nothing but ``Datum`` records and plain containers is read. Image paths are kept as they stand;
    whether the files exist is the caller's business.

    Raises:
        MissingFileError: there is no such file.
        UserError: the file is damaged, holds something else, or names anything outside the list.
    """
    path = Path(path)
    if not is_file(path):
        raise MissingFileError(f"few-shot file {path} does not exist")
    try:
        with open(path, "rb") as handle:
            loaded = AllowListUnpickler(handle, data_only=True).load()
    except UnsafePickleError as error:
        raise UserError(
            f"{path} is refused, nothing in it was run: {error}; draw the shots again instead"
        ) from error
    except Exception as error:
        raise UserError(f"{path} cannot be read as a few-shot file ({error})") from error
    sound = isinstance(loaded, dict) and all(isinstance(v, (list, tuple)) for v in loaded.values())
    if not sound or "train" not in loaded:
        raise UserError(f'{path} is no few-shot file: it must hold a dict with "train" and "val"')
    return {str(split): [_to_datum(r, path) for r in items] for split, items in loaded.items()}


def _to_datum(record: Any, path: Path) -> Datum:
    fields = {"_impath": str, "_label": int, "_domain": int, "_classname": str}
    if not isinstance(record, Stub) or not all(
        isinstance(record.get(name), kind) for name, kind in fields.items()
    ):
        raise UserError(f"{path} holds something else than images with labels ({record!r:.80})")
    datum = Datum.__new__(Datum)  # its __init__ asks for the image file
    datum.__dict__.update({name: record[name] for name in fields})
    if isinstance(record.get("_patient_id"), str):
        datum.__dict__["_patient_id"] = record["_patient_id"]
    return datum
