"""What a federation trains, on which centres, and how: a yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cerviclip.places import FEDERATIONS
from cerviclip.runs.settings.files.named_yaml import check_keys, find_yaml
from cerviclip.runs.settings.folders import variant_of_center
from cerviclip.runs.settings.requests import RunRequest, flat_opts
from dassl.config.yaml_file import read_yaml
from dassl.errors import UserError, did_you_mean

STRATEGIES = ("fedavg", "fedprox")
KEYS = {
    *("trainer", "backbone", "weights", "config", "shots", "seed", "rounds", "strategy", "mu"),
    *("opts", "centers", "pooled"),
}
CENTER_KEYS = {"dataset", "root", "opts"}


SERVER = "server"  # its process, beside those of the centres


@dataclass(frozen=True)
class Site:
    """One centre, or all of them pooled: a data set and the keys that choose its images."""

    name: str
    dataset: str
    root: str = ""
    opts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A federation's yaml.

    Attributes:
        rounds: how often weights are averaged; each centre's training is cut into as many parts.
        strategy: ``fedavg`` (McMahan et al., AISTATS 2017) or ``fedprox`` (Li et al., MLSys 2020).
        mu: weight of FedProx's proximal term; 0 is FedAvg.
        pooled: the data of all centres in one place, to compare with; None for no such run.
    """

    path: Path
    trainer: str
    backbone: str
    rounds: int
    strategy: str
    mu: float
    centers: tuple[Site, ...]
    pooled: Site | None = None
    weights: str = ""
    config: str = ""
    shots: int | str = "full"
    seed: int = 1
    opts: tuple[Any, ...] = ()

    def center(self, name: str) -> Site:
        """The centre of this name.

        Raises:
            UserError: the plan has none.
        """
        for site in self.centers:
            if site.name == name:
                return site
        names = [site.name for site in self.centers]
        raise UserError(
            f"{self.path} has no centre {name!r}{did_you_mean(name, names)} ({', '.join(names)})"
        )

    def request(self, site: Site, out: Path, root: str = "", federated: bool = False) -> RunRequest:
        """The run of one site, into ``out``."""
        own: tuple[Any, ...] = ()
        if federated:
            own = ("TRAIN.FEDERATED_ROUNDS", self.rounds, "TRAIN.FEDERATED_MU", self.mu)
        return RunRequest(
            trainer=self.trainer,
            dataset=site.dataset,
            backbone=self.backbone,
            weights=self.weights,
            config_file=self.config,
            shots=self.shots,
            seed=self.seed,
            root=site.root or root,
            output_dir=str(out),
            variant=variant_of_center(out),
            opts=(*self.opts, *site.opts, *own),
        )


def find_plan(name: str) -> Path:
    """A plan by its name in configs/federations, or by its path."""
    return find_yaml(name, FEDERATIONS, "federation")


def read_plan(path: Path, root: str = "", weights: str = "") -> Plan:
    """The yaml's content, checked.

    Args:
        path: of the yaml.
        root: of the data of centres that name none.
        weights: instead of the yaml's.

    Raises:
        UserError: a key is unknown or missing, or a value is out of range.
    """
    tree = read_yaml(path, "federation", "keys such as 'trainer:' and 'centers:'")
    check_keys(tree, KEYS, f"{path}")
    for key in ("trainer", "backbone", "rounds", "centers"):
        if not tree.get(key):
            raise UserError(f"{path} has no '{key}'")
    strategy, mu = str(tree.get("strategy", "fedavg")).lower(), tree.get("mu", 0.0)
    if strategy not in STRATEGIES:
        raise UserError(f"{path}: strategy {strategy!r}; take {' or '.join(STRATEGIES)}")
    if not isinstance(mu, (int, float)) or mu < 0 or (mu > 0) != (strategy == "fedprox"):
        raise UserError(f"{path}: mu is {mu!r}; fedprox takes a number above 0, fedavg none")
    rounds = tree["rounds"]
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
        raise UserError(f"{path}: rounds is {rounds!r}; it takes a whole number from 1")
    centers = tree["centers"]
    if not isinstance(centers, Mapping) or len(centers) < 2:
        raise UserError(f"{path}: 'centers' maps two names or more to their data sets")
    sites = tuple(_site(str(name), value, path, root) for name, value in centers.items())
    pooled = tree.get("pooled")
    return Plan(
        path=path,
        trainer=str(tree["trainer"]),
        backbone=str(tree["backbone"]),
        rounds=rounds,
        strategy=strategy,
        mu=float(mu),
        centers=sites,
        pooled=_site("pooled", pooled, path, root) if pooled else None,
        weights=weights or str(tree.get("weights") or ""),
        config=str(tree.get("config") or ""),
        shots=tree.get("shots", "full"),
        seed=int(tree.get("seed", 1)),
        opts=flat_opts(tree.get("opts"), f"in {path}"),
    )


def _site(name: str, value: Any, path: Path, root: str) -> Site:
    value = {"dataset": value} if isinstance(value, str) else value
    if not isinstance(value, Mapping) or not value.get("dataset"):
        raise UserError(f"{path}: centre {name} is a data set's name or has 'dataset: NAME'")
    if name in (SERVER, ".", "..", "") or "/" in name or "\\" in name:
        raise UserError(
            f"{path}: a centre cannot be called {name!r}: its runs have a folder of that name, and "
            f"{SERVER} is the server's; give another name, without a slash"
        )
    check_keys(value, CENTER_KEYS, f"centre {name} of {path}")
    opts = flat_opts(value.get("opts"), f"in {path}")
    return Site(name, str(value["dataset"]), str(value.get("root") or root), opts)
