"""Run folders of cohorts as `mslitmus cohort` leaves them, made of made-up studies of a few ions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from mslitmus.cohort.simulated import Plan, write
from mslitmus.schemas import SPECTRA, conform
from mslitmus.spectra import formats


def made_ions(n: int = 24, seed: int = 3) -> pl.DataFrame:
    """Spectra of n ions that look nothing alike, in place of simulated molecules: these cost minutes."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "identifier": f"ion-{k:03d}",
            "mzs": np.sort(rng.uniform(50, 190 + 7 * k, 8)).tolist(),
            "intensities": rng.uniform(0.1, 1, 8).tolist(),
            "precursor_mz": 200 + 7.1234 * (k // 2) + 0.0001 * (k % 2),  # pairs of isomers
            "charge": 1,
            "ion_mode": "positive",
            "ms_level": 2,
            "instrument_type": "Orbitrap",
            "adduct": "[M+H]+",
            "smiles": "C" * (k + 1),
            "name": f"alkane {k + 1}",
        }
        for k in range(n)
    ]
    return conform(pl.DataFrame(rows, schema_overrides={"charge": pl.Int8, "ms_level": pl.Int8}))


def made_run(folder: Path, plan: Plan, ions: pl.DataFrame | None = None) -> pl.DataFrame:
    """`samples.parquet` and `spectra/` of a made-up study; returns its truth."""
    truth = write(folder / "study", plan, made_ions() if ions is None else ions)
    sheet = pl.read_csv(folder / "study" / "samples.tsv", separator="\t", infer_schema=False)
    (folder / "spectra").mkdir(parents=True, exist_ok=True)
    n, peaks, total = [], [], []
    for file, sample in sheet.select("file", "sample").iter_rows():
        frame = conform(pl.concat(list(formats.read_batches(folder / "study" / "runs" / file)))).select(list(SPECTRA))
        frame.write_parquet(folder / "spectra" / f"{sample}.parquet")
        n.append(frame.height)
        peaks.append(int(frame["mzs"].list.len().sum()))
        total.append(float((frame["base_peak_intensity"] * frame["intensities"].list.sum()).sum()))
    empty = pl.lit(None, pl.String)
    sheet.with_columns(
        pl.col("order").cast(pl.Float64),
        unit=pl.col("sample"),
        subject=empty,
        acquisition=empty,
        n_spectra=pl.Series(n),
        n_peaks=pl.Series(peaks),
        total_intensity=pl.Series(total),
    ).write_parquet(folder / "samples.parquet")
    return truth
