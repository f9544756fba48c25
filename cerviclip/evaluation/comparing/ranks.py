"""Methods over data sets by their ranks (Demsar, JMLR 2006): Friedman, then Nemenyi or Wilcoxon.

Letters: N data sets, K methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from cerviclip.evaluation.comparing.significance import holm

NEMENYI, WILCOXON = "nemenyi", "wilcoxon-holm"
LEAST_SETS, LEAST_METHODS = 3, 3


@dataclass(frozen=True)
class Ranking:
    """What a critical-difference diagram shows.

    ``ranks`` (K,) are mean ranks over data sets, 1 for the best. ``friedman`` is the p of the test
    that all methods are alike. ``critical`` is Nemenyi's critical difference, None with Wilcoxon's
    tests. ``p_values`` (K, K) are those of pairs, corrected; ``level`` the one they are held to.
    """

    ranks: np.ndarray
    friedman: float
    critical: float | None
    p_values: np.ndarray
    level: float

    def apart(self, i: int, j: int) -> bool:
        """Whether two methods are told apart."""
        return bool(self.friedman < self.level and self.p_values[i, j] < self.level)

    def cliques(self) -> list[tuple[int, ...]]:
        """Largest runs of neighbouring ranks in which no two methods are told apart."""
        order = [int(i) for i in np.argsort(self.ranks, kind="stable")]
        found: list[tuple[int, ...]] = []
        for start in range(len(order)):
            end = start
            while end + 1 < len(order) and not any(
                self.apart(i, j) for i, j in combinations(order[start : end + 2], 2)
            ):
                end += 1
            clique = tuple(order[start : end + 1])
            if len(clique) > 1 and not any(set(clique) <= set(other) for other in found):
                found.append(clique)
        return found


def rank_methods(
    values: np.ndarray, larger_is_better: bool = True, post_hoc: str = NEMENYI, level: float = 0.05
) -> Ranking:
    """Ranks of methods over data sets, and which are told apart.

    Args:
        values: (N, K) one number a data set and method; N and K at least 3.
        larger_is_better: of the numbers.
        post_hoc: ``nemenyi``, or ``wilcoxon-holm``: signed-rank tests of all pairs.
        level: of all tests.
    """
    values = np.asarray(values, dtype=np.float64)
    count, methods = values.shape
    if count < LEAST_SETS or methods < LEAST_METHODS:
        raise ValueError(f"{count} data sets and {methods} methods; ranks need 3 of each")
    ranks = rankdata(-values if larger_is_better else values, axis=1).mean(axis=0)
    alike = (values == values[:, :1]).all()
    friedman = 1.0 if alike else float(friedmanchisquare(*values.T).pvalue)
    if post_hoc == NEMENYI:
        error = np.sqrt(methods * (methods + 1) / (6 * count))
        critical = float(studentized_range.isf(level, methods, np.inf) / np.sqrt(2) * error)
        gaps = np.abs(ranks[:, None] - ranks) / error * np.sqrt(2)
        p_values = studentized_range.sf(gaps, methods, np.inf)
        return Ranking(ranks, friedman, critical, p_values, level)
    pairs = list(combinations(range(methods), 2))
    corrected = holm([_wilcoxon_p(values[:, i] - values[:, j]) for i, j in pairs])
    p_values = np.ones((methods, methods))
    for (i, j), p in zip(pairs, corrected, strict=True):
        p_values[i, j] = p_values[j, i] = p
    return Ranking(ranks, friedman, None, p_values, level)


def _wilcoxon_p(differences: np.ndarray) -> float:
    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0
