"""The made-up case–control study: are planted markers found, is nothing found where nothing is planted, and does the
batch audit fire when it should and only then?

    python benchmarks/cohort.py --seeds 3 --json cohort.json

Every study is written as MGF files and read back. Audits of the batch need the sheet alone: 20 seeds cost seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mslitmus.audits.cohort import examine_cohort
from mslitmus.cohort.design import Weighing
from mslitmus.cohort.markers import MarkerSettings, find
from mslitmus.cohort.simulated import Plan, make_ions, make_sheet, write
from mslitmus.schemas import SPECTRA, conform
from mslitmus.search.libraries import open_libraries
from mslitmus.spectra import formats

ALPHA = 0.05


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=3, help="studies of each kind")
    arguments.add_argument("--molecules", type=int, default=150)
    arguments.add_argument("--effect", type=float, nargs="+", default=[2.0, 1.0], help="log2, planted")
    arguments.add_argument("--json", type=Path, help="write the figures here")
    asked = arguments.parse_args()
    plan = Plan(molecules=asked.molecules)
    rows = [{"study": "audit", **row} for row in audits()]
    ions = make_ions(plan)
    print(f"{ions.height} ions", flush=True)
    for seed in range(asked.seeds):
        for effect in (0.0, *asked.effect):
            one = replace(plan, seed=seed, effect=effect, planted=plan.planted if effect else 0)
            for row in study(one, ions):
                print(row, flush=True)
                rows.append(row)
            if asked.json:
                asked.json.write_text(json.dumps(rows, indent=1))
    for line in summary(pl.DataFrame([r for r in rows if r["study"] != "audit"], infer_schema_length=None)):
        print(line)


def audits(seeds: int = 20) -> list[dict[str, Any]]:
    """How often the audit of confounding speaks up about the batch, with batches dealt out evenly, at random, and by
    group."""
    found = []
    for kind in ("even", "random", "confounded"):
        fired = 0
        with tempfile.TemporaryDirectory() as name:
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                sheet = make_sheet(Plan(seed=seed, confounded=kind == "confounded"), rng)
                if kind == "random":
                    sheet = sheet.with_columns(batch=pl.Series(rng.permutation(sheet["batch"].to_numpy())))
                _samples(sheet, [100] * sheet.height, [1.0] * sheet.height).write_parquet(
                    Path(name) / "samples.parquet"
                )
                claims = [f for f in examine_cohort(Path(name)) if f.audit == "confounding" and "batch" in f.claim]
                fired += any(f.severity in ("fatal", "warning") for f in claims)
        found.append({"batches": kind, "seeds": seeds, "fired": fired})
        print(found[-1], flush=True)
    return found


def study(plan: Plan, ions: pl.DataFrame) -> list[dict[str, Any]]:
    """One study, with and without centring of batches."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = write(folder, plan, ions)
        kept(folder)
        library = folder / "library.parquet"
        ions.write_parquet(library)
        out = []
        for adjust in ("none", "batch"):
            markers = find(folder, MarkerSettings(weighing=Weighing(adjust=adjust)), open_libraries([str(library)]))
            row = {"study": "markers", "seed": plan.seed, "effect": plan.effect, "adjust": adjust}
            out.append({**row, **judged(markers, truth), "seconds": round(time.perf_counter() - started, 1)})
    return out


def kept(folder: Path) -> None:
    """The runs of a study as a cohort's run folder keeps them."""
    sheet = pl.read_csv(folder / "samples.tsv", separator="\t", infer_schema=False)
    (folder / "spectra").mkdir(exist_ok=True)
    n, total = [], []
    for file, sample in sheet.select("file", "sample").iter_rows():
        frame = conform(pl.concat(list(formats.read_batches(folder / "runs" / file)))).select(list(SPECTRA))
        frame.write_parquet(folder / "spectra" / f"{sample}.parquet")
        n.append(frame.height)
        total.append(float((frame["base_peak_intensity"] * frame["intensities"].list.sum()).sum()))
    _samples(sheet, n, total).write_parquet(folder / "samples.parquet")


def _samples(sheet: pl.DataFrame, spectra: list[int], total: list[float]) -> pl.DataFrame:
    empty = pl.lit(None, pl.String)
    return sheet.with_columns(
        pl.col("order").cast(pl.Float64),
        unit=pl.col("sample"),
        subject=empty,
        acquisition=empty,
        n_spectra=pl.Series(spectra),
        n_peaks=pl.Series(spectra),
        total_intensity=pl.Series(total) + pl.int_range(pl.len()),
    )


def judged(markers: pl.DataFrame, truth: pl.DataFrame) -> dict[str, Any]:
    """Discoveries (q ≤ .05) against what was planted. An ion counts once, by the spectrum that its families hit; two
    families of one planted ion are no false discovery."""
    found = markers.filter(pl.col("q") <= ALPHA)
    planted = set(truth.filter(pl.col("effect") != 0)["identifier"])
    hit = found["library_identifier"].to_list()
    right = planted & set(hit)
    wrong = sum(name not in planted for name in hit)
    out: dict[str, Any] = {"tested": markers.height, "planted": len(planted), "found": len(hit), "false": wrong}
    out["recall"] = len(right) / len(planted) if planted else None
    out["precision"] = (len(hit) - wrong) / len(hit) if hit else None
    return out


def summary(rows: pl.DataFrame) -> list[str]:
    """A line an effect and adjustment: means over seeds."""
    told = rows.group_by("effect", "adjust", maintain_order=True).agg(
        pl.col("recall").mean(), pl.col("precision").mean(), pl.col("false").sum(), studies=pl.len()
    )
    return [
        f"effect {r['effect']:g}, centred {r['adjust']}: recall {r['recall'] or 0:.2f}, "
        f"precision {r['precision'] if r['precision'] is not None else float('nan'):.2f}, "
        f"{r['false']} false discoveries in {r['studies']} studies"
        for r in told.iter_rows(named=True)
    ]


if __name__ == "__main__":
    main()
