"""Metrics: pure functions from predictions and truth to one value per query, and the statistics beside them."""

from __future__ import annotations

from .ceiling import Ceiling, replicate_ceiling
from .comparisons import compare
from .groups import worst_group
from .intervals import cluster_bootstrap
from .letters import compact_letters
from .names import Metric, describe, family, parse_metric
from .repeated import compare_over_seeds
from .spectrum import score
from .strata import stratify
from .summary import add_skill, summarise

__all__ = [
    "Ceiling",
    "Metric",
    "add_skill",
    "cluster_bootstrap",
    "compact_letters",
    "compare",
    "compare_over_seeds",
    "describe",
    "family",
    "parse_metric",
    "replicate_ceiling",
    "score",
    "stratify",
    "summarise",
    "worst_group",
]
