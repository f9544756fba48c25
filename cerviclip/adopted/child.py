"""The process that an adopted trainer lives in: ``python -m cerviclip.adopted.child FOLDER``.

It reads its job from the folder, and leaves its answer there (`launch` says what they are).
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from cerviclip.runs.run.process.summation_order import fix_summation_order

fix_summation_order()  # before torch is imported

# ruff: noqa: E402
import torch

from cerviclip.adopt import stand_in
from cerviclip.adopt.launch import Answer, Job
from cerviclip.adopt.repository import Repository, find_repositories, walk, within_dassl
from cerviclip.adopt.spec import Adoption, read_adoption
from cerviclip.adopted import own_dassl, patches, placeholders, surroundings
from cerviclip.adopted.failures import AdoptedCodeError
from cerviclip.adopted.imports import extend, import_trainer
from cerviclip.adopted.inner_tables import InnerTables
from cerviclip.adopted.trainer import build
from cerviclip.locks import AtWorkError
from cerviclip.runs.settings.config_hash import flatten
from cerviclip.runs.settings.files.named_files import named_files, named_folders
from dassl.config import CfgNode, get_cfg_default
from dassl.errors import UserError
from dassl.paths import at_home

#: What a run of ours sets itself, whatever a repository's defaults say.
OURS = {"OUTPUT_DIR", "SEED", "RESUME", "DATASET.NAME", "DATASET.ROOT", "DATASET.NUM_SHOTS"}


def main() -> int:
    """Do the job in the folder that the first argument names."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(sys.argv[1])
    job = pickle.loads((folder / "job.pkl").read_bytes())
    try:
        answer = Answer(value=_do(job))
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        at_work = isinstance(error, AtWorkError)
        answer = Answer(str(error), is_user_error=True, at_work=at_work)
    except Exception as error:
        answer = Answer(" ".join(str(error).split()), trace=traceback.format_exc())
    part = folder / "answer.part"
    part.write_bytes(pickle.dumps(answer))
    part.replace(folder / "answer.pkl")
    return 0


def _do(job: Job) -> Any:
    if job.what == "list":
        return try_trainers(find_repository(Path(job.plugin)))
    adoption = read_adoption(job.plugin)
    if job.what == "describe":
        return describe(adoption)
    return make(job, adoption)


def find_repository(root: Path) -> Repository:
    """The repository whose root is this very folder."""
    return next(found for found in find_repositories(root) if found.root == root)


def describe(adoption: Adoption) -> dict[str, Any]:
    """Import a trainer and its ``extend_cfg``: the keys that they add, and what to know."""
    notes = prepare(adoption.repository)
    import_trainer(adoption.repository, adoption.trainer, notes)
    cfg = get_cfg_default()
    before = flatten(cfg)
    add_patched_defaults(cfg, adoption.repository)
    notes += extend(cfg, adoption.repository, adoption.trainer)
    after = flatten(cfg)
    changed = {
        key: value for key, value in after.items()
        if key not in OURS and (key not in before or before[key] != value)
    }  # fmt: skip
    return {"tree": _nested(cfg, changed), "notes": notes}


def try_trainers(repository: Repository) -> dict[str, Any]:
    """Import every trainer of a repository: what fails of each, the config keys, what to know."""
    notes = prepare(repository)
    cfg = get_cfg_default()
    add_patched_defaults(cfg, repository)
    failures, keys = {}, {}
    for name, trainer in repository.trainers.items():
        try:
            import_trainer(repository, trainer, notes)
            fresh = cfg.clone()
            notes += [n for n in extend(fresh, repository, trainer) if n not in notes]
            keys[name] = flatten(fresh.TRAINER, "TRAINER.")
            failures[name] = ""
        except (UserError, AdoptedCodeError) as error:
            failures[name] = str(error)
    notes += [
        f"{heir} inherits from {kind}: what uses it needs the package {kind.split('.')[0]}"
        for kind, heir in placeholders.inherited.items()
    ]
    return {"failures": failures, "keys": keys, "notes": notes}


def make(job: Job, adoption: Adoption) -> Any:
    """Make a run, or evaluate one; its own folder and files are as of any run."""
    from cerviclip.runs.run.runner import run_one
    from cerviclip.runs.run.testing.evaluate import evaluate_run
    from cerviclip.runs.settings.configure import setup_cfg

    stand_in.remember(job.descriptions)
    request = job.request
    cfg = with_absolute_paths(setup_cfg(request))  # imports our data sets, before the path changes
    model, output = (
        os.path.abspath(p) if p else "" for p in (request.evaluate, request.output_dir)
    )
    notes = prepare(adoption.repository)
    tables = InnerTables(adoption.repository.root)
    tables.install()
    kind = import_trainer(adoption.repository, adoption.trainer, notes)
    stand_in.build_by(job.plugin, lambda cfg: build(adoption, kind, cfg, notes, tables))
    if job.what == "evaluate":
        return evaluate_run(cfg, model, output, request.load_epoch)
    run_one(
        cfg,
        variant=request.variant,
        fresh=job.fresh,
        echo=job.echo,
        train=job.train,
        keep_user_errors=job.keep_user_errors,
        wait=job.wait,
    )
    return None


def prepare(repository: Repository) -> list[str]:
    """Make the surroundings that a repository expects; returns what to know about them."""
    missing = placeholders.missing_packages(repository.root)
    surroundings.put_first(repository.root)
    surroundings.be_quiet()
    surroundings.bring_back_old_names()
    surroundings.let_names_be_registered_twice()
    surroundings.give_data_sets_all_classnames()
    placeholders.stand_in_for(list(missing))
    notes = [
        f"{path.relative_to(repository.root)} imports {name}, which is not installed: "
        + ("its calls do nothing" if name in placeholders.LOGGERS else "stood in for")
        for name, path in missing.items()
        if not within_dassl(path, repository.root)
    ]
    os.environ.setdefault("WANDB_MODE", "disabled")  # what it would log is in our files
    if not torch.cuda.is_available():
        surroundings.live_without_gpu()
        notes.append("no GPU: cuda means the CPU, half precision means single precision")
    patched = repository.patched_dassl()
    if patched is not None:
        users = [p for p in walk(repository.root) if p.suffix == ".py" and patched not in p.parents]
        own_dassl.bring_modules(patched)
        own_dassl.let_be_called(repository.names_of_dassl())
        for where, name in patches.additions(patched, users):
            taken = own_dassl.take(patched, where, name)
            how = "taken from there" if taken else "it is missing here"
            notes.append(f"its own Dassl adds dassl/{where}: {name}: {how}")
        notes += [f"its own Dassl adds the key {key}" for key in patches.added_defaults(patched)]
    return notes


def add_patched_defaults(cfg: CfgNode, repository: Repository) -> None:
    """Config keys that only the repository's own Dassl has, with its defaults."""
    patched = repository.patched_dassl()
    if patched is None:
        return
    values = patches.default_keys(patched / "config" / "defaults.py")
    for key in patches.added_defaults(patched):
        stand_in.merge(cfg, _tree({key: values[key]}))


def with_absolute_paths(cfg: CfgNode) -> CfgNode:
    """The same configuration for a process that works in another folder.

    Its hash stays, since paths are no part of it.
    """
    flat = flatten(cfg)
    cfg = cfg.clone()
    cfg.defrost()
    for key, path in {**named_files(flat), **named_folders(flat)}.items():
        if path is not None and key != "MODEL.BACKBONE.NAME" and "DESCRIPTIONS" not in key:
            _set(cfg, key, os.path.abspath(path))
    for key in ("OUTPUT_DIR", "RESUME", "DATASET.ROOT"):
        if flat[key]:
            _set(cfg, key, os.path.abspath(at_home(flat[key])))
    cfg.freeze()
    return cfg


def _set(cfg: CfgNode, key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        cfg = cfg[section]
    cfg[last] = value


def _nested(cfg: CfgNode, keys: dict[str, Any]) -> dict[str, Any]:
    """These keys as a tree, with the values as the configuration holds them (tuples stay)."""
    found = {}
    for key in keys:
        node: Any = cfg
        for part in key.split("."):
            node = node[part]
        found[key] = node
    return _tree(found)


def _tree(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    return tree


def _end_with_parent() -> None:
    """The parent holds our standard input open; when it is gone, so are we.

    Not ``sys.stdin``: a thread that waits in it holds its lock, and forked loader workers, which
    close it, would wait for that lock for ever.
    """
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
