"""Names of metrics of generated structures. K is how many of a query's structures count, best first.

mol-hit@K  mol-tanimoto@K  mol-mces@K  mol-valid@K  mol-formula@K
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ConfigError
from .names import Family
from .ranking_names import MCES_LIMIT

#: measure → words for a table, words for a sentence, value of a perfect answer, value of a failed query.
MEASURES: dict[str, tuple[str, str, float, float]] = {
    "mol-hit": (
        "Top-{k} accuracy",
        "whether one of the first {k} structures is the true one (InChIKey-14, so without stereo)",
        1.0,
        0.0,
    ),
    "mol-tanimoto": (
        "Tanimoto similarity, best of {k}",
        "largest Tanimoto similarity (Morgan radius 2, 2048 bits) of the first {k} structures to the true one",
        1.0,
        0.0,
    ),
    "mol-mces": (
        "MCES distance, best of {k} (at most 15; lower is better)",
        "smallest min(MCES distance, 15) of the first {k} structures to the true one (lower is better)",
        0.0,
        MCES_LIMIT,
    ),
    "mol-valid": ("Valid among the first {k}", "share of the first {k} structures given that parse", 1.0, 0.0),
    "mol-formula": (
        "Formula right among the first {k}",
        "share of the first {k} structures given that have the true formula",
        1.0,
        0.0,
    ),
}
USUAL = 10


@dataclass(frozen=True)
class StructureMetric:
    """A parsed metric name."""

    measure: str
    k: int
    family = "structure"

    @property
    def name(self) -> str:
        return f"{self.measure}@{self.k}"

    @property
    def label(self) -> str:
        return MEASURES[self.measure][0].format(k=self.k)

    @property
    def describe(self) -> str:
        return MEASURES[self.measure][1].format(k=self.k)

    @property
    def higher_is_better(self) -> bool:
        return self.measure != "mol-mces"

    @property
    def best(self) -> float:
        return MEASURES[self.measure][2]

    @property
    def worst(self) -> float:
        return MEASURES[self.measure][3]


def parse(name: str) -> StructureMetric | None:
    """The metric, None if it is none of this family; ConfigError for a K that cannot be."""
    measure, _, k = name.partition("@")
    if measure not in MEASURES:
        return None
    if not re.fullmatch(r"[1-9][0-9]*", k):
        raise ConfigError(f"metric {name!r} names no number of structures", remedy=f"write e.g. '{measure}@{USUAL}'")
    return StructureMetric(measure, int(k))


def guesses(name: str) -> list[str]:
    """Every measure, with this name's own K."""
    k = re.search(r"@([1-9][0-9]*)$", name)
    return [f"{measure}@{k[1] if k else USUAL}" for measure in MEASURES]


FAMILY = Family(parse, guesses)
