"""Generated structures as one self-contained HTML page: a table of all queries, the surest ones drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from .. import __version__
from ..provenance import now
from .mirror import measured_spectrum, mirror
from .numbers import count, mz, score, usable
from .page import environment, static, write
from .structure import structure

#: Rows of the table, queries drawn, structures drawn of each.
ROWS, PLOTS, DRAWN = 3_000, 60, 4
NOT_SURE, NOTHING = "no confident structure", "no structure"


@dataclass(frozen=True)
class Line:
    """One query of the table, formatted; `sort` holds what columns are sorted by."""

    name: str
    anchor: str
    mz: str
    formula: str
    origin: str
    smiles: str
    why: str
    score: str
    expected: str
    agrees: str
    sort: Mapping[str, float | str]


@dataclass(frozen=True)
class Card:
    """One query with its best structures."""

    anchor: str
    name: str
    formula: str
    why: str
    value: str
    plot: Markup
    answers: tuple[tuple[Markup | None, str, str], ...]  # drawing, SMILES, score


@dataclass
class GeneratePage:
    """Collects answers as they come.

    Args:
        title: what was asked, e.g. the file names.
        facts: (what, how) about model, formulae, trust.
        plots: queries drawn at most.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    plots: int = PLOTS
    queries: int = 0
    answered: int = 0
    confident: int = 0
    inferred: int = 0
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _drawn: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def add(self, queries: pl.DataFrame, answers: pl.DataFrame) -> None:
        """One batch: queries with their predicted spectra, and rows of GENERATED, best first."""
        grouped = answers.group_by("identifier", maintain_order=True).agg(pl.all())
        for query, found in zip(queries.iter_rows(named=True), grouped.iter_rows(named=True), strict=True):
            one = {name: (value if name in ("smiles", "score") else value[0]) for name, value in found.items() if value}
            one |= {"identifier": query["identifier"], "formulae": found["formula"]}
            self.queries += 1
            self.answered += one["rank"] is not None
            self.confident += bool(one["confident"])
            self.inferred += one["formula_from"] == "inferred"
            if len(self._rows) < ROWS:
                self._rows.append(one)
            if one["rank"] is not None:
                self._drawn = sorted([*self._drawn, (one, query)], key=lambda pair: _order(pair[0]))[: self.plots]

    def write(self, path: Path, notes: Sequence[str] = (), faults: Sequence[str] = (), ended: str = "") -> Path:
        """Write the page. `ended` says why it is not complete. Raises RunError where it cannot be written."""
        anchors = {one["identifier"]: f"q{n}" for n, (one, _) in enumerate(self._drawn, 1)}
        lines = [_line(one, anchors) for one in sorted(self._rows, key=_order)]
        page = environment().get_template("generate.html.j2")
        text = page.render(
            page=self,
            style=static("style.css") + static("queries.css"),
            script=static("search.js"),
            lines=lines,
            cards=[_card(one, query, anchors) for one, query in self._drawn],
            cut=self.queries - len(lines),
            calibrated=any(line.expected for line in lines),
            compared=any(line.agrees for line in lines),
            notes=notes,
            faults=faults,
            ended=ended,
            count=count,
            made=now(),
            version=__version__,
        )
        return write(text, path)


def _order(one: Mapping[str, Any]) -> tuple[bool, bool, float, float]:
    """Confident first, then by what to expect, then by score; without a structure last."""
    if one["rank"] is None:
        return True, True, 0.0, 0.0
    return False, not one["confident"], -(one["expected_similarity"] or 0.0), -one["score"][0]


def _line(one: Mapping[str, Any], anchors: Mapping[str, str]) -> Line:
    there = one["rank"] is not None
    value = one["score"][0] if there else None
    return Line(
        name=one["identifier"],
        anchor=anchors.get(one["identifier"], ""),
        mz=mz(one["precursor_mz"]) if one["precursor_mz"] else "",
        formula=one["formula"] or "",
        origin=one["formula_from"] or "",
        smiles=one["smiles"][0] if there else "",
        why=_why(one),
        score=score(value) if there else "",
        expected=_known(one["expected_similarity"]),
        agrees=_known(one["repredicted"]),
        sort={
            "mz": one["precursor_mz"] or 0.0,
            "score": value if value is not None else "",
            "expected": one["expected_similarity"] if there and usable(one["expected_similarity"]) else "",
            "agrees": one["repredicted"] if usable(one["repredicted"]) else "",
        },
    )


def _why(one: Mapping[str, Any]) -> str:
    return NOTHING if one["rank"] is None else NOT_SURE if one["confident"] is False else ""


def _worth(value: float, own: str | None, first: str | None) -> str:
    """The score of a structure, and its formula where that is not the first one's."""
    return score(value) if own == first else f"{score(value)}, {own}"


def _known(value: float | None) -> str:
    return score(value) if usable(value) else ""


def _card(one: Mapping[str, Any], query: Mapping[str, Any], anchors: Mapping[str, str]) -> Card:
    mine, precursor, name = (query["mzs"], query["intensities"]), query["precursor_mz"], one["identifier"]
    if query["predicted_mzs"]:
        theirs = (query["predicted_mzs"], query["predicted_intensities"])
        label = f"Mirror plot of {name} and the spectrum predicted for its first structure"
        plot = mirror(mine, theirs, precursor, (0.1, "Da"), label, sides=("measured", "predicted"))
    else:
        plot = measured_spectrum(mine, precursor, f"Spectrum of {name}")
    columns = (one[column][:DRAWN] for column in ("smiles", "score", "formulae"))
    answers = [
        (structure(text, f"Structure {place} of {name}"), text, _worth(value, own, one["formula"]))
        for place, (text, value, own) in enumerate(zip(*columns, strict=True), 1)
    ]
    formula = f"{one['formula']} ({one['formula_from']})" if one["formula"] else "formula not asked"
    value = _known(one["expected_similarity"]) or score(one["score"][0])
    return Card(anchors[name], name, formula, _why(one), value, plot, tuple(answers))
