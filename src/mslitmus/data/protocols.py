"""Named protocols on top of any split: which records count, what is fixed on validation, what a leaderboard must show.

`nguyen` follows the advice of Nguyen, Overstreet, King and Ciesielski ("Advancing the prediction of MS/MS spectra using
machine learning", J. Am. Soc. Mass Spectrom. 2024): curate the records, predict only at energies high enough to
fragment the precursor, and work with experimental spectrometrists. The paper gives advice, not numbers; the
definitions below are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from ..errors import ConfigError, PredictionError, SplitError
from ..registry import Registry
from ..schemas import FOLD_NAMES
from .splits.labels import ELECTRONVOLT_KINDS
from .splits.split import Split

PROTOCOLS = Registry("protocol", {"nguyen": "mslitmus.data.protocols:nguyen"})

HIGH_RESOLUTION = ("Orbitrap", "QTOF", "FTICR")
#: Marks of curation that take a record out.
REFUSED_FLAGS = ("unit-resolution", "conflicting-label", "duplicate")
#: The library look-up: what a model must beat to have learnt more than the library holds.
LOOK_UP = "nearest-molecule"
#: Candidate cut-offs, eV.
GRID = tuple(float(x) for x in range(0, 65, 5))
#: A peak this near the precursor is the precursor: Da, or ppm where that is wider.
PRECURSOR_DA, PRECURSOR_PPM = 0.01, 10.0


@dataclass(frozen=True, eq=False)
class Protocol:
    """A split restricted by a protocol.

    Attributes:
        split: the restricted split; apply it with `partial=False` to the dataset as any other.
        energy_cutoff: eV; spectra below it are in no fold.
        curve: what chose it, one entry a candidate cut-off: {energy, n, fragmented} on validation.
        required_models: names that must be on every leaderboard.
        dropped: rule → spectra of the split it took out.
    """

    name: str
    split: Split
    energy_cutoff: float
    curve: tuple[Mapping[str, Any], ...]
    required_models: tuple[str, ...] = (LOOK_UP,)
    dropped: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Everything but the folds, as JSON values."""
        return {
            "name": self.name,
            "energy_cutoff": self.energy_cutoff,
            "curve": [dict(point) for point in self.curve],
            "required_models": list(self.required_models),
            "dropped": dict(self.dropped),
            "parameters": dict(self.parameters),
            "split": self.split.record(),
        }

    def check_leaderboard(self, models: Iterable[str]) -> None:
        """Raises ConfigError unless every required model is among `models`."""
        if absent := sorted(set(self.required_models) - set(models)):
            raise ConfigError(
                f"the protocol {self.name!r} wants {', '.join(absent)} on the leaderboard",
                remedy="add it to the study's models",
            )


def nguyen(
    frame: pl.DataFrame,
    split: Split,
    *,
    max_survival: float = 0.5,
    fragmented_share: float = 0.9,
    min_spectra: int = 20,
) -> Protocol:
    """The protocol `nguyen` on a split of `frame`.

    1. Curated records: structure and adduct stated, MS level 2 where stated, high resolution (`HIGH_RESOLUTION`), an
       energy in eV, no flag of `REFUSED_FLAGS`.
    2. Energy cut-off: the lowest of `GRID` such that of the validation spectra at or above it at least
       `fragmented_share` are fragmented, i.e. keep at most `max_survival` of their intensity in the precursor peak.
       Test spectra play no part in the choice; they are cut by it.
    3. The leaderboard must hold the library look-up; `worst_disagreements` gives the sheet for the expert.

    Args:
        min_spectra: a cut-off with fewer validation spectra above it is not considered.
    Raises SplitError if no cut-off qualifies, or a fold comes out empty.
    """
    kept, dropped = _curated(frame, split)
    val = kept.filter(pl.col("fold_") == "val")
    curve = survival_curve(val, max_survival)
    fit = [point for point in curve if point["n"] >= min_spectra and point["fragmented"] >= fragmented_share]
    if not fit:
        best = max((point["fragmented"] or 0.0 for point in curve), default=0.0)
        raise SplitError(
            f"no energy cut-off leaves {min_spectra} validation spectra of which {fragmented_share:.0%} are fragmented "
            f"(best {best:.0%})",
            where=f"protocol nguyen on split {split.title}",
            remedy="lower fragmented_share or min_spectra, or use a larger validation fold",
        )
    cutoff = float(fit[0]["energy"])
    above = kept.filter(pl.col("collision_energy") >= cutoff)
    dropped = {**dropped, f"energy below the cut-off of {cutoff:g} eV": kept.height - above.height}
    if split.form == "same-molecules":  # the split's promise, kept on what is left of train
        seen = above.filter(pl.col("fold_") == "train")["inchikey14"].unique()
        promised = above.filter((pl.col("fold_") != "test") | pl.col("inchikey14").is_in(seen.implode()))
        dropped["test molecule no longer in train"] = above.height - promised.height
        above = promised
    dropped = {rule: n for rule, n in dropped.items() if n}
    return Protocol(
        name="nguyen",
        split=_restricted(split, above, dropped),
        energy_cutoff=cutoff,
        curve=tuple(curve),
        dropped=dropped,
        parameters={
            "max_survival": max_survival,
            "fragmented_share": fragmented_share,
            "min_spectra": min_spectra,
            "precursor_tolerance": {"da": PRECURSOR_DA, "ppm": PRECURSOR_PPM},
        },
    )


def _curated(frame: pl.DataFrame, split: Split) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows of the split that pass, with their fold as `fold_`, and rule → rows dropped, in the order applied."""
    rows = frame.join(split.folds.rename({"fold": "fold_"}), on="identifier", how="inner", maintain_order="left")
    known_energy = pl.col("collision_energy").is_finite() & pl.col("collision_energy_kind").is_in(ELECTRONVOLT_KINDS)
    rules = {
        "no structure": pl.col("smiles").is_not_null() & pl.col("inchikey14").is_not_null(),
        "no adduct": pl.col("adduct").is_not_null(),
        "energy absent or not in eV": known_energy,
        "not high resolution": pl.col("instrument_type").is_in(HIGH_RESOLUTION),
    }
    if "ms_level" in frame.columns:
        rules["not MS level 2"] = pl.col("ms_level").fill_null(2) == 2
    if "flags" in frame.columns:
        marks = pl.col("flags").fill_null([])
        rules |= {f"flag {flag}": ~marks.list.contains(flag) for flag in REFUSED_FLAGS}
    dropped = {}
    for rule, passes in rules.items():
        left = rows.filter(passes)
        dropped[rule] = rows.height - left.height
        rows = left
    return rows, dropped


def precursor_survival(rows: pl.DataFrame) -> pl.Series:
    """Share of each spectrum's intensity in the precursor peak (within `PRECURSOR_DA` or `PRECURSOR_PPM`, the wider);
    null without intensity. Columns: mzs, intensities, precursor_mz."""
    indexed = rows.select("mzs", "intensities", "precursor_mz").with_row_index("row")
    peaks = indexed.explode("mzs", "intensities")
    width = pl.max_horizontal(pl.lit(PRECURSOR_DA), pl.col("precursor_mz") * (PRECURSOR_PPM * 1e-6))
    near = (pl.col("mzs") - pl.col("precursor_mz")).abs() <= width
    intensity = pl.col("intensities").cast(pl.Float64)
    share = peaks.group_by("row").agg(kept=intensity.filter(near).sum(), all=intensity.sum())
    share = share.select("row", survival=pl.when(pl.col("all") > 0).then(pl.col("kept") / pl.col("all")))
    return indexed.select("row").join(share, on="row", how="left", maintain_order="left")["survival"]


def survival_curve(val: pl.DataFrame, max_survival: float) -> list[dict[str, Any]]:
    """For each cut-off of `GRID`: {energy, n: spectra at or above it, fragmented: share of them whose precursor keeps
    at most `max_survival` of the intensity (None without spectra)}."""
    survival = precursor_survival(val)
    table = val.select("collision_energy").with_columns(fragmented=survival <= max_survival).drop_nulls()
    curve = []
    for energy in GRID:
        above = table.filter(pl.col("collision_energy") >= energy)["fragmented"]
        share = float(above.sum()) / len(above) if len(above) else None
        curve.append({"energy": energy, "n": len(above), "fragmented": share})
    return curve


def _restricted(split: Split, rows: pl.DataFrame, dropped: Mapping[str, int]) -> Split:
    by_fold = {name: rows.filter(pl.col("fold_") == name) for name in FOLD_NAMES}
    if empty := [name for name, part in by_fold.items() if part.is_empty()]:
        raise SplitError(
            f"fold {', '.join(empty)} is empty under the protocol nguyen",
            where=f"split {split.title}",
            remedy="the protocol keeps only curated high-resolution spectra of known energy: use more data",
        )
    sizes = {name: {"spectra": p.height, "molecules": p["inchikey14"].n_unique()} for name, p in by_fold.items()}
    folds = rows.select("identifier", fold="fold_").sort("identifier")
    notes = tuple(f"{n:,} spectra left out by the protocol nguyen: {rule}." for rule, n in dropped.items())
    left_out = {**split.left_out, **{f"nguyen: {rule}": n for rule, n in dropped.items()}}
    parameters = {**split.parameters, "protocol": "nguyen"}
    return replace(
        split, folds=folds, sizes=sizes, notes=split.notes + notes, left_out=left_out, parameters=parameters, groups={}
    )


def worst_disagreements(scores: pl.DataFrame, metric: str, n: int = 12, *, fold: str = "test") -> pl.DataFrame:
    """The sheet for an expert to judge: per model, the `n` molecules whose prediction agrees least with the record.

    One row a molecule, its worst spectrum (seeds averaged), so that one odd molecule does not fill the sheet. A bad
    score may be a bad prediction, a bad record or a real isomer problem: that is what the expert is asked.

    Args:
        scores: identifier, inchikey14, predicted, `metric` (larger is better), with `fold`, `split`, `model` where
            present. Rows without a prediction or score have nothing to draw and are passed over.
    Returns: split?, model?, rank (1 = worst), identifier, inchikey14, `metric`.
    Raises PredictionError for an absent column or fold.
    """
    if absent := [name for name in ("identifier", "inchikey14", "predicted", metric) if name not in scores.columns]:
        raise PredictionError(
            f"columns absent from the scores: {', '.join(absent)}", remedy=f"these exist: {', '.join(scores.columns)}"
        )
    rows = scores.filter(pl.col("fold") == fold) if "fold" in scores.columns else scores
    rows = rows.filter(pl.col("predicted") & pl.col(metric).is_finite() & pl.col("inchikey14").is_not_null())
    if rows.is_empty():
        raise PredictionError(f"no predicted {fold} rows with {metric}", remedy="score the predictions first")
    by = [name for name in ("split", "model") if name in scores.columns]
    spectra = rows.group_by(*by, "identifier", "inchikey14").agg(pl.col(metric).mean())
    worst = spectra.sort(*by, metric, "identifier").unique([*by, "inchikey14"], keep="first", maintain_order=True)
    rank = pl.int_range(1, pl.len() + 1)
    ranked = worst.with_columns(rank=rank.over(by) if by else rank)
    return ranked.filter(pl.col("rank") <= n).select(*by, "rank", "identifier", "inchikey14", metric)
