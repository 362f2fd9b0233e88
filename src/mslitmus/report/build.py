"""One self-contained report.html from a run folder: no network, no clock, the same files give the same page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import candidates, comparing, describing, operating, protocols, ranks, stability, strata
from .board import validated
from .examples import SPECTRUM, examples
from .finding import headline
from .findings import counted, examined, grouped
from .folder import RunFiles, read_run
from .hardness import hardness
from .leaderboard import leaderboard
from .numbers import directed, metric_label, rising
from .page import environment, static, write
from .structures import structures

SECTIONS = (
    ("leaderboard", "Leaderboard"),
    ("structures", "Structures"),
    ("ranks", "Ranks"),
    ("candidates", "Candidates"),
    ("comparisons", "Paired comparisons"),
    ("stability", "Stability"),
    ("sensitivity", "Protocol sensitivity"),
    ("operating", "Operating points"),
    ("strata", "Strata"),
    ("difficulty", "Split difficulty"),
    ("training", "Training"),
    ("examples", "Examples"),
    ("disagreements", "Disagreements"),
    ("findings", "Findings"),
    ("ledger", "Curation"),
    ("provenance", "Provenance"),
)

#: What a leaderboard is about, by task.
PURPOSES = {
    SPECTRUM: "How well each model predicts the spectra of the test fold.",
    "retrieval": "How well each model ranks the candidate molecules of the test spectra.",
    "library-search": "How well each model ranks the library spectra of the test spectra's molecules.",
    "generation": "How close the structures are that each model writes for the test spectra.",
    "fingerprint": "How well each model predicts the molecular fingerprints behind the test spectra.",
}


def build(run: Path) -> Path:
    """Write `report.html` into the run folder and return its path.

    An absent optional file leaves a note in its section that says which command makes it. Raises RunError for a
    folder that is no run, a damaged file, or a folder that cannot be written to.
    """
    return write(render(read_run(run)), run / "report.html")


def render(files: RunFiles) -> str:
    """The page as text. Everything that comes from files is escaped by the templates or by the chart functions."""
    templates = environment()
    templates.filters["metric_label"] = metric_label
    splits = files.split_names
    # Only a split under a protocol has a sheet; without one the section is left out.
    sheets = [(s, cards) for s in splits if (cards := examples(files.disagreements, files, s))]
    boards = [(split, leaderboard(files, split)) for split in splits]
    trained = describing.training(files)
    matrices = [(split, comparing.matrices(files, split)) for split in splits]
    ranked, stable, costs = ranks.ranks(files), stability.stability(files), operating.operating(files)
    shown = {"disagreements": sheets, "training": trained, "ranks": ranked, "stability": stable, "operating": costs}
    shown["structures"] = structures(files)
    rows = [row for _, panels in boards for panel in panels for group in panel.groups for row in group.rows]
    return templates.get_template("report.html.j2").render(
        files=files,
        style=static("style.css"),
        script=static("script.js"),
        sections=_sections(files, shown),
        purpose=PURPOSES.get(files.task, "How well each model does on the test fold."),
        has_trained=any(row.entry.trained for row in rows),
        has_controls=any(row.entry.control for row in rows),
        has_oracle=any(row.entry.oracle for row in rows),
        has_skill=any(panel.skills for _, panels in boards for panel in panels),
        has_seeds=any(row.seeds for row in rows),
        validated=validated(files),
        has_skips=any(row.answered for row in rows),
        has_letters=any(row.letters for row in rows),
        has_effective=any(row.independent for row in rows),
        lower=any(directed(metric) and not rising(metric) for metric in files.metrics),
        headline=headline(files),
        examined=examined(files),
        counted=counted,
        grouped=grouped,
        boards=boards,
        tabbed=_tabbed,
        ranks=ranked,
        grids=[(split, ranks.grids(files, split)) for split in splits],
        stability=stable,
        sensitivity=protocols.sensitivities(files),
        stale=protocols.stale(files),
        operating=costs,
        structures=shown["structures"],
        pools=candidates.pools(files),
        curves=candidates.curves(files),
        matrices=matrices,
        has_turned=any(matrix.turned for _, found in matrices for matrix in found),
        repeats=[(split, comparing.repeats(files, split)) for split in splits],
        strata=[(split, strata.strata(files, split)) for split in splits],
        hardness=hardness(files),
        sizes=describing.sizes(files),
        training=trained,
        examples=[(split, examples(files.examples, files, split)) for split in splits],
        disagreements=sheets,
        ledger=describing.ledger(files),
        licences=describing.licences(files),
        facts=describing.facts(files),
        cells=describing.cells(files),
        versions=sorted(((files.provenance or {}).get("versions") or {}).items()),
    )


def _sections(files: RunFiles, shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections of this run with their titles: no comparisons of one model, none whose part in `shown` is empty."""
    ranking = files.task == "retrieval" or files.candidates is not None
    pairs = files.summary is None or files.summary["model"].n_unique() > 1
    there = {name: bool(part) for name, part in shown.items()}
    there |= {"candidates": ranking, "comparisons": pairs, "sensitivity": files.sensitivity is not None}
    titles = {"examples": "Mirror plots"} if files.task == SPECTRUM else {}
    return [(name, titles.get(name, title)) for name, title in SECTIONS if there.get(name, True)]


def _tabbed(parts: Sequence[Any]) -> list[tuple[str, Any]]:
    """(split, part) of what has a `split`: what the tabs are made of."""
    return [(part.split, part) for part in parts]
