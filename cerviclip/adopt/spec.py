"""What ``--adopt NAME=path/to/repo[:Trainer[:yaml]]`` asks for. Needs no torch.

Inside the project an adoption goes as a plug-in, ``adopt:NAME=/abs/path:Trainer:/abs/yaml``, so
that it reaches worker processes the way that plug-ins do.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path

from cerviclip.adopt.repository import (
    ForeignTrainer,
    Repository,
    find_repositories,
    is_dassl,
    letters,
    unreadable_trainers,
)
from dassl.errors import MissingFileError, UnknownNameError, UserError, did_you_mean
from dassl.paths import at_home

PREFIX = "adopt:"
#: Ends the name of every adopted trainer, in registries, folders, tables and figures.
MARK = "@adopted"


@dataclass(frozen=True)
class Adoption:
    """One trainer of one repository, under a name of the user's.

    Attributes:
        name: as the user calls it; ``label`` is what tables call it.
        repository: the folder that comes first on the trainer's ``sys.path``.
        trainer: the registered class.
        config: its yaml, absolute; "" to take the one that fits the backbone best.
    """

    name: str
    repository: Repository
    trainer: ForeignTrainer
    config: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}{MARK}"

    @property
    def plugin(self) -> str:
        """The plug-in that stands for it."""
        parts = [str(self.repository.root), self.trainer.name, self.config]
        return f"{PREFIX}{self.name}={':'.join(parts)}"

    def config_for(self, backbone: str) -> str:
        """Its yaml: the one asked for, else the repository's for this backbone; "" for none.

        Raises:
            UserError: the repository has yaml files, and none of them is plainly the trainer's.
        """
        found = self.config or self.repository.config_of(self.trainer.name, backbone)
        if not found and self.trainer.learns and (every := self.repository.all_configs()):
            root, wanted = self.repository.root, letters(self.trainer.name)
            near = max(every, key=lambda p: _alike(letters(p.parent.name), wanted))
            raise UserError(
                f"--adopt {self.name}: none of the {len(every)} yaml files in {root} is in a "
                f"folder named {self.trainer.name}; name the one to take: --adopt {self.name}="
                f"{root}:{self.trainer.name}:{near.relative_to(root)}"
            )
        return str(found or "")


def is_adoption(plugin: str) -> bool:
    """Whether a plug-in stands for an adopted trainer."""
    return plugin.startswith(PREFIX)


def is_adopted(trainer: str) -> bool:
    """Whether a trainer's name is that of an adopted one."""
    return trainer.endswith(MARK)


@lru_cache(maxsize=256)
def read_adoption(text: str) -> Adoption:
    """What a flag's value, or the plug-in made of it, asks for.

    Raises:
        UserError: the value has another form.
        MissingFileError: no such folder or yaml.
        UnknownNameError: no such trainer in it, or several of that name.
    """
    name, equals, rest = text.removeprefix(PREFIX).partition("=")
    path, trainer, config = (rest.split(":", 2) + ["", ""])[:3]
    if not (name and equals and path) or "/" in name or name.strip() != name:
        raise UserError(
            f"--adopt {text}: give NAME=path/to/repository, or "
            "NAME=path/to/repository:TrainerName:path/to/its.yaml"
        )
    folder = at_home(path).resolve()
    if not folder.is_dir():
        raise MissingFileError(f"--adopt {name}: there is no folder {path}")
    repository, found = _find_trainer(folder, trainer or name, asked=bool(trainer), name=name)
    return Adoption(name, repository, found, _find_config(config, repository.root, folder, name))


def _find_trainer(
    folder: Path, wanted: str, asked: bool, name: str
) -> tuple[Repository, ForeignTrainer]:
    repositories = find_repositories(folder)
    everything = [(r, t) for r in repositories for t in r.trainers.values()]
    if not everything:
        raise UserError(f"--adopt {name}: {no_trainer(folder)}")
    found = [(r, t) for r, t in everything if t.name == wanted]
    found = found or [(r, t) for r, t in everything if t.name.lower() == wanted.lower()]
    if not found and not asked and len(everything) == 1:
        found = everything
    names = sorted({t.name for _, t in everything})
    if not found:
        broken = "".join(f" ({line})" for line in unreadable_trainers(folder))
        raise UnknownNameError(
            f"--adopt {name}: {folder} has no trainer {wanted!r}{did_you_mean(wanted, names)}"
            f"{broken}; name one of {', '.join(names)}: --adopt {name}={folder}:{names[0]}"
        )
    found = [(r, t) for r, t in found if r.root == folder] or found
    if len(found) > 1:
        places = ", ".join(str(t.file.relative_to(folder)) for _, t in found)
        raise UnknownNameError(
            f"--adopt {name}: {wanted!r} is registered several times below {folder} ({places}); "
            "give the path of one of these repositories"
        )
    return found[0]


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def no_trainer(folder: Path) -> str:
    """What to say of a folder in which no trainer was found."""
    broken = "; ".join(unreadable_trainers(folder))
    if any(is_dassl(place) for place in (folder, *sorted(folder.glob("*")))) and not broken:
        broken = "the trainers of Dassl itself (dassl/engine) are not adopted"
    how = "a class under @TRAINER_REGISTRY.register()"
    return f"{folder} registers no trainer ({how}){': ' if broken else ''}{broken}"


def _find_config(config: str, root: Path, folder: Path, name: str) -> str:
    if not config:
        return ""
    for place in (at_home(config), root / config, folder / config):
        if place.is_file():
            return str(place.resolve())
    raise MissingFileError(f"--adopt {name}: there is no yaml {config}, here or in {root}")
