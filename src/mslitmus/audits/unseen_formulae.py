"""Unseen formulae: how many fragment formulae of the test spectra are absent from train, and does the score fall with
them beyond what similarity to train explains? After Khoo & Barzilay (2026), both of their definitions.

Fragment formulae of a spectrum are the best sub-formulae (`chem.subformula`, 10 ppm) of its peaks of at least 1 % of
the base peak, isotope peaks and the whole ion aside. The vocabulary of a fold is the set of them over its spectra.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtrit

from ..chem.subformula import annotate_frame
from ..data.splits.split import Split
from ..metrics.intervals import Array
from ..metrics.strata import SIMILARITY_EDGES
from .audit import Audit
from .by_molecule import LEAST_MOLECULES, averaged, corrected, side_by_side, similarity, trained
from .evidence import Absent, Evidence
from .finding import Finding, best_of
from .leads import Lead, Question, lead, verdict

NAME = "unseen-formulae"
#: Weaker peaks (base peak = 1) are noise as often as fragments, and noise finds chance formulae.
LEAST_INTENSITY = 0.01
#: A peak this near below the precursor, or above, is the whole ion (Da).
WHOLE_ION = 0.01
PPM = 10.0
_QUESTION = Question(
    audit=NAME,
    open="whether {model} depends on known fragment formulae",
    faded="{model} has no lead over {control} where fragment formulae are unseen",
    there="where fragment formulae are unseen",
    parts=("on molecules with few unseen formulae", "with many (halves of each stratum of similarity to train)"),
    remedy="report the score by share of unseen formulae; a model without a fixed vocabulary does not depend on it",
)


def fragment_formulae(frame: pl.DataFrame) -> pl.DataFrame:
    """identifier, formula: the distinct fragment formulae of each spectrum (see above), sorted.

    Args:
        frame: columns identifier, mzs, intensities, precursor_mz, formula, adduct. Spectra without formula or adduct,
            or whose formula and adduct make no ion, have none.
    """
    rows = frame.select("identifier", "mzs", "intensities", "precursor_mz", "formula", "adduct")
    strong = rows.explode("mzs", "intensities").filter(
        (pl.col("intensities") >= LEAST_INTENSITY) & (pl.col("mzs") < pl.col("precursor_mz") - WHOLE_ION)
    )
    kept = strong.group_by("identifier", maintain_order=True).agg("mzs", "intensities")
    asked = rows.select("identifier", "formula", "adduct").join(kept, on="identifier", maintain_order="left")
    found = annotate_frame(asked, ppm=PPM, best_only=True, on_error="skip")
    named = found.filter(pl.col("isotope") == "").select("identifier", "formula")
    return named.unique().sort("identifier", "formula")


def unseen_shares(fragments: pl.DataFrame, train: pl.Series, test: pl.Series) -> pl.DataFrame:
    """Of the test spectra with at least one fragment formula: identifier, formulae (count), unseen (share, 0 to 1).

    Args:
        fragments: of `fragment_formulae`; train, test: identifiers.
    """
    known = fragments.filter(pl.col("identifier").is_in(train.implode())).select("formula").unique()
    asked = fragments.filter(pl.col("identifier").is_in(test.implode()))
    marked = asked.join(known.with_columns(known=pl.lit(True)), on="formula", how="left", maintain_order="left")
    shares = marked.group_by("identifier").agg(formulae=pl.len(), unseen=pl.col("known").is_null().mean())
    return shares.sort("identifier")


def rates(frame: pl.DataFrame, split: Split, fragments: pl.DataFrame | None = None) -> dict[str, Any]:
    """Unseen formulae of one split's test fold.

    Keys: split (its title); spectra (test spectra with a fragment formula), molecules; per_spectrum: mean share of a
    spectrum's formulae that train lacks; per_molecule: the same, each molecule counted once; spectra_with: share of
    spectra with at least one; vocabulary: share of the test vocabulary that train lacks; vocabulary_size; train_size.

    Args:
        fragments: `fragment_formulae(frame)`, to save time over several splits of one dataset.
    """
    named = fragment_formulae(frame) if fragments is None else fragments
    return {"split": split.title} | _rates(named, split.apply(frame))


def _rates(fragments: pl.DataFrame, folds: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    ids = {fold: folds[fold]["identifier"] for fold in ("train", "test")}
    shares = unseen_shares(fragments, ids["train"], ids["test"]).join(
        folds["test"].select("identifier", "inchikey14"), on="identifier"
    )
    vocabularies = {
        fold: fragments.filter(pl.col("identifier").is_in(names.implode()))["formula"].unique()
        for fold, names in ids.items()
    }
    lacking = (~vocabularies["test"].is_in(vocabularies["train"].implode())).sum()
    by_molecule = averaged(shares, ["unseen"])["unseen"]
    return {
        "spectra": shares.height,
        "molecules": by_molecule.len(),
        "per_spectrum": shares["unseen"].mean(),
        "per_molecule": by_molecule.mean(),
        "spectra_with": (shares["unseen"] > 0).mean(),
        "vocabulary": lacking / max(vocabularies["test"].len(), 1),
        "vocabulary_size": vocabularies["test"].len(),
        "train_size": vocabularies["train"].len(),
    }


def of_run(evidence: Evidence) -> pl.DataFrame:
    """`fragment_formulae` of every spectrum of the run's folds, made once (10 s for 60,000 spectra)."""

    def make() -> pl.DataFrame:
        columns = ("identifier", "mzs", "intensities", "precursor_mz", "formula", "adduct")
        folds = [rows.select(columns) for s in evidence.tables.splits for rows in evidence.folds(s).values()]
        return fragment_formulae(pl.concat(folds).unique("identifier", keep="first", maintain_order=True))

    found: pl.DataFrame = evidence.kept("fragment formulae", make)
    return found


@dataclass(frozen=True)
class Tested:
    """One trained model on one split. `slope` of the score per 10 points of unseen formulae, similarity to train,
    mass and number of formulae held fixed, with its 95 % interval."""

    split: str
    model: str
    control: str | None
    lead: Lead | None
    slope: tuple[float, float, float]
    affected: int


def unseen_formulae(evidence: Evidence) -> list[Finding]:
    """Per split a note with both rates; per trained model the lead over the best blind control on test molecules with
    few unseen formulae against those with many, matched for similarity (halves of each stratum of similarity).

    Warning: the lead has faded (`leads.Lead.faded`, Holm over models and splits). Pass: it stands where many
    formulae are unseen. Note: neither is shown.
    """
    fragments = of_run(evidence)
    if fragments.is_empty():
        raise Absent("needs spectra with formula and adduct")
    findings = [_rate(split, _rates(fragments, evidence.folds(split))) for split in evidence.tables.splits]
    tested = [one for split in evidence.tables.splits for one in _tested(evidence, split, fragments)]
    ps = corrected([float("nan") if one.lead is None else one.lead.p for one in tested])
    return findings + [_judge(evidence, one, float(p)) for one, p in zip(tested, ps, strict=True)]


def _rate(split: str, found: Mapping[str, Any]) -> Finding:
    if not found["spectra"]:
        claim = f"no test spectrum of split {split} has a fragment formula"
        return Finding(NAME, "note", claim, 0, "nothing could be annotated", "check formula and adduct of the records")
    claim = f"train lacks {found['per_spectrum']:.1%} of the fragment formulae of a test spectrum of split {split}"
    shown = (
        f"mean over {found['spectra']:,} spectra (over {found['molecules']} molecules {found['per_molecule']:.1%}); "
        f"{found['spectra_with']:.1%} of the spectra have at least one; of the test vocabulary of "
        f"{found['vocabulary_size']:,} formulae train lacks {found['vocabulary']:.1%}"
    )
    return Finding(NAME, "note", claim, found["spectra"], shown, "compare splits by it, beside similarity to train")


def _tested(evidence: Evidence, split: str, fragments: pl.DataFrame) -> Iterator[Tested]:
    folds = evidence.folds(split)
    shares = unseen_shares(fragments, folds["train"]["identifier"], folds["test"]["identifier"])
    rows = (
        side_by_side(evidence, split)
        .join(shares, on="identifier")
        .join(folds["test"].select("identifier", "precursor_mz"), on="identifier")
        .join(similarity(evidence, split), on="inchikey14")
        .sort("identifier")
    )
    models = [model for model in trained(evidence.tables) if model in rows.columns]
    if not models or rows["inchikey14"].n_unique() < LEAST_MOLECULES:
        return
    by_molecule = averaged(rows, [*models, "unseen", "formulae", "precursor_mz", "similarity_to_train"])
    by_molecule = by_molecule.sort("inchikey14").with_columns(stratum=_stratum(pl.col("similarity_to_train")))
    halves = by_molecule.select("inchikey14", high=pl.col("unseen") > pl.col("unseen").median().over("stratum"))
    high = rows.join(halves, on="inchikey14", maintain_order="left")["high"].to_numpy()
    molecules, blind = rows["inchikey14"].to_numpy(), best_of(evidence.tables, split, "blind")
    for model in models:
        slope = _partial(by_molecule, model)
        ahead = None
        if blind is not None:
            ahead = lead(rows[model].to_numpy(), rows[blind].to_numpy(), molecules, ~high, high)
        yield Tested(split, model, blind, ahead, slope, len(np.unique(molecules[high])))


def _stratum(value: pl.Expr) -> pl.Expr:
    return pl.sum_horizontal([(value >= edge).cast(pl.Int64) for edge in SIMILARITY_EDGES])


def _partial(rows: pl.DataFrame, model: str) -> tuple[float, float, float]:
    """Least-squares slope of the score on the unseen share, per 0.1, with strata of similarity, precursor m/z and the
    logarithm of the number of formulae held fixed; 95 % interval with White's variance (HC1)."""
    dummies = rows["stratum"].to_dummies().to_numpy().astype(np.float64)
    fixed = np.column_stack([dummies, rows["precursor_mz"].to_numpy(), np.log(rows["formulae"].to_numpy())])
    x, y = (_residual(fixed, rows[name].to_numpy().astype(np.float64)) for name in ("unseen", model))
    n, k = fixed.shape[0], fixed.shape[1] + 1
    spread = float((x**2).sum())
    if spread <= 1e-12 or n <= k:
        return float("nan"), float("nan"), float("nan")
    slope = float((x * y).sum()) / spread
    error = float(np.sqrt(((x * (y - slope * x)) ** 2).sum() * n / (n - k))) / spread
    wide = error * float(stdtrit(n - k, 0.975))
    return slope / 10, (slope - wide) / 10, (slope + wide) / 10


def _residual(fixed: NDArray[np.float64], values: Array) -> Array:
    found: Array = values - fixed @ np.linalg.lstsq(fixed, values, rcond=None)[0]
    return found


def _judge(evidence: Evidence, one: Tested, p: float) -> Finding:
    value, low, high = one.slope
    shown = (
        f"per 10 points of unseen formulae {evidence.tables.primary} changes by {value:+.3f} "
        f"({low:+.3f} to {high:+.3f}), similarity to train, precursor m/z and number of formulae held fixed"
    )
    return verdict(_QUESTION, f"{one.model} on split {one.split}", one.control, one.lead, p, one.affected, shown)


UNSEEN_FORMULAE = Audit("does a score fall where fragment formulae are absent from train?", "files", unseen_formulae)
