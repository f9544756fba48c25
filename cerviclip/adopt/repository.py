"""A repository written for Dassl, as its sources show it: nothing is imported. Needs no torch."""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from cerviclip.class_sources import registered_in
from cerviclip.git_commit import commit_of

REGISTRY = "TRAINER_REGISTRY"
#: Files that can change what a trainer does. Larger ones are data or weights.
SUFFIXES = (".py", ".yaml", ".yml", ".json", ".txt", ".csv", ".gz")
LARGEST = 8_000_000  # bytes
SKIPPED = ("__pycache__", "output", "outputs", "node_modules", "ipynb_checkpoints")
#: Methods that show that a trainer learns. One that has none of them only infers.
LEARNING = {"forward_backward", "train", "run_epoch", "before_train", "before_epoch", "after_train"}
PLAIN_BASES = {"TrainerX", "TrainerXU", "SimpleTrainer", "TrainerBase", "object"}


@dataclass(frozen=True)
class ForeignTrainer:
    """A class that a repository registers."""

    name: str
    file: Path
    module: str  # dotted, from the repository's root
    summary: str
    learns: bool


class Repository:
    """The folder that its own ``train.py`` is run from.

    Args:
        root: the folder.
        files: those of its Python files that register a trainer.
    """

    def __init__(self, root: Path, files: list[Path]) -> None:
        self.root = root
        self._files = files

    @cached_property
    def trainers(self) -> dict[str, ForeignTrainer]:
        """By name; of two classes of one name, the one whose file is nearest to the root."""
        classes = self._classes()
        found: dict[str, ForeignTrainer] = {}
        for file in sorted(self._files, key=lambda path: len(path.parts)):
            tree = parsed(file)
            for node in tree.body if tree else ():
                if isinstance(node, ast.ClassDef) and node.name in registered_trainers(file):
                    module = ".".join(file.relative_to(self.root).with_suffix("").parts)
                    doc = (ast.get_docstring(node) or "").strip().splitlines()
                    learns = _learns(node, classes | own_classes(file))
                    trainer = ForeignTrainer(node.name, file, module, (doc or [""])[0], learns)
                    found.setdefault(node.name, trainer)
        return dict(sorted(found.items(), key=lambda item: item[0].lower()))

    @cached_property
    def commit(self) -> str | None:
        """The commit of the checkout that the folder is in."""
        for folder in (self.root, *self.root.parents):
            if (folder / ".git").exists():
                return commit_of(folder)
        return None

    def files(self) -> list[Path]:
        """Every file that can change what its trainers do, sorted."""
        return sorted(path for path in walk(self.root) if _counts(path))

    def files_sha256(self) -> str:
        """A hash of these files: their names and their content."""
        stamps = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in self.files())
        return _hash_of(str(self.root), stamps)

    def config_of(self, trainer: str, backbone: str) -> Path | None:
        """The yaml of a trainer for a backbone.

        In a folder named as the trainer: of the files that name the backbone the shortest, else of
        those that name ViT-B/16, else the first. A trainer that only infers takes its sizes from
        any trainer's; a repository with one yaml has it for all.
        """
        own = self.configs_of(trainer)
        if not own:
            found = self.trainers.get(trainer)
            every = self.all_configs()
            own = every if len(every) == 1 or (found and not found.learns) else []
        for wanted in (letters(backbone), letters("vit_b16")):
            for path in sorted(own, key=_size):
                if wanted and wanted in letters(path.stem):
                    return path
        return own[0] if own else None

    def configs_of(self, trainer: str) -> list[Path]:
        """All yaml files in folders that are named as the trainer."""
        wanted = letters(trainer)
        return [path for path in self.all_configs() if letters(path.parent.name) == wanted]

    def all_configs(self) -> list[Path]:
        """The yaml files of all its trainers: those below a folder ``trainers`` or in one named as
        a trainer, and not of its copy of Dassl."""
        patched = self.patched_dassl()
        names = {letters(name) for name in self.trainers}
        found = (p for p in walk(self.root) if p.suffix in (".yaml", ".yml"))
        return sorted(
            p for p in found
            if ("trainers" in p.relative_to(self.root).parts or letters(p.parent.name) in names)
            and (patched is None or patched.parent == self.root or patched.parent not in p.parents)
        )  # fmt: skip

    def patched_dassl(self) -> Path | None:
        """The copy of Dassl that comes with it, in the folder or beside it."""
        top = next((p for p in (self.root, *self.root.parents) if (p / ".git").exists()), self.root)
        places = [self.root, *self.root.parents]
        for place in places[: places.index(top) + 1]:
            for inner in (place / "dassl", *sorted(place.glob("[Dd]assl*/dassl"))):
                if (inner / "engine").is_dir():
                    return inner
        return next((p for p in sorted(self.root.iterdir()) if is_dassl(p)), None)

    def names_of_dassl(self) -> list[str]:
        """Names other than ``dassl`` that its copy of Dassl is imported by: ``my_dassl``."""
        patched = self.patched_dassl()
        if patched is None or not patched.is_relative_to(self.root):
            return []
        parts = patched.relative_to(self.root).parts
        name = ".".join(parts)
        return [name] if name != "dassl" and all(map(str.isidentifier, parts)) else []

    def config_scripts(self) -> list[Path]:
        """Files at its top that define ``extend_cfg``: ``train.py`` first, then others to train."""
        found = [p for p in sorted(self.root.glob("*.py")) if _defines(p, "extend_cfg")]
        return sorted(found, key=lambda p: (p.name != "train.py", "train" not in p.name, p.name))

    def _classes(self) -> dict[str, ast.ClassDef]:
        found: dict[str, ast.ClassDef] = {}
        for path in walk(self.root):
            if path.suffix == ".py" and not within_dassl(path, self.root):
                found |= own_classes(path)
        return found


def find_repositories(folder: Path) -> list[Repository]:
    """The repositories in a folder: itself, or several that lie in it."""
    files: dict[Path, list[Path]] = {}
    for path in sorted(walk(folder)):
        if path.suffix == ".py" and not within_dassl(path, folder) and registered_trainers(path):
            files.setdefault(_root_of(path, folder), []).append(path)
    return [Repository(root, of_root) for root, of_root in sorted(files.items())]


def unreadable_trainers(folder: Path) -> list[str]:
    """Files that name the registry of trainers and are no Python to this interpreter, with why."""
    found = []
    for path in sorted(p for p in walk(folder) if p.suffix == ".py"):
        text = path.read_text(encoding="utf-8", errors="replace")
        if REGISTRY in text and parsed(path) is None:
            try:
                ast.parse(text)
            except (SyntaxError, ValueError) as error:
                place = f"{path.relative_to(folder)}, line {getattr(error, 'lineno', None) or 1}"
                version = ".".join(map(str, sys.version_info[:2]))
                found.append(
                    f"{place}: Python {version} cannot read it "
                    f"({getattr(error, 'msg', error)}); a newer or older Python may"
                )
    return found


def is_dassl(folder: Path) -> bool:
    """Whether a folder is a copy of the package ``dassl``, whatever its name."""
    marks = ("engine/trainer.py", "config/defaults.py", "data/data_manager.py")
    return all((folder / mark).is_file() for mark in marks)


def walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, without hidden ones and what runs leave there."""
    for top, names, files in os.walk(folder):
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in SKIPPED)
        yield from (Path(top, name) for name in files if not name.startswith("."))


def parsed(path: Path) -> ast.Module | None:
    """A file's syntax tree; None where it is no Python that can be read."""
    try:
        return _parse(path, path.stat().st_mtime_ns)
    except (OSError, SyntaxError, ValueError):
        return None


def own_classes(path: Path) -> dict[str, ast.ClassDef]:
    """The classes at the top of a file."""
    tree = parsed(path)
    return {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)} if tree else {}


def registered_trainers(path: Path) -> set[str]:
    """Names of the trainers that a file registers, as a decorator or by a call."""
    try:
        if REGISTRY not in path.read_text(encoding="utf-8", errors="replace"):
            return set()
    except OSError:
        return set()
    tree = parsed(path)
    return registered_in(tree, REGISTRY) if tree else set()


def letters(name: str) -> str:
    """Letters and digits alone: ViT-B/16 and vit_b16 are one."""
    return "".join(c for c in name.lower() if c.isalnum())


@lru_cache(maxsize=4096)
def _parse(path: Path, _changed: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8", errors="replace"))


@lru_cache(maxsize=64)
def _hash_of(root: str, stamps: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in stamps:
        content = hashlib.sha256(Path(name).read_bytes()).hexdigest()
        digest.update(f"{Path(name).relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _counts(path: Path) -> bool:
    return path.suffix in SUFFIXES and path.is_file() and path.stat().st_size <= LARGEST


def _size(path: Path) -> tuple[int, str]:
    return len(path.stem), str(path)


def _defines(path: Path, function: str) -> bool:
    tree = parsed(path)
    return tree is not None and any(
        isinstance(n, ast.FunctionDef) and n.name == function for n in tree.body
    )


def _root_of(file: Path, folder: Path) -> Path:
    """The folder to put first on ``sys.path`` for a trainer's file: the nearest that has a script
    with ``extend_cfg`` or a ``train.py``, else the nearest that has ``trainers/``, else its own."""
    above = [p for p in file.parents if p == folder or folder in p.parents]
    for place in above:
        scripts = [p for p in place.glob("*.py") if p != file]
        if (place / "train.py").is_file() or any(_defines(p, "extend_cfg") for p in scripts):
            return place
    return next((p for p in above if (p / "trainers").is_dir()), file.parent)


def within_dassl(path: Path, folder: Path) -> bool:
    """Whether a file below a folder belongs to a copy of Dassl."""
    inner = path.relative_to(folder).parts[:-1]
    return "dassl" in inner or any(
        is_dassl(place) for place in path.parents if place == folder or folder in place.parents
    )


def _learns(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if LEARNING & {n.name for n in one.body if isinstance(n, ast.FunctionDef)}:
            return True
        for base in one.bases:
            name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
            if name in classes and name not in seen:
                waiting.append(classes[name])
            elif name not in PLAIN_BASES | seen:
                return True  # a trainer of Dassl's, which learns
            seen.add(name)
    return False
