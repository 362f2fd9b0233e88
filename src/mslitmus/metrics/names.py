"""Metric names: one string says the whole metric, every option included, and each metric has one spelling.

Names belong to families, each with its own grammar in its own file: what a spectrum (`cosine@0.01Da`), a ranking
(`hit@1`) or a fingerprint (`fp-cosine`) is scored by. Another package adds a family as the plug-in
`metric family.<name>`, an object that offers what `Family` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from ..errors import ConfigError, unknown_name
from ..registry import Registry


class Metric(Protocol):
    """What every metric says about itself."""

    @property
    def name(self) -> str:
        """The one spelling."""

    @property
    def family(self) -> str:
        """A key of `FAMILIES`."""

    @property
    def label(self) -> str:
        """Words for the heading of a table, e.g. `Hit rate at 1`."""

    @property
    def describe(self) -> str:
        """One sentence (without a full stop) that says what the number is."""

    @property
    def higher_is_better(self) -> bool:
        """False too where neither direction is better: then `best` is None."""

    @property
    def best(self) -> float | None:
        """Value of a perfect prediction; None where there is none, so nothing to win."""

    @property
    def worst(self) -> float | None:
        """Value of a query that failed; None where it depends on the query (the size of its pool)."""


class Family(NamedTuple):
    """One grammar of names.

    parse: the metric, None for a name that is none of this family's, ConfigError for one that is but cannot be read.
    guesses: right names that resemble the given one, for the hint "did you mean".
    """

    parse: Callable[[str], Metric | None]
    guesses: Callable[[str], list[str]]


FAMILIES = Registry(
    "metric family",
    {
        "spectrum": "mslitmus.metrics.spectrum_names:FAMILY",
        "ranking": "mslitmus.metrics.ranking_names:FAMILY",
        "fingerprint": "mslitmus.metrics.fingerprint_names:FAMILY",
        "structure": "mslitmus.metrics.structure_names:FAMILY",
    },
)
M = TypeVar("M", bound=Metric)


def parse_metric(name: str) -> Metric:
    """The metric a name stands for. Raises ConfigError (with the nearest right spelling) for any other string."""
    families: list[Family] = list(FAMILIES.values())
    for family in families:
        metric = family.parse(name)
        if metric is None:
            continue
        if metric.name != name:
            raise ConfigError(f"metric {name!r} has another spelling", remedy=f"write {metric.name!r}")
        return metric
    raise unknown_name("metric", name, [guess for family in families for guess in family.guesses(name)])


def parse_as(kind: type[M], name: str) -> M:
    """`parse_metric` for a scorer of one family. Raises ConfigError for a metric of another one."""
    metric = parse_metric(name)
    if not isinstance(metric, kind):
        raise ConfigError(
            f"metric {name!r} is of the family {metric.family!r} and cannot score these predictions",
            remedy="choose metrics of the task: see docs/metrics.md",
        )
    return metric


def family(name: str) -> str:
    """The family of a metric's name: `spectrum`, `ranking`, `fingerprint`. Raises as `parse_metric`."""
    return parse_metric(name).family


def describe(name: str) -> str:
    """One sentence that says what a metric's number is, for tables and tool tips."""
    return parse_metric(name).describe


def plain(value: float) -> str:
    """A number inside a name: no exponent, no trailing zeros."""
    return f"{value:.10f}".rstrip("0").rstrip(".")
