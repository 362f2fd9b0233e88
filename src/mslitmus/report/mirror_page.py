"""One prediction against one measured spectrum, as a page or a picture that stands alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from ..chem.molecule import draw_svg
from ..errors import ConfigError
from ..metrics.spectrum import score as score_spectra
from .mirror import matched, mirror
from .numbers import metric_label, mz, percent, score, tolerance
from .page import environment, static, write
from .structure import structure

_ROWS, _DRAWN = 25, 12
_SIDE = {
    "identifier": pl.String(),
    "mzs": pl.List(pl.Float64()),
    "intensities": pl.List(pl.Float64()),
    "precursor_mz": pl.Float64(),
}
# the few rules of the page's style sheet that the plot needs, in colours that print
_STYLE = (
    "text{fill:#545c66;font:13px Helvetica,Arial,sans-serif}.title{fill:#1b1f24;font-weight:600}.grid{stroke:#e8ebee}"
    ".base,.tick{stroke:#545c66}.stem{fill:none;stroke:#89929c;stroke-width:1.7}.stem.hit{stroke:#0b5fa5;stroke-width:2.4}"
    ".precursor{stroke:#b34700;stroke-dasharray:3 4}.precursor-foot{fill:#b34700}.unit{font-style:italic}"
    ".peak{fill:#1b1f24;paint-order:stroke;stroke:#fff;stroke-width:3.5px}"
)


@dataclass(frozen=True)
class Mirror:
    """A prediction and what was measured.

    Attributes:
        measured, predicted: rows of SPECTRA; a predicted one may hold peak_formulas, peak_atoms and peak_shifts.
        primary: metric whose resolution counts, e.g. `cosine@0.1Da`.
        model: what predicted.
        expected: of the primary metric, (value, lower, upper end of the 80 % interval); None where unknown.
        scores: metric → value.
    """

    measured: Mapping[str, Any]
    predicted: Mapping[str, Any]
    primary: str
    model: str
    expected: tuple[float, float, float] | None = None
    scores: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        width, unit = tolerance(self.primary)
        names = [f"{m}@{width:g}{unit}{end}" for end in ("", ":no-precursor") for m in ("cosine", "entropy")]
        mass = self.predicted["precursor_mz"]
        sides = [
            pl.DataFrame(
                [{"identifier": "one", "mzs": side["mzs"], "intensities": side["intensities"], "precursor_mz": mass}],
                schema=_SIDE,
            )
            for side in (self.predicted, self.measured)
        ]
        found = score_spectra(sides[0], sides[1], names)
        object.__setattr__(self, "scores", {name: float(found[name][0]) for name in names})

    @property
    def title(self) -> str:
        return str(self.measured.get("name") or self.measured["identifier"])


@dataclass(frozen=True)
class Peak:
    """One of the strongest predicted peaks, formatted."""

    mz: str
    intensity: str
    partner: str
    formula: str
    shift: str
    atoms: str
    drawing: Markup | None


def write_mirror(found: Mirror, path: Path) -> Path:
    """Write `.svg` or `.html`. Raises ConfigError for another suffix, RunError where it cannot be written."""
    if path.suffix.lower() not in (".svg", ".html", ".htm"):
        raise ConfigError(f"no picture is known by the suffix {path.suffix!r}", where=str(path), remedy=".svg or .html")
    return write(svg(found) if path.suffix.lower() == ".svg" else page(found), path)


def svg(found: Mirror) -> str:
    """The plot alone, with its title and scores above."""
    inner = str(_plot(found))
    opening = re.match(r'<svg class="chart mirror" viewBox="0 0 (\d+) (\d+)"([^>]*)>', inner)
    assert opening is not None
    width, height, rest = int(opening[1]), int(opening[2]), opening[3]
    lines = [escape(found.title), escape(", ".join(f"{metric_label(n)} {score(v)}" for n, v in _headline(found)))]
    texts = "".join(f'<text class="title" x="12" y="{20 + 18 * n}">{text}</text>' for n, text in enumerate(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -36 {width} {height + 36}" width="{2 * width}"{rest}>'
        f'<style>{_STYLE}</style><rect x="0" y="-36" width="{width}" height="{height + 36}" fill="#fff"/>'
        f'<g transform="translate(0 -36)">{texts}</g>{inner[opening.end() :]}'
    )


def page(found: Mirror) -> str:
    """Plot, scores, structure and the strongest predicted peaks with what the model says of their origin."""
    told = found.predicted
    energy = told["collision_energy"]
    facts = [
        ("Adduct", told["adduct"]),
        ("Precursor", f"m/z {mz(told['precursor_mz'])}"),
        ("Energy", "unstated" if energy is None else f"{energy:.3g} ({told['collision_energy_kind'] or 'no unit'})"),
        ("Instrument", told["instrument_type"] or "unstated"),
        ("Measured", found.measured["identifier"]),
        ("Model", found.model),
    ]
    peaks = strongest_peaks(found)
    return (
        environment()
        .get_template("mirror.html.j2")
        .render(
            style=static("style.css"),
            title=found.title,
            plot=_plot(found),
            facts=facts,
            scores=[(metric_label(name), score(value)) for name, value in found.scores.items()],
            expected=None if found.expected is None else [score(value) for value in found.expected],
            primary=metric_label(found.primary),
            molecule=structure(told["smiles"], f"Structure of {found.title}"),
            smiles=told["smiles"],
            peaks=peaks,
            explained=any(peak.formula for peak in peaks),
        )
    )


def strongest_peaks(found: Mirror) -> list[Peak]:
    """The strongest predicted peaks by intensity, each with the nearest measured peak that matches it."""
    mzs, intensities = (np.asarray(found.predicted[name], np.float64) for name in ("mzs", "intensities"))
    others = np.asarray(found.measured["mzs"], np.float64)
    width, unit = tolerance(found.primary)
    formulas, atoms, shifts = (found.predicted.get(f"peak_{name}") or [] for name in ("formulas", "atoms", "shifts"))
    out = []
    for place, i in enumerate(np.argsort(-intensities, kind="stable")[:_ROWS].tolist()):
        partners = others[matched(others, mzs[i : i + 1], width, unit)[0]]
        near = float(partners[np.abs(partners - mzs[i]).argmin()]) if len(partners) else 0.0
        held = list(atoms[i] or []) if i < len(atoms) else []
        out.append(
            Peak(
                mz(mzs[i]),
                percent(float(intensities[i] / intensities.max())),
                f"{mz(near)} ({(mzs[i] / near - 1) * 1e6:+.1f} ppm)" if near else "",
                (formulas[i] or "") if i < len(formulas) else "",
                f"{shifts[i]:+d} H" if i < len(shifts) and shifts[i] else "",
                ", ".join(map(str, held)),
                _fragment(found.predicted["smiles"], held) if held and place < _DRAWN else None,
            )
        )
    return out


def _fragment(smiles: str, atoms: Sequence[int]) -> Markup:
    """The molecule with the atoms of a fragment marked."""
    return Markup(draw_svg(smiles, 150, 100, atoms))


def _headline(found: Mirror) -> list[tuple[str, float]]:
    return [(name, value) for name, value in found.scores.items() if ":" not in name]


def _plot(found: Mirror) -> Markup:
    label = f"Mirror plot of {found.title}: " + ", ".join(f"{metric_label(n)} {score(v)}" for n, v in _headline(found))
    return mirror(
        (found.measured["mzs"], found.measured["intensities"]),
        (found.predicted["mzs"], found.predicted["intensities"]),
        found.predicted["precursor_mz"],
        tolerance(found.primary),
        label,
        found.predicted.get("peak_formulas") or (),
    )
