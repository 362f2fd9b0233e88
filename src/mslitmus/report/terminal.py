"""The leaderboard as a rich table, readable in 100 columns."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..errors import RunError
from .board import Entry, board
from .folder import REMEDY, read_run
from .numbers import count, interval, metric_label, score


def leaderboard_table(run: Path) -> Table:
    """Per split: model, reported metric per molecule with interval, skill, n. Controls are set in dim type.

    Raises RunError for a folder that is no run or that holds no summary yet.
    """
    files = read_run(run)
    if files.summary is None:
        raise RunError("no scores yet", where=str(run / "summary.parquet"), remedy=REMEDY.partition(": ")[2])
    title = f"{files.title}{'  SIMULATED DATA' if files.simulated else ''}"
    table = Table(
        title=Text(title),
        title_justify="left",
        caption=Text(_caption(files.primary)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("split", no_wrap=True, max_width=16)
    table.add_column("model", overflow="fold", min_width=14, max_width=24)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for heading in ("skill vs\nblind", "skill vs\nneighb.", "spectra/\nmolecules"):
        table.add_column(heading, justify="right", no_wrap=True)
    for split in files.split_names:
        entries = board(files, split, files.primary, "molecule")
        for index, entry in enumerate(entries):
            last = index == len(entries) - 1
            table.add_row(*_cells(split if index == 0 else "", entry), end_section=last)
    return table


def _cells(split: str, entry: Entry) -> list[Text]:
    style = "dim" if entry.control else ""
    return [
        Text(split, style="bold"),
        Text(entry.model, style=style),
        Text(score(entry.mean), style=style or "bold"),
        Text(interval(entry.low, entry.high), style=style),
        Text(score(entry.skill_blind, sign=True), style=style),
        Text(score(entry.skill_neighbour, sign=True), style=style),
        Text(f"{count(entry.n_queries)}/{count(entry.n_molecules)}", style=style),
    ]


def _caption(metric: str) -> str:
    return (
        f"{metric_label(metric)}, mean per molecule on test. Skill against the best blind and the best neighbour "
        "control: 0 = no better, 1 = the bound. Dim: trivial models and controls."
    )
