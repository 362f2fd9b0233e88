"""Speed of pretraining on one core, in processor time: both stages, and the search for near neighbours against RDKit.

    OMP_NUM_THREADS=1 python benchmarks/pretraining.py [FILE OF SMILES] [--width 300] [--molecules 512]

Without a file the molecules of the simulated data are taken. The neighbour search must agree with RDKit's
`BulkTanimotoSimilarity` on every molecule.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rdkit
import torch
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from mslitmus.data.candidates.lists import make_list, read_smiles
from mslitmus.data.molecules import MOLECULES
from mslitmus.models.predict.encoders.graphs import GraphFeaturiser
from mslitmus.models.predict.encoders.molebert import MoleBERTOptions
from mslitmus.models.predict.features import FeatureStore
from mslitmus.models.protocol import FitContext
from mslitmus.train.pretrain.masked_atoms import MaskedAtoms
from mslitmus.train.pretrain.molecules import near_any
from mslitmus.train.pretrain.stage import Stage
from mslitmus.train.pretrain.tokeniser import Tokeniser, TokeniserOptions


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    value = work()
    return value, time.process_time() - started


def epoch(stage: Stage, seed: int) -> None:
    """One epoch of training without the loop's bookkeeping."""
    optimiser = torch.optim.AdamW(stage.network.parameters(), lr=1e-3, fused=True)
    stage.network.train()
    for batch in stage.train_batches(seed):
        loss = stage.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def neighbours(smiles: list[str]) -> None:
    mine, theirs = smiles[::2], smiles[1::2]
    near_any(mine[:2], theirs[:2], 0.8)  # compiled
    found, ours = timed(lambda: near_any(mine, theirs, 0.8))

    def peer() -> np.ndarray:
        generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
        others = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in theirs]
        rows = (generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in mine)
        return np.array([max(DataStructs.BulkTanimotoSimilarity(row, others)) >= 0.8 for row in rows])

    expected, rdkits = timed(peer)
    pairs = len(mine) * len(theirs) / 1e6
    print(f"neighbours of {len(mine):,} among {len(theirs):,}, fingerprints included: {pairs / ours:.1f} M pairs/s")
    print(f"RDKit {rdkit.__version__}: {pairs / rdkits:.1f}, ratio {rdkits / ours:.1f}")
    print(f"agreement {np.mean(found == expected):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--width", type=int, default=300)
    parser.add_argument("--molecules", type=int, default=512)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    smiles = read_smiles(chosen.file) if chosen.file else [text for _, text in MOLECULES]
    frame = make_list("benchmark", smiles[: 20 * chosen.molecules], processes=1).frame
    neighbours(frame["smiles"].to_list()[:10_000])
    few = frame.sample(min(chosen.molecules, frame.height), seed=0).select("smiles", identifier="inchikey14")
    sizes = {"width": chosen.width, "layers": 5}
    tokeniser = Tokeniser(TokeniserOptions(**sizes), FeatureStore(GraphFeaturiser()))
    masked = MaskedAtoms.of("molebert", MoleBERTOptions(**sizes), {}, {}, tokeniser, 10**9)
    with TemporaryDirectory() as folder:
        context = FitContext(Path(folder))
        for name, stage in (("tokeniser", tokeniser), ("masked atoms", masked)):
            _, prepared = timed(lambda stage=stage: stage.prepare(few, context))
            epoch(stage, 0)
            seconds = min(timed(lambda stage=stage, seed=seed: epoch(stage, seed))[1] for seed in (1, 2))
            print(f"{name}, {chosen.width} wide: {few.height / seconds:,.0f} molecules/s, "
                  f"prepared at {few.height / prepared:,.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
