"""Domain generalisation: train on some domains, test on one never seen."""

from .domain_mix import DomainMix
from .vanilla import Vanilla

__all__ = ["DomainMix", "Vanilla"]
