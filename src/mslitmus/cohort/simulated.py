"""A made-up case–control study with known markers, batches and blanks: what the cohort methods are tried on.

Every run holds the simulated spectra (`data.simulate`) of the same ions; their amounts are log-normal, a few of them
planted to differ between cases and controls. Never a claim about real samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..data.molecules import MOLECULES
from ..data.simulate import simulate
from ..errors import ConfigError
from ..search.repeats import as_columns
from ..spectra import formats
from ..spectra.flat import Flat, flatten

Array = NDArray[np.float64]
CASE, CONTROL = "case", "control"
_LEVEL, _SPREAD, _LIMIT = 20.0, 2.0, 17.0  # log₂ base peak: mean and deviation over ions, and where nothing is seen
_PPM, _SECONDS, _PEAK_NOISE = 2.0, 2.0, 0.1


@dataclass(frozen=True)
class Plan:
    """What is made up. Amounts are log₂.

    Args:
        cases, controls: subjects; each is measured `replicates` times.
        molecules: how many of the simulated data's; positive ions only.
        planted, effect: ions that differ between the groups, and by how much; half of them are lower in cases.
        noise: deviation between subjects; `technical` between injections of one.
        batches, batch_effect: deviation of each ion between batches.
        confounded: all cases in some batches, all controls in the others.
        blanks: runs with the background ions alone, a tenth of all.
    """

    cases: int = 40
    controls: int = 40
    replicates: int = 1
    molecules: int = 150
    planted: int = 12
    effect: float = 2.0
    noise: float = 1.0
    technical: float = 0.3
    batches: int = 4
    batch_effect: float = 1.0
    confounded: bool = False
    blanks: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.cases, self.controls, self.replicates, self.molecules, self.batches) < 1:
            raise ConfigError("cases, controls, replicates, molecules and batches", remedy="1 or more of each")
        if self.confounded and self.batches < 2:
            raise ConfigError("one batch cannot be confounded with the groups", remedy="2 batches or more")


def write(folder: Path, plan: Plan, ions: pl.DataFrame | None = None) -> pl.DataFrame:
    """Write `runs/*.mgf`, `samples.tsv` and `truth.tsv` into a folder.

    Args:
        ions: of `make_ions`, to be used again; they take the longest.
    Returns the truth: identifier, name, smiles, adduct, precursor_mz, background, effect (0 where nothing is planted).
    """
    rng = np.random.default_rng([plan.seed, 20])
    ions = make_ions(plan) if ions is None else ions
    sheet = make_sheet(plan, rng)
    background = rng.permutation(ions.height) < max(1, ions.height // 10)
    effects = _effects(plan, background, rng)
    amounts = _amounts(plan, sheet, effects, background, rng)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    peaks = flatten(ions)
    times = np.random.default_rng(plan.seed).uniform(60, 900, ions.height)
    for row, file in enumerate(sheet["file"].to_list()):
        formats.write(_run(ions, peaks, times, amounts[row], rng), folder / "runs" / file)
    sheet.write_csv(folder / "samples.tsv", separator="\t")
    truth = ions.select("identifier", "name", "smiles", "adduct", "precursor_mz").with_columns(
        pl.Series("background", background), pl.Series("effect", effects)
    )
    truth.write_csv(folder / "truth.tsv", separator="\t")
    return truth


def make_ions(plan: Plan) -> pl.DataFrame:
    """One simulated spectrum (schema SPECTRA) of each positive ion of `plan.molecules` molecules, drawn by the seed."""
    chosen = np.random.default_rng([plan.seed, 10]).permutation(len(MOLECULES))[: plan.molecules]
    molecules = [MOLECULES[k] for k in np.sort(chosen).tolist()]
    spectra = simulate(plan.seed, molecules, (20.0,), replicate_share=0.0)
    ions = spectra.filter((pl.col("ion_mode") == "positive") & (pl.col("mzs").list.len() >= 3))
    if ions.height < 2 * plan.planted:
        raise ConfigError(f"{ions.height} ions, {plan.planted} to be planted", remedy="more molecules")
    return ions


def make_sheet(plan: Plan, rng: np.random.Generator) -> pl.DataFrame:
    """One row a run, in run order."""
    rows: list[tuple[str, str, str | None, str, str]] = []
    for group, subjects in ((CASE, plan.cases), (CONTROL, plan.controls)):
        for k in range(subjects):
            batch = k % plan.batches
            if plan.confounded:
                half = plan.batches // 2
                batch = k % half if group == CASE else half + k % (plan.batches - half)
            told = (group, "sample", f"B{batch + 1}")
            rows += [(f"{group}-{k + 1:03d}", f"{injection + 1}", *told) for injection in range(plan.replicates)]
    rows += [(f"blank-{k + 1:03d}", "1", None, "blank", f"B{k % plan.batches + 1}") for k in range(plan.blanks)]
    order = sorted(range(len(rows)), key=lambda k: (rows[k][4], rng.random()))
    table = [(f"{rows[k][0]}_{rows[k][1]}", *rows[k], str(place)) for place, k in enumerate(order, 1)]
    names = ["sample", "replicate", "_injection", "group", "role", "batch", "order"]
    sheet = pl.DataFrame(table, schema=dict.fromkeys(names, pl.String), orient="row")
    return sheet.with_columns(file=pl.col("sample") + ".mgf").select("file", *(n for n in names if n != "_injection"))


def _effects(plan: Plan, background: NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Per ion: log₂ of case / control."""
    effects = np.zeros(background.size)
    free = rng.permutation(np.flatnonzero(~background))[: plan.planted]
    effects[free] = np.where(np.arange(free.size) % 2 == 0, plan.effect, -plan.effect)
    return effects


def _amounts(
    plan: Plan, sheet: pl.DataFrame, effects: Array, background: NDArray[np.bool_], rng: np.random.Generator
) -> Array:
    """log₂ base peak, (runs, ions); −∞ where an ion is not in the sample."""
    ions = effects.size
    level = rng.normal(_LEVEL, _SPREAD, ions)
    level[effects != 0] = np.maximum(level[effects != 0], _LEVEL)  # planted where it can be seen
    subjects = sheet["replicate"].unique(maintain_order=True).to_list()
    of = np.array([subjects.index(name) for name in sheet["replicate"].to_list()])
    batches = np.array([int(name[1:]) - 1 for name in sheet["batch"].to_list()])
    case = (sheet["group"] == CASE).fill_null(False).to_numpy()
    amounts = level + rng.normal(0, plan.noise, (len(subjects), ions))[of]
    amounts += np.outer(case - 0.5, effects)
    amounts += rng.normal(0, plan.batch_effect, (plan.batches, ions))[batches]
    amounts += rng.normal(0, plan.technical, amounts.shape)
    blank = (sheet["role"] == "blank").to_numpy()
    amounts[np.ix_(blank, ~background)] = -np.inf
    return np.where(amounts < _LIMIT, -np.inf, amounts)


def _run(ions: pl.DataFrame, peaks: Flat, times: Array, amounts: Array, rng: np.random.Generator) -> pl.DataFrame:
    """The spectra of one run, in order of elution."""
    seen = np.flatnonzero(np.isfinite(amounts))
    seen = seen[np.argsort(times[seen], kind="stable")]
    sizes = np.diff(peaks.offsets)[seen]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    at = np.repeat(peaks.offsets[seen] - offsets[:-1], sizes) + np.arange(offsets[-1])
    mzs = peaks.mzs[at] * (1 + np.repeat(rng.normal(0, _PPM * 1e-6, seen.size), sizes))
    noisy = Flat(mzs, peaks.intensities[at] * np.exp(rng.normal(0, _PEAK_NOISE, at.size)), offsets.astype(np.int64))
    told = ions[seen].select("precursor_mz", "charge", "ion_mode", "instrument_type", "ms_level")
    return told.with_columns(
        pl.Series("identifier", [f"scan-{k + 1:04d}" for k in range(seen.size)]),
        pl.col("precursor_mz") * (1 + pl.Series(rng.normal(0, _PPM * 1e-6, seen.size))),
        pl.Series("base_peak_intensity", np.exp2(amounts[seen])).cast(pl.Float32),
        pl.Series("retention_time", times[seen] + rng.normal(0, _SECONDS, seen.size)).cast(pl.Float32),
        *as_columns(noisy),
    )
