"""Names of spectrum metrics.

measure@resolution[<max m/z][:no-precursor]      cosine@0.01Da, entropy@10ppm, jss@1Da<2000:no-precursor
predicted-entropy[:no-precursor]
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import ConfigError
from .names import Family, plain

#: m/z at which binned metrics stop unless the name says otherwise (MassSpecGym's setting).
DEFAULT_MAX_MZ = 1005.0
#: Bin width (Da) on which the entropy of a predicted spectrum is taken.
ENTROPY_WIDTH = 0.01
NO_PRECURSOR = ":no-precursor"
UNDIRECTED = "predicted-entropy"
EXAMPLES = ("cosine@0.01Da", "cosine-sqrt@0.1Da", "jss@1Da", "entropy@0.01Da", "cosine@10ppm", "predicted-entropy")

#: measure → words for a table, words for a sentence.
MEASURES = {
    "cosine": ("Cosine", "cosine similarity"),
    "cosine-sqrt": ("Cosine of √intensity", "cosine similarity of square-root intensities"),
    "cosine-mz": ("Cosine weighted by m/z", "cosine similarity of intensities weighted by m/z"),
    "cosine-sqrt-mz": (
        "Cosine of √intensity weighted by m/z",
        "cosine similarity of square-root intensities weighted by m/z",
    ),
    "jss": ("Jensen–Shannon similarity", "Jensen–Shannon similarity, 1 − JSD/ln 2"),
    "entropy": (
        "Spectral entropy similarity",
        "spectral entropy similarity with Li & Fiehn's weighting of low-entropy spectra",
    ),
    "entropy-unweighted": (
        "Spectral entropy similarity, unweighted",
        "spectral entropy similarity without weighting (equals jss)",
    ),
    UNDIRECTED: (
        "Entropy of the predicted spectrum (nats; neither high nor low is better)",
        "entropy of the predicted spectrum in nats (neither high nor low is better)",
    ),
}
_PATTERN = re.compile(
    r"(?P<measure>[^@<:]+)(?:@(?P<size>\d*\.?\d+(?:e-?\d+)?)(?P<unit>Da|ppm))?(?:<(?P<max>\d*\.?\d+))?(?P<np>:no-precursor)?",
)


@dataclass(frozen=True)
class SpectrumMetric:
    """A parsed metric name. Exactly one of `width` (Da, binned) and `ppm` (one-to-one matching) is set."""

    measure: str
    width: float | None
    ppm: float | None
    max_mz: float
    no_precursor: bool
    family = "spectrum"
    worst = 0.0  # nothing predicted, or nothing to compare with

    @property
    def higher_is_better(self) -> bool:
        return self.measure != UNDIRECTED

    @property
    def best(self) -> float | None:
        return 1.0 if self.higher_is_better else None

    @property
    def name(self) -> str:
        suffix = NO_PRECURSOR if self.no_precursor else ""
        if self.measure == UNDIRECTED:
            return self.measure + suffix
        limit = "" if self.max_mz == self._default_max_mz else f"<{plain(self.max_mz)}"
        size = f"{plain(self.width)}Da" if self.width is not None else f"{plain(self.ppm or 0.0)}ppm"
        return f"{self.measure}@{size}{limit}{suffix}"

    @property
    def label(self) -> str:
        words = [MEASURES[self.measure][0]]
        if self.measure != UNDIRECTED:
            binned = self.width is not None
            words.append(f"{plain(self.width or 0)} Da bins" if binned else f"peaks within {plain(self.ppm or 0)} ppm")
            if self.max_mz != self._default_max_mz:
                words.append(f"m/z below {plain(self.max_mz)}")
        if self.no_precursor:
            words.append("without precursor")
        return ", ".join(words)

    @property
    def describe(self) -> str:
        if self.width is not None:
            how = f"on bins of {plain(self.width)} Da up to m/z {plain(self.max_mz)}"
        else:
            limit = "" if math.isinf(self.max_mz) else f" below m/z {plain(self.max_mz)}"
            how = f"on peaks matched one to one within {plain(self.ppm or 0.0)} ppm{limit}"
        without = ", peaks of the precursor and its isotopes removed from both spectra" if self.no_precursor else ""
        return f"{MEASURES[self.measure][1]} {how}{without}"

    @property
    def _default_max_mz(self) -> float:
        return DEFAULT_MAX_MZ if self.width is not None else math.inf


def parse(name: str) -> SpectrumMetric | None:
    """The metric, None if its measure is not one of `MEASURES`; ConfigError where only the rest is wrong."""
    match = _PATTERN.fullmatch(name)
    measure = match["measure"] if match else _measure(name)
    if measure not in MEASURES:
        return None
    if match is None:
        raise ConfigError(f"metric {name!r} cannot be read", remedy=_grammar())
    bare = measure == UNDIRECTED
    if bare and (match["size"] or match["max"]):
        raise ConfigError(f"metric {name!r} takes no resolution", remedy=f"write {measure!r}")
    if not bare and not match["size"]:
        raise ConfigError(f"metric {name!r} names no resolution", remedy=f"write e.g. '{measure}@0.01Da'; {_grammar()}")
    size, binned = float(match["size"] or ENTROPY_WIDTH), match["unit"] != "ppm"
    limit = float(match["max"]) if match["max"] else (DEFAULT_MAX_MZ if binned else math.inf)
    if size <= 0 or limit <= 0 or (binned and not 1e-4 <= size <= limit):
        raise ConfigError(
            f"metric {name!r}: the resolution or the maximum m/z is out of range",
            remedy="bins from 0.0001 Da up to the maximum m/z; ppm and maximum above 0",
        )
    return SpectrumMetric(measure, size if binned else None, None if binned else size, limit, bool(match["np"]))


def guesses(name: str) -> list[str]:
    """Every known measure with this name's own resolution, so that the hint can be pasted."""
    rest = name[len(_measure(name)) :]
    rest = rest if re.match(r"@[\d.]+(Da|ppm)", rest) else "@0.01Da"
    return [m if m == UNDIRECTED else m + rest for m in MEASURES]


def _measure(name: str) -> str:
    return re.split(r"[@<:]", name, maxsplit=1)[0]


def _grammar() -> str:
    return f"measure@<bin>Da or measure@<tolerance>ppm, then optionally <max m/z and {NO_PRECURSOR}; e.g. " + ", ".join(
        EXAMPLES
    )


FAMILY = Family(parse, guesses)
