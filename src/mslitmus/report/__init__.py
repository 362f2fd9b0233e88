"""Reports of a run: a pure function of the files in its folder."""

from __future__ import annotations

from .build import build
from .terminal import leaderboard_table

__all__ = ["build", "leaderboard_table"]
