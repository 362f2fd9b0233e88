"""`mslitmus card`: one page about one model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import console


def write_card(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    model: Annotated[str | None, typer.Option(help="A row of the run; default: every trained one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the cards; default: cards in the run folder.")] = None,
) -> None:
    """Write a model card in Markdown and HTML: data, splits, scores beside controls, findings, how to reproduce."""
    from ..report.card import write_cards

    for path in write_cards(run, model, out):
        console.print(f"card: {path.resolve()}", highlight=False, markup=False, soft_wrap=True)
