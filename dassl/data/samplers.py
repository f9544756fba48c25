"""Samplers that fill a batch with equal shares of domains or classes.

Each draws from the global ``random`` in upstream's order, one draw of a whole pass at construction
included (it counts the length), so that a seed gives upstream's batches.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data.sampler import RandomSampler, Sampler, SequentialSampler

from dassl.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from .datasets import Datum


class _DomainSampler(Sampler):
    """What the two domain samplers share: equal numbers of images from each domain of a batch."""

    length = 0

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_domain: int) -> None:
        self.data_source = data_source
        self.domain_dict: dict[int, list[int]] = defaultdict(list)
        for i, item in enumerate(data_source):
            self.domain_dict[item.domain].append(i)
        self.domains = list(self.domain_dict)

        if n_domain is None or n_domain <= 0:
            n_domain = len(self.domains)
        if n_domain > len(self.domains):
            raise UserError(
                f"{n_domain} domains per batch asked for (N_DOMAIN), the data have "
                f"{len(self.domains)}"
            )
        if batch_size % n_domain:
            raise UserError(
                f"a batch of {batch_size} (BATCH_SIZE) cannot hold equal shares of "
                f"{n_domain} domains"
            )
        self.batch_size = batch_size
        self.n_domain = n_domain
        self.n_img_per_domain = batch_size // n_domain

    def _next_domains(self) -> list[int]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        left = {domain: list(indices) for domain, indices in self.domain_dict.items()}
        for domain, indices in left.items():
            if len(indices) < self.n_img_per_domain:
                raise UserError(
                    f"domain {domain} has {len(indices)} images, a batch needs "
                    f"{self.n_img_per_domain} of each: make DATALOADER.TRAIN_X.BATCH_SIZE smaller"
                )
        order: list[int] = []
        exhausted = False
        # The batch in which a domain runs out is still completed.
        while not exhausted:
            for domain in self._next_domains():
                chosen = random.sample(left[domain], self.n_img_per_domain)
                order += chosen
                used = set(chosen)
                left[domain] = [i for i in left[domain] if i not in used]
                exhausted |= len(left[domain]) < self.n_img_per_domain
        return iter(order)

    def __len__(self) -> int:
        return self.length


class RandomDomainSampler(_DomainSampler):
    """Batches of ``n_domain`` randomly chosen domains with equal numbers of images each.

    Args:
        data_source: the items to sample from.
        batch_size: images per batch, a multiple of ``n_domain``.
        n_domain: domains per batch; 0 means all.
    """

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_domain: int) -> None:
        super().__init__(data_source, batch_size, n_domain)
        self.length = len(list(iter(self)))

    def _next_domains(self) -> list[int]:
        return random.sample(self.domains, self.n_domain)


class SeqDomainSampler(_DomainSampler):
    """Batches with equal numbers of random images from every domain, domains in sorted order."""

    def __init__(self, data_source: Sequence[Datum], batch_size: int) -> None:
        super().__init__(data_source, batch_size, 0)
        self.domains.sort()
        self.length = len(list(iter(self)))

    def _next_domains(self) -> list[int]:
        return self.domains


class RandomClassSampler(Sampler):
    """Batches of randomly chosen classes with ``n_ins`` images each.

    A class with fewer images than ``n_ins`` is filled up with repeats (drawn from NumPy's global
    generator, as upstream does).

    Args:
        data_source: the items to sample from.
        batch_size: images per batch.
        n_ins: images per class in a batch.
    """

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_ins: int) -> None:
        if batch_size < n_ins:
            raise UserError(f"batch_size={batch_size} must be no less than n_ins={n_ins}")
        self.data_source = data_source
        self.batch_size = batch_size
        self.n_ins = n_ins
        self.ncls_per_batch = batch_size // n_ins
        self.index_dic: dict[int, list[int]] = defaultdict(list)
        for i, item in enumerate(data_source):
            self.index_dic[item.label].append(i)
        self.labels = list(self.index_dic)
        if len(self.labels) < self.ncls_per_batch:
            raise UserError(
                f"a batch of {batch_size} with {n_ins} images per class holds "
                f"{self.ncls_per_batch} classes, the data have {len(self.labels)}"
            )
        self.length = len(list(iter(self)))

    def _groups_of_class(self, label: int) -> list[list[int]]:
        """Shuffle one class and cut it into full groups of ``n_ins``."""
        indices = list(self.index_dic[label])
        if len(indices) < self.n_ins:
            indices = np.random.choice(indices, size=self.n_ins, replace=True).tolist()
        random.shuffle(indices)
        stops = range(self.n_ins, len(indices) + 1, self.n_ins)
        return [indices[stop - self.n_ins : stop] for stop in stops]

    def __iter__(self) -> Iterator[int]:
        groups = {label: self._groups_of_class(label) for label in self.labels}
        available = list(self.labels)
        order: list[int] = []
        while len(available) >= self.ncls_per_batch:
            for label in random.sample(available, self.ncls_per_batch):
                order += groups[label].pop(0)
                if not groups[label]:
                    available.remove(label)
        return iter(order)

    def __len__(self) -> int:
        return self.length


def build_sampler(
    sampler_type: str,
    cfg: CfgNode | None = None,
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
) -> Sampler:
    """Build a sampler by name; ``n_domain`` and ``n_ins`` matter only to those that use them."""
    if sampler_type == "RandomSampler":
        return RandomSampler(data_source)
    if sampler_type == "SequentialSampler":
        return SequentialSampler(data_source)
    if sampler_type == "RandomDomainSampler":
        return RandomDomainSampler(data_source, batch_size, n_domain)
    if sampler_type == "SeqDomainSampler":
        return SeqDomainSampler(data_source, batch_size)
    if sampler_type == "RandomClassSampler":
        return RandomClassSampler(data_source, batch_size, n_ins)
    known = "RandomClassSampler, RandomDomainSampler, RandomSampler, SeqDomainSampler, "
    raise UnknownNameError(
        f'unknown sampler type "{sampler_type}"; known: {known}SequentialSampler'
    )
