"""Spectra a second of the embedding networks on this CPU, and memory while many are embedded.

    python benchmarks/embedding.py                          # simulated spectra
    python benchmarks/embedding.py --dataset massbank       # a stored dataset
    python benchmarks/embedding.py --stream 100000          # memory while 100,000 spectra pass

Speeds are per second of this process's own CPU time, so that a busy machine does not change them much; one thread.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch

from mslitmus.data.simulate import opened
from mslitmus.models.embed.embedder import SpectrumEmbedder, batch_of
from mslitmus.models.embed.files import VectorFile
from mslitmus.models.embed.library_embedding import LibraryEmbedding
from mslitmus.models.embed.peaks import length_batches
from mslitmus.models.protocol import FitContext

BATCH = 128


def rows_of(dataset: str, count: int) -> pl.DataFrame:
    frame = opened(dataset).frame()
    return frame.filter(pl.col("inchikey14").is_not_null()).sample(count, seed=0, with_replacement=count > frame.height)


def policies(lengths: np.ndarray) -> dict[str, list[np.ndarray]]:
    """By length: what `embed` does. Mixed: as they come. Packing takes padding out of both but for attention."""
    order = np.arange(len(lengths))
    mixed = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return {"by length": length_batches(lengths, 4096, 256), "mixed": mixed}


def speeds(frame: pl.DataFrame, kind: str, seconds: float) -> dict[str, float]:
    network = kind if kind == "mlp" else {"name": "transformer", "size": kind}
    model = LibraryEmbedding(network=network, training={"batch_size": BATCH})
    with TemporaryDirectory() as folder:
        model.prepare(frame, FitContext(Path(folder)))
    network, table = model.network, model._table
    found: dict[str, float] = {"parameters": model.parameters()}
    network.eval()
    for name, batches in policies(table.lengths).items():
        with torch.no_grad():
            found[name] = rate(batches, lambda rows: network(batch_of(table, rows, "cpu")), seconds)
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)

    def step(batch) -> None:
        optimiser.zero_grad()
        model.loss(batch).backward()
        optimiser.step()

    batches = model.train_batches(0)
    sizes = iter([len(rows) for rows in batches.rows])
    started, done = time.process_time(), 0
    for batch in batches:
        step(batch)
        done += next(sizes)
        if time.process_time() - started > seconds:
            break
    found["training"] = done / (time.process_time() - started)
    return found


def rate(batches, work, seconds: float) -> float:
    """Spectra per second of CPU time, in random batches for so long."""
    started, done = time.process_time(), 0
    for k in np.random.default_rng(0).permutation(len(batches)):
        work(batches[k])
        done += len(batches[k])
        if time.process_time() - started > seconds:
            break
    return done / (time.process_time() - started)


def stream(frame: pl.DataFrame, count: int, kind: str) -> None:
    """Embed `count` spectra to a file, told with the peak of memory before and after."""
    model = LibraryEmbedding(network=kind if kind == "mlp" else {"name": "transformer", "size": kind})
    with TemporaryDirectory() as folder:
        model.prepare(frame.head(2000), FitContext(Path(folder)))
        made = SpectrumEmbedder(model.design, model.vocabulary, model.network)
        made.embed(frame.head(2000))
        before, started = peak(), time.perf_counter()
        with VectorFile(Path(folder) / "v.parquet", made.width) as file:
            while file.rows < count:
                part = frame.sample(2000, seed=file.rows, with_replacement=True)
                file.write(part["identifier"], made.embed(part))
        seconds = time.perf_counter() - started
    print(f"{kind}: {count:,} spectra in {seconds:.0f} s; peak memory {before:,.0f} → {peak():,.0f} MB")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="simulated")
    parser.add_argument("--kinds", nargs="+", default=["mlp", "tiny", "mini", "small", "medium", "large"])
    parser.add_argument("--spectra", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--stream", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    frame = rows_of(asked.dataset, asked.spectra)
    if asked.stream:
        stream(frame, asked.stream, asked.kinds[0])
        return
    print(f"{frame.height:,} spectra of {asked.dataset}, median {frame['mzs'].list.len().median():g} peaks")
    print(f"{'network':10}{'parameters':>14}{'by length':>12}{'mixed':>10}{'training':>10}  spectra/s of CPU")
    for kind in asked.kinds:
        told = speeds(frame, kind, asked.seconds)
        numbers = f"{told['by length']:12,.0f}{told['mixed']:10,.0f}{told['training']:10,.0f}"
        print(f"{kind:10}{told['parameters']:14,.0f}{numbers}", flush=True)


if __name__ == "__main__":
    main()
