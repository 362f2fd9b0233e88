"""What does a missing collision energy cost, and does masking help?

MSLITMUS_HOME=… python -P benchmarks/conditioning.py    (-P: benchmarks/statistics.py is not the module of that name)

Trains fingerprint × bidirectional on a sample of MassBank whose spectra all state their energy, with and without random
masking and in both ways of joining, and predicts other molecules twice: with all metadata, and with the energy blanked.
The control has no energy at all, in training or in prediction.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from mslitmus import metrics
from mslitmus.data import store
from mslitmus.data.splits.allocate import draw
from mslitmus.models import MODELS
from mslitmus.models.protocol import FitContext

METRIC = "cosine@0.1Da"
_EXCLUDED = ("duplicate", "conflicting-label", "unit-resolution")
ENERGY = ("collision_energy", "collision_energy_kind")


def sample(molecules: int, per_molecule: int) -> dict[str, pl.DataFrame]:
    """High-resolution spectra that state their energy; four molecules of five train, the others validate and test."""
    frame = store.load("massbank").frame()
    frame = frame.filter(
        pl.col("instrument_type").is_in(["Orbitrap", "QTOF", "FTICR"]),
        pl.col("precursor_mz") <= 1000,
        pl.col("smiles").is_not_null(),
        pl.col("mzs").list.len() > 0,
        pl.all_horizontal(pl.col(column).is_not_null() for column in ENERGY),
        pl.all_horizontal(~pl.col("flags").list.contains(flag) for flag in _EXCLUDED),
    )
    keys = draw(frame["inchikey14"], 0)[:molecules]
    frame = frame.sample(fraction=1.0, shuffle=True, seed=0).group_by("inchikey14", maintain_order=True)
    frame = frame.head(per_molecule).filter(pl.col("inchikey14").is_in(keys))
    folds = {"train": keys[: molecules * 4 // 5], "val": keys[molecules * 4 // 5 : molecules * 17 // 20]}
    folds["test"] = keys[molecules * 17 // 20 :]
    return {name: frame.filter(pl.col("inchikey14").is_in(part)) for name, part in folds.items()}


def score(predicted: pl.DataFrame, truth: pl.DataFrame) -> float:
    """Mean over molecules of the mean over their spectra."""
    scores = metrics.score(predicted, truth, [METRIC])
    joined = scores.join(truth.select("identifier", "inchikey14"), on="identifier")
    return float(np.mean(joined.group_by("inchikey14").agg(pl.col(METRIC).mean())[METRIC].to_numpy()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=600)
    parser.add_argument("--per-molecule", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    folds = sample(args.molecules, args.per_molecule)
    print(", ".join(f"{k} {v.height:,} spectra of {v['inchikey14'].n_unique()} molecules" for k, v in folds.items()))
    test = folds["test"]
    blank = test.with_columns(pl.lit(None, dtype=test.schema[column]).alias(column) for column in ENERGY)
    rows = [(how, mask, True) for how in ("concat", "film") for mask in (0.0, 0.1)] + [("concat", 0.0, False)]
    for how, mask, energy in rows:
        found = []
        for seed in range(args.seeds):
            model = MODELS["neural"](
                encoder={"name": "fingerprint", "width": 256},
                head={"name": "bidirectional", "width": 0.1, "min_molecules": 8},
                conditioning=["adduct", "instrument", *(["energy"] if energy else []), "precursor_mz"],
                conditions={"how": how, "mask": mask},
                training={"epochs": args.epochs, "batch_size": 128, "evaluate_every": args.epochs},
            )
            with tempfile.TemporaryDirectory() as folder:
                context = FitContext(Path(folder), seed=seed, score=score, device="cpu", threads=1)
                model.fit(folds["train"], folds["val"], context)
            found.append([score(model.predict(queries), test) for queries in (test, blank)])
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) if args.seeds > 1 else (0.0, 0.0)
        label = f"{how}, mask {mask}" if energy else "no energy at all"
        print(
            f"{label}: all metadata {mean[0]:.3f} ± {spread[0]:.3f}, energy blanked {mean[1]:.3f} ± {spread[1]:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
