"""Names of fingerprint metrics.

fp-tanimoto@threshold      fp-tanimoto@0.5: probabilities at or above the threshold are bits
fp-tanimoto-soft  fp-cosine
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ConfigError
from .names import Family, plain

#: measure → words for a table, words for a sentence.
MEASURES = {
    "fp-tanimoto": (
        "Fingerprint Tanimoto at {t}",
        "Tanimoto similarity of the true fingerprint to the bits predicted with a probability of at least {t}",
    ),
    "fp-tanimoto-soft": (
        "Fingerprint Tanimoto of probabilities",
        "Tanimoto similarity Σ min / Σ max of the true fingerprint to the predicted probabilities",
    ),
    "fp-cosine": (
        "Fingerprint cosine",
        "cosine similarity of the true fingerprint to the predicted probabilities",
    ),
}


@dataclass(frozen=True)
class FingerprintMetric:
    """A parsed metric name; `threshold` of `fp-tanimoto@threshold` alone."""

    measure: str
    threshold: float | None = None
    family = "fingerprint"
    higher_is_better = True
    best = 1.0
    worst = 0.0

    @property
    def name(self) -> str:
        return self.measure if self.threshold is None else f"{self.measure}@{plain(self.threshold)}"

    @property
    def label(self) -> str:
        return MEASURES[self.measure][0].format(t=plain(self.threshold or 0))

    @property
    def describe(self) -> str:
        return MEASURES[self.measure][1].format(t=plain(self.threshold or 0))


def parse(name: str) -> FingerprintMetric | None:
    """The metric, None if it is no fingerprint metric; ConfigError for a threshold that cannot be."""
    measure, at, threshold = name.partition("@")
    if measure not in MEASURES:
        return None
    if measure != "fp-tanimoto":
        if at:
            raise ConfigError(f"metric {name!r} takes no threshold", remedy=f"write {measure!r}")
        return FingerprintMetric(measure)
    value = float(threshold) if re.fullmatch(r"[0-9]*\.?[0-9]+", threshold) else 0.0
    if not 0 < value <= 1:
        raise ConfigError(f"metric {name!r} names no threshold above 0 up to 1", remedy="write e.g. 'fp-tanimoto@0.5'")
    return FingerprintMetric(measure, value)


def guesses(name: str) -> list[str]:
    """Every measure, with the usual threshold."""
    return [f"{m}@0.5" if m == "fp-tanimoto" else m for m in MEASURES]


FAMILY = Family(parse, guesses)
