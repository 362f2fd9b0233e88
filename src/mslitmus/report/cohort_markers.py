"""The markers of a cohort as tables and cards: hit, mirror plot, and what each group has of the family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from ..cohort.design import Weighing, make
from ..cohort.markers import ALPHA, by_acquisition
from .cohort_charts import against_number, class_colours, strip
from .cohort_files import CohortFiles
from .mirror import measured_spectrum, mirror
from .numbers import count, mz, p_value, percent, score, usable
from .structure import structure

ROWS, CARDS = 40, 12  # of each target at most
LEAST = 8  # rows and cards, where fewer are discoveries
NAMED, GOOD = 20, 0.7  # more discoveries whose hit is as good as that
SURE = 0.5  # a hit less probable is no name
_RESOLUTION = (0.01, "±Da")


@dataclass(frozen=True)
class Line:
    """One marker of a table, formatted."""

    anchor: str
    family: str
    mz: str
    time: str
    effect: str
    q: str
    found: bool
    direction: str
    difference: str
    coefficient: str
    blank: str
    hit: str
    about: str
    score: str
    probability: str


@dataclass(frozen=True)
class Card:
    anchor: str
    title: str
    unsure: bool
    value: str
    plot: Markup
    spread: Markup
    facts: tuple[tuple[str, str], ...]
    molecule: Markup | None
    smiles: str


@dataclass(frozen=True)
class Group:
    """One target (and acquisition)."""

    title: str
    said: str
    signed: str
    lines: tuple[Line, ...]
    cards: tuple[Card, ...]


def groups(files: CohortFiles) -> list[Group]:
    """The best markers of each target."""
    markers = files["markers"]
    if markers.is_empty():
        return []
    out: list[Group] = []
    for acquisition, rows in by_acquisition(files.samples):
        for target in files.targets:
            here = pl.col("acquisition").eq_missing(pl.lit(acquisition, pl.String))
            mine = markers.filter(here & (pl.col("target") == target))
            if mine.height:
                out.append(_group(files, mine, rows, target, acquisition, len(out)))
    return out


def discoveries(files: CohortFiles) -> int:
    """Families with q ≤ .05 for any target."""
    markers = files["markers"]
    return 0 if markers.is_empty() else markers.filter(pl.col("q") <= ALPHA)["family"].n_unique()


def _group(
    files: CohortFiles, mine: pl.DataFrame, rows: pl.DataFrame, target: str, acquisition: str | None, number: int
) -> Group:
    found = int((mine["q"] <= ALPHA).sum())
    first = mine.row(0, named=True)
    said = f"{first['test']} on {count(first['n_units'])} independent samples: {count(found)} of {count(mine.height)} "
    said += "families at a false discovery rate of 5 %"
    best = mine.head(min(ROWS, max(found, LEAST)))
    named = mine.filter((pl.col("q") <= ALPHA) & (pl.col("score") >= GOOD)).head(NAMED)
    shown = pl.concat([best, named]).unique("family", keep="first", maintain_order=True)
    if shown.height > best.height:
        said += f"; the best {best.height}, then others whose hit scores {score(GOOD, 1)} or more"
    drawn = best.head(min(CARDS, max(found, LEAST)))
    anchors = {name: f"m{number}-{name}" for name in drawn["family"].to_list()}
    lines = tuple(_line(row, anchors) for row in shown.iter_rows(named=True))
    cards = _cards(files, drawn, rows, target, anchors)
    signed = ""
    if first["test"] == "Mann–Whitney":
        low, high = first["groups"]
        signed = f"Effect: 1 where all {high} lie above all {low}, −1 the other way round."
    title = target if acquisition is None else f"{target} · {acquisition}"
    return Group(title, said, signed, lines, cards)


def _line(row: Mapping[str, Any], anchors: Mapping[str, str]) -> Line:
    about = " · ".join(text for text in (row["formula"], row["adduct"], row["library_identifier"]) if text)
    return Line(
        anchor=anchors.get(row["family"], ""),
        family=row["family"],
        mz=mz(row["precursor_mz"]),
        time=f"{row['retention_time'] / 60:.2f}" if usable(row["retention_time"]) else "",
        effect=score(row["effect"], 2, sign=True),
        q=p_value(row["q"]).replace("p", "q", 1),
        found=row["q"] <= ALPHA,
        direction=row["direction"] or "",
        difference=score(row["difference"], 1, sign=True),
        coefficient=_signed(row),
        blank=percent(row["blank_share"], 0) if usable(row["blank_share"]) else "",
        hit=row["name"] or row["library_identifier"] or "",
        about=about,
        score=score(row["score"], 2) if usable(row["score"]) else "",
        probability=percent(row["probability"], 0) if usable(row["probability"]) else "",
    )


def _signed(row: Mapping[str, Any]) -> str:
    """The coefficient in thousandths."""
    return f"{1000 * row['coefficient']:+.1f}".replace("-", "\u2212") if usable(row["coefficient"]) else ""


def _cards(
    files: CohortFiles, shown: pl.DataFrame, rows: pl.DataFrame, target: str, anchors: Mapping[str, str]
) -> tuple[Card, ...]:
    if files["families"].is_empty() or files["abundances"].is_empty():
        return ()
    families = {row["family"]: row for row in files["families"].filter(
        pl.col("family").is_in(shown["family"].implode())).iter_rows(named=True)}  # fmt: skip
    mine = rows.filter((pl.col("role") == "sample") & pl.col(target).is_not_null())
    how = Weighing(**files.markers_about.get("settings", {}).get("weighing", {}))
    same = pl.col("acquisition").eq_missing(pl.lit(shown["acquisition"][0], pl.String))
    every = files["families"].filter(same)["family"]  # the least amount that counts is that of all, as in the tests
    values, truth, units = make(files["abundances"], mine, every, how).of(mine, target)
    column = {name: k for k, name in enumerate(every.to_list())}
    names = [", ".join(each) if len(each) < 4 else f"{each[0]} and {len(each) - 1} more" for each in units["sample"]]
    cards = []
    for row in shown.iter_rows(named=True):
        amounts = values[:, column[row["family"]]]
        tips = [f"{name}: {score(v, 1)}" for name, v in zip(names, amounts, strict=True)]
        spread = _spread(amounts, truth, tips, target)
        cards.append(_card(files, row, families[row["family"]], spread, anchors[row["family"]]))
    return tuple(cards)


def _spread(values: np.ndarray, truth: np.ndarray, tips: list[str], target: str) -> Markup:
    if truth.dtype.kind == "f":
        return against_number(truth, values, tips, target)
    classes = sorted(set(truth.tolist()))
    split = {c: np.flatnonzero(truth == c) for c in classes}
    inside = {c: values[at] for c, at in split.items()}
    return strip(inside, class_colours(classes), {c: [tips[i] for i in at] for c, at in split.items()})


def _card(files: CohortFiles, row: Mapping[str, Any], family: Mapping[str, Any], spread: Markup, anchor: str) -> Card:
    name = row["name"] or row["library_identifier"] or ""
    unsure = bool(name) and usable(row["probability"]) and row["probability"] < SURE
    mine = (family["mzs"], family["intensities"])
    label = f"{row['family']}, m/z {mz(row['precursor_mz'])}"
    theirs = _library(files, row)
    plot = (
        measured_spectrum(mine, row["precursor_mz"], label)
        if theirs is None
        else mirror(mine, theirs, row["precursor_mz"], _RESOLUTION, label, sides=("family", "library"))
    )
    facts = [
        ("Family", f"{row['family']}, m/z {mz(row['precursor_mz'])}"),
        ("Seen", f"{count(row['n_spectra'])} spectra in {count(row['n_samples'])} runs"),
        (
            "Effect",
            f"{score(row['effect'], 2, sign=True)}, {p_value(row['p'])}, {p_value(row['q']).replace('p', 'q', 1)}",
        ),
        ("Direction", f"{row['direction']}, {score(row['difference'], 1, sign=True)} log₂"),
    ]
    if usable(row["retention_time"]):
        facts.insert(1, ("Time", f"{row['retention_time'] / 60:.2f} min ± {family['retention_spread'] or 0:.0f} s"))
    if name:
        sure = f", probability {percent(row['probability'], 0)}" if usable(row["probability"]) else ", not calibrated"
        facts.append(("Hit", f"score {score(row['score'], 2)}, {count(row['matched_peaks'])} peaks{sure}"))
        facts.append(("Record", f"{row['library_identifier']} {row['adduct'] or ''}"))
    return Card(
        anchor=anchor,
        title=name or f"m/z {mz(row['precursor_mz'])}",
        unsure=unsure,
        value=score(row["effect"], 2, sign=True),
        plot=plot,
        spread=spread,
        facts=tuple(facts),
        molecule=structure(row["smiles"], f"Structure of {name}"),
        smiles=row["smiles"] or "",
    )


def _library(files: CohortFiles, row: Mapping[str, Any]) -> tuple[list[float], list[float]] | None:
    hits = files["marker_hits"]
    if row["library_identifier"] is None or hits.is_empty():
        return None
    same = (pl.col("library") == row["library"]) & (pl.col("library_identifier") == row["library_identifier"])
    found = hits.filter(same)
    return None if found.is_empty() else (found["mzs"][0].to_list(), found["intensities"][0].to_list())
