"""A cohort's run folder as one self-contained HTML page: what the samples tell, how surely, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from . import cohort_markers, cohort_results
from .cohort_charts import OTHER, class_colours, observed_predicted, sample_map, shade
from .cohort_files import ALL, CohortFiles, read_cohort
from .findings import Shown, shown_of
from .numbers import count, score
from .page import environment, static
from .page import write as write_page

PAGE = "report.html"
_LEGEND = 12  # classes named under a map


@dataclass(frozen=True)
class Colouring:
    """One way to colour the maps: (name, CSS colour) of its classes, or the ends of a range."""

    name: str
    legend: tuple[tuple[str, str], ...]
    fills: dict[str, str]


@dataclass(frozen=True)
class Figure:
    title: str
    note: str
    plot: Markup


@dataclass(frozen=True)
class Confusion:
    """A table: share of each true class (row) called another (column), the mean over seeds."""

    title: str
    note: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, str], ...]], ...]


def write(run_folder: Path) -> Path:
    """Write `report.html` into the run folder and return its path.

    What has no file is left out, or its section says which command makes it. Raises RunError for a folder that is no
    cohort's, a damaged file, or a folder that cannot be written to.
    """
    return write_page(render(read_cohort(run_folder)), run_folder / PAGE)


def render(files: CohortFiles) -> str:
    """The page as text: of the files alone, without a clock."""
    ways = colourings(files)
    findings = tuple(shown_of(entry) for entry in files.findings or ())
    return (
        environment()
        .get_template("cohort.html.j2")
        .render(
            title=files.provenance.get("name") or files.folder.resolve().name,
            style=static("style.css"),
            sentences=cohort_results.sentences(files),
            tiles=tiles(files),
            boards=cohort_results.boards(files),
            baseline=files.baseline,
            colourings=ways,
            maps=maps(files, ways),
            confusions=confusions(files),
            scatters=scatters(files),
            separation=cohort_results.lines(files, "separation"),
            nearest=cohort_results.lines(files, "nearest"),
            markers=cohort_markers.groups(files),
            markers_about=files.markers_about,
            card_count=cohort_markers.CARDS,
            findings=_by_severity(findings),
            audited=files.findings is not None,
            blanks=_blanks(files),
            config=json.dumps(files.config, indent=2, ensure_ascii=False),
            provenance=_provenance(files),
            command=files.provenance.get("command") or "",
        )
    )


def tiles(files: CohortFiles) -> list[tuple[str, str]]:
    """(number, what it counts) for the head of the page."""
    samples = files.samples
    mine = samples.filter(pl.col("role") == "sample")
    out = [(count(mine.height), "runs of samples"), (count(samples.height - mine.height), "blanks, pools and controls")]
    out.append((count(samples["n_spectra"].sum()), "MS/MS spectra"))
    if not files["families"].is_empty():
        out.append((count(files["families"].height), "spectral families"))
    if not files["markers"].is_empty():
        out.append((count(cohort_markers.discoveries(files)), "families that go with a target (q ≤ .05)"))
    return out


def colourings(files: CohortFiles) -> list[Colouring]:
    """By each target, by batch, by run order."""
    out = [_colouring(files, name) for name in files.targets]
    there = [name for name in ("batch", "acquisition", "order") if name in files.samples.columns]
    more = [name for name in there if files.samples[name].drop_nulls().n_unique() > 1]
    return [*out, *(_colouring(files, name) for name in more)]


def _colouring(files: CohortFiles, name: str) -> Colouring:
    samples = files.samples
    known = samples.filter((pl.col("role") == "sample") & pl.col(name).is_not_null())
    if samples.schema[name].is_numeric():
        numbers = known[name].to_numpy()
        low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
        span = (high - low) or 1.0
        fills = {
            s: OTHER if v is None else shade((v - low) / span) for s, v in samples.select("sample", name).iter_rows()
        }
        legend = tuple((f"{v:.3g}", shade((v - low) / span)) for v in np.linspace(low, high, 5))
        return Colouring(name, legend, fills)
    colours = class_colours(known[name].unique().sort().to_list())
    fills = {s: colours.get(v, OTHER) for s, v in samples.select("sample", name).iter_rows()}
    shown = list(colours.items())[:_LEGEND]
    more = [(f"{len(colours) - _LEGEND} more", OTHER)] if len(colours) > _LEGEND else []
    return Colouring(name, (*shown, *more), fills)


def maps(files: CohortFiles, ways: list[Colouring]) -> list[Figure]:
    """A map for each representation and acquisition."""
    table = files["coordinates"]
    if table.is_empty():
        return []
    about = {row["sample"]: row for row in files.samples.iter_rows(named=True)}
    out = []
    for (name, where), rows in table.group_by("representation", "acquisition", maintain_order=True):
        names = rows["sample"].to_list()
        tips = [_tip(about.get(s, {}), s, files.targets) for s in names]
        fills = [[way.fills.get(s, OTHER) for way in ways] or [OTHER] for s in names]
        roles = [about.get(s, {}).get("role") or "sample" for s in names]
        method = rows["method"][0] if "method" in rows.columns else "umap"
        title = f"{name}" if where == ALL else f"{name} · {where}"
        x, y = rows["x"].to_numpy(), rows["y"].to_numpy()
        plot = sample_map(x, y, roles, tips, fills, f"Map of the samples by {title}")
        out.append(Figure(title, {"umap": "UMAP"}.get(method, method), plot))
    return out


def _tip(row: Any, sample: str, targets: tuple[str, ...]) -> str:
    told = [
        f"{t} {row[t]:g}" if isinstance(row.get(t), float) else f"{t} {row[t]}"
        for t in targets
        if row.get(t) is not None
    ]
    role = [] if row.get("role") in (None, "sample") else [row["role"]]
    batch = [f"batch {row['batch']}"] if row.get("batch") else []
    return ", ".join([sample, *role, *told, *batch])


def confusions(files: CohortFiles) -> list[Confusion]:
    """Of the baseline and of the best representation of each target and acquisition."""
    table = files["confusion"]
    if table.is_empty():
        return []
    out = []
    for (target, where), mine in table.group_by("target", "acquisition", maintain_order=True):
        for name in _worth(files, "classification", "macro-f1", str(target), str(where)):
            some = mine.filter(pl.col("representation") == name)
            if some.is_empty():
                continue
            classes = some["truth"].unique().sort().to_list()
            counts = {(t, p): c for t, p, c in some.select("truth", "predicted", "count").iter_rows()}
            rows = []
            for truth in classes:
                total = sum(counts.get((truth, p), 0.0) for p in classes) or 1.0
                cells = [(counts.get((truth, p), 0.0), total) for p in classes]
                rows.append((truth, tuple((round(70 * c / n), f"{c:.3g}") for c, n in cells)))
            title = f"{target}" if where == ALL else f"{target} · {where}"
            out.append(Confusion(title, name, tuple(classes), tuple(rows)))
    return out


def scatters(files: CohortFiles) -> list[Figure]:
    """Observed against predicted numbers, the mean over seeds, of the same representations."""
    table = files["predictions"]
    if table.is_empty() or "predicted_value" not in table.columns:
        return []
    numbers = table.filter((pl.col("question") == "regression") & pl.col("predicted_value").is_not_null())
    out = []
    for (target, where), mine in numbers.group_by("target", "acquisition", maintain_order=True):
        for name in _worth(files, "regression", "r2", str(target), str(where)):
            by_sample = mine.filter(pl.col("representation") == name).group_by("sample", maintain_order=True)
            some = by_sample.agg(pl.col("truth_value").first(), pl.col("predicted_value").mean())
            if some.is_empty():
                continue
            truth, found = some["truth_value"].to_numpy(), some["predicted_value"].to_numpy()
            tips = [f"{s}: {a:.3g}, predicted {b:.3g}" for s, a, b in some.iter_rows()]
            title = f"{target}" if where == ALL else f"{target} · {where}"
            out.append(Figure(title, name, observed_predicted(truth, found, tips, f"{title} by {name}")))
    return out


def _worth(files: CohortFiles, question: str, metric: str, target: str, where: str) -> list[str]:
    """The baseline and, where there is another, the best representation."""
    results = files["results"]
    if results.is_empty():
        return []
    same = [pl.col(k) == v for k, v in (("question", question), ("metric", metric), ("target", target),
            ("acquisition", where), ("seed", "all"), ("aggregation", "chosen"))]  # fmt: skip
    rows = results.filter(*same, pl.col("representation").is_in(files.representations))
    best = rows.sort("value", descending=True, nulls_last=True, maintain_order=True)["representation"].to_list()
    return list(dict.fromkeys([files.baseline, *best[:1]]))


def _blanks(files: CohortFiles) -> str:
    """What blanks are there, in words."""
    roles = dict(files.samples.group_by("role").len().iter_rows())
    n = roles.get("blank", 0)
    if not n:
        return "The sheet names no blanks."
    spectra = files.samples.filter(pl.col("role") == "blank")["n_spectra"].median()
    mine = files.samples.filter(pl.col("role") == "sample")["n_spectra"].median()
    blanks = "1 blank (square)" if n == 1 else f"{count(n)} blanks (squares)"
    told = f"{blanks} with {count(spectra)} spectra in the median, samples {count(mine)}."
    if "in_blank" in files.samples.columns:
        inside = files.samples.filter(pl.col("role") == "sample")
        share = float((inside["in_blank"].sum() or 0) / max(int(inside["n_spectra"].sum()), 1))
        told += f" {100 * share:.1f} % of the samples’ spectra are in a blank, too."
    return f"{told} Blanks, pools and controls are never asked about."


def _by_severity(findings: tuple[Shown, ...]) -> list[tuple[str, list[Shown]]]:
    told = [f for f in findings if f.severity != "pass"]
    passed = [f for f in findings if f.severity == "pass"]
    return [("told", told), ("passed", passed)]


def _provenance(files: CohortFiles) -> list[tuple[str, str]]:
    """Facts of provenance.json that are plain values."""
    out = []
    for key, value in files.provenance.items():
        if isinstance(value, str | int | float) and key not in ("command", "name"):
            out.append((key.replace("_", " "), score(value, 3) if isinstance(value, float) else str(value)))
    versions = files.provenance.get("versions") or files.provenance.get("environment", {}).get("versions", {})
    if versions:
        out.append(("versions", ", ".join(f"{name} {text}" for name, text in versions.items())))
    return out
