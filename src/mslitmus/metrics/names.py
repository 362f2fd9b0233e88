"""Metric names: every option that changes a number is part of its name, and a name has one spelling.

measure@resolution[<max m/z][:no-precursor]      cosine@0.01Da, entropy@10ppm, jss@1Da<2000:no-precursor
predicted-entropy[:no-precursor]
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import ConfigError, unknown_name

#: m/z at which binned metrics stop unless the name says otherwise (MassSpecGym's setting).
DEFAULT_MAX_MZ = 1005.0
#: Bin width (Da) on which the entropy of a predicted spectrum is taken.
ENTROPY_WIDTH = 0.01
NO_PRECURSOR = ":no-precursor"
EXAMPLES = ("cosine@0.01Da", "cosine-sqrt@0.1Da", "jss@1Da", "entropy@0.01Da", "cosine@10ppm", "predicted-entropy")

_MEANING = {
    "cosine": "cosine similarity",
    "cosine-sqrt": "cosine similarity of square-root intensities",
    "cosine-mz": "cosine similarity of intensities weighted by m/z",
    "cosine-sqrt-mz": "cosine similarity of square-root intensities weighted by m/z",
    "jss": "Jensen–Shannon similarity, 1 − JSD/ln 2",
    "entropy": "spectral entropy similarity with Li & Fiehn's weighting of low-entropy spectra",
    "entropy-unweighted": "spectral entropy similarity without weighting (equals jss)",
    "predicted-entropy": "entropy of the predicted spectrum in nats (neither high nor low is better)",
}
_PATTERN = re.compile(
    r"(?P<measure>[^@<:]+)(?:@(?P<size>\d*\.?\d+(?:e-?\d+)?)(?P<unit>Da|ppm))?(?:<(?P<max>\d*\.?\d+))?(?P<np>:no-precursor)?",
)


@dataclass(frozen=True)
class Metric:
    """A parsed metric name. Exactly one of `width` (Da, binned) and `ppm` (one-to-one matching) is set."""

    measure: str
    width: float | None
    ppm: float | None
    max_mz: float
    no_precursor: bool

    @property
    def higher_is_better(self) -> bool:
        return self.measure != "predicted-entropy"

    @property
    def name(self) -> str:
        """The one spelling of this metric."""
        suffix = NO_PRECURSOR if self.no_precursor else ""
        if self.measure == "predicted-entropy":
            return self.measure + suffix
        default = DEFAULT_MAX_MZ if self.width is not None else math.inf
        limit = "" if self.max_mz == default else f"<{_plain(self.max_mz)}"
        size = f"{_plain(self.width)}Da" if self.width is not None else f"{_plain(self.ppm or 0.0)}ppm"
        return f"{self.measure}@{size}{limit}{suffix}"


def parse_metric(name: str) -> Metric:
    """The metric a name stands for. Raises ConfigError (with the nearest right spelling) for any other string."""
    match = _PATTERN.fullmatch(name)
    measure = match["measure"] if match else re.split(r"[@<:]", name, maxsplit=1)[0]
    if measure not in _MEANING:
        raise unknown_name("metric", name, _guesses(name, measure))
    if match is None:
        raise ConfigError(f"metric {name!r} cannot be read", remedy=_grammar())
    bare = measure == "predicted-entropy"
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
    metric = Metric(measure, size if binned else None, None if binned else size, limit, bool(match["np"]))
    if metric.name != name:
        raise ConfigError(f"metric {name!r} has another spelling", remedy=f"write {metric.name!r}")
    return metric


def describe(name: str) -> str:
    """One sentence that says what a metric's number is, for tables and tool tips."""
    metric = parse_metric(name)
    if metric.width is not None:
        how = f"on bins of {_plain(metric.width)} Da up to m/z {_plain(metric.max_mz)}"
    else:
        limit = "" if math.isinf(metric.max_mz) else f" below m/z {_plain(metric.max_mz)}"
        how = f"on peaks matched one to one within {_plain(metric.ppm or 0.0)} ppm{limit}"
    without = ", peaks of the precursor and its isotopes removed from both spectra" if metric.no_precursor else ""
    return f"{_MEANING[metric.measure]} {how}{without}"


def _plain(value: float) -> str:
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _guesses(name: str, measure: str) -> list[str]:
    """Every known measure with this name's own resolution, so that the hint can be pasted."""
    rest = name[len(measure) :] or "@0.01Da"
    return [m if m == "predicted-entropy" else m + rest for m in _MEANING]


def _grammar() -> str:
    return f"measure@<bin>Da or measure@<tolerance>ppm, then optionally <max m/z and {NO_PRECURSOR}; e.g. " + ", ".join(
        EXAMPLES
    )
