"""The result of a library search as one self-contained HTML page for an analyst."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from .. import __version__
from ..provenance import now
from ..schemas import HITS
from ..search.first_places import molecule_of
from .mirror import measured_spectrum, mirror
from .numbers import MINUS, count, mz, percent, score, usable
from .page import environment, static, write
from .structure import structure

#: Rows of the table with and without a hit, and mirror plots, at most: the page stays below some 5 MB.
ROWS, UNHIT, PLOTS = 3_000, 1_000, 100
#: A second molecule this close in score is told as an equal.
CLOSE = 0.05
_RUNNERS_UP = 3
SURE = 0.9  # a probability that is counted in the head of the page
_HIT = tuple(name for name in HITS if name not in ("identifier", "rank"))
_QUERY = ("identifier", "precursor_mz", "retention_time", "merged_scans", "collision_energy", "instrument_type")
Spectrum = Callable[[str, str], Mapping[str, Any]]  # (library, identifier) → row with mzs and intensities


@dataclass(frozen=True)
class Line:
    """One query of the table, formatted; `sort` holds the numbers that columns are sorted by."""

    name: str
    scans: int
    anchor: str
    mz: str
    time: str
    hit: str
    about: str
    score: str
    width: float
    peaks: str
    explained: str
    probability: str
    q_value: str
    away: str
    next: str
    close: bool
    why: str
    sort: Mapping[str, float | str]


@dataclass(frozen=True)
class Card:
    """One query against its best hit."""

    anchor: str
    name: str
    hit: str
    score: str
    probability: str
    facts: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str], ...]
    smiles: str
    plot: Markup
    molecule: Markup | None


@dataclass
class SearchPage:
    """Collects a search as it goes, keeping the best rows only.

    Args:
        title: what was searched, e.g. the file names.
        facts: (what, how) about the search and the libraries.
        resolution: (width, `±Da` or `ppm`) at which peaks match.
        calibrated: whether hits carry probabilities.
        spectrum: fetches a library spectrum for a plot.
        plots: mirror plots at most.
        shared: what all identifiers begin with, not shown.
        by_loss: whether peaks may match by their loss, which the plots do not show.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    resolution: tuple[float, str]
    calibrated: bool
    spectrum: Spectrum
    plots: int = PLOTS
    shared: str = ""
    by_loss: bool = False
    queries: int = 0
    hit: int = 0
    unasked: int = 0
    sure: int = 0
    _molecules: set[str] = field(default_factory=set)
    _rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    _plotted: pl.DataFrame = field(default_factory=pl.DataFrame)
    _unhit: list[tuple[dict[str, Any], str]] = field(default_factory=list)

    def add(self, queries: pl.DataFrame, hits: pl.DataFrame, unasked: pl.Series) -> None:
        """One batch: queries, their hits (schema HITS), and which queries could not be asked."""
        first = hits.filter(pl.col("rank") == 1)
        best_molecule = molecule_of().first().over("identifier")  # hits are best first
        rivals = hits.filter(molecule_of() != best_molecule)
        nearest = rivals.group_by("identifier", maintain_order=True).head(_RUNNERS_UP)
        others = nearest.group_by("identifier", maintain_order=True)
        told = others.agg(pl.struct("name", "library_identifier", "score", "smiles").alias("others"))
        told_first = first.select("identifier", *(pl.col(n).alias(f"hit_{n}") for n in _HIT))
        best = queries.join(told_first, on="identifier", maintain_order="left")
        best = best.join(told, on="identifier", how="left", maintain_order="left")
        self.queries += queries.height
        self.hit += best.height
        self.unasked += int(unasked.sum())
        self.sure += int((best["hit_probability"] >= SURE).sum())
        self._molecules.update(best["hit_inchikey14"].drop_nulls().unique().to_list())
        light = [*_QUERY, *(f"hit_{n}" for n in _HIT), "others"]
        self._rows = _best(self._rows, best.select(light), ROWS)
        self._plotted = _best(self._plotted, best.select(*light, "mzs", "intensities"), self.plots)
        if len(self._unhit) < UNHIT:
            lost = queries.with_columns(_unasked=unasked).join(first, on="identifier", how="anti").head(UNHIT)
            for row in lost.select(*_QUERY, "_unasked").iter_rows(named=True):
                self._unhit.append((row, "no precursor m/z: not searched" if row["_unasked"] else "no hit"))

    @property
    def molecules(self) -> int:
        """Distinct molecules among the best hits."""
        return len(self._molecules)

    def best(self, most: int) -> pl.DataFrame:
        """The best queries with their hits, columns `identifier`, …, `hit_name`, `hit_score`, ….; best first."""
        return self._rows.head(most)

    def write(self, path: Path, notes: Sequence[str] = (), faults: Sequence[str] = (), ended: str = "") -> Path:
        """Write the page. `ended` says why the search is not complete. Raises RunError where it cannot be written."""
        return write(self.render(notes, faults, ended), path)

    def render(self, notes: Sequence[str] = (), faults: Sequence[str] = (), ended: str = "") -> str:
        """The page as text."""
        anchors = {name: f"q{n}" for n, name in enumerate(self._plotted["identifier"], 1)} if self.hit else {}
        rows = list(self._rows.iter_rows(named=True))
        lines = [self._line(row, anchors) for row in rows]
        lost = [self._unhit_line(row, why) for row, why in self._unhit[:UNHIT]]
        cards = [self._card(row, anchors) for row in self._plotted.iter_rows(named=True)]
        return (
            environment()
            .get_template("search.html.j2")
            .render(
                page=self,
                style=static("style.css") + static("queries.css"),
                script=static("search.js"),
                lines=[*lines, *lost],
                cards=cards,
                cut=self.hit - len(lines),
                cut_unhit=self.queries - self.hit - len(lost),
                calibrated=self.calibrated,
                explained=any(line.explained for line in lines),
                timed=any(line.time for line in [*lines, *lost]),
                notes=notes,
                faults=faults,
                ended=ended,
                count=count,
                close=CLOSE,
                made=now(),
                version=__version__,
            )
        )

    def _line(self, row: Mapping[str, Any], anchors: Mapping[str, str]) -> Line:
        others = row["others"] or []
        close = bool(others) and row["hit_score"] - others[0]["score"] <= CLOSE
        ppm = _ppm(row)
        return Line(
            name=row["identifier"].removeprefix(self.shared),
            scans=row["merged_scans"] or 1,
            anchor=anchors.get(row["identifier"], ""),
            mz=mz(row["precursor_mz"]),
            time=_minutes(row["retention_time"]),
            hit=row["hit_name"] or row["hit_inchikey14"] or row["hit_library_identifier"],
            about=" · ".join(text for text in (row["hit_formula"], row["hit_adduct"], self._record(row)) if text),
            score=score(row["hit_score"]),
            width=round(100 * row["hit_score"], 1),
            peaks=count(row["hit_matched_peaks"]),
            explained=percent(row["hit_explained"], 0) if usable(row["hit_explained"]) else "",
            probability=percent(row["hit_probability"], 0) if usable(row["hit_probability"]) else "",
            q_value=score(row["hit_q_value"]) if usable(row["hit_q_value"]) else "",
            away=_away(row["hit_precursor_difference"], ppm),
            next=f"{_called(others[0])} {score(others[0]['score'])}" if others else "",
            close=close,
            why="",
            sort=_sort(row, ppm, others),
        )

    def _record(self, row: Mapping[str, Any]) -> str:
        """The library's record, with the library where there are several."""
        several = sum(name == "Library" for name, _ in self.facts) > 1
        return f"{row['hit_library']}: {row['hit_library_identifier']}" if several else row["hit_library_identifier"]

    def _unhit_line(self, row: Mapping[str, Any], why: str) -> Line:
        return Line(
            name=row["identifier"].removeprefix(self.shared), scans=row["merged_scans"] or 1, anchor="",
            mz=mz(row["precursor_mz"]), time=_minutes(row["retention_time"]), hit="", about="", score="", width=0.0,
            peaks="", explained="", probability="", q_value="", away="", next="", close=False, why=why,
            sort={"mz": row["precursor_mz"] or 0.0, "time": row["retention_time"] or 0.0},
        )  # fmt: skip

    def _card(self, row: Mapping[str, Any], anchors: Mapping[str, str]) -> Card:
        library = self.spectrum(row["hit_library"], row["hit_library_identifier"])
        name = row["hit_name"] or row["hit_library_identifier"]
        mine = (row["mzs"] or [], row["intensities"] or [])
        theirs = (library["mzs"], library["intensities"])
        said = f"Mirror plot of {row['identifier']} and {name}, score {score(row['hit_score'])}"
        plot = (
            mirror(mine, theirs, row["precursor_mz"], self.resolution, said, sides=("query", "library"))
            if len(theirs[0])
            else measured_spectrum(mine, row["precursor_mz"], said)
        )
        difference = row["hit_precursor_difference"]
        away = "" if difference is None else f" ({_signed(difference * 1000)} mDa)"
        energies = [_energy(side) for side in (row, library)]
        facts = [
            ("Precursor", f"{mz(row['precursor_mz'])}{away}"),
            ("Adduct", row["hit_adduct"] or "unstated"),
            ("Matched", f"{count(row['hit_matched_peaks'])} peaks{_shares(row)}"),
            ("Energy", f"{energies[0]}; library {energies[1]}"),
            (
                "Instrument",
                f"{row['instrument_type'] or 'unstated'}; library {library['instrument_type'] or 'unstated'}",
            ),
            ("Record", row["hit_library_identifier"]),
        ]
        others = tuple((_called(one), score(one["score"])) for one in row["others"] or ())
        return Card(
            anchor=anchors[row["identifier"]],
            name=row["identifier"].removeprefix(self.shared),
            hit=name,
            score=score(row["hit_score"]),
            probability=percent(row["hit_probability"], 0) if usable(row["hit_probability"]) else "",
            facts=tuple(facts),
            others=others,
            smiles=row["hit_smiles"] or "",
            plot=plot,
            molecule=structure(row["hit_smiles"], f"Structure of {name}"),
        )


def _best(kept: pl.DataFrame, new: pl.DataFrame, most: int) -> pl.DataFrame:
    """The best rows of both; equal ones in the order they came."""
    both = pl.concat([kept, new]) if kept.width else new
    by = ["hit_probability", "hit_score", "hit_matched_peaks"]
    return both.sort(by, descending=True, nulls_last=True, maintain_order=True).head(most)


def _sort(row: Mapping[str, Any], ppm: float | None, others: Sequence[Mapping[str, Any]]) -> dict[str, float | str]:
    return {
        "mz": row["precursor_mz"] or 0.0,
        "time": row["retention_time"] or 0.0,
        "score": row["hit_score"],
        "peaks": row["hit_matched_peaks"],
        "explained": row["hit_explained"] or 0.0,
        "probability": row["hit_probability"] or 0.0,
        "q": -(1.0 if row["hit_q_value"] is None else row["hit_q_value"]),
        "away": abs(ppm or 0.0),
        "next": others[0]["score"] if others else 0.0,
    }


def _ppm(row: Mapping[str, Any]) -> float | None:
    """Difference of the precursors in ppm of the query's."""
    difference, precursor = row["hit_precursor_difference"], row["precursor_mz"]
    return None if difference is None or not precursor else float(difference / precursor * 1e6)


def _away(difference: float | None, ppm: float | None) -> str:
    """In ppm; in Da beyond 100 ppm, where it is the difference of two molecules."""
    if difference is None or ppm is None:
        return ""
    return _signed(ppm) if abs(ppm) <= 100 else f"{difference:+.4f} Da".replace("-", MINUS)


def _signed(value: float) -> str:
    """+0.3, −0.1, 0.0."""
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def _called(hit: Mapping[str, Any]) -> str:
    return str(hit["name"] or hit["library_identifier"])


def _minutes(seconds: float | None) -> str:
    return f"{seconds / 60:.2f}" if usable(seconds) and seconds is not None else ""


def _shares(row: Mapping[str, Any]) -> str:
    mine, theirs = row["hit_explained"], row["hit_explained_library"]
    if not (usable(mine) and usable(theirs)):
        return ""
    return f", {percent(mine, 0)} of the query’s intensity, {percent(theirs, 0)} of the library’s"


def _energy(row: Mapping[str, Any]) -> str:
    if not usable(row["collision_energy"]):
        return "unstated"
    kind = row.get("collision_energy_kind")
    return f"{row['collision_energy']:.3g}{'' if kind == 'unitless' else ' eV'}"
