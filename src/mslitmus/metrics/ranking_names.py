"""Names of ranking metrics.

hit@K  mrr  rank  normalised-rank  top-1%      ties by expectation; with the suffix :optimistic the truth wins its ties
tanimoto@1  mces@1  absence-auc
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ConfigError
from .names import Family

#: Suffix of the tie rule by which others count: the truth stands before all that score the same.
OPTIMISTIC = ":optimistic"
#: `mces@1` is min(distance, this), the value that is exact for every decided pair.
MCES_LIMIT = 15.0

#: measure → words for a table, words for a sentence, value of a perfect ranking, value of a failed query.
MEASURES: dict[str, tuple[str, str, float, float | None]] = {
    "hit": ("Hit rate at {k}", "probability that the truth is among the top {k} candidates", 1.0, 0.0),
    "mrr": ("Mean reciprocal rank", "expected reciprocal rank of the truth", 1.0, 0.0),
    "rank": (
        "Rank of the truth (lower is better)",
        "expected rank of the truth, 1 is first (lower is better)",
        1.0,
        None,
    ),
    "normalised-rank": (
        "Normalised rank (lower is better)",
        "(expected rank − 1) / (candidates − 1): 0 is first, 1 last, 0.5 chance (lower is better)",
        0.0,
        1.0,
    ),
    "top-1%": ("Truth in the top 1 %", "probability that the truth is among the top 1 % of its candidates", 1.0, 0.0),
    "tanimoto@1": (
        "Tanimoto similarity of the top candidate",
        "Tanimoto similarity (Morgan radius 2, 2048 bits) of the top candidate to the truth",
        1.0,
        0.0,
    ),
    "mces@1": (
        "MCES distance of the top candidate (at most 15; lower is better)",
        "min(MCES distance, 15) of the top candidate to the truth (lower is better)",
        0.0,
        MCES_LIMIT,
    ),
    "absence-auc": (
        "AUC of truth present against absent",
        "probability that the top score of a query with its truth exceeds that of another query without",
        1.0,
        0.0,
    ),
}
LOWER_IS_BETTER = frozenset({"rank", "normalised-rank", "mces@1"})
BY_PLACE = frozenset({"hit", "mrr", "rank", "normalised-rank", "top-1%"})  # of the place of the truth alone
OF_STRUCTURE = frozenset({"tanimoto@1", "mces@1"})  # of the structure of the top candidate


@dataclass(frozen=True)
class RankingMetric:
    """A parsed metric name: `k` of `hit@k` alone; `optimistic` for the suffix of that name."""

    measure: str
    k: int | None = None
    optimistic: bool = False
    family = "ranking"

    @property
    def name(self) -> str:
        at = f"@{self.k}" if self.k is not None else ""
        return f"{self.measure}{at}{OPTIMISTIC if self.optimistic else ''}"

    @property
    def label(self) -> str:
        return MEASURES[self.measure][0].format(k=self.k) + (", ties to the truth" if self.optimistic else "")

    @property
    def describe(self) -> str:
        ties = ", which wins every tie (as MassSpecGym counts)" if self.optimistic else ""
        return MEASURES[self.measure][1].format(k=self.k) + ties

    @property
    def higher_is_better(self) -> bool:
        return self.measure not in LOWER_IS_BETTER

    @property
    def best(self) -> float | None:
        return MEASURES[self.measure][2]

    @property
    def worst(self) -> float | None:
        return MEASURES[self.measure][3]


def parse(name: str) -> RankingMetric | None:
    """The metric, None if it is no ranking metric; ConfigError for a K or a suffix that cannot be."""
    bare, colon, suffix = name.partition(":")
    head, _, k = bare.partition("@")
    measure = bare if bare in MEASURES and bare != "hit" else head
    if measure not in MEASURES or (measure != "hit" and bare != measure):
        return None
    if colon and (":" + suffix != OPTIMISTIC or measure not in BY_PLACE):
        remedy = f"write {bare!r}" + (f" or '{bare}{OPTIMISTIC}'" if measure in BY_PLACE else "")
        raise ConfigError(f"metric {name!r} has no form {':' + suffix!r}", remedy=remedy)
    if measure != "hit":
        return RankingMetric(measure, None, bool(colon))
    if not re.fullmatch(r"[0-9]+", k) or int(k) < 1:
        raise ConfigError(f"metric {name!r} names no number of candidates", remedy="write e.g. 'hit@1' or 'hit@20'")
    return RankingMetric(measure, int(k), bool(colon))


def guesses(name: str) -> list[str]:
    """Every measure, with this name's own K and suffix."""
    k = re.search(r"@([1-9][0-9]*)(:|$)", name)
    suffix = OPTIMISTIC if name.endswith(OPTIMISTIC) else ""
    known = {m: f"hit@{k[1] if k else 1}" if m == "hit" else m for m in MEASURES}
    return [text + (suffix if m in BY_PLACE else "") for m, text in known.items()]


FAMILY = Family(parse, guesses)
