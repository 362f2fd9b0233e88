"""The two channels of every command: results on standard output, progress and errors on standard error."""

from __future__ import annotations

from rich.console import Console

console = Console()
errors = Console(stderr=True)
