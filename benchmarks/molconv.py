"""How fast are conformers and the molconv encoder?

MSLITMUS_HOME=… OMP_NUM_THREADS=1 python -P benchmarks/molconv.py [--molecules 300]

Conformers of a sample of MassBank's molecules in one process, then molecules/s and, at MassBank's number of spectra a
molecule, spectra/s of the encoder alone (one pass; forward and backward for training), beside PyTorch Geometric's GINE
in the `gin` encoder at its defaults. Seconds are of processor time on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mslitmus.chem.conformer import METHODS
from mslitmus.data import store
from mslitmus.models import ENCODERS


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Processor time of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def measure(name: str, smiles: list[str], per_molecule: float, **options: Any) -> None:
    """Print one line."""
    kind = ENCODERS[name]
    chosen = kind.Options(**options)
    featuriser = kind.featuriser(chosen)
    started = time.process_time()
    features = featuriser.compute(smiles)
    took = time.process_time() - started
    batch = {
        key: torch.from_numpy(np.ascontiguousarray(values)) for key, values in featuriser.collate(features).items()
    }
    torch.manual_seed(0)
    encoder = kind(chosen)

    def train() -> None:
        encoder.train()
        encoder(batch).graph.square().mean().backward()

    def infer() -> None:
        encoder.eval()
        with torch.no_grad():
            encoder(batch)

    count = len(features)
    trained, inferred = count / seconds(train), count / seconds(infer)
    parameters = sum(p.numel() for p in encoder.parameters())
    print(
        f"{name} {options or 'defaults'}: {parameters:,} parameters; features {count / took:,.0f} molecules/s; "
        f"trains {trained:,.0f} molecules/s ({trained * per_molecule:,.0f} spectra/s), "
        f"encodes {inferred:,.0f} ({inferred * per_molecule:,.0f})"
    )
    if "method" in features.arrays:
        counts = Counter(METHODS[code] for code in features.arrays["method"].tolist())
        print(f"  {dict(counts)}, {len(features.arrays['atoms']) / count:.1f} points a molecule")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    frame = store.load("massbank").frame()
    known = frame["smiles"].drop_nulls()
    distinct = known.unique().sort().to_list()
    drawn = np.random.default_rng(0).choice(len(distinct), args.molecules, replace=False)
    smiles = [distinct[i] for i in drawn]
    per_molecule = len(known) / len(distinct)
    print(f"{len(smiles)} molecules; MassBank has {per_molecule:.1f} spectra a molecule")
    measure("gin", smiles, per_molecule)
    measure("molconv", smiles, per_molecule)
    measure("molconv", smiles, per_molecule, hydrogens=False)
    measure("molconv", smiles, per_molecule, layers=6, width=1024)


if __name__ == "__main__":
    main()
