"""Domain generalisation: train on some domains, test on one never seen."""

from .crossgrad import CrossGrad
from .ddaig import DDAIG
from .domain_mix import DomainMix
from .vanilla import Vanilla

__all__ = ["CrossGrad", "DDAIG", "DomainMix", "Vanilla"]
