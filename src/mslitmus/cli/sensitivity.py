"""`mslitmus sensitivity RUN`: would the ranking be another under another protocol?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import console, errors


def protocol_sensitivity(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the two tables; default: the run folder, and its report again.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict only.")] = False,
) -> None:
    """Score a run's predictions under other metrics, bin widths, pool sizes and averages: do models change places?"""
    from ..report import build
    from ..report.protocols import verdicts
    from ..studies.sensitivity import sensitivity, write

    def say(line: str) -> None:
        if not quiet:
            errors.print(line, highlight=False, markup=False, soft_wrap=True)

    tables = sensitivity(run, say)
    write(out or run, tables)
    for verdict in verdicts(*tables):
        console.print(f"{verdict.split} split: {verdict.sentence}", highlight=False, markup=False)
    if out is None:
        console.print(f"report: {build(run).resolve()}", highlight=False, soft_wrap=True)
