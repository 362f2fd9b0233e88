"""How fast do the encoders train and predict? `python benchmarks/encoders.py [--spectra N] [--encoders gin gat …]`

For each encoder in a whole predictor (one head): spectra per second of processor time, in training and in prediction,
with each molecule of a batch encoded once, beside the plain way: the same layers with the same weights on one graph a
spectrum, collated by PyTorch Geometric's `Data` and `Batch` where the encoder takes a graph. Losses of both are
compared and must agree; only the time may differ. The data are MassBank from the data store (whole molecules drawn at
random, so that the number of spectra a molecule is that of the library), else the embedded simulated set.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from mslitmus.data import store
from mslitmus.data.simulate import simulate
from mslitmus.errors import DataError
from mslitmus.models import ENCODERS, HEADS, MODELS
from mslitmus.models.predict.batching import SpectrumTable, tensors
from mslitmus.models.predict.parts import Batch
from mslitmus.models.protocol import FitContext

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch_geometric
    from torch_geometric.data import Batch as PyGBatch
    from torch_geometric.data import Data

_TRAIN, _PREDICT = 512, 1024  # spectra a batch
_SIMPLE = {"trunk": {"width": 256, "layers": 1}, "training": {"batch_size": _TRAIN, "per_molecule": 16}}


def library(spectra: int) -> tuple[str, pl.DataFrame]:
    """Name and frame: whole molecules until there are so many spectra, filtered as configs/massbank.yaml does."""
    try:
        name, frame = "MassBank", store.load("massbank").frame()
    except DataError:
        name, frame = "simulated", simulate()
    frame = frame.filter(pl.col("smiles").is_not_null(), pl.col("mzs").list.len() > 0, pl.col("precursor_mz") <= 1000)
    if name == "MassBank":
        marks = ["duplicate", "conflicting-label", "unit-resolution"]
        frame = frame.filter(
            pl.col("instrument_type").is_in(["Orbitrap", "QTOF", "FTICR"]),
            pl.col("flags").fill_null([]).list.set_intersection(marks).list.len() == 0,
        )
    molecules = frame["inchikey14"].unique().sort().sample(fraction=1.0, shuffle=True, seed=0)
    counts = frame["inchikey14"].value_counts().select("inchikey14", n="count")
    order = pl.DataFrame({"inchikey14": molecules}).join(counts, on="inchikey14", maintain_order="left")
    chosen = order.filter(pl.col("n").cum_sum() <= spectra)["inchikey14"]
    return name, frame.filter(pl.col("inchikey14").is_in(chosen.implode()))


class Plain:
    """One graph a spectrum. Features are computed beforehand, PyG's `Data` too: collating is timed, RDKit is not."""

    def __init__(self, table: SpectrumTable) -> None:
        self.table = table
        arrays = table.features.arrays
        self.graphs: list[Any] = []
        if "edges" in arrays:
            at = table.features.offsets
            self.graphs = [
                Data(
                    x=torch.from_numpy(arrays["atoms"][at["atoms"][k] : at["atoms"][k + 1]]),
                    edge_index=torch.from_numpy(
                        arrays["edges"][at["edges"][k] : at["edges"][k + 1]].astype(np.int64).T
                    ),
                    edge_attr=torch.from_numpy(arrays["bonds"][at["bonds"][k] : at["bonds"][k + 1]]),
                )
                for k in range(len(table.features))
            ]

    def batch(self, rows: np.ndarray) -> Batch:
        own = self.table.molecule[rows]
        if self.graphs:
            joined: Any = PyGBatch.from_data_list([self.graphs[k] for k in own])
            molecules = {
                "atoms": joined.x.long(), "edges": joined.edge_index, "bonds": joined.edge_attr.long(),
                "owner": joined.batch, "molecules": torch.tensor(len(rows)),
            }  # fmt: skip
        else:
            molecules = tensors(self.table.featuriser.collate(self.table.features.take(own)), "cpu")
        return dataclasses.replace(self.table.batch(rows), molecules=molecules, index=torch.arange(len(rows)))


def train_pass(model: Any, batches: Iterable[Batch]) -> tuple[float, float]:
    """(processor seconds, summed loss) of forward, backward and step, dropout off so that losses compare."""
    model.network.eval()
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-4, fused=True)
    started, total = time.process_time(), 0.0
    for batch in batches:
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach())
    return time.process_time() - started, total


def predict_pass(model: Any, batches: Iterable[Batch]) -> float:
    """Processor seconds of all peaks of these batches."""
    model.network.eval()
    started = time.process_time()
    with torch.no_grad():
        for batch in batches:
            model.network.head.peaks(model.network(batch), batch)
    return time.process_time() - started


def build(encoder: str, head: str, frame: pl.DataFrame, folder: Path) -> Any:
    """The same weights every time."""
    torch.manual_seed(0)
    model = MODELS["neural"](encoder=encoder, head=head, **_SIMPLE)
    model.prepare(frame, FitContext(folder, threads=1))
    return model


def measure(encoder: str, head: str, frame: pl.DataFrame, folder: Path, most: int) -> tuple[Any, ...]:
    """One row of the table."""
    model, other = (build(encoder, head, frame, folder) for _ in range(2))
    epoch = model.train_batches(0)
    table, plain = epoch.table, Plain(epoch.table)
    rows = epoch.rows[:most]
    asked = np.argsort(table.molecule, kind="stable")[: most * _TRAIN]
    chunks = np.array_split(asked, max(1, round(len(asked) / _PREDICT)))
    parameters = sum(p.numel() for p in model.network.encoder.parameters())
    ways: list[Callable[[np.ndarray], Batch]] = [table.batch, plain.batch]

    def made(way: Callable[[np.ndarray], Batch], parts: Iterable[np.ndarray]) -> Iterator[Batch]:
        return (way(part) for part in parts)

    for way, one in zip(ways, (model, other), strict=True):  # what is slow only the first time
        predict_pass(one, made(way, chunks[:1]))
    predicting = [predict_pass(one, made(way, chunks)) for way, one in zip(ways, (model, other), strict=True)]
    training = [train_pass(one, made(way, rows)) for way, one in zip(ways, (model, other), strict=True)]
    (ours, loss), (theirs, same) = training
    if not np.isclose(loss, same, rtol=1e-3):
        raise SystemExit(f"{encoder}: the two ways disagree, losses {loss} and {same}")
    spectra = sum(map(len, rows))
    shared = spectra / sum(len(np.unique(table.molecule[part])) for part in rows)
    return (
        encoder, f"{parameters / 1e6:.2f} M", f"{shared:.1f}", f"{spectra / ours:,.0f}", f"{spectra / theirs:,.0f}",
        f"{theirs / ours:.1f}×", f"{len(asked) / predicting[0]:,.0f}", f"{len(asked) / predicting[1]:,.0f}",
        f"{predicting[1] / predicting[0]:.1f}×", f"{abs(loss - same) / abs(same):.0e}",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=4000, help="of the library that take part")
    parser.add_argument("--batches", type=int, default=6, help=f"timed, of {_TRAIN} spectra")
    parser.add_argument("--encoders", nargs="*", default=list(ENCODERS))
    parser.add_argument("--heads", nargs="*", default=["binned"], choices=list(HEADS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="torch_geometric")
    name, frame = library(args.spectra)
    molecules = frame["inchikey14"].n_unique()
    print(
        f"{name}: {frame.height:,} spectra of {molecules:,} molecules ({frame.height / molecules:.1f} each), one thread"
    )
    print(f"torch {torch.__version__}, PyTorch Geometric {torch_geometric.__version__}; spectra/s of processor time")
    columns = ("head", "encoder", "weights", "spectra a molecule and batch", "trains", "plain", "ratio", "predicts")
    columns = (*columns, "plain", "ratio", "losses differ by")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    with tempfile.TemporaryDirectory() as folder:
        for head in args.heads:
            for encoder in args.encoders:
                row = measure(encoder, head, frame, Path(folder), args.batches)
                print(f"| {head} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
