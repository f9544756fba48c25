"""What the processes of a run must agree on before they train and score together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from dassl.errors import UserError
from dassl.utils.distributed import broadcast_object, gather_objects, is_main, world_size


def check_can_be_shared(trainer_class: type, name: str) -> None:
    """Refuse a trainer that one process fits as a whole.

    Raises:
        UserError: with the names of those that several processes can train.
    """
    if getattr(trainer_class, "many_processes", False):
        return
    raise UserError(
        f"torchrun has started {world_size()} processes, and {name} works in one: start it without "
        f"torchrun. Trainers that several processes can share: {', '.join(_names())}"
    )


def _names() -> list[str]:
    from cerviclip import plugins

    entries = plugins.discover()["trainer"]
    classes = {n: plugins.ensure_loaded("trainer", n) for n, e in entries.items() if _is_ours(e)}
    return sorted(name for name, kind in classes.items() if getattr(kind, "many_processes", False))


def _is_ours(entry: Any) -> bool:
    return entry.module.startswith("cerviclip.trainers.")


def check_enough_images(count: int, batch_size: int) -> None:
    """Refuse batches of which some process would have no image.

    Raises:
        UserError: a batch has fewer images than there are processes.
    """
    smallest = min(count, batch_size)
    if smallest < world_size():
        raise UserError(
            f"a batch of {smallest} images (DATALOADER.TRAIN_X.BATCH_SIZE {batch_size}, {count} "
            f"training images) cannot be shared by {world_size()} processes; start at most "
            f"{smallest} (torchrun --nproc_per_node)"
        )


def check_same_images(dataset: Any, external: Mapping[str, Sequence[Any]]) -> None:
    """Refuse to go on where a process has found other images than the first one.

    Raises:
        UserError: with the number of the process, and what differs.
    """
    if world_size() == 1:
        return
    parts = {name: getattr(dataset, name, None) for name in ("train_x", "train_u", "val", "test")}
    own = {name: _hash(items or ()) for name, items in {**parts, **external}.items()}
    own["draw"] = str(getattr(dataset, "draw_hash", ""))
    first, *others = gather_objects(own)
    for number, other in enumerate(others, start=1):
        differing = [name for name in first if other.get(name) != first[name]]
        if differing or len(other) != len(first):
            raise UserError(
                f"process {number + 1} of {world_size()} has other images than the first one "
                f"({', '.join(differing) or 'other centres'}): give all machines the same data "
                "(--root)"
            )


def _hash(items: Iterable[Any]) -> str:
    """Of names within their class folder, labels and patients: folders differ between machines."""
    digest = hashlib.sha256()
    for item in items:
        name = "/".join(str(item.impath).split("/")[-2:])
        digest.update(f"{name}\t{item.label}\t{getattr(item, 'patient_id', '')}\n".encode())
    return digest.hexdigest()


def share_weights(models: Mapping[str, nn.Module | None]) -> None:
    """Give every process the first one's weights: GPUs may differ in the last digits of what was
    worked out before training."""
    if world_size() == 1:
        return
    for model in models.values():
        if model is None:
            continue
        state = {k: v.cpu() for k, v in model.state_dict().items()} if is_main() else None
        state = broadcast_object(state)
        if not is_main():
            model.load_state_dict(state)
