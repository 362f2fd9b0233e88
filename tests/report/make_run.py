"""A whole run folder fabricated by hand: 4 models, 2 splits, 3 metrics, every file the report can draw."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mslitmus.schemas import COMPARISONS, EXAMPLES, STRATA, SUMMARY, conform

METRICS = ("cosine@0.01Da", "cosine@0.01Da:no-precursor", "entropy@0.1Da")
SPLITS = ("molecule", "scaffold")
KINDS = {"precursor-only": "blind", "nearest-molecule": "neighbour", "NEIMS": "trained", "gin × binned": "trained"}
LEVEL = {"precursor-only": 0.148, "nearest-molecule": 0.331, "NEIMS": 0.388, "gin × binned": 0.412}
STRATA_LEVELS = {
    "energy": ("below 15 eV", "15–30 eV", "30–45 eV", "above 45 eV", "unknown"),
    "adduct": ("[M+H]+", "[M-H]-", "[M+Na]+", "other"),
    "instrument": ("Orbitrap", "QTOF", "FTICR"),
    "precursor mass": ("below 200", "200–300", "300–400", "above 400"),
    "similarity to train": ("below .3", ".3–.45", ".45–.6", "above .6"),
}
MOLECULES = (
    ("Caffeine", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", 195.0877),
    ("Cocaine", "COC(=O)C1C(OC(=O)c2ccccc2)CC2CCC1N2C", 304.1543),
    ("Quercetin", "O=c1c(O)c(-c2ccc(O)c(O)c2)oc2cc(O)cc(O)c12", 303.0499),
    (
        "2-Chloro-N-(2-ethyl-6-methylphenyl)-N-(1-methoxypropan-2-yl)acetamide",
        "CCc1cccc(C)c1N(C(C)COC)C(=O)CCl",
        284.1412,
    ),
    ("Phenylalanine", "N[C@@H](Cc1ccccc1)C(=O)O", 166.0863),
    ("Citric acid", "OC(=O)CC(O)(CC(=O)O)C(=O)O", 191.0197),
)


def make_run(folder: Path, *, simulated: bool = False, seed: int = 0) -> Path:
    """Write the run folder and return it."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(_CONFIG, encoding="utf-8")
    _write(folder / "provenance.json", _provenance())
    _write(folder / "dataset.json", _dataset(simulated))
    _write(folder / "ledger.json", _ledger())
    _write(folder / "findings.json", _findings())
    (folder / "splits").mkdir(exist_ok=True)
    for split in SPLITS:
        _write(folder / "splits" / f"{split}.json", _split(split, rng))
        for model, kind in KINDS.items():
            cell = folder / "cells" / split / model / "seed0"
            cell.mkdir(parents=True, exist_ok=True)
            _write(cell / "cell.json", _cell(split, model, kind))
    conform(_summary(rng), SUMMARY).write_parquet(folder / "summary.parquet")
    conform(_comparisons(), COMPARISONS).write_parquet(folder / "comparisons.parquet")
    conform(_strata(rng), STRATA).write_parquet(folder / "strata.parquet")
    conform(_examples(rng), EXAMPLES).write_parquet(folder / "examples.parquet")
    return folder


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def _mean(split: str, model: str, metric: str, average: str = "molecule", fold: str = "test") -> float:
    value = LEVEL[model] + (0.0 if split == "scaffold" else 0.06 if KINDS[model] != "blind" else 0.0)
    value *= {"cosine@0.01Da": 1.0, "cosine@0.01Da:no-precursor": 0.8, "entropy@0.1Da": 1.25}[metric]
    return value + (0.02 if average == "spectrum" else 0.0) + (0.006 if fold == "val" else 0.0)


def _summary(rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    for split in SPLITS:
        for model, kind in KINDS.items():
            for metric in METRICS:
                for average in ("spectrum", "molecule"):
                    for fold in ("val", "test"):
                        mean, width = _mean(split, model, metric, average, fold), 0.009 + 0.004 * rng.random()
                        control = _mean(split, "precursor-only", metric, average, fold)
                        near = _mean(split, "nearest-molecule", metric, average, fold)
                        bound = 0.86 if metric.startswith("cosine") else 1.0
                        base = {
                            "split": split,
                            "model": model,
                            "fold": fold,
                            "metric": metric,
                            "average": average,
                            "low": mean - width,
                            "high": mean + width,
                            "n_queries": 11_204,
                            "n_molecules": 1_312,
                            "coverage": 1.0 if kind != "neighbour" else 0.99991,
                            "bound": bound,
                            "skill_blind": (mean - control) / (bound - control),
                            "skill_neighbour": (mean - near) / (bound - near),
                        }
                        seeds = (0, 1, 2) if model == "gin × binned" else (0,)
                        rows.append({**base, "seed": None, "mean": mean})
                        rows += [{**base, "seed": s, "mean": mean + 0.012 * (s - 1) * (len(seeds) > 1)} for s in seeds]
    return pl.DataFrame(rows, infer_schema_length=None)


def _comparisons() -> pl.DataFrame:
    rows = []
    for split in SPLITS:
        for metric in METRICS:
            for a, b in combinations(KINDS, 2):
                gap = _mean(split, a, metric) - _mean(split, b, metric)
                near = {a, b} == {"NEIMS", "gin × binned"} and split == "scaffold"
                rows.append(
                    {
                        "split": split,
                        "metric": metric,
                        "model_a": a,
                        "model_b": b,
                        "difference": gap,
                        "low": gap - (0.03 if near else 0.011),
                        "high": gap + (0.03 if near else 0.011),
                        "p": 0.11 if near else 0.0001,
                        "p_holm": 0.11 if near else 0.0006,
                        "effect_size": gap * 4.2,
                        "n_queries": 11_204,
                        "n_molecules": 1_312,
                    }
                )
    return pl.DataFrame(rows)


def _strata(rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    for split in SPLITS:
        for stratum, levels in STRATA_LEVELS.items():
            for order, level in enumerate(levels):
                n = int(rng.integers(12, 600))
                for model in KINDS:
                    mean = float(
                        np.clip(_mean(split, model, METRICS[0]) * (0.75 + 0.15 * order) + rng.normal() * 0.01, 0, 1)
                    )
                    width = 0.35 / np.sqrt(n)
                    rows.append(
                        {
                            "split": split,
                            "model": model,
                            "metric": METRICS[0],
                            "stratum": stratum,
                            "level": level,
                            "order": order,
                            "mean": mean,
                            "low": max(mean - width, 0),
                            "high": mean + width,
                            "n_queries": n * 8,
                            "n_molecules": n,
                        }
                    )
    return pl.DataFrame(rows)


def _examples(rng: np.random.Generator) -> pl.DataFrame:
    rows, index = [], 0
    for split in SPLITS:
        for model in KINDS:
            for rank, score in (("best", 0.987), ("median", 0.431), ("worst", 0.0)):
                name, smiles, precursor = MOLECULES[index % len(MOLECULES)]
                index += 1
                mzs = np.sort(np.append(rng.uniform(50, precursor - 10, 14), precursor))
                intensities = np.append(rng.beta(0.5, 2, 14), 0.4)
                shared = mzs if rank == "best" else mzs[::2] if rank == "median" else mzs[:0]
                guess = np.sort(np.append(shared, rng.uniform(50, precursor, 6)))
                rows.append(
                    {
                        "split": split,
                        "model": model,
                        "rank": rank,
                        "metric": METRICS[0],
                        "score": score,
                        "identifier": f"MSBNK-Eawag-EQ{300_000 + index}",
                        "smiles": smiles,
                        "name": name,
                        "adduct": "[M-H]-" if name == "Citric acid" else "[M+H]+",
                        "instrument_type": "Orbitrap" if index % 2 else "QTOF",
                        "collision_energy": 35.0 if index % 5 else None,
                        "collision_energy_kind": "eV" if index % 5 else None,
                        "precursor_mz": precursor,
                        "mzs": mzs.tolist(),
                        "intensities": (intensities / intensities.max()).tolist(),
                        "predicted_mzs": guess.tolist(),
                        "predicted_intensities": rng.beta(0.5, 2, len(guess)).tolist(),
                    }
                )
    return pl.DataFrame(rows)


def _split(split: str, rng: np.random.Generator) -> dict[str, Any]:
    shift = {"molecule": 0.62, "scaffold": 0.44}[split]
    drawn = np.clip(rng.normal(shift, 0.16, 1312), 0, 1)
    counts, edges = np.histogram(drawn, bins=20, range=(0, 1))
    properties = ("mass", "logp", "rings", "heteroatoms", "fingerprint_density")
    return {
        "method": split, "form": None, "seed": 0, "parameters": {"test": 0.1, "val": 0.1}, "notes": [],
        "dataset_hash": "9f2c41d07ab3e655",
        "sizes": {"train": {"spectra": 43_210, "molecules": 9_870}, "val": {"spectra": 5_400, "molecules": 1_290},
                  "test": {"spectra": 11_204, "molecules": 1_312}},
        "difficulty": {
            "overlap": {k: {"count": c, "of": 1312, "share": c / 1312, "spectra": c * 8, "of_spectra": 11_204,
                            "share_spectra": c * 8 / 11_204}
                        for k, c in (("molecules", 0), ("scaffolds", 912 if split == "molecule" else 0),
                                     ("formulae", 640), ("val_molecules", 0))},
            "nearest_train": {
                "n": 1312, "of": 1312, "mean": float(drawn.mean()), "fingerprint": "Morgan radius 2, 2048 bits",
                "quantiles": {str(q): float(np.quantile(drawn, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)},
                "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            },
            "ks": {p: {"statistic": 0.04 + 0.03 * i, "p": 0.4 / 10**i, "n_test": 1312, "n_train": 9870,
                       "permutations": 1000, "median_test": 301.2 - i, "median_train": 288.4}
                   for i, p in enumerate(properties)},
            "cramers_v": {
                name: {"v": v, "v_corrected": v - 0.01, "n": 59_814, "levels": 3,
                       "shares": {level: {"train": 0.6, "val": 0.58, "test": 0.63} for level in levels}}
                for name, v, levels in (("instrument_type", 0.08, ("Orbitrap", "QTOF")), ("adduct", 0.05, ("[M+H]+",)),
                                        ("energy", 0.11, ("≤ 10 eV", "unknown")))
            },
        },
    }  # fmt: skip


def _cell(split: str, model: str, kind: str) -> dict[str, Any]:
    trained = kind == "trained"
    history = [
        {"epoch": e, "loss": 1.9 * 0.86**e + 0.3, "score": 0.43 - 0.28 * 0.8**e - 0.0006 * max(0, e - 17) ** 2,
         "learning_rate": 1e-3, "seconds": 21.5}
        for e in range(24)
    ]  # fmt: skip
    return {
        "split": split, "model": model, "kind": kind, "seed": 0,
        "options": {"encoder": "gin", "head": "binned"} if "gin" in model else {},
        "parameters": 4_830_112 if trained else 0,
        "seconds": {"fit": 482.0 if trained else 3.1, "predict": 14.2 if trained else 0.8, "score": 2.2},
        "fit": {"seconds": 482.0, "parameters": 4_830_112, "stopped": "no gain for 6 epochs", "best_epoch": 17,
                "best_score": 0.424, "history": history, "notes": {}} if trained else
               {"seconds": 3.1, "stopped": "nothing to train", "best_epoch": None, "best_score": None, "history": []},
    }  # fmt: skip


def _provenance() -> dict[str, Any]:
    return {
        "versions": {"python": "3.11.9", "mslitmus": "0.1.0", "numpy": "2.1.0", "polars": "1.9.0", "rdkit": "2024.9.1",
                     "torch": "2.13.0"},
        "machine": "x86_64", "system": "Linux", "cpus": 2, "study": "4be2a0c6b8f1d3aa",
        "sessions": [{"begun": "2026-11-20T09:12:44+00:00", "ended": "2026-11-20T10:01:02+00:00", "seconds": 2898.0}],
    }  # fmt: skip


def _dataset(simulated: bool) -> dict[str, Any]:
    return {
        "name": "massbank", "hash": "9f2c41d07ab3e655", "revision": 1, "simulated": simulated,
        "counts": {"spectra": 71_003, "molecules": 13_210, "peaks": 2_000_000},
        "citation": "Horai et al., J. Mass Spectrom. 45, 703 (2010)", "saved": "2026-11-19T18:00:00+00:00",
        "licenses": {"CC BY": 40_000, "CC0": 31_003},
        "selected": {"spectra": 59_814, "molecules": 12_472, "hash": "77aa01bc44de9210",
                     "licenses": {"CC BY": 35_010, "CC0": 24_804}},
    }  # fmt: skip


def _ledger() -> list[dict[str, Any]]:
    rules = [
        ("require_structure", 74_677, 1_022, 0, 0, "the SMILES parses"),
        ("derive_inchikey14", 73_655, 0, 2_310, 0, "recomputed from the SMILES; mismatches counted as changed"),
        ("require_precursor_agreement", 73_655, 1_804, 0, 0, "m/z within 10 ppm or 0.01 Da of structure and adduct"),
        ("mark_duplicates", 71_851, 0, 0, 3_017, "same molecule, condition and peaks"),
        ("drop_no_fragment", 71_851, 848, 0, 0, "no peak below the precursor"),
        ("exclude_duplicate", 71_003, 11_189, 0, 0, "study filter"),
    ]
    found = [
        {"identifier": f"MSBNK-RIKEN-PR{n}", "reason": "SMILES does not parse: 'C1CC<b>'"} for n in (100_023, 100_871)
    ]
    return [
        {"rule": r, "rows_in": n, "dropped": d, "changed": c, "marked": m, "note": note, "rows_out": n - d,
         "examples": found if d and note != "study filter" else []}
        for r, n, d, c, m, note in rules
    ]  # fmt: skip


def _findings() -> list[dict[str, Any]]:
    return [
        {"audit": "trivial", "severity": "warning", "affected": 1_312,
         "claim": "NEIMS cannot be told from gin × binned on split scaffold",
         "evidence": "+.024 [−.006, +.054], Holm p = .11, paired", "remedy": "do not rank the two"},
        {"audit": "overlap", "severity": "pass", "affected": 0, "claim": "no test molecule is in train (scaffold)",
         "evidence": "exact overlap 0 by InChIKey-14", "remedy": "nothing to do"},
    ]  # fmt: skip


_CONFIG = """\
name: massbank
title: Four spectrum predictors on MassBank
task: spectrum-prediction
splits: [{method: molecule, name: molecule}, {method: scaffold, name: scaffold}]
models: [{model: precursor-only}, {model: nearest-molecule}, {model: neims, name: NEIMS}]
metrics: ["cosine@0.01Da", "cosine@0.01Da:no-precursor", "entropy@0.1Da"]
primary_metric: cosine@0.01Da
"""

if __name__ == "__main__":
    import sys

    from mslitmus.report import build

    print(build(make_run(Path(sys.argv[1]), simulated="simulated" in sys.argv)))
