"""Bridges: a model of another task becomes a ranker of candidates."""

from .bridge import as_ranker, resolve

__all__ = ["as_ranker", "resolve"]
