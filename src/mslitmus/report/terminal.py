"""The leaderboard as a rich table, readable in 100 columns."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..errors import RunError
from .board import Entry, board
from .folder import REMEDY, RunFiles, read_run
from .numbers import count, interval, metric_label, percent, score

NAME = 24  # columns of a model's name, the mark of a control's kind included


def leaderboard_table(run: Path) -> Table:
    """Per split: model, reported metric per molecule with interval, skill, n; coverage where a model skips queries.

    Controls are set in dim type. Raises RunError for a folder that is no run or that holds no summary yet.
    """
    files = read_run(run)
    if files.summary is None:
        raise RunError("no scores yet", where=str(run / "summary.parquet"), remedy=REMEDY.partition(": ")[2])
    boards = [(split, board(files, split, files.primary, "molecule")) for split in files.split_names]
    entries = [entry for _, found in boards for entry in found]
    covered = all(not entry.partial for entry in entries)
    title = f"{files.title}{'  SIMULATED DATA' if files.simulated else ''}"
    table = Table(
        title=Text(title),
        title_justify="left",
        caption=Text(_caption(files, boards)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("split, model", min_width=14, max_width=NAME + 2)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    headings = ["skill vs\nblind", "skill vs\nneighb.", *([] if covered else ["cover-\nage"]), "spectra/\nmolecules"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for split, found in boards:
        table.add_row(Text(f"{split} split", style="bold"))
        for index, entry in enumerate(found):
            table.add_row(*_cells(entry, covered), end_section=index == len(found) - 1)
    return table


def _cells(entry: Entry, covered: bool) -> list[Text]:
    style = "" if entry.trained else "dim"
    coverage = [] if covered else [Text(percent(entry.coverage), style="bold" if entry.partial else style)]
    return [
        Text(_name(entry), style=style),
        Text(score(entry.mean), style=style or "bold"),
        Text(interval(entry.low, entry.high), style=style),
        Text(score(entry.skill_blind, sign=True), style=style),
        Text(score(entry.skill_neighbour, sign=True), style=style),
        *coverage,
        Text(f"{count(entry.n_queries)}/{count(entry.n_molecules)}", style=style),
    ]


def _name(entry: Entry) -> str:
    """Indented under its split; a long name breaks at its hyphens."""
    name = f"{entry.model} (oracle)" if entry.oracle else entry.model
    lines = wrap(name, NAME, subsequent_indent="  ", break_on_hyphens=True) or [name]
    return "\n".join(f"  {line}" for line in lines)


def _caption(files: RunFiles, boards: list[tuple[str, list[Entry]]]) -> str:
    said = (
        f"{metric_label(files.primary)}, mean per molecule on test. Skill against the best blind and the best "
        "neighbour control: 0 = no better, 1 = the bound. Dim: trivial models"
    )
    oracle = any(entry.oracle for _, found in boards for entry in found)
    said += ", controls and the oracle, which knows the truth." if oracle else " and controls."
    for split, found in boards:
        for entry in found:
            if entry.partial and entry.answered is not None:
                said += (
                    f" {entry.model} answers {percent(entry.coverage)} of the {split} split; "
                    f"over those alone its mean is {score(entry.answered)}."
                )
    return said
