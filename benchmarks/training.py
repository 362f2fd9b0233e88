"""How fast do the neural models train and predict? `python benchmarks/training.py [--data FRAME.parquet] [--threads N]`

For each encoder × head: spectra/s of training and of prediction, each molecule of a batch encoded once, beside a naive
loader that encodes one graph a spectrum through PyTorch Geometric's `Data` and `Batch` objects. Losses of both are
compared and must agree; only the time may differ. Without --data the embedded simulated set is used.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from mslitmus.chem.graph import molecule_graph
from mslitmus.data.simulate import simulate
from mslitmus.models import ENCODERS, HEADS, MODELS
from mslitmus.models.predict.batching import SpectrumTable
from mslitmus.models.predict.parts import Batch
from mslitmus.models.protocol import FitContext

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch_geometric.data import Batch as PyGBatch
    from torch_geometric.data import Data


def naive_batches(table: SpectrumTable, rows: Iterable[np.ndarray], smiles: list[str]) -> Iterator[Batch]:
    """One PyG `Data` a spectrum, collated by PyG, as a plain DataLoader does it. Graphs are made beforehand."""
    graphs = []
    for text in smiles:
        g = molecule_graph(text)
        edges = torch.from_numpy(g.edges.astype(np.int64).T.copy())
        graphs.append(Data(x=torch.from_numpy(g.atoms), edge_index=edges, edge_attr=torch.from_numpy(g.bonds)))
    for part in rows:
        joined: Any = PyGBatch.from_data_list([graphs[table.molecule[row]] for row in part])
        molecules = {
            "atoms": joined.x.long(), "edges": joined.edge_index, "bonds": joined.edge_attr.long(),
            "owner": joined.batch, "molecules": torch.tensor(len(part)),
        }  # fmt: skip
        yield dataclasses.replace(table.batch(part), molecules=molecules, index=torch.arange(len(part)))


def train_pass(model: Any, batches: Iterable[Batch]) -> tuple[float, float]:
    """(seconds, summed loss) of forward, backward and step over these batches, dropout off so that losses compare."""
    model.network.eval()
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-4, fused=True)
    started, total = time.perf_counter(), 0.0
    for batch in batches:
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach())
    return time.perf_counter() - started, total


def build(encoder: str, head: str, frame: pl.DataFrame, folder: Path, per_molecule: int) -> Any:
    """The same weights every time."""
    torch.manual_seed(0)
    model = MODELS["neural"](encoder=encoder, head=head, training={"batch_size": 256, "per_molecule": per_molecule})
    model.prepare(frame, FitContext(folder))
    return model


def measure(encoder: str, head: str, frame: pl.DataFrame, folder: Path, args: argparse.Namespace) -> None:
    """Print one line a pair."""
    model = build(encoder, head, frame, folder, args.per_molecule)
    epoch = model.train_batches(0)
    rows = epoch.rows[: args.batches]
    spectra = sum(len(part) for part in rows)
    molecules = sum(len(np.unique(epoch.table.molecule[part])) for part in rows)
    ours, loss = train_pass(model, (epoch.table.batch(part) for part in rows))
    line = f"{encoder} × {head}: trains {spectra / ours:,.0f} spectra/s ({spectra / molecules:.1f} spectra a molecule)"
    if encoder != "fingerprint":
        plain = build(encoder, head, frame, folder, args.per_molecule)
        smiles = list(dict.fromkeys(frame["smiles"].to_list()))
        naive, naive_loss = train_pass(plain, naive_batches(epoch.table, rows, smiles))
        line += f", naive {spectra / naive:,.0f} (×{naive / ours:.1f}; losses {loss:.4f} and {naive_loss:.4f})"
        if not np.isclose(loss, naive_loss, rtol=1e-3):
            raise SystemExit(f"{line}\nthe two ways disagree")
    started = time.perf_counter()
    queries = frame.head(4096)
    model.predict(queries)
    print(f"{line}; predicts {queries.height / (time.perf_counter() - started):,.0f} spectra/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a SPECTRA frame as Parquet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, default=20, help="measured, of 256 spectra")
    parser.add_argument("--per-molecule", type=int, default=8, help="spectra of a molecule that share a batch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frame = pl.read_parquet(args.data) if args.data else simulate()
    frame = frame.filter(pl.col("smiles").is_not_null() & (pl.col("mzs").list.len() > 0))
    print(f"{frame.height:,} spectra of {frame['smiles'].n_unique():,} molecules, {args.threads} thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        for encoder in ENCODERS:
            for head in HEADS:
                measure(encoder, head, frame, Path(folder), args)


if __name__ == "__main__":
    main()
