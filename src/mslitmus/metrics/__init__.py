"""Metrics: pure functions from predictions and truth to one value per query, and the statistics beside them."""

from __future__ import annotations

from .ceiling import Ceiling, replicate_ceiling
from .comparisons import compare
from .intervals import cluster_bootstrap
from .names import Metric, describe, family, parse_metric
from .spectrum import score
from .strata import stratify
from .summary import add_skill, summarise

__all__ = [
    "Ceiling",
    "Metric",
    "add_skill",
    "cluster_bootstrap",
    "compare",
    "describe",
    "family",
    "parse_metric",
    "replicate_ceiling",
    "score",
    "stratify",
    "summarise",
]
