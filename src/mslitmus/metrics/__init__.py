"""Metrics: pure functions from predictions and truth to one value per query, and the statistics beside them."""

from __future__ import annotations

from .names import Metric, describe, parse_metric
from .spectrum import score

__all__ = ["Metric", "describe", "parse_metric", "score"]
