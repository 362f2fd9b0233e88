"""What can the heads reach? `python benchmarks/formula_vocabulary.py --data FRAME.parquet [--sample N]`

For the formula head by size of its vocabulary, and for the binned heads: the share of the peaks and of the
intensity of *test* molecules (a fifth of the molecules, drawn by a hash) that an entry explains, and the oracle cosine
at 0.01 Da: the best that any network on top of these entries could score, ‖t on reachable bins‖ / ‖t‖.
"""

from __future__ import annotations

import argparse
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from mslitmus.models import HEADS
from mslitmus.models.predict.batching import training_peaks
from mslitmus.models.predict.features import FeatureStore
from mslitmus.models.predict.heads.formula_vocabulary import precursor_ions
from mslitmus.models.predict.parts import FlatPeaks

_BIN, _TOP = 0.01, 1005.0


def reached(mz: np.ndarray, peaks: FlatPeaks, spectrum: int) -> tuple[float, float, float]:
    """(share of peaks, of intensity within 10 ppm or 1 mDa of an entry, oracle cosine) of one spectrum."""
    part = slice(peaks.offsets[spectrum], peaks.offsets[spectrum + 1])
    measured, heights = peaks.mzs[part], peaks.intensities[part].astype(np.float64)
    below = measured < _TOP
    measured, heights, mz = measured[below], heights[below], np.sort(mz)
    if not len(measured) or not len(mz):
        return 0.0, 0.0, 0.0
    at = np.clip(np.searchsorted(mz, measured), 1, max(1, len(mz) - 1))
    error = np.minimum(np.abs(mz[at - 1] - measured), np.abs(mz[np.minimum(at, len(mz) - 1)] - measured))
    hit = error <= np.maximum(measured * 1e-5, 1e-3)
    bins, inverse = np.unique(np.floor((measured + 1e-6) / _BIN).astype(np.int64), return_inverse=True)
    height = np.bincount(inverse, heights)
    can = np.isin(bins, np.floor((mz + 1e-6) / _BIN).astype(np.int64))
    oracle = np.sqrt((height[can] ** 2).sum() / (height**2).sum())
    return float(hit.mean()), float(heights[hit].sum() / heights.sum()), float(oracle)


def line(name: str, entries: int, rows: list[tuple[float, float, float]], seconds: float) -> None:
    peaks, intensity, oracle = np.mean(rows, axis=0)
    print(f"| {name} | {entries:,} | {peaks:.3f} | {intensity:.3f} | {oracle:.3f} | {seconds:.1f} |", flush=True)


def formula(train: FlatPeaks, test: FlatPeaks, **options: Any) -> None:
    kind = HEADS["formula"]
    parsed = kind.Options(**options)
    started = time.perf_counter()
    head = kind(parsed, 8, kind.vocabulary(parsed, train))
    seconds = time.perf_counter() - started
    ions, rows = precursor_ions(test), []
    fits = torch.cat([head.fits(part) for part in ions.chunks(512)])
    for spectrum in range(len(test.precursor_mz)):
        entry = fits[spectrum].nonzero().flatten()
        rows.append(reached(head.mz(ions, torch.full_like(entry, spectrum), entry).numpy(), test, spectrum))
    line("formula " + ", ".join(f"{k} {v}" for k, v in options.items()), fits.shape[1], rows, seconds)


def bins(name: str, train: FlatPeaks, test: FlatPeaks, **options: Any) -> None:
    kind = HEADS[name]
    parsed = kind.Options(**options)
    started = time.perf_counter()
    made = kind.vocabulary(parsed, train)
    seconds, rows = time.perf_counter() - started, []
    for spectrum, precursor in enumerate(test.precursor_mz):
        mz = np.concatenate([made["forward_mz"], precursor - made["reverse_loss"]])
        rows.append(reached(mz[(mz > 8) & (mz <= precursor + 0.2)], test, spectrum))
    line(f"{name} " + ", ".join(f"{k} {v}" for k, v in options.items()), len(made["prior"]), rows, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a SPECTRA frame as Parquet")
    parser.add_argument("--sample", type=int, help="spectra, drawn with seed 0; default all")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 5000, 10_000, 20_000])
    args = parser.parse_args()
    torch.set_num_threads(1)
    frame = pl.read_parquet(args.data)
    if args.sample and args.sample < frame.height:
        frame = frame.sample(args.sample, seed=0)
    held_out = [sha256(key.encode()).digest()[0] % 5 == 0 for key in frame["inchikey14"].to_list()]
    train, test = frame.filter(~pl.Series(held_out)), frame.filter(pl.Series(held_out))
    test = test.sample(min(test.height, 3000), seed=0)
    store = FeatureStore(HEADS["formula"].featuriser(HEADS["formula"].Options()))
    learned, asked = training_peaks(train, store), training_peaks(test, store)
    print(f"train {train.height:,} spectra of {len(learned.smiles):,} molecules")
    print(f"test {test.height:,} spectra of {len(asked.smiles):,} molecules")
    print("| head | entries | peaks | intensity | oracle cosine | s to build |\n|---|---|---|---|---|---|")
    for size in args.sizes:
        formula(learned, asked, size=size)
    formula(learned, asked, size=5000, choose="molecules")
    for minimum in (1, 2, 5, 10):
        formula(learned, asked, size=5000, min_molecules=minimum)
    for name in ("binned", "bidirectional"):
        for width, minimum in ((1.0, 10), (0.1, 10), (0.1, 5), (0.01, 5)):
            bins(name, learned, asked, width=width, min_molecules=minimum)
    bins("binned", learned, asked, width=0.1, min_molecules=10, precursor=False)


if __name__ == "__main__":
    main()
