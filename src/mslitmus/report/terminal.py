"""The leaderboard as a rich table, readable in 100 columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..errors import RunError
from .board import Entry, board
from .folder import REMEDY, RunFiles, read_run
from .numbers import count, interval, metric_label, percent, score, usable

INDENT = "  "  # of the models under their split


def leaderboard_table(run: Path) -> Table:
    """Per split: model, reported metric per molecule with interval, skill, n; coverage where a model skips queries.
    Skill only where there are controls.

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
    table.add_column("split, model", min_width=14, max_width=30)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    skilled = any(usable(value) for e in entries for value in (e.skill_blind, e.skill_neighbour))
    headings = ["skill vs\nblind", "skill vs\nneighb."] if skilled else []
    headings += [*([] if covered else ["cover-\nage"]), "spectra/\nmolecules"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for split, found in boards:
        table.add_row(Text(f"{split} split", style="bold"))
        for index, entry in enumerate(found):
            table.add_row(*_cells(entry, covered=covered, skilled=skilled), end_section=index == len(found) - 1)
    return table


def _cells(entry: Entry, *, covered: bool, skilled: bool) -> list[Text | _Name]:
    style = "" if entry.trained or entry.transductive else "dim"
    values = (entry.skill_blind, entry.skill_neighbour) if skilled else ()
    skill = [Text(score(value, sign=True), style=style) for value in values]
    coverage = [] if covered else [Text(percent(entry.coverage), style="bold" if entry.partial else style)]
    return [
        _Name(entry.model + (" (oracle)" if entry.oracle else " (transductive)" * entry.transductive), style),
        Text(score(entry.mean), style=style or "bold"),
        Text(interval(entry.low, entry.high), style=style),
        *skill,
        *coverage,
        Text(f"{count(entry.n_queries)}/{count(entry.n_molecules)}", style=style),
    ]


@dataclass(frozen=True)
class _Name:
    """A model's name, indented under its split; where the column is narrow it breaks at its hyphens."""

    text: str
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = wrap(self.text, max(options.max_width - len(INDENT), 1), subsequent_indent="  ") or [self.text]
        yield Text("\n".join(f"{INDENT}{line}" for line in lines), style=self.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max((len(line) for line in wrap(self.text, 1, break_long_words=False)), default=0)
        least = min(len(INDENT) + 2 + longest, options.max_width)
        return Measurement(least, max(least, min(len(INDENT) + len(self.text), options.max_width)))


def _caption(files: RunFiles, boards: list[tuple[str, list[Entry]]]) -> str:
    said = f"{metric_label(files.primary)}, mean per molecule on test."
    entries = [entry for _, found in boards for entry in found]
    if any(usable(value) for e in entries for value in (e.skill_blind, e.skill_neighbour)):
        said += " Skill against the best blind and the best neighbour control: 0 = no better, 1 = the bound."
    dim = ["trivial models (controls)"] if any(e.control for e in entries) else []
    dim += ["the oracle, which knows the truth"] if any(e.oracle for e in entries) else []
    said += f" Dim: {' and '.join(dim)}." if dim else ""
    for split, found in boards:
        for entry in found:
            if entry.partial and entry.answered is not None:
                said += (
                    f" {entry.model} answers {percent(entry.coverage)} of the {split} split; "
                    f"over those alone its mean is {score(entry.answered)}."
                )
    return said
