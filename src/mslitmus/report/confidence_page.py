"""What `mslitmus confidence` found as one self-contained page: can right answers be told from wrong ones, and what
does abstaining buy? A pure function of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from .. import __version__
from ..provenance import now
from ..search.evaluation import Evaluation
from .lines import Line
from .numbers import MISSING, count, nice_limit, percent, score, usable
from .page import environment, static, write
from .plane import plane_chart, two_sided

#: Method of the rates → what the page calls it, how its line is drawn.
METHODS = {
    "q_value": ("q-value", "trained"),
    "calibrated": ("mean of the probabilities", "control"),
    "second-rank": ("second places", "control"),
    "shifted": ("decoys: shifted", "oracle"),
    "naive": ("decoys: naive", "oracle"),
    "resampled": ("decoys: resampled", "oracle"),
}
_STRATA = {
    "all": "all queries with a candidate",
    "answerable": "the molecule is in the library",
    "non-trivial": "and so is another candidate",
    "absent": "the library lacks the molecule",
}


def write_confidence(found: Evaluation, facts: Sequence[tuple[str, str]], path: Path) -> Path:
    """Write the page and return its path.

    Args:
        facts: (what, how) about the library and the search.
    Raises RunError where it cannot be written.
    """
    template = environment().get_template("confidence.html.j2")
    summary = found.summary
    values = {
        "title": facts[0][1] if facts else "library",
        "facts": facts,
        "notes": found.summary["notes"],
        "tiles": _tiles(found),
        "charts": [_roc(found), _histograms(found), _risk(found), *_rates_charts(found)],
        "thresholds": [_threshold(row) for row in summary["thresholds"]],
        "strata": [_stratum(row) for row in found.strata.iter_rows(named=True)],
        "signs": [_sign(row) for row in found.signs.iter_rows(named=True)],
        "rates": _rates(found.rates),
        "kind": summary["kind"],
        "version": __version__,
        "made": now(),
    }
    return write(template.render(**values, style=static("style.css")), path)


def _tiles(found: Evaluation) -> list[tuple[str, str]]:
    auc = dict(found.signs.select("sign", "auc").iter_rows())["probability"]
    top1 = dict(found.strata.filter(pl.col("average") == "molecule").select("stratum", "top1").iter_rows())
    return [
        (count(found.summary["test_queries"]), "test spectra with a candidate"),
        (percent(top1["answerable"]), "right at first place, where the library has the molecule"),
        (score(auc), "AUC: a right answer is surer than a wrong one"),
        (score(found.summary["calibration_error"]), "expected calibration error"),
    ]


def _curve(found: Evaluation, name: str) -> tuple[tuple[float, float], ...]:
    return tuple(found.curves.filter(pl.col("curve") == name).select("x", "y").iter_rows())


def _roc(found: Evaluation) -> Markup:
    auc = dict(found.signs.select("sign", "auc").iter_rows())
    styles = {"probability": "trained", "lead": "control", "score": "oracle"}
    lines = [
        Line(f"{sign}, AUC {score(auc[sign])}", _curve(found, f"roc of {sign}"), css, named=True)
        for sign, css in styles.items()
    ]
    return plane_chart(
        lines, label="ROC of right against wrong answers", title="Right against wrong: share of right answers kept",
        foot="share of wrong answers kept", diagonal="a sign that tells nothing",
    )  # fmt: skip


def _histograms(found: Evaluation) -> Markup:
    right, wrong = _curve(found, "right"), _curve(found, "wrong")
    width = 1.0 / max(len(right), 1)
    return two_sided(
        right, wrong, width=width, label="Histograms of the scores of right and of wrong answers",
        title="Scores of right and of wrong answers", foot="score, 0: no hit; a molecule’s spectra weigh one together",
    )  # fmt: skip


def _risk(found: Evaluation) -> Markup:
    points = _curve(found, "risk")
    top = nice_limit(max((y for _, y in points), default=1.0))
    line = Line("surest first", points, "trained", named=True)
    return plane_chart(
        [line], label="Share of wrong answers against share of queries answered", top=top,
        title="What abstaining buys: wrong among the answered", foot="share of queries that are answered",
    )  # fmt: skip


def _rates_charts(found: Evaluation) -> list[Markup]:
    """Estimated against true rates, per molecule and per spectrum, in one scale."""
    sides = {"true_molecule": "per molecule", "true": "per spectrum"}
    judged = found.rates.filter(pl.col("true").is_not_null())
    highest = [judged[name].max() for name in ("estimated", *sides)]
    limit = nice_limit(max((float(str(value)) for value in highest if value is not None), default=0.2))
    out = []
    for column, weighing in sides.items():
        lines = []
        for method, (name, css) in METHODS.items():
            rows = judged.filter(pl.col("method") == method).sort("estimated")
            if rows.height:
                lines.append(Line(name, tuple(rows.select("estimated", column).iter_rows()), css, named=True))
        label, title = (
            f"Estimated against true false discovery rate {weighing}",
            f"True rate of wrong answers, {weighing}",
        )
        chart = plane_chart(
            lines, label=label, title=title, foot="estimated rate", right=limit, top=limit, dots=True,
            diagonal="kept exactly",
        )  # fmt: skip
        out.append(chart)
    return out


def _threshold(row: dict[str, Any]) -> tuple[str, ...]:
    wanted = percent(row["wanted"], 0)
    if row["probability"] is None:
        return wanted, MISSING, str(row["why_not"]), "", "", "", ""
    given = [percent(row[name]) for name in ("answered_molecule", "error_molecule", "answered", "error")]
    behind = MISSING if row["bound"] is None else f"{percent(row['bound'])} of {row['accepted']:.0f}"
    return wanted, score(row["probability"]), *given, behind + (", too few" if row["few"] else "")


def _stratum(row: dict[str, Any]) -> tuple[str, ...]:
    numbers = [percent(row[name]) for name in ("top1", "chance", "ceiling")]
    return _STRATA[row["stratum"]], f"per {row['average']}", count(row["queries"]), count(row["molecules"]), *numbers


def _sign(row: dict[str, Any]) -> tuple[str, ...]:
    shares = [percent(value) for name, value in row.items() if name.startswith("error@")]
    return row["sign"], score(row["auc"]), score(row["auc_per_spectrum"]), score(row["aurc"]), *shares


def _rates(rates: pl.DataFrame) -> list[tuple[str, ...]]:
    out = []
    for row in rates.iter_rows(named=True):
        within = MISSING
        if usable(row["low"]):
            within = f"{percent(row['low'])} to {percent(row['high'])}"
        true = [percent(row["true"]), within, percent(row["true_molecule"])]
        name = METHODS.get(row["method"], (row["method"], ""))[0]
        out.append((name, percent(row["level"], 0), count(row["accepted"]), percent(row["share"]), *true))
    return out
