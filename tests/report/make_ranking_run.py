"""A retrieval run folder from made-up scores and the package's own statistics: ladder, oracle, skips, seeds, pools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from make_run import MOLECULES

from mslitmus.audits import Evidence, examine
from mslitmus.audits.finding import RunTables
from mslitmus.metrics.comparisons import compare
from mslitmus.metrics.groups import worst_group
from mslitmus.metrics.repeated import compare_over_seeds
from mslitmus.metrics.strata import stratify
from mslitmus.metrics.summary import add_skill, summarise
from mslitmus.schemas import EXAMPLES, POOL_SIZES, conform

RANKING_METRICS = ["hit@1", "normalised-rank"]
SKIPS = "nearest-spectrum-with-skips"
LADDER = {
    "random-ranking": "blind",
    "constant-ranking": "blind",
    "candidate-popularity": "blind",
    "smiles-style": "blind",
    "structure-only": "blind",
    "nearest-spectrum": "neighbour",
    SKIPS: "neighbour",
    "best-molecule": "oracle",
    "binned-mlp": "trained",
}
_SKILL = {"nearest-spectrum": 1.2, SKIPS: 1.7, "best-molecule": 3.0, "binned-mlp": 2.2}
_MOLECULES, _SPECTRA, _POOL = 60, 2, 32


def make_ranking_run(folder: Path, *, seed: int = 0, trained: bool = True) -> Path:
    """Write the run folder and return it."""
    kinds = {model: kind for model, kind in LADDER.items() if trained or kind != "trained"}
    folder.mkdir(parents=True, exist_ok=True)
    scores = _scores(kinds, np.random.default_rng(seed))
    summary = add_skill(summarise(scores, RANKING_METRICS, resamples=200), kinds)
    comparisons = compare(scores, RANKING_METRICS, resamples=200)
    strata = stratify(scores, _meta(scores), ["hit@1"], resamples=200)
    tables = RunTables(summary, comparisons, kinds, {"molecule": {}}, "hit@1", scores)
    for name, table in (
        ("scores", scores),
        ("summary", summary),
        ("comparisons", comparisons),
        ("strata", strata),
        ("worst_groups", worst_group(strata)),
        ("repeated", compare_over_seeds(scores, ["hit@1"], kinds=kinds)),
        ("pool_sizes", _pool_sizes(kinds)),
        ("examples", _examples(kinds)),
    ):
        table.write_parquet(folder / f"{name}.parquet")
    _write(folder / "candidates.json", candidates())
    _write(folder / "bounds.json", {"molecule": {}})
    _write(folder / "findings.json", [finding.to_json() for finding in examine(Evidence(tables)).findings])
    (folder / "config.yaml").write_text(
        f"name: ranking\ntask: retrieval\nsplits: [molecule]\nmetrics: {json.dumps(RANKING_METRICS)}\n"
        "primary_metric: hit@1\n",
        encoding="utf-8",
    )
    for model, kind in kinds.items():
        cell = folder / "cells" / "molecule" / model / "seed0"
        cell.mkdir(parents=True)
        options = {"of": "nearest-spectrum", "options": {"tiers": ["mass"], "skip": True}} if model == SKIPS else {}
        _write(cell / "cell.json", {"split": "molecule", "model": model, "kind": kind, "seed": 0, "options": options})
    return folder


def candidates() -> dict[str, Any]:
    """What the task writes of a set filled up with decoys: all pools, and those of the test queries by split."""
    quantiles = ("0.05", "0.25", "0.5", "0.75", "0.95")
    test = {
        "molecules": 60, "candidates": 1_900,
        "size": dict(zip(quantiles, (29, 32, 32, 32, 32), strict=True)),
        "real": dict(zip(quantiles, (2, 5, 8, 17, 30), strict=True)),
        "chance": 0.033, "chance_real": 0.12, "at_least": 8, "large_enough": 60, "large_enough_real": 33,
        "origins": {"dataset": 380, "decoy:edited": 1_370, "pubchem-100k": 150},
        "min_candidates": 8, "left_out": {"spectra": 9, "molecules": 4},
    }  # fmt: skip
    return {
        "name": "mass-32", "kind": "mass", "hash": "d5a7bc2fcb36611b", "molecules": 120, "candidates": 3_790,
        "settings": {"kind": "mass", "size": 32, "ppm": 10.0, "fill": True},
        "size": dict(zip(quantiles, (30, 32, 32, 32, 32), strict=True)),
        "real": dict(zip(quantiles, (1, 4, 9, 18, 32), strict=True)),
        "chance": 0.0316, "chance_real": 0.1412, "at_least": 8, "large_enough": 120, "large_enough_real": 71,
        "origins": {"dataset": 900, "decoy": 2_590, "pubchem-100k": 300}, "asked": {"molecule": test},
    }  # fmt: skip


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _scores(kinds: dict[str, str], random: np.random.Generator) -> pl.DataFrame:
    """Ranks in pools of 32, better for models with more skill; the skipping one answers the easier queries."""
    rows = []
    for fold in ("val", "test"):
        ease = random.normal(size=(_MOLECULES, 1)) + 0.5 * random.normal(size=(_MOLECULES, _SPECTRA))
        for model in kinds:
            for seed in (0, 1, 2) if model == "binned-mlp" else (0,):
                lead = _SKILL.get(model, 0.0) + ease + random.normal(size=ease.shape)
                share = 1 / (1 + np.exp(lead))  # of the other candidates above the truth
                rank = 1 + np.floor(share * _POOL)
                gone = (ease < 0) if model == SKIPS else np.zeros_like(ease, dtype=bool)
                for (i, j), place in np.ndenumerate(rank):
                    place = _POOL if gone[i, j] else place
                    rows.append(
                        {
                            "split": "molecule",
                            "model": model,
                            "seed": seed,
                            "fold": fold,
                            "identifier": f"{fold}-{i}-{j}",
                            "inchikey14": f"{fold}-{i}",
                            "predicted": not gone[i, j],
                            "hit@1": float(place == 1),
                            "normalised-rank": float((place - 1) / (_POOL - 1)),
                        }
                    )
    return pl.DataFrame(rows)


def _meta(scores: pl.DataFrame) -> pl.DataFrame:
    queries = (
        scores.filter(pl.col("fold") == "test").select("split", "identifier", "inchikey14").unique(maintain_order=True)
    )
    place = pl.int_range(pl.len())
    return queries.with_columns(
        adduct=pl.when(place % 2 == 0).then(pl.lit("[M+H]+")).otherwise(pl.lit("[M-H]-")),
        instrument_type=pl.when(place % 3 == 0).then(pl.lit("QTOF")).otherwise(pl.lit("Orbitrap")),
        collision_energy=pl.lit(20.0),
        collision_energy_kind=pl.lit("eV"),
        precursor_mz=pl.lit(250.0),
    )


def _pool_sizes(kinds: dict[str, str]) -> pl.DataFrame:
    rows = [
        {
            "split": "molecule",
            "model": model,
            "metric": "hit@1",
            "size": size,
            "mean": min(1.0, (1 + _SKILL.get(model, 0.0)) / size),
            "chance": 1 / size,
            "n_queries": _MOLECULES * _SPECTRA,
        }
        for model in kinds
        for size in (2, 4, 8, 16, 32)
    ]
    return pl.DataFrame(rows, schema=POOL_SIZES)


def _examples(kinds: dict[str, str]) -> pl.DataFrame:
    rows = []
    for model in kinds:
        for k, (rank, place) in enumerate((("best", 1.0), ("median", 3.5), ("worst", 12.5))):
            name, smiles, precursor = MOLECULES[k]
            others = [text for _, text, _ in MOLECULES if text != smiles][:5]
            best = [smiles, *others[:4]] if place < 5 else others
            rows.append(
                {
                    "split": "molecule", "model": model, "rank": rank, "metric": "hit@1", "score": float(place == 1),
                    "identifier": f"SIM-{k}", "smiles": smiles, "name": name, "adduct": "[M+H]+",
                    "instrument_type": "QTOF", "collision_energy": 20.0, "collision_energy_kind": "eV",
                    "precursor_mz": precursor, "mzs": [60.5, 110.07, precursor], "intensities": [0.2, 1.0, 0.4],
                    "predicted_mzs": None, "predicted_intensities": None, "candidates": best,
                    "candidate_scores": [0.9, 0.8, 0.8, 0.1, -2.0], "truth_rank": place, "pool_size": _POOL,
                }
            )  # fmt: skip
    return conform(pl.DataFrame(rows, schema=EXAMPLES), EXAMPLES)


if __name__ == "__main__":
    import sys

    from mslitmus.report import build

    print(build(make_ranking_run(Path(sys.argv[1]))))
